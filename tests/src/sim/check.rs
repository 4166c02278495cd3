//! What must hold after every run, read from the log alone.
//!
//! Start at [`check`]. Nothing here asks the workers, save the state that they ended with.

mod keys;
mod outcomes;
mod rows;
mod state;
mod timers;

use std::collections::BTreeMap;
use std::fmt;

use bellhop_core::message::{LogId, Meta, Position};
use bellhop_core::task::{Config, Task};
use bellhop_runtime::log::simulated::Tool;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::wiring::Wiring;

pub use self::state::{Copied, check_copy};
pub use self::timers::Cascades;

use self::outcomes::Outcomes;
use self::rows::{Row, message, rows};
use self::state::{as_one_task, state_is_the_fold};
use super::commands::Delivered;
use super::house::Houses;
use super::house::refusal::Asked;

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// Where and how.
    pub what: String,
}

/// The promises that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Every command has exactly one outcome; a repeat has none of its own.
    ExactlyOnce,
    /// No request takes a night above its limit, facts list what they oversell, and what is refused
    /// could not be had.
    NeverOversold,
    /// The state equals the fold of the events.
    Fold,
    /// The events are those of one task that had no accident.
    Deterministic,
    /// The run came to its end.
    Progress,
    /// No record is larger than the bounds say that it can be.
    Bounded,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// What a run had to show, so that nobody takes an empty one for a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Records of the commands topics.
    pub commands: u64,
    /// Commands that were decided for the first time.
    pub decided: u64,
    /// Repeats of a key with its payload.
    pub repeats: u64,
    /// Repeats of a key with another payload.
    pub conflicts: u64,
    /// Parked records.
    pub parked: u64,
    /// Stays that were booked.
    pub booked: u64,
    /// Nights that facts listed as oversold.
    pub oversold: u64,
    /// Changes of the rules.
    pub rules: u64,
    /// Timers that fired.
    pub fired: u64,
    /// Commands that others led to.
    pub cascades: u64,
    /// Events of timers.
    pub timed: u64,
    /// Events that a newer version decided.
    pub newer: u64,
    /// Refusals, by the code of their first reason.
    pub refused: [u64; 64],
    /// Stays that were offered instead of others.
    pub offered: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            commands: 0,
            decided: 0,
            repeats: 0,
            conflicts: 0,
            parked: 0,
            booked: 0,
            oversold: 0,
            rules: 0,
            fired: 0,
            cascades: 0,
            timed: 0,
            newer: 0,
            refused: [0; 64],
            offered: 0,
        }
    }
}

impl Tally {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.commands += other.commands;
        self.decided += other.decided;
        self.repeats += other.repeats;
        self.conflicts += other.conflicts;
        self.parked += other.parked;
        self.booked += other.booked;
        self.oversold += other.oversold;
        self.rules += other.rules;
        self.fired += other.fired;
        self.cascades += other.cascades;
        self.timed += other.timed;
        self.newer += other.newer;
        self.offered += other.offered;
        for (own, more) in self.refused.iter_mut().zip(other.refused) {
            *own += more;
        }
    }
}

/// What a partition is checked against.
pub struct Expected<'a> {
    /// The task's configuration.
    pub config: &'a Config,
    /// What was sent, by position.
    pub sent: &'a BTreeMap<Position, Delivered>,
    /// The ids of newer schemas, by those of our own.
    pub newer: &'a BTreeMap<u32, u32>,
    /// The task that a worker ended with, if one owned the partition.
    pub worker: Option<&'a Task>,
}

/// Checks one partition; gives everything that is broken.
pub fn check(
    tool: &mut Tool,
    wiring: &mut Wiring,
    expected: &Expected<'_>,
    cascades: &mut Cascades,
    tally: &mut Tally,
) -> Vec<Broken> {
    let partition = expected.config.partition;
    let read = |tool: &mut Tool, topic| rows(tool, topic, partition);
    let all = (|| {
        Ok((read(tool, Topic::Commands)?, read(tool, Topic::Events)?, read(tool, Topic::Parked)?))
    })();
    let (commands, events, parked) = match all {
        Ok(all) => all,
        Err(broken) => return vec![broken],
    };
    let mut broken = Vec::new();
    let mut note = |promise: Promise, checked: Result<(), String>| {
        if let Err(what) = checked {
            broken.push(Broken { promise, what: format!("partition {partition}: {what}") });
        }
    };
    note(Promise::Progress, finished(tool, partition, &commands));
    let outcomes = Outcomes::of(&events, &parked, expected, wiring);
    let once = outcomes.and_then(|outcomes| {
        outcomes.each_command_has_one(&commands, expected, wiring, cascades, tally)
    });
    note(Promise::ExactlyOnce, once);
    let largest = expected.config.rules.largest();
    note(Promise::Bounded, bounded("event", &events, largest.event));
    note(Promise::Bounded, bounded("parked record", &parked, largest.parked));
    note(
        Promise::NeverOversold,
        rooms_are_sold_rightly(&commands, &events, wiring, expected, tally),
    );
    note(Promise::Fold, state_is_the_fold(&events, wiring, expected));
    note(Promise::Deterministic, as_one_task(tool, &commands, &events, &parked, wiring, expected));
    broken
}

/// Brokers take each record.
fn bounded(what: &str, rows: &[Row], largest: usize) -> Result<(), String> {
    for row in rows {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = row.headers.iter().map(|(name, value)| name.len() + value.len());
        let bytes = length(&row.key) + length(&row.value) + headers.sum::<usize>();
        if bytes > largest {
            return Err(format!("the {what} {} has {bytes} bytes, at most {largest}", row.offset));
        }
    }
    Ok(())
}

/// All commands are committed.
fn finished(tool: &mut Tool, partition: u32, commands: &[Row]) -> Result<(), String> {
    let committed = tool.committed(partition).map_err(|error| error.to_string())?;
    let committed = committed.map_or(0, |progress| progress.next_offset);
    match commands.last() {
        Some(last) if committed != last.offset + 1 => {
            Err(format!("committed is {committed}, the last command is at {}", last.offset))
        }
        Some(_) | None => Ok(()),
    }
}

/// No event oversells, and no command is refused for what is not so.
fn rooms_are_sold_rightly(
    commands: &[Row],
    events: &[Row],
    wiring: &Wiring,
    expected: &Expected<'_>,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut houses = Houses::default();
    let by_offset: BTreeMap<_, _> = commands.iter().map(|row| (row.offset, row)).collect();
    let asked = |meta: &Meta| {
        let source = meta.source.as_ref().ok_or("a refusal without a source")?;
        let position = source.position();
        let row = by_offset.get(&position.offset).ok_or("a refusal of nothing")?;
        let plain = keys::plain(row, expected.sent.get(&position), expected.newer)?;
        Asked::of(wiring.wire().name_of(plain.schema_id).unwrap_or_default(), &plain.body)
    };
    for row in events {
        let (name, datum) = message(row, wiring)?;
        let counted = houses.count(name, datum, asked);
        counted.map_err(|what| format!("event {} {name}: {what}", row.offset))?;
    }
    tally.booked += houses.requests;
    tally.oversold += houses.oversold;
    tally.offered += houses.offered;
    for (code, count) in houses.refused {
        tally.refused[usize::from(code)] += count;
    }
    Ok(())
}

/// The log id of a reader, for a configuration.
#[must_use]
pub fn log_id(tool: &Tool) -> LogId {
    tool.identity().log_id
}
