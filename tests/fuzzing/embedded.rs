//! The folder of an embedded log: whatever byte is flipped, it is found and named, or nothing that
//! the log holds is another than it was, then and after more is written.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bellhop_core::message::{LogId, Timestamp};
use bellhop_core::topology::Topology;
use bellhop_fuzz::{Random, run};
use bellhop_runtime::clock::ManualClock;
use bellhop_runtime::log::embedded::{Embedded, Options, Tuning};
use bellhop_runtime::log::{
    Bookmark, Command, Consumer as _, Error, Mark, Polled, Producer as _, Reader, Timestamps, Topic,
};
use bellhop_runtime::verify;
use bellhop_runtime::wiring::{OwnSchemas, Wiring};
use bellhop_runtime::worker::{Config, Parts, Worker};
use bellhop_tests::hands::{Owned, Pen, counter_in};
use bellhop_tests::toy::Add;
use uuid::Uuid;

const PARTITIONS: u32 = 2;
const FILE: &str = "log.redb";
const GROUP: &str = "sink";
const SOURCE: &str = "rows";
/// More than it takes to decide everything.
const STEPS: usize = 200;

/// All that a log holds.
#[derive(Debug, PartialEq)]
struct Held {
    identity: String,
    records: Vec<Vec<Owned>>,
    progress: Vec<String>,
    schemas: Vec<String>,
    bookmark: Option<u64>,
    marks: Vec<(u32, Mark)>,
}

fn open(dir: &Path) -> Result<Embedded, Error> {
    let log_id = LogId(Uuid::from_u128(0xf1e1d));
    let options = Options { partitions: PARTITIONS, timestamps: Timestamps::Append, log_id };
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    // Little of the file is in memory: it is read again and again.
    let tuning = Tuning { cache_bytes: 0, ..Tuning::default() };
    Embedded::open_or_create(dir, &options, tuning, clock)
}

/// Appends commands, good and bad, the second half of them again, and has them decided.
fn work(log: &Embedded, numbers: std::ops::Range<u64>) -> Result<(), String> {
    let mut sender = log.clone();
    let pen = Pen::of(&mut sender);
    let mut written: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for number in numbers.clone() {
        let nth = (number % 7) as u32;
        let counter = counter_in(nth % PARTITIONS, PARTITIONS, nth);
        let note = "n".repeat((number as usize * 37) % 900);
        let amount = (number % 5).cast_signed() - 1;
        written.push(pen.write(&format!("number {number}"), &Add { counter, amount, note }));
        if number % 9 == 0 {
            let key = counter_in(1, PARTITIONS, 1).0.hyphenated().to_string().into_bytes();
            written.push((key, b"no command".to_vec()));
        }
    }
    let again = written.split_off(written.len() / 2);
    for commands in [&written, &again, &again] {
        let commands: Vec<Command<'_>> = commands
            .iter()
            .map(|(key, value)| Command { key, value, timestamp: Timestamp(0), headers: &[] })
            .collect();
        let bookmark = Bookmark { name: SOURCE, next: numbers.end };
        sender.append(&commands, Some(bookmark)).map_err(|error| error.to_string())?;
    }
    decide(log)?;
    mark(log, numbers.end).map_err(|error| error.to_string())
}

fn mark(log: &Embedded, next_offset: u64) -> Result<(), Error> {
    let mut sink = log.consume(GROUP);
    while !matches!(sink.poll(0, Duration::ZERO)?, Polled::Assigned(_)) {}
    let mark = |partition| (partition, Mark { next_offset, note: format!("a note {partition}") });
    sink.mark(&(0..PARTITIONS).map(mark).collect::<Vec<_>>())?;
    Ok(())
}

/// Has a worker decide all there is, and verifies it.
fn decide(log: &Embedded) -> Result<(), String> {
    let topology = Arc::new(Topology::discover().map_err(|error| error.to_string())?);
    let (joined, resolve) = (log.clone(), Arc::new(OwnSchemas::of(&topology)));
    let parts = Parts {
        name: "fuzzed".to_owned(),
        assignments: Arc::default(),
        join: Box::new(move || Ok(Box::new(joined.join()))),
        resolve: resolve.clone(),
        topology: topology.clone(),
        clock: Arc::new(ManualClock::at(Timestamp(1_000))),
        saver: None,
        standby: None,
        observer: None,
        meter: Default::default(),
        spans: None,
    };
    let config =
        Config { version: "1".to_owned(), batch_wait: Duration::ZERO, ..Config::default() };
    let mut worker = Worker::new(config.clone(), parts).map_err(|error| error.to_string())?;
    let mut reader = log.clone();
    let is_decided = |reader: &mut Embedded, partition| -> Result<bool, Error> {
        let end = Reader::end(reader, Topic::Commands, partition)?;
        let next = Reader::committed(reader, partition)?.map_or(0, |it| it.next_offset);
        Ok(next == end)
    };
    for step in 0.. {
        worker.step(Duration::ZERO).map_err(|error| error.to_string())?;
        let status = worker.status();
        if let Some(trouble) = status.troubles().next() {
            return Err(trouble.what);
        }
        let mut decided = worker.is_settled();
        for partition in 0..PARTITIONS {
            decided &= is_decided(&mut reader, partition).map_err(|error| error.to_string())?;
        }
        if decided {
            break;
        }
        assert!(step < STEPS, "it neither decides nor says why: {status:?}");
    }
    drop(worker);
    let mut wiring = Wiring::to_read(topology, resolve);
    for partition in 0..PARTITIONS {
        let task = config.task(log.identity(), partition);
        let state = verify::state(&mut reader, &mut wiring, &task, None);
        let state = state.map_err(|error| error.to_string())?;
        let decisions = verify::decisions(&mut reader, &mut wiring, &task);
        let decisions = decisions.map_err(|error| error.to_string())?;
        if let Some(difference) = state.difference.or(decisions.difference) {
            return Err(format!("partition {partition}: {}", difference.what));
        }
    }
    Ok(())
}

