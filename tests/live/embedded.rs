//! The same commands at the same positions on the embedded log: its events are what any other log
//! must show.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_core::record::{frame, unframe};
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::embedded::{Embedded, Options, Tuning};
use bellhop_runtime::log::{Command, Identity, Producer, Reader, Timestamps, Topic};
use bellhop_runtime::wiring::OwnSchemas;
use bellhop_runtime::worker::{Parts, Worker};
use bellhop_tests::hands::{Owned, read};
use tempfile::TempDir;

use crate::house::{LONG, topology, worker_config};

/// Commands that are appended at once.
const CHUNK: usize = 1_000;

/// An event as promised: its key, and what stands behind the frame, which names a schema id that a
/// registry gave.
pub(crate) type Event = (Vec<u8>, Vec<u8>);

/// What is promised of records.
pub(crate) fn promised(events: &[Owned]) -> Vec<Event> {
    let datum = |event: &Owned| unframe(&event.value).unwrap().1.to_vec();
    events.iter().map(|event| (event.key.clone(), datum(event))).collect()
}

/// The events of each partition, as the embedded log has them.
pub(crate) fn events(reader: &mut dyn Reader) -> Vec<Vec<Event>> {
    let Identity { partitions, log_id, .. } = *reader.identity();
    let folder = TempDir::new().unwrap();
    let options = Options { partitions, timestamps: Timestamps::Create, log_id };
    let clock = Arc::new(SystemClock::default());
    let mut log =
        Embedded::open_or_create(folder.path(), &options, Tuning::default(), clock.clone())
            .unwrap();
    let topology = topology();
    let (joined, resolve) = (log.clone(), Arc::new(OwnSchemas::of(&topology)));
    let parts = Parts {
        name: "embedded".to_owned(),
        assignments: Arc::default(),
        join: Box::new(move || Ok(Box::new(joined.join()))),
        resolve,
        topology,
        clock,
        saver: None,
        standby: None,
        observer: None,
        meter: Default::default(),
        spans: None,
    };
    let mut worker = Worker::new(worker_config(), parts).unwrap();
    let mut ids = HashMap::new();
    let mut ends = Vec::new();
    for partition in 0..partitions {
        let mut commands = read(reader, Topic::Commands, partition, 0);
        for command in &mut commands {
            reframe(command, reader, &mut log, &mut ids);
        }
        let commands = with_gaps_filled(commands);
        ends.push(commands.len() as u64);
        for chunk in commands.chunks(CHUNK) {
            let chunk: Vec<_> = chunk
                .iter()
                .map(|it| Command {
                    key: &it.key,
                    value: &it.value,
                    timestamp: it.timestamp,
                    headers: &[],
                })
                .collect();
            log.append(&chunk, None).unwrap();
        }
    }
    let until = Instant::now() + LONG;
    let decided = |worker: &Worker, partition: u32, end: u64| {
        worker.task(partition).is_some_and(|task| task.progress().next_offset == end)
    };
    while !worker.is_settled() || !(0..).zip(&ends).all(|(p, end)| decided(&worker, p, *end)) {
        assert!(Instant::now() < until, "the embedded log decides no more: {:?}", worker.status());
        worker.step(Duration::from_millis(5)).unwrap();
    }
    (0..partitions).map(|it| promised(&read(&mut log, Topic::Events, it, 0))).collect()
}

/// Gives a command the schema id that the embedded log has for its schema.
fn reframe(
    command: &mut Owned,
    reader: &mut dyn Reader,
    log: &mut Embedded,
    ids: &mut HashMap<u32, u32>,
) {
    let (id, datum) = unframe(&command.value).unwrap();
    let own = *ids.entry(id).or_insert_with(|| {
        let schema = reader.schema_of(id).unwrap().schema().unwrap();
        Producer::schema_id(log, &schema.name, &schema.text).unwrap()
    });
    let mut value = Vec::new();
    frame(own, &mut value);
    value.extend_from_slice(datum);
    command.value = value;
}

/// The embedded log has no gaps, where a broker has the markers of transactions: what cannot be
/// decoded takes their place, which is parked, with no event and at no time of its own.
fn with_gaps_filled(commands: Vec<Owned>) -> Vec<Owned> {
    let mut filled: Vec<Owned> = Vec::new();
    for command in commands {
        while (filled.len() as u64) < command.offset {
            let before = filled.last().unwrap_or(&command);
            let (key, timestamp) = (command.key.clone(), before.timestamp);
            let offset = filled.len() as u64;
            let (value, headers) = (b"a gap".to_vec(), Vec::new());
            filled.push(Owned { offset, timestamp, key, value, headers });
        }
        filled.push(command);
    }
    filled
}
