//! Broker, registry, the load, the oracle, and the processes of the contenders.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bellhop_core::headers::{TRACEPARENT, Written};
use bellhop_core::message::LogId;
use bellhop_core::record::{Record, Records};
use bellhop_core::task::Task;
use bellhop_core::topology::{Topology, Wire};
use bellhop_handlers as _;
use bellhop_harness::{Kafka, KafkaOptions, Registry};
use bellhop_runtime::log::redpanda::topics::{self, Wanted};
use bellhop_runtime::log::redpanda::{Config, Guarantee, Redpanda};
use bellhop_runtime::log::{Identity, Reader, Timestamps, Topic};
use bellhop_tests::avail::{Commands, Load};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use crate::ours::{state_hash, worker_config};
use crate::raw::{self, Plan, read_sizes, write_sizes};
use crate::usage::{Usage, cpu_of};
use crate::{Options, ours, restore};

pub(crate) const PARTITIONS: u32 = 8;
/// The same in every round, since it is part of the events.
pub(crate) const LOG_ID: LogId = LogId(Uuid::from_u128(42 << 90));
/// Longer than a contender takes.
const LONG: Duration = Duration::from_secs(300);

/// What must come out, by tasks in memory, on one thread.
pub(crate) struct Oracle {
    pub(crate) state: u64,
    events_hash: u64,
    pub(crate) events: u64,
    bytes: u64,
    /// By partition: bytes of each event.
    sizes: Vec<Vec<u32>>,
    /// By partition and command: how many events there are when it is decided.
    pub(crate) events_after: Vec<Vec<u32>>,
}

impl Oracle {
    fn of(commands: &[Vec<Owned>], topology: &Arc<Topology>, wire: &Arc<Wire>) -> Self {
        let identity =
            Identity { partitions: PARTITIONS, log_id: LOG_ID, timestamps: Timestamps::Create };
        let mut events = EventHash::default();
        let (mut states, mut sizes, mut events_after) = (Vec::new(), Vec::new(), Vec::new());
        for (partition, commands) in (0..).zip(commands) {
            let config = worker_config().task(&identity, partition);
            let mut task = Task::new(config, topology.clone(), wire.clone());
            let (mut own_sizes, mut own_after) = (Vec::new(), Vec::new());
            task.write_genesis();
            for (offset, command) in (0..).zip(commands) {
                let record = Record {
                    offset,
                    timestamp: command.timestamp,
                    key: Some(&command.key),
                    value: Some(&command.value),
                    headers: &[],
                };
                task.process(&record).expect("a known schema");
                let output = task.output();
                assert!(output.parked.is_empty() && output.commands.is_empty(), "only events");
                for event in output.events.iter() {
                    events.add(partition, event.key, event.value);
                    own_sizes.push(event.value.len() as u32);
                }
                own_after.push(own_sizes.len() as u32);
                output.clear();
            }
            let mut state = Vec::new();
            task.snapshot(&mut state);
            states.push(state);
            sizes.push(own_sizes);
            events_after.push(own_after);
        }
        let all = sizes.iter().flatten();
        let bytes = all.map(|size| u64::from(*size)).sum();
        let (count, hash) = (events.count, events.hash);
        let state = state_hash(states.into_iter());
        Self { state, events_hash: hash, events: count, bytes, sizes, events_after }
    }

    pub(crate) fn event_bytes(&self) -> f64 {
        self.bytes as f64 / self.events as f64
    }
}

/// Hash of a multiset of events.
#[derive(Default)]
struct EventHash {
    hash: u64,
    count: u64,
}

impl EventHash {
    fn add(&mut self, partition: u32, key: &[u8], value: &[u8]) {
        let mut one = Xxh3::new();
        one.update(&partition.to_le_bytes());
        one.update(&(key.len() as u64).to_le_bytes());
        one.update(key);
        one.update(value);
        self.hash = self.hash.wrapping_add(one.digest());
        self.count += 1;
    }
}

/// A command as it is sent.
pub(crate) struct Owned {
    pub(crate) timestamp: bellhop_core::message::Timestamp,
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Box<[u8]>,
}

fn owned(records: &Records) -> impl Iterator<Item = Owned> + '_ {
    records.iter().map(|record| Owned {
        timestamp: record.timestamp,
        key: record.key.into(),
        value: record.value.into(),
    })
}

