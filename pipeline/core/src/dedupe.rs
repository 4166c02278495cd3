//! What has been answered: the idempotency keys of one partition and the first outcome of each.
//!
//! Keys are remembered in the order of stream time, in segments of an hour; a segment closes when
//! the hour ends, never changes afterwards and leaves as a whole when the retention is over. One
//! index over all segments answers a lookup with one probe.
//!
//! # Invariants
//! 1. At most 48 bytes a remembered key: 36 for the entry, at most 12 for the index (five bytes a
//!    bucket at a load of 7/16 or more).
//! 2. Entries lie in the order of their stream time, so the fold of the same events gives the same
//!    bytes.
//!
//! # Source
//! Semantics: Stripe's idempotent requests (same key and payload: the same answer; another
//! payload: an error).

use std::collections::VecDeque;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::avro::{DecodeError, Reader, write_long};
use crate::hash::{self, PayloadHash};
use crate::message::{LogId, Timestamp};

/// Entries of one allocation; a partition wastes at most one such chunk.
const CHUNK: usize = 4096;

/// A message key and an idempotency key in 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    fn bucket(self) -> u64 {
        self.0 as u64
    }
}

/// The first outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstOutcome {
    /// Hash of the command's payload.
    pub payload_hash: PayloadHash,
    /// Offset of the command.
    pub offset: u64,
    /// Index of its first event.
    pub index: u16,
    /// Code of that event: 0 accepted, else a refusal.
    pub code: u16,
}

/// 36 bytes: the key in four words, the payload hash in two, the offset in two, index and code.
#[derive(Debug, Clone, Copy)]
struct Entry([u32; 9]);

impl Entry {
    fn new(key: Fingerprint, first: FirstOutcome) -> Self {
        let (key, payload, offset) = (key.0, first.payload_hash.0, first.offset);
        Self([
            key as u32,
            (key >> 32) as u32,
            (key >> 64) as u32,
            (key >> 96) as u32,
            payload as u32,
            (payload >> 32) as u32,
            offset as u32,
            (offset >> 32) as u32,
            (u32::from(first.index) << 16) | u32::from(first.code),
        ])
    }

    fn key(&self) -> Fingerprint {
        let [a, b, c, d, ..] = self.0.map(u128::from);
        Fingerprint(a | (b << 32) | (c << 64) | (d << 96))
    }

    fn first(&self) -> FirstOutcome {
        let [_, _, _, _, p, payload, o, offset, tail] = self.0.map(u64::from);
        FirstOutcome {
            payload_hash: PayloadHash(p | (payload << 32)),
            offset: o | (offset << 32),
            index: (tail >> 16) as u16,
            code: tail as u16,
        }
    }
}

/// One hour of stream time.
#[derive(Debug, Clone, Copy)]
struct Segment {
    hour: i64,
    count: usize,
}

/// The remembered keys of one partition.
pub struct Dedupe {
    retention_hours: i64,
    /// Keeps producers from choosing keys that share a bucket.
    seed: u64,
    segments: VecDeque<Segment>,
    chunks: VecDeque<Vec<Entry>>,
    /// Sequence number of the first entry of the first chunk.
    base: u32,
    /// Sequence number of the oldest entry still remembered.
    oldest: u32,
    /// Sequence number of the next entry.
    next: u32,
    index: HashTable<u32>,
}

impl Dedupe {
    /// Remembers keys of a log for at least `retention_hours` of stream time.
    #[must_use]
    pub fn new(log_id: LogId, retention_hours: u32) -> Self {
        Self {
            retention_hours: i64::from(retention_hours),
            seed: hash::seed(log_id, 0),
            segments: VecDeque::new(),
            chunks: VecDeque::new(),
            base: 0,
            oldest: 0,
            next: 0,
            index: HashTable::new(),
        }
    }

