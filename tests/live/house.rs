//! A set of topics on the cluster, what runs on it, and the count at the end.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::process::Command as Process;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bellhop_core::avro::{Avro, Reader as AvroReader};
use bellhop_core::headers::Written;
use bellhop_core::message::{LogId, Meta};
use bellhop_core::record::unframe;
use bellhop_core::topology::Topology;
use bellhop_harness::{Kafka, Registry, Server};
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::redpanda::topics::{self, Wanted};
use bellhop_runtime::log::redpanda::{Config, Guarantee, Redpanda, Sender};
use bellhop_runtime::log::{Error, Log, Reader, Topic};
use bellhop_runtime::standby::{self, Standby};
use bellhop_runtime::telemetry::Spans;
use bellhop_runtime::verify;
use bellhop_runtime::wiring::{OwnSchemas, Wiring};
use bellhop_runtime::worker::{self, Join, Observer, Parts, Worker};
use bellhop_schemas::resolve::{Resolution, resolve};
use bellhop_tests::hands::{Pen, append, counter_in, read};
use bellhop_tests::toy::Add;
use tempfile::TempDir;
use uuid::Uuid;

use crate::embedded;

pub(crate) const PARTITIONS: u32 = 4;
/// Bytes of the largest command that the topic takes.
pub(crate) const COMMAND_BYTES: u64 = 12 << 20;
/// What a process that is a worker is told.
const CHILD: &str = "BELLHOP_TEST_LIVE_WORKER";
const AT_LEAST_ONCE: &str = "at-least-once";
/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The services of this binary.
pub(crate) struct Cluster {
    pub(crate) kafka: Kafka,
    pub(crate) registry: Registry,
}

fn cluster() -> &'static RwLock<Cluster> {
    static CLUSTER: OnceLock<RwLock<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let (kafka, registry) = (Kafka::start(1).unwrap(), Registry::start().unwrap());
        RwLock::new(Cluster { kafka, registry })
    })
}

/// The cluster, shared with other tests.
pub(crate) fn shared() -> RwLockReadGuard<'static, Cluster> {
    cluster().read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The cluster, with no other test on it.
pub(crate) fn alone() -> RwLockWriteGuard<'static, Cluster> {
    cluster().write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(crate) fn topology() -> Arc<Topology> {
    Arc::new(Topology::discover().unwrap())
}

/// What a variable of the environment says, if it is set.
pub(crate) fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{name}={it}")))
}

/// The program's own schemas, and how older and newer ones are read.
pub(crate) fn own_schemas(topology: &Topology) -> OwnSchemas {
    let schemas = topology.schemas().into_iter().map(|(name, text)| (name.to_owned(), text));
    OwnSchemas::new(schemas.collect(), |writer, own, unknown| {
        let resolved = resolve(writer, own, unknown).map(Resolution::into_transcode);
        resolved.map_err(|error| error.to_string())
    })
}

pub(crate) fn worker_config() -> worker::Config {
    worker::Config {
        version: "1".to_owned(),
        batch_records_max: 200,
        batch_wait: Duration::from_millis(2),
        ..worker::Config::default()
    }
}

/// A worker over a log, with no snapshots: what it knows, it has from the events.
pub(crate) fn worker(log: &Redpanda) -> Worker {
    worker_with(log, None)
}

/// Copies of the partitions of a log that this one's workers do not own.
pub(crate) fn standby(log: &Redpanda) -> Arc<Standby> {
    let topology = topology();
    let parts = standby::Parts {
        reader: Box::new(log.reader()),
        resolve: Arc::new(own_schemas(&topology)),
        topology,
        snapshots: None,
    };
    Standby::threaded(&worker_config(), parts).unwrap()
}

pub(crate) fn worker_with(log: &Redpanda, standby: Option<Arc<Standby>>) -> Worker {
    let log = log.clone();
    worker_of(Box::new(move || Ok(Box::new(log.join()?))), standby)
}

/// A worker that tells a transactional id of its present membership.
pub(crate) fn worker_that_tells(log: &Redpanda, id: &Arc<Mutex<String>>) -> Worker {
    let (log, id) = (log.clone(), id.clone());
    let join = move || -> Result<Box<dyn Log>, Error> {
        let member = log.join()?;
        let [first, _] = member.transactional_ids();
        *id.lock().unwrap() = first;
        Ok(Box::new(member))
    };
    worker_of(Box::new(join), None)
}

/// A worker that tells of each outcome when it is committed.
pub(crate) fn worker_observed(log: &Redpanda, observer: Observer) -> Worker {
    let log = log.clone();
    let parts = parts(Box::new(move || Ok(Box::new(log.join()?))), None);
    Worker::new(worker_config(), Parts { observer: Some(observer), ..parts }).unwrap()
}

