//! A run: commands are sent and workers step, in an order that the seed decides, until all of it is
//! committed.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bellhop_core::headers::TRACEPARENT;
use bellhop_core::message::{HOUR_US, Position, Timestamp};
use bellhop_core::record::Header;
use bellhop_core::task::Config as TaskConfig;
use bellhop_core::topology::Topology;
use bellhop_runtime::clock::{Clock, ManualClock};
use bellhop_runtime::log::simulated::{Crash, Faults, Random, Sender, Setup, Simulated, Tool};
use bellhop_runtime::log::{Command, Error, ErrorKind, Log, Producer, Reader, Timestamps, Topic};
use bellhop_runtime::snapshot::Saver;
use bellhop_runtime::standby::{self, Standby};
use bellhop_runtime::wiring::{Resolve, Wiring};
use bellhop_runtime::worker::{Parts, Worker};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::check::{Broken, Cascades, Copied, Expected, Promise, Tally, check, check_copy};
use super::commands::{Delivered, Desk, Draft, Fate};
use super::mutant::Mutant;
use super::plan::{HOURS, NEWER_VERSION, Plan};
use super::writers::Writers;

/// Steps within which a healed run is to end.
const HEALED_STEPS_MAX: usize = 20_000;
/// The trace of all commands.
const TRACE: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What a run gave.
#[derive(Debug)]
pub struct Report {
    /// Promises that did not hold.
    pub broken: Vec<Broken>,
    /// What it had to show.
    pub tally: Tally,
    /// How often each accident happened.
    pub accidents: BTreeMap<&'static str, u64>,
    /// Hash over all that happened.
    pub trace_hash: u64,
    /// Hash over keys, values and times of all events and parked records, by partition; their
    /// offsets depend on who wrote them, and when.
    pub events_hash: u64,
    /// The last lines of what happened, if asked for.
    pub trace: Vec<String>,
}

/// A worker and what happens to it.
struct Hand {
    worker: Worker,
    /// Its present membership.
    member: Arc<AtomicUsize>,
    standby: Option<Arc<Standby>>,
    stopping: bool,
    /// Turns that it lets pass.
    frozen: u64,
}

/// How a step of a worker ended.
enum Stepped {
    On,
    /// It is no more.
    Crashed,
    /// It did what no worker may do.
    Broken(String),
}

struct Crew<'a> {
    plan: &'a Plan,
    mutant: Mutant,
    simulated: Simulated,
    clock: Arc<ManualClock>,
    topology: Arc<Topology>,
    resolve: Arc<dyn Resolve>,
    saver: Option<Arc<Saver>>,
    sender: Sender,
    tool: Tool,
    wiring: Wiring,
    desk: Desk,
    /// The ids of newer schemas, by those of our own.
    newer: BTreeMap<u32, u32>,
    random: Random,
    hands: Vec<Hand>,
    sent: BTreeMap<Position, Delivered>,
    drafts: usize,
    broken: Vec<Broken>,
}

/// Runs a plan and checks what it left.
///
/// # Panics
/// When the topology itself cannot be built.
#[must_use]
pub fn run(plan: &Plan, mutant: Mutant, keep_trace: bool) -> Report {
    let mut crew = match Crew::new(plan, mutant, keep_trace) {
        Ok(crew) => crew,
        Err(error) => panic!("seed {}: {error}", plan.seed),
    };
    crew.busy();
    crew.settle();
    crew.report()
}

impl<'a> Crew<'a> {
    fn new(plan: &'a Plan, mutant: Mutant, keep_trace: bool) -> Result<Self, Error> {
        let mut random = Random::new(plan.seed);
        let clock = Arc::new(ManualClock::at(plan.start));
        let simulated = Simulated::new(Setup {
            seed: random.bits(),
            partitions: plan.partitions,
            timestamps: plan.timestamps,
            faults: Faults::NONE,
            clock: Arc::clone(&clock),
        });
        if keep_trace {
            simulated.keep_trace();
        }
        let topology = Arc::new(mutant.topology(plan.counters));
        let resolve = mutant.resolve(&topology);
        let wiring =
            Wiring::of(&mut simulated.member(), Arc::clone(&topology), Arc::clone(&resolve))?;
        let writers = Writers::register(&topology, &wiring, &mut simulated.producer())?;
        let newer = writers.newer();
        simulated.set_faults(Faults { broken: mutant.broken_commit(), ..plan.faults });
        let saver = plan.snapshots.then(|| Arc::new(Saver::inline(Arc::new(simulated.shelf()))));
        let (properties, rules) = (plan.properties, plan.config.rules);
        Ok(Self {
            plan,
            mutant,
            clock,
            topology,
            resolve,
            saver,
            sender: simulated.producer(),
            tool: simulated.reader(),
            wiring,
            desk: Desk::new(random.split(), properties, plan.partitions, rules)
                .with_writers(writers)
                .with_counters(plan.counters),
            newer,
            random,
            hands: Vec::new(),
            sent: BTreeMap::new(),
            drafts: 0,
            broken: Vec::new(),
            simulated,
        })
    }

