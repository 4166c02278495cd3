//! Changes of ownership: partitions that a worker is given, gives up, or has lost.
//!
//! What was assigned is restored in slices, one a step, so that the worker goes on to poll, to
//! commit and to decide its other partitions. What the log refuses for now holds that partition
//! back alone.

use std::collections::BTreeMap;
use std::time::Duration;

use bellhop_core::rules::Rules;
use bellhop_core::task::{Config as TaskConfig, Progress, Task};

use super::commit::Commit;
use super::hold::{Held, chain};
use super::partition::{Failure, Partition};
use super::spans::Takeover;
use super::status::AssignedStatus;
use super::{AssignmentState, Worker, events_end};
use crate::log::{Error, ErrorKind, Topic};
use crate::restore::{self, Expected, Restored};
use crate::wiring::Wiring;

/// How often the progress of a long restore is told.
const TELL: Duration = Duration::from_secs(5);
/// How long a slice may take while no partition waits for this worker.
const ALONE: Duration = Duration::from_secs(1);
/// How many events are folded between two looks at the clock.
const LOOK_EVERY: u64 = 256;

/// The partitions that are owned and not restored yet.
#[derive(Default)]
pub(super) struct Assigned(BTreeMap<u32, Coming>);

/// A partition on its way.
#[derive(Default)]
struct Coming {
    held: Option<Held>,
    restoring: Option<Restoring>,
    takeover: Option<Takeover>,
}

/// A restore that has begun.
struct Restoring {
    restored: Restored,
    committed: Option<Progress>,
    /// The offset behind the last event, as it was at the beginning.
    of: u64,
    told: Duration,
}

/// What a try led to.
pub(super) enum Went {
    /// There is more to fold.
    On,
    /// It can decide, or stands still for good.
    Done(Box<Partition>),
}

impl Assigned {
    pub(super) fn push(&mut self, id: u32) {
        self.0.insert(id, Coming::default());
    }

    pub(super) fn contains(&self, id: &u32) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn remove(&mut self, ids: &[u32]) {
        self.0.retain(|id, _| !ids.contains(id));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// When there is something to do; `None` when nothing was assigned.
    pub(super) fn due(&self) -> Option<Duration> {
        self.0.values().map(|it| it.held.as_ref().map_or(Duration::ZERO, |held| held.until)).min()
    }

    pub(super) fn status(&self) -> impl Iterator<Item = AssignedStatus> {
        self.0.iter().map(|(id, coming)| AssignedStatus {
            partition: *id,
            events: coming.restoring.as_ref().map_or(0, |it| it.restored.events_end),
            of: coming.restoring.as_ref().map(|it| it.of),
            held: coming.held.clone(),
        })
    }

    /// The next one to go on with: one that has not begun, else the one with the least to fold.
    fn take_due(&mut self, now: Duration) -> Option<(u32, Coming)> {
        let due = self.0.iter().filter(|(_, it)| it.held.as_ref().is_none_or(|it| it.is_due(now)));
        let left = |coming: &Coming| {
            let restoring = coming.restoring.as_ref();
            restoring.map_or(0, |it| 1 + it.of.saturating_sub(it.restored.events_end))
        };
        let (id, _) = due.min_by_key(|(id, coming)| (left(coming), **id))?;
        let id = *id;
        self.0.remove_entry(&id)
    }
}

impl Worker {
    /// Goes on with one of the partitions that were assigned.
    ///
    /// # Errors
    /// When this worker was fenced; any other error holds its partition back.
    pub(super) fn restore_assigned(&mut self) -> Result<(), Error> {
        let begun = self.clock.elapsed();
        let Some((id, mut coming)) = self.assigned.take_due(begun) else { return Ok(()) };
        match self.go_on(id, &mut coming) {
            Ok(Went::Done(partition)) => {
                if let Some(takeover) = coming.takeover {
                    takeover.end();
                }
                let state = match &partition.failure {
                    None => AssignmentState::Deciding,
                    Some(failure) => AssignmentState::StandsStill(failure.clone()),
                };
                self.hand.meter.restored(id, partition.task().progress());
                self.partitions.insert(id, *partition);
                self.assignments.set(id, &self.name, state);
            }
            Ok(Went::On) => {
                if coming.held.take().is_some() {
                    self.assignments.set(id, &self.name, AssignmentState::Restoring);
                }
                self.assigned.0.insert(id, coming);
            }
            Err(error) => match error.kind {
                ErrorKind::Fenced => return Err(error),
                ErrorKind::Retry | ErrorKind::Corrupt | ErrorKind::FixInput => {
                    let now = self.clock.elapsed();
                    let spent = now.saturating_sub(begun);
                    let held = Held::again(coming.held, id, &error, (now, spent));
                    if held.is_long(now) {
                        let state = AssignmentState::Waits(held.why.clone());
                        self.assignments.set(id, &self.name, state);
                    }
                    coming.held = Some(held);
                    self.assigned.0.insert(id, coming);
                }
            },
        }
        Ok(())
    }