/// A worker that writes headers and tells what it does.
pub(crate) fn worker_traced(log: &Redpanda, headers: Written, spans: Spans) -> Worker {
    let log = log.clone();
    let parts = parts(Box::new(move || Ok(Box::new(log.join()?))), None);
    let parts = Parts { spans: Some(spans), ..parts };
    Worker::new(worker::Config { headers, ..worker_config() }, parts).unwrap()
}

fn worker_of(join: Join, standby: Option<Arc<Standby>>) -> Worker {
    Worker::new(worker_config(), parts(join, standby)).unwrap()
}

pub(crate) fn parts(join: Join, standby: Option<Arc<Standby>>) -> Parts {
    let topology = topology();
    Parts {
        name: "worker".to_owned(),
        assignments: Arc::default(),
        join,
        resolve: Arc::new(own_schemas(&topology)),
        topology,
        clock: Arc::new(SystemClock::default()),
        saver: None,
        standby,
        observer: None,
        meter: Default::default(),
        spans: None,
    }
}

/// A worker in a thread of this process.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(log: &Redpanda) -> Self {
        Self::of(worker(log))
    }

    pub(crate) fn of(mut worker: Worker) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || worker.run_until(&told).unwrap());
        Self { stop, thread }
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// If this process was started as a worker: works until it is killed.
pub(crate) fn work_if_child() {
    work_if_child_as(worker_config());
}

/// As [`work_if_child`], configured so.
pub(crate) fn work_if_child_as(worker_config: worker::Config) {
    let Ok(told) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = told.split('|').collect();
    let [brokers, registry, prefix, guarantee] = words.as_slice() else { panic!("{told}") };
    let mut config = Config::new(brokers, registry);
    config.prefix = (*prefix).to_owned();
    config.group.clone_from(&config.prefix);
    if *guarantee == AT_LEAST_ONCE {
        config.guarantee = Guarantee::AtLeastOnce;
    }
    let log = Redpanda::connect(&config, LogId(Uuid::from_u128(0xbad))).unwrap();
    let parts = parts(Box::new(move || Ok(Box::new(log.join()?))), None);
    let mut worker = Worker::new(worker_config, parts).unwrap();
    worker.run_until(&AtomicBool::new(false)).unwrap();
}

/// A set of topics, and the commands in it.
pub(crate) struct House {
    pub(crate) config: Config,
    partitions: u32,
    pub(crate) log: Redpanda,
    pub(crate) pen: Pen,
    sender: Sender,
    /// By partition: the offsets of what was sent, and their idempotency keys.
    pub(crate) sent: BTreeMap<u32, Vec<(u64, String)>>,
    number: u64,
    folder: TempDir,
}

