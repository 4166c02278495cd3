//! The embedded log under the AVAIL load: polled, decided, durable (an fsync per batch of at most
//! 10 ms), on however many processors the process is pinned to.
//!
//! Prints one line of JSON. `cargo xtask bench embedded` pins it and shows it as a table.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark talks and may fail")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_core::message::LogId;
use bellhop_core::record::Records;
use bellhop_core::topology::{Topology, Wire};
use bellhop_handlers as _;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::embedded::{Embedded, Options, Tuning};
use bellhop_runtime::log::{Command, Log, Producer, Reader, Timestamps, Topic};
use bellhop_runtime::wiring::OwnSchemas;
use bellhop_runtime::worker::{Config, Parts, Worker};
use bellhop_tests::avail::Load;
use uuid::Uuid;

/// Commands of one append.
const APPEND: usize = 20_000;

fn main() {
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let load = Load { commands: 500_000, ..Load::default() };
    let mut rates = Vec::new();
    let mut bytes = 0;
    for _ in 0..3 {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(SystemClock::default());
        let options = Options {
            partitions: load.partitions,
            timestamps: Timestamps::Create,
            log_id: LogId(Uuid::from_u128(42 << 90)),
        };
        let log =
            Embedded::open_or_create(folder.path(), &options, Tuning::default(), clock.clone())
                .expect("a log");
        let mut member = log.join();
        let wire = Wire::new(&topology, |name| {
            let schemas = topology.schemas();
            let (_, text) = schemas.iter().find(|(other, _)| *other == name).expect("a schema");
            Log::schema_id(&mut member, name, text).expect("an id")
        });
        drop(member);
        let commands = load.generate(&wire);
        let mut producer = log.clone();
        append(&mut producer, &commands.catalog);
        let join_log = log.clone();
        let mut worker = Worker::new(
            Config { batch_wait: Duration::from_millis(10), ..Config::default() },
            Parts {
                name: "bench".to_owned(),
                assignments: Arc::default(),
                join: Box::new(move || Ok(Box::new(join_log.join()))),
                topology: topology.clone(),
                resolve: Arc::new(OwnSchemas::of(&topology)),
                clock,
                saver: None,
                standby: None,
                observer: None,
                meter: Default::default(),
                spans: None,
            },
        )
        .expect("a worker");
        drain(&mut worker, &mut producer, load.partitions);
        append(&mut producer, &commands.load);
        let started = Instant::now();
        drain(&mut worker, &mut producer, load.partitions);
        rates.push(load.commands as f64 / started.elapsed().as_secs_f64());
        bytes = folder
            .path()
            .read_dir()
            .expect("a folder")
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .map(|file| file.len())
            .sum();
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{{\"benchmark\":\"embedded\",\"commands\":{},\"bytes_on_disk\":{bytes},\"per_second\":{{\"min\":{:.0},\"median\":{:.0},\"max\":{:.0}}}}}",
        load.commands,
        rates[0],
        rates[rates.len() / 2],
        rates[rates.len() - 1],
    );
}

fn append(producer: &mut impl Producer, partitions: &[Records]) {
    for records in partitions {
        let commands: Vec<Command<'_>> = records
            .iter()
            .map(|record| Command {
                key: record.key,
                value: record.value,
                timestamp: record.timestamp,
                headers: &[],
            })
            .collect();
        for some in commands.chunks(APPEND) {
            producer.append(some, None).expect("an append");
        }
    }
}

/// Steps until every command is committed.
fn drain(worker: &mut Worker, reader: &mut impl Reader, partitions: u32) {
    loop {
        worker.step(Duration::from_millis(20)).expect("a step");
        let done = |partition| {
            let end = reader.end(Topic::Commands, partition).expect("an end");
            worker.task(partition).is_some_and(|task| task.progress().next_offset >= end)
        };
        if worker.is_settled() && (0..partitions).all(done) {
            return;
        }
    }
}
