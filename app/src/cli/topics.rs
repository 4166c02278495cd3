//! `bellhop topics`: the topics of a cluster, made and checked.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use bellhop_core::limits::Largest;
use bellhop_runtime::log::Timestamps;
use bellhop_runtime::log::redpanda::topics::{self, Effect, Mismatch, Wanted};
use clap::Subcommand;

use crate::config::Config;
use crate::output;
use crate::site::ClusterArgs;

/// Makes the topics of a cluster, or checks them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop topics create --broker localhost:9092 --registry http://localhost:8081\n  bellhop topics create --partitions 32 --replication 3 --min-insync 2\n  bellhop topics check"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes those that are missing, and leaves the others as they are
    Create(Shape),
    /// Compares them with what is wanted; exit code 1 when a promise would be broken
    Check(Shape),
}

/// What the topics should be like.
#[derive(Debug, clap::Args)]
struct Shape {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Partitions of each topic, for good [default: `partitions` of the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    partitions: Option<u32>,
    /// Copies of each partition [default: the brokers']
    #[arg(long, value_name = "N")]
    replication: Option<u32>,
    /// Copies that must be written before a record counts [default: the brokers']
    #[arg(long, value_name = "N")]
    min_insync: Option<u32>,
    /// Days that commands, replies and effects are kept; commands of replays are kept for ever
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    keep_days: u64,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    match &args.action {
        Action::Create(shape) => create(shape, config),
        Action::Check(shape) => check(shape, config),
    }
}

impl Shape {
    fn wanted(&self, config: &Config, timestamps: Timestamps) -> Wanted {
        let kept = Duration::from_secs(self.keep_days * 24 * 60 * 60);
        Wanted {
            partitions: self.partitions.unwrap_or(config.partitions),
            replication: self.replication,
            min_insync: self.min_insync,
            timestamps,
            commands_retention: (timestamps == Timestamps::Append).then_some(kept),
            replies_retention: kept,
            largest: Largest::of(config.value_bytes_max as usize),
            ..Wanted::default()
        }
    }
}

fn create(shape: &Shape, config: &Config) -> Result<ExitCode> {
    let connection = shape.cluster.connection(config)?;
    let wanted = shape.wanted(config, connection.timestamps.unwrap_or(Timestamps::Append));
    let remembered = config.remembered();
    if let Some(kept) = wanted.commands_retention
        && kept > remembered
    {
        bail!(
            "--keep-days {}: commands would be kept for longer than their idempotency keys are remembered ({} h); raise idempotency_hours for all workers, or keep them for at most {} days",
            shape.keep_days,
            config.idempotency_hours,
            remembered.as_secs() / (24 * 60 * 60)
        );
    }
    let made = topics::create(&connection, &wanted)?;
    let mut out = output::stdout();
    for topic in &made {
        writeln!(out, "made {topic}")?;
    }
    if made.is_empty() {
        writeln!(out, "all topics are there; `bellhop topics check` compares them")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn check(shape: &Shape, config: &Config) -> Result<ExitCode> {
    let mut connection = shape.cluster.connection(config)?;
    connection.remembered = Some(config.remembered());
    connection.largest = Some(Largest::of(config.value_bytes_max as usize));
    let mismatches = topics::check(
        &connection,
        &shape.wanted(config, connection.timestamps.unwrap_or(Timestamps::Append)),
    )?;
    let mut out = output::stdout();
    for mismatch in &mismatches {
        let weight = match mismatch.effect {
            Effect::Differs => "differs",
            Effect::Astray => "COMMANDS GO ASTRAY",
            Effect::Refused => "BREAKS A PROMISE",
        };
        writeln!(out, "{weight}: {mismatch}")?;
    }
    for advice in advice(&mismatches) {
        writeln!(out, "{advice}")?;
    }
    let worst = mismatches.iter().map(|mismatch| mismatch.effect).max();
    let (word, exit) = match worst {
        None => ("all topics are as they should be", ExitCode::SUCCESS),
        Some(Effect::Differs) => {
            ("workers start; mend what differs when you can", ExitCode::SUCCESS)
        }
        Some(Effect::Astray) => (
            "workers start, and decide the partitions that the log was made with",
            ExitCode::from(crate::FAILURE),
        ),
        Some(Effect::Refused) => {
            ("workers refuse to start until the topics are mended", ExitCode::from(crate::FAILURE))
        }
    };
    writeln!(out, "{word}")?;
    out.flush()?;
    Ok(exit)
}

/// What to do about what breaks a promise or leads astray, once each.
fn advice(mismatches: &[Mismatch]) -> BTreeSet<&'static str> {
    let serious = mismatches.iter().filter(|mismatch| mismatch.effect > Effect::Differs);
    let advice = serious.map(|mismatch| match mismatch.what.as_str() {
        "missing" => "next: `bellhop topics create` makes what is missing",
        "partitions" if mismatch.effect == Effect::Astray => {
            "next: leave the other topics as they are, and have producers spread their keys over the partitions that the log was made with: a log cannot grow, and brokers take no partition away. Nothing that was decided is lost. What a producer wrote to a wrong one of them is parked, and `bellhop parked release` sends it home; what it wrote to a new one has to be sent again. A log of another size is a new one (`bellhop topics create --prefix NAME --partitions N`)"
        }
        "partitions" if mismatch.wanted.contains("as the log was made") => {
            "next: the topic was made anew with fewer partitions: restore it"
        }
        "partitions" => {
            "next: no event is in these topics yet: delete the topics that differ, then `bellhop topics create`"
        }
        _ => "next: `kafka-configs.sh --alter --entity-type topics` (`rpk topic alter-config`) sets a topic's settings",
    });
    advice.collect()
}
