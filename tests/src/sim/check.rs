//! What must hold after every run, read from the log alone.
//!
//! Start at [`check`]. Nothing here asks the workers, save the state that they ended with.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::ControlFlow;

use bellhop_core::avro::{Avro, Reader as Datum};
use bellhop_core::engine::{CommandConflicted, EngineRecord, Genesis, Parked, ParkedKind, Tick};
use bellhop_core::history::History;
use bellhop_core::limits::KEY_BYTES_MAX;
use bellhop_core::message::{LogId, Message, Meta, Position, Timestamp};
use bellhop_core::record::{Header, PackedHeaders, unframe};
use bellhop_core::rules::{ChangeRules, Rules, RulesChanged};
use bellhop_core::task::{Config, Task, UnknownSchema};
use bellhop_runtime::log::simulated::Tool;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::wiring::Wiring;
use bellhop_schemas::event::ReservationExtended;
use uuid::Uuid;

use super::commands::{Fate, NOTE};
use super::house::Houses;
use crate::toy::{Added, Move, Scheduled};

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
    /// No request takes a night above its limit; facts list what they oversell.
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    }
}

/// A record, owned.
#[derive(Debug, Clone)]
struct Row {
    offset: u64,
    timestamp: Timestamp,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Reads all of a partition.
fn rows(tool: &mut Tool, topic: Topic, partition: u32) -> Result<Vec<Row>, Broken> {
    let mut rows = Vec::new();
    let read = tool.read(topic, partition, 0, &mut |record| {
        rows.push(Row {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), header.value.to_vec()))
                .collect(),
        });
        ControlFlow::Continue(())
    });
    match read {
        Ok(_) => Ok(rows),
        Err(error) => Err(Broken { promise: Promise::Progress, what: error.to_string() }),
    }
}

/// What a partition is checked against.
pub struct Expected<'a> {
    /// The task's configuration.
    pub config: &'a Config,
    /// What was sent, by position.
    pub sent: &'a BTreeMap<Position, Fate>,
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
    note(Promise::NeverOversold, nothing_oversold(&events, wiring, tally));
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

/// What the log holds about each command, by its offset.
#[derive(Default)]
struct Outcomes {
    /// Those of the genesis.
    rules: Option<Rules>,
    events: BTreeMap<u64, Vec<Event>>,
    parked: BTreeMap<u64, Parked>,
}

struct Event {
    name: String,
    meta: Meta,
    body: Vec<u8>,
}

impl Event {
    /// Whether a timer led to it: a command has a key.
    fn is_timed(&self) -> bool {
        self.meta.source.as_ref().is_some_and(|source| source.idempotency_key.is_none())
    }
}

impl Outcomes {
    fn of(
        events: &[Row],
        parked: &[Row],
        expected: &Expected<'_>,
        wiring: &Wiring,
    ) -> Result<Self, String> {
        let mut outcomes = Self::default();
        let log_id = expected.config.log_id;
        let mut last = None;
        for (number, row) in events.iter().enumerate() {
            let offset = row.offset;
            let (name, datum) = message(row, wiring)?;
            let mut reader = Datum::new(datum);
            let meta = Meta::decode(&mut reader).map_err(|error| error.to_string())?;
            let Some(source) = &meta.source else {
                if number == 0 && name == Genesis::NAME {
                    let genesis =
                        Genesis::decode(&mut reader).map_err(|error| error.to_string())?;
                    outcomes.rules = Some(genesis.rules);
                    continue;
                }
                return Err(format!("event {offset} is a second genesis, or has no source"));
            };
            if number == 0 {
                return Err("the events do not begin with a genesis".to_owned());
            }
            let at = (source.position(), source.index);
            if last >= Some(at) {
                return Err(format!("event {offset} of {at:?} follows one of {last:?}"));
            }
            last = Some(at);
            if meta.message_id != log_id.message_id(at.0, at.1) {
                return Err(format!("event {offset} of {at:?} has the id {}", meta.message_id));
            }
            let body = reader.rest().to_vec();
            let events = outcomes.events.entry(at.0.offset).or_default();
            events.push(Event { name: name.to_owned(), meta, body });
        }
        for row in parked {
            let (_, datum) = message(row, wiring)?;
            let parked =
                Parked::decode(&mut Datum::new(datum)).map_err(|error| error.to_string())?;
            let offset = parked.offset.cast_unsigned();
            if outcomes.parked.insert(offset, parked).is_some() {
                return Err(format!("the command at {offset} is parked twice"));
            }
        }
        Ok(outcomes)
    }

