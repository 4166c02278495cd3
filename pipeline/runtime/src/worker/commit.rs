//! The commit of a worker: one transaction under way, and what becomes of it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use bellhop_core::outcome::Output;
use bellhop_core::record::{Header, Records, push_header};

use super::partition::{Carried, Frozen, Partition};
use super::refused::Piece;
use super::spans;
use super::{Worker, events_end};
use crate::log::{Ended, Error, Log, Part, Topic, Transaction};
use crate::snapshot::Snapshot;
use crate::telemetry::otlp::Span;

/// After a state was written out the worker writes no other for so many times as long: it stands
/// still for at most a fiftieth of its time.
const FREEZE_REST: u32 = 49;
/// After a snapshot was not taken by its store the worker writes out no state for so long.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);

/// What travels beside the transaction under way or to be submitted again.
#[derive(Default)]
pub(super) struct Commit {
    state: State,
    pub(super) carried: BTreeMap<u32, Carried>,
    /// What is to be submitted behind it, of a transaction that was taken apart.
    pub(super) pieces: VecDeque<Piece>,
    /// How often it has been submitted again.
    retries: u32,
    /// Begun when it was submitted, if a span is carried.
    span: Option<Span>,
}

#[derive(Default)]
enum State {
    /// Nothing is to be committed.
    #[default]
    Idle,
    UnderWay,
    /// To be submitted again at that time, once all changes of ownership are heard.
    Again {
        transaction: Transaction,
        at: Duration,
    },
    /// Nobody knows how it ended.
    Unknown(Transaction),
    /// Nobody knows how it ended, and what was to be committed is gone with it.
    Gone,
}

impl Commit {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle) && self.pieces.is_empty()
    }

    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, State::UnderWay)
    }

    pub(super) fn is_resubmitting(&self) -> bool {
        let again = matches!(self.state, State::Again { .. } | State::Unknown(_) | State::Gone);
        again || !self.pieces.is_empty()
    }

    pub(super) fn resubmit_at(&self) -> Option<Duration> {
        match &self.state {
            State::Again { at, .. } => Some(*at),
            State::Idle | State::UnderWay | State::Unknown(_) | State::Gone => None,
        }
    }
}

/// The retry ladder: at once, then 100, 200, 400, 800, 1600 ms.
pub(super) fn pause(retries: u32) -> Duration {
    match retries.checked_sub(1) {
        None => Duration::ZERO,
        Some(step) => Duration::from_millis(100 << step.min(4)),
    }
}

impl Worker {
    /// Hears how the transaction under way ended, waiting at most `wait`.
    pub(super) fn settle(&mut self, wait: Duration) -> Result<(), Error> {
        match std::mem::take(&mut self.commit.state) {
            State::Idle => Ok(()),
            State::Unknown(transaction) => self.find_out(transaction),
            State::Gone => self.start_over(),
            again @ State::Again { .. } => {
                self.commit.state = again;
                Ok(())
            }
            State::UnderWay => {
                // Until it is heard of again.
                self.commit.state = State::Gone;
                let ended = self.log.ended(wait)?;
                self.commit.state = State::Idle;
                if let Some((_, how)) = &ended {
                    self.end_span(*how);
                    self.hand.ended(*how == Ended::Committed, self.clock.as_ref());
                }
                match ended {
                    None => self.commit.state = State::UnderWay,
                    Some((transaction, Ended::Committed)) => {
                        self.commit.retries = 0;
                        for part in transaction.parts {
                            self.confirm(part);
                        }
                    }
                    Some((transaction, Ended::Aborted)) => self.again(transaction),
                    Some((transaction, Ended::Refused)) => self.take_apart(transaction),
                    Some((transaction, Ended::Unknown)) => self.find_out(transaction)?,
                }
                Ok(())
            }
        }
    }

