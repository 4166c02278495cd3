//! Random commands: few properties, few products, few nights, so that all contend for the same.
//!
//! Most commands are what a desk sends; some repeat a key with the same payload or with another;
//! some are what no producer should send, and are to be parked.

use bellhop_core::avro::Avro;
use bellhop_core::engine::{EngineRecord, ParkedKind};
use bellhop_core::limits::{
    CORRELATION_ID_BYTES_MAX, HEADER_LENGTHS_BYTES, IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX,
    PARKED_HEADERS_BYTES_MAX,
};
use bellhop_core::message::{Message, MessageKey, Meta, Timestamp};
use bellhop_core::partition::partition_of;
use bellhop_core::record::frame;
use bellhop_core::rules::{ChangeRules, Rules};
use bellhop_core::task::{CORRELATION_ID, REPLY_TO};
use bellhop_core::topology::Wire;
use bellhop_runtime::log::simulated::Random;
use bellhop_schemas::command::{
    Acceptance, Assignment, CancelReservation, CheckIn, CheckOut, CreateReservation, DefineProduct,
    DefineProperty, MarkNoShow, MoveReservation, ProductKind, SetOverbooking, SetPhysicalCount,
};
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::event::ReservationCreated;
use bellhop_schemas::ids::{ExternalRef, ProductCode, PropertyId, ReservationId};
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Price, PricedBy, RequestedLine};
use uuid::Uuid;

use super::plan::HOURS;
use super::writers::{Form, Writers};
use crate::datum::Writer;
use crate::hands::counter_in;
use crate::toy::{Add, AddLater, Move};

/// Products that a property may have.
const PRODUCTS: [&str; 3] = ["STD", "DLX", "PARKING"];
/// Their zones: clocks change in some while a run lasts.
const ZONES: [&str; 7] = [
    "Europe/Lisbon",
    "Europe/Lisbon",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
];
/// A schema id that nobody ever registers.
const NO_SCHEMA: u32 = 4_000_000;
/// The field that newer producers add at the end, as bytes: a text of one letter.
pub const NOTE: &[u8] = &[2, b'n'];
/// The topic that asks to be answered name.
pub const REPLIES: &str = "bellhop.replies";
/// Sent commands that may be repeated.
const REMEMBERED: usize = 60;

/// What is to become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is a command: decided, repeated or in conflict.
    Command,
    /// It changes the rules: one event says so.
    Rules,
    /// It is parked.
    Parked(ParkedKind),
    /// Its bytes were damaged at random: either, and once.
    Either,
}

/// A record of the commands topic before it is sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Where it goes.
    pub partition: u32,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// What is to become of it.
    pub fate: Fate,
    /// The command that it is, where it is known to be one.
    pub plain: Option<Plain>,
}

/// A command in our own schema and encoding, whatever its record is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// Its idempotency key, or its message id.
    pub idempotency_key: String,
    /// The id of our schema.
    pub schema_id: u32,
    /// The command without its metadata.
    pub body: Vec<u8>,
}

/// What is known of a record that was sent.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// What is to become of it.
    pub fate: Fate,
    /// The command that it is, where it is known to be one.
    pub plain: Option<Plain>,
}

/// A command that was sent and may be sent again.
#[derive(Debug, Clone)]
struct Sent {
    property: PropertyId,
    schema_id: u32,
    idempotency_key: String,
    body: Vec<u8>,
}

#[derive(Debug)]
struct Property {
    id: PropertyId,
    /// Catalog commands that are still to be sent, last first.
    catalog: Vec<&'static str>,
    house: i32,
    reservations: Vec<ReservationId>,
}

/// Makes commands.
#[derive(Debug)]
pub struct Desk {
    random: Random,
    partitions: u32,
    rules: Rules,
    properties: Vec<Property>,
    writers: Writers,
    counters: bool,
    sent: Vec<Sent>,
    count: u64,
}