    /// Goes through the commands with a memory of keys that is written for this purpose alone.
    fn each_command_has_one(
        mut self,
        commands: &[Row],
        expected: &Expected<'_>,
        wiring: &Wiring,
        cascades: &mut Cascades,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let mut timers = Timers::default();
        let config = expected.config;
        let mut memory = Memory::of(self.rules.unwrap_or(config.rules));
        for row in commands {
            tally.commands += 1;
            let offset = row.offset;
            let now = memory.advance(row.timestamp);
            let mut events = self.events.remove(&offset).unwrap_or_default();
            let timed = events.iter().take_while(|event| event.is_timed()).count();
            let mut rest = events.split_off(timed);
            let extended = |event: &Event| event.name == ReservationExtended::NAME;
            for event in events.iter().filter(|event| extended(event)) {
                tally.timed += 1;
                if event.meta.occurred_at != now {
                    return Err(format!("what came due at {offset} says another time"));
                }
            }
            // What came due before the command is not of it.
            events.retain(|event| !extended(event));
            events.append(&mut rest);
            tally.fired +=
                timers.fire(now, &mut events).map_err(|what| format!("at {offset}: {what}"))?;
            let parked = self.parked.remove(&offset);
            let position = Position { partition: config.partition, offset };
            let id = row.value.as_deref().and_then(unframe).map(|(id, _)| id);
            let name = id.and_then(|id| wiring.wire().name_of(id)).unwrap_or_default();
            let fate = match expected.sent.get(&position) {
                Some(fate) => fate,
                // Nobody sent it: a tick of a worker's, or a command that another one led to.
                None if name == Tick::NAME => {
                    if !events.is_empty() || parked.is_some() {
                        return Err(format!("the tick at {offset} has an outcome"));
                    }
                    continue;
                }
                None => {
                    cascades.find(row)?;
                    &Fate::Command
                }
            };
            let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
            let outcomes = names.len() + usize::from(parked.is_some());
            let is_parked = match fate {
                Fate::Parked(_) => true,
                Fate::Command | Fate::Rules => false,
                Fate::Either => parked.is_some(),
            };
            if is_parked {
                tally.parked += 1;
                let Some(parked) = parked.filter(|_| outcomes == 1) else {
                    return Err(format!("the command at {offset}, {fate:?}, has {names:?}"));
                };
                same_as_sent(&parked, row, *fate, memory.rules.value_bytes_max as usize)?;
                continue;
            }
            if let Some(parked) = parked {
                return Err(format!("the command at {offset} is parked: {}", parked.cause));
            }
            if *fate == Fate::Rules {
                let [event] = events.as_slice() else {
                    return Err(format!("the change of rules at {offset} has {names:?}"));
                };
                let changed = RulesChanged::decode(&mut Datum::new(&event.body));
                let asked = change_asked(row)?;
                if event.name != RulesChanged::NAME || changed.map(|it| it.after) != Ok(asked) {
                    return Err(format!(
                        "the change of rules at {offset} to {asked:?} has {names:?}"
                    ));
                }
                tally.rules += 1;
                memory.follow(asked);
                continue;
            }
            let asked = Asked::of(row, expected.newer)?;
            match memory.recall(&asked) {
                None => {
                    let [event] = events.as_slice() else {
                        return Err(format!("the command at {offset} has the outcomes {names:?}"));
                    };
                    if event.name == CommandConflicted::NAME || event.meta.occurred_at != now {
                        return Err(format!("the new command at {offset} has {names:?}"));
                    }
                    tally.decided += 1;
                    let id = event.meta.message_id;
                    timers.set(event)?;
                    if name == Move::NAME && event.name == Added::NAME {
                        cascades
                            .asked
                            .insert(config.log_id.message_id(position, index_of(event) + 1));
                        tally.cascades += 1;
                    }
                    memory.remember(asked, id, now);
                }
                Some(first) if first.payload == asked.payload => {
                    tally.repeats += 1;
                    if !events.is_empty() {
                        return Err(format!("the repeat at {offset} has the outcomes {names:?}"));
                    }
                }
                Some(first) => {
                    tally.conflicts += 1;
                    let [event] = events.as_slice() else {
                        return Err(format!("the conflict at {offset} has {names:?}"));
                    };
                    let conflict = CommandConflicted::decode(&mut Datum::new(&event.body));
                    let named = conflict.map(|conflict| conflict.first_event_id);
                    if event.name != CommandConflicted::NAME || named != Ok(first.event) {
                        return Err(format!(
                            "the conflict at {offset} has {names:?} on {named:?}, first is {}",
                            first.event
                        ));
                    }
                }
            }
        }
        match (self.events.keys().next(), self.parked.keys().next()) {
            (None, None) => Ok(()),
            (event, parked) => {
                Err(format!("outcomes of no command: event of {event:?}, parked {parked:?}"))
            }
        }
    }
}

