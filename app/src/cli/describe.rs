//! `bellhop describe`: the wiring, without any log.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_core::describe::Description;

use crate::{output, refusals, wiring};

/// Prints the wiring: which handler decides a command, which events and stores it touches.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop describe\n  bellhop describe --json | jq '.requests[].name'"
)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the page of everything that refuses a command or parks it (docs/refusals.md)
    #[arg(long, conflicts_with = "json")]
    refusals: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let topology = wiring::topology()?;
    let description = Description::of(&topology);
    let mut out = output::stdout();
    if args.refusals {
        write!(out, "{}", refusals::page(&topology)?)?;
    } else if args.json {
        serde_json::to_writer_pretty(&mut out, &description)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", description.to_text())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
