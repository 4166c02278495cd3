//! `bellhop repair`: rows that were lost, or are too many, are put right from the topic.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_clickhouse::repair::{self, Wanted};
use clap::Subcommand;

use crate::config::Config;
use crate::site::{SiteArgs, given};
use crate::{output, words};

/// Puts rows right that were lost or are there too often, from the events of the topic.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop repair clickhouse --partition 3 --from 120000 --to 125000 --broker localhost:9092 --registry http://localhost:8081\n  bellhop repair clickhouse --partition 0 --from 0 --data ./data\n\n`bellhop audit clickhouse` names the ranges."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Compares a range of events with all tables and refills what differs; may be run again
    Clickhouse {
        #[command(flatten)]
        site: SiteArgs,
        /// Address of the server [default: `clickhouse.url` of the configuration]
        #[arg(long, value_name = "URL")]
        clickhouse: Option<String>,
        /// Partition of the events
        #[arg(long)]
        partition: u32,
        /// Offset of the first event
        #[arg(long, value_name = "OFFSET")]
        from: u64,
        /// Offset of the last event [default: the last that has landed]
        #[arg(long, value_name = "OFFSET")]
        to: Option<u64>,
    },
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let Action::Clickhouse { site, clickhouse, partition, from, to } = &args.action;
    let mut target = config.clickhouse.target(clickhouse.as_deref());
    target.given = given(clickhouse.as_deref(), site.options());
    let mut reader = site.site(config)?.reader()?;
    let wanted = Wanted { partition: *partition, from: *from, to: *to };
    let repaired = repair::run(&target, &mut *reader, wanted)?;
    let mut out = output::stdout();
    for (table, (deleted, inserted)) in &repaired.tables {
        writeln!(
            out,
            "{table}: {} deleted, {} inserted",
            words::count(*deleted, "row"),
            words::count(*inserted, "row")
        )?;
    }
    for view in repaired.views.iter().filter(|view| view.corrections > 0) {
        writeln!(out, "{}: {} corrected", view.view, words::count(view.corrections, "row"))?;
    }
    let compared = words::count(repaired.events, "event");
    writeln!(out, "{compared} of partition {partition} compared; this range is right")?;
    if repaired.left > 0 {
        writeln!(
            out,
            "{} left as they are: the registry does not know their schema now; repair them when it does",
            words::count(repaired.left, "event")
        )?;
    }
    if let Some(damage) = repaired.elsewhere {
        writeln!(
            out,
            "rows are missing or too many elsewhere in partition {partition}, so its views are left as they are: run `{}`",
            damage.command(&target.given)
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