/// The rules that a record asks for.
fn change_asked(row: &Row) -> Result<Rules, String> {
    let datum = row.value.as_deref().and_then(unframe).map(|(_, datum)| datum);
    let mut reader = Datum::new(datum.unwrap_or_default());
    let read = Meta::decode(&mut reader).and_then(|_| ChangeRules::decode(&mut reader));
    read.map(|change| change.rules).map_err(|error| error.to_string())
}

fn message<'r>(row: &'r Row, wiring: &'r Wiring) -> Result<(&'r str, &'r [u8]), String> {
    let framed = row.value.as_deref().and_then(unframe);
    let (id, datum) = framed.ok_or_else(|| format!("record {} has no frame", row.offset))?;
    let name = wiring.wire().name_of(id);
    Ok((name.ok_or_else(|| format!("record {} has schema id {id}", row.offset))?, datum))
}

fn same_as_sent(parked: &Parked, row: &Row, fate: Fate, bytes_max: usize) -> Result<(), String> {
    let value = row.value.as_deref();
    let kept = parked.value.as_ref().map(|value| value.0.as_slice());
    let whole = parked.kind != ParkedKind::TooLarge || value.is_some_and(|v| v.len() <= bytes_max);
    let key = parked.key.as_ref().map(|key| key.0.as_slice());
    let sent_key = row.key.as_deref().map(|key| key.get(..KEY_BYTES_MAX).unwrap_or(key));
    let key_bytes = row.key.as_ref().map_or(0, Vec::len) as i64;
    let headers = parked.headers.iter().zip(&row.headers);
    let headers_fit = headers
        .clone()
        .all(|(kept, (name, value))| (&kept.name, &kept.value.0) == (name, value))
        && parked.header_count == row.headers.len() as i64
        && (headers.len() == row.headers.len() || row.headers.iter().any(|it| it.1.len() > 60_000));
    let kind_fits = match fate {
        Fate::Parked(kind) => kind == parked.kind,
        Fate::Either | Fate::Command | Fate::Rules => true,
    };
    let key_fits = key == sent_key && parked.key_bytes == key_bytes;
    if !kind_fits || !key_fits || !headers_fit || whole && kept != value {
        return Err(format!("the command at {}, {fate:?}, is parked as {parked:?}", row.offset));
    }
    Ok(())
}

/// Commands that others led to, over all partitions.
#[derive(Debug, Default)]
pub struct Cascades {
    asked: BTreeSet<Uuid>,
    found: BTreeSet<Uuid>,
}

impl Cascades {
    fn find(&mut self, row: &Row) -> Result<(), String> {
        let foreign = || format!("the command at {} was not sent by anybody", row.offset);
        let (_, datum) = row.value.as_deref().and_then(unframe).ok_or_else(foreign)?;
        let meta = Meta::decode(&mut Datum::new(datum)).map_err(|_| foreign())?;
        let depth = meta.source.as_ref().map_or(0, |source| source.depth);
        if depth == 0 {
            return Err(foreign());
        }
        match self.found.insert(meta.message_id) {
            true => Ok(()),
            false => Err(format!("the cascade at {} stands there twice", row.offset)),
        }
    }

    /// Each that was asked for was sent, and no other.
    #[must_use]
    pub fn check(&self) -> Option<Broken> {
        let Self { asked, found } = self;
        (asked != found).then(|| {
            let what = format!("{} cascades, {} were asked for", found.len(), asked.len());
            Broken { promise: Promise::ExactlyOnce, what }
        })
    }
}

/// The timers that are set: by due time and the event that set them.
#[derive(Debug, Default)]
struct Timers(BTreeSet<(Timestamp, Uuid)>);

impl Timers {
    fn set(&mut self, event: &Event) -> Result<(), String> {
        if event.name == Scheduled::NAME {
            let scheduled = Scheduled::decode(&mut Datum::new(&event.body));
            let due = scheduled.map_err(|error| error.to_string())?.due;
            let due = due.max(Timestamp(event.meta.occurred_at.0 + 1));
            self.0.insert((due, event.meta.message_id));
        }
        Ok(())
    }

