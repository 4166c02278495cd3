//! Latency of an open loop: commands are sent at their times, whether or not the answers come, and
//! each is measured from the time at which it should have been sent to the arrival of its event at
//! a `read_committed` reader.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bellhop_runtime::log::Topic;
use bellhop_runtime::log::redpanda::Config;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::Producer as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::usage::resident_kb;
use crate::world::{PARTITIONS, World, is_raw, send, sender};

/// What is left out at the start: the contender's first transactions.
const WARM: Duration = Duration::from_secs(1);
/// How long a worker is idle before its memory counts.
const IDLE: Duration = Duration::from_secs(3);
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Milliseconds.
#[derive(Debug)]
pub(crate) struct Quantiles {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// What happens in the middle of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Incident {
    /// One of two workers is killed (signal 9).
    Kill,
    /// One of two workers is told to stop, and leaves in order.
    Leave,
    /// A second worker joins the first.
    Join,
}

/// Sends at a rate for a time, after the catalog.
pub(crate) fn measure(world: &World, contender: &str, rate: u64, length: Duration) -> Quantiles {
    let config = world.topics();
    let begun = world.catalog.clone();
    let mut run = Run::begin(world, &config, contender, begun);
    let _running = run.spawn(contender);
    run.catch_up();
    let took = run.load(rate, length, None);
    quantiles(took)
}

/// Sends at a rate while workers change, after the catalog and all commands that are not sent then;
/// gives how long those took that were due from the incident on. The longest is how long a
/// partition stood still.
pub(crate) fn interrupted(
    world: &World,
    heir: &str,
    incident: Incident,
    rate: u64,
    length: Duration,
) -> Quantiles {
    let config = world.topics();
    let sent = (rate as f64 * length.as_secs_f64()) as usize;
    let order = order(world, &world.catalog);
    let before = order.len().saturating_sub(sent);
    let mut begun = world.catalog.clone();
    order[..before].iter().for_each(|(partition, n)| begun[*partition] = n + 1);
    let mut run = Run::begin(world, &config, "ours", begun);
    let mut first = run.spawn("ours");
    run.catch_up();
    let all = PARTITIONS as usize;
    let mut second = None;
    if !matches!(incident, Incident::Join) {
        let heir = run.spawn(heir);
        heir.wait_owns(all / 2);
        first.wait_owns(all / 2);
        second = Some(heir);
    }
    let mut happen = || match incident {
        Incident::Kill => first.kill(),
        Incident::Leave => first.stop(),
        Incident::Join => second = Some(Contender::start(world, &config, heir)),
    };
    let took = run.load(rate, length, Some(&mut happen));
    quantiles(took)
}

/// Resident memory of a worker that owns all partitions and was never asked anything, in MB.
pub(crate) fn idle_mb(world: &World) -> f64 {
    let config = world.topics();
    let idle = Contender::start(world, &config, "ours");
    idle.wait_owns(PARTITIONS as usize);
    std::thread::sleep(IDLE);
    resident_kb(idle.child.id()) / 1024.0
}

/// A contender's process, killed when dropped.
struct Contender {
    child: Child,
    owns: Receiver<usize>,
}

impl Contender {
    fn start(world: &World, config: &Config, contender: &str) -> Self {
        let mut child = world.spawn(contender, config, true);
        let out = BufReader::new(child.stdout.take().expect("an output"));
        let (send, owns) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let owned = line.strip_prefix("owns ").and_then(|count| count.parse().ok());
                if owned.is_some_and(|owned| send.send(owned).is_err()) {
                    return;
                }
            }
        });
        Self { child, owns }
    }

    fn wait_owns(&self, count: usize) {
        while self.owns.recv_timeout(LONG).expect("a share of the partitions") != count {}
    }

    fn kill(&mut self) {
        self.child.kill().expect("a contender that runs");
    }

    fn stop(&mut self) {
        let mut told = self.child.stdin.take().expect("an input");
        told.write_all(b"stop\n").expect("a contender that runs");
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Partition and number of all commands that are not begun with, in the order of their times.
fn order(world: &World, begun: &[usize]) -> Vec<(usize, usize)> {
    let mut order: Vec<(usize, usize)> = (0..PARTITIONS as usize)
        .flat_map(|it| (begun[it]..world.commands[it].len()).map(move |n| (it, n)))
        .collect();
    order.sort_by_key(|(partition, n)| world.commands[*partition][*n].timestamp);
    order
}

/// One run on topics of its own.
struct Run<'a> {
    world: &'a World,
    config: &'a Config,
    raw: bool,
    /// By partition: commands that were there before.
    begun: Vec<usize>,
    seen: Arc<Vec<AtomicU64>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<Vec<Vec<Instant>>>>,
}

