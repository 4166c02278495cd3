//! Deciding: what was polled goes through the tasks, as far as there is room in the next
//! transaction.
//!
//! A partition whose next record cannot be looked at for now (the registry has not answered) keeps
//! its records and waits; the batches of the others are decided meanwhile.

use std::time::Duration;

use bellhop_core::avro::Avro;
use bellhop_core::engine::{EngineRecord, ParkedKind, Tick};
use bellhop_core::headers::TraceParent;
use bellhop_core::message::Meta;
use bellhop_core::partition::partition_of;
use bellhop_core::record::frame;
use bellhop_core::task::UnknownSchema;
use uuid::Uuid;

use super::hold::Held;
use super::spans::{self, Tracer};
use super::{AssignmentState, Worker};
use crate::log::{Batch, Error, ErrorKind, Timestamps};

/// How often due timers of idle partitions are looked for.
const TICK_CHECK: Duration = Duration::from_millis(20);
/// How often it is looked whether a schema that was asked for has come.
const ANSWER_CHECK: Duration = Duration::from_millis(5);

/// Of how many records behind one that waits the schemas are asked for, too.
const ASK_AHEAD: usize = 64;

/// Why the records of a batch were not decided to its end.
enum Stopped {
    /// A processor panicked.
    Failed,
    /// A schema is not known yet.
    Unasked(Error),
    /// The next transaction has no room for more.
    Full,
}

impl Worker {
    /// How many more records may be polled.
    pub(super) fn room(&self) -> usize {
        let closed = self.stopping || !self.revoked.is_empty() || self.commit.is_resubmitting();
        let now = self.clock.elapsed();
        if closed
            || !self.has_room()
            || self.waiting.iter().any(|batch| !self.is_held(batch.partition(), now))
        {
            return 0;
        }
        self.config.batch_records_max.saturating_sub(self.buffered)
    }

    /// Whether the next transaction takes one more record.
    pub(super) fn has_room(&self) -> bool {
        self.buffered < self.config.batch_records_max
            && self.buffered_bytes < self.config.batch_bytes_max
    }

    /// How long a poll may wait.
    pub(super) fn wait_at_most(&self, wait: Duration) -> Duration {
        let now = self.clock.elapsed();
        let mut wait = wait;
        let mut wake = |at: Duration| wait = wait.min(at.saturating_sub(now));
        if !self.stopping {
            self.assigned.due().into_iter().for_each(&mut wake);
        }
        if let Some(at) = self.commit.resubmit_at() {
            wake(at);
        }
        if self.has_room() && !self.stopping {
            let keeping = self.waiting.iter().filter_map(|it| self.partitions.get(&it.partition()));
            let paused = self.partitions.values().filter(|partition| partition.paused);
            let held = keeping.chain(paused).filter_map(|it| it.held.as_ref());
            held.for_each(|held| wake(held.until));
        }
        // The last poll was empty, or something is under way: what is buffered waits no longer.
        let pending = self.buffered > 0 && !self.commit.is_under_way();
        if pending && !self.commit.is_resubmitting() { Duration::ZERO } else { wait }
    }

    /// Whether a partition waits for something else than records.
    fn is_held(&self, id: u32, now: Duration) -> bool {
        let held = self.partitions.get(&id).and_then(|partition| partition.held.as_ref());
        held.is_some_and(|held| !held.is_due(now))
    }