pub(crate) struct World {
    /// By partition: the catalog, then the load.
    pub(crate) commands: Vec<Vec<Owned>>,
    /// By partition: how many commands are the catalog's.
    pub(crate) catalog: Vec<usize>,
    pub(crate) oracle: Oracle,
    cpu: usize,
    sizes_file: PathBuf,
    number: AtomicU32,
    kafka: Kafka,
    registry: Registry,
    folder: tempfile::TempDir,
}

/// One of each: ours, ours at least once, and the two baselines over the same commands.
pub(crate) struct Round {
    pub(crate) ours: Usage,
    pub(crate) alo: Usage,
    pub(crate) p1: Usage,
    pub(crate) p2: Usage,
}

/// Restores of the state of all commands.
pub(crate) struct Restores {
    pub(crate) snapshot_bytes: f64,
    pub(crate) rounds: Vec<Restored>,
}

/// From events, the bare loop over the same events, and from snapshots.
pub(crate) struct Restored {
    pub(crate) fold: Usage,
    pub(crate) insert: Usage,
    pub(crate) thaw: Usage,
}

impl Round {
    pub(crate) fn describe(&self) -> String {
        let each = [("ours", &self.ours), ("alo", &self.alo), ("p1", &self.p1), ("p2", &self.p2)];
        let texts = each.map(|(name, usage)| {
            let Usage { count, cpu_us, wall_us, .. } = usage;
            format!("{name} {:.2} us, {:.0} k/s", cpu_us / count, count / wall_us * 1e3)
        });
        let ratio = self.p2.cpu_us / self.ours.cpu_us;
        format!("{}; {ratio:.3} of p2", texts.join("; "))
    }
}

impl World {
    pub(crate) fn start(options: &Options) -> Self {
        let kafka = Kafka::start_with(KafkaOptions {
            heap_mb: 1_024,
            processors: Some(options.broker_cpu.to_string()),
            ..KafkaOptions::default()
        })
        .expect("a broker");
        let registry = Registry::start().expect("a registry");
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(&kafka.brokers(), &registry.url(), "avail-ids");
        let topology = Arc::new(Topology::discover().expect("a topology"));
        make_topics(&config);
        let log = Redpanda::connect(&config, LOG_ID).expect("a log");
        let schemas = topology.schemas();
        let wire = Arc::new(Wire::new(&topology, |name| {
            let (_, text) = schemas.iter().find(|(other, _)| *other == name).expect("a schema");
            log.registry().id_of(name, text).expect("an id")
        }));
        let load = Load { commands: options.commands, partitions: PARTITIONS, ..Load::default() };
        let Commands { catalog, load } = load.generate(&wire);
        let both = catalog.iter().zip(&load);
        let commands: Vec<Vec<Owned>> =
            both.map(|(catalog, load)| owned(catalog).chain(owned(load)).collect()).collect();
        let catalog = catalog.iter().map(Records::len).collect();
        let oracle = Oracle::of(&commands, &topology, &wire);
        let sizes_file = folder.path().join("sizes");
        write_sizes(&sizes_file, &oracle.sizes);
        let (cpu, number) = (options.cpu, AtomicU32::new(0));
        Self { commands, catalog, oracle, cpu, sizes_file, number, kafka, registry, folder }
    }

    pub(crate) fn count(&self) -> usize {
        self.commands.iter().map(Vec::len).sum()
    }

    pub(crate) fn command_bytes(&self) -> f64 {
        let bytes: usize = self.commands.iter().flatten().map(|it| it.value.len()).sum();
        bytes as f64 / self.count() as f64
    }

    pub(crate) fn brokers(&self) -> String {
        self.kafka.brokers()
    }

    /// Topics of their own.
    pub(crate) fn topics(&self) -> Config {
        self.number.fetch_add(1, Ordering::Relaxed);
        let config = self.last_topics();
        make_topics(&config);
        config
    }

    /// Those that were made last.
    pub(crate) fn last_topics(&self) -> Config {
        let number = self.number.load(Ordering::Relaxed);
        config(&self.brokers(), &self.registry.url(), &format!("avail-{number}"))
    }

    /// Writes the first so many commands of each partition.
    pub(crate) fn preload(&self, config: &Config, counts: impl Iterator<Item = usize>) {
        self.preload_with(config, false, counts);
    }

