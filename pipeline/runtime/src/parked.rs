//! Reads what was parked: records that could not be decided, with all that is needed to try again.

use std::ops::ControlFlow;

use bellhop_core::avro::{Avro, DecodeError, Reader as AvroReader};
use bellhop_core::engine::Parked;
use bellhop_core::record::unframe;

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

/// Calls `each` for what is parked in a partition from an offset on, until it breaks; gives the
/// offset to go on from.
///
/// # Errors
/// When the log cannot be read or a record not be decoded.
pub fn read(
    reader: &mut dyn Reader,
    partition: u32,
    from: u64,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<u64, Error> {
    let mut undecodable = None;
    let next = reader.read(Topic::Parked, partition, from, &mut |record| {
        let offset = record.offset;
        let (_, datum) = unframe(record.value.unwrap_or_default()).unwrap_or_default();
        let mut datum = AvroReader::new(datum);
        match Parked::decode(&mut datum).and_then(|parked| datum.finish().map(|()| parked)) {
            Ok(parked) => each(Entry { partition, offset, parked }),
            Err(source) => {
                undecodable = Some(Error::Undecodable { partition, offset, source });
                ControlFlow::Break(())
            }
        }
    })?;
    undecodable.map_or(Ok(next), Err)
}

/// All that is parked, by partition and offset.
///
/// # Errors
/// As [`read`].
pub fn list(reader: &mut dyn Reader) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for partition in 0..reader.identity().partitions {
        read(reader, partition, 0, &mut |entry| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
    }
    Ok(entries)
}

/// One parked record; `None` when there is none at that offset.
///
/// # Errors
/// As [`read`].
pub fn show(reader: &mut dyn Reader, partition: u32, offset: u64) -> Result<Option<Entry>, Error> {
    let mut found = None;
    read(reader, partition, offset, &mut |entry| {
        found = (entry.offset == offset).then_some(entry);
        ControlFlow::Break(())
    })?;
    Ok(found)
}
