//! Changes of ownership: partitions that a worker is given, gives up, or has lost.

use std::collections::BTreeMap;

use bellhop_core::task::{Config as TaskConfig, Progress, Task};

use super::commit::Commit;
use super::partition::{Failure, Partition};
use super::spans::Takeover;
use super::{AssignmentState, Worker};
use crate::log::{Error, Topic};
use crate::restore::{self, Restored};
use crate::wiring::Wiring;

impl Worker {
    /// Restores what was assigned; what the log refuses for now stays to be restored.
    pub(super) fn restore_assigned(&mut self) -> Result<(), Error> {
        while let Some(id) = self.assigned.first().copied() {
            self.assign(id)?;
            self.assigned.remove(0);
        }
        Ok(())
    }

    fn assign(&mut self, id: u32) -> Result<(), Error> {
        let tracer = self.spans.as_ref().map(|spans| (spans.clone(), self.clock.clone()));
        let mut takeover = tracer.map(|(spans, clock)| Takeover::begin(spans, clock, id));
        let taken = self.take_over(id, takeover.as_mut());
        if let Some(takeover) = takeover {
            takeover.end(taken.as_ref().err());
        }
        taken
    }

    fn take_over(&mut self, id: u32, takeover: Option<&mut Takeover>) -> Result<(), Error> {
        self.drop_partition(id);
        self.assignments.set(id, &self.name, AssignmentState::Restoring);
        let committed = self.log.committed(id)?;
        let config = self.config.task(self.log.identity(), id);
        let restored = match takeover {
            None => self.restore(&config, committed),
            Some(takeover) => takeover.restore(|| self.restore(&config, committed)),
        };
        self.epochs += 1;
        let mut partition = match restored {
            Ok(Restored { task, snapshot, events_end }) => {
                let mut partition = Partition::new(task, self.epochs, committed);
                let snapshot_from = snapshot.unwrap_or(0);
                partition.events_since_snapshot = events_end - snapshot_from.min(events_end);
                let task = partition.task_mut();
                report_committed(id, committed, task.progress());
                task.resume(committed.unwrap_or(task.progress()));
                if events_end == 0 {
                    task.write_genesis();
                }
                tracing::info!(
                    partition = id,
                    next_offset = task.progress().next_offset,
                    events = events_end,
                    snapshot,
                    "restored"
                );
                partition
            }
            Err(restore::Error::Log { source, .. }) => return Err(source),
            Err(error) => {
                // Events that cannot be folded: this partition is refused, not the others.
                let error: &dyn std::error::Error = &error;
                tracing::error!(partition = id, error, "a partition is refused");
                let (topology, wire) = (self.topology.clone(), self.wiring.wire().clone());
                let task = Task::new(config, topology, wire);
                let mut partition = Partition::new(task, self.epochs, committed);
                partition.failure = Some(Failure { offset: None, what: error.to_string() });
                partition
            }
        };
        partition.task_mut().set_wire(self.wiring.wire().clone());
        if partition.failure.is_none() {
            self.log.start(id, partition.task().progress().next_offset)?;
        }
        let state = match &partition.failure {
            None => AssignmentState::Deciding,
            Some(failure) => AssignmentState::StandsStill(failure.clone()),
        };
        self.partitions.insert(id, partition);
        self.assignments.set(id, &self.name, state);
        Ok(())
    }

    /// State and events of a partition, up to where its next record is decided.
    fn restore(
        &mut self,
        config: &TaskConfig,
        committed: Option<Progress>,
    ) -> Result<Restored, restore::Error> {
        let id = config.partition;
        let runs_ahead = committed.filter(|_| self.log.events_run_ahead());
        let is_ahead = |copy: &Restored| {
            runs_ahead.is_some_and(|it| copy.task.progress().next_offset > it.next_offset)
        };
        let copy = self.standby.as_ref().and_then(|standby| standby.take(id));
        let mut restored = match copy.filter(|copy| !is_ahead(copy)) {
            Some(copy) => copy,
            None => {
                let snapshots = self.saver.as_ref().map(|saver| saver.store());
                restore::begin(self.log.as_mut(), &mut self.wiring, config, snapshots)?
            }
        };
        if let Some(committed) = runs_ahead {
            restored.task.fold_only_before(committed.next_offset);
        }
        let warm_from = restored.events_end;
        match restored.go_on(self.log.as_mut(), &mut self.wiring, &mut || false) {
            Ok(()) => {
                tracing::debug!(partition = id, warm_from, "caught up");
                Ok(restored)
            }
            Err(error) => {
                // The next try need not begin anew.
                if let Some(standby) = &self.standby {
                    restored.task.fold_only_before(u64::MAX);
                    standby.leave(id, Some(restored));
                }
                Err(error)
            }
        }
    }

