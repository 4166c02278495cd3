//! A worker's membership in the embedded log.

use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::time::Duration;

use bellhop_core::message::Timestamp;
use bellhop_core::task::Progress;

use super::group::{Change, MemberId};
use super::turns::Turns;
use super::writer::{Append, Job};
use super::{Embedded, Shared, State};
use crate::log::{
    Batch, Builder, Each, Ended, Error, ErrorKind, Identity, Log, Lookup, Polled, Reader, Topic,
    Transaction,
};

/// A worker's membership. Dropping it leaves the group.
pub struct Member {
    log: Embedded,
    id: MemberId,
    wake: Arc<Condvar>,
    turns: Turns,
    under_way: bool,
}

impl Member {
    pub(super) fn new(log: Embedded, id: MemberId, wake: Arc<Condvar>) -> Self {
        Self { log, id, wake, turns: Turns::of(Topic::Commands), under_way: false }
    }

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
            hint: format!("worker {} is not of the group any more; join again", self.id.0),
            source: None,
        }
    }

    fn check(&self, state: &State, tried: &str) -> Result<(), Error> {
        if let Some(failure) = &state.broken {
            return Err(failure.error(tried));
        }
        if state.group.is_member(self.id) { Ok(()) } else { Err(self.fenced(tried)) }
    }

    /// Waits until `ready`, or the time is over, or the log breaks or throws the member out.
    fn wait<'s>(
        &self,
        state: MutexGuard<'s, State>,
        wait: Duration,
        ready: impl Fn(&State) -> bool,
    ) -> MutexGuard<'s, State> {
        if wait.is_zero() {
            return state;
        }
        let id = self.id;
        let idle = |state: &mut State| {
            state.broken.is_none() && state.group.is_member(id) && !ready(state)
        };
        match self.wake.wait_timeout_while(state, wait, idle) {
            Ok((state, _)) => state,
            Err(poisoned) => PoisonError::into_inner(poisoned).0,
        }
    }
}

impl State {
    /// Takes the batch that begins at an offset out of the newest commands, and drops those before.
    fn take_tail(&mut self, partition: u32, offset: u64) -> Option<Batch> {
        let tail = self.tails.get_mut(partition as usize)?;
        while let Some(batch) = tail.front() {
            let first = batch.next_offset();
            if first > offset {
                return None;
            }
            let taken = tail.pop_front()?;
            self.tail_bytes -= taken.bytes();
            if first == offset {
                return Some(taken);
            }
        }
        None
    }
}

impl Reader for Member {
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

impl Log for Member {
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        self.log.schema_id(name, schema)
    }

    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        let ready = |state: &State| {
            state.group.has_change(self.id)
                || state.members.get(&self.id).is_some_and(|desk| desk.ended.is_some())
                || (records_max > 0 && self.turns.next_ready(state).is_some())
        };
        let mut state = self.wait(self.shared().lock(), wait, ready);
        self.check(&state, "poll the log")?;
        match state.group.next_change(self.id) {
            Some(Change::Assigned(partitions)) => return Ok(Polled::Assigned(partitions)),
            Some(Change::Revoked(partitions)) => return Ok(Polled::Revoked(partitions)),
            None => {}
        }
        let partition = if records_max > 0 { self.turns.next_ready(&state) } else { None };
        drop(state);
        let Some(partition) = partition else { return Ok(Polled::Idle) };
        let shared = self.log.shared();
        let newest = |offset| shared.lock().take_tail(partition, offset);
        let batch = self.turns.fetch(shared, partition, records_max, newest)?;
        Ok(batch.map_or(Polled::Idle, Polled::Batch))
    }

    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        let state = self.shared().lock();
        let tried = format!("start partition {partition} at offset {next_offset}");
        self.check(&state, &tried)?;
        if state.group.owner(partition) != Some(self.id) {
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

    /// # Panics
    /// When another transaction is under way.
    fn submit(&mut self, transaction: Transaction) -> Result<(), Error> {
        assert!(!self.under_way, "a transaction was submitted while another is under way");
        let mut state = self.shared().lock();
        self.check(&state, "submit a transaction")?;
        for part in &transaction.parts {
            state.undecided[part.partition as usize] += 1;
        }
        state.jobs.push_back(Job::Commit { member: self.id, transaction });
        self.shared().work.notify_one();
        drop(state);
        self.under_way = true;
        Ok(())
    }

    fn ended(&mut self, wait: Duration) -> Result<Option<(Transaction, Ended)>, Error> {
        if !self.under_way {
            return Ok(None);
        }
        let id = self.id;
        let ready = |state: &State| state.members.get(&id).is_none_or(|desk| desk.ended.is_some());
        let mut state = self.wait(self.shared().lock(), wait, ready);
        let ended = state.members.get_mut(&id).and_then(|desk| desk.ended.take());
        let tried = "commit a transaction";
        let result = match ended {
            Some(Ok((_, Ended::Aborted))) if !state.group.is_member(id) => Err(self.fenced(tried)),
            Some(Ok(ended)) => Ok(Some(ended)),
            Some(Err(failure)) => Err(failure.error(tried)),
            None => self.check(&state, tried).map(|()| None),
        };
        drop(state);
        self.under_way = matches!(result, Ok(None));
        result
    }

    /// Nothing: the end of a transaction is always known.
    fn recover(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        partitions.iter().for_each(|partition| self.turns.pause(*partition));
        let mut state = self.shared().lock();
        self.check(&state, "release partitions")?;
        state.group.release(self.id, partitions);
        state.wake_members();
        Ok(())
    }

    fn append_tick(&mut self, partition: u32, value: &[u8]) -> Result<(), Error> {
        let mut builder = Builder::default();
        builder.push_next(Timestamp(0), None, Some(value), &[]);
        let append = Append { batches: vec![(partition, builder)], bookmark: None, answer: None };
        self.shared().ask(Job::Append(append), "append a tick")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.log.shared().lock();
        state.group.leave(self.id);
        state.members.remove(&self.id);
        state.wake_members();
    }
}
