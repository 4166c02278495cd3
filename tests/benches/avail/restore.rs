//! How long a new owner waits for its state: from all events, held against a bare loop that puts
//! the same records in a map; and from snapshots.
#![allow(unsafe_code, reason = "the cheapest calls into librdkafka are not wrapped")]

use std::collections::HashMap;
use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use bellhop_core::topology::Topology;
use bellhop_runtime::log::Reader as _;
use bellhop_runtime::log::redpanda::{Config, Redpanda};
use bellhop_runtime::restore::{self, Restored};
use bellhop_runtime::snapshot::{Folder, Snapshot, SnapshotStore as _};
use bellhop_runtime::wiring::{OwnSchemas, Resolve, Wiring};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use crate::ours::{state_hash, worker_config};
use crate::raw;
use crate::usage::Usage;
use crate::world::{LOG_ID, PARTITIONS};

/// Records that the bare loop takes at once.
const TAKE: usize = 10_000;
/// How long the bare loop waits for them.
const TAKE_WAIT_MS: i32 = 50;

/// Restores every partition: from its events when the folder is empty, and writes snapshots there;
/// else from them. `events` is how many there are.
pub(crate) fn ours(config: &Config, folder: &Path, events: usize) {
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let resolve: Arc<dyn Resolve> = Arc::new(OwnSchemas::of(&topology));
    let log = Redpanda::connect(config, LOG_ID).expect("a log");
    let mut reader = log.reader();
    let mut wiring = Wiring::to_read(topology, resolve);
    let snapshots = Folder::at(folder);
    let started = Instant::now();
    let restored: Vec<Restored> = (0..PARTITIONS)
        .map(|partition| {
            let config = worker_config().task(reader.identity(), partition);
            let restored =
                restore::restore(&mut reader, &mut wiring, &config, Some(&snapshots as _));
            let mut restored = restored.expect("a state");
            let committed = reader.committed(partition).expect("an answer").expect("progress");
            restored.task.resume(committed);
            restored
        })
        .collect();
    let mut usage = Usage::now(events as u64, started.elapsed(), 0, 0);
    let states = restored.iter().zip(0..).map(|(restored, partition)| {
        let mut state = Vec::new();
        restored.task.snapshot(&mut state);
        let events_offset = restored.events_end;
        let snapshot = Snapshot { log_id: LOG_ID, partition, events_offset, state };
        if restored.snapshot.is_none() {
            snapshots.save(&snapshot, &[]).expect("a snapshot");
        }
        snapshot.state
    });
    usage.state = state_hash(states);
    println!("{}", usage.write());
}

/// Puts so many events in a map, each by its partition and offset.
pub(crate) fn raw(brokers: &str, from: &str, wanted: usize) {
    let consumer: BaseConsumer = raw::reader(brokers, from).create().expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS as i32 {
        assignment.add_partition_offset(from, partition, Offset::Offset(0)).expect("an offset");
    }
    let started = Instant::now();
    consumer.assign(&assignment).expect("an assignment");
    // SAFETY: the client is alive, and outlives the queue.
    let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    let mut taken: Vec<*mut sys::rd_kafka_message_t> = Vec::with_capacity(TAKE);
    let mut map: HashMap<(i32, i64), Box<[u8]>> = HashMap::new();
    while map.len() < wanted {
        // It waits until it has as many as it is asked for, or its time is over.
        for (most, wait) in [(TAKE, 0), (1, TAKE_WAIT_MS)] {
            if !taken.is_empty() {
                break;
            }
            // SAFETY: there is room for `most` pointers.
            unsafe {
                let came = sys::rd_kafka_consume_batch_queue(queue, wait, taken.as_mut_ptr(), most);
                taken.set_len(usize::try_from(came).expect("a count"));
            }
        }
        for message in taken.drain(..) {
            // SAFETY: a message of the batch lives until it is destroyed, below.
            unsafe {
                let record = &*message;
                assert!(record.err == NO_ERROR, "{:?}", record.err);
                let value = slice::from_raw_parts(record.payload.cast::<u8>(), record.len);
                map.insert((record.partition, record.offset), value.into());
                sys::rd_kafka_message_destroy(message);
            }
        }
    }
    println!("{}", Usage::now(map.len() as u64, started.elapsed(), 0, 0).write());
    // The process ends: librdkafka's orderly goodbye is not what is measured.
    std::process::exit(0);
}
