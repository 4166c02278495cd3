//! The whole state of a task as bytes, and where two states differ.

use crate::avro::{Avro, DecodeError, Reader, write_long};
use crate::history::History;
use crate::message::{LogId, Timestamp};
use crate::rules::Rules;
use crate::task::{Resolved, Task};

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot.
    #[error("read the snapshot")]
    Undecodable(#[from] DecodeError),
    /// Of another log or partition, or written by a program with other stores.
    #[error("the snapshot is of {found}, wanted {wanted}; the events are folded instead")]
    Mismatch {
        /// What it is of.
        found: String,
        /// What was wanted.
        wanted: String,
    },
}

/// A part of the state and the fingerprint of its schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape<'a> {
    of: &'a str,
    shape: u64,
}

impl Shape<'_> {
    fn must_be(&self, wanted: &Shape<'_>) -> Result<(), SnapshotError> {
        if self == wanted {
            return Ok(());
        }
        let text = |it: &Shape<'_>| format!("{} in the shape {:016x}", it.of, it.shape);
        Err(SnapshotError::Mismatch { found: text(self), wanted: text(wanted) })
    }
}

fn read_shape(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    i64::decode(reader).map(i64::cast_unsigned)
}

impl Task {
    /// Appends the whole state.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        self.config.log_id.0.encode(out);
        self.config.partition.encode(out);
        self.config.partitions.encode(out);
        self.progress.next_offset.cast_signed().encode(out);
        self.progress.stream_time.encode(out);
        self.history.encode(out);
        self.rules.encode(out);
        write_long(self.topology.stores.len() as i64, out);
        for ((info, shape), store) in
            self.topology.stores.iter().zip(&self.topology.shapes).zip(&self.stores.slots)
        {
            info.name.to_owned().encode(out);
            shape.cast_signed().encode(out);
            store.encode(out);
        }
        self.topology.timers_shape.cast_signed().encode(out);
        self.timers.encode(out);
        self.dedupe.encode(out);
        self.resolved.encode(out);
    }

    /// Replaces the state by a snapshot's.
    ///
    /// # Errors
    /// [`SnapshotError`] when it is damaged or of something else; the task is to be made anew then.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        let mut reader = Reader::new(snapshot);
        let log_id = LogId(Avro::decode(&mut reader)?);
        let (partition, partitions) = (u32::decode(&mut reader)?, u32::decode(&mut reader)?);
        let describe = |log_id: LogId, partition: u32, partitions: u32| {
            format!("partition {partition} of {partitions} of log {}", log_id.0)
        };
        let found = describe(log_id, partition, partitions);
        let wanted = describe(self.config.log_id, self.config.partition, self.config.partitions);
        if found != wanted {
            return Err(SnapshotError::Mismatch { found, wanted });
        }
        self.progress.next_offset = i64::decode(&mut reader)?.cast_unsigned();
        self.held = (self.progress.next_offset, 0);
        self.progress.stream_time = Timestamp::decode(&mut reader)?;
        self.history = History::decode(&mut reader)?;
        self.follow(Rules::decode(&mut reader)?);
        let count = reader.long()?;
        if count != self.topology.stores.len() as i64 {
            let wanted = format!("{} stores", self.topology.stores.len());
            return Err(SnapshotError::Mismatch { found: format!("{count} stores"), wanted });
        }
        let shaped = self.topology.stores.iter().zip(&self.topology.shapes);
        for ((info, shape), store) in shaped.zip(&mut self.stores.slots) {
            let name = String::decode(&mut reader)?;
            let found = Shape { of: &format!("the store {name}"), shape: read_shape(&mut reader)? };
            let wanted = Shape { of: &format!("the store {}", info.name), shape: *shape };
            found.must_be(&wanted)?;
            store.restore(&mut reader)?;
        }
        let found = Shape { of: "the timers", shape: read_shape(&mut reader)? };
        found.must_be(&Shape { shape: self.topology.timers_shape, ..found })?;
        self.timers.restore(&mut reader)?;
        self.dedupe.restore(&mut reader)?;
        self.resolved = Resolved::decode(&mut reader)?;
        Ok(reader.finish()?)
    }

    /// Describes the first difference between the state of two tasks.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        if self.progress != other.progress {
            return Some(format!("progress: {:?} against {:?}", self.progress, other.progress));
        }
        if self.rules != other.rules {
            return Some(format!("rules: {:?} against {:?}", self.rules, other.rules));
        }
        for (ours, theirs) in self.stores.slots.iter().zip(&other.stores.slots) {
            if let Some(difference) = ours.first_difference(theirs.as_ref()) {
                return Some(difference);
            }
        }
        let bytes = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            bytes
        };
        if bytes(&|out| self.timers.encode(out)) != bytes(&|out| other.timers.encode(out)) {
            return Some(format!("timers: {} against {}", self.timers.len(), other.timers.len()));
        }
        if bytes(&|out| self.dedupe.encode(out)) != bytes(&|out| other.dedupe.encode(out)) {
            let (ours, theirs) = (self.dedupe.len(), other.dedupe.len());
            return Some(format!("idempotency keys: {ours} against {theirs}"));
        }
        if self.resolved != other.resolved {
            let (ours, theirs) = (self.resolved.len(), other.resolved.len());
            return Some(format!("resolved parked records: {ours} against {theirs}"));
        }
        let (ours, theirs) = (self.history, other.history);
        (ours != theirs).then(|| format!("history: {ours} against {theirs}"))
    }
}