    /// Everything at once, until all commands are sent.
    fn busy(&mut self) {
        while self.plan.preload && self.drafts < self.plan.commands {
            self.send();
            self.pass_time();
        }
        let mut steps = if self.plan.preload { self.plan.commands } else { 0 };
        while (self.drafts < self.plan.commands || steps > 0) && self.broken.is_empty() {
            steps = steps.saturating_sub(1);
            match self.random.below(100) {
                0..25 if !self.plan.preload => self.send(),
                0..80 => self.step_any(),
                80..88 => self.pass_time(),
                88..97 => self.simulated.step(),
                _ => self.meddle(),
            }
        }
    }

    /// Nothing goes wrong any more; what has gone wrong is to be got over.
    fn settle(&mut self) {
        let broken = self.mutant.broken_commit();
        self.simulated.set_faults(Faults { broken, ..Faults::NONE });
        for _ in 0..HEALED_STEPS_MAX {
            if !self.broken.is_empty() || self.is_done() {
                return;
            }
            if self.hands.iter().all(|hand| hand.stopping) {
                self.hire();
            }
            self.simulated.step();
            self.clock.advance(Duration::from_millis(10));
            for at in (0..self.hands.len()).rev() {
                self.hands[at].frozen = 0;
                self.step(at);
            }
        }
        let status: Vec<_> = self.hands.iter().map(|hand| hand.worker.status()).collect();
        let what = format!("not done after {HEALED_STEPS_MAX} steps without a fault: {status:?}");
        self.broken.push(Broken { promise: Promise::Progress, what });
    }

    fn is_done(&mut self) -> bool {
        let settled = self.hands.iter().all(|hand| hand.worker.is_settled() && !hand.stopping);
        settled && (0..self.plan.partitions).all(|partition| self.is_committed(partition))
    }

    fn is_committed(&mut self, partition: u32) -> bool {
        let end = self.tool.end(Topic::Commands, partition).unwrap_or(u64::MAX);
        let committed = self.tool.committed(partition).ok().flatten();
        let owners = self.hands.iter().filter(|hand| hand.worker.task(partition).is_some());
        owners.count() == 1 && committed.map_or(0, |progress| progress.next_offset) >= end
    }

    fn send(&mut self) {
        for _ in 0..1 + self.random.below(8) {
            self.drafts += 1;
            let now = self.clock.now();
            let draft = self.desk.next(self.wiring.wire(), now);
            let stamp = match self.plan.timestamps {
                Timestamps::Append => now,
                // Producers' clocks differ, and some are behind.
                Timestamps::Create => {
                    Timestamp(now.0 + self.random.between(-HOUR_US, HOUR_US / 60))
                }
            };
            self.send_draft(&draft, stamp);
            if self.random.chance(300) {
                let gap = 1 + self.random.below(3);
                self.simulated.skip_offsets(draft.partition, gap);
            }
        }
    }

    fn send_draft(&mut self, draft: &Draft, timestamp: Timestamp) {
        let Draft { partition, key, value, headers, fate, plain } = draft;
        let headers = headers.iter().map(|(name, value)| Header { name, value });
        let mut headers: Vec<_> = headers.collect();
        let position = match (fate, key, value) {
            (Fate::Command, Some(key), Some(value)) => {
                let trace = Header { name: TRACEPARENT, value: TRACE };
                headers.extend(self.plan.config.headers.traceparent.then_some(trace));
                let command = Command { key, value, timestamp, headers: &headers };
                // A failed append appended nothing; its producer gives up.
                match self.sender.append(&[command], None) {
                    Ok(positions) => positions.first().copied(),
                    Err(_) => None,
                }
            }
            (Fate::Command | Fate::Rules | Fate::Parked(_) | Fate::Either, key, value) => {
                let (key, value) = (key.as_deref(), value.as_deref());
                Some(self.simulated.append_raw(*partition, timestamp, key, value, &headers))
            }
        };
        if let Some(position) = position {
            self.sent.insert(position, Delivered { fate: *fate, plain: plain.clone() });
        }
    }

