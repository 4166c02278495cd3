//! Workers over the embedded log: real tasks, real files, a clock set by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says where")]

mod copies;
mod registry;
mod versions;

mod spread;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellhop_core::avro::{Avro as _, Bytes};
use bellhop_core::engine::{
    EngineRecord as _, ParkedKind, Release, Resolution, ResolveParked, engine_schema,
};
use bellhop_core::headers::{TRACEPARENT, span_id};
use bellhop_core::message::{LogId, Meta, Position, Timestamp};
use bellhop_core::outcome::Outcome;
use bellhop_core::record::{Header, Record, frame};
use bellhop_core::topology::Topology;
use bellhop_harness::Collector;
use bellhop_runtime::clock::{Clock, ManualClock, SystemClock};
use bellhop_runtime::log::embedded::{Embedded, Options, Tuning};
use bellhop_runtime::log::redpanda::Settings;
use bellhop_runtime::log::socket::{self, Remote};
use bellhop_runtime::log::{Command, Producer, Reader, Timestamps, Topic};
use bellhop_runtime::snapshot::{Folder, Saver, SnapshotStore};
use bellhop_runtime::telemetry::otlp::{Request, Span};
use bellhop_runtime::telemetry::{self, Exporter};
use bellhop_runtime::wiring::{OwnSchemas, Wiring};
use bellhop_runtime::worker::{Config, Parts, Worker};
use bellhop_runtime::{parked, verify};
use bellhop_tests::hands::{Pen, append, counter_in, read};
use bellhop_tests::toy::{Add, AddLater, Counter, CounterId, Move};
use prost::Message as _;
use tempfile::TempDir;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

const PARTITIONS: u32 = 4;

type Outcomes = Arc<Mutex<BTreeMap<(u32, u64), Outcome>>>;

/// A log in a folder, and what runs on it.
struct House {
    dir: TempDir,
    clock: Arc<ManualClock>,
    log: Embedded,
    pen: Pen,
    outcomes: Outcomes,
    config: Config,
}

fn topology() -> Arc<Topology> {
    Arc::new(Topology::discover().unwrap())
}

fn open(dir: &Path, clock: Arc<dyn Clock>) -> Embedded {
    let log_id = LogId(Uuid::from_u128(3 << 100));
    let options = Options { partitions: PARTITIONS, timestamps: Timestamps::Append, log_id };
    Embedded::open_or_create(dir, &options, Tuning::default(), clock).unwrap()
}

impl House {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        let mut log = open(dir.path(), clock.clone());
        let pen = Pen::of(&mut log);
        let config =
            Config { version: "1".to_owned(), batch_wait: Duration::ZERO, ..Config::default() };
        Self { dir, clock, log, pen, outcomes: Outcomes::default(), config }
    }

    fn snapshots(&self) -> Folder {
        Folder::at(&self.dir.path().join("snapshots"))
    }

    fn worker(&self) -> Worker {
        self.worker_with(self.clock.clone())
    }

    fn worker_with(&self, clock: Arc<dyn Clock>) -> Worker {
        Worker::new(self.config.clone(), self.parts(clock)).unwrap()
    }

    fn parts(&self, clock: Arc<dyn Clock>) -> Parts {
        let (log, outcomes) = (self.log.clone(), self.outcomes.clone());
        let topology = topology();
        Parts {
            name: "worker".to_owned(),
            assignments: Arc::default(),
            join: Box::new(move || Ok(Box::new(log.join()))),
            resolve: Arc::new(OwnSchemas::of(&topology)),
            topology,
            clock,
            saver: Some(Arc::new(Saver::inline(Arc::new(self.snapshots())))),
            standby: None,
            spans: None,
            meter: Default::default(),
            observer: Some(Box::new(move |partition, offset, outcome| {
                let before = outcomes.lock().unwrap().insert((partition, offset), outcome);
                assert_eq!(before, None, "{partition}@{offset} was told twice");
            })),
        }
    }

    fn send(&mut self, commands: &[(Vec<u8>, Vec<u8>)]) -> Vec<(u32, u64)> {
        append(&mut self.log, commands)
    }

    fn add(&self, key: &str, counter: CounterId, amount: i64) -> (Vec<u8>, Vec<u8>) {
        self.pen.write(key, &Add { counter, amount, note: String::new() })
    }

    fn wiring(&self) -> Wiring {
        let topology = topology();
        Wiring::to_read(topology.clone(), Arc::new(OwnSchemas::of(&topology)))
    }

    /// Every partition equals the fold of its events, and its events what its commands lead to.
    fn verify(&mut self) {
        for partition in 0..PARTITIONS {
            let task = self.config.task(self.log.identity(), partition);
            let (mut wiring, snapshots) = (self.wiring(), self.snapshots());
            let state = verify::state(&mut self.log, &mut wiring, &task, Some(&snapshots)).unwrap();
            assert_eq!(state.difference, None, "the state of partition {partition}");
            let decisions = verify::decisions(&mut self.log, &mut wiring, &task).unwrap();
            assert_eq!(decisions.difference, None, "the decisions of partition {partition}");
        }
    }

    fn outcome(&self, position: (u32, u64)) -> Outcome {
        self.outcomes.lock().unwrap()[&position]
    }
}

