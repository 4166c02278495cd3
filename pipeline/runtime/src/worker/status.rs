//! How a worker is doing.

use bellhop_core::task::Progress;

use super::hold::Held;
use super::partition::Failure;

/// How a worker is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The partitions that it decides, or that stand still.
    pub partitions: Vec<PartitionStatus>,
    /// The partitions that it owns and has not restored yet.
    pub assigned: Vec<AssignedStatus>,
}

/// How a partition is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Which.
    pub partition: u32,
    /// How far its task has decided; not all of it need be committed.
    pub progress: Progress,
    /// Why it waits, if it does; it is tried again.
    pub held: Option<Held>,
    /// Why it stands still for good, if it does.
    pub failure: Option<Failure>,
}

/// How far the restore of a partition has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedStatus {
    /// Which.
    pub partition: u32,
    /// The offset behind the last event that was folded.
    pub events: u64,
    /// The offset behind the last event there is; none when nothing was read yet.
    pub of: Option<u64>,
    /// Why it waits, if it does; it is tried again.
    pub held: Option<Held>,
}

impl Status {
    /// What keeps a partition from deciding, in words: partition and cause.
    pub fn troubles(&self) -> impl Iterator<Item = (u32, String)> {
        let standing = self.partitions.iter().filter_map(|it| {
            if let Some(Failure { offset, what }) = &it.failure {
                let at = offset.map_or_else(String::new, |offset| format!(" at command {offset}"));
                return Some((it.partition, format!("stands still{at}: {what}")));
            }
            it.held.as_ref().map(|held| (it.partition, format!("waits: {}", held.why)))
        });
        let coming = self.assigned.iter().filter_map(|it| {
            let held = it.held.as_ref()?;
            Some((it.partition, format!("is not restored and waits: {}", held.why)))
        });
        standing.chain(coming)
    }
}
