//! Hands to drive a log with: commands as bytes, keys of a partition, polls that wait.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use bellhop_core::avro::Avro;
use bellhop_core::message::{Message, MessageKey, Meta, Timestamp};
use bellhop_core::partition::partition_of;
use bellhop_core::record::frame;
use bellhop_core::topology::Topology;
use bellhop_runtime::log::{Command, Log, Polled, Producer, Reader, Topic};
use uuid::Uuid;

use crate::toy::CounterId;

/// Longer than anything here takes; a test that waits this long has failed.
pub const LONG: Duration = Duration::from_secs(20);

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Its offset.
    pub offset: u64,
    /// Its time.
    pub timestamp: Timestamp,
    /// Its key, empty for none.
    pub key: Vec<u8>,
    /// Its value, empty for none.
    pub value: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Owned {
    /// A copy.
    #[must_use]
    pub fn of(record: &bellhop_core::record::Record<'_>) -> Self {
        let headers = record.headers.iter();
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.unwrap_or_default().to_vec(),
            value: record.value.unwrap_or_default().to_vec(),
            headers: headers
                .map(|header| (header.name.to_owned(), header.value.to_vec()))
                .collect(),
        }
    }
}

/// All records of a partition from an offset on.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn read(reader: &mut dyn Reader, topic: Topic, partition: u32, from: u64) -> Vec<Owned> {
    let mut records = Vec::new();
    let read = reader.read(topic, partition, from, &mut |record| {
        records.push(Owned::of(record));
        ControlFlow::Continue(())
    });
    if let Err(error) = read {
        panic!("read {topic}, partition {partition} from {from}: {error}");
    }
    records
}

/// A counter whose commands go to a partition.
#[must_use]
pub fn counter_in(partition: u32, partitions: u32, nth: u32) -> CounterId {
    let ids = (0_u128..).map(|n| CounterId(Uuid::from_u128((n << 32) | u128::from(nth))));
    let mut here = ids.filter(|id| {
        let mut key = Vec::new();
        id.write(&mut key);
        partition_of(&key, partitions) == partition
    });
    here.next().unwrap_or_else(|| panic!("no key for partition {partition}"))
}

/// Writes commands as producers do.
pub struct Pen {
    ids: BTreeMap<&'static str, u32>,
}

impl Pen {
    /// With the schema ids of a log.
    ///
    /// # Panics
    /// When the log does not give them.
    #[must_use]
    pub fn of(producer: &mut dyn Producer) -> Self {
        let topology = Topology::discover().unwrap_or_else(|error| panic!("{error}"));
        let ids = topology.schemas().into_iter().map(|(name, schema)| {
            let id = producer.schema_id(name, &schema);
            (name, id.unwrap_or_else(|error| panic!("{error}")))
        });
        Self { ids: ids.collect() }
    }

    /// Key and value of a command under an idempotency key.
    #[must_use]
    pub fn write<C: Message>(&self, key: &str, command: &C) -> (Vec<u8>, Vec<u8>) {
        let id = Uuid::from_u128(key.bytes().fold(1, |id, byte| (id << 5) ^ u128::from(byte)));
        let mut record_key = Vec::new();
        command.key().write(&mut record_key);
        let mut value = Vec::new();
        frame(self.ids.get(C::NAME).copied().unwrap_or(0), &mut value);
        Meta::of_command(id, key, Timestamp(0)).encode(&mut value);
        command.encode(&mut value);
        (record_key, value)
    }
}

/// Appends written commands, all at once.
///
/// # Panics
/// When they cannot be appended.
pub fn append(producer: &mut dyn Producer, commands: &[(Vec<u8>, Vec<u8>)]) -> Vec<(u32, u64)> {
    let commands: Vec<Command<'_>> = commands
        .iter()
        .map(|(key, value)| Command { key, value, timestamp: Timestamp(0), headers: &[] })
        .collect();
    let positions = producer.append(&commands, None).unwrap_or_else(|error| panic!("{error}"));
    positions.into_iter().map(|position| (position.partition, position.offset)).collect()
}

/// Polls until a member owns as many partitions as said, and gives them in order. What it is asked
/// to give up it gives up.
///
/// # Panics
/// When it does not come to that.
pub fn own(log: &mut dyn Log, count: usize, owned: &mut Vec<u32>) {
    let mut polls = 0;
    while owned.len() != count {
        polls += 1;
        assert!(polls < 1_000, "owns {owned:?}, wanted {count}");
        match log.poll(0, Duration::from_millis(20)).unwrap_or_else(|error| panic!("{error}")) {
            Polled::Assigned(partitions) => owned.extend(partitions),
            Polled::Revoked(partitions) => {
                owned.retain(|partition| !partitions.contains(partition));
                log.release(&partitions).unwrap_or_else(|error| panic!("{error}"));
            }
            Polled::Lost(partitions) => {
                owned.retain(|partition| !partitions.contains(partition));
            }
            Polled::Idle => {}
            Polled::Batch(batch) => panic!("asked for no records and got {batch:?}"),
        }
    }
    owned.sort_unstable();
}

/// Polls until as many records have come as said.
///
/// # Panics
/// When other things come, or nothing.
pub fn take(log: &mut dyn Log, count: usize, records_max: usize) -> Vec<(u32, Owned)> {
    let mut records = Vec::new();
    let mut polls = 0;
    while records.len() < count {
        polls += 1;
        assert!(polls < 10_000, "{} of {count} records came", records.len());
        let polled = log.poll(records_max, Duration::from_millis(20));
        match polled.unwrap_or_else(|error| panic!("{error}")) {
            Polled::Batch(batch) => {
                assert!(!batch.is_empty() && batch.len() <= records_max, "{batch:?}");
                let mut cursor = batch.cursor();
                while let Some(record) = cursor.next_record() {
                    records.push((batch.partition(), Owned::of(&record)));
                }
            }
            Polled::Idle => {}
            other @ (Polled::Assigned(_) | Polled::Revoked(_) | Polled::Lost(_)) => {
                panic!("waited for records and got {other:?}")
            }
        }
    }
    records
}
