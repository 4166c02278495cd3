//! Records of one partition, packed one behind another in a shared buffer.
//!
//! A batch is a view: it is cloned and split without copying a record, and read with a [`Cursor`]
//! that allocates nothing per record. The bytes do not name their first offset and time, so that a
//! log can stamp a batch that a producer has packed.
//!
//! # Layout
//! Per record, lengths as unsigned LEB128: offsets skipped before it; its time less that of the
//! record before (zigzag); length of the key plus one, 0 for none; length of the value plus one, 0
//! for none; how many headers; key; value; then each header's length of name, name, length of
//! value, value.

use std::sync::Arc;

use bellhop_core::message::Timestamp;
use bellhop_core::record::{Header, Record};

/// Records of one partition, in the order of their offsets.
#[derive(Debug, Clone)]
pub struct Batch {
    partition: u32,
    bytes: Arc<Vec<u8>>,
    at: Place,
    records: usize,
}

/// Where a record begins, and what the one before it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    byte: usize,
    /// Offset of the next record if none is skipped.
    offset: u64,
    /// Time of the record before.
    time: Timestamp,
}

impl Batch {
    /// Of packed records ([`Builder::finish`]), of which the first has the offset (if it skips
    /// none) and the time (if it differs by none) given here.
    #[must_use]
    pub fn new(
        partition: u32,
        first_offset: u64,
        base_time: Timestamp,
        records: usize,
        bytes: Arc<Vec<u8>>,
    ) -> Self {
        let at = Place { byte: 0, offset: first_offset, time: base_time };
        Self { partition, bytes, at, records }
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Offset of the first record if it skips none, else a lower bound of it.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.at.offset
    }

    /// Bytes of the buffer that it shares.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Reads the records.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_> {
        let Self { bytes, at, records, .. } = self;
        Cursor { bytes, at: *at, records: *records, headers: Vec::new() }
    }

    /// Takes the first `records` away; what is left may be empty.
    #[must_use]
    pub fn split_to(&mut self, records: usize) -> Self {
        let mut first = self.clone();
        first.records = records.min(self.records);
        let mut cursor = self.cursor();
        for _ in 0..first.records {
            cursor.next_record();
        }
        (self.at, self.records) = (cursor.at, cursor.records);
        first
    }

    /// Drops the records before an offset.
    pub fn skip_to(&mut self, offset: u64) {
        let mut cursor = self.cursor();
        let (mut at, mut records) = (cursor.at, cursor.records);
        while cursor.next_record().is_some_and(|record| record.offset < offset) {
            (at, records) = (cursor.at, cursor.records);
        }
        (self.at, self.records) = (at, records);
    }
}

/// Reads the records of a batch, one at a time.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: Place,
    records: usize,
    headers: Vec<Header<'a>>,
}

impl<'a> Cursor<'a> {
    /// The next record.
    ///
    /// # Panics
    /// When the bytes are not what [`Builder`] wrote; whoever stores them guards them by a
    /// checksum.
    #[inline]
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        self.records = self.records.checked_sub(1)?;
        let Some((offset, timestamp, key, value)) = self.read() else {
            broken(self.at, self.bytes.len())
        };
        Some(Record { offset, timestamp, key, value, headers: &self.headers })
    }

    #[inline]
    #[expect(clippy::type_complexity, reason = "the parts of a record, used once")]
    fn read(&mut self) -> Option<(u64, Timestamp, Option<&'a [u8]>, Option<&'a [u8]>)> {
        let skipped = self.varint()?;
        let later = self.varint()?;
        let later = (later >> 1).cast_signed() ^ -((later & 1).cast_signed());
        let (key, value) = (self.varint()?, self.varint()?);
        let headers = self.varint()?;
        let offset = self.at.offset.checked_add(skipped)?;
        let time = Timestamp(self.at.time.0.wrapping_add(later));
        let key = self.optional(key)?;
        let value = self.optional(value)?;
        self.headers.clear();
        for _ in 0..headers {
            let length = self.varint()?;
            let name = str::from_utf8(self.take(length)?).ok()?;
            let length = self.varint()?;
            let value = self.take(length)?;
            self.headers.push(Header { name, value });
        }
        (self.at.offset, self.at.time) = (offset.checked_add(1)?, time);
        Some((offset, time, key, value))
    }

    #[inline]
    fn optional(&mut self, length: u64) -> Option<Option<&'a [u8]>> {
        match length.checked_sub(1) {
            None => Some(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    #[inline]
    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let end = self.at.byte.checked_add(usize::try_from(length).ok()?)?;
        let taken = self.bytes.get(self.at.byte..end)?;
        self.at.byte = end;
        Some(taken)
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at.byte)?;
            self.at.byte += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cold]
fn broken(at: Place, bytes: usize) -> ! {
    panic!("a batch of {bytes} bytes is broken behind {at:?}")
}

/// Packs records.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    records: usize,
    base: Option<(u64, Timestamp)>,
    next_offset: u64,
    time: Timestamp,
}

