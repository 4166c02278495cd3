//! The `bellhop` binary: the composition root and its commands.
//!
//! Start at [`cli`]: one file per subcommand. [`replay`] makes commands of a file of bookings,
//! [`report`] draws the page of the demo.

// The linker drops handlers that nobody names; `wiring` checks that they are there.
use bellhop_handlers as _;

mod answer;
mod cli;
mod command;
mod config;
mod desk;
mod embedded;
mod event;
#[cfg(test)]
mod fake_log;
mod fields;
#[cfg(test)]
mod fuzzing;
mod guide;
mod http;
mod json_lines;
mod lake;
mod landing;
mod lines;
mod log;
mod metrics;
mod outbox;
mod output;
mod refusals;
mod replay;
mod report;
mod rooms;
mod site;
mod watch;
mod wiring;
mod words;
mod workers;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tracing::level_filters::LevelFilter;

use crate::config::{Config, LogFormat};
use crate::json_lines::JsonLines;

/// The release and the revision that it was built of, as it stands in events.
const VERSION: &str = env!("BUILD_VERSION");

/// A failure, or a difference that was looked for and found. Usage errors give 2, by clap.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        // Whoever read our output has enough: `bellhop events | head`.
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "error: {error}");
            let mut last = error.to_string();
            for cause in error.chain().skip(1) {
                let cause = cause.to_string();
                // Some libraries put a cause into the text of the error above it.
                if !last.contains(&cause) {
                    let _ = writeln!(stderr, "  because: {cause}");
                    last = cause;
                }
            }
            ExitCode::from(FAILURE)
        }
    }
}

fn run() -> Result<ExitCode> {
    let cli = cli::Cli::parse();
    let config = Config::load(cli.config.as_deref())?;
    if let Some(file) = cli.config.clone() {
        Config::file_is_given(file);
    }
    start_log(cli.verbose, &config)?;
    cli.run(&config)
}

fn start_log(verbose: u8, config: &Config) -> Result<()> {
    let level = match verbose {
        0 => config.log.as_str(),
        1 => "info",
        _ => "debug",
    };
    let level: LevelFilter = level.parse().ok().with_context(|| {
        format!("log = \"{level}\" is no level; set off, error, warn, info, debug or trace")
    })?;
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false);
    match config.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.event_format(JsonLines).init(),
    }
    Ok(())
}
