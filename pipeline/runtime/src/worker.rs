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
//! 4. What one partition waits for (its restore, a schema, its former owner's transaction) holds
//!    back no other: each step polls, submits and releases, whatever else it could not do.

mod assignments;
mod commit;
mod deciding;
mod hold;
mod meter;
mod ownership;
mod partition;
mod refused;
mod spans;
mod status;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bellhop_core::headers::Written;
use bellhop_core::outcome::Outcome;
use bellhop_core::rules::Rules;
use bellhop_core::task::{Config as TaskConfig, Progress, Task};
use bellhop_core::topology::Topology;

pub use self::assignments::{Assignment, Assignments, State as AssignmentState};
pub use self::hold::Held;
pub use self::meter::{BOUNDS_US, Histogram, Meter, Outcomes};
pub use self::partition::Failure;
pub use self::status::{AssignedStatus, PartitionStatus, Status, Trouble};

use self::commit::Commit;
use self::meter::Hand;
use self::ownership::Assigned;
use self::partition::Partition;
use crate::clock::Clock;
use crate::log::{Batch, Error, ErrorKind, Identity, Log, Polled, Topic};
use crate::snapshot::{Saver, Snapshot};
use crate::standby::Standby;
use crate::telemetry::Spans;
use crate::wiring::{Resolve, Wiring};

/// How long a worker that has nothing to do waits before it looks at its stop flag again.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// How long a worker that is asked to stop waits for its last transaction.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// How long after its first one a worker that stops begins to write snapshots: it keeps its partitions
/// meanwhile, and whoever stops it waits.
const FINISH_WAIT: Duration = Duration::from_secs(10);

