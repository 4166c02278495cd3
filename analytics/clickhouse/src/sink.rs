//! The sink: takes events, plans batches, lands them.
//!
//! Start at [`Sink::run_until`]. One thread (the caller's) owns the consumer and decides; another
//! talks to the server. What a partition is doing is its [`Lane`]; `docs/clickhouse.md` says why
//! nothing lands twice or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_ledger::decode::{Decoder, Learnt};
use bellhop_runtime::log::{Consumer, ErrorKind as LogErrorKind, Mark, Polled, Reader};

use crate::circuit::Circuit;
use crate::config::Config;
use crate::error::Error;
use crate::flight::Flight;
use crate::lane::{Lane, Planned, State};
use crate::plan::Note;
use crate::pool::{Job, Pool};
use crate::server::{self, Server, blocking};
use crate::target;

mod answers;
mod owning;

pub(crate) use owning::check_log;

/// How long a poll waits while the server owes an answer.
const WHILE_FLYING: Duration = Duration::from_millis(4);
/// How long a poll waits while there is nothing to do.
const WHILE_IDLE: Duration = Duration::from_millis(100);
/// Beyond the time until which an insert may reach the server: what it takes there.
const SLACK: Duration = Duration::from_secs(2);
/// Pause before a schema that the log does not know is asked for again.
const UNKNOWN_AGAIN: Duration = Duration::from_millis(500);
/// Pause before a failed mark is tried again.
const MARK_AGAIN: Duration = Duration::from_millis(100);

/// What a sink has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// By owned partition: offset of the next event that has not landed.
    pub next: BTreeMap<u32, u64>,
    /// Owned partitions of which it is not known yet where to go on, and where the group has marked
    /// that.
    pub opening: BTreeMap<u32, u64>,
    /// Owned partitions that wait until somebody has put their tables right: what to do.
    pub held: BTreeMap<u32, String>,
    /// Events that have landed.
    pub events: u64,
    /// Their rows, over all tables.
    pub rows: u64,
    /// Batches that have landed.
    pub batches: u64,
    /// Events that were parked.
    pub parked: u64,
    /// Bytes of rows that wait or are on their way.
    pub waiting_bytes: usize,
    /// Tries that failed and were or will be repeated.
    pub retries: u64,
    /// Whether nothing is sent for a while, because the server fails.
    pub circuit_open: bool,
}

impl Status {
    /// Counts in what an earlier sink has done.
    pub fn add(&mut self, earlier: &Self) {
        self.events += earlier.events;
        self.rows += earlier.rows;
        self.batches += earlier.batches;
        self.parked += earlier.parked;
        self.retries += earlier.retries;
    }
}

/// Lands the events of a group's share of partitions in ClickHouse.
pub struct Sink {
    config: Config,
    consumer: Box<dyn Consumer>,
    pool: Pool,
    statements: Arc<Vec<String>>,
    decoder: Decoder,
    /// Schemas that the log does not know, and since when.
    unknown: BTreeMap<u32, Instant>,
    lanes: BTreeMap<u32, Lane>,
    circuit: Circuit,
    /// How far the server's clock is ahead of ours, in seconds.
    clock_ahead: f64,
    status: Status,
    turns: u64,
    /// What stops the sink.
    failed: Option<Error>,
}

impl Sink {
    /// Connects, and checks that the tables are what is written to and belong to this log.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`](crate::ErrorKind::Retry) when the server does not answer;
    /// [`ErrorKind::FixInput`](crate::ErrorKind::FixInput) says what is wrong with the tables, the
    /// address or the user.
    pub fn new(config: Config, consumer: Box<dyn Consumer>) -> Result<Self, Error> {
        let server = Server::new(&config)?;
        let identity = consumer.identity().clone();
        let window = config.window(identity.partitions);
        let (statements, clock_ahead) = blocking(async {
            let statements = target::check(&server, window).await?;
            owning::claim(&server, &identity).await?;
            Ok((statements, server.clock_ahead().await?))
        })?;
        let pool = Pool::start(server.fresh())?;
        Ok(Self {
            config,
            consumer,
            pool,
            statements: Arc::new(statements),
            decoder: Decoder::default(),
            unknown: BTreeMap::new(),
            lanes: BTreeMap::new(),
            circuit: Circuit::default(),
            clock_ahead,
            status: Status::default(),
            turns: 0,
            failed: None,
        })
    }

