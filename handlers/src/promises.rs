//! The promises of the domain, held against commands that nobody would think of.
//!
//! A model keeps what each reservation holds, from the events alone: a cancellation takes away all
//! that the model knows, whatever the event says it releases.

use std::collections::{BTreeMap, HashMap};

use bellhop_core::avro::{Avro, Reader, Symbols as _};
use bellhop_core::driver::{Driver, Sent, SentMessage};
use bellhop_core::engine::ParkedKind;
use bellhop_core::message::Timestamp;
use bellhop_core::outcome::Outcome;
use bellhop_core::registry::EVENTS;
use bellhop_core::store::{AnyStore, State, Store};
use bellhop_core::topology::Topology;
use bellhop_schemas::command::*;
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::event::*;
use bellhop_schemas::ids::*;
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::Rule;
use bellhop_schemas::stay::{Line, LineMove, OversoldNight, Price, PricedBy, RequestedLine};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::fixtures::{
    self, HOTEL, NOWHERE, TODAY, accept, code, define_hotel, hotel, id, noon, pms, rules,
};
use crate::state::calendar::Cell;
use crate::state::external_ref::ExternalRefs;
use crate::state::in_house::InHouse;
use crate::state::inventory::Inventory;
use crate::state::property::Property;
use crate::state::reservation::Reservation;
use crate::state::retention::Retention;

/// One command, or time that passes.
#[derive(Debug, Clone)]
enum Ask {
    DefineProperty(DefineProperty),
    DefineProduct(DefineProduct),
    SetPhysicalCount(SetPhysicalCount),
    SetOverbooking(SetOverbooking),
    Create(CreateReservation),
    Cancel(CancelReservation),
    CheckIn(CheckIn),
    CheckOut(CheckOut),
    Move(MoveReservation),
    NoShow(MarkNoShow),
    Wait(i64),
}

/// Mostly a number that makes sense, sometimes any.
fn mostly(sense: impl Strategy<Value = i32> + 'static) -> impl Strategy<Value = i32> {
    prop_oneof![30 => sense, 1 => any::<i32>(), 1 => Just(i32::MIN), 1 => Just(i32::MAX)]
}

fn property() -> impl Strategy<Value = PropertyId> {
    prop_oneof![9 => Just(HOTEL), 1 => Just(NOWHERE)]
}

/// The hotel's products, one that may be defined later, one that is never.
fn product() -> impl Strategy<Value = ProductCode> {
    let codes = prop_oneof![5 => Just("DBL"), 3 => Just("TWN"), 2 => Just("BED"), 1 => Just("SUI")];
    prop_oneof![20 => codes, 1 => Just("a code of many bytes")].prop_map(code)
}

fn night() -> impl Strategy<Value = Night> {
    mostly((-3..12_i32).prop_map(|days| TODAY.0 + days)).prop_map(Night)
}

fn reservation() -> impl Strategy<Value = ReservationId> {
    (1..12_u128).prop_map(id)
}

fn price() -> impl Strategy<Value = Price> {
    let amount = || prop_oneof![20 => 0..20_000_i64, 1 => any::<i64>()].prop_map(Minor);
    (amount(), amount()).prop_map(|(room, tax)| Price { room, tax, extras: Minor(0) })
}

fn line() -> impl Strategy<Value = RequestedLine> {
    let stay = (night(), mostly(0..5_i32), 0..20_u8);
    let guests = (mostly(0..4_i32), prop::collection::vec(any::<Option<i32>>(), 0..2), 0..20_u8);
    (product(), mostly(1..6_i32), stay, guests, price(), any::<u8>()).prop_map(
        |(product, units, (arrival, nights, skew), (adults, ages, childless), price, odd)| {
            let departure = arrival.plus(nights);
            let stay = usize::try_from(arrival.until(departure)).unwrap_or(0).min(500);
            RequestedLine {
                product,
                units,
                arrival,
                departure,
                adults,
                child_ages: if childless > 0 { Vec::new() } else { ages },
                dimensions: Texts {
                    rate_plan: Some("BAR"),
                    channel: Some("web"),
                    ..Texts::default()
                }
                .into(),
                currency: if odd == 0 { "JPY".parse().unwrap() } else { Currency::EUR },
                priced_by: if odd == 1 { PricedBy::Engine } else { PricedBy::Contract },
                nights: vec![price; stay + usize::from(skew == 0)],
                day_use: (stay == 0).then_some(price),
            }
        },
    )
}

