//! A worker: the loop that takes records from a [`Log`], lets tasks decide them, and commits.
//!
//! Start at [`Worker::step`], which does one thing and returns, so that a simulator can drive it
//! without threads; [`Worker::run_until`] is the loop of a program.
//!
//! ```text
//!            ┌────────────── decide N+1 while N commits ──────────────┐
//! poll ─▶ waiting ─▶ decided (in the tasks' outputs) ─▶ submit ─▶ under way ─▶ Committed: outcomes
//!                                                         ▲          ├─▶ Aborted ─▶ poll(0) ─┐
//!                                                         │          └─▶ Unknown ─▶ recover ─┤
//!                                                         └──────── resubmit ◀───────────────┘
//! ```
//!
//! # Invariants
//! 1. A decision is made once: what did not commit is submitted again from its buffered outputs,
//!    or its partition was lost and its state is dropped.
//! 2. Outcomes are told, and snapshots kept, only of what is committed.
//! 3. A partition that failed stands still at its record; the others go on.

mod assignments;
mod commit;
mod ownership;
mod partition;
mod spans;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bellhop_core::avro::Avro;
use bellhop_core::engine::{EngineRecord, ParkedKind, Tick};
use bellhop_core::headers::{TraceParent, Written};
use bellhop_core::message::Meta;
use bellhop_core::outcome::Outcome;
use bellhop_core::record::frame;
use bellhop_core::task::{Config as TaskConfig, Progress, Task, UnknownSchema};
use bellhop_core::topology::Topology;
use uuid::Uuid;

pub use self::assignments::{Assignment, Assignments, State as AssignmentState};
pub use self::partition::Failure;

use self::commit::Commit;
use self::partition::Partition;
use self::spans::Tracer;
use crate::clock::Clock;
use crate::log::{Batch, Error, ErrorKind, Identity, Log, Polled, Timestamps, Topic};
use crate::snapshot::{Saver, Snapshot};
use crate::standby::Standby;
use crate::telemetry::Spans;
use crate::wiring::{Resolve, Wiring};

/// How often due timers of idle partitions are looked for.
const TICK_CHECK: Duration = Duration::from_millis(20);
/// How long a worker that has nothing to do waits before it looks at its stop flag again.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// What a worker is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Version of the handlers, as it stands in events.
    pub version: String,
    /// Hours of stream time that idempotency keys are remembered for at least.
    pub idempotency_hours: u32,
    /// Values of more bytes are parked.
    pub value_bytes_max: usize,
    /// Topics that commands may ask to be answered on.
    pub reply_topics: Vec<String>,
    /// Headers of events, cascaded commands and replies.
    pub headers: Written,
    /// Records of a transaction; more wait for the next.
    pub batch_records_max: usize,
    /// How long a decided record waits, while more keep coming, before its transaction is
    /// submitted. When nothing more has come, it is submitted as soon as no other is under way.
    pub batch_wait: Duration,
    /// Events of a partition between two of its snapshots; 0 for none but the one at the end.
    pub snapshot_events: u64,
    /// An idle partition with a due timer gets a tick this often at most.
    pub tick_pause: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: "unknown".to_owned(),
            idempotency_hours: 168,
            value_bytes_max: 1 << 20,
            reply_topics: Vec::new(),
            headers: Written::default(),
            batch_records_max: 10_000,
            batch_wait: Duration::from_millis(5),
            snapshot_events: 1_000_000,
            tick_pause: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// What the task of a partition is told; also for tools that fold one.
    #[must_use]
    pub fn task(&self, identity: &Identity, partition: u32) -> TaskConfig {
        TaskConfig {
            partition,
            partitions: identity.partitions,
            log_id: identity.log_id,
            commands_topic: Topic::Commands.name().into(),
            version: self.version.as_str().into(),
            idempotency_hours: self.idempotency_hours,
            value_bytes_max: self.value_bytes_max,
            reply_topics: self.reply_topics.iter().map(|topic| topic.as_str().into()).collect(),
            headers: self.headers,
        }
    }
}

/// Makes a membership: at the start, and after the worker was fenced.
pub type Join = Box<dyn FnMut() -> Result<Box<dyn Log>, Error> + Send>;

/// Hears of each committed outcome: partition and offset of the command, in order of a partition.
pub type Observer = Box<dyn FnMut(u32, u64, Outcome) + Send>;

