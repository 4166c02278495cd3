//! Holds a partition to two promises: its state is the fold of its events, and its events are what
//! its commands lead to.

use std::ops::ControlFlow;

use bellhop_core::engine::ParkedKind;
use bellhop_core::record::{FRAME_BYTES, Record};
use bellhop_core::task::{Config, Task, UnknownSchema};

use crate::log::{Error as LogError, Reader, Topic};
use crate::restore::{self, Error, Expected, Restored, fold};
use crate::snapshot::SnapshotStore;
use crate::timeline::Proof;
use crate::wiring::Wiring;

/// What was compared, and the first difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The partition.
    pub partition: u32,
    /// Events compared or folded.
    pub events: u64,
    /// Events offset of the snapshot that was compared, if there is one.
    pub snapshot: Option<u64>,
    /// `None` when all is well.
    pub difference: Option<Difference>,
}

/// Where two ways to the same state part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Events offset: the states before it differ, or the event at it does.
    pub offset: u64,
    /// The first entry or byte that differs: found first, expected second.
    pub what: String,
}

/// Folds all events of a partition anew and compares with the newest snapshot and its tail, and
/// with the history that is committed.
///
/// # Errors
/// When the log cannot be read or an event not be folded.
pub fn state(
    reader: &mut dyn Reader,
    wiring: &mut Wiring,
    config: &Config,
    snapshots: Option<&dyn SnapshotStore>,
) -> Result<Verified, Error> {
    // Before the events are read: workers may commit more meanwhile.
    let mut proof = Proof::of(restore::expected(reader, config.partition)?);
    // Whatever the newest snapshot holds: a wrong one is to be named, not passed over.
    let mut live = restore::begin(reader, wiring, config, snapshots, Expected::default())?;
    live.go_on(reader, wiring, None, &mut || false)?;
    let Restored { task: live, snapshot, events_end, .. } = live;
    let mut anew = new_task(wiring, config);
    let mut difference = None;
    if let Some(offset) = snapshot {
        // First as far as the snapshot goes: a difference there names the snapshot, not the tail.
        fold(reader, wiring, &mut anew, 0, &mut |task, at| {
            proof.look(task.history());
            at >= offset
        })?;
        let mut held = new_task(wiring, config);
        let loaded = snapshots.map(|store| store.load(config.log_id, config.partition, offset));
        if let Some(Ok(loaded)) = loaded
            && held.restore(&loaded.state).is_ok()
        {
            // A snapshot may know of later records that left no event.
            anew.resume(held.progress());
            difference = held.first_difference(&anew).map(|what| Difference { offset, what });
        }
    }
    fold(reader, wiring, &mut anew, snapshot.unwrap_or(0), &mut |task, at| {
        proof.look(task.history());
        at >= events_end
    })?;
    proof.look(anew.history());
    if difference.is_none() {
        anew.resume(live.progress());
        let what = live.first_difference(&anew);
        difference = what.map(|what| Difference { offset: events_end, what });
    }
    if difference.is_none() {
        let differs = proof.verdict(anew.history()).err().map(|mismatch| mismatch.to_string());
        difference = differs.map(|what| Difference { offset: events_end, what });
    }
    Ok(Verified {
        partition: config.partition,
        events: anew.history().events,
        snapshot,
        difference,
    })
}

/// Compares a task that is running with the fold of its partition's events.
///
/// Every event of the task must be committed.
///
/// # Errors
/// As [`state`].
pub fn live(reader: &mut dyn Reader, wiring: &mut Wiring, task: &Task) -> Result<Verified, Error> {
    let config = task.config().clone();
    let mut anew = new_task(wiring, &config);
    let end = fold(reader, wiring, &mut anew, 0, &mut |_, _| false)?;
    if end == 0 && task.history().events > 0 {
        // Its genesis waits for the first transaction.
        anew.write_genesis();
    }
    anew.resume(task.progress());
    let what = task.first_difference(&anew);
    let difference = what.map(|what| Difference { offset: end, what });
    let events = anew.history().events;
    Ok(Verified { partition: config.partition, events, snapshot: None, difference })
}