/// Steps until every command that is there has an outcome.
fn drain(worker: &mut Worker, log: &mut Embedded) {
    for _ in 0..10_000 {
        worker.step(Duration::from_millis(20)).unwrap();
        let owned = worker.status().partitions;
        let done = owned.iter().filter(|status| {
            let end = Reader::end(log, Topic::Commands, status.partition).unwrap();
            status.failure.is_some() || status.progress.next_offset == end
        });
        if done.count() == PARTITIONS as usize && worker.is_settled() {
            return;
        }
    }
    panic!("not drained: {:?}", worker.status());
}

fn finish(mut worker: Worker) {
    worker.stop();
    while !worker.is_settled() {
        worker.step(Duration::from_millis(20)).unwrap();
    }
    worker.finish().unwrap();
}

fn total(worker: &Worker, counter: CounterId) -> Option<i64> {
    let partitions = worker.status().partitions;
    partitions.iter().find_map(|status| {
        let store = worker.task(status.partition)?.stores().find::<Counter>()?;
        store.get(&counter).map(|counter| counter.total)
    })
}

#[test]
fn every_command_has_one_outcome_and_a_partition_begins_with_its_genesis() {
    let mut house = House::new();
    let mut worker = house.worker();
    let counters: Vec<_> = (0..PARTITIONS).map(|p| counter_in(p, PARTITIONS, 1)).collect();
    let mut positions = Vec::new();
    for round in 0..50 {
        let commands: Vec<_> = counters
            .iter()
            .map(|counter| house.add(&format!("{round}-{counter}"), *counter, 2))
            .collect();
        positions.extend(house.send(&commands));
    }
    drain(&mut worker, &mut house.log);
    for position in positions {
        assert!(matches!(house.outcome(position), Outcome::Decided { code: 0, .. }));
    }
    counters.iter().for_each(|counter| assert_eq!(total(&worker, *counter), Some(100)));
    for partition in 0..PARTITIONS {
        let events = read(&mut house.log, Topic::Events, partition, 0);
        assert_eq!(events.len(), 51, "one genesis and 50 events");
        let schema = Reader::schema_of(&mut house.log, u32::from(events[0].value[4])).unwrap();
        assert_eq!(schema.schema().unwrap().name, "bellhop.engine.Genesis");
    }
    house.verify();
}

/// How many outcomes each transaction has, of commands of all partitions that wait for a worker.
fn transactions(records_max: usize, wait: Duration) -> Vec<usize> {
    let mut house = House::new();
    house.config.batch_records_max = records_max;
    house.config.batch_wait = wait;
    let counters: Vec<_> = (0..PARTITIONS).map(|it| counter_in(it, PARTITIONS, 1)).collect();
    let commands: Vec<_> =
        (0..8).map(|n| house.add(&format!("{n}"), counters[n % counters.len()], 1)).collect();
    house.send(&commands);
    let mut worker = house.worker();
    let (mut before, mut sizes) = (0, Vec::new());
    // The clock stands still.
    while before < commands.len() {
        worker.step(Duration::from_millis(20)).unwrap();
        let now = house.outcomes.lock().unwrap().len();
        if now > before {
            sizes.push(now - before);
        }
        before = now;
    }
    sizes
}

#[test]
fn a_batch_is_as_large_as_asked() {
    let sizes = transactions(3, Duration::from_secs(3_600));
    assert!(sizes.iter().all(|size| *size <= 3) && sizes.contains(&3), "{sizes:?}");
}

#[test]
fn a_batch_waits_while_more_comes_and_no_longer() {
    let hour = Duration::from_secs(3_600);
    assert_eq!(transactions(100, hour), [8], "nothing more comes");
    let sizes = transactions(100, Duration::ZERO);
    assert!(sizes.len() > 1, "none waits for another partition's: {sizes:?}");
}

