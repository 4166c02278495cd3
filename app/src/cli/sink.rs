//! `bellhop sink`: events land elsewhere.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use bellhop_clickhouse::{Error, ErrorKind, Sink, Status};
use bellhop_runtime::log::Topic;
use clap::Subcommand;

use crate::config::Config;
use crate::log::end_of_records;
use crate::site::{OpenLog, SiteArgs};
use crate::workers::Stop;
use crate::{output, words};

/// Group of the sinks that land in ClickHouse.
const GROUP: &str = "bellhop-clickhouse";
const AGAIN: Duration = Duration::from_millis(500);

/// Lands every event in another system, each of them once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop sink clickhouse --broker localhost:9092 --registry http://localhost:8081 --clickhouse http://localhost:8123\n  bellhop sink clickhouse --data ./data --until-caught-up"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Target {
    /// Into the tables of ClickHouse that `bellhop migrate` makes
    Clickhouse {
        #[command(flatten)]
        site: SiteArgs,
        /// Address of the server [default: `clickhouse.url` of the configuration]
        #[arg(long, value_name = "URL")]
        clickhouse: Option<String>,
        /// End when all events that are there at the start have landed
        #[arg(long)]
        until_caught_up: bool,
    },
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let Target::Clickhouse { site, clickhouse, until_caught_up } = &args.target;
    let stop = Stop::on_signals();
    let log = site.site(config)?.open()?;
    let target = config.clickhouse.target(clickhouse.as_deref());
    let status = land(&log, &target, *until_caught_up, &stop)?;
    let mut out = output::stdout();
    writeln!(
        out,
        "{} landed as {} in {}",
        words::count(status.events, "event"),
        words::count(status.rows, "row"),
        words::count(status.batches, "batch"),
    )?;
    if status.parked > 0 {
        writeln!(out, "{} could not be made into rows: see the table `parked`", status.parked)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Lands events until somebody asks to stop, or all that were there have landed.
///
/// # Errors
/// When somebody has to act; what mends itself is tried again.
pub(crate) fn land(
    log: &OpenLog,
    target: &bellhop_clickhouse::Config,
    until_caught_up: bool,
    stop: &Stop,
) -> Result<Status> {
    let mut reader = log.reader();
    let ends = (0..log.identity().partitions)
        .map(|partition| Ok((partition, end_of_records(&mut *reader, Topic::Events, partition)?)))
        .collect::<Result<Vec<_>>>()?;
    drop(reader);
    let total: u64 = ends.iter().map(|(_, end)| end).sum();
    let bar = output::progress("landing", if until_caught_up { total } else { 0 });
    let mut all = Status::default();
    while !stop.is_asked() {
        let done = |before: u64, status: &Status| {
            bar.set_position(before + status.events);
            let landed = |(partition, end): &(u32, u64)| {
                *end == 0 || status.next.get(partition).is_some_and(|next| next >= end)
            };
            stop.is_asked() || (until_caught_up && ends.iter().all(landed))
        };
        match once(log, target, &mut all, &done) {
            Ok(()) => break,
            Err(error) if matches!(error.kind(), ErrorKind::Retry | ErrorKind::Fenced) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "joining the sinks again");
                std::thread::sleep(AGAIN);
            }
            Err(error) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    Ok(all)
}

/// One membership in the group of sinks.
fn once(
    log: &OpenLog,
    target: &bellhop_clickhouse::Config,
    all: &mut Status,
    done: &dyn Fn(u64, &Status) -> bool,
) -> Result<(), Error> {
    let mut sink = Sink::new(target.clone(), log.consumer(GROUP)?)?;
    let before = all.events;
    let ran = sink.run_until(|status| done(before, status)).map(drop);
    add(all, sink.status().clone());
    ran
}

fn add(all: &mut Status, more: Status) {
    all.events += more.events;
    all.rows += more.rows;
    all.batches += more.batches;
    all.parked += more.parked;
    all.retries += more.retries;
}