    /// Lands events until `stop` says so, then lands what it has taken.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`](crate::ErrorKind::Fenced): another took over, make a new consumer and
    /// a new sink. [`ErrorKind::FixInput`](crate::ErrorKind::FixInput): somebody has to act.
    /// Nothing is lost either way: what was not finished is marked, and the next sink finishes it.
    pub fn run_until(&mut self, mut stop: impl FnMut(&Status) -> bool) -> Result<Status, Error> {
        while !stop(self.status()) {
            self.step()?;
        }
        self.finish()?;
        Ok(self.status().clone())
    }

    /// What it has done so far.
    pub fn status(&mut self) -> &Status {
        self.status.circuit_open = self.circuit.is_open(Instant::now());
        self.status.waiting_bytes = self.lanes.values().map(Lane::bytes).sum();
        let damages = self.lanes.iter().filter_map(|(partition, lane)| {
            lane.damage.as_ref().map(|damage| (*partition, damage.clone()))
        });
        self.status.held = damages.collect();
        let opening = self.lanes.iter().filter(|(_, lane)| {
            matches!(lane.state, State::Looking | State::LookAgain(_)) && lane.damage.is_none()
        });
        self.status.opening = opening.map(|(partition, lane)| (*partition, lane.marked)).collect();
        self.status.next = self
            .lanes
            .iter()
            .map(|(partition, lane)| {
                let all_landed = !lane.is_busy() && lane.building.is_empty();
                let next = if all_landed { lane.next } else { (lane.landed + 1).cast_unsigned() };
                (*partition, next)
            })
            .collect();
        &self.status
    }