    /// Begins to restore a partition, or folds a slice of its events; starts it behind the last.
    fn go_on(&mut self, id: u32, coming: &mut Coming) -> Result<Went, Error> {
        let partitions = self.log.identity().partitions;
        if id >= partitions {
            let what = format!(
                "the log was made with {partitions} partitions and the topic of commands has grown: a key would have two homes; have producers spread their keys over the first {partitions}, and send again what is in partition {id}"
            );
            return Ok(self.refuse(id, None, what));
        }
        let mut restoring = match coming.restoring.take() {
            Some(restoring) => restoring,
            None => match self.take_over(id, coming)? {
                Ok(restoring) => restoring,
                Err(error) => return Ok(self.refuse(id, None, chain(&error))),
            },
        };
        let folded = self.fold_slice(&mut restoring.restored);
        let goes_on = matches!(folded, Ok(false) | Err(restore::Error::Log { .. }));
        if let Some(takeover) = coming.takeover.as_mut().filter(|_| !goes_on) {
            takeover.end_restore(folded.as_ref().map(|_| &restoring.restored));
        }
        match folded {
            Ok(true) => {
                let started = self.start(id, &mut restoring);
                match started {
                    Ok(()) => Ok(Went::Done(Box::new(self.begin(id, restoring)))),
                    Err(error) => {
                        coming.restoring = Some(restoring);
                        Err(error)
                    }
                }
            }
            Ok(false) => {
                let now = self.clock.elapsed();
                if now.saturating_sub(restoring.told) >= TELL {
                    restoring.told = now;
                    let (events, of) = (restoring.restored.events_end, restoring.of);
                    tracing::info!(partition = id, events, of, "restoring");
                }
                coming.restoring = Some(restoring);
                Ok(Went::On)
            }
            Err(restore::Error::Log { source, .. }) => {
                coming.restoring = Some(restoring);
                Err(source)
            }
            Err(error) => Ok(self.refuse(id, None, chain(&error))),
        }
    }

    /// Finds out where a partition stands, and what its restore begins with.
    fn take_over(
        &mut self,
        id: u32,
        coming: &mut Coming,
    ) -> Result<Result<Restoring, restore::Error>, Error> {
        if coming.takeover.is_none() {
            let tracer = self.spans.as_ref().map(|spans| (spans.clone(), self.clock.clone()));
            coming.takeover = tracer.map(|(spans, clock)| Takeover::begin(spans, clock, id));
        }
        self.drop_state(id);
        if coming.held.is_none() {
            self.assignments.set(id, &self.name, AssignmentState::Restoring);
        }
        let committed = self.log.committed(id)?;
        let of = self.log.end(Topic::Events, id)?;
        if let Some(takeover) = &mut coming.takeover {
            takeover.begin_restore();
        }
        let config = self.config.task(self.log.identity(), id);
        match self.find_state(&config, committed) {
            Ok(restored) => {
                let told = self.clock.elapsed();
                Ok(Ok(Restoring { restored, committed, of, told }))
            }
            Err(restore::Error::Log { source, .. }) => Err(source),
            Err(error) => Ok(Err(error)),
        }
    }

    /// A state to fold further: the copy of the process, or the newest snapshot, or nothing.
    fn find_state(
        &mut self,
        config: &TaskConfig,
        committed: Option<Progress>,
    ) -> Result<Restored, restore::Error> {
        let expected = Expected { committed, runs_ahead: self.log.events_run_ahead() };
        let copy =
            self.standby.as_ref().and_then(|standby| standby.take(config.partition, &self.name));
        let restored = match copy.and_then(|copy| copy.promote(expected)) {
            Some(copy) => copy,
            None => {
                let snapshots = self.saver.as_ref().map(|saver| saver.store());
                restore::begin(self.log.as_mut(), &self.wiring, config, snapshots, expected)?
            }
        };
        tracing::debug!(partition = config.partition, warm_from = restored.events_end, "restore");
        Ok(restored)
    }

    /// Folds as many events as a step may; gives whether there are no more, and the state is proven.
    fn fold_slice(&mut self, restored: &mut Restored) -> Result<bool, restore::Error> {
        let works = self.partitions.values().any(|partition| partition.failure.is_none());
        let most = if works { self.config.restore_slice } else { ALONE };
        // From the first event on: what is waited for before it would leave no time to fold.
        let (clock, mut begun) = (self.clock.clone(), None);
        let (mut events, events_max) = (0, self.config.restore_events_max);
        let snapshots = self.saver.as_ref().map(|saver| saver.store());
        let whole = restored.go_on(self.log.as_mut(), &mut self.wiring, snapshots, &mut || {
            let late = events % LOOK_EVERY == 0 && {
                let now = clock.elapsed();
                now.saturating_sub(*begun.get_or_insert(now)) >= most && events > 0
            };
            let full = events >= events_max;
            events += 1;
            late || full
        })?;
        if whole {
            restored.check_commands(self.log.as_mut())?;
        }
        Ok(whole)
    }

