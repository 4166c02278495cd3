//! Membership in a group of consumers of the embedded log's events.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::time::Duration;

use bellhop_core::task::Progress;

use super::group::{Change, Group, MemberId};
use super::turns::Turns;
use super::writer::{Failure, Job};
use super::{Embedded, Shared, State};
use crate::log::{
    Each, Error, ErrorKind, Identity, Lookup, Mark, NOTE_BYTES_MAX, Polled, Reader, Topic,
};

/// A group of consumers.
pub(super) struct Consumers {
    pub(super) group: Group,
    wakes: BTreeMap<MemberId, Arc<Condvar>>,
    /// By partition: marks that are asked for and not decided.
    pub(super) undecided: Vec<u32>,
}

impl Consumers {
    fn new(partitions: u32) -> Self {
        let undecided = vec![0; partitions as usize];
        Self { group: Group::new(partitions), wakes: BTreeMap::new(), undecided }
    }

    pub(super) fn wake_all(&self) {
        self.wakes.values().for_each(|wake| wake.notify_all());
    }
}

/// A member of a group of consumers. Dropping it leaves the group.
pub struct Consumer {
    log: Embedded,
    group: String,
    id: MemberId,
    wake: Arc<Condvar>,
    turns: Turns,
}

impl Embedded {
    /// Joins a group of consumers of the events; a group is made by its first member.
    #[must_use]
    pub fn consume(&self, group: &str) -> Consumer {
        let partitions = self.identity().partitions;
        let mut state = self.shared().lock();
        let consumers =
            state.consumers.entry(group.to_owned()).or_insert_with(|| Consumers::new(partitions));
        let id = consumers.group.join();
        let wake = Arc::default();
        consumers.wakes.insert(id, Arc::clone(&wake));
        consumers.wake_all();
        drop(state);
        let (log, group) = (self.clone(), group.to_owned());
        Consumer { log, group, id, wake, turns: Turns::of(Topic::Events) }
    }

    /// Throws a consumer out: its partitions go to others, and it marks nothing any more.
    pub fn expel_consumer(&self, group: &str, id: MemberId) {
        let mut state = self.shared().lock();
        if let Some(consumers) = state.consumers.get_mut(group) {
            consumers.group.leave(id);
            consumers.wake_all();
        }
    }

    /// All marks of a group, by partition.
    #[must_use]
    pub fn marks(&self, group: &str) -> BTreeMap<u32, Mark> {
        self.shared().lock().contents.marks.get(group).cloned().unwrap_or_default()
    }
}

impl Consumer {
    /// Its name in the group.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.id
    }

    fn shared(&self) -> &Shared {
        self.log.shared()
    }

    fn fenced(&self, tried: &str) -> Error {
        Error {
            kind: ErrorKind::Fenced,
            tried: tried.to_owned(),
            hint: format!("another consumer of the group {} took over; join again", self.group),
            source: None,
        }
    }

    fn check(&self, state: &State, tried: &str) -> Result<(), Error> {
        if let Some(failure) = &state.broken {
            return Err(failure.error(tried));
        }
        if state.is_consumer(&self.group, self.id) { Ok(()) } else { Err(self.fenced(tried)) }
    }

    /// Waits until there is something to do, or the time is over, or the log breaks or throws the
    /// consumer out.
    fn wait(&self, wait: Duration, wants_events: bool) -> MutexGuard<'_, State> {
        let state = self.shared().lock();
        if wait.is_zero() {
            return state;
        }
        let idle = |state: &mut State| {
            let consumers = state.consumers.get(&self.group);
            state.broken.is_none()
                && consumers
                    .is_some_and(|it| it.group.is_member(self.id) && !it.group.has_change(self.id))
                && !(wants_events && self.turns.next_ready(state).is_some())
        };
        match self.wake.wait_timeout_while(state, wait, idle) {
            Ok((state, _)) => state,
            Err(poisoned) => PoisonError::into_inner(poisoned).0,
        }
    }
}

impl State {
    fn is_consumer(&self, group: &str, id: MemberId) -> bool {
        self.consumers.get(group).is_some_and(|consumers| consumers.group.is_member(id))
    }

    /// Whether a consumer owns a partition of its group.
    pub(super) fn consumes(&self, group: &str, id: MemberId, partition: u32) -> bool {
        self.consumers.get(group).and_then(|it| it.group.owner(partition)) == Some(id)
    }

