//! What the tests of all commands share: a hotel, a booking, and the shape of a decision table.
//!
//! The hotel is in Lisbon and has a house of 10; its business day rolls at 03:00. Products: DBL 8
//! and TWN 4 with statistics, BED 3 without. It is 12:00 UTC on 2025-03-10.

use bellhop_core::avro::Symbols as _;
use bellhop_core::driver::{Driver, Sent};
use bellhop_core::message::{HOUR_US, Message, Timestamp};
use bellhop_core::outcome::Outcome;
use bellhop_core::topology::Topology;
use bellhop_schemas::command::*;
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::event::*;
use bellhop_schemas::ids::*;
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{Line, OversoldNight, Price, PricedBy, RequestedLine};
use uuid::Uuid;

use crate::state::calendar::Cell;
use crate::state::inventory::Inventory;
use crate::state::reservation::{Reservation, ReservationState};

pub(crate) const HOTEL: PropertyId = PropertyId(Uuid::from_u128(0x0401));
pub(crate) const NOWHERE: PropertyId = PropertyId(Uuid::from_u128(0x0402));
pub(crate) const HOUSE: Option<&str> = None;

/// 2025-03-10, the business date of a new hotel.
pub(crate) const TODAY: Night = Night(20_157);

/// Noon UTC of a day.
pub(crate) fn noon(day: Night) -> Timestamp {
    Timestamp((i64::from(day.0) * 24 + 12) * HOUR_US)
}

pub(crate) fn code(product: &str) -> ProductCode {
    ProductCode::new(product)
}

pub(crate) fn id(number: u128) -> ReservationId {
    ReservationId(Uuid::from_u128(number))
}

pub(crate) fn pms(number: &str) -> ExternalRef {
    ExternalRef { system: "pms".into(), id: number.into() }
}

pub(crate) fn define_hotel(property_id: PropertyId) -> DefineProperty {
    DefineProperty {
        property_id,
        code: "LIS".into(),
        time_zone: "Europe/Lisbon".into(),
        roll_hour: 3,
        currency: Currency::EUR,
        physical: 10,
        no_show_hour: None,
    }
}

pub(crate) fn define(product: &str, physical: i32, statistics: bool) -> DefineProduct {
    DefineProduct {
        property_id: HOTEL,
        product: code(product),
        name: product.into(),
        kind: ProductKind::Room,
        statistics,
        physical,
        occupancy_max: None,
    }
}

/// A driver with the hotel.
pub(crate) fn hotel() -> Driver {
    let mut driver = Driver::new(noon(TODAY));
    accept(&mut driver, &define_hotel(HOTEL));
    for product in [define("DBL", 8, true), define("TWN", 4, true), define("BED", 3, false)] {
        accept(&mut driver, &product);
    }
    driver
}

/// A line of `nights` nights from `arrival` days after today, at 100.00 and 6.00 tax a night.
pub(crate) fn line(product: &str, units: i32, arrival: i32, nights: i32) -> RequestedLine {
    let price = Price { room: Minor(10_000), tax: Minor(600), extras: Minor(0) };
    RequestedLine {
        product: code(product),
        units,
        arrival: TODAY.plus(arrival),
        departure: TODAY.plus(arrival + nights),
        adults: 2,
        child_ages: vec![Some(7), None],
        dimensions: Texts {
            rate_plan: Some("BAR"),
            segment: Some("leisure"),
            channel: Some("web"),
            agent: Some("9"),
            ..Texts::default()
        }
        .into(),
        currency: Currency::EUR,
        priced_by: PricedBy::Client,
        nights: vec![price; usize::try_from(nights).unwrap()],
        day_use: None,
    }
}

/// A booking with the number that the property's own system has for it.
pub(crate) fn create(number: u128, lines: Vec<RequestedLine>) -> CreateReservation {
    CreateReservation {
        property_id: HOTEL,
        reservation_id: id(number),
        booked_at: Some(noon(TODAY.plus(-30))),
        guest_ref: Some("g-1".into()),
        country: Some("PRT".into()),
        external_refs: vec![pms(&number.to_string())],
        lines,
        acceptance: Acceptance::Request,
    }
}

pub(crate) fn cancel(number: u128) -> CancelReservation {
    CancelReservation {
        property_id: HOTEL,
        reservation_id: Some(id(number)),
        external_ref: None,
        cause: Some("plans".into()),
    }
}

pub(crate) fn assign(line: u16, product: &str) -> Assignment {
    Assignment { line, product: code(product) }
}

pub(crate) fn relocate(number: u128, assignments: &[(u16, &str)]) -> MoveReservation {
    let assigned = assignments.iter().map(|(line, product)| assign(*line, product));
    MoveReservation {
        property_id: HOTEL,
        reservation_id: Some(id(number)),
        external_ref: None,
        assignments: assigned.collect(),
    }
}

pub(crate) fn arrive(number: u128, assignments: &[(u16, &str)]) -> CheckIn {
    let assigned = assignments.iter().map(|(line, product)| assign(*line, product));
    CheckIn {
        property_id: HOTEL,
        reservation_id: Some(id(number)),
        external_ref: None,
        assignments: assigned.collect(),
    }
}

