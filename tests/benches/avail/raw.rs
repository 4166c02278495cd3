//! The baselines: a bare loop that reads and writes exactly once, by the cheapest calls there are.
//!
//! Records are taken by `rd_kafka_consume_batch_queue` and given by `rd_kafka_produce_batch`
//! straight from the consumer's buffers; a batch ends as a worker's does, with 10,000 records or
//! 5 ms after its first; it is drained, its offsets are added and it is committed, by two
//! producers in turn. The settings are those of the log. Partitions are assigned by hand, which
//! costs the loop nothing for a group.
#![allow(unsafe_code, reason = "the cheapest calls into librdkafka are not wrapped")]

use std::ffi::{CString, c_int};
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rdkafka_sys as sys;

use crate::usage::Usage;
use crate::world::PARTITIONS;

/// Records of a transaction at most.
const BATCH: usize = 10_000;
/// How long a record waits for company at most.
const BATCH_WAIT_MS: c_int = 5;
const ASK: Duration = Duration::from_secs(10);

/// What a loop reads and writes.
pub(crate) struct Plan<'a> {
    pub(crate) brokers: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// By partition, bytes of each value to write; without, values are passed on as they are.
    pub(crate) sizes: Option<Vec<Vec<u32>>>,
    pub(crate) for_ever: bool,
}

/// Reads sizes as [`write_sizes`] writes them.
pub(crate) fn read_sizes(path: &Path) -> Vec<Vec<u32>> {
    let bytes = std::fs::read(path).expect("sizes");
    let mut words = bytes.chunks_exact(4).map(|it| u32::from_le_bytes(it.try_into().expect("4")));
    let mut sizes = Vec::new();
    while let Some(count) = words.next() {
        sizes.push(words.by_ref().take(count as usize).collect());
    }
    sizes
}

/// Writes how many bytes each value of each partition has.
pub(crate) fn write_sizes(path: &Path, sizes: &[Vec<u32>]) {
    let mut bytes = Vec::new();
    for partition in sizes {
        bytes.extend_from_slice(&(partition.len() as u32).to_le_bytes());
        partition.iter().for_each(|size| bytes.extend_from_slice(&size.to_le_bytes()));
    }
    std::fs::write(path, bytes).expect("write the sizes");
}

struct Desk {
    topic: *mut sys::rd_kafka_topic_t,
    producer: BaseProducer,
}

impl Desk {
    fn open(brokers: &str, id: &str, to: &str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("batch.num.messages", "20000")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "262144")
            .set("message.max.bytes", "67108864")
            .set("transactional.id", id)
            .set("transaction.timeout.ms", "10000")
            .set("delivery.report.only.error", "true")
            .create_with_context(DefaultProducerContext)
            .expect("a producer");
        producer.init_transactions(ASK).expect("transactions");
        let name = CString::new(to).expect("a name");
        // SAFETY: client and name are alive; no configuration is given.
        let topic = unsafe {
            sys::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut())
        };
        assert!(!topic.is_null(), "librdkafka gives no topic");
        Self { topic, producer }
    }

    /// As the log does: while anything is in flight a commit takes 100 ms at least.
    fn drain(&self) {
        let mut before = i32::MAX;
        loop {
            self.producer.poll(Duration::ZERO);
            let now = self.producer.in_flight_count();
            if now == 0 {
                return;
            }
            if now >= before {
                std::thread::sleep(Duration::from_micros(50));
            }
            before = now;
        }
    }
}

/// A consumer of what is committed, with the settings of the log.
pub(crate) fn reader(brokers: &str, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "50")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "32768");
    config
}

