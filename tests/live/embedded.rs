//! The same commands at the same positions on the embedded log: its events, and what it parks, are
//! what any other log must show.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_core::engine::ParkedKind;
use bellhop_core::partition::partition_of;
use bellhop_core::record::{Header, frame, unframe};
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::embedded::{Embedded, Options, Tuning};
use bellhop_runtime::log::{Command, Identity, Producer, Reader, Timestamps, Topic};
use bellhop_runtime::parked;
use bellhop_runtime::worker::{Parts, Worker};
use bellhop_tests::hands::{Owned, read};
use tempfile::TempDir;

use crate::house::{LONG, own_schemas, topology, worker_config};

/// A schema id that no registry gives.
const NOBODYS: u32 = i32::MAX.cast_unsigned();
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

/// What became of the commands of one partition.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    /// Offsets of the commands that were parked, and why.
    pub(crate) parked: Vec<(u64, ParkedKind)>,
}

/// The events of each partition, as the embedded log has them for the commands that are there.
pub(crate) fn events(reader: &mut dyn Reader) -> Vec<Vec<Event>> {
    let all = 0..reader.identity().partitions;
    let commands = all.map(|it| read(reader, Topic::Commands, it, 0)).collect();
    outcomes(reader, commands).into_iter().map(|outcome| outcome.events).collect()
}

/// What the embedded log makes of the commands of each partition.
pub(crate) fn outcomes(reader: &mut dyn Reader, commands: Vec<Vec<Owned>>) -> Vec<Outcome> {
    let Identity { partitions, log_id, .. } = *reader.identity();
    let folder = TempDir::new().unwrap();
    let options = Options { partitions, timestamps: Timestamps::Create, log_id };
    let clock = Arc::new(SystemClock::default());
    let mut log =
        Embedded::open_or_create(folder.path(), &options, Tuning::default(), clock.clone())
            .unwrap();
    let topology = topology();
    let (joined, resolve) = (log.clone(), Arc::new(own_schemas(&topology)));
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
    let mut offsets = Vec::new();
    let mut ends = Vec::new();
    for (partition, mut commands) in (0..).zip(commands) {
        offsets.push(commands.iter().map(|command| command.offset).collect::<BTreeSet<_>>());
        for command in &mut commands {
            reframe(command, reader, &mut log, &mut ids);
            keep_home(command, partition, partitions);
        }
        let commands = with_gaps_filled(commands);
        ends.push(commands.len() as u64);
        for chunk in commands.chunks(CHUNK) {
            append(&mut log, chunk);
        }
    }
    let mut progress = (Vec::new(), Instant::now() + LONG);
    let decided = |worker: &Worker| -> Vec<u64> {
        let next = |it| worker.task(it).map_or(0, |task| task.progress().next_offset);
        (0..partitions).map(next).collect()
    };
    while !worker.is_settled() || decided(&worker) != ends {
        worker.step(Duration::from_millis(5)).unwrap();
        let now = decided(&worker);
        if now != progress.0 {
            progress = (now, Instant::now() + LONG);
        }
        let status = worker.status();
        assert!(Instant::now() < progress.1, "the embedded log decides no more: {status:?}");
    }
    let mut outcomes: Vec<Outcome> = (0..partitions)
        .map(|it| Outcome {
            events: promised(&read(&mut log, Topic::Events, it, 0)),
            parked: Vec::new(),
        })
        .collect();
    for entry in parked::list(&mut log).unwrap() {
        let (at, offset) = (entry.partition as usize, entry.parked.offset.cast_unsigned());
        if offsets[at].contains(&offset) {
            outcomes[at].parked.push((offset, entry.parked.kind));
        }
    }
    outcomes
}

fn append(log: &mut Embedded, commands: &[Owned]) {
    let headers: Vec<Vec<Header<'_>>> = commands
        .iter()
        .map(|it| it.headers.iter().map(|(name, value)| Header { name, value }).collect())
        .collect();
    let commands: Vec<_> = commands
        .iter()
        .zip(&headers)
        .map(|(it, headers)| Command {
            key: &it.key,
            value: &it.value,
            timestamp: it.timestamp,
            headers,
        })
        .collect();
    log.append(&commands, None).unwrap();
}

/// Gives a command the schema id that the embedded log has for its schema.
fn reframe(
    command: &mut Owned,
    reader: &mut dyn Reader,
    log: &mut Embedded,
    ids: &mut HashMap<u32, u32>,
) {
    let Some((id, datum)) = unframe(&command.value) else { return };
    let own = *ids.entry(id).or_insert_with(|| match reader.schema_of(id).unwrap().schema() {
        Some(schema) => Producer::schema_id(log, &schema.name, &schema.text).unwrap(),
        None => NOBODYS,
    });
    let mut value = Vec::new();
    frame(own, &mut value);
    value.extend_from_slice(datum);
    command.value = value;
}

/// A record in a partition that its key does not belong to, which the embedded log cannot have,
/// becomes one whose key is not that of its payload: either is parked for its key. It stays as long
/// as it was, for the longest are not even looked at.
fn keep_home(command: &mut Owned, partition: u32, partitions: u32) {
    let mut number = 0_u32;
    while partition_of(&command.key, partitions) != partition {
        match command.key.last_chunk_mut() {
            Some(end) => *end = number.to_le_bytes(),
            None => command.key = parked::key_in(partition, partitions).into_bytes(),
        }
        number += 1;
    }
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