impl Desk {
    /// For some properties, on a log that is made with these rules.
    #[must_use]
    pub fn new(mut random: Random, properties: usize, partitions: u32, rules: Rules) -> Self {
        let properties = (0..properties).map(|_| Property {
            id: PropertyId(uuid(&mut random)),
            catalog: vec!["PARKING", "DLX", "STD", "house"],
            house: random.between(1, 7) as i32,
            reservations: Vec::new(),
        });
        let properties = properties.collect();
        let (sent, count) = (Vec::new(), 0);
        let (writers, counters) = (Writers::default(), false);
        Self { random, partitions, rules, properties, writers, counters, sent, count }
    }

    /// Some commands as others write them.
    #[must_use]
    pub fn with_writers(self, writers: Writers) -> Self {
        Self { writers, ..self }
    }

    /// Some commands to counters.
    #[must_use]
    pub fn with_counters(self, counters: bool) -> Self {
        Self { counters, ..self }
    }

    /// The next record, at an instant.
    pub fn next(&mut self, wire: &Wire, now: Timestamp) -> Draft {
        self.count += 1;
        if self.random.chance(100) {
            return self.change_rules(wire);
        }
        if self.counters && self.random.chance(1_500) {
            return self.count_something(wire, now);
        }
        let sent = match self.random.below(100) {
            0..8 => self.again(),
            8..11 => self.in_conflict(wire, now),
            _ => None,
        };
        let sent = match sent {
            Some(sent) => sent,
            None => self.fresh(wire, now),
        };
        if self.random.chance(800) { self.junk(wire, &sent) } else { self.draft(&sent, true) }
    }

    /// A record of a command; `may_differ` lets it be in any form.
    fn draft(&mut self, sent: &Sent, may_differ: bool) -> Draft {
        // A key may be left to the message id; repeats then share the id.
        let by_id = sent.idempotency_key.len() == 36;
        let id = if by_id { sent.idempotency_key.parse().ok() } else { None };
        let meta = Meta {
            message_id: id.unwrap_or_else(|| uuid(&mut self.random)),
            idempotency_key: (!by_id).then(|| sent.idempotency_key.as_str().into()),
            correlation_id: self.random.chance(3_000).then(|| uuid(&mut self.random)),
            causation_id: None,
            occurred_at: Timestamp(self.random.between(0, 1 << 50)),
            source: None,
        };
        let mut key = Vec::new();
        sent.property.write(&mut key);
        let form = match self.random.below(20) {
            0..3 => Form::Newer,
            3..5 if may_differ => Form::Loose,
            5..7 if may_differ => Form::Other(Writer::Reversed),
            7..9 if may_differ => Form::Other(Writer::Lacking),
            _ => Form::Own,
        };
        let plain = Plain {
            idempotency_key: sent.idempotency_key.clone(),
            schema_id: sent.schema_id,
            body: sent.body.clone(),
        };
        let value = self.writers.value(form, &meta, &plain, &mut self.random);
        let asks = self.random.chance(300);
        let headers = if asks { reply_to(CORRELATION_ID_BYTES_MAX) } else { Vec::new() };
        Draft {
            partition: partition_of(&key, self.partitions),
            key: Some(key),
            value: Some(value),
            headers,
            fate: Fate::Command,
            plain: Some(plain),
        }
    }

    /// A command to one of a few counters, in any partition.
    fn count_something(&mut self, wire: &Wire, now: Timestamp) -> Draft {
        let partitions = self.partitions;
        let counter = |random: &mut Random| {
            let partition = random.below(u64::from(partitions)) as u32;
            counter_in(partition, partitions, random.below(2) as u32)
        };
        let random = &mut self.random;
        let (counter, to) = (counter(random), counter(random));
        let (schema_id, body) = match random.below(3) {
            0 => {
                let (amount, note) = (random.between(-2, 9), String::new());
                encoded(wire, &Add { counter, amount, note })
            }
            1 => encoded(wire, &Move { counter, to, amount: random.between(1, 4) }),
            _ => {
                let due = Timestamp(now.0 + random.between(-10, 30_000_000));
                encoded(wire, &AddLater { counter, amount: random.between(1, 4), due })
            }
        };
        let idempotency_key = format!("counter-{}", self.count);
        let meta = Meta::of_command(uuid(&mut self.random), &idempotency_key, Timestamp(0));
        let mut key = Vec::new();
        counter.write(&mut key);
        let value = Some(framed(schema_id, &meta, &body));
        let partition = partition_of(&key, partitions);
        let (headers, plain) = (Vec::new(), Some(Plain { idempotency_key, schema_id, body }));
        Draft { partition, key: Some(key), value, headers, fate: Fate::Command, plain }
    }