/// What a worker is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Version of the handlers, as it stands in events.
    pub version: String,
    /// What a new log is decided by; one that has a genesis follows its own rules.
    pub rules: Rules,
    /// How long the log keeps commands; `None` for ever, or where nothing says so.
    pub commands_kept: Option<Duration>,
    /// Topics that commands may ask to be answered on.
    pub reply_topics: Vec<String>,
    /// Headers of events, cascaded commands and replies.
    pub headers: Written,
    /// Records of a transaction; more wait for the next.
    pub batch_records_max: usize,
    /// Bytes that the records of a transaction lead to; when there are as many, the others wait for
    /// the next.
    pub batch_bytes_max: usize,
    /// How long a decided record waits, while more keep coming, before its transaction is
    /// submitted. When nothing more has come, it is submitted as soon as no other is under way.
    pub batch_wait: Duration,
    /// Events of a partition between two of its snapshots, at least: partitions of a worker take
    /// turns. 0 for none but the one at the end.
    pub snapshot_events: u64,
    /// An idle partition with a due timer gets a tick this often at most.
    pub tick_pause: Duration,
    /// How long a restore holds up the partitions that work, before they have their turn.
    pub restore_slice: Duration,
    /// How many events are folded at most before they have it.
    pub restore_events_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: "unknown".to_owned(),
            rules: Rules::default(),
            commands_kept: None,
            reply_topics: Vec::new(),
            headers: Written::default(),
            batch_records_max: 10_000,
            batch_bytes_max: 16 << 20,
            batch_wait: Duration::from_millis(5),
            snapshot_events: 1_000_000,
            tick_pause: Duration::from_secs(1),
            restore_slice: Duration::from_millis(50),
            restore_events_max: 1_000_000,
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
            rules: self.rules,
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
    /// Counts for all workers of a process.
    pub meter: Arc<Meter>,
    /// Takes the spans of commands whose trace is recorded, and of the worker's own life.
    pub spans: Option<Spans>,
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
    hand: Hand,
    join: Join,
    log: Box<dyn Log>,
    wiring: Wiring,
    partitions: BTreeMap<u32, Partition>,
    epochs: u64,
    /// Polled and not decided.
    waiting: VecDeque<Batch>,
    /// Decided and not submitted: records, and since when.
    buffered: usize,
    /// Bytes of what they led to.
    buffered_bytes: usize,
    buffered_since: Duration,
    /// The last poll gave nothing: what is buffered has no company to wait for.
    dry: bool,
    commit: Commit,
    /// Owned, and still to be restored.
    assigned: Assigned,
    /// By partition: the command whose outputs the log has refused, to be parked.
    refused: BTreeMap<u32, u64>,
    /// To be released as soon as all of them is committed.
    revoked: Vec<u32>,
    stopping: bool,
    /// It was fenced and has not joined again: its membership is of no use any more.
    fenced: bool,
    /// The last poll told of a change; there may be more to come.
    ownership_changes: bool,
    ticks_checked: Duration,
    /// No state is written out before.
    freeze_from: Duration,
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
            meter,
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
            hand: Hand::new(meter),
            join,
            log,
            wiring,
            partitions: BTreeMap::new(),
            epochs: 0,
            waiting: VecDeque::new(),
            buffered: 0,
            buffered_bytes: 0,
            buffered_since: Duration::ZERO,
            dry: false,
            commit: Commit::default(),
            assigned: Assigned::default(),
            refused: BTreeMap::new(),
            revoked: Vec::new(),
            stopping: false,
            fenced: false,
            ownership_changes: false,
            ticks_checked: Duration::ZERO,
            freeze_from: Duration::ZERO,
        })
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let partitions = self.partitions.iter().map(|(id, partition)| PartitionStatus {
            partition: *id,
            progress: partition.task().progress(),
            held: partition.held.clone(),
            failure: partition.failure.clone(),
        });
        Status { partitions: partitions.collect(), assigned: self.assigned.status().collect() }
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

    /// What passes by itself stops nothing else of the step; it is told at its end.
    fn try_step(&mut self, wait: Duration) -> Result<(), Error> {
        let mut passing = None;
        passes(self.settle(Duration::ZERO), &mut passing)?;
        if !self.stopping {
            self.restore_assigned()?;
        }
        self.decide_waiting()?;
        passes(self.submit_if_due(), &mut passing)?;
        passes(self.release_if_settled(), &mut passing)?;
        self.tick_if_due()?;
        let records_max = self.room();
        if records_max == 0 && self.commit.is_under_way() && passing.is_none() {
            return self.settle(self.wait_at_most(wait));
        }
        let wait = if passing.is_some() { Duration::ZERO } else { self.wait_at_most(wait) };
        passes(self.poll(records_max, wait), &mut passing)?;
        self.decide_waiting()?;
        passes(self.submit_if_due(), &mut passing)?;
        passing.map_or(Ok(()), Err)
    }

    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<(), Error> {
        let polled = self.log.poll(records_max, wait)?;
        self.ownership_changes = !matches!(polled, Polled::Batch(_) | Polled::Idle);
        self.dry = matches!(polled, Polled::Idle);
        if self.ownership_changes {
            self.hand.meter.rebalanced();
        }
        match polled {
            Polled::Batch(batch) => self.keep_waiting(batch)?,
            Polled::Assigned(partitions) => {
                for id in partitions {
                    self.assignments.set(id, &self.name, AssignmentState::Restoring);
                    self.assigned.push(id);
                }
            }
            Polled::Revoked(partitions) => {
                self.waiting.retain(|batch| !partitions.contains(&batch.partition()));
                self.assigned.remove(&partitions);
                self.revoked.extend(partitions);
            }
            Polled::Lost(partitions) => {
                self.assigned.remove(&partitions);
                for partition in partitions {
                    self.drop_partition(partition);
                    if let Some(standby) = &self.standby {
                        standby.leave(partition, &self.name, None);
                    }
                }
            }
            Polled::Idle => {}
        }
        Ok(())
    }

    /// Steps until the flag is set, then stops in order.
    ///
    /// # Errors
    /// When somebody has to act; see [`ErrorKind`].
    pub fn run_until(&mut self, stop: &AtomicBool) -> Result<(), Error> {
        let (mut retries, mut asked) = (0, None);
        loop {
            if stop.load(Ordering::Relaxed) {
                self.stop();
                if self.is_settled() {
                    return self.finish();
                }
                let now = self.clock.elapsed();
                if now.saturating_sub(*asked.get_or_insert(now)) > STOP_WAIT {
                    return Err(Error {
                        kind: ErrorKind::Retry,
                        tried: "stop in order".to_owned(),
                        hint: "the last transaction has not ended: start again, nothing is lost, and what was not committed is decided again".to_owned(),
                        source: None,
                    });
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

    /// Writes a snapshot of each partition that has come further since its last, those with the most
    /// events first, as far as the time goes.
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
        let begun = self.clock.elapsed();
        let mut partitions: Vec<_> = self.partitions.iter_mut().collect();
        partitions.sort_by_key(|(_, partition)| Reverse(partition.events_since_snapshot));
        for (id, partition) in partitions {
            if self.clock.elapsed().saturating_sub(begun) > FINISH_WAIT {
                tracing::info!("the store is slow: the last snapshots are not written");
                break;
            }
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
            saver
                .save(&Snapshot { log_id, partition: *id, events_offset, state }, &partition.stale);
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.unassign_all();
    }
}

/// Keeps the first error that passes by itself; gives the others.
fn passes(tried: Result<(), Error>, first: &mut Option<Error>) -> Result<(), Error> {
    match tried {
        Err(error) if error.kind == ErrorKind::Retry => {
            first.get_or_insert(error);
            Ok(())
        }
        other => other,
    }
}

/// Where the events end that led to a state; `None` when another owner has committed since: its
/// events must not pass for ones that the state holds.
fn events_end(log: &mut dyn Log, partition: u32, progress: Progress) -> Result<Option<u64>, Error> {
    // In this order: whoever commits in between is noticed.
    let end = log.end(Topic::Events, partition)?;
    Ok((log.committed(partition)? == Some(progress)).then_some(end))
}
