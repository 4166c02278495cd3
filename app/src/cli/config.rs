//! `bellhop config`: the effective configuration.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::config::{Config, reference};
use crate::output;

/// Prints the effective configuration, as the file that would give it; secrets are comments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop config --all                    every key, with what it means\n  bellhop config --write bellhop.toml     the same as a new file\n  BELLHOP_WORKERS=1 bellhop config --json\n\nA shell empties FILE before `bellhop config > FILE` reads it: use --write."
)]
pub(crate) struct Args {
    /// Print every key with its meaning; those that are not set are comments
    #[arg(long)]
    all: bool,
    /// Write that to a file, which must not be there yet
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
    /// Print the page of all keys and their defaults (docs/configuration.md)
    #[arg(long, conflicts_with_all = ["all", "write", "json"])]
    reference: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let mut out = output::stdout();
    if args.reference {
        write!(out, "{}", Config::reference()?)?;
    } else if let Some(file) = &args.write {
        reference::write_new(file, &config.to_commented_toml()?)?;
        writeln!(out, "wrote {}; secrets are not in it: give them as variables", file.display())?;
    } else if args.json {
        output::json_line(&mut out, config)?;
    } else if args.all {
        write!(out, "{}", config.to_commented_toml()?)?;
    } else {
        write!(out, "{}", config.to_toml()?)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