impl Builder {
    /// With room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Appends a record; the offsets of later ones are greater.
    ///
    /// # Panics
    /// When the offset is not.
    #[inline]
    pub fn push(&mut self, record: &Record<'_>) {
        let Record { offset, timestamp, key, value, headers } = *record;
        if self.base.is_none() {
            self.base = Some((offset, timestamp));
            (self.next_offset, self.time) = (offset, timestamp);
        }
        let Some(skipped) = offset.checked_sub(self.next_offset) else {
            panic!("offset {offset} was pushed after {}", self.next_offset)
        };
        let later = timestamp.0.wrapping_sub(self.time.0);
        let out = &mut self.bytes;
        write_varint(skipped, out);
        write_varint(((later << 1) ^ (later >> 63)).cast_unsigned(), out);
        write_varint(key.map_or(0, |key| key.len() as u64 + 1), out);
        write_varint(value.map_or(0, |value| value.len() as u64 + 1), out);
        write_varint(headers.len() as u64, out);
        out.extend_from_slice(key.unwrap_or_default());
        out.extend_from_slice(value.unwrap_or_default());
        for header in headers {
            write_varint(header.name.len() as u64, out);
            out.extend_from_slice(header.name.as_bytes());
            write_varint(header.value.len() as u64, out);
            out.extend_from_slice(header.value);
        }
        self.records += 1;
        (self.next_offset, self.time) = (offset + 1, timestamp);
    }

    /// Appends a record behind the last, of a time that the log will stamp.
    #[inline]
    pub fn push_next(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        self.push(&Record { offset: self.next_offset, timestamp, key, value, headers });
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Time of the first record.
    #[must_use]
    pub fn base_time(&self) -> Timestamp {
        self.base.map_or(Timestamp(0), |(_, time)| time)
    }

    /// The packed bytes, for [`Batch::new`].
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The batch, at the offsets and times that were pushed.
    #[must_use]
    pub fn finish(self, partition: u32) -> Batch {
        let (offset, time) = self.base.unwrap_or_default();
        Batch::new(partition, offset, time, self.records, Arc::new(self.bytes))
    }
}

#[inline]
fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offset, time, key, value, number of headers.
    type Read = (u64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    fn read(batch: &Batch) -> Vec<Read> {
        let mut cursor = batch.cursor();
        let mut records = Vec::new();
        while let Some(record) = cursor.next_record() {
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            records.push((record.offset, record.timestamp.0, key, value, record.headers.len()));
        }
        records
    }

    fn batch() -> Batch {
        let mut builder = Builder::default();
        let header = [Header { name: "reply-to", value: b"desk" }];
        for (offset, time, key, value) in [
            (7, 50, Some(&b"a"[..]), Some(&b"one"[..])),
            (8, 40, None, Some(&b""[..])),
            (11, i64::MAX, Some(&b""[..]), None),
            (12, i64::MIN, None, None),
        ] {
            let headers = if offset == 8 { &header[..] } else { &[] };
            let timestamp = Timestamp(time);
            builder.push(&Record { offset, timestamp, key, value, headers });
        }
        builder.finish(3)
    }

    #[test]
    fn records_come_back_as_they_were_pushed_gaps_and_nothing_included() {
        let expected = vec![
            (7, 50, Some(b"a".to_vec()), Some(b"one".to_vec()), 0),
            (8, 40, None, Some(Vec::new()), 1),
            (11, i64::MAX, Some(Vec::new()), None, 0),
            (12, i64::MIN, None, None, 0),
        ];
        assert_eq!(read(&batch()), expected);
    }

    #[test]
    fn a_batch_is_split_without_moving_a_record() {
        let whole = read(&batch());
        for at in 0..=whole.len() + 1 {
            let mut rest = batch();
            let first = rest.split_to(at);
            assert_eq!([read(&first), read(&rest)].concat(), whole, "split at {at}");
        }
    }

    #[test]
    fn a_batch_skips_to_an_offset_or_to_the_next_there_is() {
        for (offset, left) in [(0, 4), (7, 4), (8, 3), (9, 2), (11, 2), (12, 1), (13, 0)] {
            let mut batch = batch();
            batch.skip_to(offset);
            assert_eq!(read(&batch).len(), left, "skip to {offset}");
        }
    }

    #[test]
    fn a_producers_batch_takes_the_offset_and_time_that_the_log_gives() {
        let mut builder = Builder::default();
        builder.push_next(Timestamp(5), Some(b"k"), Some(b"v"), &[]);
        builder.push_next(Timestamp(5), Some(b"k"), Some(b"w"), &[]);
        let records = builder.len();
        let batch = Batch::new(0, 100, Timestamp(9), records, Arc::new(builder.into_bytes()));
        let stamped: Vec<_> = read(&batch).into_iter().map(|record| (record.0, record.1)).collect();
        assert_eq!(stamped, [(100, 9), (101, 9)]);
    }
}