impl<'a> Run<'a> {
    fn begin(world: &'a World, config: &'a Config, contender: &str, begun: Vec<usize>) -> Self {
        world.preload(config, begun.iter().copied());
        let seen = (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect();
        let (seen, stop) = (Arc::new(seen), Arc::default());
        let raw = is_raw(contender);
        Self { world, config, raw, begun, seen, stop, reader: None }
    }

    fn spawn(&mut self, contender: &str) -> Contender {
        let contender = Contender::start(self.world, self.config, contender);
        // The topics that a bare loop writes to are those that were made last.
        let of = if self.raw { &self.world.last_topics() } else { self.config };
        let topic = of.topic(Topic::Events);
        let (brokers, seen, stop) = (self.world.brokers(), self.seen.clone(), self.stop.clone());
        self.reader.get_or_insert_with(|| {
            std::thread::spawn(move || read(&brokers, &topic, &seen, &stop))
        });
        contender
    }

    /// Events that are there when a command is decided; a raw loop writes one for each.
    fn after(&self, partition: usize, command: usize) -> u32 {
        if self.raw {
            command as u32 + 1
        } else {
            self.world.oracle.events_after[partition][command]
        }
    }

    /// Waits until so many commands of each partition are decided and read.
    fn wait_for(&self, commands: &[usize]) {
        let until = Instant::now() + LONG;
        let wanted = |partition: usize| match commands[partition] {
            0 => 0,
            count => u64::from(self.after(partition, count - 1)),
        };
        while (0..PARTITIONS as usize).any(|it| self.seen[it].load(Ordering::Relaxed) < wanted(it))
        {
            assert!(Instant::now() < until, "it does not come to an end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn catch_up(&self) {
        self.wait_for(&self.begun);
    }

    /// Sends the load in its order over all partitions; gives how long each command took that was
    /// due after the warm-up, or after the incident.
    fn load(
        mut self,
        rate: u64,
        length: Duration,
        mut incident: Option<&mut dyn FnMut()>,
    ) -> Vec<f64> {
        let mut order = order(self.world, &self.begun);
        order.truncate((rate as f64 * length.as_secs_f64()) as usize);
        let producer = sender(&self.world.brokers());
        let topic = self.config.topic(Topic::Commands);
        let started = Instant::now() + Duration::from_millis(50);
        let mut counts_from = started + WARM;
        let mut intended = Vec::with_capacity(order.len());
        let mut sent = self.begun.clone();
        for (index, (partition, n)) in order.iter().enumerate() {
            let due = started + Duration::from_nanos(1_000_000_000 / rate * index as u64);
            let early = due.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                producer.poll(Duration::ZERO);
                std::thread::sleep(early);
            }
            if due > started + WARM
                && let Some(happen) = incident.take()
            {
                counts_from = due;
                happen();
            }
            send(&producer, &topic, *partition as i32, &self.world.commands[*partition][*n]);
            intended.push(due);
            sent[*partition] = n + 1;
        }
        producer.flush(LONG).expect("the commands are delivered");
        self.wait_for(&sent);
        self.stop.store(true, Ordering::Relaxed);
        let reader = self.reader.take().expect("a reader");
        let arrived = reader.join().expect("a reader");
        let mut took = Vec::with_capacity(order.len());
        for ((partition, n), due) in order.iter().zip(intended) {
            let before = if *n == 0 { 0 } else { self.after(*partition, n - 1) };
            let event = self.after(*partition, *n);
            // A command that leads to no event has no arrival.
            if due < counts_from || event == before {
                continue;
            }
            let arrived = arrived[*partition][event as usize - 1];
            took.push(arrived.saturating_duration_since(due).as_secs_f64() * 1e3);
        }
        took
    }
}

fn quantiles(mut took: Vec<f64>) -> Quantiles {
    took.sort_by(f64::total_cmp);
    let quantile = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    Quantiles {
        count: took.len(),
        p50: quantile(0.5),
        p95: quantile(0.95),
        p99: quantile(0.99),
        max: quantile(1.0),
    }
}

/// Notes when each record of each partition came.
fn read(brokers: &str, topic: &str, seen: &[AtomicU64], stop: &AtomicBool) -> Vec<Vec<Instant>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("{topic}.latency"))
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "5")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS as i32 {
        assignment.add_partition_offset(topic, partition, Offset::Offset(0)).expect("an offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let mut arrived = vec![Vec::new(); PARTITIONS as usize];
    while !stop.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(20)) else { continue };
        let partition = message.expect("an event").partition() as usize;
        arrived[partition].push(Instant::now());
        seen[partition].fetch_add(1, Ordering::Relaxed);
    }
    arrived
}