    /// Takes the events of due timers off the front; gives how many.
    fn fire(&mut self, now: Timestamp, events: &mut Vec<Event>) -> Result<u64, String> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.0.first().copied().filter(|(at, _)| *at <= now) {
            self.0.remove(&(at, id));
            due.push(Some(id));
        }
        let by_timer = |event: &&Event| {
            let source = event.meta.source.as_ref();
            event.name == Added::NAME && source.is_some_and(|it| it.idempotency_key.is_none())
        };
        let fired = events.iter().take_while(by_timer).count();
        let found: Vec<_> = events.drain(..fired).map(|event| event.meta.causation_id).collect();
        match found == due {
            true => Ok(fired as u64),
            false => Err(format!("the timers of {due:?} are due, those of {found:?} fired")),
        }
    }
}

fn index_of(event: &Event) -> u16 {
    event.meta.source.as_ref().map_or(0, |source| source.index)
}

/// A command as the memory of keys sees it.
struct Asked {
    key: (Vec<u8>, String),
    payload: Vec<u8>,
}

impl Asked {
    fn of(row: &Row, newer: &BTreeMap<u32, u32>) -> Result<Self, String> {
        let undecodable = || format!("the command at {} was not parked", row.offset);
        let (id, datum) = row.value.as_deref().and_then(unframe).ok_or_else(undecodable)?;
        let mut reader = Datum::new(datum);
        let meta = Meta::decode(&mut reader).map_err(|_| undecodable())?;
        let own = meta.idempotency_key.map_or(meta.message_id.to_string(), String::from);
        // What a newer producer adds is not read, and so not another payload.
        let (id, body) = match newer.iter().find(|(_, newer)| **newer == id) {
            None => (id, reader.rest()),
            Some((own, _)) => (*own, reader.rest().split_at(reader.rest().len() - NOTE.len()).0),
        };
        let payload = [&id.to_be_bytes(), body].concat();
        Ok(Self { key: (row.key.clone().unwrap_or_default(), own), payload })
    }
}

struct First {
    payload: Vec<u8>,
    event: Uuid,
    hour: i64,
}

/// Keys and first outcomes, as a map.
struct Memory {
    now: Timestamp,
    rules: Rules,
    firsts: HashMap<(Vec<u8>, String), First>,
}

impl Memory {
    fn of(rules: Rules) -> Self {
        Self { now: Timestamp::MIN, rules, firsts: HashMap::new() }
    }

    /// What is forgotten by now stays so.
    fn follow(&mut self, rules: Rules) {
        let oldest = self.oldest();
        self.firsts.retain(|_, first| first.hour >= oldest);
        self.rules = rules;
    }

    fn oldest(&self) -> i64 {
        self.now.hour().saturating_sub(i64::from(self.rules.idempotency_hours))
    }

    fn advance(&mut self, timestamp: Timestamp) -> Timestamp {
        self.now = self.now.max(timestamp);
        self.now
    }

    fn recall(&self, asked: &Asked) -> Option<&First> {
        let oldest = self.oldest();
        self.firsts.get(&asked.key).filter(|first| first.hour >= oldest)
    }

    fn remember(&mut self, asked: Asked, event: Uuid, now: Timestamp) {
        let Asked { key, payload } = asked;
        self.firsts.insert(key, First { payload, event, hour: now.hour() });
    }
}

fn nothing_oversold(events: &[Row], wiring: &Wiring, tally: &mut Tally) -> Result<(), String> {
    let mut houses = Houses::default();
    for row in events {
        let (name, datum) = message(row, wiring)?;
        houses.count(name, datum).map_err(|what| format!("event {} {name}: {what}", row.offset))?;
    }
    tally.booked += houses.requests;
    tally.oversold += houses.oversold;
    Ok(())
}

fn state_is_the_fold(
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
        let folded = anew.fold(key, row.value.as_deref().unwrap_or_default());
        folded.map_err(|error| format!("event {}: {error}", row.offset))?;
    }
    anew.resume(live.progress());
    live.first_difference(&anew).map_or(Ok(()), Err)
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
fn as_one_task(
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
                    && row.value.as_deref() == Some(record.value)
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

fn has_headers(row: &Row, packed: PackedHeaders<'_>) -> bool {
    let found = row.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    packed.iter().map(|header| (header.name, header.value)).eq(found)
}

fn task(wiring: &Wiring, config: &Config) -> Task {
    Task::new(config.clone(), wiring.topology().clone(), wiring.wire().clone())
}

/// The log id of a reader, for a configuration.
#[must_use]
pub fn log_id(tool: &Tool) -> LogId {
    tool.identity().log_id
}