fn held(log: &Embedded) -> Result<Held, Error> {
    let mut reader = log.clone();
    let mut records = Vec::new();
    let mut progress = Vec::new();
    for partition in 0..PARTITIONS {
        for topic in Topic::ALL {
            let mut all = Vec::new();
            Reader::read(&mut reader, topic, partition, 0, &mut |record| {
                all.push(Owned::of(record));
                std::ops::ControlFlow::Continue(())
            })?;
            records.push(all);
        }
        progress.push(format!("{:?}", Reader::committed(&mut reader, partition)?));
    }
    let mut schemas = Vec::new();
    for id in 0..40 {
        schemas.push(format!("{:?}", reader.schema_of(id)?));
    }
    let bookmark = reader.bookmark(SOURCE)?;
    let mut marks = Vec::new();
    let mut sink = log.consume(GROUP);
    while !matches!(sink.poll(0, Duration::ZERO)?, Polled::Assigned(_)) {}
    for partition in 0..PARTITIONS {
        marks.extend(sink.marked(partition)?.map(|mark| (partition, mark)));
    }
    let identity = format!("{:?}", log.identity());
    Ok(Held { identity, records, progress, schemas, bookmark, marks })
}

/// What a log holds, before more is written and after.
fn look(dir: &Path) -> Result<[Held; 2], String> {
    let log = open(dir).map_err(|error| error.to_string())?;
    decide(&log)?;
    let before = held(&log).map_err(|error| error.to_string())?;
    work(&log, 100..120)?;
    drop(log);
    let log = open(dir).map_err(|error| error.to_string())?;
    Ok([before, held(&log).map_err(|error| error.to_string())?])
}

#[test]
fn fuzz_bytes_of_an_embedded_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    work(&log, 0..60).unwrap();
    drop(log);
    let path = dir.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    let expected = look(dir.path()).expect("a whole log");
    // Of a page that was never written nothing can be lost.
    let pages: Vec<usize> = (0..whole.len())
        .step_by(PAGE)
        .filter(|page| whole[*page..].iter().take(PAGE).any(|byte| *byte != 0))
        .collect();
    let place = |random: &mut Random| -> Vec<u8> {
        let page = random.pick(&pages).copied().unwrap_or_default();
        let at = page + random.below(PAGE.min(whole.len() - page));
        let bit = random.below(8) as u8;
        [&(at as u64).to_le_bytes()[..], &[bit]].concat()
    };
    let (mut found, mut nothing) = (0, 0);
    run(
        |input| {
            let (at, bit) = input.split_at(8);
            let at = u64::from_le_bytes(at.try_into().unwrap()) as usize;
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit[0];
            fs::write(&path, bytes).unwrap();
            match look(dir.path()) {
                Ok(seen) => {
                    assert!(seen == expected, "byte {at}: {}", difference(&seen, &expected));
                    nothing += 1;
                }
                Err(said) => {
                    assert!(!said.is_empty(), "byte {at}: refused without a word");
                    found += 1;
                }
            }
        },
        place,
    );
    eprintln!("{} pages: {found} flips found, {nothing} changed nothing", pages.len());
}

/// What has no checksum of ours: the names and texts of schemas, notes, the names of bookmarks.
#[test]
fn a_flipped_letter_is_found_wherever_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    work(&log, 0..30).unwrap();
    drop(log);
    let path = dir.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    for word in ["toy.Added", "a note 1", SOURCE, "number 7"] {
        let places = whole.windows(word.len()).enumerate();
        let places: Vec<usize> =
            places.filter(|(_, it)| *it == word.as_bytes()).map(|(at, _)| at).collect();
        assert!(!places.is_empty(), "{word} is nowhere in the file");
        let mut found = 0;
        for place in places {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            fs::write(&path, bytes).unwrap();
            match open(dir.path()) {
                Err(error) => {
                    assert!(error.to_string().contains("damaged"), "{word}: {error}");
                    found += 1;
                }
                // Of a page that is free again.
                Ok(log) => decide(&log).unwrap(),
            }
        }
        assert!(found > 0, "{word} was changed and nobody noticed");
    }
}

/// Bytes of a page of the file.
const PAGE: usize = 4_096;

/// What is another than it was.
fn difference(seen: &[Held; 2], expected: &[Held; 2]) -> String {
    for (when, (seen, expected)) in ["before", "after"].iter().zip(seen.iter().zip(expected)) {
        let same = [
            ("identity", seen.identity == expected.identity),
            ("records", seen.records == expected.records),
            ("progress", seen.progress == expected.progress),
            ("schemas", seen.schemas == expected.schemas),
            ("bookmark", seen.bookmark == expected.bookmark),
            ("marks", seen.marks == expected.marks),
        ];
        if let Some((what, _)) = same.iter().find(|(_, same)| !same) {
            return format!("{what} differ, {when} more was written");
        }
    }
    "nothing".to_owned()
}