    /// Keys are remembered longer or shorter from here on.
    fn change_rules(&mut self, wire: &Wire) -> Draft {
        let partition = self.random.below(u64::from(self.partitions)) as u32;
        let idempotency_hours = self.random.pick(&HOURS).copied().unwrap_or(0) as u32;
        let change = ChangeRules { partition, rules: Rules { idempotency_hours, ..self.rules } };
        let mut body = Vec::new();
        change.encode(&mut body);
        let meta = Meta::of_command(uuid(&mut self.random), "rules", Timestamp(0));
        let id = wire.id_of(ChangeRules::NAME).unwrap_or(NO_SCHEMA);
        let value = Some(framed(id, &meta, &body));
        let headers = Vec::new();
        Draft { partition, key: None, value, headers, fate: Fate::Rules, plain: None }
    }

    fn again(&mut self) -> Option<Sent> {
        self.random.pick(&self.sent).cloned()
    }

    /// A new payload under an old key; of another type, at times.
    fn in_conflict(&mut self, wire: &Wire, now: Timestamp) -> Option<Sent> {
        let Sent { property, idempotency_key, .. } = self.again()?;
        let at = self.properties.iter().position(|at| at.id == property)?;
        let (schema_id, body) = self.ask(at, wire, now);
        Some(Sent { property, schema_id, idempotency_key, body })
    }

    fn fresh(&mut self, wire: &Wire, now: Timestamp) -> Sent {
        // The first property takes half of the load.
        let last = self.properties.len() as u64;
        let at = if self.random.chance(5_000) { 0 } else { self.random.below(last) as usize };
        let (schema_id, body) = self.ask(at, wire, now);
        let idempotency_key = if self.random.chance(2_000) {
            uuid(&mut self.random).hyphenated().to_string()
        } else {
            format!("key-{}", self.count)
        };
        let sent = Sent { property: self.properties[at].id, schema_id, idempotency_key, body };
        if self.sent.len() == REMEMBERED {
            let old = self.random.below(REMEMBERED as u64) as usize;
            self.sent.swap_remove(old);
        }
        self.sent.push(sent.clone());
        sent
    }

    fn ask(&mut self, at: usize, wire: &Wire, now: Timestamp) -> (u32, Vec<u8>) {
        let Self { random, properties, .. } = self;
        let property = &mut properties[at];
        let today = Night((now.0.div_euclid(86_400_000_000)) as i32);
        if !property.catalog.is_empty() && random.chance(6_000) {
            let what = property.catalog.pop().unwrap_or_default();
            return define(random, property, what, wire, false);
        }
        let reservation = random.pick(&property.reservations).copied();
        let reservation_id = reservation.or_else(|| Some(ReservationId(uuid(random))));
        let (reservation_id, external_ref) = match random.below(20) {
            0 => (None, Some(external_ref(random))),
            1 => (reservation_id, Some(external_ref(random))),
            2 => (Some(ReservationId(uuid(random))), None),
            3 if random.chance(2_000) => (None, None),
            _ => (reservation_id, None),
        };
        let property_id = property.id;
        match random.below(100) {
            0..50 => {
                let create = create(random, property, today);
                property.reservations.push(create.reservation_id);
                if property.reservations.len() > 25 {
                    property.reservations.remove(0);
                }
                encoded(wire, &create)
            }
            50..63 => {
                let cause = random.chance(3_000).then(|| match random.chance(500) {
                    true => "x".repeat(129).into(),
                    false => "guest".into(),
                });
                let command =
                    CancelReservation { property_id, reservation_id, external_ref, cause };
                encoded(wire, &command)
            }
            63..75 => {
                let assignments = (0..random.below(8).saturating_sub(5)).map(|_| Assignment {
                    line: random.between(0, 3) as u16,
                    product: product(random),
                });
                let assignments = assignments.collect();
                if random.chance(2_000) {
                    let command =
                        MoveReservation { property_id, reservation_id, external_ref, assignments };
                    return encoded(wire, &command);
                }
                let command = CheckIn { property_id, reservation_id, external_ref, assignments };
                encoded(wire, &command)
            }
            75..81 => encoded(wire, &CheckOut { property_id, reservation_id, external_ref }),
            81..86 => encoded(wire, &MarkNoShow { property_id, reservation_id, external_ref }),
            86..92 => {
                let (first_night, last_night) = range(random, today);
                let command = SetPhysicalCount {
                    property_id,
                    product: random.chance(7_000).then(|| product(random)),
                    first_night,
                    last_night,
                    count: random.between(-1, 5) as i32,
                };
                encoded(wire, &command)
            }
            92..98 => {
                let (first_night, last_night) = range(random, today);
                let command = SetOverbooking {
                    property_id,
                    product: random.chance(7_000).then(|| product(random)),
                    first_night,
                    last_night,
                    allowance: random.between(-2, 2) as i32,
                };
                encoded(wire, &command)
            }
            _ => {
                let what = *random.pick(&["house", "STD", "DLX"]).unwrap_or(&"house");
                define(random, property, what, wire, true)
            }
        }
    }

