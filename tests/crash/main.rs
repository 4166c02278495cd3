//! A process that appends and decides is killed (SIGKILL) at random moments, many times; afterwards
//! every command that was acknowledged is there, with exactly one outcome.
//!
//! The test runs itself as the child.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bellhop_core::avro::{Avro, Reader as AvroReader};
use bellhop_core::message::{LogId, Meta, Timestamp};
use bellhop_core::record::unframe;
use bellhop_core::topology::Topology;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::embedded::{Embedded, Options, Tuning};
use bellhop_runtime::log::{Bookmark, Command, Producer, Reader, Timestamps, Topic};
use bellhop_runtime::snapshot::{Folder, Saver};
use bellhop_runtime::verify;
use bellhop_runtime::wiring::{OwnSchemas, Wiring};
use bellhop_runtime::worker::{Config, Parts, Worker};
use bellhop_tests::hands::{Pen, counter_in, read};
use bellhop_tests::toy::Add;
use uuid::Uuid;

const PARTITIONS: u32 = 3;
const CHILD: &str = "BELLHOP_TEST_CRASH_CHILD";
const BATCH: u64 = 50;

fn open(dir: &Path) -> Embedded {
    let log_id = LogId(Uuid::from_u128(8 << 100));
    let options = Options { partitions: PARTITIONS, timestamps: Timestamps::Append, log_id };
    let clock = Arc::new(SystemClock::default());
    Embedded::open_or_create(dir, &options, Tuning::default(), clock).unwrap()
}

fn config() -> Config {
    Config {
        version: "1".to_owned(),
        batch_records_max: 64,
        batch_wait: Duration::ZERO,
        snapshot_events: 100,
        ..Config::default()
    }
}

fn worker(log: &Embedded, dir: &Path) -> Worker {
    let topology = Arc::new(Topology::discover().unwrap());
    let log = log.clone();
    let store = Arc::new(Folder::at(&dir.join("snapshots")));
    let parts = Parts {
        name: "crash".to_owned(),
        assignments: Arc::default(),
        join: Box::new(move || Ok(Box::new(log.join()))),
        resolve: Arc::new(OwnSchemas::of(&topology)),
        topology,
        clock: Arc::new(SystemClock::default()),
        saver: Some(Arc::new(Saver::threaded(store).unwrap())),
        standby: None,
        observer: None,
        meter: Default::default(),
        spans: None,
    };
    Worker::new(config(), parts).unwrap()
}

/// Appends numbered commands for ever, each batch with its bookmark, while two workers decide.
fn child(dir: &Path) {
    let mut log = open(dir);
    let never = AtomicBool::new(false);
    let pen = Pen::of(&mut log);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut worker = worker(&log, dir);
            let never = &never;
            scope.spawn(move || worker.run_until(never).unwrap());
        }
        let mut next = log.bookmark("numbers").unwrap().unwrap_or(0);
        loop {
            let written: Vec<_> =
                (next..next + BATCH).map(|number| numbered(&pen, number)).collect();
            let commands: Vec<Command<'_>> = written
                .iter()
                .map(|(key, value)| Command { key, value, timestamp: Timestamp(0), headers: &[] })
                .collect();
            next += BATCH;
            log.append(&commands, Some(Bookmark { name: "numbers", next })).unwrap();
            eprintln!("{next}");
        }
    });
}

fn numbered(pen: &Pen, number: u64) -> (Vec<u8>, Vec<u8>) {
    let nth = (number % 11) as u32;
    let counter = counter_in(nth % PARTITIONS, PARTITIONS, nth);
    pen.write(&format!("number {number}"), &Add { counter, amount: 1, note: "n".repeat(100) })
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_and_decides_nothing_twice() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return child(&PathBuf::from(dir));
    }
    let seed = 0x5eed_u64;
    let mut random = seed;
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..25 {
        let mut process = Process::new(std::env::current_exe().unwrap())
            .env(CHILD, dir.path())
            .args(["--nocapture", "--exact"])
            .arg("a_process_killed_at_any_moment_loses_nothing_and_decides_nothing_twice")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after so many lines and some spinning, which is anywhere in the work.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = (random >> 33) % 12;
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        for _ in 0..lines {
            let line = said.next().expect("the child goes on until it is killed").unwrap();
            acknowledged = line.parse().unwrap_or_else(|_| panic!("seed {seed}: {line}"));
        }
        std::thread::park_timeout(Duration::from_micros((random >> 20) % 30_000));
        process.kill().unwrap();
        process.wait().unwrap();
        for line in said.map_while(Result::ok) {
            acknowledged = line.parse().unwrap_or(acknowledged);
        }
        let log = open(dir.path());
        let next = log.clone().bookmark("numbers").unwrap().unwrap_or(0);
        assert!(next >= acknowledged, "seed {seed} round {round}: {next} after {acknowledged}");
        drop(log);
    }
    check(dir.path(), seed);
}

/// Decides what is left, then counts.
fn check(dir: &Path, seed: u64) {
    let mut log = open(dir);
    let total = log.bookmark("numbers").unwrap().unwrap();
    assert!(total > 0, "seed {seed}: nothing was appended");
    let mut last = worker(&log, dir);
    let decided = |log: &mut Embedded| -> bool {
        (0..PARTITIONS).all(|partition| {
            let end = Reader::end(log, Topic::Commands, partition).unwrap();
            let committed = Reader::committed(log, partition).unwrap();
            committed.map_or(0, |progress| progress.next_offset) == end
        })
    };
    while !decided(&mut log) {
        last.step(Duration::from_millis(10)).unwrap();
    }
    drop(last);
    let mut outcomes = BTreeMap::<String, u32>::new();
    for partition in 0..PARTITIONS {
        let commands = read(&mut log, Topic::Commands, partition, 0);
        let events = read(&mut log, Topic::Events, partition, 0);
        assert_eq!(events.len(), commands.len() + 1, "seed {seed}: partition {partition}");
        for (nth, event) in events.iter().enumerate().skip(1) {
            assert_eq!(event.offset, nth as u64, "seed {seed}: no gap");
            let (_, datum) = unframe(&event.value).unwrap();
            let source = Meta::decode(&mut AvroReader::new(datum)).unwrap().source.unwrap();
            assert_eq!(source.position().offset, nth as u64 - 1, "seed {seed}: in order");
            *outcomes.entry(source.idempotency_key.unwrap().into()).or_default() += 1;
        }
    }
    assert_eq!(outcomes.len() as u64, total, "seed {seed}: every number has an outcome");
    assert!(outcomes.values().all(|count| *count == 1), "seed {seed}: and one only");
    let topology = Arc::new(Topology::discover().unwrap());
    let mut wiring = Wiring::to_read(topology.clone(), Arc::new(OwnSchemas::of(&topology)));
    let snapshots = Folder::at(&dir.join("snapshots"));
    for partition in 0..PARTITIONS {
        let task = config().task(log.identity(), partition);
        let state = verify::state(&mut log, &mut wiring, &task, Some(&snapshots)).unwrap();
        assert_eq!(state.difference, None, "seed {seed}: partition {partition}");
        let decisions = verify::decisions(&mut log, &mut wiring, &task).unwrap();
        assert_eq!(decisions.difference, None, "seed {seed}: partition {partition}");
    }
}