/// Of the nights that a line may have at most.
fn long_line() -> impl Strategy<Value = RequestedLine> {
    (product(), price(), 0..3_i32).prop_map(|(product, price, day)| RequestedLine {
        departure: TODAY.plus(day + 400),
        nights: vec![price; 400],
        ..fixtures::line(product.as_str(), 1, day, 0)
    })
}

fn create() -> impl Strategy<Value = Ask> {
    let refs = prop_oneof![
        30 => prop::collection::vec(0..40_u8, 0..2),
        1 => prop::collection::vec(any::<u8>(), 21)
    ];
    let lines = prop_oneof![
        20 => prop::collection::vec(line(), 1..4),
        1 => Just(Vec::new()),
        1 => long_line().prop_map(|line| vec![line; 11]),
    ];
    let odd = (any::<Option<i64>>(), 0..30_u8, 0..8_u8);
    (property(), reservation(), refs, odd, lines).prop_map(
        |(property_id, reservation_id, refs, (booked_at, text, fact), lines)| {
            Ask::Create(CreateReservation {
                property_id,
                reservation_id,
                acceptance: if fact == 0 { Acceptance::AlreadySold } else { Acceptance::Request },
                booked_at: booked_at.map(Timestamp),
                guest_ref: (text == 0).then(|| "x".repeat(129).into()),
                country: Some("PRT".into()),
                external_refs: refs.iter().map(|number| pms(&number.to_string())).collect(),
                lines,
            })
        },
    )
}

/// How a command names a reservation.
fn address() -> impl Strategy<Value = (PropertyId, Option<ReservationId>, Option<ExternalRef>)> {
    let by_id = reservation().prop_map(|id| (Some(id), None));
    let by_ref = (0..40_u8).prop_map(|number| (None, Some(pms(&number.to_string()))));
    let name = prop_oneof![8 => by_id, 2 => by_ref, 1 => Just((None, None))];
    (property(), name).prop_map(|(property_id, (id, external_ref))| (property_id, id, external_ref))
}

fn follow() -> impl Strategy<Value = Ask> {
    let assignments = prop::collection::vec((0..4_u16, product()), 0..3);
    (address(), assignments, 0..5_u8).prop_map(|(address, assignments, what)| {
        let (property_id, reservation_id, external_ref) = address;
        let assignments =
            assignments.into_iter().map(|(line, product)| Assignment { line, product }).collect();
        match what {
            0 => Ask::Cancel(CancelReservation {
                property_id,
                reservation_id,
                external_ref,
                cause: None,
            }),
            1 => Ask::CheckIn(CheckIn { property_id, reservation_id, external_ref, assignments }),
            2 => Ask::CheckOut(CheckOut { property_id, reservation_id, external_ref }),
            3 => Ask::Move(MoveReservation {
                property_id,
                reservation_id,
                external_ref,
                assignments,
            }),
            _ => Ask::NoShow(MarkNoShow { property_id, reservation_id, external_ref }),
        }
    })
}