    /// Fingerprint of a record key followed by an idempotency key, written together into `scratch`.
    #[must_use]
    pub fn fingerprint(
        &self,
        record_key: &[u8],
        idempotency_key: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Fingerprint {
        scratch.clear();
        scratch.extend_from_slice(record_key);
        scratch.push(0);
        scratch.extend_from_slice(idempotency_key);
        Fingerprint(xxh3_128_with_seed(scratch, self.seed))
    }

    /// Remembers for so long from now on; what was forgotten stays so.
    pub fn set_retention(&mut self, hours: u32) {
        self.retention_hours = i64::from(hours);
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.next.wrapping_sub(self.oldest) as usize
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held for entries and index.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let entries: usize = self.chunks.iter().map(Vec::capacity).sum();
        entries * size_of::<Entry>() + self.index.allocation_size()
    }

    /// The first outcome of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, key: Fingerprint) -> Option<FirstOutcome> {
        let found = self.index.find(key.bucket(), |sequence| self.entry(*sequence).key() == key)?;
        Some(self.entry(*found).first())
    }

    /// Remembers the first outcome of a key that is not remembered.
    pub fn insert(&mut self, key: Fingerprint, first: FirstOutcome, now: Timestamp) {
        self.push(Entry::new(key, first), now.hour());
    }

    fn push(&mut self, entry: Entry, hour: i64) {
        match self.segments.back_mut() {
            Some(open) if open.hour >= hour => open.count += 1,
            _ => self.segments.push_back(Segment { hour, count: 1 }),
        }
        if self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK) {
            let whole = !self.chunks.is_empty();
            self.chunks.push_back(Vec::with_capacity(if whole { CHUNK } else { 0 }));
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(entry);
        }
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        let Self { index, chunks, base, .. } = self;
        index.insert_unique(entry.key().bucket(), sequence, |sequence| {
            entry_of(chunks, *base, *sequence).key().bucket()
        });
    }

    /// Forgets the hours that ended more than the retention before `now`.
    pub fn advance(&mut self, now: Timestamp) {
        let keep_from = now.hour().saturating_sub(self.retention_hours);
        while let Some(segment) = self.segments.front().copied() {
            if segment.hour >= keep_from {
                return;
            }
            self.segments.pop_front();
            for _ in 0..segment.count {
                let sequence = self.oldest;
                let bucket = self.entry(sequence).key().bucket();
                if let Ok(found) = self.index.find_entry(bucket, |other| *other == sequence) {
                    found.remove();
                }
                self.oldest = sequence.wrapping_add(1);
                if self.oldest.wrapping_sub(self.base) as usize == CHUNK {
                    self.chunks.pop_front();
                    self.base = self.oldest;
                }
            }
        }
        if self.is_empty() {
            self.chunks.clear();
            self.base = self.next;
            self.index.shrink_to(0, |_| 0);
        }
    }

    fn forget(&mut self) {
        self.segments.clear();
        self.chunks.clear();
        (self.base, self.oldest, self.next) = (0, 0, 0);
        self.index.clear();
    }

    fn entry(&self, sequence: u32) -> &Entry {
        entry_of(&self.chunks, self.base, sequence)
    }

    /// Appends all that is remembered, oldest first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_long(self.len() as i64, out);
        write_long(self.segments.len() as i64, out);
        let mut sequence = self.oldest;
        for segment in &self.segments {
            write_long(segment.hour, out);
            write_long(segment.count as i64, out);
            for _ in 0..segment.count {
                for word in self.entry(sequence).0 {
                    out.extend_from_slice(&word.to_le_bytes());
                }
                sequence = sequence.wrapping_add(1);
            }
        }
    }

    /// Replaces what is remembered.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not those of [`Dedupe::encode`].
    pub fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.forget();
        let count = usize::try_from(reader.long()?).map_err(|_| reader.invalid("a count"))?;
        if count > reader.rest().len() / size_of::<Entry>() {
            return Err(reader.invalid("more keys than bytes"));
        }
        self.index.reserve(count, |_| 0);
        for _ in 0..reader.long()? {
            let hour = reader.long()?;
            for _ in 0..reader.long()? {
                let bytes = reader.chunk::<{ size_of::<Entry>() }>()?;
                let (words, _) = bytes.as_chunks::<4>();
                let mut entry = Entry([0; 9]);
                entry.0.iter_mut().zip(words).for_each(|(word, bytes)| {
                    *word = u32::from_le_bytes(*bytes);
                });
                self.push(entry, hour);
            }
        }
        Ok(())
    }
}