    /// Spoils a command in one of the ways that are known to happen.
    fn junk(&mut self, wire: &Wire, sent: &Sent) -> Draft {
        // What is damaged at random has to be read again by the checks.
        let mut draft = self.draft(sent, false);
        let value = draft.value.take().unwrap_or_default();
        let id = |id: u32| {
            let mut framed = Vec::new();
            frame(id, &mut framed);
            framed
        };
        let renamed = |new: u32| [id(new), value.get(5..).unwrap_or_default().to_vec()].concat();
        let near = |bound: usize, random: &mut Random| {
            bound.saturating_add_signed(random.between(-1, 1) as isize)
        };
        let (value, kind) = match self.random.below(15) {
            0 => (None, ParkedKind::Undecodable),
            1 => (Some(vec![1, 2, 3]), ParkedKind::Undecodable),
            2 => {
                let end = 5 + self.random.below(value.len() as u64 - 5) as usize;
                (value.get(..end).map(<[u8]>::to_vec), ParkedKind::Undecodable)
            }
            3 => (Some([value, vec![0]].concat()), ParkedKind::Undecodable),
            4 => (Some(renamed(NO_SCHEMA)), ParkedKind::UnknownType),
            5 => {
                let event = wire.id_of(ReservationCreated::NAME).unwrap_or(NO_SCHEMA);
                (Some(renamed(event)), ParkedKind::UnknownType)
            }
            6 => {
                // Another property's key, in that property's partition.
                let mut key = Vec::new();
                PropertyId(uuid(&mut self.random)).write(&mut key);
                draft.partition = partition_of(&key, self.partitions);
                draft.key = Some(key);
                (Some(value), ParkedKind::WrongKey)
            }
            7 if self.partitions > 1 => {
                let other = 1 + self.random.below(u64::from(self.partitions) - 1) as u32;
                draft.partition = (draft.partition + other) % self.partitions;
                (Some(value), ParkedKind::WrongKey)
            }
            8 => {
                let meta = Meta {
                    idempotency_key: Some("".into()),
                    ..Meta::of_command(uuid(&mut self.random), "", Timestamp(0))
                };
                let value = framed(sent.schema_id, &meta, &sent.body);
                (Some(value), ParkedKind::NoIdempotencyKey)
            }
            9 => {
                let bytes = self.rules.value_bytes_max as usize + self.random.below(300) as usize;
                (Some(vec![0; bytes + 1]), ParkedKind::TooLarge)
            }
            10 => {
                let largest =
                    if self.random.chance(2_000) { 30 * KEY_BYTES_MAX } else { KEY_BYTES_MAX };
                draft.key = Some(vec![0xff; near(largest, &mut self.random)]);
                (Some(value), ParkedKind::WrongKey)
            }
            11 => {
                let most = PARKED_HEADERS_BYTES_MAX - HEADER_LENGTHS_BYTES - 1;
                draft.headers =
                    vec![("h", vec![0; near(most, &mut self.random)]), ("late", vec![])];
                (None, ParkedKind::Undecodable)
            }
            12 => {
                let key = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
                let meta = Meta::of_command(uuid(&mut self.random), &key, Timestamp(0));
                (Some(framed(sent.schema_id, &meta, &sent.body)), ParkedKind::NoIdempotencyKey)
            }
            13 => {
                draft.headers = reply_to(CORRELATION_ID_BYTES_MAX + 1);
                (Some(value), ParkedKind::WrongHeaders)
            }
            _ => {
                let mut value = value;
                let at = 5 + self.random.below(value.len() as u64 - 5) as usize;
                value[at] ^= 1 << self.random.below(8);
                draft.value = Some(value);
                return Draft { fate: Fate::Either, plain: None, ..draft };
            }
        };
        Draft { value, fate: Fate::Parked(kind), plain: None, ..draft }
    }
}