    /// Submits what is decided when it is time and nothing is under way: a command that comes alone
    /// is not kept, and while one transaction commits the next one gathers (group commit).
    pub(super) fn submit_if_due(&mut self) -> Result<(), Error> {
        self.next_piece();
        match &self.commit.state {
            State::Idle => {}
            State::Again { .. } => return self.submit_again(),
            State::UnderWay | State::Unknown(_) | State::Gone => return Ok(()),
        }
        if self.buffered == 0 {
            return Ok(());
        }
        let full = !self.has_room();
        let closing = self.stopping || !self.revoked.is_empty();
        let age = self.clock.elapsed().saturating_sub(self.buffered_since);
        if !full && !closing && !self.dry && age < self.config.batch_wait {
            return Ok(());
        }
        let mut transaction = Transaction::default();
        self.hear_of_snapshots();
        let to_freeze = self.partition_to_freeze();
        let begun = self.clock.elapsed();
        for (id, partition) in &mut self.partitions {
            if let Some((part, carried)) = partition.take(Some(*id) == to_freeze) {
                transaction.parts.push(part);
                self.commit.carried.insert(*id, carried);
            }
        }
        if to_freeze.is_some() {
            let now = self.clock.elapsed();
            self.freeze_from = now.saturating_add(now.saturating_sub(begun) * FREEZE_REST);
        }
        (self.buffered, self.buffered_bytes) = (0, 0);
        self.submit(transaction)
    }

    /// A snapshot that its store has not taken is due again, after a pause.
    fn hear_of_snapshots(&mut self) {
        let heard = self.partitions.values_mut().map(Partition::hear_of_snapshot);
        // Each is asked.
        if heard.fold(false, |failed, one| failed | one) {
            let from = self.clock.elapsed().saturating_add(SNAPSHOT_PAUSE);
            self.freeze_from = self.freeze_from.max(from);
        }
    }

    /// The partition whose state is kept with the next transaction: of those that are due the one
    /// with the most events, and none as long as the last snapshot is still being written.
    ///
    /// The worker stands still while a state is written out. Partitions come due together, after a
    /// restore or because they were filled together, so they take turns.
    fn partition_to_freeze(&self) -> Option<u32> {
        let every = self.config.snapshot_events;
        let saver = self.saver.as_ref().filter(|_| every > 0)?;
        let due = self.partitions.iter().filter_map(|(id, partition)| {
            let events = partition.events_to_freeze().filter(|events| *events >= every)?;
            Some((events, *id))
        });
        let (_, id) = due.max()?;
        (saver.is_free() && self.clock.elapsed() >= self.freeze_from).then_some(id)
    }

    fn submit(&mut self, transaction: Transaction) -> Result<(), Error> {
        self.commit.state = State::Gone;
        self.begin_span(&transaction);
        self.hand.submitted(self.clock.as_ref());
        self.log.submit(transaction)?;
        self.commit.state = State::UnderWay;
        Ok(())
    }

    fn begin_span(&mut self, transaction: &Transaction) {
        if self.spans.is_some() {
            let decided = self.commit.carried.values().flat_map(|carried| &carried.spans);
            self.commit.span = spans::of_transaction(transaction, decided, self.clock.as_ref());
        }
    }

    fn end_span(&mut self, how: Ended) {
        if let (Some(spans), Some(span)) = (&self.spans, self.commit.span.take()) {
            spans::end_transaction(span, how, spans, self.clock.as_ref());
        }
    }

    /// Restores all that is owned from what is committed.
    fn start_over(&mut self) -> Result<(), Error> {
        self.commit.state = State::Gone;
        self.log.recover()?;
        self.commit = Commit::default();
        let owned: Vec<u32> = self.partitions.keys().copied().collect();
        for id in owned {
            self.drop_state(id);
            if !self.revoked.contains(&id) && !self.assigned.contains(&id) {
                self.assigned.push(id);
            }
        }
        Ok(())
    }