impl House {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self::on(&cluster.kafka.brokers(), &cluster.registry.url())
    }

    pub(crate) fn on(brokers: &str, registry: &str) -> Self {
        Self::of(PARTITIONS, brokers, registry)
    }

    pub(crate) fn of(partitions: u32, brokers: &str, registry: &str) -> Self {
        Self::with(partitions, Config::new(brokers, registry))
    }

    pub(crate) fn with(partitions: u32, mut config: Config) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        config.prefix = format!("live-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        config.group.clone_from(&config.prefix);
        let wanted = Wanted { partitions, command_bytes: COMMAND_BYTES, ..Wanted::default() };
        topics::create(&config, &wanted).unwrap();
        let log = Redpanda::connect(&config, LogId(Uuid::from_u128(8 << 100))).unwrap();
        let mut sender = log.sender();
        let pen = Pen::of(&mut sender);
        let folder = TempDir::new().unwrap();
        let sent = BTreeMap::new();
        Self { config, partitions, log, pen, sender, sent, number: 0, folder }
    }

    /// Sends so many commands, each with a key of its own, over all partitions.
    pub(crate) fn send(&mut self, count: u64) {
        let numbers = self.number..self.number + count;
        self.number += count;
        let keys: Vec<String> = numbers.clone().map(|number| format!("number {number}")).collect();
        let written: Vec<_> = numbers
            .zip(&keys)
            .map(|(number, key)| {
                let nth = (number % 11) as u32;
                let counter = counter_in(nth % self.partitions, self.partitions, nth);
                self.pen.write(key, &Add { counter, amount: 1, note: "n".repeat(100) })
            })
            .collect();
        for ((partition, offset), key) in append(&mut self.sender, &written).into_iter().zip(keys) {
            self.sent.entry(partition).or_default().push((offset, key));
        }
    }

    /// A worker in a process of its own, which runs the test of that name.
    pub(crate) fn process(&self, test: &str) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Config { brokers, registry, prefix, guarantee, .. } = &self.config;
        let guarantee = match guarantee {
            Guarantee::ExactlyOnce => "exactly-once",
            Guarantee::AtLeastOnce => AT_LEAST_ONCE,
        };
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.path().join(format!("worker-{nth}.log"));
        File::create(&log).unwrap();
        let mut command = Process::new(std::env::current_exe().unwrap());
        command.env(CHILD, format!("{brokers}|{}|{prefix}|{guarantee}", registry.url)).args([
            "--nocapture",
            "--exact",
            test,
        ]);
        Server::start("worker", &mut command, &log).unwrap()
    }

    /// Whether all that was sent is decided and committed.
    pub(crate) fn is_decided(&self, reader: &mut dyn Reader) -> bool {
        self.sent.iter().all(|(partition, sent)| {
            let last = sent.last().map_or(0, |(offset, _)| *offset);
            let committed = reader.committed(*partition).unwrap();
            committed.is_some_and(|progress| progress.next_offset > last)
        })
    }

    pub(crate) fn wait_decided(&self) {
        let mut reader = self.log.reader();
        let until = Instant::now() + LONG;
        while !self.is_decided(&mut reader) {
            assert!(
                Instant::now() < until,
                "not decided in {LONG:?}: {}",
                self.standing(&mut reader)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends so many commands and waits until some of them are decided: the others are being.
    pub(crate) fn send_and_meet(&mut self, count: u64) {
        let before = self.events();
        self.send(count);
        let until = Instant::now() + LONG;
        while self.events() == before {
            assert!(Instant::now() < until, "nothing is decided");
        }
    }

    /// How far each partition is: last command sent, end of what is committed of the commands,
    /// progress, end of the events.
    pub(crate) fn standing(&self, reader: &mut dyn Reader) -> String {
        let mut text = String::new();
        for (partition, sent) in &self.sent {
            let last = sent.last().map(|(offset, _)| *offset);
            let ends = [Topic::Commands, Topic::Events].map(|it| reader.end(it, *partition).ok());
            let committed = reader.committed(*partition).ok().flatten();
            let next = committed.map(|progress| progress.next_offset);
            text.push_str(&format!("\n{partition}: {last:?} {:?} {next:?} {:?}", ends[0], ends[1]));
        }
        text
    }

    /// How many events there are, the geneses not counted.
    pub(crate) fn events(&self) -> usize {
        let mut reader = self.log.reader();
        let all = 0..self.partitions;
        all.map(|partition| read(&mut reader, Topic::Events, partition, 0).len() - 1).sum()
    }

    /// Every command has one outcome, in its order, and the events are those of the embedded log for
    /// the same commands at the same positions.
    pub(crate) fn check(&self) {
        self.wait_decided();
        let mut reader = self.log.reader();
        let expected = embedded::events(&mut reader);
        let topology = topology();
        let mut wiring = Wiring::to_read(topology.clone(), Arc::new(own_schemas(&topology)));
        for (partition, expected) in (0..).zip(expected) {
            let events = read(&mut reader, Topic::Events, partition, 0);
            let sent = self.sent.get(&partition).cloned().unwrap_or_default();
            let found: Vec<(u64, String)> = events
                .iter()
                .skip(1)
                .map(|event| {
                    let (_, datum) = unframe(&event.value).unwrap();
                    let source = Meta::decode(&mut AvroReader::new(datum)).unwrap().source.unwrap();
                    (source.position().offset, source.idempotency_key.unwrap().into())
                })
                .collect();
            let differs =
                (0..).zip(found.iter().zip(&sent)).find(|(_, (found, sent))| found != sent);
            assert_eq!(
                (differs, found.len()),
                (None, sent.len()),
                "partition {partition}: one outcome a command, in order"
            );
            let same = embedded::promised(&events) == expected;
            assert!(same, "partition {partition}: not the events of the embedded log");
            let task = worker_config().task(self.log.identity(), partition);
            let verified = verify::decisions(&mut reader, &mut wiring, &task).unwrap();
            assert_eq!(verified.difference, None, "partition {partition}");
        }
    }

    /// As [`House::check`], where an event may stand twice: the first of each are the embedded
    /// log's, in its order, and the others are the same bytes. Gives how many others there are.
    pub(crate) fn check_at_least_once(&self) -> usize {
        self.wait_decided();
        let mut reader = self.log.reader();
        let mut again = 0;
        for (partition, expected) in (0..).zip(embedded::events(&mut reader)) {
            let events = embedded::promised(&read(&mut reader, Topic::Events, partition, 0));
            let mut met = HashSet::new();
            let first: Vec<_> = events.iter().filter(|event| met.insert(*event)).collect();
            again += events.len() - first.len();
            let same = first.into_iter().eq(&expected);
            assert!(same, "partition {partition}: not the events of the embedded log");
        }
        again
    }
}