/// Runs the loop until all is passed on, or for ever.
pub(crate) fn run(plan: &Plan<'_>) {
    let consumer: BaseConsumer = reader(plan.brokers, plan.to).create().expect("a consumer");
    let mut desks =
        ["0", "1"].map(|n| Desk::open(plan.brokers, &format!("{}.{n}", plan.to), plan.to));
    let mut assignment = TopicPartitionList::new();
    let mut wanted = 0;
    for partition in 0..PARTITIONS as i32 {
        assignment
            .add_partition_offset(plan.from, partition, Offset::Offset(0))
            .expect("an offset");
        let (_, end) = consumer.fetch_watermarks(plan.from, partition, ASK).expect("an end");
        wanted += end.unsigned_abs();
    }
    consumer.assign(&assignment).expect("an assignment");
    let member = consumer.group_metadata().expect("metadata");
    // SAFETY: the client is alive, and outlives the queue.
    let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    let constant: Vec<u8> =
        (0..1_u32 << 16).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut taken: Vec<*mut sys::rd_kafka_message_t> = Vec::with_capacity(BATCH);
    let mut given: Vec<sys::rd_kafka_message_t> = Vec::with_capacity(BATCH);
    let mut next = [0_i64; PARTITIONS as usize];
    let (mut passed, mut transactions, mut first) = (0, 0, None);
    while plan.for_ever || passed < wanted {
        let mut most = 1;
        let mut wait = 1_000;
        // The call waits until it has as many as it is asked for, or its time is over.
        for _ in 0..2 {
            // SAFETY: there is room for `most` pointers behind the last.
            unsafe {
                let end = taken.as_mut_ptr().add(taken.len());
                let came = sys::rd_kafka_consume_batch_queue(queue, wait, end, most);
                taken.set_len(taken.len() + usize::try_from(came).expect("a count"));
            }
            (most, wait) = (BATCH - taken.len(), BATCH_WAIT_MS);
            if taken.is_empty() {
                break;
            }
        }
        for message in &taken {
            // SAFETY: messages of the batch live until they are destroyed below.
            let message = unsafe { &**message };
            assert!(message.err == NO_ERROR, "{:?}", message.err);
            let partition = message.partition as usize;
            next[partition] = message.offset + 1;
            let mut out = sys::rd_kafka_message_t {
                rkt: ptr::null_mut(),
                offset: 0,
                _private: ptr::null_mut(),
                ..*message
            };
            if let Some(sizes) = &plan.sizes {
                let Some(size) = sizes[partition].get(message.offset as usize) else { continue };
                out.len = *size as usize;
                if out.len > message.len {
                    out.payload = constant[..out.len].as_ptr().cast_mut().cast();
                }
            }
            given.push(out);
        }
        if taken.is_empty() {
            continue;
        }
        first.get_or_insert_with(Instant::now);
        let [desk, _] = &desks;
        desk.producer.begin_transaction().expect("begin");
        let flags = (sys::RD_KAFKA_MSG_F_COPY | sys::RD_KAFKA_MSG_F_PARTITION) as c_int;
        let count = given.len() as c_int;
        // SAFETY: so many messages, whose bytes live until after the call, which copies them.
        let accepted = unsafe {
            sys::rd_kafka_produce_batch(desk.topic, -1, flags, given.as_mut_ptr(), count)
        };
        assert_eq!(accepted, count, "the producer's queue is full");
        given.clear();
        passed += taken.len() as u64;
        for message in taken.drain(..) {
            // SAFETY: ours, and of no use any more.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
        desk.drain();
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(next) {
            offsets
                .add_partition_offset(plan.from, partition, Offset::Offset(offset))
                .expect("an offset");
        }
        desk.producer.send_offsets_to_transaction(&offsets, &member, ASK).expect("offsets");
        desk.producer.commit_transaction(ASK).expect("commit");
        transactions += 1;
        desks.swap(0, 1);
    }
    let wall = first.map_or(Duration::ZERO, |first: Instant| first.elapsed());
    println!("{}", Usage::now(passed, wall, transactions, 0).write());
    // The process ends: librdkafka's orderly goodbye is not what is measured.
    std::process::exit(0);
}