    /// Lets the records of a restored partition come.
    fn start(&mut self, id: u32, restoring: &mut Restoring) -> Result<(), Error> {
        let Restoring { restored, committed, .. } = restoring;
        report_committed(id, *committed, restored.task.progress());
        report_rules(id, restored.task.config().rules, restored.task.rules());
        report_retention(id, self.config.commands_kept, restored.task.rules());
        restored.task.resume(committed.unwrap_or(restored.task.progress()));
        self.log.start(id, restored.task.progress().next_offset)
    }

    fn begin(&mut self, id: u32, restoring: Restoring) -> Partition {
        let Restoring { restored, committed, .. } = restoring;
        let stale = restored.stale().to_vec();
        let Restored { task, snapshot, events_end, .. } = restored;
        self.epochs += 1;
        let mut partition = Partition::new(task, self.epochs, committed);
        partition.stale = stale;
        partition.events_since_snapshot = events_end - snapshot.unwrap_or(0).min(events_end);
        let task = partition.task_mut();
        if events_end == 0 {
            task.write_genesis();
        }
        task.set_wire(self.wiring.wire().clone());
        tracing::info!(
            partition = id,
            next_offset = task.progress().next_offset,
            events = events_end,
            snapshot,
            "restored"
        );
        partition
    }

    /// A partition that this program cannot decide stands still; the others go on.
    pub(super) fn refuse(&mut self, id: u32, offset: Option<u64>, what: String) -> Went {
        tracing::error!(
            partition = id,
            why = what,
            "a partition is refused: none of its commands is decided until that is mended, see \"A partition is refused\" in docs/operations.md"
        );
        let (topology, wire) = (self.topology.clone(), self.wiring.wire().clone());
        let task = Task::new(self.config.task(self.log.identity(), id), topology, wire);
        self.epochs += 1;
        let mut partition = Partition::new(task, self.epochs, None);
        partition.failure = Some(Failure { offset, what });
        Went::Done(Box::new(partition))
    }

    /// Of a partition that is owned no more, or restored anew.
    pub(super) fn drop_partition(&mut self, id: u32) {
        self.revoked.retain(|revoked| *revoked != id);
        self.assignments.remove(id, &self.name);
        self.drop_state(id);
    }

    /// Says that it owns nothing any more.
    pub(super) fn unassign_all(&self) {
        for id in self.partitions.keys().chain(self.assigned.0.keys()) {
            self.assignments.remove(*id, &self.name);
            if let Some(standby) = &self.standby {
                standby.leave(*id, &self.name, None);
            }
        }
    }

    pub(super) fn drop_state(&mut self, id: u32) {
        self.waiting.retain(|batch| batch.partition() != id);
        if let Some(dropped) = self.partitions.remove(&id) {
            self.buffered -= dropped.decided();
            self.buffered_bytes -= dropped.bytes();
        }
    }

    /// What fails is tried again by the next step: until then the former membership would go on to
    /// give records, of which nobody holds the state.
    pub(super) fn rejoin(&mut self) -> Result<(), Error> {
        self.fenced = true;
        self.unassign_all();
        self.partitions.clear();
        self.waiting.clear();
        self.assigned.clear();
        self.revoked.clear();
        (self.buffered, self.buffered_bytes) = (0, 0);
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
        // Some may have been lost meanwhile, and were to be restored.
        self.assigned.remove(&revoked);
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
                Some(Restored::left(task, snapshot, events_end))
            });
            self.drop_partition(id);
            if let Some(standby) = &self.standby {
                standby.leave(id, &self.name, state);
            }
        }
        Ok(())
    }

    /// Where the events end of revoked partitions that can be followed further. This worker has
    /// committed all, and yet another may own them already: a long pause lets the session end.
    fn states_to_leave(&mut self) -> BTreeMap<u32, u64> {
        let mut ends = BTreeMap::new();
        if self.standby.is_none() {
            return ends;
        }
        for id in &self.revoked {
            let whole = self.partitions.get(id).filter(|it| it.failure.is_none());
            let Some(progress) = whole.map(|it| it.task().progress()) else { continue };
            if let Ok(Some(end)) = events_end(self.log.as_mut(), *id, progress) {
                ends.insert(*id, end);
            }
        }
        ends
    }
}

fn report_rules(partition: u32, configured: Rules, followed: Rules) {
    if configured != followed {
        tracing::warn!(
            partition,
            ?configured,
            ?followed,
            "the configuration differs from the rules of the log, which are followed: set them alike, or change the log's by `bellhop rules`"
        );
    }
}

/// A retry of a command whose key is forgotten is decided again.
fn report_retention(partition: u32, kept: Option<Duration>, followed: Rules) {
    if let Some(kept) = kept.filter(|kept| *kept > followed.idempotency_time()) {
        tracing::error!(
            partition,
            kept_hours = kept.as_secs() / 3_600,
            remembered_hours = followed.idempotency_hours,
            "commands are kept for longer than the log remembers their keys: a retry of an old one is decided again; lower retention.ms of the topic of commands, or raise idempotency_hours and run `bellhop rules`"
        );
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
