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
    /// Packed headers, and where those of each record end; records behind the last have none, so
    /// that nothing is paid where none are written.
    headers: Vec<u8>,
    header_ends: Vec<usize>,
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
    /// Its headers.
    pub headers: PackedHeaders<'a>,
}

/// Headers to be written, packed one behind another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackedHeaders<'a>(&'a [u8]);

impl<'a> PackedHeaders<'a> {
    /// What [`push_header`] wrote.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// All headers in order.
    pub fn iter(self) -> impl Iterator<Item = Header<'a>> + Clone {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let name = str::from_utf8(take_sized(&mut rest)?).ok()?;
            Some(Header { name, value: take_sized(&mut rest)? })
        })
    }
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    let (taken, behind) = behind.split_at_checked(u32::from_le_bytes(*bytes) as usize)?;
    *rest = behind;
    Some(taken)
}

/// Appends a header to packed ones: each length in four bytes, then name or value.
pub fn push_header(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&(name.len() as u32).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    value(out);
    let bytes = (out.len() - at - 4) as u32;
    if let Some(length) = out.get_mut(at..at + 4) {
        length.copy_from_slice(&bytes.to_le_bytes());
    }
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

    /// Adds headers to the last record, once: `write` is given its key and appends them by
    /// [`push_header`].
    pub fn add_headers(&mut self, write: impl FnOnce(&[u8], &mut Vec<u8>)) {
        let Some(last) = self.ends.len().checked_sub(1) else { return };
        let start = last.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = start.map_or(0, |before| before.value);
        let key = self.ends.get(last).and_then(|ends| self.arena.get(start..ends.key));
        // Of records before it that have none.
        self.header_ends.resize(last, self.headers.len());
        write(key.unwrap_or_default(), &mut self.headers);
        self.header_ends.push(self.headers.len());
    }

    /// Whether any record has headers.
    #[must_use]
    pub fn has_headers(&self) -> bool {
        !self.headers.is_empty()
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
            headers: self.headers_of(index),
        })
    }

    #[inline]
    fn headers_of(&self, index: usize) -> PackedHeaders<'_> {
        let Some(end) = self.header_ends.get(index) else { return PackedHeaders::default() };
        let start = index.checked_sub(1).and_then(|before| self.header_ends.get(before));
        PackedHeaders(self.headers.get(start.copied().unwrap_or(0)..*end).unwrap_or_default())
    }

    /// The last record.
    #[inline]
    #[must_use]
    pub fn last(&self) -> Option<RecordRef<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// All records in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Takes the records from `count` on away.
    #[must_use]
    pub fn split_off(&mut self, count: usize) -> Self {
        let mut rest = Self::default();
        for record in self.iter().skip(count) {
            let (key, value) = (record.key, record.value);
            let write_key = |out: &mut Vec<u8>| out.extend_from_slice(key);
            rest.push(record.timestamp, write_key, |out| out.extend_from_slice(value));
            if !record.headers.is_empty() {
                rest.add_headers(|_, out| out.extend_from_slice(record.headers.0));
            }
        }
        self.truncate(count);
        rest
    }

    /// Drops all records and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.ends.clear();
        self.headers.clear();
        self.header_ends.clear();
    }

    /// Drops the records from `count` on.
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.arena.truncate(self.ends.last().map_or(0, |ends| ends.value));
        self.header_ends.truncate(count);
        self.headers.truncate(self.header_ends.last().copied().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(records: &mut Records, key: &str) {
        let bytes = |out: &mut Vec<u8>| out.extend_from_slice(key.as_bytes());
        records.push(Timestamp(0), bytes, bytes);
    }

    fn add(records: &mut Records) {
        records.add_headers(|key, out| {
            push_header(out, "key", |out| out.extend_from_slice(key));
            push_header(out, "", |_| {});
        });
    }

    /// Of each record: its key, and what its headers say it is.
    fn found(records: &Records) -> Vec<(String, Vec<(String, String)>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = |record: RecordRef<'_>| {
            record.headers.iter().map(|it| (it.name.to_owned(), text(it.value))).collect()
        };
        records.iter().map(|record| (text(record.key), headers(record))).collect()
    }

    #[test]
    fn each_record_has_its_own_headers_whichever_have_some() {
        let mut records = Records::default();
        add(&mut records);
        assert_eq!((records.len(), records.has_headers()), (0, false), "there is no record yet");
        for (key, headed) in [("a", false), ("b", true), ("c", false), ("d", true), ("e", false)] {
            push(&mut records, key);
            if headed {
                add(&mut records);
            }
        }
        let own =
            |key: &str| vec![("key".to_owned(), key.to_owned()), (String::new(), String::new())];
        let expected = |headed: &[&str]| -> Vec<_> {
            let keys = ["a", "b", "c", "d", "e"].map(str::to_owned);
            let of = |key: String| {
                let headers = if headed.contains(&key.as_str()) { own(&key) } else { vec![] };
                (key, headers)
            };
            keys.into_iter().map(of).collect()
        };
        assert_eq!(found(&records), expected(&["b", "d"]));
        records.truncate(3);
        assert_eq!(found(&records), expected(&["b"])[..3]);
        push(&mut records, "d");
        push(&mut records, "e");
        add(&mut records);
        assert_eq!(found(&records), expected(&["b", "e"]));
        let mut first = records.clone();
        let rest = first.split_off(2);
        assert_eq!(found(&first), expected(&["b", "e"])[..2]);
        assert_eq!(found(&rest), expected(&["b", "e"])[2..]);
        assert_eq!(first.bytes() + rest.bytes(), records.bytes());
        assert!(first.split_off(9).is_empty());
        records.truncate(1);
        assert!(!records.has_headers());
        records.clear();
        push(&mut records, "a");
        assert_eq!(found(&records), expected(&[])[..1]);
    }
}