/// What a worker is made of.
pub struct Parts {
    /// Its name among the workers of the process, as [`Assignments`] and log lines say it.
    pub name: String,
    /// Where it says which partitions it owns.
    pub assignments: Arc<Assignments>,
    /// Makes its membership.
    pub join: Join,
    /// The wiring of all that is linked.
    pub topology: Arc<Topology>,
    /// Reads the schemas of others.
    pub resolve: Arc<dyn Resolve>,
    /// Its clock: batches and ticks, never decisions.
    pub clock: Arc<dyn Clock>,
    /// Keeps snapshots; without, all events are folded at the start.
    pub saver: Option<Arc<Saver>>,
    /// Copies of the partitions that no worker of this process owns; without, a partition that is
    /// assigned is restored.
    pub standby: Option<Arc<Standby>>,
    /// Hears of outcomes.
    pub observer: Option<Observer>,
    /// Takes the spans of commands whose trace is recorded, and of the worker's own life.
    pub spans: Option<Spans>,
}

/// How a worker is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The partitions that it owns.
    pub partitions: Vec<PartitionStatus>,
}

/// How a partition is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Which.
    pub partition: u32,
    /// How far its task has decided; not all of it need be committed.
    pub progress: Progress,
    /// Why it stands still, if it does.
    pub failure: Option<Failure>,
}

/// One worker.
pub struct Worker {
    name: String,
    assignments: Arc<Assignments>,
    config: Config,
    topology: Arc<Topology>,
    resolve: Arc<dyn Resolve>,
    clock: Arc<dyn Clock>,
    saver: Option<Arc<Saver>>,
    standby: Option<Arc<Standby>>,
    observer: Option<Observer>,
    spans: Option<Spans>,
    join: Join,
    log: Box<dyn Log>,
    wiring: Wiring,
    partitions: BTreeMap<u32, Partition>,
    epochs: u64,
    /// Polled and not decided.
    waiting: VecDeque<Batch>,
    /// Decided and not submitted: records, and since when.
    buffered: usize,
    buffered_since: Duration,
    /// The last poll gave nothing: what is buffered has no company to wait for.
    dry: bool,
    commit: Commit,
    /// Owned, and still to be restored.
    assigned: Vec<u32>,
    /// To be released as soon as all of them is committed.
    revoked: Vec<u32>,
    stopping: bool,
    /// It was fenced and has not joined again: its membership is of no use any more.
    fenced: bool,
    /// The last poll told of a change; there may be more to come.
    ownership_changes: bool,
    ticks_checked: Duration,
}

impl Worker {
    /// Joins the group.
    ///
    /// # Errors
    /// When the log cannot be joined or does not take the program's schemas.
    pub fn new(config: Config, parts: Parts) -> Result<Self, Error> {
        let Parts {
            name,
            assignments,
            mut join,
            topology,
            resolve,
            clock,
            saver,
            standby,
            observer,
            spans,
        } = parts;
        let mut log = join()?;
        let wiring = Wiring::of(log.as_mut(), topology.clone(), resolve.clone())?;
        Ok(Self {
            name,
            assignments,
            config,
            topology,
            resolve,
            clock,
            saver,
            standby,
            observer,
            spans,
            join,
            log,
            wiring,
            partitions: BTreeMap::new(),
            epochs: 0,
            waiting: VecDeque::new(),
            buffered: 0,
            buffered_since: Duration::ZERO,
            dry: false,
            commit: Commit::default(),
            assigned: Vec::new(),
            revoked: Vec::new(),
            stopping: false,
            fenced: false,
            ownership_changes: false,
            ticks_checked: Duration::ZERO,
        })
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let partitions = self.partitions.iter().map(|(id, partition)| PartitionStatus {
            partition: *id,
            progress: partition.task().progress(),
            failure: partition.failure.clone(),
        });
        Status { partitions: partitions.collect() }
    }

    /// The task of a partition that it owns; not all that it has decided need be committed.
    #[must_use]
    pub fn task(&self, partition: u32) -> Option<&Task> {
        self.partitions.get(&partition).map(Partition::task)
    }