pub(crate) fn leave(number: u128) -> CheckOut {
    CheckOut { property_id: HOTEL, reservation_id: Some(id(number)), external_ref: None }
}

pub(crate) fn no_show(number: u128) -> MarkNoShow {
    MarkNoShow { property_id: HOTEL, reservation_id: Some(id(number)), external_ref: None }
}

/// Sends what must be accepted.
pub(crate) fn accept<C: Message>(driver: &mut Driver, command: &C) -> Sent {
    let sent = driver.send(command);
    let accepted = matches!(sent.outcome, Outcome::Decided { code: 0, .. });
    assert!(accepted, "{command:?} was refused: {:?}", reasons(&sent));
    sent
}

/// The reasons of a refusal; none of an acceptance. What timers led to stands before.
pub(crate) fn reasons(sent: &Sent) -> Vec<Reason> {
    let Some(event) = sent.events.last() else { panic!("a command has an event: {sent:?}") };
    let catalog = event.body::<CatalogRejected>().map(|rejected| rejected.reasons);
    let reservation = event.body::<ReservationRejected>().map(|rejected| rejected.reasons);
    catalog.or(reservation).unwrap_or_default()
}

pub(crate) fn rules(sent: &Sent) -> Vec<Rule> {
    reasons(sent).iter().map(|reason| reason.rule).collect()
}

/// What a row of a decision table does to a sound command.
pub(crate) type Spoil<C> = fn(&mut C);

/// Holds a command against the rows of its decision table, in order: each row spoils it by its own
/// rule and by all later ones (where two spoil one field, the earlier wins). Then the sound command
/// is accepted, a repeat gets the first outcome again, and another payload conflicts.
///
/// Gives what became of the sound command.
pub(crate) fn hold_to_table<C: Message + Clone>(
    driver: &mut Driver,
    sound: &C,
    rows: &[(Rule, Spoil<C>)],
) -> Sent {
    let documented = documented::<C>();
    for (row, (rule, _)) in rows.iter().enumerate() {
        let name = rule.symbol().name;
        assert!(documented.contains(&name), "the handler's doc comment does not name {name}");
        let mut command = sound.clone();
        rows[row..].iter().rev().for_each(|(_, spoil)| spoil(&mut command));
        let key = format!("row {row}");
        let refused = driver.send_as(&key, &command);
        assert_eq!(rules(&refused).first(), Some(rule), "row {row}: {command:?}");
        let Outcome::Decided { code, first_event } = refused.outcome else {
            panic!("row {row}: {refused:?}")
        };
        assert_eq!(code, rule.code(), "row {row}");
        let again = driver.send_as(&key, &command);
        assert_eq!(again.outcome, Outcome::Repeated { code, first_event }, "row {row}");
    }

    let sent = driver.send_as("sound", sound);
    let Outcome::Decided { code: 0, first_event } = sent.outcome else {
        panic!("{sound:?} was refused: {:?}", reasons(&sent))
    };
    let again = driver.send_as("sound", sound);
    assert_eq!(again.outcome, Outcome::Repeated { code: 0, first_event });
    assert!(again.events.is_empty(), "a repeat adds no event");
    let mut other = sound.clone();
    if let Some((_, spoil)) = rows.get(1) {
        spoil(&mut other);
        let conflict = driver.send_as("sound", &other);
        assert!(matches!(conflict.outcome, Outcome::Conflict { .. }), "{conflict:?}");
    }
    sent
}

/// The rejections that the doc comment of a command's handler lists.
fn documented<C: Message>() -> Vec<&'static str> {
    let topology = Topology::discover().expect("the wiring");
    let request = topology.requests().iter().find(|it| it.handler.message.name == C::NAME);
    request.expect("a handler").handler.rejections()
}

/// A night of a product or of the house, `night` days after today.
pub(crate) fn cell(driver: &Driver, product: Option<&str>, night: i32) -> Cell {
    let inventory = driver.store::<Inventory>().get(&HOTEL).expect("the hotel");
    let product = product.map(code);
    inventory.calendar(product.as_ref()).expect("the product").cell(TODAY.plus(night))
}

/// Units sold on the first nights from today.
pub(crate) fn sold<const NIGHTS: usize>(driver: &Driver, product: Option<&str>) -> [i32; NIGHTS] {
    std::array::from_fn(|night| cell(driver, product, i32::try_from(night).unwrap()).sold)
}

pub(crate) fn state(driver: &Driver, number: u128) -> ReservationState {
    let key = ReservationKey { property_id: HOTEL, reservation_id: id(number) };
    driver.store::<Reservation>().get(&key).expect("the reservation").state()
}

/// The nights of a line in days after today, with the products that hold them.
pub(crate) fn nights(line: &Line) -> Vec<(i32, &str)> {
    line.nights.iter().map(|at| (TODAY.until(at.night), line.held(at).as_str())).collect()
}

/// Oversold nights in days after today.
pub(crate) fn oversold(nights: &[OversoldNight]) -> Vec<(Option<&str>, i32, i32)> {
    let row = |at: &OversoldNight| (TODAY.until(at.night), at.units);
    nights
        .iter()
        .map(|at| {
            let (night, units) = row(at);
            (at.product.as_ref().map(ProductCode::as_str), night, units)
        })
        .collect()
}
