//! The contender under test: one worker over the log, on one thread, as `bellhop run` has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bellhop_core::headers::Written;
use bellhop_core::topology::Topology;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::redpanda::{Config, Redpanda};
use bellhop_runtime::log::{ErrorKind, Reader, Topic};
use bellhop_runtime::standby::{self, Standby};
use bellhop_runtime::wiring::{OwnSchemas, Resolve};
use bellhop_runtime::worker::{self, Parts, Worker};
use xxhash_rust::xxh3::xxh3_64;

use crate::usage::Usage;
use crate::world::{LOG_ID, PARTITIONS};

/// As `bellhop run` has it, and the oracle.
pub(crate) fn worker_config() -> worker::Config {
    worker::Config { version: env!("CARGO_PKG_VERSION").to_owned(), ..worker::Config::default() }
}

/// Works until all commands are committed; or for ever, that is until it is killed, or told to stop
/// by a word on its standard input. With standby it first makes copies of all partitions.
pub(crate) fn run(config: &Config, headers: Written, for_ever: bool, with_standby: bool) {
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let log = Redpanda::connect(config, LOG_ID).expect("a log");
    let join_log = log.clone();
    let resolve: Arc<dyn Resolve> = Arc::new(OwnSchemas::of(&topology));
    let standby = with_standby.then(|| {
        let parts = standby::Parts {
            reader: Box::new(log.reader()),
            topology: topology.clone(),
            resolve: resolve.clone(),
            snapshots: None,
        };
        let standby = Standby::threaded(&worker_config(), parts).expect("a thread");
        standby.step();
        standby
    });
    let parts = Parts {
        name: "bench".to_owned(),
        assignments: Arc::default(),
        join: Box::new(move || Ok(Box::new(join_log.join()?))),
        resolve,
        topology,
        clock: Arc::new(SystemClock::default()),
        saver: None,
        standby,
        observer: None,
        meter: Default::default(),
        spans: None,
    };
    let mut reader = log.reader();
    let mut ends = Vec::new();
    for partition in 0..PARTITIONS {
        ends.push(reader.end(Topic::Commands, partition).expect("an end"));
    }
    drop(reader);
    let told = worker::Config { headers, ..worker_config() };
    let mut worker = Worker::new(told, parts).expect("a worker");
    let next = |worker: &Worker, partition: u32| {
        worker.task(partition).map_or(0, |task| task.progress().next_offset)
    };
    if for_ever {
        return work(&mut worker);
    }
    let mut first = None;
    loop {
        if let Err(error) = worker.step(Duration::from_millis(50)) {
            assert_eq!(error.kind, ErrorKind::Retry, "{error}: {:?}", error.source);
            std::thread::sleep(Duration::from_millis(100));
        }
        if first.is_none() && (0..PARTITIONS).any(|partition| next(&worker, partition) > 0) {
            first = Some(Instant::now());
        }
        let mut all = (0..PARTITIONS).zip(&ends);
        if worker.is_settled() && all.all(|(partition, end)| next(&worker, partition) >= *end) {
            break;
        }
    }
    let wall = first.map_or(Duration::ZERO, |first| first.elapsed());
    let mut usage = Usage::now(ends.iter().sum(), wall, 0, 0);
    usage.state = state_hash((0..PARTITIONS).map(|partition| {
        let mut state = Vec::new();
        worker.task(partition).expect("a partition").snapshot(&mut state);
        state
    }));
    println!("{}", usage.write());
}

/// Tells how many partitions it owns whenever that changes.
fn work(worker: &mut Worker) {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    std::thread::spawn(move || {
        let mut word = String::new();
        if std::io::stdin().read_line(&mut word).is_ok_and(|bytes| bytes > 0) {
            told.store(true, Ordering::Relaxed);
        }
    });
    let mut owned = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            worker.stop();
            if worker.is_settled() {
                return;
            }
        }
        if let Err(error) = worker.step(Duration::from_millis(50)) {
            assert_eq!(error.kind, ErrorKind::Retry, "{error}: {:?}", error.source);
            std::thread::sleep(Duration::from_millis(100));
        }
        let owns = worker.status().partitions.len();
        if owns != owned {
            owned = owns;
            println!("owns {owned}");
        }
    }
}

/// Hash of the states of all partitions, in their order.
pub(crate) fn state_hash(states: impl Iterator<Item = Vec<u8>>) -> u64 {
    states.fold(0_u64, |hash, state| hash.rotate_left(7) ^ xxh3_64(&state))
}
