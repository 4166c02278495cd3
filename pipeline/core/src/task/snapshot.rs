//! The whole state of a task as bytes, and where two states differ.

use crate::avro::{Avro, DecodeError, Reader, write_long};
use crate::message::{LogId, Timestamp};
use crate::task::Task;

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot.
    #[error("read the snapshot")]
    Undecodable(#[from] DecodeError),
    /// Of another log, partition, or version of a fold.
    #[error("the snapshot is of {found}, wanted {wanted}")]
    Mismatch {
        /// What it is of.
        found: String,
        /// What was wanted.
        wanted: String,
    },
}

impl Task {
    /// Appends the whole state.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        self.config.log_id.0.encode(out);
        self.config.partition.encode(out);
        self.config.partitions.encode(out);
        self.progress.next_offset.cast_signed().encode(out);
        self.progress.stream_time.encode(out);
        write_long(self.topology.stores.len() as i64, out);
        for (info, store) in self.topology.stores.iter().zip(&self.stores.slots) {
            info.name.to_owned().encode(out);
            info.version.encode(out);
            store.encode(out);
        }
        self.timers.encode(out);
        self.dedupe.encode(out);
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
        let count = reader.long()?;
        if count != self.topology.stores.len() as i64 {
            let wanted = format!("{} stores", self.topology.stores.len());
            return Err(SnapshotError::Mismatch { found: format!("{count} stores"), wanted });
        }
        for (info, store) in self.topology.stores.iter().zip(&mut self.stores.slots) {
            let (name, version) = (String::decode(&mut reader)?, u32::decode(&mut reader)?);
            if (name.as_str(), version) != (info.name, info.version) {
                let found = format!("version {version} of the store {name}");
                let wanted = format!("version {} of the store {}", info.version, info.name);
                return Err(SnapshotError::Mismatch { found, wanted });
            }
            store.restore(&mut reader)?;
        }
        self.timers.restore(&mut reader)?;
        self.dedupe.restore(&mut reader)?;
        Ok(reader.finish()?)
    }

    /// Describes the first difference between the state of two tasks.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        if self.progress != other.progress {
            return Some(format!("progress: {:?} against {:?}", self.progress, other.progress));
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
        None
    }
}