fn entry_of(chunks: &VecDeque<Vec<Entry>>, base: u32, sequence: u32) -> &Entry {
    let place = sequence.wrapping_sub(base) as usize;
    &chunks[place / CHUNK][place % CHUNK]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::message::HOUR_US;

    const LOG: LogId = LogId(uuid::Uuid::from_u128(7));

    fn key(n: u64) -> Fingerprint {
        Dedupe::new(LOG, 1).fingerprint(b"property", &n.to_le_bytes(), &mut Vec::new())
    }

    fn first(n: u64) -> FirstOutcome {
        FirstOutcome { payload_hash: PayloadHash(n * 7), offset: n, index: 3, code: (n % 5) as u16 }
    }

    #[test]
    fn a_remembered_key_takes_at_most_48_bytes() {
        let mut dedupe = Dedupe::new(LOG, 168);
        for count in 1..=1_000_000_u64 {
            dedupe.insert(key(count), first(count), Timestamp(count as i64 * 1000));
            if count >= 100_000 && count % 10_000 == 0 {
                let each = dedupe.memory_bytes() as f64 / count as f64;
                // The one open chunk is allowed for.
                let slack = (CHUNK * size_of::<Entry>()) as f64 / count as f64;
                assert!(each - slack <= 48.0, "{each:.1} bytes a key at {count}");
            }
        }
    }

    #[test]
    fn an_hour_is_forgotten_when_the_retention_is_over_and_not_before() {
        let mut dedupe = Dedupe::new(LOG, 2);
        dedupe.insert(key(1), first(1), Timestamp(HOUR_US - 1));
        dedupe.insert(key(2), first(2), Timestamp(HOUR_US));
        dedupe.advance(Timestamp(3 * HOUR_US - 1));
        assert_eq!(dedupe.get(key(1)), Some(first(1)));
        dedupe.advance(Timestamp(3 * HOUR_US));
        assert_eq!(dedupe.get(key(1)), None);
        assert_eq!(dedupe.get(key(2)), Some(first(2)));
    }

    proptest! {
        #[test]
        fn it_answers_as_a_map_with_expiry_does(steps in prop::collection::vec((0..60_u64, 0..9_000_000_000_i64), 1..400)) {
            let mut dedupe = Dedupe::new(LOG, 3);
            let mut model: HashMap<u64, (i64, u64)> = HashMap::new();
            let mut now = 0;
            for (n, (id, pause)) in steps.into_iter().enumerate() {
                now += pause / 7;
                let stamp = Timestamp(now);
                dedupe.advance(stamp);
                model.retain(|_, (hour, _)| *hour >= stamp.hour() - 3);
                prop_assert_eq!(dedupe.get(key(id)).map(|first| first.offset), model.get(&id).map(|(_, n)| *n));
                if let std::collections::hash_map::Entry::Vacant(free) = model.entry(id) {
                    free.insert((stamp.hour(), n as u64));
                    dedupe.insert(key(id), first(n as u64), stamp);
                }
                prop_assert_eq!(dedupe.len(), model.len());
            }
            let mut bytes = Vec::new();
            dedupe.encode(&mut bytes);
            let mut copy = Dedupe::new(LOG, 3);
            copy.restore(&mut Reader::new(&bytes)).map_err(|error| TestCaseError::fail(error.to_string()))?;
            for id in 0..60 {
                prop_assert_eq!(copy.get(key(id)), dedupe.get(key(id)));
            }
        }
    }
}