#[test]
fn a_cascade_is_decided_in_the_partition_of_its_key() {
    let mut house = House::new();
    let (from, to) = (counter_in(0, PARTITIONS, 1), counter_in(3, PARTITIONS, 1));
    let mut worker = house.worker();
    let moving = house.pen.write("move", &Move { counter: from, to, amount: 4 });
    let add = house.add("add", from, 10);
    house.send(&[add, moving]);
    drain(&mut worker, &mut house.log);
    assert_eq!((total(&worker, from), total(&worker, to)), (Some(6), Some(4)));
    house.verify();
}

#[test]
fn an_idle_partition_gets_a_tick_when_a_timer_is_due_and_only_then() {
    let mut house = House::new();
    let counter = counter_in(2, PARTITIONS, 1);
    let mut worker = house.worker();
    let due = Timestamp(1_000_000 + 60_000_000);
    let later = house.pen.write("later", &AddLater { counter, amount: 5, due });
    house.send(&[later]);
    drain(&mut worker, &mut house.log);
    house.clock.advance(Duration::from_secs(59));
    for _ in 0..5 {
        worker.step(Duration::ZERO).unwrap();
    }
    assert_eq!(Reader::end(&mut house.log, Topic::Commands, 2).unwrap(), 1, "no tick yet");
    house.clock.advance(Duration::from_secs(1));
    while total(&worker, counter) != Some(5) {
        worker.step(Duration::from_millis(10)).unwrap();
    }
    drain(&mut worker, &mut house.log);
    assert_eq!(house.outcome((2, 1)), Outcome::Ticked);
    assert_eq!(Reader::end(&mut house.log, Topic::Commands, 2).unwrap(), 2, "one tick");
    house.verify();
}

#[test]
fn a_processor_that_panics_stops_its_partition_alone_at_that_offset() {
    let mut house = House::new();
    let (broken, good) = (counter_in(1, PARTITIONS, 1), counter_in(2, PARTITIONS, 1));
    let mut worker = house.worker();
    let mut commands: Vec<_> = (0..5).map(|n| house.add(&format!("b{n}"), broken, 1)).collect();
    commands.push(house.add("poison", broken, i64::MAX));
    commands.push(house.add("behind", broken, 1));
    commands.extend((0..20).map(|n| house.add(&format!("g{n}"), good, 1)));
    let positions = house.send(&commands);
    drain(&mut worker, &mut house.log);
    let status = worker.status();
    let failures: Vec<_> = status.partitions.iter().filter(|p| p.failure.is_some()).collect();
    let [failed] = failures.as_slice() else { panic!("one partition fails: {status:?}") };
    let failure = failed.failure.as_ref().unwrap();
    assert_eq!((failed.partition, failure.offset), (1, Some(5)));
    assert_eq!(failure.what, "a counter that is full");
    assert_eq!(Reader::committed(&mut house.log, 1).unwrap().unwrap().next_offset, 5);
    assert_eq!(read(&mut house.log, Topic::Events, 1, 0).len(), 6, "genesis and five");
    assert_eq!(total(&worker, good), Some(20));
    assert!(!house.outcomes.lock().unwrap().contains_key(&positions[5]));
    house.verify();
}

#[test]
fn what_cannot_be_decided_is_parked_and_can_be_read_again() {
    let mut house = House::new();
    let counter = counter_in(0, PARTITIONS, 1);
    let key = counter.0.hyphenated().to_string().into_bytes();
    let mut worker = house.worker();
    let unknown = [&[0, 0, 0, 0x27, 0x10][..], b"whatever"].concat();
    let panics = house.add("panics", counter, i64::MIN);
    let fine = house.add("fine", counter, 1);
    house.send(&[(key.clone(), unknown.clone()), panics, (key, b"no frame".to_vec()), fine]);
    drain(&mut worker, &mut house.log);
    let entries = parked::list(&mut house.log).unwrap();
    let kinds: Vec<_> =
        entries.iter().map(|entry| (entry.parked.offset, entry.parked.kind)).collect();
    let expected =
        [(0, ParkedKind::UnknownType), (1, ParkedKind::Panicked), (2, ParkedKind::Undecodable)];
    assert_eq!(kinds, expected);
    assert!(entries[0].parked.cause.contains("schema id 10000 is not known"));
    assert_eq!(entries[0].parked.value.as_ref().unwrap().0, unknown);
    assert_eq!(parked::show(&mut house.log, 0, 1).unwrap().as_ref(), Some(&entries[1]));
    assert_eq!(parked::show(&mut house.log, 0, 3).unwrap(), None);
    assert_eq!(total(&worker, counter), Some(1));
    house.verify();
}

