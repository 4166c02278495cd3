//! The embedded log with a worker: commands decided and durable a second.
//!
//! `taskset -c 1 cargo bench -p bellhop-runtime --bench embedded`; a number before it sets how many
//! commands. Commands have about 200 bytes, events about 300; the batch wait is 10 ms.
//! First the commands are appended (each append is synced), then decided from the file, then both
//! at once, as they come in live.

#![allow(missing_docs, unreachable_pub, reason = "a toy; the names say it")]
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measurement for people")]

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bellhop_core::avro::Avro;
use bellhop_core::message::{LogId, MessageKey, Meta};
use bellhop_core::prelude::*;
use bellhop_core::record::frame;
use bellhop_core::topology::Topology;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::embedded::{Embedded, Options, Tuning};
use bellhop_runtime::log::{Command, Producer, Reader, Timestamps, Topic};
use bellhop_runtime::wiring::OwnSchemas;
use bellhop_runtime::worker::{Config, Parts, Worker};
use uuid::Uuid;

const PARTITIONS: u32 = 8;
const APPEND: usize = 5_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro)]
pub struct CounterId(pub Uuid);

impl fmt::Display for CounterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl MessageKey for CounterId {
    fn write(&self, out: &mut Vec<u8>) {
        let mut text = Uuid::encode_buffer();
        out.extend_from_slice(self.0.hyphenated().encode_lower(&mut text).as_bytes());
    }
}

impl StoreKey for CounterId {
    type Partition = Self;
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
#[avro(name = "bench.Counter")]
pub struct Counter {
    pub total: i64,
}

impl State for Counter {
    const NAME: &'static str = "counters";
    type Key = CounterId;
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, bellhop_core::prelude::Command)]
#[avro(name = "bench.Add")]
#[message(key = counter)]
pub struct Add {
    pub counter: CounterId,
    pub amount: i64,
    pub note: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "bench.Added")]
#[message(key = counter, type = "counter.added")]
pub struct Added {
    pub counter: CounterId,
    pub total: i64,
    pub note: String,
}

#[handler]
pub fn add(command: Add, counters: &Store<Counter>) -> Added {
    let Add { counter, amount, note } = command;
    let total = counters.get(&counter).map_or(0, |counter| counter.total) + amount;
    Added { counter, total, note }
}

#[processor]
pub fn count(event: &Added, counters: &mut Store<Counter>) {
    counters.entry(event.counter, Counter::default).total = event.total;
}

struct Written {
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

fn commands(log: &mut Embedded, count: u64) -> Written {
    let topology = Topology::discover().expect("a topology");
    let schemas = topology.schemas();
    let schema = schemas.iter().find(|(name, _)| *name == Add::NAME).expect("a schema");
    let id = log.schema_id(schema.0, &schema.1).expect("an id");
    let note = "x".repeat(80);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for n in 0..count {
        let counter = CounterId(Uuid::from_u128(u128::from(n % 4_000) << 64));
        let (mut key, mut value) = (Vec::new(), Vec::new());
        counter.write(&mut key);
        frame(id, &mut value);
        let message = Uuid::from_u128(u128::from(n) | (7 << 100));
        Meta::of_command(message, &format!("{n:036}"), Timestamp(0)).encode(&mut value);
        Add { counter, amount: 1, note: note.clone() }.encode(&mut value);
        keys.push(key);
        values.push(value);
    }
    Written { keys, values }
}

fn append(log: &mut Embedded, written: &Written) {
    for (keys, values) in written.keys.chunks(APPEND).zip(written.values.chunks(APPEND)) {
        let commands: Vec<Command<'_>> = keys
            .iter()
            .zip(values)
            .map(|(key, value)| Command { key, value, timestamp: Timestamp(0), headers: &[] })
            .collect();
        log.append(&commands, None).expect("append");
    }
}

fn worker(log: &Embedded, topology: &Arc<Topology>, done: &Arc<AtomicU64>) -> Worker {
    let (log, done) = (log.clone(), Arc::clone(done));
    let config = Config {
        version: "bench".to_owned(),
        batch_wait: Duration::from_millis(10),
        ..Config::default()
    };
    let parts = Parts {
        name: "bench".to_owned(),
        assignments: Arc::default(),
        join: Box::new(move || Ok(Box::new(log.join()))),
        topology: Arc::clone(topology),
        resolve: Arc::new(OwnSchemas::of(topology)),
        clock: Arc::new(SystemClock::default()),
        saver: None,
        standby: None,
        spans: None,
        meter: Default::default(),
        observer: Some(Box::new(move |_, _, _| {
            done.fetch_add(1, Ordering::Relaxed);
        })),
    };
    Worker::new(config, parts).expect("a worker")
}

fn run(worker: &mut Worker, done: &AtomicU64, count: u64) {
    while done.load(Ordering::Relaxed) < count {
        worker.step(Duration::from_millis(50)).expect("a step");
    }
}

/// Wall time and CPU time (user and system, all threads) of a phase.
struct Watch {
    start: Instant,
    cpu: f64,
}

impl Watch {
    fn start() -> Self {
        Self { start: Instant::now(), cpu: cpu_seconds() }
    }