    /// Whether nothing is decided that is not committed, and nothing polled waits.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.buffered == 0 && self.waiting.is_empty() && self.commit.is_idle()
    }

    /// Does what there is to do, or waits at most `wait` for it.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`]: call again later. [`ErrorKind::Fenced`]: it has dropped all and
    /// joins again; call again. Others: somebody has to act.
    pub fn step(&mut self, wait: Duration) -> Result<(), Error> {
        if self.fenced {
            self.rejoin()?;
        }
        let stepped = self.try_step(wait);
        if let Err(error) = &stepped
            && error.kind == ErrorKind::Fenced
        {
            tracing::warn!(error = error as &dyn std::error::Error, "fenced: joining again");
            self.rejoin()?;
        }
        stepped
    }

    fn try_step(&mut self, wait: Duration) -> Result<(), Error> {
        self.settle(Duration::ZERO)?;
        self.restore_assigned()?;
        self.decide_waiting()?;
        self.submit_if_due()?;
        self.release_if_settled()?;
        self.tick_if_due()?;
        let records_max = self.room();
        if records_max == 0 && self.commit.is_under_way() {
            return self.settle(wait);
        }
        let wait = self.wait_at_most(wait);
        let polled = self.log.poll(records_max, wait)?;
        self.ownership_changes = !matches!(polled, Polled::Batch(_) | Polled::Idle);
        self.dry = matches!(polled, Polled::Idle);
        match polled {
            Polled::Batch(batch) => self.waiting.push_back(batch),
            Polled::Assigned(partitions) => {
                for id in &partitions {
                    self.assignments.set(*id, &self.name, AssignmentState::Restoring);
                }
                self.assigned.extend(partitions);
                self.restore_assigned()?;
            }
            Polled::Revoked(partitions) => {
                self.waiting.retain(|batch| !partitions.contains(&batch.partition()));
                self.assigned.retain(|assigned| !partitions.contains(assigned));
                self.revoked.extend(partitions);
            }
            Polled::Lost(partitions) => {
                self.assigned.retain(|assigned| !partitions.contains(assigned));
                for partition in partitions {
                    self.drop_partition(partition);
                    if let Some(standby) = &self.standby {
                        standby.leave(partition, None);
                    }
                }
            }
            Polled::Idle => {}
        }
        self.decide_waiting()?;
        self.submit_if_due()
    }

    /// Steps until the flag is set, then stops in order.
    ///
    /// # Errors
    /// When somebody has to act; see [`ErrorKind`].
    pub fn run_until(&mut self, stop: &AtomicBool) -> Result<(), Error> {
        let mut retries = 0;
        loop {
            if stop.load(Ordering::Relaxed) {
                self.stop();
                if self.is_settled() {
                    return self.finish();
                }
            }
            match self.step(IDLE_WAIT) {
                Ok(()) => retries = 0,
                Err(error) => match error.kind {
                    ErrorKind::Retry => {
                        let pause = commit::pause(retries);
                        retries += 1;
                        let cause: &dyn std::error::Error = &error;
                        tracing::warn!(cause, pause_ms = pause.as_millis() as u64, "trying again");
                        std::thread::sleep(pause);
                    }
                    ErrorKind::Fenced => {}
                    ErrorKind::Corrupt | ErrorKind::FixInput => return Err(error),
                },
            }
        }
    }

    /// Decides no more; what is decided is still committed by the next steps, until
    /// [`Worker::is_settled`].
    pub fn stop(&mut self) {
        self.stopping = true;
        self.waiting.clear();
    }

    /// Writes a snapshot of each partition that has come further since its last.
    ///
    /// # Errors
    /// When the log cannot tell where the events end.
    ///
    /// # Panics
    /// When not all is settled.
    pub fn finish(&mut self) -> Result<(), Error> {
        assert!(self.is_settled(), "a worker finishes after all that it decided is committed");
        let Some(saver) = self.saver.clone() else { return Ok(()) };
        let log_id = self.log.identity().log_id;
        for (id, partition) in &mut self.partitions {
            if partition.failure.is_some() || partition.events_since_snapshot == 0 {
                continue;
            }
            let progress = partition.task().progress();
            let events_offset = match events_end(self.log.as_mut(), *id, progress) {
                Ok(Some(events_offset)) => events_offset,
                Ok(None) => continue,
                Err(error) => match error.kind {
                    // A snapshot is never needed, and nothing else is left to do.
                    ErrorKind::Retry | ErrorKind::Fenced => {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(partition = id, error, "the last snapshot is not written");
                        continue;
                    }
                    ErrorKind::Corrupt | ErrorKind::FixInput => return Err(error),
                },
            };
            partition.events_since_snapshot = 0;
            let mut state = Vec::new();
            partition.task().snapshot(&mut state);
            saver.save(&Snapshot { log_id, partition: *id, events_offset, state });
        }
        Ok(())
    }

    /// How many more records may be polled.
    fn room(&self) -> usize {
        let closed = self.stopping || !self.revoked.is_empty() || self.commit.is_resubmitting();
        if closed || !self.waiting.is_empty() {
            return 0;
        }
        self.config.batch_records_max.saturating_sub(self.buffered)
    }

    fn wait_at_most(&self, wait: Duration) -> Duration {
        if !self.waiting.is_empty() && self.room() > 0 {
            return Duration::ZERO;
        }
        if let Some(until) = self.commit.resubmit_at() {
            return wait.min(until.saturating_sub(self.clock.elapsed()));
        }
        if self.buffered == 0 || self.commit.is_under_way() {
            return wait;
        }
        // A look whether there is company, no wait for it.
        Duration::ZERO
    }

    /// Lets the tasks decide what was polled, as far as there is room in the next transaction.
    fn decide_waiting(&mut self) -> Result<(), Error> {
        while self.buffered < self.config.batch_records_max
            && let Some(mut batch) = self.waiting.pop_front()
        {
            let room = self.config.batch_records_max - self.buffered;
            let first = batch.split_to(room);
            if !batch.is_empty() {
                self.waiting.push_front(batch);
            }
            self.decide(&first).inspect_err(|_| self.waiting.push_front(first))?;
        }
        Ok(())
    }

    /// # Errors
    /// When the log cannot be asked for a schema. Records that were decided are skipped when the
    /// batch is decided again.
    fn decide(&mut self, batch: &Batch) -> Result<(), Error> {
        let id = batch.partition();
        let Some(partition) = self.partitions.get_mut(&id) else { return Ok(()) };
        if partition.failure.is_some() {
            return Ok(());
        }
        if self.buffered == 0 {
            self.buffered_since = self.clock.elapsed();
        }
        let before = partition.decided();
        let observed = self.observer.is_some();
        let tracer = self.spans.as_ref().map(|spans| Tracer {
            spans,
            clock: self.clock.as_ref(),
            topology: &self.topology,
            log_id: self.log.identity().log_id,
        });
        let mut cursor = batch.cursor();
        let mut failed = None;
        let mut trace = None;
        let mut unasked = None;
        while let Some(record) = cursor.next_record() {
            let begun = tracer.as_ref().and_then(|tracer| tracer.begin(&record));
            let remember = observed || begun.is_some();
            let good = loop {
                match partition.process(&record, remember) {
                    Ok(good) => break good,
                    Err(UnknownSchema(schema_id)) => {
                        match self.wiring.learn(self.log.as_mut(), schema_id) {
                            Ok(None) => partition.task_mut().set_wire(self.wiring.wire().clone()),
                            Ok(Some(cause)) => {
                                let kind = ParkedKind::UnknownType;
                                break partition.park(&record, kind, &cause, remember);
                            }
                            Err(error) => {
                                unasked = Some(error);
                                break false;
                            }
                        }
                    }
                }
            };
            if let (Some(tracer), Some(begun)) = (&tracer, begun) {
                let id = spans::schema_id(&record);
                let name = id.and_then(|id| self.wiring.wire().name_of(id));
                tracer.end(begun, &record, name, partition);
            }
            if !good {
                failed = partition.failure.clone();
                trace = TraceParent::of(record.headers);
                break;
            }
        }
        self.buffered += partition.decided() - before;
        if let Some(Failure { offset, what }) = failed {
            tracing::error!(
                partition = id,
                offset,
                what,
                trace_id = trace.map(|trace| format!("{:032x}", trace.trace_id)),
                "a processor panicked: this partition stands still, the others go on"
            );
            let state = AssignmentState::StandsStill(Failure { offset, what });
            self.assignments.set(id, &self.name, state);
            self.waiting.retain(|batch| batch.partition() != id);
            self.log.pause(id)?;
        }
        unasked.map_or(Ok(()), Err)
    }

    /// Appends ticks to partitions whose timers are due while nothing comes.
    fn tick_if_due(&mut self) -> Result<(), Error> {
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
            self.log.append_tick(*id, &value)?;
            partition.ticked = Some(elapsed);
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.unassign_all();
        if let Some(standby) = &self.standby {
            self.partitions.keys().for_each(|partition| standby.leave(*partition, None));
        }
    }
}

/// Where the events end that led to a state; `None` when another owner has committed since: its
/// events must not pass for ones that the state holds.
fn events_end(log: &mut dyn Log, partition: u32, progress: Progress) -> Result<Option<u64>, Error> {
    // In this order: whoever commits in between is noticed.
    let end = log.end(Topic::Events, partition)?;
    Ok((log.committed(partition)? == Some(progress)).then_some(end))
}
