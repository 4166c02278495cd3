//! `bellhop describe`: the wiring, and what commands ask for, without any log.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use bellhop_core::describe::Description;
use bellhop_core::message::HOUR_US;
use bellhop_core::topology::Topology;
use bellhop_runtime::clock::{Clock as _, SystemClock};
use bellhop_schemas::night::Night;

use crate::command::nearest;
use crate::guide::{self, Guide};
use crate::{output, refusals, wiring};

/// Prints what a command asks for, or the wiring: which handler decides a command, which events and
/// stores it touches.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop describe CreateReservation\n  bellhop describe DefineProperty --example | bellhop run --data seaview\n  bellhop describe\n  bellhop describe --json | jq '.requests[].name'"
)]
pub(crate) struct Args {
    /// A command: its fields, what refuses it, an example [default: the wiring of all]
    command: Option<String>,
    /// Print only the example: a line for `bellhop run` and `bellhop send`
    #[arg(long, requires = "command", conflicts_with = "json")]
    example: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the page of all commands (docs/commands.md)
    #[arg(long, conflicts_with_all = ["json", "command", "refusals"])]
    commands: bool,
    /// Print the page of everything that refuses a command or parks it (docs/refusals.md)
    #[arg(long, conflicts_with_all = ["json", "command"])]
    refusals: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let topology = wiring::topology()?;
    let mut out = output::stdout();
    if args.refusals {
        write!(out, "{}", refusals::page(&topology)?)?;
    } else if args.commands {
        write!(out, "{}", guide::page(&topology)?)?;
    } else if let Some(command) = &args.command {
        let guide = guide_of(&topology, command)?;
        if args.example {
            writeln!(out, "{}", guide.line())?;
        } else if args.json {
            serde_json::to_writer_pretty(&mut out, &guide)?;
            writeln!(out)?;
        } else {
            write!(out, "{}", guide.to_text()?)?;
        }
    } else if args.json {
        serde_json::to_writer_pretty(&mut out, &Description::of(&topology))?;
        writeln!(out)?;
    } else {
        write!(out, "{}", Description::of(&topology).to_text())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What a command asks for, with an example from today on.
fn guide_of(topology: &Topology, command: &str) -> Result<Guide> {
    let days = SystemClock::default().now().0.div_euclid(24 * HOUR_US);
    let today = Night(i32::try_from(days).context("the clock is far off")?);
    let mut guides = guide::guides(topology, today)?;
    match guides.iter().position(|guide| guide.command() == command) {
        Some(at) => Ok(guides.swap_remove(at)),
        None => {
            let names: Vec<_> = guides.iter().map(Guide::command).collect();
            bail!(
                "no command is called {command}{}; the commands are {}",
                nearest(command, &names),
                names.join(", ")
            )
        }
    }
}