    /// One round: answers, batches that are due, marks, events.
    fn step(&mut self) -> Result<(), Error> {
        self.take_answers(Duration::ZERO)?;
        let now = Instant::now();
        self.seal(now, false);
        self.depart(now)?;
        let is_full =
            self.lanes.values().map(Lane::bytes).sum::<usize>() > self.config.memory_bytes_max;
        let records_max = if is_full { 0 } else { self.config.poll_records_max };
        match self.consumer.poll(records_max, self.wait(now)) {
            Ok(Polled::Batch(batch)) => self.take(&batch),
            Ok(Polled::Assigned(partitions)) => self.assigned(&partitions),
            Ok(Polled::Revoked(partitions)) => self.revoked(&partitions),
            Ok(Polled::Lost(partitions)) => {
                partitions.iter().for_each(|partition| drop(self.lanes.remove(partition)));
                Ok(())
            }
            Ok(Polled::Idle) => Ok(()),
            Err(error) if error.kind == LogErrorKind::Retry => {
                tracing::warn!(%error, "the events cannot be polled; trying again");
                std::thread::sleep(MARK_AGAIN);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How long nothing will be due.
    fn wait(&self, now: Instant) -> Duration {
        let due = self.lanes.values().map(|lane| match &lane.state {
            State::Flying(_) | State::Looking => WHILE_FLYING,
            State::Sealed(_, at) | State::LookAgain(at) => {
                at.saturating_duration_since(now).max(WHILE_FLYING)
            }
            State::Idle => lane.opened_at.map_or(WHILE_IDLE, |opened| {
                (opened + self.config.batching.age_max).saturating_duration_since(now)
            }),
        });
        due.min().unwrap_or(WHILE_IDLE).min(WHILE_IDLE)
    }

    /// Adds the events of a batch to what their lane is building.
    fn take(&mut self, batch: &bellhop_runtime::log::Batch) -> Result<(), Error> {
        let partition = batch.partition();
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        if lane.paused || lane.leaving {
            return Ok(());
        }
        let mut cursor = batch.cursor();
        while let Some(record) = cursor.next_record() {
            if record.offset < lane.next {
                continue;
            }
            if !self.decoder.knows(&record) {
                let log: &mut dyn Reader = self.consumer.as_mut();
                match self.decoder.learn(&record, |id| writer(log, id)) {
                    Ok(Learnt::Known) => self.unknown.clear(),
                    Ok(Learnt::Unknown(id)) => {
                        if waits(&mut self.unknown, id, self.config.unknown_for) {
                            lane.paused = true;
                            lane.held_until = Some(Instant::now() + UNKNOWN_AGAIN);
                            return Ok(self.consumer.pause(partition)?);
                        }
                    }
                    Err(error) if error.kind == LogErrorKind::Retry => {
                        tracing::warn!(%error, "a schema cannot be read; trying again");
                        std::thread::sleep(MARK_AGAIN);
                        return restart(self.consumer.as_mut(), partition, lane);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            lane.opened_at.get_or_insert_with(Instant::now);
            if let Some(parked) = lane.building.add(partition, &record, &mut self.decoder) {
                let offset = record.offset;
                let cause = parked.cause;
                tracing::warn!(partition, offset, cause, "an event has no rows; it is parked");
                self.status.parked += 1;
            }
            lane.next = record.offset + 1;
        }
        if is_full(lane, &self.config) && lane.is_busy() {
            lane.paused = true;
            self.consumer.pause(partition)?;
        }
        Ok(())
    }

    /// Completes batches that are full or old; all that there are, when it is to end.
    fn seal(&mut self, now: Instant, all: bool) {
        let batching = self.config.batching;
        let held: usize = self.lanes.values().map(Lane::bytes).sum();
        let crowded = held > self.config.memory_bytes_max;
        for lane in self.lanes.values_mut() {
            if !matches!(lane.state, State::Idle) || lane.building.is_empty() || lane.leaving {
                continue;
            }
            let aged = lane.opened_at.is_some_and(|opened| now >= opened + batching.age_max);
            let rested = lane.sealed_at.is_none_or(|sealed| now >= sealed + batching.interval_min);
            if rested && (all || crowded || aged || is_full(lane, &self.config)) {
                let Some(batch) = lane.building.seal() else { continue };
                (lane.opened_at, lane.sealed_at) = (None, Some(now));
                lane.ladder.reset();
                let planned = if std::mem::take(&mut lane.count_next) {
                    Planned::counted(batch, now + self.config.plan_ttl + SLACK)
                } else {
                    Planned::new(batch)
                };
                lane.state = State::Sealed(planned, now);
            }
        }
    }

    /// Marks the plans of batches that are due, and lets them fly.
    fn depart(&mut self, now: Instant) -> Result<(), Error> {
        for (partition, lane) in &mut self.lanes {
            if matches!(lane.state, State::LookAgain(at) if now >= at) && !self.circuit.is_open(now)
            {
                lane.state = State::Looking;
                let mark = self.consumer.marked(*partition)?;
                self.pool.ask(*partition, lane.turn, Job::Look(mark));
            }
        }
        if self.circuit.is_open(now) {
            return Ok(());
        }
        let mut marks = Vec::new();
        for (partition, lane) in &self.lanes {
            match &lane.state {
                State::Sealed(planned, at) if now >= *at && !lane.leaving => {
                    let plan = &planned.batch.plan;
                    let (next_offset, note) = if self.config.breaks.mark_first {
                        (plan.last + 1, Note::of(plan.last.cast_signed(), None))
                    } else {
                        (plan.first, Note::of(lane.landed, Some(plan.clone())))
                    };
                    marks.push((*partition, Mark { next_offset, note: note.text() }));
                }
                State::Idle if lane.unmarked && lane.building.is_empty() => {
                    marks.push((*partition, done(lane)));
                }
                State::Idle
                | State::Sealed(..)
                | State::Flying(_)
                | State::Looking
                | State::LookAgain(_) => {}
            }
        }
        if marks.is_empty() {
            return Ok(());
        }
        let marked_at = server::now();
        let marked = self.mark(&marks)?;
        let until = marked_at + self.clock_ahead + self.config.plan_ttl.as_secs_f64();
        for partition in marked {
            self.marked(partition, until.max(0.0) as u64, now);
        }
        Ok(())
    }

    /// Sets marks; gives the partitions whose mark is certainly set.
    fn mark(&mut self, marks: &[(u32, Mark)]) -> Result<Vec<u32>, Error> {
        let partitions = || marks.iter().map(|(partition, _)| *partition);
        let error = match self.consumer.mark(marks) {
            Ok(()) => return Ok(partitions().collect()),
            Err(error) => error,
        };
        match error.kind {
            LogErrorKind::Retry => {
                tracing::warn!(%error, "the plans cannot be marked; trying again");
                self.status.retries += 1;
                std::thread::sleep(MARK_AGAIN);
                Ok(Vec::new())
            }
            LogErrorKind::Fenced if marks.len() == 1 => {
                // Its batch is for its next owner to finish, if it was marked before.
                partitions().for_each(|partition| drop(self.lanes.remove(&partition)));
                Ok(Vec::new())
            }
            LogErrorKind::Fenced => {
                let mut marked = Vec::new();
                for mark in marks {
                    marked.extend(self.mark(std::slice::from_ref(mark))?);
                }
                Ok(marked)
            }
            LogErrorKind::Corrupt | LogErrorKind::FixInput => Err(error.into()),
        }
    }

    /// The mark of a partition is set: its batch may fly until then.
    fn marked(&mut self, partition: u32, until: u64, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        match std::mem::replace(&mut lane.state, State::Idle) {
            State::Sealed(planned, _) => {
                let flight = Flight {
                    partition,
                    batch: Arc::clone(&planned.batch),
                    fresh: planned.fresh,
                    until,
                    log: self.consumer.identity().log_id,
                    statements: Arc::clone(&self.statements),
                    no_token: self.config.breaks.no_token,
                    settled: planned.settled_at.is_some_and(|at| now >= at),
                };
                lane.state = State::Flying(planned);
                self.pool.ask(partition, lane.turn, Job::Fly(flight));
            }
            State::Idle => lane.unmarked = false,
            other @ (State::Flying(_) | State::Looking | State::LookAgain(_)) => lane.state = other,
        }
    }

    /// Lands what was taken; gives up after a while, for it is marked or not yet taken.
    fn finish(&mut self) -> Result<(), Error> {
        let until = Instant::now() + self.config.release_timeout;
        let is_left = |lane: &Lane| {
            lane.is_busy() || !lane.building.is_empty() || (lane.unmarked && lane.landed >= 0)
        };
        for partition in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.pause(partition)?;
        }
        while Instant::now() < until && self.lanes.values().any(is_left) {
            self.seal(Instant::now(), true);
            self.depart(Instant::now())?;
            self.take_answers(WHILE_FLYING)?;
        }
        Ok(())
    }

    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.paused = true;
        }
        Ok(self.consumer.pause(partition)?)
    }
}

/// Whether a lane has collected what a batch may hold.
fn is_full(lane: &Lane, config: &Config) -> bool {
    let batching = config.batching;
    lane.building.count() >= batching.rows_max || lane.building.bytes() >= batching.bytes_max
}

/// The mark of a lane without a batch.
fn done(lane: &Lane) -> Mark {
    Mark { next_offset: lane.next, note: Note::of(lane.landed, None).text() }
}

/// Lets the events of a lane come from where it is.
fn restart(consumer: &mut dyn Consumer, partition: u32, lane: &mut Lane) -> Result<(), Error> {
    match consumer.start(partition, lane.next) {
        Ok(()) => {
            lane.paused = false;
            Ok(())
        }
        // It is about to hear that the partition is lost; or it tries again with the next round.
        Err(error) if matches!(error.kind, LogErrorKind::Fenced | LogErrorKind::Retry) => {
            lane.paused = true;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a schema that the log does not know is waited for still.
fn waits(unknown: &mut BTreeMap<u32, Instant>, schema_id: u32, patience: Duration) -> bool {
    let since = *unknown.entry(schema_id).or_insert_with(|| {
        tracing::warn!(
            schema_id,
            "the log does not know a schema; the partitions that need it wait, see whether the registry has it and this user may read it"
        );
        Instant::now()
    });
    since.elapsed() < patience
}

/// Name and text of the schema that a record was written with.
pub(crate) fn writer(
    log: &mut dyn Reader,
    id: u32,
) -> Result<Option<(String, String)>, bellhop_runtime::log::Error> {
    Ok(log.schema_of(id)?.schema().map(|schema| (schema.name, schema.text)))
}