fn catalog() -> impl Strategy<Value = Ask> {
    let range = (prop::option::of(night()), prop::option::of(night()));
    let what = (mostly(0..12_i32), 0..8_u8, any::<bool>());
    let whose = (property(), prop::option::of(product()));
    (whose, range, what).prop_map(|((property_id, product), nights, (count, what, statistics))| {
        let (first_night, last_night) = nights;
        match what {
            0 => Ask::DefineProperty(DefineProperty {
                roll_hour: count,
                physical: count,
                no_show_hour: statistics.then(|| count.saturating_mul(4)),
                ..define_hotel(property_id)
            }),
            1 => Ask::DefineProduct(DefineProduct {
                property_id,
                product: product.unwrap_or_else(|| code("")),
                name: "".into(),
                kind: ProductKind::Room,
                statistics,
                physical: count,
                occupancy_max: statistics.then_some(count),
            }),
            2..5 => Ask::SetPhysicalCount(SetPhysicalCount {
                property_id,
                product,
                first_night,
                last_night,
                count,
            }),
            _ => Ask::SetOverbooking(SetOverbooking {
                property_id,
                product,
                first_night,
                last_night,
                allowance: count.saturating_sub(5),
            }),
        }
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let hours = (0..30_i64).prop_map(|hours| Ask::Wait(hours * 3_600_000_000));
    // Longer than reservations are kept, and than it is known that there was one.
    let years = [500, 900].map(|days| Just(days * 86_400_000_000_i64));
    let ages = prop_oneof![years[0], years[1], any::<i64>()].prop_map(Ask::Wait);
    prop_oneof![40 => create(), 50 => follow(), 20 => catalog(), 15 => hours, 1 => ages]
}

/// A night of a product or house, or a day's use of it.
type Place = (PropertyId, Option<ProductCode>, Night, bool);

/// Units by product and night, and by day of day uses.
type Held = BTreeMap<(ProductCode, Night, bool), i32>;

/// What is known of the world from the events.
#[derive(Default)]
struct Model {
    statistics: HashMap<(PropertyId, ProductCode), bool>,
    /// Of each reservation.
    held: HashMap<(PropertyId, ReservationId), Held>,
}

impl Model {
    fn hold(&mut self, property: PropertyId, id: ReservationId, lines: &[Line], sign: i32) {
        let held = self.held.entry((property, id)).or_default();
        for line in lines {
            let units = i32::from(line.units) * sign;
            for at in &line.nights {
                *held.entry((line.held(at).clone(), at.night, false)).or_default() += units;
            }
            if line.is_day_use() {
                *held.entry((line.product.clone(), line.arrival, true)).or_default() += units;
            }
        }
    }

    fn shift(&mut self, property: PropertyId, id: ReservationId, moves: &[LineMove]) {
        for LineMove { line, held: to } in moves {
            self.hold(property, id, std::slice::from_ref(line), -1);
            let held = self.held.entry((property, id)).or_default();
            for at in &line.nights {
                let place = (to.clone(), at.night, false);
                *held.entry(place).or_default() += i32::from(line.units);
            }
        }
    }

    fn apply(&mut self, event: &SentMessage) {
        if let Some(it) = event.body::<ProductDefined>() {
            self.statistics.insert((it.property_id, it.product), it.statistics);
        } else if let Some(it) = event.body::<ReservationCreated>() {
            self.hold(it.property_id, it.reservation_id, &it.lines, 1);
        } else if let Some(it) = event.body::<ReservationCheckedIn>() {
            self.hold(it.property_id, it.reservation_id, &it.reinstated, 1);
            self.shift(it.property_id, it.reservation_id, &it.moves);
            self.hold(it.property_id, it.reservation_id, &it.added, 1);
        } else if let Some(it) = event.body::<ReservationMoved>() {
            self.shift(it.property_id, it.reservation_id, &it.moves);
        } else if let Some(it) = event.body::<ReservationExtended>() {
            self.hold(it.property_id, it.reservation_id, &it.extended, 1);
        } else if let Some(it) = event.body::<ReservationCheckedOut>() {
            self.hold(it.property_id, it.reservation_id, &it.released, -1);
            self.hold(it.property_id, it.reservation_id, &it.day_use, 1);
        } else if let Some(it) = event.body::<ReservationCancelled>() {
            self.held.remove(&(it.property_id, it.reservation_id));
        } else if let Some(it) = event.body::<ReservationNoShow>() {
            self.held.remove(&(it.property_id, it.reservation_id));
        }
    }

    /// Units sold by place, without those where none is.
    fn sold(&self) -> BTreeMap<Place, i32> {
        let mut sold = BTreeMap::new();
        for ((property, _), held) in &self.held {
            for ((product, night, day_use), units) in held {
                assert!(*units >= 0, "{product} on {night} is given back more than once");
                let place = |product| (*property, product, *night, *day_use);
                *sold.entry(place(Some(product.clone()))).or_default() += units;
                if self.statistics[&(*property, product.clone())] {
                    *sold.entry(place(None)).or_default() += units;
                }
            }
        }
        sold.retain(|_, units| *units != 0);
        sold
    }
}

/// The nights that any calendar has cells for, and the days that it has uses of.
fn cells(driver: &Driver) -> BTreeMap<Place, Cell> {
    let mut cells = BTreeMap::new();
    for (property, inventory) in driver.store::<Inventory>().sorted() {
        let products = inventory.products().iter();
        let products = products.map(|product| (Some(product.code.clone()), &product.calendar));
        for (product, calendar) in products.chain([(None, inventory.house())]) {
            let place = |night, day_use| (*property, product.clone(), night, day_use);
            cells.extend(calendar.nights().map(|(night, cell)| (place(night, false), cell)));
            cells.extend(calendar.days().map(|day| (place(day, true), calendar.cell(day))));
        }
    }
    cells
}

/// Nights long past are counted no longer.
fn is_counted(driver: &Driver, property: PropertyId, night: Night) -> bool {
    let inventory = driver.store::<Inventory>().get(&property);
    inventory.and_then(Inventory::kept_from).is_none_or(|first| night >= first)
}

fn send(driver: &mut Driver, ask: &Ask, now: &mut i64) -> Option<Sent> {
    Some(match ask {
        Ask::DefineProperty(command) => driver.send(command),
        Ask::DefineProduct(command) => driver.send(command),
        Ask::SetPhysicalCount(command) => driver.send(command),
        Ask::SetOverbooking(command) => driver.send(command),
        Ask::Create(command) => driver.send(command),
        Ask::Cancel(command) => driver.send(command),
        Ask::CheckIn(command) => driver.send(command),
        Ask::CheckOut(command) => driver.send(command),
        Ask::Move(command) => driver.send(command),
        Ask::NoShow(command) => driver.send(command),
        Ask::Wait(time) => {
            *now = now.saturating_add(*time);
            driver.set_time(Timestamp(*now));
            return None;
        }
    })
}

/// The nights that the facts of a command say they oversold; the last word on each.
fn listed(sent: &Sent) -> BTreeMap<Place, i32> {
    let mut listed = BTreeMap::new();
    for event in &sent.events {
        let nights = oversold_of(event);
        let mut told = BTreeMap::new();
        for (property, at) in nights {
            let place = (property, at.product, at.night, at.day_use);
            let again = told.insert(place, at.units);
            assert_eq!(again, None, "a night is listed twice: {event:?}");
        }
        listed.extend(told);
    }
    listed
}

fn oversold_of(event: &SentMessage) -> Vec<(PropertyId, OversoldNight)> {
    let created = event.body().map(|it: ReservationCreated| (it.property_id, it.oversold));
    let checked_in = event.body().map(|it: ReservationCheckedIn| (it.property_id, it.oversold));
    let moved = event.body().map(|it: ReservationMoved| (it.property_id, it.oversold));
    let extended = event.body().map(|it: ReservationExtended| (it.property_id, it.oversold));
    let checked_out = event.body().map(|it: ReservationCheckedOut| (it.property_id, it.oversold));
    let physical = event.body().map(|it: PhysicalCountChanged| (it.property_id, it.oversold));
    let limit = event.body().map(|it: OverbookingLimitChanged| (it.property_id, it.oversold));
    let found = created.or(checked_in).or(moved).or(extended).or(checked_out).or(physical);
    let found = found.or(limit);
    let (property, nights) = found.unzip();
    let nights = nights.into_iter().flatten();
    property.into_iter().cycle().zip(nights).collect()
}

/// The nights that lost availability and are oversold now.
fn oversold(before: &BTreeMap<Place, Cell>, after: &BTreeMap<Place, Cell>) -> BTreeMap<Place, i32> {
    let over = after.iter().filter(|((.., day_use), cell)| !day_use && cell.oversold() > 0);
    let over = over.filter(|(place, cell)| {
        before.get(*place).map_or(i32::MAX, Cell::available) > cell.available()
    });
    over.map(|(place, cell)| (place.clone(), cell.oversold())).collect()
}

/// What is known of the day of a place, in either of two ways: units that are in use over the day
/// with none free for them, without the allowance and with it.
fn crowding(cells: &BTreeMap<Place, Cell>, place: &Place) -> (i32, i32) {
    let (property, product, day, _) = place;
    let night = |night: Night| {
        let cell = cells.get(&(*property, product.clone(), night, false));
        cell.map_or(0, |cell| cell.sold)
    };
    let Some(cell) = cells.get(place) else { return (0, 0) };
    let stays = night(*day).min(night(day.plus(-1))).max(0);
    let over = |extra: i16| {
        let there = i32::from(cell.physical - cell.out_of_order + extra.max(0));
        (cell.day_use - (there - stays).max(0)).max(0)
    };
    (over(0), over(cell.allowance))
}

/// Days that are more crowded than before are listed by a fact; a request makes none so.
fn check_days(
    event: &SentMessage,
    told: &BTreeMap<Place, i32>,
    before: &BTreeMap<Place, Cell>,
    after: &BTreeMap<Place, Cell>,
) {
    let created = event.body::<ReservationCreated>();
    let request = created.filter(|it| it.acceptance == Acceptance::Request);
    let mut crowded = BTreeMap::new();
    for place in after.keys().filter(|place| place.3) {
        let ((was, was_allowed), (is, is_allowed)) =
            (crowding(before, place), crowding(after, place));
        match &request {
            Some(request) => {
                let uses = |line: &Line| {
                    line.is_day_use()
                        && line.arrival == place.2
                        && place.1.as_ref().is_none_or(|product| *product == line.product)
                };
                assert!(is_allowed <= was_allowed, "{place:?}: {request:?}");
                let used = |cells: &BTreeMap<Place, Cell>| cells.get(place).map(|it| it.day_use);
                let of_day = request.lines.iter().any(uses) && used(before) != used(after);
                assert!(!of_day || is <= was, "{place:?}: {request:?}");
            }
            None if is > was => drop(crowded.insert(place.clone(), is)),
            None => {}
        }
    }
    assert_eq!(*told, crowded, "{event:?}");
}

fn check_events(sent: &Sent, before: &BTreeMap<Place, Cell>, after: &BTreeMap<Place, Cell>) {
    let told = listed(sent);
    let (days, told) =
        told.into_iter().partition::<BTreeMap<_, _>, _>(|((.., day_use), _)| *day_use);
    if let [only] = sent.events.as_slice() {
        check_days(only, &days, before, after);
    }
    assert_eq!(told, oversold(before, after), "{sent:?}");
    let created = sent.events.last().and_then(|event| event.body::<ReservationCreated>());
    let Some(created) = created.filter(|it| it.acceptance == Acceptance::Request) else { return };
    assert_eq!(created.oversold, [], "a request oversold: {created:?}");
    for line in &created.lines {
        for at in &line.nights {
            let place = (created.property_id, Some(line.held(at).clone()), at.night, false);
            assert!(after[&place].available() >= 0, "{place:?} was sold above its limit");
        }
    }
}

fn check_snapshot<S: State>(driver: &Driver) {
    let store = driver.store::<S>();
    let mut bytes = Vec::new();
    AnyStore::encode(store, &mut bytes);
    let mut restored = Store::<S>::of(driver.task().config().log_id);
    restored.restore(&mut Reader::new(&bytes)).expect("a snapshot");
    assert_eq!(store.first_difference(&restored), None);
    let mut again = Vec::new();
    AnyStore::encode(&restored, &mut again);
    assert_eq!(bytes, again, "{}", S::NAME);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_nothing_panics_and_the_books_balance(
        asks in prop::collection::vec(ask(), 1..80),
    ) {
        let mut driver = hotel();
        let mut model = Model::default();
        for (product, statistics) in [("DBL", true), ("TWN", true), ("BED", false)] {
            model.statistics.insert((HOTEL, code(product)), statistics);
        }
        let mut now = noon(TODAY).0;
        let mut before = cells(&driver);
        for ask in &asks {
            let Some(sent) = send(&mut driver, ask, &mut now) else { continue };
            prop_assert!(
                !matches!(sent.outcome, Outcome::Parked(ParkedKind::Panicked)),
                "{ask:?}: {:?}", sent.parked
            );
            sent.events.iter().for_each(|event| model.apply(event));
            let after = cells(&driver);
            let units = |(place, cell): (&Place, &Cell)| {
                (place.clone(), if place.3 { cell.day_use } else { cell.sold })
            };
            let sold: BTreeMap<_, _> = after.iter().map(units).filter(|it| it.1 != 0).collect();
            let mut counted = model.sold();
            counted.retain(|(property, _, night, _), _| is_counted(&driver, *property, *night));
            prop_assert_eq!(&sold, &counted, "after {:?}", ask);
            check_events(&sent, &before, &after);
            before = after;
        }
        check_snapshot::<Property>(&driver);
        check_snapshot::<Inventory>(&driver);
        check_snapshot::<Reservation>(&driver);
        check_snapshot::<ExternalRefs>(&driver);
        check_snapshot::<InHouse>(&driver);
        check_snapshot::<Retention>(&driver);
    }
}

#[test]
fn the_commands_that_nobody_would_think_of_reach_every_event_and_rule() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeMap::<String, u32>::new();
    for _ in 0..300 {
        let mut driver = hotel();
        let mut now = noon(TODAY).0;
        let asks = prop::collection::vec(ask(), 80).new_tree(&mut runner).unwrap().current();
        for ask in &asks {
            let Some(sent) = send(&mut driver, ask, &mut now) else { continue };
            for event in &sent.events {
                let name = event.name.trim_start_matches("bellhop.event.").to_owned();
                *reached.entry(name).or_default() += 1;
            }
            for rule in rules(&sent) {
                *reached.entry(format!("{rule:?}")).or_default() += 1;
            }
        }
    }
    let events = EVENTS.iter().map(|event| event.message.name);
    let events = events.filter_map(|name| name.strip_prefix("bellhop.event."));
    // Of one name and country for each, and no house that is odd: their own tables reach these.
    let elsewhere = [
        Rule::NamesDisagree,
        Rule::UnknownCountry,
        Rule::TooManyGuests,
        Rule::NoAdults,
        Rule::LargeHouse,
        Rule::MoreThanHouse,
    ];
    let rules = Rule::ALL.iter().filter(|rule| !elsewhere.contains(rule));
    let rules = rules.map(|rule| format!("{rule:?}"));
    let all = events.map(str::to_owned).chain(rules);
    let missed: Vec<_> = all.filter(|name| !reached.contains_key(name)).collect();
    // The generator knows one currency and one zone.
    assert_eq!(missed, ["UnknownTimeZone", "UnknownCurrency"], "reached: {reached:?}");
}

#[test]
fn a_reservation_of_one_line_takes_about_300_bytes() {
    let mut driver = hotel();
    let lines = vec![fixtures::line("DBL", 1, 0, 3)];
    accept(&mut driver, &fixtures::create(1, lines));
    let key = ReservationKey { property_id: HOTEL, reservation_id: id(1) };
    let mut bytes = Vec::new();
    let reservation = driver.store::<Reservation>().get(&key).expect("the reservation");
    Avro::encode(reservation, &mut bytes);
    // A table of entries is half to seven eighths full.
    let entry = size_of::<(ReservationKey, Reservation)>() * 2;
    assert!(entry + bytes.len() <= 300, "{entry} and {} bytes", bytes.len());
}

/// A fingerprint of bytes that nobody describes would stay the same when their schema changes.
#[test]
fn every_state_says_what_its_bytes_hold() {
    let topology = Topology::discover().expect("a topology");
    for store in topology.stores() {
        let shape = (store.shape)();
        assert!(!shape.contains("\"type\":\"bytes\"}"), "{}: {shape}", store.name);
    }
}
