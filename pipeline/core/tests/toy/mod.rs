//! A bank of piggy boxes: the smallest domain that uses every convention.

#![allow(unreachable_pub, dead_code, missing_docs, reason = "each test uses its part")]

use std::fmt;

use bellhop_core::message::MessageKey;
use bellhop_core::prelude::*;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro)]
pub struct BoxId(pub Uuid);

impl fmt::Display for BoxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl MessageKey for BoxId {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }
}

impl StoreKey for BoxId {
    type Partition = Self;
}

/// Coins of a box.
#[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
#[avro(name = "toy.Coins")]
pub struct Coins {
    pub coins: i64,
}

impl State for Coins {
    const NAME: &'static str = "coins";
    type Key = BoxId;
}

/// What happened to a box, as the second processor of an event saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
#[avro(name = "toy.Journal")]
pub struct Journal {
    pub lines: Vec<String>,
}

impl State for Journal {
    const NAME: &'static str = "journal";
    type Key = BoxId;
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "toy.PutIn")]
#[message(key = box_id)]
pub struct PutIn {
    pub box_id: BoxId,
    pub coins: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "toy.PutInDone")]
#[message(key = box_id, type = "coins.put_in")]
pub struct PutInDone {
    pub box_id: BoxId,
    pub coins: i64,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "toy.TakeOut")]
#[message(key = box_id)]
pub struct TakeOut {
    pub box_id: BoxId,
    pub coins: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "toy.TakenOut")]
#[message(key = box_id, type = "coins.taken_out")]
pub struct TakenOut {
    pub box_id: BoxId,
    pub coins: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "toy.Refused")]
#[message(key = box_id, type = "coins.refused", code = code, codes = Objection)]
pub struct Refused {
    pub box_id: BoxId,
    pub missing: i64,
}

impl Refused {
    fn code(&self) -> u16 {
        Objection::TooFewCoins as u16 + 1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Avro)]
#[avro(name = "toy.Objection")]
pub enum Objection {
    /// The box is shut.
    ///
    /// Open it.
    Shut,
    /// The box has fewer coins
    /// than are asked for.
    ///
    /// Ask for less,
    ///
    /// or put some in.
    TooFewCoins,
}

/// Puts back what was taken when the time is over.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Timer)]
#[avro(name = "toy.LoanDue")]
#[message(key = box_id)]
pub struct LoanDue {
    pub box_id: BoxId,
    pub coins: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "toy.Lend")]
#[message(key = box_id)]
pub struct Lend {
    pub box_id: BoxId,
    pub coins: i64,
    pub due: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "toy.Lent")]
#[message(key = box_id, type = "coins.lent")]
pub struct Lent {
    pub box_id: BoxId,
    pub coins: i64,
    pub due: Timestamp,
}

/// Panics for some values, says nothing for others, cascades for the rest.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "toy.Poke")]
#[message(key = box_id)]
pub struct Poke {
    pub box_id: BoxId,
    pub how: i32,
}

/// Asks for as many echoes as a message may be too small for.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "toy.Shout")]
#[message(key = box_id)]
pub struct Shout {
    pub box_id: BoxId,
    pub times: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "toy.Echoed")]
#[message(key = box_id, type = "box.echoed")]
pub struct Echoed {
    pub box_id: BoxId,
    pub echoes: Vec<i64>,
}

pub struct Missing(i64);

impl Refusal<TakeOut> for Missing {
    type Event = Refused;
    fn refuse(self, command: &TakeOut, _: &Context<'_>) -> Refused {
        Refused { box_id: command.box_id, missing: self.0 }
    }
}

#[handler]
pub fn put_in(command: PutIn, cx: &Context<'_>) -> Option<PutInDone> {
    let PutIn { box_id, coins } = command;
    (coins != 0).then_some(PutInDone { box_id, coins, now: cx.now })
}

/// A compound handler: what a step returns is injected into later ones by its type.
#[handler]
pub mod take_out {
    use super::*;

    pub struct Balance(i64);

    pub fn load(command: &TakeOut, coins: &Store<Coins>) -> Balance {
        Balance(coins.get(&command.box_id).map_or(0, |coins| coins.coins))
    }

    pub fn validate(command: &TakeOut, balance: &Balance) -> Result<(), Missing> {
        match command.coins - balance.0 {
            missing if missing > 0 => Err(Missing(missing)),
            _ => Ok(()),
        }
    }

    pub fn handle(command: &TakeOut) -> TakenOut {
        TakenOut { box_id: command.box_id, coins: command.coins }
    }

    /// Who empties a box pokes it.
    pub fn after(command: &TakeOut, balance: &Balance, taken: &TakenOut) -> Option<Poke> {
        (balance.0 == taken.coins).then_some(Poke { box_id: command.box_id, how: 1 })
    }
}

#[handler]
pub fn lend(command: Lend) -> (TakenOut, Vec<Lent>) {
    let Lend { box_id, coins, due } = command;
    (TakenOut { box_id, coins }, vec![Lent { box_id, coins, due }])
}

#[handler]
pub fn loan_due(timer: LoanDue, cx: &Context<'_>) -> PutInDone {
    PutInDone { box_id: timer.box_id, coins: timer.coins, now: cx.now }
}

#[handler]
pub fn poke(command: Poke) -> Option<Poke> {
    assert!(command.how >= 0, "poked with {}", command.how);
    (command.how > 1).then_some(command)
}

#[handler]
pub fn shout(command: Shout) -> (Lend, Echoed) {
    let Shout { box_id, times } = command;
    (
        Lend { box_id, coins: 0, due: Timestamp(0) },
        Echoed { box_id, echoes: vec![0; times as usize] },
    )
}

/// An echo is worth a coin.
#[processor]
pub fn count_echoes(event: &Echoed, coins: &mut Store<Coins>) {
    coins.entry(event.box_id, Coins::default).coins += event.echoes.len() as i64;
}

#[processor]
pub fn add_coins(event: &PutInDone, coins: &mut Store<Coins>) {
    assert!(event.coins != i64::MAX, "too many coins");
    coins.entry(event.box_id, Coins::default).coins += event.coins;
}

/// Runs before `add_coins`: `a_...` comes first by name.
#[processor]
pub fn a_journal_before(event: &PutInDone, journal: &mut Store<Journal>, coins: &Store<Coins>) {
    let before = coins.get(&event.box_id).map_or(0, |coins| coins.coins);
    let line = format!("{before} and {}", event.coins);
    journal.entry(event.box_id, Journal::default).lines.push(line);
}

#[processor]
pub fn remove_coins(event: &TakenOut, coins: &mut Store<Coins>) {
    coins.entry(event.box_id, Coins::default).coins -= event.coins;
}

#[processor]
pub fn set_loan_timer(event: &Lent, timers: &mut Timers) {
    timers.set(event.due, &LoanDue { box_id: event.box_id, coins: event.coins });
}

pub fn a_box() -> BoxId {
    BoxId(Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888))
}