    fn print(&self, what: &str, count: u64) {
        let (wall, cpu) = (self.start.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        let (count, thousand) = (count as f64, count as f64 / 1e3);
        println!(
            "{what:<38} {:>6.0} k/s wall, {:>6.0} k/s of CPU ({:.2} us)",
            thousand / wall,
            thousand / cpu,
            cpu * 1e6 / count
        );
    }
}

/// `/proc/self/stat` counts in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn open(dir: &Path, partitions: u32) -> Embedded {
    let log_id = LogId(Uuid::from_u128(5 << 100));
    let options = Options { partitions, timestamps: Timestamps::Append, log_id };
    let clock = Arc::new(SystemClock::default());
    Embedded::open_or_create(dir, &options, Tuning::default(), clock).expect("a log")
}

fn main() {
    let count = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(400_000);
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or("/tmp".to_owned()));
    let dir = dir.expect("a folder");
    let mut log = open(dir.path(), PARTITIONS);
    let written = commands(&mut log, count);
    println!("{count} commands of {} bytes", written.keys[0].len() + written.values[0].len());

    let watch = Watch::start();
    append(&mut log, &written);
    watch.print("append, synced each 5,000", count);

    let done = Arc::new(AtomicU64::new(0));
    let mut one = worker(&log, &topology, &done);
    let watch = Watch::start();
    run(&mut one, &done, count);
    watch.print("decide from the file, durable", count);
    let mut event = 0;
    log.read(Topic::Events, 0, 1, &mut |record| {
        event = record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
        std::ops::ControlFlow::Break(())
    })
    .expect("an event");
    drop(one);

    let stored = std::fs::metadata(dir.path().join("log.redb")).expect("a file").len();
    println!("events of {event} bytes, file of {} MB", stored >> 20);
    let crashed = tempfile::tempdir_in(dir.path()).expect("a folder");
    std::fs::copy(dir.path().join("log.redb"), crashed.path().join("log.redb")).expect("a copy");
    let start = Instant::now();
    drop(open(crashed.path(), PARTITIONS));
    println!("recovered as after a kill in {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    drop(log);
    let log = open(dir.path(), PARTITIONS);
    println!("closed and opened in {} ms", start.elapsed().as_millis());
    let watch = Watch::start();
    let mut again = worker(&log, &topology, &done);
    again.step(Duration::from_millis(50)).expect("a step");
    watch.print("restore by folding all events", count);
    drop((again, log, dir));

    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or("/tmp".to_owned()));
    let dir = dir.expect("a folder");
    let mut log = open(dir.path(), PARTITIONS);
    let written = commands(&mut log, count);
    let done = Arc::new(AtomicU64::new(0));
    let mut one = worker(&log, &topology, &done);
    let watch = Watch::start();
    let producer = std::thread::spawn(move || append(&mut log, &written));
    run(&mut one, &done, count);
    watch.print("append and decide at once, durable", count);
    producer.join().expect("the producer");
}
