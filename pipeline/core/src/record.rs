//! Records as the task reads and writes them: borrowed in, packed into one arena out.

use crate::message::Timestamp;

/// Bytes before an Avro datum: a zero and the schema id (Confluent wire format).
pub const FRAME_BYTES: usize = 5;

/// A header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a [u8],
}

/// A record of the commands topic.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Offset in the partition that the task owns.
    pub offset: u64,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The key; by convention the message key.
    pub key: Option<&'a [u8]>,
    /// The framed datum.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [Header<'a>],
}

/// Splits a framed value into schema id and datum.
#[must_use]
pub fn unframe(value: &[u8]) -> Option<(u32, &[u8])> {
    let (frame, datum) = value.split_at_checked(FRAME_BYTES)?;
    match frame {
        [0, id @ ..] => Some((u32::from_be_bytes(id.try_into().ok()?), datum)),
        _ => None,
    }
}

/// Appends the frame of a schema id.
pub fn frame(schema_id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

/// Records to be written to one topic, packed: one arena of bytes, no allocation per record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    arena: Vec<u8>,
    ends: Vec<Ends>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    key: usize,
    value: usize,
    timestamp: Timestamp,
}

/// One record of [`Records`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// Its key; empty means none.
    pub key: &'a [u8],
    /// Its framed datum.
    pub value: &'a [u8],
}

impl Records {
    /// Appends a record: `key` and `value` write their bytes to the end of the arena.
    #[inline]
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        key(&mut self.arena);
        let key = self.arena.len();
        value(&mut self.arena);
        self.ends.push(Ends { key, value: self.arena.len(), timestamp });
    }

    /// What was written since a writer of [`Records::push`] saw so many bytes.
    #[must_use]
    pub(crate) fn written_from(&self, at: usize) -> &[u8] {
        self.arena.get(at..).unwrap_or_default()
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// One record.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        let ends = self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before)?.value,
            None => 0,
        };
        Some(RecordRef {
            timestamp: ends.timestamp,
            key: self.arena.get(start..ends.key)?,
            value: self.arena.get(ends.key..ends.value)?,
        })
    }

    /// All records in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Drops all records and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.ends.clear();
    }

    /// Drops the records from `count` on.
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.arena.truncate(self.ends.last().map_or(0, |ends| ends.value));
    }
}
