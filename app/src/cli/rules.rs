//! `bellhop rules`: what a log is decided by, changed in the order of its commands.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_core::avro::Avro as _;
use bellhop_core::engine::EngineRecord as _;
use bellhop_core::message::{Meta, Timestamp};
use bellhop_core::partition::key_in;
use bellhop_core::record::frame;
use bellhop_core::rules::{ChangeRules, Rules};
use bellhop_runtime::log::Command;

use crate::config::Config;
use crate::site::SiteArgs;
use crate::{output, wiring, words};

/// Makes a log follow `idempotency_hours`, `value_bytes_max` and `retention_days` of the configuration
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A new log takes them over by itself. One that is there keeps its own, whatever its workers are configured with, until this command appends the change to each of its partitions.\n\nExample:\n  BELLHOP_IDEMPOTENCY_HOURS=336 bellhop rules --broker localhost:9092 --registry http://localhost:8081"
)]
pub(crate) struct Args {
    #[command(flatten)]
    site: SiteArgs,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let site = args.site.site(config)?;
    let log = site.open()?;
    let mut producer = log.producer();
    let wire = wiring::wire(&*wiring::topology()?, &mut *producer)?;
    let (partitions, rules) = (log.identity().partitions, config.rules());
    let schema_id = wire.id_of(ChangeRules::NAME).unwrap_or_default();
    let records: Vec<_> = (0..partitions)
        .map(|partition| {
            let mut value = Vec::new();
            frame(schema_id, &mut value);
            Meta::of_command(wiring::random_id(), "rules", Timestamp(0)).encode(&mut value);
            ChangeRules { partition, rules }.encode(&mut value);
            (key_in(partition, partitions), value)
        })
        .collect();
    let commands: Vec<_> = records
        .iter()
        .map(|(key, value)| Command {
            key: key.as_bytes(),
            value,
            // Time does not move by it, also where producers stamp it.
            timestamp: Timestamp(0),
            headers: &[],
        })
        .collect();
    producer.append(&commands, None)?;
    let Rules { idempotency_hours, value_bytes_max, retention_days } = rules;
    let mut out = output::stdout();
    writeln!(
        out,
        "{} {site} will remember keys for {idempotency_hours} hours, decide values of at most {value_bytes_max} bytes and keep reservations for {retention_days} days after their last, from these commands on",
        words::count(u64::from(partitions), "partition"),
    )?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
