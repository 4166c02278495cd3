//! States and events against folds that had no accident.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bellhop_core::avro::{Avro as _, Reader as Datum};
use bellhop_core::engine::ParkedKind;
use bellhop_core::history::History;
use bellhop_core::message::Meta;
use bellhop_core::record::{Header, PackedHeaders, frame, unframe};
use bellhop_core::task::{Config, Task, UnknownSchema};
use bellhop_runtime::log::Topic;
use bellhop_runtime::log::simulated::Tool;
use bellhop_runtime::wiring::Wiring;

use super::rows::{Row, rows};
use super::{Broken, Expected, Promise};
use crate::sim::plan::{NEWER_VERSION, VERSION};

/// The state that a worker ended with is the fold of all events.
pub(super) fn state_is_the_fold(
    events: &[Row],
    wiring: &Wiring,
    expected: &Expected<'_>,
) -> Result<(), String> {
    let Some(live) = expected.worker else {
        return Err("no worker ended with it".to_owned());
    };
    // A partition without a genesis is decided by what its worker is configured with.
    let config = Config { rules: live.config().rules, ..expected.config.clone() };
    let mut anew = task(wiring, &config);
    if events.is_empty() {
        // It goes with the first transaction.
        anew.write_genesis();
    }
    for row in events {
        let key = row.key.as_deref().unwrap_or_default();
        let value = row.value.as_deref().unwrap_or_default();
        fold(&mut anew, key, value).map_err(|error| format!("event {}: {error}", row.offset))?;
    }
    anew.resume(live.progress());
    live.first_difference(&anew).map_or(Ok(()), Err)
}

/// Folds an event; a panic over one that should not be there is an answer, too.
fn fold(task: &mut Task, key: &[u8], value: &[u8]) -> Result<(), String> {
    let folded = catch_unwind(AssertUnwindSafe(|| task.fold(key, value)));
    match folded {
        Ok(folded) => folded.map_err(|error| error.to_string()),
        Err(_) => Err("a processor panics".to_owned()),
    }
}

/// A copy of a partition that somebody follows.
pub struct Copied<'a> {
    /// The task's configuration.
    pub config: &'a Config,
    /// The events that it holds.
    pub held: History,
    /// Where it says that they end.
    pub events_end: u64,
}

/// Checks that a copy holds all events before the offset that it goes on from, and no others.
pub fn check_copy(tool: &mut Tool, wiring: &Wiring, copy: &Copied<'_>) -> Option<Broken> {
    let Copied { config, held, events_end } = copy;
    let folded = rows(tool, Topic::Events, config.partition).map(|events| {
        let mut anew = task(wiring, config);
        let events = events.iter().filter(|event| event.offset < *events_end);
        let folded = events.map(|event| {
            let key = event.key.as_deref().unwrap_or_default();
            anew.fold(key, event.value.as_deref().unwrap_or_default())
        });
        for folded in folded {
            folded.unwrap_or_else(|error| panic!("{error}"));
        }
        anew.history()
    });
    match folded {
        Err(broken) => Some(broken),
        Ok(history) if history == *held => None,
        Ok(history) => {
            let partition = config.partition;
            let what = format!(
                "partition {partition}: a copy before event {events_end} holds {held}, the log {history}"
            );
            Some(Broken { promise: Promise::Fold, what })
        }
    }
}

/// Decides the same commands, at the same positions and times, in one task, one after another.
pub(super) fn as_one_task(
    tool: &mut Tool,
    commands: &[Row],
    events: &[Row],
    parked: &[Row],
    wiring: &mut Wiring,
    expected: &Expected<'_>,
) -> Result<(), String> {
    let mut first = task(wiring, expected.config);
    if let Some(genesis) = events.first() {
        let folded = first.fold(&[], genesis.value.as_deref().unwrap_or_default());
        folded.map_err(|error| format!("the genesis: {error}"))?;
    }
    let config = Config { rules: first.rules(), ..expected.config.clone() };
    let mut task = task(wiring, &config);
    // The genesis goes with the first transaction.
    if !commands.is_empty() {
        task.write_genesis();
    }
    for row in commands {
        let headers: Vec<_> =
            row.headers.iter().map(|(name, value)| Header { name, value }).collect();
        let record = bellhop_core::record::Record {
            offset: row.offset,
            timestamp: row.timestamp,
            key: row.key.as_deref(),
            value: row.value.as_deref(),
            headers: &headers,
        };
        if let Err(UnknownSchema(id)) = task.process(&record) {
            let cause = wiring.learn(tool, id).map_err(|error| error.to_string())?;
            match cause {
                Some(cause) => drop(task.park(&record, ParkedKind::UnknownType, cause)),
                None => {
                    task.set_wire(wiring.wire().clone());
                    task.process(&record).map_err(|unknown| format!("still {unknown:?}"))?;
                }
            }
        }
    }
    let output = task.output();
    for (what, straight, found) in
        [("event", &output.events, events), ("parked", &output.parked, parked)]
    {
        for (number, record) in straight.iter().enumerate() {
            let row = found.get(number);
            let same = row.is_some_and(|row| {
                row.key.as_deref().unwrap_or_default() == record.key
                    && is_value(row, record.value)
                    && row.timestamp == record.timestamp
                    && has_headers(row, record.headers)
            });
            if !same {
                let named = row.map(|row| (row.offset, row.timestamp));
                return Err(format!("{what} number {number}, {named:?}, is not the straight one"));
            }
        }
        if straight.len() != found.len() {
            return Err(format!("{} {what} records, straight {}", found.len(), straight.len()));
        }
    }
    Ok(())
}

/// Whether a record has a value, whichever version says that it decided.
fn is_value(row: &Row, straight: &[u8]) -> bool {
    let found = row.value.as_deref().unwrap_or_default();
    found == straight || by_older(found).as_deref() == Some(straight)
}

/// An event of the newer version as the older one would have written it.
fn by_older(value: &[u8]) -> Option<Vec<u8>> {
    let (id, datum) = unframe(value)?;
    let mut reader = Datum::new(datum);
    let mut meta = Meta::decode(&mut reader).ok()?;
    let source = meta.source.as_mut().filter(|source| source.decided_by == NEWER_VERSION)?;
    source.decided_by = VERSION.into();
    let mut older = Vec::new();
    frame(id, &mut older);
    meta.encode(&mut older);
    older.extend_from_slice(reader.rest());
    Some(older)
}

fn has_headers(row: &Row, packed: PackedHeaders<'_>) -> bool {
    let found = row.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    packed.iter().map(|header| (header.name, header.value)).eq(found)
}

fn task(wiring: &Wiring, config: &Config) -> Task {
    Task::new(config.clone(), wiring.topology().clone(), wiring.wire().clone())
}
