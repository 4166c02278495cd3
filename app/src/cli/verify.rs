//! `bellhop verify`: whether the state is what the events say.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bellhop_handlers::state::inventory::Inventory;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::restore::restore;
use bellhop_runtime::verify;
use bellhop_runtime::wiring::Wiring;
use serde::Serialize;

use crate::config::Config;
use crate::log::Names;
use crate::rooms::Rooms;
use crate::site::{Site, SiteArgs};
use crate::workers::worker_config;
use crate::{output, wiring, words};

/// Folds all events anew and compares: with the state, with every room-night counted apart.
///
/// Exit code 1 says that something differs; the first difference is printed with its offset.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop verify --data ./data\n  bellhop verify --data ./data --decisions"
)]
pub(crate) struct Args {
    #[command(flatten)]
    site: SiteArgs,
    /// Decide all commands anew as well, and compare with the events; only the version that
    /// decided them gives the same
    #[arg(long)]
    decisions: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

/// What was compared in a partition.
#[derive(Debug, Serialize)]
struct Line {
    partition: u32,
    check: &'static str,
    events: u64,
    room_nights: u64,
    snapshot_offset: Option<u64>,
    difference: Option<Difference>,
}

#[derive(Debug, Serialize)]
struct Difference {
    offset: u64,
    what: String,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let site = args.site.site(config)?;
    let mut reader = site.reader()?;
    let mut out = output::stdout();
    let partitions = reader.identity().partitions;
    let (mut events, mut differs) = (0, false);
    let bar = output::progress("verifying", u64::from(partitions));
    for partition in 0..partitions {
        if reader.end(Topic::Events, partition)? > 0 {
            for line in check(&mut *reader, partition, &site, args.decisions, config)? {
                differs |= line.difference.is_some();
                events += if line.check == "state" { line.events } else { 0 };
                if args.json {
                    output::json_line(&mut out, &line)?;
                } else {
                    bar.suspend(|| print(&line, &mut out))?;
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !args.json {
        let all = words::count(events, "event");
        match differs {
            false => writeln!(out, "All is well: {all} verified.")?,
            true => writeln!(out, "THERE IS A DIFFERENCE; see above.")?,
        }
    }
    out.flush()?;
    Ok(if differs { ExitCode::from(crate::FAILURE) } else { ExitCode::SUCCESS })
}

fn check(
    reader: &mut dyn Reader,
    partition: u32,
    site: &Site,
    decisions: bool,
    config: &Config,
) -> Result<Vec<Line>> {
    let topology = wiring::topology()?;
    let resolve = wiring::resolve(&topology)?;
    let mut wiring = Wiring::to_read(topology, resolve);
    let task_config = worker_config(config).task(reader.identity(), partition);
    let snapshots = site.snapshots(config)?;
    let snapshots = snapshots.as_deref();
    let line = |check, verified: verify::Verified| Line {
        partition,
        check,
        events: verified.events,
        room_nights: 0,
        snapshot_offset: verified.snapshot,
        difference: verified
            .difference
            .map(|difference| Difference { offset: difference.offset, what: difference.what }),
    };
    let state = verify::state(reader, &mut wiring, &task_config, snapshots)?;
    let mut lines = vec![line("state", state)];

    let mut rooms = Rooms::default();
    let (mut difference, mut events) = (None, 0);
    Names::default().events(reader, partition, 0, &mut |entry| {
        difference = rooms.apply(entry.position.offset, &entry.event);
        events += 1;
        let go_on = difference.is_none();
        Ok(if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if difference.is_none() {
        let restored = restore(reader, &mut wiring, &task_config, snapshots)?;
        let inventories = restored.task.stores().find::<Inventory>();
        difference =
            rooms.compare(inventories.context("nothing of the topology uses inventories")?);
    }
    lines.push(Line {
        partition,
        check: "room-nights",
        events,
        room_nights: rooms.changes,
        snapshot_offset: None,
        difference: difference.map(|it| Difference { offset: it.offset, what: it.what }),
    });
    if decisions {
        let decided = verify::decisions(reader, &mut wiring, &task_config)?;
        lines.push(line("decisions", decided));
    }
    Ok(lines)
}

fn print(line: &Line, out: &mut impl std::io::Write) -> Result<()> {
    write!(
        out,
        "partition {}, {}: {}",
        line.partition,
        line.check,
        words::count(line.events, "event")
    )?;
    if line.room_nights > 0 {
        write!(out, ", {}", words::count(line.room_nights, "room-night change"))?;
    }
    if let Some(offset) = line.snapshot_offset {
        write!(out, ", snapshot at {offset}")?;
    }
    match &line.difference {
        None => writeln!(out, ": ok")?,
        Some(Difference { offset, what }) => {
            writeln!(out, ": DIFFERS at event {}@{offset}: {what}", line.partition)?;
        }
    }
    Ok(())
}
