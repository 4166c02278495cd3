//! Every command has exactly one outcome.

use std::collections::BTreeMap;

use bellhop_core::avro::{Avro, Reader as Datum};
use bellhop_core::engine::{CommandConflicted, EngineRecord, Genesis, Parked, ParkedKind, Tick};
use bellhop_core::limits::KEY_BYTES_MAX;
use bellhop_core::message::{Message, Meta, Position};
use bellhop_core::record::unframe;
use bellhop_core::rules::{ChangeRules, Rules, RulesChanged};
use bellhop_runtime::wiring::Wiring;
use bellhop_schemas::event::ReservationExtended;

use super::keys::{Keyed, Memory};
use super::rows::{Row, message};
use super::timers::{Cascades, Timers};
use super::{Expected, Tally};
use crate::sim::commands::Fate;
use crate::sim::plan::NEWER_VERSION;
use crate::toy::{Added, Move};

/// What the log holds about each command, by its offset.
#[derive(Default)]
pub(super) struct Outcomes {
    /// Those of the genesis.
    rules: Option<Rules>,
    events: BTreeMap<u64, Vec<Event>>,
    parked: BTreeMap<u64, Parked>,
}

pub(super) struct Event {
    pub(super) name: String,
    pub(super) meta: Meta,
    pub(super) body: Vec<u8>,
}

impl Event {
    /// Whether a timer led to it: a command has a key.
    fn is_timed(&self) -> bool {
        self.meta.source.as_ref().is_some_and(|source| source.idempotency_key.is_none())
    }
}

impl Outcomes {
    pub(super) fn of(
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
    pub(super) fn each_command_has_one(
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
        let sources = self.events.values().flatten().filter_map(|it| it.meta.source.as_ref());
        tally.newer += sources.filter(|it| it.decided_by == NEWER_VERSION).count() as u64;
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
                Some(sent) => &sent.fate,
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
            let asked = Keyed::of(row, expected.sent.get(&position), expected.newer)?;
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

fn index_of(event: &Event) -> u16 {
    event.meta.source.as_ref().map_or(0, |source| source.index)
}