    /// What an end of `Committed` means for one partition.
    fn confirm(&mut self, part: Part) {
        let id = part.partition;
        let Some(carried) = self.commit.carried.remove(&id) else { return };
        self.hand.confirm(id, &carried.tally, part.after, self.clock.as_ref());
        if let Some(spans) = &self.spans {
            carried.spans.into_iter().for_each(|span| spans.send(span));
        }
        if let Some(observer) = &mut self.observer {
            for (offset, outcome) in carried.outcomes {
                observer(id, offset, outcome);
            }
        }
        let partition = self.partitions.get_mut(&id);
        let mut partition = partition.filter(|partition| partition.epoch == carried.epoch);
        if let (Some(frozen), Some(saver), Some(after)) =
            (carried.snapshot, &self.saver, part.after)
        {
            let Frozen { state, events } = frozen;
            let stale = partition.as_ref().map_or(Vec::new(), |it| it.stale.clone());
            let offered = match events_end(self.log.as_mut(), id, after) {
                Ok(Some(events_offset)) => {
                    let log_id = self.log.identity().log_id;
                    saver.offer(Snapshot { log_id, partition: id, events_offset, state }, stale)
                }
                Ok(None) => None,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(partition = id, error, "skip a snapshot");
                    None
                }
            };
            if let Some(partition) = &mut partition {
                partition.saves(offered, events);
            }
        }
        if let Some(partition) = partition {
            partition.recycle(part.output, carried.marks);
        }
        let is_behind = |offset: &u64| part.after.is_some_and(|it| *offset < it.next_offset);
        if self.refused.get(&id).is_some_and(is_behind) {
            self.refused.remove(&id);
        }
    }

    /// Goes on with what was taken apart, when nothing else is to be committed.
    fn next_piece(&mut self) {
        if matches!(self.commit.state, State::Idle)
            && let Some(Piece { part, carried }) = self.commit.pieces.pop_front()
        {
            self.commit.carried.insert(part.partition, carried);
            let (transaction, at) = (Transaction { parts: vec![part] }, self.clock.elapsed());
            self.commit.state = State::Again { transaction, at };
        }
    }

    fn again(&mut self, transaction: Transaction) {
        let pause = pause(self.commit.retries);
        self.commit.retries += 1;
        if self.commit.retries > 1 {
            tracing::warn!(retries = self.commit.retries, "a transaction was aborted again");
        }
        let at = self.clock.elapsed().saturating_add(pause);
        self.commit.state = State::Again { transaction, at };
        self.ownership_changes = true;
    }

    /// Submits again what is still owned. Changes of ownership come first: each step polls for
    /// them, and this waits for a poll that had none.
    fn submit_again(&mut self) -> Result<(), Error> {
        let State::Again { mut transaction, at } = std::mem::take(&mut self.commit.state) else {
            return Ok(());
        };
        if self.clock.elapsed() < at || self.ownership_changes {
            self.commit.state = State::Again { transaction, at };
            return Ok(());
        }
        transaction.parts.retain(|part| {
            let owned = self.partitions.get(&part.partition).map(|partition| partition.epoch);
            let carried = self.commit.carried.get(&part.partition).map(|carried| carried.epoch);
            owned.is_some() && owned == carried
        });
        self.commit
            .carried
            .retain(|id, _| transaction.parts.iter().any(|part| part.partition == *id));
        if transaction.parts.is_empty() {
            return Ok(());
        }
        self.submit(transaction)
    }

    /// After an unknown end: progress and events that are committed say it, partition by partition.
    fn find_out(&mut self, transaction: Transaction) -> Result<(), Error> {
        let mut found = Vec::new();
        let asked = self.log.recover().and_then(|()| {
            for part in &transaction.parts {
                let committed = self.log.committed(part.partition)?;
                found.push((committed, Kept::of(part, self.log.as_mut())?));
            }
            Ok(())
        });
        if let Err(error) = asked {
            self.commit.state = State::Unknown(transaction);
            return Err(error);
        }
        let mut start = Transaction::default();
        for (mut part, (committed, kept)) in transaction.parts.into_iter().zip(found) {
            let next = committed.map_or(0, |progress| progress.next_offset);
            let before = part.before.map_or(0, |progress| progress.next_offset);
            let after = part.after.map_or(before, |progress| progress.next_offset);
            let is_whole = next == after && kept.is_all_of(&part);
            if is_whole || (next == after && kept.knows_nothing()) {
                self.confirm(part);
            } else if next == before || next == after {
                if next != before || !kept.is_nothing() {
                    tracing::error!(
                        partition = part.partition,
                        committed = next,
                        before,
                        after,
                        ?kept,
                        "the log kept a part of a transaction: what it lacks is submitted"
                    );
                }
                kept.remove_from(&mut part);
                part.before = committed;
                start.parts.push(part);
            } else {
                self.lose(part.partition);
            }
        }
        if !start.parts.is_empty() {
            self.again(start);
        }
        Ok(())
    }

    /// Restores a partition that somebody else has committed for.
    fn lose(&mut self, id: u32) {
        tracing::warn!(partition = id, "another worker has committed for a partition: restoring");
        let owned = self.partitions.get(&id).map(|partition| partition.epoch);
        let carried = self.commit.carried.remove(&id).map(|carried| carried.epoch);
        if owned.is_some() && owned == carried {
            self.drop_state(id);
            // One that is asked back is released as it is.
            if !self.revoked.contains(&id) {
                self.assigned.push(id);
            }
        }
    }
}