#[test]
fn a_worker_goes_on_where_another_stopped_and_a_damaged_snapshot_costs_only_time() {
    let mut house = House::new();
    house.config.snapshot_events = 10;
    let counter = counter_in(0, PARTITIONS, 1);
    let mut sum = 0;
    for run in 0..4 {
        let mut worker = house.worker();
        for step in 0..6 {
            let commands: Vec<_> =
                (0..5).map(|n| house.add(&format!("{run}-{step}-{n}"), counter, 1)).collect();
            sum += 5;
            house.send(&commands);
            drain(&mut worker, &mut house.log);
        }
        assert_eq!(total(&worker, counter), Some(sum), "run {run}");
        finish(worker);
        house.verify();
        let folder = house.snapshots();
        let log_id = house.log.identity().log_id;
        let kept = folder.list(log_id, 0).unwrap();
        assert_eq!(kept.len(), 2, "the newest two: {kept:?}");
        // After the second run the newest is damaged, later both are.
        for damaged in kept.iter().take(run.min(2)) {
            let path = folder.file(log_id, 0, *damaged);
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 0xff;
            fs::write(&path, bytes).unwrap();
        }
    }
    let repeat = house.add("0-0-0", counter, 1);
    let position = house.send(&[repeat])[0];
    let mut worker = house.worker();
    drain(&mut worker, &mut house.log);
    assert!(matches!(house.outcome(position), Outcome::Repeated { code: 0, .. }));
}

#[test]
fn verify_names_the_offset_of_the_first_event_that_differs() {
    let mut house = House::new();
    let counter = counter_in(0, PARTITIONS, 1);
    let mut worker = house.worker();
    let commands: Vec<_> = (0..5).map(|n| house.add(&format!("{n}"), counter, 1)).collect();
    house.send(&commands);
    drain(&mut worker, &mut house.log);
    let task = worker.task(0).unwrap();
    let live = verify::live(&mut house.log.clone(), &mut house.wiring(), task).unwrap();
    assert_eq!((live.difference, live.events), (None, 6));
    finish(worker);
    // Handlers of another version decide the same and say so in each event.
    house.config.version = "2".to_owned();
    let config = house.config.task(house.log.identity(), 0);
    let mut wiring = house.wiring();
    let decisions = verify::decisions(&mut house.log, &mut wiring, &config).unwrap();
    let difference = decisions.difference.unwrap();
    assert_eq!(difference.offset, 1, "{}", difference.what);
    // A snapshot of another state under a good checksum is found out by the fold.
    let (folder, log_id) = (house.snapshots(), house.log.identity().log_id);
    let newest = folder.list(log_id, 0).unwrap()[0];
    let mut snapshot = folder.load(log_id, 0, newest).unwrap();
    let mut other = House::new();
    let other_counter = counter_in(0, PARTITIONS, 1);
    let commands: Vec<_> = (0..5).map(|n| other.add(&format!("{n}"), other_counter, 2)).collect();
    other.send(&commands);
    let mut worker = other.worker();
    drain(&mut worker, &mut other.log);
    snapshot.state.clear();
    worker.task(0).unwrap().snapshot(&mut snapshot.state);
    folder.save(&snapshot, &[]).unwrap();
    let state = verify::state(&mut house.log, &mut wiring, &config, Some(&folder)).unwrap();
    let difference = state.difference.unwrap();
    assert_eq!(difference.offset, 6);
    assert!(difference.what.contains("counters of"), "{}", difference.what);
}

#[test]
fn workers_that_come_and_go_decide_every_command_once() {
    let mut house = House::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let counters: Vec<_> = (0..40).map(|n| counter_in(n % PARTITIONS, PARTITIONS, n)).collect();
    let stops: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let mut count = 0;
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for (nth, stop) in stops.iter().enumerate() {
            let mut worker = house.worker_with(clock.clone());
            let stop = Arc::clone(stop);
            running.push(scope.spawn(move || worker.run_until(&stop).unwrap()));
            for round in 0..30 {
                let commands: Vec<_> = counters
                    .iter()
                    .map(|counter| house.add(&format!("{nth}-{round}-{counter}"), *counter, 1))
                    .collect();
                count += house.send(&commands).len();
            }
            if nth == 1 {
                stops[0].store(true, Ordering::Relaxed);
            }
        }
        while house.outcomes.lock().unwrap().len() < count {
            std::thread::yield_now();
        }
        stops.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
        running.into_iter().for_each(|worker| worker.join().unwrap());
    });
    for partition in 0..PARTITIONS {
        let events = read(&mut house.log, Topic::Events, partition, 0).len() as u64;
        let commands = Reader::end(&mut house.log, Topic::Commands, partition).unwrap();
        assert_eq!(events, commands + 1, "a genesis and one event a command");
    }
    house.verify();
}

