//! Latency of an open loop: commands are sent at their times, whether or not the answers come, and
//! each is measured from the time at which it should have been sent to the arrival of its event at
//! a `read_committed` reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bellhop_runtime::log::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::Producer as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::world::{PARTITIONS, World, send, sender};

/// What is left out at the start: the contender's first transactions.
const WARM: Duration = Duration::from_secs(1);
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Milliseconds.
#[derive(Debug)]
pub(crate) struct Quantiles {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

/// Sends at a rate for a time.
pub(crate) fn measure(world: &World, contender: &str, rate: u64, length: Duration) -> Quantiles {
    let config = world.topics();
    world.preload(&config, world.catalog.iter().copied());
    let mut running = world.spawn(contender, &config, true);
    let events = match contender {
        "ours" => config.topic(Topic::Events),
        // The topics that `spawn` made last.
        _ => world.last_topics().topic(Topic::Events),
    };
    // Events that are there when a command is decided; a raw loop writes one for each.
    let after = |partition: usize, command: usize| match contender {
        "ours" => world.oracle.events_after[partition][command],
        _ => command as u32 + 1,
    };
    let seen: Arc<Vec<AtomicU64>> = Arc::new((0..PARTITIONS).map(|_| AtomicU64::new(0)).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (brokers, seen, stop) = (world.brokers(), seen.clone(), stop.clone());
        std::thread::spawn(move || read(&brokers, &events, &seen, &stop))
    };
    let wait_for = |wanted: &dyn Fn(usize) -> u64| {
        let until = Instant::now() + LONG;
        while (0..PARTITIONS as usize).any(|it| seen[it].load(Ordering::Relaxed) < wanted(it)) {
            assert!(Instant::now() < until, "{contender} does not come to an end");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let wanted = |partition: usize, commands: usize| match commands {
        0 => 0,
        _ => u64::from(after(partition, commands - 1)),
    };
    wait_for(&|partition| wanted(partition, world.catalog[partition]));

    // The load in its order over all partitions.
    let mut order: Vec<(usize, usize)> = (0..PARTITIONS as usize)
        .flat_map(|it| (world.catalog[it]..world.commands[it].len()).map(move |n| (it, n)))
        .collect();
    order.sort_by_key(|(partition, n)| world.commands[*partition][*n].timestamp);
    order.truncate((rate as f64 * length.as_secs_f64()) as usize);
    let producer = sender(&world.brokers());
    let topic = config.topic(Topic::Commands);
    let started = Instant::now() + Duration::from_millis(50);
    let mut intended = Vec::with_capacity(order.len());
    let mut sent = world.catalog.clone();
    for (index, (partition, n)) in order.iter().enumerate() {
        let due = started + Duration::from_nanos(1_000_000_000 / rate * index as u64);
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            producer.poll(Duration::ZERO);
            std::thread::sleep(early);
        }
        send(&producer, &topic, *partition as i32, &world.commands[*partition][*n]);
        intended.push(due);
        sent[*partition] = n + 1;
    }
    producer.flush(LONG).expect("the commands are delivered");
    wait_for(&|partition| wanted(partition, sent[partition]));
    stop.store(true, Ordering::Relaxed);
    let arrived = reader.join().expect("a reader");
    running.kill().expect("the contender ran to the end");
    running.wait().expect("the contender's end");

    let mut took: Vec<f64> = Vec::with_capacity(order.len());
    for ((partition, n), due) in order.iter().zip(intended) {
        let before = if *n == 0 { 0 } else { after(*partition, n - 1) };
        let event = after(*partition, *n);
        // A command that leads to no event has no arrival.
        if due < started + WARM || event == before {
            continue;
        }
        let arrived = arrived[*partition][event as usize - 1];
        took.push(arrived.saturating_duration_since(due).as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let quantile = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    Quantiles { count: took.len(), p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) }
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