    fn pass_time(&mut self) {
        let by = match self.random.below(40) {
            0..3 => Duration::from_secs(self.random.below(43_200)),
            3..6 => Duration::from_secs(self.random.below(60)),
            _ => Duration::from_micros(self.random.below(20_000)),
        };
        self.clock.advance(by * self.plan.pace);
    }

    /// Accidents and orders that come from outside of the log.
    fn meddle(&mut self) {
        if self.hands.len() < self.plan.workers {
            self.hire();
            return;
        }
        if self.hands.is_empty() {
            return;
        }
        let at = self.random.below(self.hands.len() as u64) as usize;
        // These come up in three steps of a hundred.
        let rate = |per_10k: u32| per_10k * 33;
        if self.random.chance(rate(self.plan.kill)) {
            let hand = self.hands.swap_remove(at);
            self.simulated.crash(hand.member.load(Ordering::Relaxed));
        } else if self.random.chance(rate(self.plan.stop)) {
            self.hands[at].worker.stop();
            self.hands[at].stopping = true;
        } else if self.random.chance(rate(self.plan.freeze)) {
            self.hands[at].frozen = 1 + self.random.below(100);
        }
    }

    fn hire(&mut self) {
        let (log, mutant) = (self.simulated.clone(), self.mutant);
        let member = Arc::new(AtomicUsize::new(usize::MAX));
        let present = Arc::clone(&member);
        let standby = self.plan.standby.then(|| {
            Arc::new(Standby::inline(
                &self.plan.config,
                standby::Parts {
                    reader: Box::new(self.simulated.reader()),
                    topology: Arc::clone(&self.topology),
                    resolve: Arc::clone(&self.resolve),
                    snapshots: self.plan.snapshots.then(|| Arc::new(self.simulated.shelf()) as _),
                },
            ))
        });
        let parts = Parts {
            name: format!("worker {}", self.hands.len()),
            assignments: Arc::default(),
            join: Box::new(move || {
                let joined = log.member();
                present.store(joined.id(), Ordering::Relaxed);
                let joined: Box<dyn Log> = Box::new(joined);
                Ok(mutant.log(joined))
            }),
            topology: Arc::clone(&self.topology),
            resolve: Arc::clone(&self.resolve),
            clock: Arc::<ManualClock>::clone(&self.clock),
            saver: self.saver.clone(),
            standby,
            observer: None,
            meter: Default::default(),
            spans: None,
        };
        let mut config = self.plan.config.clone();
        if !self.plan.preload && self.random.chance(3_000) {
            // What it is configured with decides nothing, unless it writes the genesis.
            let hours = self.random.pick(&HOURS).copied().unwrap_or(0);
            config.rules.idempotency_hours = hours as u32;
        }
        if self.plan.roll_out && !self.plan.preload && self.is_rolled_out() {
            config.version = NEWER_VERSION.to_owned();
        }
        let standby = parts.standby.clone();
        match catch_unwind(AssertUnwindSafe(|| Worker::new(config, parts))) {
            Ok(Ok(worker)) => {
                self.hands.push(Hand { worker, member, standby, stopping: false, frozen: 0 });
            }
            // Another try comes with another turn.
            Ok(Err(_)) => {}
            Err(panic) => self.unwound(panic.as_ref()),
        }
    }

    /// In the middle third of a run workers are hired from the newer version. Those that are there
    /// stay, so both decide side by side.
    fn is_rolled_out(&self) -> bool {
        let third = self.plan.commands / 3;
        (third..2 * third).contains(&self.drafts)
    }

    fn unwound(&mut self, panic: &(dyn Any + Send)) {
        if !panic.is::<Crash>() {
            let what = format!("a worker panicked: {}", text_of(panic));
            self.broken.push(Broken { promise: Promise::Progress, what });
        }
    }

    fn step_any(&mut self) {
        if self.hands.is_empty() {
            return self.hire();
        }
        let at = self.random.below(self.hands.len() as u64) as usize;
        // A worker's steps often follow each other closely.
        for _ in 0..1 + self.random.below(4) {
            if !self.step(at) {
                return;
            }
            let member = self.hands[at].member.load(Ordering::Relaxed);
            let naps = self.plan.freeze > 0 && self.simulated.hands_over(member);
            if naps && self.random.chance(5_000) {
                // A long pause at the worst moment: others own all of it when it wakes up.
                self.hands[at].frozen = 10 + self.random.below(60);
                self.simulated.outlive_session(member);
            }
        }
    }