/// How many of its records the log has kept of a part: the first so many, since they are appended
/// in order, and nobody else appends between them. Progress alone proves none of them.
#[derive(Debug)]
struct Kept {
    events: usize,
    parked: usize,
    /// There is nothing to look for.
    unknown: bool,
}

impl Kept {
    fn of(part: &Part, log: &mut dyn Log) -> Result<Self, Error> {
        let Output { events, parked, .. } = &part.output;
        let nothing = events.is_empty() && parked.is_empty();
        // Where events run ahead of the progress they are sent again whatever is there.
        if nothing || log.events_run_ahead() {
            return Ok(Self { events: 0, parked: 0, unknown: true });
        }
        Ok(Self {
            events: kept(log, Topic::Events, part.partition, events)?,
            parked: kept(log, Topic::Parked, part.partition, parked)?,
            unknown: false,
        })
    }

    fn knows_nothing(&self) -> bool {
        self.unknown
    }

    fn is_nothing(&self) -> bool {
        self.events + self.parked == 0
    }

    fn is_all_of(&self, part: &Part) -> bool {
        let Output { events, parked, .. } = &part.output;
        !self.unknown && (self.events, self.parked) == (events.len(), parked.len())
    }

    /// Leaves what is still to be written.
    fn remove_from(&self, part: &mut Part) {
        if self.is_nothing() {
            return;
        }
        if self.is_all_of(part) {
            part.output.clear();
            return;
        }
        // Cascades have keys that make a repeat of them harmless.
        let Output { events, parked, .. } = &mut part.output;
        *events = without_first(events, self.events);
        *parked = without_first(parked, self.parked);
    }
}

/// How many of the records that a transaction was to append to a partition it has.
fn kept(
    log: &mut dyn Log,
    topic: Topic,
    partition: u32,
    records: &Records,
) -> Result<usize, Error> {
    if records.is_empty() {
        return Ok(0);
    }
    let last = last_value(log, topic, partition)?;
    let is_last = |index: &usize| {
        let record = records.get(*index);
        record.is_some_and(|record| last.as_deref() == Some(record.value))
    };
    Ok((0..records.len()).rev().find(is_last).map_or(0, |index| index + 1))
}

/// The value of the last record of a partition.
fn last_value(log: &mut dyn Log, topic: Topic, partition: u32) -> Result<Option<Vec<u8>>, Error> {
    let end = log.end(topic, partition)?;
    // Markers and aborted records leave gaps.
    let mut window = 64;
    loop {
        let from = end.saturating_sub(window);
        let mut last = None;
        log.read(topic, partition, from, &mut |record| {
            last = record.value.map(<[u8]>::to_vec);
            ControlFlow::Continue(())
        })?;
        if last.is_some() || from == 0 {
            return Ok(last);
        }
        window *= 4;
    }
}

fn without_first(records: &Records, count: usize) -> Records {
    let mut rest = Records::default();
    for record in records.iter().skip(count) {
        rest.push(
            record.timestamp,
            |key| key.extend_from_slice(record.key),
            |value| value.extend_from_slice(record.value),
        );
        if !record.headers.is_empty() {
            rest.add_headers(|_, headers| {
                for Header { name, value } in record.headers.iter() {
                    push_header(headers, name, |out| out.extend_from_slice(value));
                }
            });
        }
    }
    rest
}