fn framed(schema_id: u32, meta: &Meta, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    frame(schema_id, &mut value);
    meta.encode(&mut value);
    value.extend_from_slice(body);
    value
}

/// Headers that ask for a reply under an id of so many bytes.
fn reply_to(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    vec![(REPLY_TO, REPLIES.as_bytes().to_vec()), (CORRELATION_ID, vec![b'c'; bytes])]
}

/// # Panics
/// When the command is not of the topology.
fn encoded<C: Message>(wire: &Wire, command: &C) -> (u32, Vec<u8>) {
    let Some(schema_id) = wire.id_of(C::NAME) else { panic!("{} has no schema id", C::NAME) };
    let mut body = Vec::new();
    command.encode(&mut body);
    (schema_id, body)
}

fn uuid(random: &mut Random) -> Uuid {
    Uuid::from_u128((u128::from(random.bits()) << 64) | u128::from(random.bits()))
}

fn product(random: &mut Random) -> ProductCode {
    ProductCode::new(random.pick(&PRODUCTS).unwrap_or(&"STD"))
}

fn external_ref(random: &mut Random) -> ExternalRef {
    ExternalRef { system: "ota".into(), id: random.below(30).to_string().into() }
}

fn range(random: &mut Random, today: Night) -> (Option<Night>, Option<Night>) {
    let mut end =
        |per_10k| random.chance(per_10k).then(|| today.plus(random.between(-1, 6) as i32));
    match (end(8_000), end(8_000)) {
        (first, Some(_)) if random.chance(200) => (first, Some(today.plus(1_829))),
        range => range,
    }
}

/// A property or product; `odd` for one that may not be as it is asked for.
fn define(
    random: &mut Random,
    property: &Property,
    what: &str,
    wire: &Wire,
    odd: bool,
) -> (u32, Vec<u8>) {
    let property_id = property.id;
    let odd = if odd { random.below(8) } else { 8 };
    if what == "house" {
        let zone = random.pick(&ZONES).copied().unwrap_or("UTC");
        let time_zone = if random.chance(500) { "Mars/Olympus" } else { zone };
        let command = DefineProperty {
            property_id,
            code: if odd == 0 { "".into() } else { format!("H{}", property.house).into() },
            time_zone: time_zone.into(),
            roll_hour: if odd == 1 { 13 } else { random.between(0, 4) as i32 },
            currency: Currency::EUR,
            physical: if odd == 2 { -1 } else { property.house },
            no_show_hour: random.chance(5_000).then(|| random.between(0, 24) as i32),
        };
        return encoded(wire, &command);
    }
    let command = DefineProduct {
        property_id,
        product: ProductCode::new(what),
        name: if odd == 0 { "x".repeat(129).into() } else { what.into() },
        kind: ProductKind::Room,
        statistics: what != "PARKING",
        physical: random.between(0, 4) as i32,
        occupancy_max: random.chance(5_000).then(|| match odd {
            1 => 0,
            _ => random.between(1, 4) as i32,
        }),
    };
    encoded(wire, &command)
}

