//! `bellhop lag`: what waits to be decided, or to land.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_clickhouse::Server;
use bellhop_core::message::Timestamp;
use bellhop_runtime::clock::{Clock as _, SystemClock};
use bellhop_runtime::log::{Reader, Topic};
use serde::Serialize;

use crate::cli::sink;
use crate::config::Config;
use crate::log::end_of_records;
use crate::output;
use crate::site::SiteArgs;

/// Shows how many commands wait in each partition, and how old the first of them is.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop lag --broker localhost:9092 --registry http://localhost:8081\n  bellhop lag --data ./data --json\n  bellhop lag --sink clickhouse --data ./data"
)]
pub(crate) struct Args {
    #[command(flatten)]
    site: SiteArgs,
    /// Events that wait to land there, instead of commands
    #[arg(long, value_name = "SINK")]
    sink: Option<sink::Kind>,
    /// Address of ClickHouse [default: `clickhouse.url` of the configuration]
    #[arg(long, value_name = "URL", requires = "sink")]
    clickhouse: Option<String>,
    /// Print JSON, one object a partition
    #[arg(long)]
    json: bool,
}

/// What waits in a partition.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Lag {
    pub(crate) partition: u32,
    /// Offset of the next record to take: a command to decide, an event to land.
    pub(crate) next: u64,
    /// Offset behind the last one.
    pub(crate) end: u64,
    /// Records that wait. On a broker, markers of transactions between them count as well.
    pub(crate) records: u64,
    /// Seconds since the first of them was appended.
    pub(crate) age_seconds: f64,
}

/// What waits in every partition.
///
/// # Errors
/// When the log cannot be read.
fn of(reader: &mut dyn Reader) -> Result<Vec<Lag>> {
    let now = SystemClock::default().now();
    let partitions = 0..reader.identity().partitions;
    let of_partition = |partition| {
        let next = reader.committed(partition)?.map_or(0, |progress| progress.next_offset);
        behind(reader, Topic::Commands, partition, next, now)
    };
    partitions.map(of_partition).collect()
}

/// What waits to land, of every partition; `landed` are the offsets behind what has.
fn of_sink(reader: &mut dyn Reader, landed: &BTreeMap<u32, u64>) -> Result<Vec<Lag>> {
    let now = SystemClock::default().now();
    (0..reader.identity().partitions)
        .map(|partition| {
            let next = landed.get(&partition).copied().unwrap_or(0);
            behind(reader, Topic::Events, partition, next, now)
        })
        .collect()
}

/// What waits in a partition of a topic, from an offset on.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn behind(
    reader: &mut dyn Reader,
    topic: Topic,
    partition: u32,
    next: u64,
    now: Timestamp,
) -> Result<Lag> {
    let end = end_of_records(reader, topic, partition)?;
    let mut first = None;
    if next < end {
        reader.read(topic, partition, next, &mut |record| {
            first = Some((record.offset, record.timestamp));
            ControlFlow::Break(())
        })?;
    }
    let age = first.map_or(0, |(_, at)| now.0.saturating_sub(at.0).max(0));
    let records = first.map_or(0, |(first, _)| end.saturating_sub(first));
    Ok(Lag { partition, next, end, records, age_seconds: age as f64 / 1e6 })
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let mut reader = args.site.site(config)?.reader()?;
    let lags = match args.sink {
        None => of(&mut *reader)?,
        Some(sink::Kind::Clickhouse) => {
            let server = Server::new(&config.clickhouse.target(args.clickhouse.as_deref()))?;
            server.check_log(reader.identity())?;
            of_sink(&mut *reader, &bellhop_clickhouse::landed(&server)?)?
        }
    };
    let mut out = output::stdout();
    if args.json {
        for lag in &lags {
            output::json_line(&mut out, lag)?;
        }
    } else {
        let mut table = output::table(&["partition", "next", "end", "waiting", "age"], 0);
        for lag in &lags {
            let age =
                if lag.records == 0 { String::new() } else { format!("{:.1} s", lag.age_seconds) };
            table.add_row([
                lag.partition.to_string(),
                output::thousands(lag.next),
                output::thousands(lag.end),
                output::thousands(lag.records),
                age,
            ]);
        }
        writeln!(out, "{table}")?;
        let waiting: u64 = lags.iter().map(|lag| lag.records).sum();
        writeln!(out, "{} waiting in all", output::thousands(waiting))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