    /// The same, in a trace or not.
    fn preload_with(&self, config: &Config, trace: bool, counts: impl Iterator<Item = usize>) {
        let producer = sender(&self.brokers());
        let topic = config.topic(Topic::Commands);
        for ((partition, commands), count) in (0..).zip(&self.commands).zip(counts) {
            for command in &commands[..count] {
                send_with(&producer, &topic, partition, command, trace);
            }
        }
        producer.flush(Duration::from_secs(60)).expect("the commands are delivered");
    }

    /// One run of each contender.
    pub(crate) fn round(&self) -> Round {
        let config = self.topics();
        self.preload(&config, self.commands.iter().map(Vec::len));
        let ours = self.run("ours", &config);
        self.check(&config, &ours);
        let (p1, p2) = (self.run("p1", &config), self.run("p2", &config));
        // It writes events as ours does, so it has topics of its own.
        let config = self.topics();
        self.preload(&config, self.commands.iter().map(Vec::len));
        let alo = self.run("alo", &config);
        self.check(&config, &alo);
        Round { ours, alo, p1, p2 }
    }

    /// What a new owner takes to have the state of all commands: from events, against the bare
    /// loop, `rounds` times; then from snapshots, as often.
    pub(crate) fn restores(&self, rounds: usize) -> Restores {
        let config = self.topics();
        self.preload(&config, self.commands.iter().map(Vec::len));
        self.run("ours", &config);
        let mut restores = Restores { snapshot_bytes: 0.0, rounds: Vec::new() };
        for _ in 0..rounds {
            let folder = self.folder.path().join("snapshots");
            std::fs::remove_dir_all(&folder).ok();
            let [fold, insert, thaw] =
                ["restore", "insert", "restore"].map(|contender| self.run(contender, &config));
            assert_eq!([fold.state, thaw.state], [self.oracle.state; 2], "restored states");
            restores.rounds.push(Restored { fold, insert, thaw });
            restores.snapshot_bytes = bytes_in(&folder);
        }
        restores
    }

    /// CPU of ours with CloudEvents, and with a trace as well, over ours without headers. Each has
    /// topics of its own.
    pub(crate) fn headers_round(&self) -> [f64; 2] {
        let [off, cloudevents, both] = ["ours", "cloudevents", "headers"].map(|contender| {
            let config = self.topics();
            let trace = contender == "headers";
            self.preload_with(&config, trace, self.commands.iter().map(Vec::len));
            let usage = self.run(contender, &config);
            self.check(&config, &usage);
            usage.cpu_us
        });
        [cloudevents / off, both / off]
    }

