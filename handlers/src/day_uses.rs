//! Nights and day uses of one unit, held against each other by every command that takes either.

use bellhop_core::driver::Driver;
use bellhop_core::message::{HOUR_US, Timestamp};
use bellhop_schemas::command::{Acceptance, CreateReservation, SetOverbooking, SetPhysicalCount};
use bellhop_schemas::event::{
    PhysicalCountChanged, ReservationCheckedIn, ReservationCheckedOut, ReservationCreated,
    ReservationExtended, ReservationMoved, ReservationRejected,
};
use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{OversoldNight, Price, RequestedLine};

use crate::fixtures::*;

fn day_use(product: &str, units: i32, day: i32) -> RequestedLine {
    RequestedLine { day_use: Some(Price::default()), ..line(product, units, day, 0) }
}

fn already_sold(number: u128, lines: Vec<RequestedLine>) -> CreateReservation {
    CreateReservation { acceptance: Acceptance::AlreadySold, ..create(number, lines) }
}

/// The reasons with their days after today, what was asked for and what is left.
fn short(driver: &mut Driver, command: &CreateReservation) -> Vec<(Rule, i32, i64, i64)> {
    let reasons = reasons(&driver.send(command));
    let row = |reason: &Reason| {
        let day = TODAY.until(reason.night.expect("a day"));
        (reason.rule, day, reason.asked.expect("asked"), reason.allowed.expect("allowed"))
    };
    reasons.iter().map(row).collect()
}

/// Oversold days alone, in days after today.
fn days(listed: &[OversoldNight]) -> Vec<(Option<&str>, i32, i32)> {
    let days = listed.iter().filter(|at| at.day_use);
    days.map(|at| {
        let product = at.product.as_ref().map(ProductCode::as_str);
        (product, TODAY.until(at.night), at.units)
    })
    .collect()
}

#[test]
fn a_stay_over_a_day_needs_a_unit_that_no_day_use_has() {
    let mut hotel = hotel();
    accept(&mut hotel, &create(1, vec![day_use("TWN", 3, 2)]));
    // Of four units three are in use over day 2: one guest can stay over it.
    assert_eq!(
        short(&mut hotel, &create(2, vec![line("TWN", 2, 1, 2)])),
        [(Rule::DayUseFull, 2, 2, 1)]
    );
    accept(&mut hotel, &create(2, vec![line("TWN", 1, 1, 2)]));
    // Who leaves on the day, or comes on it, stays over no day: nobody has both nights.
    let leaves = create(3, vec![line("TWN", 3, 0, 2)]);
    accept(&mut hotel, &leaves);
    accept(&mut hotel, &cancel(3));
    accept(&mut hotel, &create(4, vec![line("TWN", 3, 2, 2)]));
    // Now the night after is full, and every unit of the night before may stay over the day.
    assert_eq!(
        short(&mut hotel, &create(5, vec![line("TWN", 1, 1, 1)])),
        [(Rule::DayUseFull, 2, 1, 0)]
    );
}

#[test]
fn the_order_of_the_two_requests_does_not_matter() {
    for nights_first in [false, true] {
        let mut hotel = hotel();
        let stay = create(1, vec![line("DBL", 8, 0, 2)]);
        let over = create(2, vec![day_use("DBL", 1, 1)]);
        let (first, second) = if nights_first { (stay, over) } else { (over, stay) };
        accept(&mut hotel, &first);
        let refused = rules(&hotel.send(&second));
        assert_eq!(refused, [Rule::DayUseFull], "nights first: {nights_first}");
    }
}

#[test]
fn lines_of_one_request_are_held_against_each_other() {
    let mut hotel = hotel();
    let both = create(1, vec![line("TWN", 3, 0, 2), day_use("TWN", 2, 1)]);
    assert_eq!(short(&mut hotel, &both), [(Rule::DayUseFull, 1, 5, 4)]);
    accept(&mut hotel, &create(1, vec![line("TWN", 3, 0, 2), day_use("TWN", 1, 1)]));
}

#[test]
fn the_house_is_held_against_the_day_uses_of_all_its_products() {
    let mut hotel = hotel();
    accept(&mut hotel, &create(1, vec![day_use("DBL", 6, 1), day_use("BED", 3, 1)]));
    // The house has 10; the beds are not in it.
    assert_eq!(
        short(&mut hotel, &create(2, vec![line("TWN", 4, 0, 2), line("DBL", 1, 0, 2)])),
        [(Rule::DayUseFull, 1, 5, 4)]
    );
    accept(&mut hotel, &create(2, vec![line("TWN", 4, 0, 2)]));
    assert_eq!(
        short(&mut hotel, &create(3, vec![line("BED", 1, 0, 2)])),
        [(Rule::DayUseFull, 1, 1, 0)]
    );
}

#[test]
fn an_allowance_counts_for_the_nights_of_a_request_and_not_for_its_day_uses() {
    let mut hotel = hotel();
    let allowance = SetOverbooking {
        property_id: HOTEL,
        product: Some(code("TWN")),
        first_night: None,
        last_night: None,
        allowance: 1,
    };
    accept(&mut hotel, &allowance);
    accept(&mut hotel, &create(1, vec![day_use("TWN", 2, 1)]));
    accept(&mut hotel, &create(2, vec![line("TWN", 3, 0, 2)]));
    assert_eq!(
        short(&mut hotel, &create(3, vec![line("TWN", 1, 0, 2)])),
        [(Rule::DayUseFull, 1, 1, 0)]
    );
    assert_eq!(
        short(&mut hotel, &create(3, vec![day_use("TWN", 1, 1)])),
        [(Rule::DayUseFull, 1, 1, 0)]
    );
}

