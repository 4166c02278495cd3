//! Which partitions the workers of a process own, and whether each is open: for other threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Failure;

/// The partitions of all workers of a process; updated when ownership changes, never by a record.
#[derive(Debug, Default)]
pub struct Assignments {
    owned: Mutex<BTreeMap<u32, Assignment>>,
    changed: Condvar,
}

/// A partition that a worker of this process owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The worker's name.
    pub worker: String,
    /// Whether it decides.
    pub state: State,
}

/// How far an owned partition has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its state is being restored.
    Restoring,
    /// It cannot go on for now, for this reason, and is tried again.
    Waits(String),
    /// Its commands are decided.
    Deciding,
    /// It decides nothing until somebody acts.
    StandsStill(Failure),
}

impl Assignments {
    /// All partitions that are owned now.
    #[must_use]
    pub fn owned(&self) -> BTreeMap<u32, Assignment> {
        self.lock().clone()
    }

    /// Waits until each of the partitions 0 to `partitions - 1` is open, or waits, or stands still;
    /// false when `wait` is over first.
    #[must_use]
    pub fn wait_open(&self, partitions: u32, wait: Duration) -> bool {
        let is_open = |it: &Assignment| it.state != State::Restoring;
        let opening = |owned: &mut BTreeMap<u32, Assignment>| {
            owned.values().filter(|it| is_open(it)).count() < partitions as usize
        };
        let waited = self.changed.wait_timeout_while(self.lock(), wait, opening);
        let (_owned, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    pub(super) fn set(&self, partition: u32, worker: &str, state: State) {
        self.lock().insert(partition, Assignment { worker: worker.to_owned(), state });
        self.changed.notify_all();
    }

    /// Removes a partition unless another worker of the process has it by now.
    pub(super) fn remove(&self, partition: u32, worker: &str) {
        let mut owned = self.lock();
        if owned.get(&partition).is_some_and(|it| it.worker == worker) {
            owned.remove(&partition);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Assignment>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure { offset: None, what: "damaged".to_owned() }
    }

    #[test]
    fn open_means_decided_or_standing_still_and_not_restoring() {
        let assignments = Assignments::default();
        assert!(!assignments.wait_open(2, Duration::ZERO));
        assignments.set(0, "w0", State::Deciding);
        assignments.set(1, "w1", State::Restoring);
        assert!(!assignments.wait_open(2, Duration::ZERO));
        assignments.set(1, "w1", State::StandsStill(failure()));
        assert!(assignments.wait_open(2, Duration::ZERO));
    }

    #[test]
    fn a_former_owner_does_not_remove_its_successor() {
        let assignments = Assignments::default();
        assignments.set(0, "w0", State::Deciding);
        assignments.set(0, "w1", State::Restoring);
        assignments.remove(0, "w0");
        assert_eq!(assignments.owned()[&0].worker, "w1");
        assignments.remove(0, "w1");
        assert!(assignments.owned().is_empty());
    }
}