    /// Starts a contender on the commands of a set of topics.
    pub(crate) fn spawn(&self, contender: &str, config: &Config, for_ever: bool) -> Child {
        let to = match contender {
            "p1" | "p2" => self.topics().topic(Topic::Events),
            "restore" => self.folder.path().join("snapshots").display().to_string(),
            _ => String::new(),
        };
        let mut command = Command::new("taskset");
        command
            .args(["-c", &self.cpu.to_string()])
            .arg(std::env::current_exe().expect("this program"))
            .args(["child", contender, &self.brokers(), &self.registry.url(), &config.prefix, &to])
            .arg(&self.sizes_file)
            .arg(if for_ever { "for-ever" } else { "once" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.spawn().expect("taskset (package util-linux)")
    }

    fn run(&self, contender: &str, config: &Config) -> Usage {
        let broker = self.kafka.pid(0).expect("a broker");
        let before = cpu_of(broker);
        let started = Instant::now();
        let output = self.spawn(contender, config, false).wait_with_output().expect("a contender");
        assert!(started.elapsed() < LONG && output.status.success(), "{contender} failed");
        let after = cpu_of(broker);
        let text = String::from_utf8(output.stdout).expect("text");
        let mut usage = Usage::parse(&text).expect("a usage");
        let wanted = if is_restore(contender) { self.oracle.events } else { self.count() as u64 };
        assert_eq!(usage.count as u64, wanted, "{contender} did not take every record");
        usage.broker_cpu_us = (after - before).as_secs_f64() * 1e6;
        usage
    }

    /// Holds state and events of ours against the oracle's.
    fn check(&self, config: &Config, ours: &Usage) {
        assert_eq!(ours.state, self.oracle.state, "the state differs from the oracle's");
        let log = Redpanda::connect(config, LOG_ID).expect("a log");
        let mut reader = log.reader();
        let mut events = EventHash::default();
        for partition in 0..PARTITIONS {
            reader
                .read(Topic::Events, partition, 0, &mut |record| {
                    let (key, value) = (record.key, record.value.expect("an event"));
                    events.add(partition, key.unwrap_or_default(), value);
                    ControlFlow::Continue(())
                })
                .expect("the events");
        }
        assert_eq!(events.count, self.oracle.events, "the events are not as many as the oracle's");
        assert_eq!(events.hash, self.oracle.events_hash, "the events differ from the oracle's");
    }
}

fn config(brokers: &str, registry: &str, prefix: &str) -> Config {
    let mut config = Config::new(brokers, registry);
    config.prefix = prefix.to_owned();
    config.group = prefix.to_owned();
    // The load brings its own time, which its decisions depend on.
    config.timestamps = Some(Timestamps::Create);
    config
}

fn make_topics(config: &Config) {
    let wanted = Wanted {
        partitions: PARTITIONS,
        timestamps: Timestamps::Create,
        commands_retention: None,
        ..Wanted::default()
    };
    topics::create(config, &wanted).expect("topics");
}

/// A producer of commands, outside of any transaction.
pub(crate) fn sender(brokers: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("queue.buffering.max.messages", "1000000")
        .set("delivery.report.only.error", "true")
        .create()
        .expect("a producer")
}

/// Hands a command to a producer, when it has room.
pub(crate) fn send(producer: &BaseProducer, topic: &str, partition: i32, command: &Owned) {
    send_with(producer, topic, partition, command, false);
}

fn send_with(producer: &BaseProducer, topic: &str, partition: i32, command: &Owned, trace: bool) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic)
        .partition(partition)
        .key(&command.key)
        .payload(&command.value)
        .timestamp(command.timestamp.0 / 1_000);
    if trace {
        let value = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        record = record.headers(OwnedHeaders::new().insert(Header { key: TRACEPARENT, value }));
    }
    while let Err((_, refused)) = producer.send(record) {
        producer.poll(Duration::from_millis(1));
        record = refused;
    }
}

/// Whether a contender is a bare loop, which writes to a topic that it is told.
pub(crate) fn is_raw(contender: &str) -> bool {
    matches!(contender, "p1" | "p2")
}

/// Whether a contender reads events, not commands.
fn is_restore(contender: &str) -> bool {
    matches!(contender, "restore" | "insert")
}

/// Bytes of the files in a folder of folders.
fn bytes_in(folder: &Path) -> f64 {
    let inside = |folder: &Path| {
        std::fs::read_dir(folder).expect("a folder").map(|it| it.expect("an entry"))
    };
    let files = inside(folder).flat_map(|folder| inside(&folder.path()));
    files.map(|file| file.metadata().expect("a file").len() as f64).sum()
}

/// A contender's process.
pub(crate) fn child(arguments: &[String]) {
    let [contender, brokers, registry, prefix, to, sizes, how_long] = arguments else {
        panic!("a contender is told seven things, not {arguments:?}");
    };
    let config = config(brokers, registry, prefix);
    let for_ever = how_long == "for-ever";
    let from = config.topic(Topic::Commands);
    let sizes = || read_sizes(Path::new(sizes));
    let events = || sizes().iter().map(Vec::len).sum();
    let headers = Written {
        cloudevents: matches!(contender.as_str(), "cloudevents" | "headers"),
        traceparent: contender == "headers",
    };
    match contender.as_str() {
        "ours" | "standby" | "cloudevents" | "headers" => {
            ours::run(&config, headers, for_ever, contender == "standby");
        }
        "alo" => {
            let config = Config { guarantee: Guarantee::AtLeastOnce, ..config };
            ours::run(&config, headers, for_ever, false);
        }
        "restore" => restore::ours(&config, Path::new(to), events()),
        "insert" => restore::raw(brokers, &config.topic(Topic::Events), events()),
        "p1" => raw::run(&Plan { brokers, from: &from, to, sizes: None, for_ever }),
        "p2" => raw::run(&Plan { brokers, from: &from, to, sizes: Some(sizes()), for_ever }),
        other => panic!("there is no contender {other}"),
    }
}
