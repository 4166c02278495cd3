//! Counters: the smallest domain that decides, refuses, cascades, waits, and breaks.

#![expect(missing_docs, reason = "a toy; the names say it")]

use std::fmt;

use bellhop_core::message::MessageKey;
use bellhop_core::prelude::*;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro)]
pub struct CounterId(pub Uuid);

impl fmt::Display for CounterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl MessageKey for CounterId {
    fn write(&self, out: &mut Vec<u8>) {
        let mut text = Uuid::encode_buffer();
        out.extend_from_slice(self.0.hyphenated().encode_lower(&mut text).as_bytes());
    }
}

impl StoreKey for CounterId {
    type Partition = Self;
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
#[avro(name = "toy.Counter")]
pub struct Counter {
    pub total: i64,
    pub changes: i64,
}

impl State for Counter {
    const NAME: &'static str = "counters";
    type Key = CounterId;
}

/// Adds to a counter that never falls below zero. The handler panics for `i64::MIN`, the processor
/// for `i64::MAX`.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "toy.Add")]
#[message(key = counter)]
pub struct Add {
    pub counter: CounterId,
    pub amount: i64,
    pub note: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "toy.Added")]
#[message(key = counter, type = "counter.added")]
pub struct Added {
    pub counter: CounterId,
    pub amount: i64,
    pub total: i64,
    pub note: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "toy.Refused")]
#[message(key = counter, type = "counter.refused", code = code)]
pub struct Refused {
    pub counter: CounterId,
    pub missing: i64,
}

impl Refused {
    fn code(&self) -> u16 {
        1
    }
}

/// Moves an amount to another counter, by a command to it.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "toy.Move")]
#[message(key = counter)]
pub struct Move {
    pub counter: CounterId,
    pub to: CounterId,
    pub amount: i64,
}

/// Adds at a later time.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "toy.AddLater")]
#[message(key = counter)]
pub struct AddLater {
    pub counter: CounterId,
    pub amount: i64,
    pub due: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "toy.Scheduled")]
#[message(key = counter, type = "counter.scheduled")]
pub struct Scheduled {
    pub counter: CounterId,
    pub amount: i64,
    pub due: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Timer)]
#[avro(name = "toy.AddDue")]
#[message(key = counter)]
pub struct AddDue {
    pub counter: CounterId,
    pub amount: i64,
}

pub struct Missing(i64);

impl Refusal<Add> for Missing {
    type Event = Refused;
    fn refuse(self, command: &Add, _: &Context<'_>) -> Refused {
        Refused { counter: command.counter, missing: self.0 }
    }
}

impl Refusal<Move> for Missing {
    type Event = Refused;
    fn refuse(self, command: &Move, _: &Context<'_>) -> Refused {
        Refused { counter: command.counter, missing: self.0 }
    }
}

fn total(counters: &Store<Counter>, counter: CounterId) -> i64 {
    counters.get(&counter).map_or(0, |counter| counter.total)
}

#[handler]
pub fn add(command: Add, counters: &Store<Counter>) -> Result<Added, Missing> {
    let Add { counter, amount, note } = command;
    assert!(amount != i64::MIN, "an amount that nobody has");
    match total(counters, counter).saturating_add(amount) {
        below @ i64::MIN..0 => Err(Missing(-below)),
        total => Ok(Added { counter, amount, total, note }),
    }
}

#[handler]
pub fn move_amount(command: Move, counters: &Store<Counter>) -> Result<(Added, Add), Missing> {
    let Move { counter, to, amount } = command;
    match total(counters, counter) - amount {
        below @ i64::MIN..0 => Err(Missing(-below)),
        total => {
            let taken = Added { counter, amount: -amount, total, note: "moved".to_owned() };
            Ok((taken, Add { counter: to, amount, note: "moved".to_owned() }))
        }
    }
}

#[handler]
pub fn add_later(command: AddLater) -> Scheduled {
    let AddLater { counter, amount, due } = command;
    Scheduled { counter, amount, due }
}

#[handler]
pub fn add_due(timer: AddDue, counters: &Store<Counter>) -> Added {
    let AddDue { counter, amount } = timer;
    let total = total(counters, counter) + amount;
    Added { counter, amount, total, note: "later".to_owned() }
}

#[processor]
pub fn count(event: &Added, counters: &mut Store<Counter>) {
    let counter = counters.entry(event.counter, Counter::default);
    counter.changes += 1;
    assert!(event.amount != i64::MAX, "a counter that is full");
    counter.total = event.total;
}

#[processor]
pub fn set_timer(event: &Scheduled, timers: &mut Timers) {
    timers.set(event.due, &AddDue { counter: event.counter, amount: event.amount });
}
