//! The largest booking that is accepted goes through every later command: none is parked because its
//! event is too large.

use bellhop_core::driver::{Driver, Sent};
use bellhop_core::outcome::Outcome;
use bellhop_schemas::command::{
    Acceptance, Assignment, CancelReservation, CheckIn, CreateReservation, MoveReservation,
    SetOverbooking, SetPhysicalCount,
};
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::event::*;
use bellhop_schemas::ids::ExternalRef;
use bellhop_schemas::money::Minor;
use bellhop_schemas::reason::Rule;
use bellhop_schemas::stay::{Price, RequestedLine};

use crate::fixtures::*;

const LINES: i32 = 100;
const NIGHTS: i32 = 30;
/// Codes of 16 bytes.
const SOLD: &str = "0123456789abcdeS";
const HELD: &str = "0123456789abcdeH";
const ALSO: &str = "0123456789abcdeA";

fn text(filled: char) -> String {
    filled.to_string().repeat(128)
}

/// Lines side by side or, `apart`, one after another: then every night of them is another one.
fn lines(apart: bool) -> Vec<RequestedLine> {
    let amount = Minor(1_000_000_000_000_000 / i64::from(3 * LINES * NIGHTS));
    let price = Price { room: amount, tax: amount, extras: amount };
    let filled = || Some(text('x'));
    let dimensions = Texts {
        rate_plan: filled(),
        segment: filled(),
        channel: filled(),
        source: filled(),
        company: filled(),
        agent: filled(),
        block: filled(),
        guarantee: filled(),
    };
    let of = |number| RequestedLine {
        adults: 10_000,
        child_ages: vec![Some(120); 100],
        dimensions: dimensions.clone().into(),
        nights: vec![price; NIGHTS as usize],
        ..line(SOLD, 1, if apart { number % 60 * NIGHTS } else { 0 }, NIGHTS)
    };
    (0..LINES).map(of).collect()
}

fn largest(apart: bool) -> CreateReservation {
    let refs = (0..20).map(|number| ExternalRef {
        system: text('s').into(),
        id: format!("{number:0128}").into(),
    });
    CreateReservation {
        guest_ref: Some(text('g').into()),
        country: Some(text('c').into()),
        external_refs: refs.collect(),
        acceptance: Acceptance::AlreadySold,
        ..create(1, lines(apart))
    }
}

/// A hotel without a room: every night is oversold.
fn empty_hotel() -> Driver {
    let mut driver = hotel();
    for product in [SOLD, HELD, ALSO] {
        accept(&mut driver, &define(product, 0, true));
    }
    let (first_night, last_night) = (None, None);
    let none =
        SetPhysicalCount { property_id: HOTEL, product: None, first_night, last_night, count: 0 };
    accept(&mut driver, &none);
    driver
}

fn all_to(product: &str) -> Vec<Assignment> {
    (1..=LINES as u16).map(|line| assign(line, product)).collect()
}

fn move_all(driver: &mut Driver, product: &str) -> Sent {
    let command = MoveReservation { assignments: all_to(product), ..relocate(1, &[]) };
    accept(driver, &command)
}

fn arrive_in(driver: &mut Driver, product: &str) -> Sent {
    let command = CheckIn { assignments: all_to(product), ..arrive(1, &[]) };
    accept(driver, &command)
}

#[test]
fn the_largest_booking_can_be_moved_and_cancelled() {
    for apart in [false, true] {
        let mut driver = empty_hotel();
        let created: ReservationCreated = accept(&mut driver, &largest(apart)).only();
        assert!(created.oversold.len() >= 2 * NIGHTS as usize);
        let moved: ReservationMoved = move_all(&mut driver, HELD).only();
        assert_eq!(moved.moves.len(), LINES as usize);
        let cause = Some(text('c').into());
        let cancel = CancelReservation { cause, ..cancel(1) };
        let cancelled: ReservationCancelled = accept(&mut driver, &cancel).only();
        assert_eq!(cancelled.released.len(), LINES as usize);
    }
}

#[test]
fn the_largest_booking_can_be_a_no_show_who_comes_after_all_and_moves_at_once() {
    for apart in [false, true] {
        let mut driver = empty_hotel();
        accept(&mut driver, &largest(apart));
        move_all(&mut driver, HELD);
        driver.set_time(noon(TODAY.plus(1)));
        accept(&mut driver, &no_show(1));
        let event: ReservationCheckedIn = arrive_in(&mut driver, ALSO).only();
        assert_eq!(event.reinstated.len(), LINES as usize);
        assert!(event.oversold.len() >= 2 * (NIGHTS as usize - 1));
        accept(&mut driver, &leave(1));
    }
}

