//! History is whole, or refused: a log that was cut, restored, replaced or expired behind the workers'
//! backs, and what the next take-over makes of it.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::sync::Arc;
use std::time::Duration;

use bellhop_core::avro::{Avro, Reader as Datum};
use bellhop_core::message::{Meta, Timestamp};
use bellhop_core::record::FRAME_BYTES;
use bellhop_core::topology::Topology;
use bellhop_runtime::clock::ManualClock;
use bellhop_runtime::log::simulated::{Backup, Faults, Sender, Setup, Simulated};
use bellhop_runtime::log::{Log, Reader as _, Timestamps, Topic};
use bellhop_runtime::snapshot::{Saver, SnapshotStore as _};
use bellhop_runtime::standby::{self, Standby};
use bellhop_runtime::verify;
use bellhop_runtime::wiring::{OwnSchemas, Resolve, Wiring};
use bellhop_runtime::worker::{Config, Parts, Worker};
use bellhop_tests::hands::{Pen, append, counter_in};
use bellhop_tests::toy::{Add, Added, Counter, CounterId};

const PARTITIONS: u32 = 2;
/// The partition that is damaged; the other one has to go on.
const HURT: u32 = 0;

/// A simulated log without accidents, and what a worker on it needs.
struct Inn {
    simulated: Simulated,
    clock: Arc<ManualClock>,
    topology: Arc<Topology>,
    resolve: Arc<dyn Resolve>,
    sender: Sender,
    pen: Pen,
    snapshots: bool,
    sent: usize,
}

/// How a worker found the damaged partition.
#[derive(Debug)]
struct Found {
    /// Why it stands still, if it does.
    refused: Option<String>,
    /// What its counter says, if it does not.
    total: Option<i64>,
    /// Its events, before and after the worker.
    events: (u64, u64),
}

fn counter(partition: u32) -> CounterId {
    counter_in(partition, PARTITIONS, 0)
}

impl Inn {
    fn new(seed: u64, snapshots: bool) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        let simulated = Simulated::new(Setup {
            seed,
            partitions: PARTITIONS,
            timestamps: Timestamps::Append,
            faults: Faults::NONE,
            clock: clock.clone(),
        });
        let topology = Arc::new(toys());
        let mut sender = simulated.producer();
        Self {
            pen: Pen::of(&mut sender),
            resolve: Arc::new(OwnSchemas::of(&topology)),
            sender,
            simulated,
            clock,
            topology,
            snapshots,
            sent: 0,
        }
    }

    /// Sends so many commands to each partition, each of which adds so much.
    fn send(&mut self, count: usize, amount: i64) {
        for _ in 0..count {
            self.sent += 1;
            for partition in 0..PARTITIONS {
                let add = Add { counter: counter(partition), amount, note: String::new() };
                let key = format!("{partition}-{}", self.sent);
                append(&mut self.sender, &[self.pen.write(&key, &add)]);
            }
        }
    }

    fn config() -> Config {
        Config {
            version: "1".to_owned(),
            batch_wait: Duration::ZERO,
            batch_records_max: 4,
            snapshot_events: 8,
            ..Config::default()
        }
    }

    fn worker(&self, standby: Option<Arc<Standby>>) -> Worker {
        let log = self.simulated.clone();
        let saver = || Arc::new(Saver::inline(Arc::new(self.simulated.shelf())));
        let parts = Parts {
            join: Box::new(move || Ok(Box::new(log.member()) as Box<dyn Log>)),
            topology: self.topology.clone(),
            resolve: self.resolve.clone(),
            clock: Arc::<ManualClock>::clone(&self.clock),
            saver: self.snapshots.then(saver),
            standby,
            observer: None,
            spans: None,
            assignments: Arc::default(),
            meter: Default::default(),
            name: String::new(),
        };
        Worker::new(Self::config(), parts).unwrap()
    }

    fn standby(&self) -> Arc<Standby> {
        let parts = standby::Parts {
            reader: Box::new(self.simulated.reader()),
            topology: self.topology.clone(),
            resolve: self.resolve.clone(),
            snapshots: None,
        };
        Arc::new(Standby::inline(&Self::config(), parts))
    }

    /// Lets a worker decide all that is there, and stop in order.
    fn run(&mut self) -> Found {
        let worker = self.worker(None);
        self.run_with(worker)
    }

    fn run_with(&mut self, mut worker: Worker) -> Found {
        let events = |simulated: &Simulated| simulated.reader().end(Topic::Events, HURT).unwrap();
        let before = events(&self.simulated);
        for _ in 0..10_000 {
            worker.step(Duration::ZERO).unwrap();
            self.clock.advance(Duration::from_millis(1));
            let partitions = worker.status().partitions;
            let done = partitions.iter().filter(|status| {
                let end = self.simulated.reader().end(Topic::Commands, status.partition).unwrap();
                status.failure.is_some() || status.progress.next_offset >= end
            });
            if done.count() == PARTITIONS as usize && worker.is_settled() {
                break;
            }
        }
        assert!(worker.is_settled(), "{:?}", worker.status());
        let status = worker.status();
        let failure = |partition: u32| {
            let of = status.partitions.iter().find(|status| status.partition == partition);
            of.and_then(|status| status.failure.clone()).map(|failure| failure.what)
        };
        assert_eq!(failure(1 - HURT), None, "the other partition goes on");
        let refused = failure(HURT);
        let task = worker.task(HURT).filter(|_| refused.is_none());
        let total = task.and_then(|task| {
            let counter = task.stores().find::<Counter>()?.get(&counter(HURT))?;
            Some(counter.total)
        });
        worker.stop();
        worker.finish().unwrap();
        Found { refused, total, events: (before, events(&self.simulated)) }
    }

    /// Replaces the damaged partition by what is made of its backup.
    fn damage(&self, damage: impl FnOnce(&mut Backup)) {
        let mut backup = self.simulated.backup(HURT);
        damage(&mut backup);
        self.simulated.put_back(HURT, &backup);
    }

    /// The first difference between its newest good snapshot with its tail and all its events.
    fn verify(&self) -> Option<String> {
        let mut reader = self.simulated.reader();
        let mut wiring = Wiring::to_read(self.topology.clone(), self.resolve.clone());
        let task = Self::config().task(reader.identity(), HURT);
        let shelf = self.simulated.shelf();
        let shelf = self.snapshots.then_some(&shelf as _);
        let verified = verify::state(&mut reader, &mut wiring, &task, shelf);
        verified.unwrap().difference.map(|difference| difference.what)
    }
}