/// Decides all commands of a partition anew and compares with its events: key, and datum behind
/// the frame.
///
/// Only the version of the handlers that decided gives the same.
///
/// # Errors
/// When the log cannot be read.
pub fn decisions(
    reader: &mut dyn Reader,
    wiring: &mut Wiring,
    config: &Config,
) -> Result<Verified, LogError> {
    let partition = config.partition;
    let committed = reader.committed(partition)?;
    // The rules are those of the genesis, not of whoever verifies.
    let mut first = new_task(wiring, config);
    match fold(reader, wiring, &mut first, 0, &mut |task, _| task.history().events > 0) {
        Ok(_) => {}
        Err(Error::Log { source, .. }) => return Err(source),
        Err(error) => {
            let difference = Some(Difference { offset: 0, what: error.to_string() });
            return Ok(Verified { partition, events: 0, snapshot: None, difference });
        }
    }
    let config = &Config { rules: first.rules(), ..config.clone() };
    let mut task = new_task(wiring, config);
    // On a broker the genesis of all partitions is there before anything is decided.
    if reader.end(Topic::Events, partition)? > 0 {
        task.write_genesis();
    }
    let committed = committed.map_or(0, |progress| progress.next_offset);
    let (mut next, mut compared, mut events) = (0, 0, 0);
    let mut difference = None;
    while difference.is_none() {
        let mut unknown = None;
        let mut decided = 0;
        next = reader.read(Topic::Commands, partition, next, &mut |record| {
            if record.offset >= committed || decided == 10_000 {
                return ControlFlow::Break(());
            }
            decided += 1;
            match task.process(record) {
                Ok(_) => ControlFlow::Continue(()),
                Err(UnknownSchema(id)) => {
                    unknown = Some((record.offset, id));
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some((offset, id)) = unknown {
            match wiring.learn(reader, id)? {
                None => {
                    task.set_wire(wiring.wire().clone());
                    next = offset;
                }
                Some(cause) => {
                    park(reader, &mut task, partition, offset, &cause)?;
                    next = offset + 1;
                }
            }
        }
        difference = compare(reader, &mut task, partition, (&mut compared, &mut events))?;
        if decided == 0 {
            break;
        }
        // The record that broke the batch of 10,000 was not decided.
        next = next.min(task.progress().next_offset);
    }
    if difference.is_none() {
        // Counted, since offsets may have gaps.
        let (mut first, mut more) = (compared, 0_u64);
        reader.read(Topic::Events, partition, compared, &mut |event| {
            first = if more == 0 { event.offset } else { first };
            more += 1;
            ControlFlow::Continue(())
        })?;
        if more > 0 {
            let what = format!("{more} event(s) that no command leads to");
            difference = Some(Difference { offset: first, what });
        }
    }
    Ok(Verified { partition, events, snapshot: None, difference })
}

fn park(
    reader: &mut dyn Reader,
    task: &mut Task,
    partition: u32,
    offset: u64,
    cause: &str,
) -> Result<(), LogError> {
    reader.read(Topic::Commands, partition, offset, &mut |record| {
        task.park(record, ParkedKind::UnknownType, cause.to_owned());
        ControlFlow::Break(())
    })?;
    Ok(())
}

/// Compares the events in the task's output with those of the log from `compared` on, and counts
/// them.
fn compare(
    reader: &mut dyn Reader,
    task: &mut Task,
    partition: u32,
    (compared, events): (&mut u64, &mut u64),
) -> Result<Option<Difference>, LogError> {
    let output = std::mem::take(task.output());
    let mut expected = output.events.iter();
    let mut next = expected.next();
    let mut difference = None;
    if next.is_some() {
        reader.read(Topic::Events, partition, *compared, &mut |found| {
            let Some(event) = next else { return ControlFlow::Break(()) };
            let offset = found.offset;
            if let Some(what) = differs(found, event.key, event.value) {
                difference = Some(Difference { offset, what });
                return ControlFlow::Break(());
            }
            *compared = offset + 1;
            *events += 1;
            next = expected.next();
            if next.is_none() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    if difference.is_none() && next.is_some() {
        let what = "no event, although a command leads to one".to_owned();
        difference = Some(Difference { offset: *compared, what });
    }
    Ok(difference)
}

/// Key and datum count. The time of an event's record does not: a broker has its own, and the
/// event says when it happened.
fn differs(found: &Record<'_>, key: &[u8], value: &[u8]) -> Option<String> {
    let found_key = found.key.unwrap_or_default();
    if found_key != key {
        let text = String::from_utf8_lossy;
        return Some(format!("key \"{}\" against \"{}\"", text(found_key), text(key)));
    }
    let datum = |value: &[u8]| value.get(FRAME_BYTES..).unwrap_or_default().to_vec();
    let (found, expected) = (datum(found.value.unwrap_or_default()), datum(value));
    if found == expected {
        return None;
    }
    let at = found.iter().zip(&expected).take_while(|(one, other)| one == other).count();
    Some(format!("{} bytes against {}, from byte {at} on", found.len(), expected.len()))
}

fn new_task(wiring: &Wiring, config: &Config) -> Task {
    Task::new(config.clone(), wiring.topology().clone(), wiring.wire().clone())
}
