//! Parked records: those that could not be decided, with all that is needed to try again, and what
//! became of them.
//!
//! The parked topic holds both: the records, and a copy of each event that resolves one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use bellhop_core::avro::{Avro, DecodeError, Reader as AvroReader};
use bellhop_core::engine::{EngineRecord as _, Parked, ParkedResolved};
use bellhop_core::message::{Meta, Timestamp};
use bellhop_core::partition::partition_of;
use bellhop_core::record::unframe;
use uuid::Uuid;

use crate::log::{Error as LogError, Reader, Topic};

/// A parked record and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Partition of the parked topic; the record came from the same one of the commands topic.
    pub partition: u32,
    /// Offset in the parked topic.
    pub offset: u64,
    /// The record.
    pub parked: Parked,
    /// What became of it; none while it is open.
    pub resolved: Option<Resolved>,
}

/// What became of a parked record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The event that says so.
    pub event_id: Uuid,
    /// Stream time.
    pub at: Timestamp,
    /// What, by whom, and why.
    pub how: ParkedResolved,
}

/// Why parked records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error("read what is parked")]
    Log(#[from] LogError),
    /// A record is not one of the engine.
    #[error(
        "read what is parked in partition {partition} at offset {offset}: it was written by another version of bellhop, or by something else"
    )]
    Undecodable {
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// What is wrong.
        source: DecodeError,
    },
}

/// A record of the parked topic.
enum Found {
    Parked(Parked),
    Resolved(Resolved),
}

fn decode(name: Option<&String>, datum: &[u8]) -> Result<Found, DecodeError> {
    let mut reader = AvroReader::new(datum);
    let found = if name.is_some_and(|name| name == ParkedResolved::NAME) {
        let meta = Meta::decode(&mut reader)?;
        let how = ParkedResolved::decode(&mut reader)?;
        Found::Resolved(Resolved { event_id: meta.message_id, at: meta.occurred_at, how })
    } else {
        Found::Parked(Parked::decode(&mut reader)?)
    };
    reader.finish().map(|()| found)
}

/// Reads the parked topic of a partition; schemas are asked for as they are met.
fn scan(
    reader: &mut dyn Reader,
    partition: u32,
    from: u64,
    each: &mut dyn FnMut(u64, Found) -> ControlFlow<()>,
) -> Result<u64, Error> {
    let mut names: HashMap<u32, String> = HashMap::new();
    let mut next = from;
    loop {
        let (mut unknown, mut undecodable) = (None, None);
        next = reader.read(Topic::Parked, partition, next, &mut |record| {
            let offset = record.offset;
            let (id, datum) = unframe(record.value.unwrap_or_default()).unwrap_or_default();
            if !names.contains_key(&id) {
                unknown = Some((id, offset));
                return ControlFlow::Break(());
            }
            match decode(names.get(&id), datum) {
                Ok(found) => each(offset, found),
                Err(source) => {
                    undecodable = Some(Error::Undecodable { partition, offset, source });
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = undecodable {
            return Err(error);
        }
        let Some((id, offset)) = unknown else { return Ok(next) };
        // What nobody knows is tried as a parked record.
        let name = reader.schema_of(id)?.schema().map_or_else(String::new, |schema| schema.name);
        names.insert(id, name);
        next = offset;
    }
}

/// Calls `each` for what is parked in a partition, once for each record of the commands topic, until
/// it breaks.
///
/// # Errors
/// When the log cannot be read or a record not be decoded.
pub fn read(
    reader: &mut dyn Reader,
    partition: u32,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut resolved: BTreeMap<i64, Resolved> = BTreeMap::new();
    scan(reader, partition, 0, &mut |_, found| {
        if let Found::Resolved(it) = found {
            resolved.entry(it.how.offset).or_insert(it);
        }
        ControlFlow::Continue(())
    })?;
    // A batch that is no transaction may have parked a record twice.
    let mut seen = BTreeSet::new();
    scan(reader, partition, 0, &mut |offset, found| match found {
        Found::Parked(parked) if seen.insert(parked.offset) => {
            let resolved = resolved.get(&parked.offset).cloned();
            each(Entry { partition, offset, parked, resolved })
        }
        Found::Parked(_) | Found::Resolved(_) => ControlFlow::Continue(()),
    })?;
    Ok(())
}

/// All that is parked, by partition and offset.
///
/// # Errors
/// As [`read`].
pub fn list(reader: &mut dyn Reader) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for partition in 0..reader.identity().partitions {
        read(reader, partition, &mut |entry| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
    }
    Ok(entries)
}

/// The parked record that had an offset in the commands topic; `None` when none had.
///
/// # Errors
/// As [`read`].
pub fn show(reader: &mut dyn Reader, partition: u32, offset: u64) -> Result<Option<Entry>, Error> {
    let mut found = None;
    read(reader, partition, &mut |entry| {
        if entry.parked.offset == offset.cast_signed() {
            found = Some(entry);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// A key that lies in a partition, for records that any key would do for.
#[must_use]
pub fn key_in(partition: u32, partitions: u32) -> String {
    let mut keys = (0_u64..).map(|number| format!("parked-{number}"));
    let found = keys.find(|key| partition_of(key.as_bytes(), partitions) == partition % partitions);
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_key() {
        for partitions in [1, 8, 12, 4_096] {
            for partition in [0, partitions / 2, partitions - 1] {
                let key = key_in(partition, partitions);
                assert_eq!(partition_of(key.as_bytes(), partitions), partition);
            }
        }
    }
}