fn toys() -> Topology {
    use bellhop_core::registry::{EVENTS, HANDLERS, PROCESSORS, REQUESTS};
    let ours = |name: &str| name.starts_with("toy.");
    Topology::build(
        HANDLERS.iter().filter(|handler| ours(handler.message.name)).collect(),
        PROCESSORS.iter().filter(|processor| ours(processor.message.name)).collect(),
        EVENTS.iter().filter(|event| ours(event.message.name)).collect(),
        &REQUESTS.iter().filter(|info| ours(info.name)).copied().collect::<Vec<_>>(),
    )
    .unwrap()
}

/// Twenty commands decided by a worker that stopped in order; then the damage, then more commands.
fn after(snapshots: bool, damage: impl FnOnce(&mut Backup)) -> Found {
    let mut inn = Inn::new(1, snapshots);
    inn.send(20, 1);
    assert_eq!(inn.run().total, Some(20));
    inn.damage(damage);
    inn.send(5, 1);
    inn.run()
}

fn is_refused(found: &Found, words: &[&str]) {
    let refused = found.refused.as_deref().unwrap_or_else(|| panic!("it went on: {found:?}"));
    for words in words {
        assert!(refused.contains(words), "\"{words}\" is not in: {refused}");
    }
    assert_eq!(found.events.0, found.events.1, "it wrote events");
}

#[test]
fn a_log_that_nobody_damaged_goes_on_from_snapshots_and_without() {
    for snapshots in [true, false] {
        assert_eq!(after(snapshots, |_| {}).total, Some(25));
    }
}

#[test]
fn events_that_lost_their_end_are_refused() {
    for snapshots in [true, false] {
        let found = after(snapshots, |backup| backup.cut_events(backup.events() - 3));
        is_refused(&found, &["3 of the 21 events that were committed are missing"]);
    }
}

#[test]
fn events_that_were_deleted_while_the_committed_offset_was_kept_are_refused() {
    for snapshots in [true, false] {
        let found = after(snapshots, |backup| backup.cut_events(0));
        is_refused(&found, &["21 of the 21 events that were committed are missing"]);
    }
}

#[test]
fn events_with_a_hole_are_refused_unless_a_snapshot_holds_what_is_missing() {
    let found = after(false, |backup| backup.lose_event(7));
    is_refused(&found, &["1 of the 21 events that were committed are missing"]);
    assert_eq!(after(true, |backup| backup.lose_event(7)).total, Some(25));
    let found = after(true, |backup| backup.lose_event(0));
    assert_eq!(found.total, Some(25));
}

#[test]
fn events_whose_first_ones_expired_are_refused_unless_a_snapshot_holds_them() {
    let found = after(false, |backup| backup.expire_events(5));
    is_refused(&found, &["its events before offset", "are deleted", "retention.ms=-1"]);
    assert_eq!(after(true, |backup| backup.expire_events(5)).total, Some(25));
    // Behind every snapshot.
    let found = after(true, |backup| backup.expire_events(backup.events()));
    is_refused(&found, &["missing"]);
}

#[test]
fn another_clusters_events_are_refused_and_so_is_its_committed_offset() {
    let mut other = Inn::new(2, false);
    other.send(20, 1);
    other.run();
    let other = other.simulated.backup(HURT);
    for snapshots in [true, false] {
        let found = after(snapshots, |backup| backup.replace_committed(&other));
        is_refused(&found, &["its events are of log", "its committed offset is of log"]);
    }
    let found = after(false, |backup| backup.replace_events(&other));
    is_refused(&found, &["another log"]);
}

