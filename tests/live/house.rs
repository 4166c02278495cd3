//! A set of topics on the cluster, what runs on it, and the count at the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Command as Process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bellhop_core::avro::{Avro, Reader as AvroReader};
use bellhop_core::message::{LogId, Meta};
use bellhop_core::record::unframe;
use bellhop_core::topology::Topology;
use bellhop_harness::{Kafka, Registry, Server};
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::redpanda::topics::{self, Wanted};
use bellhop_runtime::log::redpanda::{Config, Redpanda, Sender};
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::verify;
use bellhop_runtime::wiring::{OwnSchemas, Wiring};
use bellhop_runtime::worker::{self, Parts, Worker};
use bellhop_tests::hands::{Pen, append, counter_in, read};
use bellhop_tests::toy::Add;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const PARTITIONS: u32 = 4;
/// What a process that is a worker is told.
const CHILD: &str = "BELLHOP_TEST_LIVE_WORKER";
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
    let (log, topology) = (log.clone(), topology());
    let parts = Parts {
        join: Box::new(move || Ok(Box::new(log.join()?))),
        resolve: Arc::new(OwnSchemas::of(&topology)),
        topology,
        clock: Arc::new(SystemClock::default()),
        saver: None,
        observer: None,
    };
    Worker::new(worker_config(), parts).unwrap()
}

/// A worker in a thread of this process.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(log: &Redpanda) -> Self {
        let mut worker = worker(log);
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
    let Ok(told) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = told.split('|').collect();
    let [brokers, registry, prefix] = words.as_slice() else { panic!("{told}") };
    let mut config = Config::new(brokers, registry);
    config.prefix = (*prefix).to_owned();
    config.group.clone_from(&config.prefix);
    let log = Redpanda::connect(&config, LogId(Uuid::from_u128(0xbad))).unwrap();
    worker(&log).run_until(&AtomicBool::new(false)).unwrap();
}

/// A set of topics, and the commands in it.
pub(crate) struct House {
    pub(crate) config: Config,
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
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut config = Config::new(brokers, registry);
        config.prefix = format!("live-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        config.group.clone_from(&config.prefix);
        let wanted =
            Wanted { partitions: PARTITIONS, command_bytes: 12 << 20, ..Wanted::default() };
        topics::create(&config, &wanted).unwrap();
        let log = Redpanda::connect(&config, LogId(Uuid::from_u128(8 << 100))).unwrap();
        let mut sender = log.sender();
        let pen = Pen::of(&mut sender);
        let folder = TempDir::new().unwrap();
        Self { config, log, pen, sender, sent: BTreeMap::new(), number: 0, folder }
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
                let counter = counter_in(nth % PARTITIONS, PARTITIONS, nth);
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
        let Config { brokers, registry, prefix, .. } = &self.config;
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.path().join(format!("worker-{nth}.log"));
        File::create(&log).unwrap();
        let mut command = Process::new(std::env::current_exe().unwrap());
        command.env(CHILD, format!("{brokers}|{}|{prefix}", registry.url)).args([
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

    /// How far each partition is: last command sent, end of what is committed of the commands,
    /// progress, end of the events.
    fn standing(&self, reader: &mut dyn Reader) -> String {
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
        let all = 0..PARTITIONS;
        all.map(|partition| read(&mut reader, Topic::Events, partition, 0).len() - 1).sum()
    }

    /// Every command has one outcome, in its order, and a fresh task decides the same bytes.
    pub(crate) fn check(&self) {
        self.wait_decided();
        let mut reader = self.log.reader();
        let topology = topology();
        let mut wiring = Wiring::to_read(topology.clone(), Arc::new(OwnSchemas::of(&topology)));
        for partition in 0..PARTITIONS {
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
            assert_eq!(found, sent, "partition {partition}: one outcome a command, in order");
            let task = worker_config().task(self.log.identity(), partition);
            let verified = verify::decisions(&mut reader, &mut wiring, &task).unwrap();
            assert_eq!(verified.difference, None, "partition {partition}");
        }
    }
}