    /// Of a partition that is owned no more, or restored anew.
    pub(super) fn drop_partition(&mut self, id: u32) {
        self.revoked.retain(|revoked| *revoked != id);
        self.assignments.remove(id, &self.name);
        self.drop_state(id);
    }

    /// Says that it owns nothing any more.
    pub(super) fn unassign_all(&self) {
        for id in self.partitions.keys().chain(&self.assigned) {
            self.assignments.remove(*id, &self.name);
        }
    }

    pub(super) fn drop_state(&mut self, id: u32) {
        self.waiting.retain(|batch| batch.partition() != id);
        if let Some(dropped) = self.partitions.remove(&id) {
            self.buffered -= dropped.decided();
        }
    }

    /// What fails is tried again by the next step: until then the former membership would go on to
    /// give records, of which nobody holds the state.
    pub(super) fn rejoin(&mut self) -> Result<(), Error> {
        self.fenced = true;
        if let Some(standby) = &self.standby {
            self.partitions.keys().for_each(|partition| standby.leave(*partition, None));
        }
        self.unassign_all();
        self.partitions.clear();
        self.waiting.clear();
        self.assigned.clear();
        self.revoked.clear();
        self.buffered = 0;
        self.commit = Commit::default();
        self.log = (self.join)()?;
        self.wiring = Wiring::of(self.log.as_mut(), self.topology.clone(), self.resolve.clone())?;
        self.fenced = false;
        Ok(())
    }

    pub(super) fn release_if_settled(&mut self) -> Result<(), Error> {
        let settled = self.buffered == 0 && self.commit.is_idle();
        if self.revoked.is_empty() || !settled {
            return Ok(());
        }
        let left = self.states_to_leave();
        self.log.release(&self.revoked)?;
        let revoked = std::mem::take(&mut self.revoked);
        for id in revoked {
            let state = left.get(&id).copied().and_then(|events_end| {
                let partition = self.partitions.remove(&id)?;
                let snapshot = events_end.checked_sub(partition.events_since_snapshot);
                let mut task = partition.into_task();
                // A genesis that waited for company; and what it decided is what a fold would have
                // applied.
                task.output().clear();
                task.resume(task.progress());
                task.fold_only_before(u64::MAX);
                Some(Restored { task, snapshot, events_end })
            });
            self.drop_partition(id);
            if let Some(standby) = &self.standby {
                standby.leave(id, state);
            }
        }
        Ok(())
    }

    /// Where the events end of revoked partitions that can be followed further; all is committed,
    /// and nobody else owns them yet.
    fn states_to_leave(&mut self) -> BTreeMap<u32, u64> {
        let mut ends = BTreeMap::new();
        if self.standby.is_none() {
            return ends;
        }
        for id in &self.revoked {
            let whole = self.partitions.get(id).is_some_and(|it| it.failure.is_none());
            if whole && let Ok(end) = self.log.end(Topic::Events, *id) {
                ends.insert(*id, end);
            }
        }
        ends
    }
}

fn report_committed(partition: u32, committed: Option<Progress>, folded: Progress) {
    let next_offset = committed.map_or(0, |committed| committed.next_offset);
    if next_offset < folded.next_offset {
        tracing::warn!(
            partition,
            committed = next_offset,
            folded = folded.next_offset,
            "the committed offset is missing or behind the events: going on behind the last event"
        );
    }
}
