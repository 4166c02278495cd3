//! A consumer: a member of a group that reads the events and writes them somewhere else (a sink).
//!
//! It is to events what [`Log`](super::Log) is to commands: partitions are assigned, started,
//! revoked and lost in the same way. What it has done is a [`Mark`] per partition, kept by the log
//! and fenced by the group: a member that lost a partition cannot move its mark.

use std::time::Duration;

use super::{Error, Polled, Reader};

/// What a group remembers of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Offset of the next event to read; all before it is done.
    pub next_offset: u64,
    /// What the consumer noted with it: at most [`NOTE_BYTES_MAX`] bytes, not interpreted.
    pub note: String,
}

/// Brokers refuse longer ones (`offset.metadata.max.bytes`).
pub const NOTE_BYTES_MAX: usize = 4_096;

/// Membership in a group of consumers of events. Dropping it leaves the group.
pub trait Consumer: Reader {
    /// As [`Log::poll`](super::Log::poll), for committed events.
    ///
    /// # Errors
    /// By [`ErrorKind`](super::ErrorKind).
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error>;

    /// Lets the events of an assigned partition come, from an offset on.
    ///
    /// # Errors
    /// By [`ErrorKind`](super::ErrorKind).
    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error>;

    /// Lets no more events of a partition come; it stays owned.
    ///
    /// # Errors
    /// By [`ErrorKind`](super::ErrorKind).
    fn pause(&mut self, partition: u32) -> Result<(), Error>;

    /// What the group has marked; `None` when it never did.
    ///
    /// # Errors
    /// By [`ErrorKind`](super::ErrorKind).
    fn marked(&mut self, partition: u32) -> Result<Option<Mark>, Error>;

    /// Sets marks, durably, all or none.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`](super::ErrorKind::Fenced) when a partition is owned no more: nothing
    /// is set then.
    fn mark(&mut self, marks: &[(u32, Mark)]) -> Result<(), Error>;

    /// Confirms that revoked partitions are given up.
    ///
    /// # Errors
    /// By [`ErrorKind`](super::ErrorKind).
    fn release(&mut self, partitions: &[u32]) -> Result<(), Error>;
}
