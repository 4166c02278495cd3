//! The topics: records, the transactions that wrote them, and what a `read_committed` reader sees.
//!
//! # Invariants
//! 1. A record of a transaction that is undecided hides itself and all behind it in its partition.
//! 2. A record of an aborted transaction, and the marker that ends a transaction, leave a gap.
//!
//! # Source
//! KIP-98: control records, last stable offset.

use bellhop_core::message::Timestamp;
use bellhop_core::record::Header;

use super::super::Topic;

/// A record as it lies in its partition.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) offset: u64,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    transaction: Option<TransactionId>,
}

impl Stored {
    pub(super) fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(name, value)| Header { name, value }).collect()
    }
}

/// What is to be appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Append<'a> {
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header<'a>],
}

/// Numbers the transactions of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TransactionId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Undecided,
    Visible,
    Hidden,
}

#[derive(Debug, Default)]
struct Partition {
    records: Vec<Stored>,
    /// Offsets below it are deleted.
    first: u64,
    next_offset: u64,
    last: Option<Timestamp>,
    /// Undecided transactions, each with the offset of its first record here.
    open: Vec<(TransactionId, u64)>,
}

impl Partition {
    /// The records that no undecided transaction hides (KIP-98: the last stable offset).
    fn stable(&self) -> &[Stored] {
        let first = self.open.iter().map(|(_, offset)| *offset).min().unwrap_or(u64::MAX);
        let end = self.records.partition_point(|record| record.offset < first);
        &self.records[..end]
    }
}

/// All topics.
#[derive(Debug)]
pub(super) struct Topics {
    partitions: u32,
    all: Vec<Partition>,
    fates: Vec<Fate>,
}

impl Topics {
    pub(super) fn new(partitions: u32) -> Self {
        let count = Topic::ALL.len() * partitions as usize;
        Self { partitions, all: (0..count).map(|_| Partition::default()).collect(), fates: vec![] }
    }

    pub(super) fn begin(&mut self) -> TransactionId {
        self.fates.push(Fate::Undecided);
        TransactionId(self.fates.len() - 1)
    }

    /// Appends a record; `monotone` stamps it no earlier than the one before.
    pub(super) fn append(
        &mut self,
        topic: Topic,
        partition: u32,
        transaction: Option<TransactionId>,
        monotone: bool,
        append: &Append<'_>,
    ) -> u64 {
        let at = self.at_mut(topic, partition);
        let offset = at.next_offset;
        let floor = at.last.filter(|_| monotone).unwrap_or(Timestamp::MIN);
        let timestamp = append.timestamp.max(floor);
        at.next_offset += 1;
        at.last = Some(timestamp);
        if let Some(transaction) = transaction
            && at.open.iter().all(|(open, _)| *open != transaction)
        {
            at.open.push((transaction, offset));
        }
        at.records.push(Stored {
            offset,
            timestamp,
            key: append.key.map(<[u8]>::to_vec),
            value: append.value.map(<[u8]>::to_vec),
            headers: append
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), header.value.to_vec()))
                .collect(),
            transaction,
        });
        offset
    }

    pub(super) fn skip(&mut self, topic: Topic, partition: u32, count: u64) {
        self.at_mut(topic, partition).next_offset += count;
    }

    /// All that a reader sees of a partition, as of no transaction: first offset, records, end.
    ///
    /// # Panics
    /// When a transaction on it is undecided.
    pub(super) fn copy(&self, topic: Topic, partition: u32) -> (u64, Vec<Stored>, u64) {
        let at = self.at(topic, partition);
        assert!(at.open.is_empty(), "{topic}, partition {partition} is undecided: {:?}", at.open);
        let seen = at.records.iter().filter(|record| self.shows(record));
        let records = seen.map(|record| Stored { transaction: None, ..record.clone() });
        (at.first, records.collect(), at.next_offset)
    }

    /// Replaces a partition.
    pub(super) fn put_back(
        &mut self,
        topic: Topic,
        partition: u32,
        first: u64,
        records: Vec<Stored>,
        next_offset: u64,
    ) {
        let last = records.last().map(|record| record.timestamp);
        *self.at_mut(topic, partition) =
            Partition { records, first, next_offset, last, open: Vec::new() };
    }

    /// Decides a transaction and writes its markers.
    ///
    /// # Panics
    /// When it was decided before.
    pub(super) fn decide(&mut self, transaction: TransactionId, visible: bool) {
        let fate = &mut self.fates[transaction.0];
        assert_eq!(*fate, Fate::Undecided, "transaction {} is decided twice", transaction.0);
        *fate = if visible { Fate::Visible } else { Fate::Hidden };
        for partition in &mut self.all {
            let open = partition.open.len();
            partition.open.retain(|(other, _)| *other != transaction);
            if partition.open.len() < open {
                partition.next_offset += 1;
            }
        }
    }

    /// The records that a reader sees from an offset on.
    pub(super) fn visible(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
    ) -> impl Iterator<Item = &Stored> {
        let stable = self.at(topic, partition).stable();
        let begin = stable.partition_point(|record| record.offset < from);
        stable[begin..].iter().filter(|record| self.shows(record))
    }

    /// The offset of the first record that is kept.
    pub(super) fn first(&self, topic: Topic, partition: u32) -> u64 {
        self.at(topic, partition).first
    }

    /// The offset behind the last record that a reader sees.
    pub(super) fn end(&self, topic: Topic, partition: u32) -> u64 {
        let stable = self.at(topic, partition).stable();
        let last = stable.iter().rev().find(|record| self.shows(record));
        last.map_or(0, |record| record.offset + 1)
    }

    fn shows(&self, record: &Stored) -> bool {
        record.transaction.is_none_or(|id| self.fates[id.0] == Fate::Visible)
    }

    fn at(&self, topic: Topic, partition: u32) -> &Partition {
        &self.all[self.index(topic, partition)]
    }

    fn at_mut(&mut self, topic: Topic, partition: u32) -> &mut Partition {
        let index = self.index(topic, partition);
        &mut self.all[index]
    }

    fn index(&self, topic: Topic, partition: u32) -> usize {
        assert!(partition < self.partitions, "{topic} has no partition {partition}");
        topic as usize * self.partitions as usize + partition as usize
    }
}