/// Span ids in hexadecimal, as headers and backends show them.
fn hexadecimal(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn recorded_commands_leave_spans_and_so_does_one_that_breaks_its_partition() {
    let mut house = House::new();
    let collector = Collector::start().unwrap();
    let exporter = Exporter::start(telemetry::Config {
        endpoint: collector.url().to_owned(),
        headers: Settings::default(),
        ca_file: None,
        resource: BTreeMap::new(),
        source: telemetry::Source::default(),
    })
    .unwrap();
    let parts = Parts { spans: Some(exporter.spans()), ..house.parts(house.clock.clone()) };
    let mut worker = Worker::new(house.config.clone(), parts).unwrap();
    let counter = counter_in(1, PARTITIONS, 1);
    let (trace, sender) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let trace_of = |flags| format!("00-{trace}-{sender}-{flags}").into_bytes();
    for (key, amount, headers) in [
        ("recorded", 1, vec![trace_of("01")]),
        ("not recorded", 1, vec![trace_of("00")]),
        ("in no trace", 1, vec![]),
        ("in two", 1, vec![trace_of("01"), trace_of("01")]),
        ("breaking", i64::MAX, vec![trace_of("01")]),
    ] {
        let (key, value) = house.add(key, counter, amount);
        let headers: Vec<_> =
            headers.iter().map(|value| Header { name: TRACEPARENT, value }).collect();
        let (key, value) = (&key, &value);
        let command = Command { key, value, timestamp: Timestamp(0), headers: &headers };
        house.log.append(&[command], None).unwrap();
    }
    drain(&mut worker, &mut house.log);
    drop((worker, exporter));

    let requests = collector.bodies();
    let requests = requests.iter().map(|body| Request::decode(body.as_slice()).unwrap());
    let scopes = requests.flat_map(|it| it.resources).flat_map(|it| it.scopes);
    let spans: Vec<Span> = scopes.flat_map(|scope| scope.spans).collect();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let log_id = house.log.identity().log_id;
    let own = |offset| format!("{:016x}", span_id(log_id, Position { partition: 1, offset }));
    let decided = named("decide Add");
    let mut found: Vec<_> = decided
        .iter()
        .map(|span| {
            assert_eq!((hexadecimal(&span.trace_id), span.flags), (trace.to_owned(), 0x301));
            assert_eq!(hexadecimal(&span.parent_span_id), sender);
            let failed = span.status.as_ref().map(|status| status.message.as_str());
            (hexadecimal(&span.span_id), failed)
        })
        .collect();
    found.sort();
    let mut expected = vec![(own(0), None), (own(4), Some("a counter that is full"))];
    expected.sort();
    assert_eq!(found, expected);
    // Its transaction shows where the time went until it was visible.
    let [commit] = named("commit")[..] else { panic!("{spans:?}") };
    assert_eq!(hexadecimal(&commit.trace_id), trace);
    assert_eq!(hexadecimal(&commit.parent_span_id), own(0));
    assert_eq!((commit.links.len(), &commit.status), (0, &None));
    let (takeovers, restored) = (named("take over"), named("restore"));
    assert_eq!((takeovers.len(), restored.len()), (PARTITIONS as usize, PARTITIONS as usize));
    for restore in restored {
        let above = takeovers.iter().find(|it| it.span_id == restore.parent_span_id);
        assert_eq!(above.map(|above| &above.trace_id), Some(&restore.trace_id));
    }
}

#[test]
fn what_is_parked_is_released_once_and_skipped_once_by_whoever_owns_the_partition() {
    let mut house = House::new();
    let counter = counter_in(0, PARTITIONS, 1);
    let key = counter.0.hyphenated().to_string().into_bytes();
    let mut worker = house.worker();
    house.send(&[(key.clone(), b"no frame".to_vec()), (key, b"nor here".to_vec())]);
    drain(&mut worker, &mut house.log);
    let (release_key, release_value) = house.add("mended", counter, 1);
    let release = Release {
        key: Bytes(release_key),
        value: Bytes(release_value),
        headers: Vec::new(),
        edited: true,
    };
    let ask = |house: &mut House, offset, release| {
        let schema = engine_schema::<ResolveParked>();
        let schema_id = Producer::schema_id(&mut house.log, ResolveParked::NAME, &schema).unwrap();
        let mut value = Vec::new();
        frame(schema_id, &mut value);
        Meta::of_command(Uuid::nil(), &format!("parked/0@{offset}"), Timestamp(0))
            .encode(&mut value);
        let (by, why) = ("desk".to_owned(), "a ticket".to_owned());
        ResolveParked { partition: 0, offset, by, why, release }.encode(&mut value);
        house.send(&[(parked::key_in(0, PARTITIONS).into_bytes(), value)]);
    };
    for release in [Some(release.clone()), Some(release), None] {
        ask(&mut house, 0, release);
    }
    ask(&mut house, 1, None);
    drain(&mut worker, &mut house.log);
    assert_eq!(total(&worker, counter), Some(1), "released once");
    let entries = parked::list(&mut house.log).unwrap();
    let how: Vec<_> = entries.iter().map(|it| it.resolved.as_ref().unwrap().how.clone()).collect();
    assert_eq!(how.len(), 2);
    assert_eq!((how[0].offset, how[0].resolution), (0, Resolution::Edited));
    assert_eq!((how[1].offset, how[1].resolution), (1, Resolution::Skipped));
    assert_eq!((how[1].by.as_str(), how[1].why.as_str()), ("desk", "a ticket"));
    house.verify();
}

#[test]
fn a_log_that_is_open_is_read_through_its_socket_as_it_is_and_only_while_it_is_served() {
    let mut house = House::new();
    let counters: Vec<_> = (0..PARTITIONS).map(|p| counter_in(p, PARTITIONS, 1)).collect();
    let mut worker = house.worker();
    let value = "x".repeat(300_000);
    let bulky = |house: &House, n: usize| {
        let command = Add { counter: counters[0], amount: 1, note: value.clone() };
        house.pen.write(&format!("bulky-{n}"), &command)
    };
    let mut commands: Vec<_> = counters.iter().map(|it| house.add("one", *it, 1)).collect();
    commands.extend((0..12).map(|n| bulky(&house, n)));
    house.send(&commands);
    drain(&mut worker, &mut house.log);

    let folder = house.dir.path().to_owned();
    assert!(Remote::connect(&folder).unwrap().is_none(), "nobody serves yet");
    let log = house.log.clone();
    let served = socket::serve(&folder, move || Box::new(log.clone())).unwrap();
    let mut remote = Remote::connect(&folder).unwrap().expect("a process that serves");
    assert_eq!(remote.identity(), house.log.identity());
    let print = |record: &Record<'_>| {
        let value = record.value.map(xxh3_64);
        (record.offset, record.timestamp, record.key.map(<[u8]>::to_vec), value)
    };
    for partition in 0..PARTITIONS {
        for topic in Topic::ALL {
            let end = Reader::end(&mut house.log, topic, partition).unwrap();
            assert_eq!(remote.end(topic, partition).unwrap(), end);
            for from in [0, 1, end, end + 7] {
                let (mut here, mut there) = (Vec::new(), Vec::new());
                let next = Reader::read(&mut house.log, topic, partition, from, &mut |record| {
                    here.push(print(record));
                    ControlFlow::Continue(())
                });
                let same = remote.read(topic, partition, from, &mut |record| {
                    there.push(print(record));
                    ControlFlow::Continue(())
                });
                assert_eq!((same.unwrap(), there), (next.unwrap(), here), "{topic} from {from}");
            }
        }
        let committed = Reader::committed(&mut house.log, partition).unwrap();
        assert_eq!(remote.committed(partition).unwrap(), committed);
        let task = house.config.task(remote.identity(), partition);
        let state = verify::state(&mut remote, &mut house.wiring(), &task, None).unwrap();
        assert_eq!(state.difference, None);
    }
    assert!(remote.schema_of(1).unwrap().schema().is_some());
    assert_eq!(remote.schema_of(9_999).unwrap(), house.log.schema_of(9_999).unwrap());
    let stopped = remote.read(Topic::Commands, 0, 0, &mut |_| ControlFlow::Break(()));
    assert_eq!(stopped.unwrap(), 1, "it goes on behind the record that broke off");

    drop(served);
    assert!(remote.end(Topic::Events, 0).is_err(), "what was open is closed");
    assert!(Remote::connect(&folder).unwrap().is_none());
}