#[test]
fn the_largest_booking_can_come_early_and_leave_on_the_same_day() {
    for apart in [false, true] {
        let mut driver = empty_hotel();
        let mut command = largest(apart);
        for line in &mut command.lines {
            (line.arrival, line.departure) = (line.arrival.plus(7), line.departure.plus(7));
        }
        accept(&mut driver, &command);
        move_all(&mut driver, HELD);
        let event: ReservationCheckedIn = arrive_in(&mut driver, ALSO).only();
        let early = event.added.iter().map(|line| line.nights.len()).max();
        assert_eq!(early, Some(7));
        move_all(&mut driver, HELD);
        let left: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        assert_eq!(left.released.len(), LINES as usize);
    }
}

#[test]
fn the_largest_booking_can_stay_on_for_as_long_as_anybody() {
    let mut driver = empty_hotel();
    accept(&mut driver, &largest(false));
    move_all(&mut driver, HELD);
    arrive_in(&mut driver, ALSO);
    driver.set_time(noon(TODAY.plus(2_000)));
    let sent = driver.send(&relocate(1, &[(1, SOLD)]));
    assert_eq!(sent.events.len(), 1 + 14, "events of 30 nights each, and the move");
    assert!(matches!(sent.outcome, Outcome::Decided { code: 0, .. }), "{:?}", sent.outcome);
    accept(&mut driver, &leave(1));
}

#[test]
fn the_largest_request_can_be_refused_with_every_reason() {
    let mut driver = empty_hotel();
    let country = Some("PRT".into());
    let asked = CreateReservation { acceptance: Acceptance::Request, country, ..largest(true) };
    let rejected: ReservationRejected = driver.send(&asked).only();
    assert_eq!(rejected.reasons.len(), 2 * 60 * NIGHTS as usize);
    assert_eq!(rejected.reasons[0].rule, Rule::SoldOut);
}

/// A hotel of which every night is held back and every day is in use, down to the last unit.
fn crowded_hotel() -> Driver {
    let mut driver = hotel();
    let products = [SOLD, HELD, ALSO];
    for product in products {
        accept(&mut driver, &define(product, 1, true));
    }
    let (first_night, last_night) = (None, None);
    let three =
        SetPhysicalCount { property_id: HOTEL, product: None, first_night, last_night, count: 3 };
    accept(&mut driver, &three);
    for (product, allowance) in
        [None, Some(SOLD), Some(HELD), Some(ALSO)].into_iter().zip([-3, -1, -1, -1])
    {
        let product = product.map(code);
        let held_back =
            SetOverbooking { property_id: HOTEL, product, first_night, last_night, allowance };
        accept(&mut driver, &held_back);
    }
    for (number, days) in (1_000..).zip(0..60) {
        let day = |day| products.map(|product| line(product, 1, days * NIGHTS + day, 0));
        let uses = CreateReservation {
            acceptance: Acceptance::AlreadySold,
            external_refs: Vec::new(),
            ..create(number, (0..NIGHTS).flat_map(day).collect())
        };
        accept(&mut driver, &uses);
    }
    driver
}

#[test]
fn the_largest_booking_can_oversell_every_night_and_every_day() {
    for apart in [false, true] {
        let mut driver = crowded_hotel();
        let created: ReservationCreated = accept(&mut driver, &largest(apart)).only();
        let days = created.oversold.iter().filter(|at| at.day_use).count();
        assert!(days >= 2 * (NIGHTS as usize - 1), "{days}");
        move_all(&mut driver, HELD);
        driver.set_time(noon(TODAY.plus(1)));
        accept(&mut driver, &no_show(1));
        let event: ReservationCheckedIn = arrive_in(&mut driver, ALSO).only();
        assert!(event.oversold.iter().any(|at| at.day_use));
    }
}

#[test]
fn the_largest_request_can_be_refused_for_every_night_and_every_day() {
    let mut driver = crowded_hotel();
    let country = Some("PRT".into());
    let asked = CreateReservation { acceptance: Acceptance::Request, country, ..largest(true) };
    let rejected: ReservationRejected = driver.send(&asked).only();
    let days = rejected.reasons.iter().filter(|it| it.rule == Rule::DayUseFull).count();
    assert!(days >= 2 * 60 * (NIGHTS as usize - 1), "{days}");
}
