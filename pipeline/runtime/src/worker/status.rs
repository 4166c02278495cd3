//! How a worker is doing.

use bellhop_core::task::Progress;

use super::hold::Held;
use super::partition::Failure;
use crate::log::ErrorKind;

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

/// What keeps a partition from deciding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Which.
    pub partition: u32,
    /// What it does instead, and why.
    pub what: String,
    /// Whether it may pass by itself; otherwise somebody has to act.
    pub passes: bool,
}

impl Status {
    /// What keeps partitions from deciding.
    pub fn troubles(&self) -> impl Iterator<Item = Trouble> {
        let failed = self.partitions.iter().filter_map(|it| {
            let Failure { offset, what } = it.failure.as_ref()?;
            let at = offset.map_or_else(String::new, |offset| format!(" at command {offset}"));
            let what = format!("stands still{at}: {what}");
            Some(Trouble { partition: it.partition, what, passes: false })
        });
        let held = self
            .partitions
            .iter()
            .filter_map(|it| it.held.as_ref().map(|held| Trouble::of(it.partition, held, "waits")));
        let coming = self.assigned.iter().filter_map(|it| {
            it.held
                .as_ref()
                .map(|held| Trouble::of(it.partition, held, "is not restored and waits"))
        });
        failed.chain(held).chain(coming)
    }
}

impl Trouble {
    fn of(partition: u32, held: &Held, does: &str) -> Self {
        let passes = match held.kind {
            ErrorKind::Retry | ErrorKind::Fenced => true,
            ErrorKind::Corrupt | ErrorKind::FixInput => false,
        };
        Self { partition, what: format!("{does}: {}", held.why), passes }
    }
}