    /// Keeps a batch that was polled; of a partition that waits no more are to come.
    pub(super) fn keep_waiting(&mut self, batch: Batch) -> Result<(), Error> {
        let id = batch.partition();
        self.waiting.push_back(batch);
        match self.partitions.get_mut(&id) {
            Some(partition) if partition.held.is_some() && !partition.paused => {
                partition.paused = true;
                self.log.pause(id)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Lets the tasks decide what was polled, as far as there is room in the next transaction.
    ///
    /// # Errors
    /// When this worker was fenced.
    pub(super) fn decide_waiting(&mut self) -> Result<(), Error> {
        let now = self.clock.elapsed();
        let mut kept = Vec::new();
        while self.has_room()
            && let Some(mut batch) = self.waiting.pop_front()
        {
            if self.is_held(batch.partition(), now) {
                kept.push(batch);
                continue;
            }
            let first = batch.split_to(self.config.batch_records_max - self.buffered);
            if !batch.is_empty() {
                self.waiting.push_front(batch);
            }
            if let Some(rest) = self.decide(first)? {
                self.waiting.push_front(rest);
            }
        }
        // In front of what came later of the same partitions.
        while let Some(batch) = kept.pop() {
            self.waiting.push_front(batch);
        }
        self.resume_paused(now)
    }

    /// Lets the records of partitions come again that were paused while they waited.
    fn resume_paused(&mut self, now: Duration) -> Result<(), Error> {
        for (id, partition) in &mut self.partitions {
            let keeps = self.waiting.iter().any(|batch| batch.partition() == *id);
            let due = partition.held.as_ref().is_none_or(|held| held.is_due(now));
            let closed = self.stopping || self.revoked.contains(id) || partition.failure.is_some();
            if !partition.paused || !due || closed || keeps {
                continue;
            }
            match self.log.start(*id, partition.task().progress().next_offset) {
                Ok(()) => (partition.paused, partition.held) = (false, None),
                Err(error) if error.kind == ErrorKind::Fenced => return Err(error),
                Err(error) => {
                    let before = partition.held.take();
                    let spent = self.clock.elapsed().saturating_sub(now);
                    partition.held = Some(Held::again(before, *id, &error, (now, spent)));
                }
            }
        }
        Ok(())
    }

    /// Decides a batch; gives what is left of it when its partition has to wait.
    ///
    /// # Errors
    /// When this worker was fenced.
    fn decide(&mut self, mut batch: Batch) -> Result<Option<Batch>, Error> {
        let id = batch.partition();
        let Some(partition) = self.partitions.get_mut(&id) else { return Ok(None) };
        if partition.failure.is_some() {
            return Ok(None);
        }
        if self.buffered == 0 {
            self.buffered_since = self.clock.elapsed();
        }
        let before = (partition.decided(), partition.bytes());
        let bytes_max = before.1 + (self.config.batch_bytes_max - self.buffered_bytes);
        let refused = self.refused.get(&id).copied();
        let observed = self.observer.is_some();
        let tracer = self.spans.as_ref().map(|spans| Tracer {
            spans,
            clock: self.clock.as_ref(),
            topology: &self.topology,
            log_id: self.log.identity().log_id,
        });
        let mut cursor = batch.cursor();
        let mut stopped = None;
        let mut trace = None;
        while let Some(record) = cursor.next_record() {
            let begun = tracer.as_ref().and_then(|tracer| tracer.begin(&record));
            let remember = observed || begun.is_some();
            stopped = loop {
                if refused == Some(record.offset) {
                    let good = partition.set_aside(&record, remember);
                    break (!good).then_some(Stopped::Failed);
                }
                match partition.process(&record, remember) {
                    Ok(good) => break (!good).then_some(Stopped::Failed),
                    Err(UnknownSchema(schema_id)) => {
                        match self.wiring.learn(self.log.as_mut(), schema_id) {
                            Ok(None) => partition.task_mut().set_wire(self.wiring.wire().clone()),
                            Ok(Some(cause)) => {
                                let kind = ParkedKind::UnknownType;
                                let good = partition.park(&record, kind, &cause, remember);
                                break (!good).then_some(Stopped::Failed);
                            }
                            Err(error) => break Some(Stopped::Unasked(error)),
                        }
                    }
                }
            };
            if let (Some(tracer), Some(begun), None | Some(Stopped::Failed)) =
                (&tracer, begun, &stopped)
            {
                let id = spans::schema_id(&record);
                let name = id.and_then(|id| self.wiring.wire().name_of(id));
                tracer.end(begun, &record, name, partition);
            }
            if stopped.is_some() {
                trace = TraceParent::of(record.headers);
                break;
            }
            if partition.bytes() >= bytes_max {
                stopped = Some(Stopped::Full);
                break;
            }
        }
        if matches!(stopped, Some(Stopped::Unasked(_))) {
            let partitions = self.log.identity().partitions;
            for _ in 0..ASK_AHEAD {
                let Some(record) = cursor.next_record() else { break };
                let is_here = |key: &[u8]| key.is_empty() || partition_of(key, partitions) == id;
                let schema_id = spans::schema_id(&record);
                let unknown = schema_id.filter(|it| self.wiring.wire().name_of(*it).is_none());
                if let Some(schema_id) = unknown.filter(|_| record.key.is_none_or(is_here)) {
                    // The answer is taken when the record's turn has come.
                    drop(self.log.schema_of(schema_id));
                }
            }
        }
        self.buffered += partition.decided() - before.0;
        self.buffered_bytes += partition.bytes() - before.1;
        match stopped {
            None => {
                if partition.held.take().is_some_and(|held| held.is_long(self.clock.elapsed())) {
                    self.assignments.set(id, &self.name, AssignmentState::Deciding);
                }
                Ok(None)
            }
            Some(Stopped::Full) => {
                batch.skip_to(partition.task().progress().next_offset);
                Ok(Some(batch).filter(|batch| !batch.is_empty()))
            }
            Some(Stopped::Failed) => {
                let failure = partition.failure.as_ref();
                tracing::error!(
                    partition = id,
                    offset = failure.and_then(|failure| failure.offset),
                    what = failure.map(|failure| failure.what.as_str()),
                    trace_id = trace.map(|trace| format!("{:032x}", trace.trace_id)),
                    "a processor panicked: this partition stands still, the others go on"
                );
                if let Some(failure) = failure.cloned() {
                    let state = AssignmentState::StandsStill(failure);
                    self.assignments.set(id, &self.name, state);
                }
                self.waiting.retain(|batch| batch.partition() != id);
                match self.log.pause(id) {
                    Err(error) if error.kind == ErrorKind::Fenced => Err(error),
                    // What still comes is not looked at.
                    Err(_) | Ok(()) => Ok(None),
                }
            }
            Some(Stopped::Unasked(error)) if error.kind == ErrorKind::Fenced => Err(error),
            Some(Stopped::Unasked(error)) => {
                let now = self.clock.elapsed();
                let before = partition.held.take();
                let held = Held::for_answer(before, id, &error, now, ANSWER_CHECK);
                if held.is_long(now) {
                    let state = AssignmentState::Waits(held.why.clone());
                    self.assignments.set(id, &self.name, state);
                }
                partition.held = Some(held);
                batch.skip_to(partition.task().progress().next_offset);
                Ok(Some(batch))
            }
        }
    }

    /// Appends ticks to partitions whose timers are due while nothing comes.
    ///
    /// # Errors
    /// When this worker was fenced. A tick that cannot be appended is tried again when the next
    /// would be due.
    pub(super) fn tick_if_due(&mut self) -> Result<(), Error> {
        let elapsed = self.clock.elapsed();
        let early = elapsed.saturating_sub(self.ticks_checked) < TICK_CHECK;
        let closed = self.stopping || self.log.identity().timestamps == Timestamps::Create;
        if early || closed {
            return Ok(());
        }
        self.ticks_checked = elapsed;
        let now = self.clock.now();
        for (id, partition) in &mut self.partitions {
            let due = partition.task().timers().next_due().is_some_and(|due| due <= now);
            let ticked = partition.ticked.map(|ticked| elapsed.saturating_sub(ticked));
            let waits = ticked.is_some_and(|since| since < self.config.tick_pause);
            if !due || waits || partition.failure.is_some() || self.revoked.contains(id) {
                continue;
            }
            let Some(schema_id) = self.wiring.wire().id_of(Tick::NAME) else { continue };
            let mut value = Vec::new();
            frame(schema_id, &mut value);
            let meta = Meta {
                message_id: Uuid::nil(),
                idempotency_key: None,
                correlation_id: None,
                causation_id: None,
                occurred_at: now,
                source: None,
            };
            meta.encode(&mut value);
            Tick { partition: *id }.encode(&mut value);
            partition.ticked = Some(elapsed);
            match self.log.append_tick(*id, &value) {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Fenced => return Err(error),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(partition = id, error, "a tick is not appended: timers wait");
                }
            }
        }
        Ok(())
    }
}