    /// Steps a worker; false when it is no more.
    fn step(&mut self, at: usize) -> bool {
        let hand = &mut self.hands[at];
        if hand.frozen > 0 {
            hand.frozen -= 1;
            return true;
        }
        if let Some(standby) = &hand.standby
            && self.random.chance(1_000)
        {
            let followed = catch_unwind(AssertUnwindSafe(|| standby.step()));
            if let Err(panic) = followed {
                self.hands.swap_remove(at);
                self.unwound(panic.as_ref());
                return false;
            }
        }
        match step(hand) {
            Stepped::On => true,
            Stepped::Crashed => {
                self.hands.swap_remove(at);
                false
            }
            Stepped::Broken(what) => {
                self.broken.push(Broken { promise: Promise::Progress, what });
                self.hands.swap_remove(at);
                false
            }
        }
    }

    fn report(mut self) -> Report {
        let mut tally = Tally::default();
        if self.broken.is_empty() || self.mutant != Mutant::None {
            let mut cascades = Cascades::default();
            for partition in 0..self.plan.partitions {
                let mut tasks = self.hands.iter().filter_map(|hand| hand.worker.task(partition));
                let config = self.task_config(partition);
                let (sent, newer) = (&self.sent, &self.newer);
                let expected = Expected { config: &config, sent, newer, worker: tasks.next() };
                let (tool, wiring) = (&mut self.tool, &mut self.wiring);
                let found = check(tool, wiring, &expected, &mut cascades, &mut tally);
                self.broken.extend(found);
            }
            self.broken.extend(cascades.check());
        }
        for hand in &self.hands {
            let copies = hand.standby.iter().flat_map(|standby| standby.held()).collect::<Vec<_>>();
            for (partition, held, events_end) in copies {
                let config = self.plan.config.task(self.tool.identity(), partition);
                let copy = Copied { config: &config, held, events_end };
                self.broken.extend(check_copy(&mut self.tool, &self.wiring, &copy));
            }
        }
        let mut events_hash = 0;
        for partition in 0..self.plan.partitions {
            events_hash = hash_of(&mut self.tool, partition, events_hash);
        }
        let trace_hash = self.simulated.trace_hash();
        Report {
            broken: self.broken,
            tally,
            accidents: self.simulated.accidents(),
            trace_hash,
            events_hash,
            trace: self.simulated.trace(),
        }
    }

    fn task_config(&self, partition: u32) -> TaskConfig {
        self.plan.config.task(self.tool.identity(), partition)
    }
}

fn hash_of(tool: &mut Tool, partition: u32, seed: u64) -> u64 {
    let mut hash = seed;
    for topic in [Topic::Events, Topic::Parked] {
        let read = tool.read(topic, partition, 0, &mut |record| {
            let time = record.timestamp.0.to_le_bytes();
            for part in [record.key.unwrap_or_default(), record.value.unwrap_or_default(), &time] {
                hash = xxh3_64_with_seed(part, hash);
            }
            ControlFlow::Continue(())
        });
        hash = hash.wrapping_add(u64::from(read.is_err()));
    }
    hash
}

fn step(hand: &mut Hand) -> Stepped {
    let worker = &mut hand.worker;
    let stopped = hand.stopping && worker.is_settled();
    let stepped = catch_unwind(AssertUnwindSafe(|| {
        if stopped { worker.finish() } else { worker.step(Duration::ZERO) }
    }));
    match stepped {
        Ok(Ok(())) if stopped => Stepped::Crashed,
        Ok(Ok(())) => {
            let status = worker.status();
            let failed = status.partitions.iter().find(|partition| partition.failure.is_some());
            failed
                .map_or(Stepped::On, |failed| Stepped::Broken(format!("stands still: {failed:?}")))
        }
        Ok(Err(error)) => match error.kind {
            ErrorKind::Retry | ErrorKind::Fenced => Stepped::On,
            ErrorKind::Corrupt | ErrorKind::FixInput => Stepped::Broken(error.to_string()),
        },
        Err(panic) if panic.is::<Crash>() => Stepped::Crashed,
        Err(panic) => Stepped::Broken(format!("a worker panicked: {}", text_of(panic.as_ref()))),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