#[test]
fn alternatives_leave_the_day_uses_their_units() {
    let mut hotel = hotel();
    accept(&mut hotel, &create(1, vec![day_use("TWN", 4, 1), day_use("TWN", 4, 2)]));
    let sent = hotel.send(&create(2, vec![line("TWN", 1, 0, 2)]));
    let rejected: ReservationRejected = sent.only();
    let offered = rejected
        .alternatives
        .iter()
        .map(|it| (it.product.as_str(), TODAY.until(it.arrival), TODAY.until(it.departure)));
    let offered: Vec<_> = offered.collect();
    assert_eq!(offered, [("TWN", 2, 4), ("TWN", 3, 5), ("TWN", 4, 6)], "not from 1 to 3");
}

#[test]
fn a_booking_that_is_sold_already_lists_the_days_that_it_oversells() {
    let mut hotel = hotel();
    accept(&mut hotel, &create(1, vec![day_use("TWN", 3, 1)]));
    let sent = accept(&mut hotel, &already_sold(2, vec![line("TWN", 3, 0, 2)]));
    let created: ReservationCreated = sent.only();
    assert_eq!(days(&created.oversold), [(Some("TWN"), 1, 2)]);
    assert_eq!(created.oversold.len(), 1, "no night is above its limit");
    // Nights that leave the day as it is list nothing.
    let later: ReservationCreated =
        accept(&mut hotel, &already_sold(3, vec![line("TWN", 1, 1, 2)])).only();
    assert_eq!(days(&later.oversold), []);
}

#[test]
fn early_arrivals_moves_and_reinstated_guests_list_the_days_that_they_oversell() {
    let mut hotel = hotel();
    accept(&mut hotel, &create(1, vec![day_use("TWN", 4, 1), day_use("DBL", 6, 2)]));
    accept(&mut hotel, &create(2, vec![line("TWN", 1, 1, 1)]));
    let early: ReservationCheckedIn = accept(&mut hotel, &arrive(2, &[])).only();
    assert_eq!(days(&early.oversold), [(Some("TWN"), 1, 1)]);

    accept(&mut hotel, &create(3, vec![line("DBL", 4, 0, 1), line("TWN", 3, 1, 2)]));
    let moved: ReservationMoved = accept(&mut hotel, &relocate(3, &[(2, "DBL")])).only();
    assert_eq!(days(&moved.oversold), [(Some("DBL"), 2, 1)]);
    assert_eq!(moved.oversold.len(), 1);

    accept(&mut hotel, &create(4, vec![line("BED", 1, 0, 3)]));
    hotel.set_time(noon(TODAY.plus(1)));
    accept(&mut hotel, &no_show(4));
    accept(&mut hotel, &create(5, vec![day_use("BED", 3, 2)]));
    let back: ReservationCheckedIn = accept(&mut hotel, &arrive(4, &[])).only();
    assert_eq!(days(&back.oversold), [(Some("BED"), 2, 1)]);
}

#[test]
fn a_guest_who_stays_on_lists_the_day_that_is_oversold() {
    let mut hotel = hotel();
    accept(&mut hotel, &create(1, vec![line("TWN", 1, 0, 1)]));
    accept(&mut hotel, &create(2, vec![line("TWN", 1, 0, 1)]));
    accept(&mut hotel, &arrive(1, &[]));
    accept(&mut hotel, &arrive(2, &[]));
    accept(&mut hotel, &create(3, vec![day_use("TWN", 4, 1)]));
    hotel.set_time(noon(TODAY.plus(2)));
    let sent = hotel.send(&cancel(999));
    let extended = sent.events.iter().filter_map(|event| event.body::<ReservationExtended>());
    let extended: Vec<_> = extended.map(|event| event.oversold).collect();
    let listed: Vec<_> = extended.iter().map(|listed| days(listed)).collect();
    assert_eq!(listed, [[(Some("TWN"), 1, 1)], [(Some("TWN"), 1, 2)]], "guest after guest");
}

#[test]
fn a_guest_who_leaves_on_the_day_of_arrival_uses_the_day_in_place_of_the_night() {
    let mut hotel = hotel();
    accept(&mut hotel, &already_sold(1, vec![line("TWN", 3, -1, 2)]));
    accept(&mut hotel, &create(2, vec![line("TWN", 1, 0, 2)]));
    accept(&mut hotel, &arrive(2, &[]));
    hotel.set_time(Timestamp(noon(TODAY).0 + 2 * HOUR_US));
    let left: ReservationCheckedOut = accept(&mut hotel, &leave(2)).only();
    assert_eq!(left.oversold, [], "three stay over the day, and the fourth unit is in use");
}

#[test]
fn a_lowered_count_lists_the_days_that_it_oversells() {
    let mut hotel = hotel();
    accept(&mut hotel, &create(1, vec![line("TWN", 1, 1, 2), day_use("TWN", 2, 2)]));
    let lower = |count| SetPhysicalCount {
        property_id: HOTEL,
        product: Some(code("TWN")),
        first_night: None,
        last_night: None,
        count,
    };
    let enough: PhysicalCountChanged = accept(&mut hotel, &lower(3)).only();
    assert_eq!(enough.oversold, []);
    let less: PhysicalCountChanged = accept(&mut hotel, &lower(1)).only();
    assert_eq!(days(&less.oversold), [(Some("TWN"), 2, 2)]);
}