#[test]
fn as_many_events_of_another_timeline_are_refused() {
    let mut inn = Inn::new(1, false);
    inn.send(10, 1);
    inn.run();
    let fork = inn.simulated.backup(HURT);
    inn.send(10, 1);
    inn.run();
    let one = inn.simulated.backup(HURT);
    inn.simulated.put_back(HURT, &fork);
    inn.send(10, 2);
    inn.run();
    let other = inn.simulated.backup(HURT);
    assert_eq!(one.events(), other.events());
    inn.damage(|backup| backup.replace_events(&one));
    let found = inn.run();
    is_refused(&found, &["its first 21 events are not those that were committed"]);
}

#[test]
fn snapshots_of_another_timeline_are_refused_once_a_restored_log_has_grown_past_them() {
    let mut inn = Inn::new(1, true);
    inn.send(10, 1);
    inn.run();
    let backup = inn.simulated.backup(HURT);
    inn.send(20, 1);
    assert_eq!(inn.run().total, Some(30));
    inn.simulated.put_back(HURT, &backup);
    // Not yet as far as the snapshots, then further.
    inn.send(5, 100);
    assert_eq!(inn.run().total, Some(510));
    inn.send(30, 100);
    assert_eq!(inn.run().total, Some(3_510));
    assert_eq!(inn.run().total, Some(3_510), "a take-over without news");
    assert_eq!(inn.verify(), None);
}

#[test]
fn a_restored_log_keeps_its_own_snapshots_and_not_those_that_are_ahead_of_it() {
    let mut inn = Inn::new(1, true);
    inn.send(10, 1);
    inn.run();
    let backup = inn.simulated.backup(HURT);
    inn.send(40, 1);
    inn.run();
    let ahead = inn.simulated.shelf().list(log_id(&inn), HURT).unwrap();
    inn.simulated.put_back(HURT, &backup);
    inn.send(10, 100);
    inn.run();
    let end = inn.simulated.reader().end(Topic::Events, HURT).unwrap();
    let kept = inn.simulated.shelf().list(log_id(&inn), HURT).unwrap();
    assert_eq!(kept.first(), Some(&end), "{kept:?} are kept, {ahead:?} were ahead of {end}");
}

fn log_id(inn: &Inn) -> bellhop_core::message::LogId {
    inn.simulated.reader().identity().log_id
}

#[test]
fn an_operator_who_moves_the_committed_offset_accepts_the_events_as_they_are() {
    let found = after(false, |backup| {
        backup.cut_events(backup.events() - 3);
        backup.move_committed();
    });
    // Three commands that were decided have no outcome any more, and five come.
    assert_eq!(found.total, Some(22));
    assert_eq!(found.refused, None);
}

#[test]
fn commands_that_were_made_anew_are_refused_before_they_pass_for_decided_ones() {
    let mut new = Inn::new(1, false);
    new.send(3, 1);
    let new = new.simulated.backup(HURT);
    let found = after(false, |backup| backup.replace_commands(&new));
    is_refused(&found, &["its commands end at offset 8", "before offset 20 are decided"]);
}

#[test]
fn a_copy_that_missed_what_another_worker_committed_is_refused_and_restored() {
    let mut inn = Inn::new(1, false);
    inn.send(10, 1);
    inn.run();
    let standby = inn.standby();
    standby.step();
    inn.send(10, 1);
    inn.run();
    // It follows a log in which an event is missing, as a copy does that was left too early.
    let whole = inn.simulated.backup(HURT);
    inn.damage(|backup| backup.lose_event(15));
    standby.step();
    inn.simulated.put_back(HURT, &whole);
    assert_eq!(standby.warm(), [0, 1]);
    inn.send(10, 1);
    let worker = inn.worker(Some(standby));
    assert_eq!(inn.run_with(worker).total, Some(30));
}

/// An event over which the processor panics, as one that only another version can fold.
fn make_unfoldable(event: &mut Vec<u8>) {
    let (frame, datum) = event.split_at(FRAME_BYTES);
    let mut reader = Datum::new(datum);
    let meta = Meta::decode(&mut reader).unwrap();
    let added = Added::decode(&mut reader).unwrap();
    let mut changed = frame.to_vec();
    meta.encode(&mut changed);
    Added { amount: i64::MAX, ..added }.encode(&mut changed);
    *event = changed;
}

#[test]
fn a_panic_in_a_restore_stops_its_partition_alone_and_names_the_event() {
    let mut offset = 0;
    let found = after(false, |backup| offset = backup.edit_event(7, make_unfoldable));
    let words = format!("the event at offset {offset} makes a processor panic");
    is_refused(&found, &[&words, "a counter that is full"]);
}

#[test]
fn a_panic_in_a_standby_fold_ends_that_copy_alone() {
    let mut inn = Inn::new(1, false);
    inn.send(10, 1);
    inn.run();
    inn.damage(|backup| {
        backup.edit_event(7, make_unfoldable);
    });
    let standby = inn.standby();
    standby.step();
    standby.step();
    assert_eq!(standby.warm(), [1 - HURT]);
    let worker = inn.worker(Some(standby));
    is_refused(&inn.run_with(worker), &["makes a processor panic"]);
}