    fn undecided_marks(&self, group: &str, partition: u32) -> u32 {
        let undecided =
            self.consumers.get(group).and_then(|it| it.undecided.get(partition as usize));
        undecided.copied().unwrap_or(0)
    }
}

impl Reader for Consumer {
    fn identity(&self) -> &Identity {
        self.log.identity()
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        Ok(self.log.schema_of(id).into())
    }

    /// Nothing is ever deleted.
    fn first(&mut self, _: Topic, _: u32) -> Result<u64, Error> {
        Ok(0)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        Ok(self.log.end(topic, partition))
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        Reader::read(&mut self.log, topic, partition, from, each)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        self.log.committed(partition)
    }
}

impl crate::log::Consumer for Consumer {
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        let mut state = self.wait(wait, records_max > 0);
        self.check(&state, "poll the events")?;
        let change =
            state.consumers.get_mut(&self.group).and_then(|it| it.group.next_change(self.id));
        match change {
            Some(Change::Assigned(partitions)) => return Ok(Polled::Assigned(partitions)),
            Some(Change::Revoked(partitions)) => return Ok(Polled::Revoked(partitions)),
            None => {}
        }
        let partition = if records_max > 0 { self.turns.next_ready(&state) } else { None };
        drop(state);
        let Some(partition) = partition else { return Ok(Polled::Idle) };
        let batch = self.turns.fetch(self.log.shared(), partition, records_max, |_| None)?;
        Ok(batch.map_or(Polled::Idle, Polled::Batch))
    }

    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        let state = self.shared().lock();
        let tried = format!("start the events of partition {partition} at offset {next_offset}");
        self.check(&state, &tried)?;
        if !state.consumes(&self.group, self.id, partition) {
            return Err(self.fenced(&tried));
        }
        drop(state);
        self.turns.start(partition, next_offset);
        Ok(())
    }

    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.turns.pause(partition);
        Ok(())
    }

    /// Waits until no mark of the partition is undecided, an earlier owner's neither.
    fn marked(&mut self, partition: u32) -> Result<Option<Mark>, Error> {
        let shared = self.shared();
        let state = shared
            .decided
            .wait_while(shared.lock(), |state| {
                state.broken.is_none() && state.undecided_marks(&self.group, partition) > 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        self.check(&state, &format!("read the mark of partition {partition}"))?;
        let marks = state.contents.marks.get(&self.group);
        Ok(marks.and_then(|marks| marks.get(&partition)).cloned())
    }

    fn mark(&mut self, marks: &[(u32, Mark)]) -> Result<(), Error> {
        let tried = format!("mark {} partitions of the group {}", marks.len(), self.group);
        if let Some((partition, mark)) =
            marks.iter().find(|(_, mark)| mark.note.len() > NOTE_BYTES_MAX)
        {
            let bytes = mark.note.len();
            return Err(Error {
                kind: ErrorKind::FixInput,
                tried,
                hint: format!(
                    "the note of partition {partition} has {bytes} bytes, at most {NOTE_BYTES_MAX} are kept"
                ),
                source: None,
            });
        }
        let (answer, answered) = sync_channel(1);
        {
            let mut state = self.shared().lock();
            self.check(&state, &tried)?;
            if let Some(consumers) = state.consumers.get_mut(&self.group) {
                for (partition, _) in marks {
                    consumers.undecided[*partition as usize] += 1;
                }
            }
            let (group, marks) = (self.group.clone(), marks.to_vec());
            state.jobs.push_back(Job::Mark { group, member: self.id, marks, answer });
            self.shared().work.notify_one();
        }
        match answered.recv() {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(self.fenced(&tried)),
            Ok(Err(failure)) => Err(failure.error(&tried)),
            Err(_) => Err(Failure::writer_gone().error(&tried)),
        }
    }

    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        partitions.iter().for_each(|partition| self.turns.pause(*partition));
        let mut state = self.shared().lock();
        self.check(&state, "release partitions")?;
        if let Some(consumers) = state.consumers.get_mut(&self.group) {
            consumers.group.release(self.id, partitions);
            consumers.wake_all();
        }
        Ok(())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let mut state = self.log.shared().lock();
        if let Some(consumers) = state.consumers.get_mut(&self.group) {
            consumers.group.leave(self.id);
            consumers.wakes.remove(&self.id);
            consumers.wake_all();
        }
    }
}
