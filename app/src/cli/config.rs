//! `bellhop config`: the effective configuration.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;

use crate::config::Config;
use crate::output;

/// Prints the effective configuration, as the file that would give it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop config > bellhop.toml\n  BELLHOP_WORKERS=1 bellhop config --json"
)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let mut out = output::stdout();
    if args.json {
        output::json_line(&mut out, config)?;
    } else {
        write!(out, "{}", config.to_toml()?)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