fn create(random: &mut Random, property: &Property, today: Night) -> CreateReservation {
    let mut create = sound(random, property, today);
    if random.chance(600) {
        break_a_rule(random, &mut create, today);
    }
    create
}

/// Asks for what no booking may have.
fn break_a_rule(random: &mut Random, create: &mut CreateReservation, today: Night) {
    let long = || "x".repeat(129);
    let price = |amount| Price { room: Minor(amount), ..Price::default() };
    match random.below(13) {
        0 => create.lines.clear(),
        1 if random.chance(5_000) => create.country = Some("Portugal".into()),
        1 => create.guest_ref = Some(long().into()),
        2 => {
            let many = (0..21).map(|number| ExternalRef {
                system: "pms".into(),
                id: format!("{}-{number}", create.reservation_id).into(),
            });
            create.external_refs = many.collect();
        }
        3 => {
            let one = external_ref(random);
            create.external_refs = vec![one.clone(), one];
        }
        choice => {
            let Some(line) = create.lines.first_mut() else { return };
            match choice {
                4 => line.units = 1_001,
                5 if random.chance(5_000) => line.adults = 9,
                5 => line.adults = -1,
                6 => line.child_ages = vec![Some(3), Some(121)],
                7 => {
                    let company = long();
                    let company = Some(company.as_str());
                    line.dimensions = Texts { company, ..Texts::default() }.into();
                }
                8 => {
                    (line.arrival, line.departure) = (today, today.plus(401));
                    line.nights.clear();
                }
                9 => (line.arrival, line.departure) = (today.plus(1_827), today.plus(1_829)),
                10 => line.currency = "JPY".parse().unwrap_or(Currency::EUR),
                11 => line.priced_by = PricedBy::Engine,
                _ => {
                    line.departure = line.arrival.plus(400);
                    if random.chance(5_000) {
                        line.nights.clear();
                        create.lines = vec![create.lines[0].clone(); 8];
                    } else {
                        line.departure = line.arrival.plus(1);
                        (line.nights, line.day_use) = (vec![price(i64::MAX / 1_001)], None);
                    }
                }
            }
        }
    }
}

fn sound(random: &mut Random, property: &Property, today: Night) -> CreateReservation {
    let known = random.pick(&property.reservations).copied();
    let taken = known.filter(|_| random.chance(300));
    let lines = (0..1 + random.below(8) / 6).map(|_| line(random, today));
    CreateReservation {
        property_id: property.id,
        lines: lines.collect(),
        reservation_id: taken.unwrap_or_else(|| ReservationId(uuid(random))),
        booked_at: random.chance(2_000).then(|| Timestamp(random.between(0, 1 << 50))),
        guest_ref: random.chance(5_000).then(|| "guest-7".into()),
        country: Some("PRT".into()),
        external_refs: (0..random.below(6).saturating_sub(4))
            .map(|_| external_ref(random))
            .collect(),
        acceptance: if random.chance(500) { Acceptance::AlreadySold } else { Acceptance::Request },
    }
}

fn line(random: &mut Random, today: Night) -> RequestedLine {
    let ahead = if random.chance(300) { 20 } else { random.between(-1, 6) as i32 };
    let arrival = today.plus(ahead);
    let nights = match random.below(20) {
        0 => 0,
        1 => -1,
        n => 1 + (n % 4) as i32,
    };
    let price = Price { room: Minor(random.between(-100, 20_000)), ..Price::default() };
    let priced = if random.chance(200) { nights + 1 } else { nights }.max(0);
    RequestedLine {
        product: product(random),
        units: match random.below(30) {
            0 => 0,
            1 => 3,
            2 | 3 => 2,
            _ => 1,
        },
        arrival,
        departure: arrival.plus(nights),
        adults: 2,
        child_ages: vec![],
        dimensions: Texts { rate_plan: Some("BAR"), channel: Some("Direct"), ..Texts::default() }
            .into(),
        currency: Currency::EUR,
        priced_by: PricedBy::Client,
        nights: vec![price; priced as usize],
        day_use: (nights == 0).then_some(price),
    }
}
