//! The guest has come.

use bellhop_core::prelude::*;
use bellhop_schemas::command::{Assignment, CheckIn};
use bellhop_schemas::event::{ReservationCheckedIn, ReservationCreated, ReservationRejected};
use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{Line, LineNight, Price};

use super::address::{Address, Found, addressed};
use super::assignment::moves;
use crate::rejection::{Findings, Refused, Rejection, because};
use crate::state::external_ref::ExternalRefs;
use crate::state::inventory::{Inventory, Sum, Tally};
use crate::state::property::Property;
use crate::state::reservation::{Reservation, ReservationState, Step, hold};

/// Nights before the day of arrival on which a guest may come.
const EARLY_NIGHTS_MAX: i32 = 7;

/// Records that the guest has come, and which products the lines are given. It is a fact: nights
/// that it takes above their limit are listed, never refused.
///
/// - A guest who comes before the day of arrival, or on it before the roll hour, holds the nights
///   from the business date on as well, without a price, by the lines that were to arrive first.
/// - A no-show who has come after all takes back the nights from the business date on.
/// - An assignment moves the nights from the business date on.
///
/// # Rejections, in order
/// Each alone: `UnknownProperty`, `ReservationNotNamed`, `UnknownReservation`, `NamesDisagree`,
/// `Finished`, `WrongState`, `BeforeArrival` (by more than seven nights), `AfterDeparture`; then
/// for each assignment `UnknownLine` or `BadLines` (a line that has one already), and
/// `UnknownProduct`.
#[handler]
pub fn check_in(
    command: CheckIn,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    reservations: &Store<Reservation>,
    external_refs: &Store<ExternalRefs>,
    cx: &Context,
) -> Result<ReservationCheckedIn, Rejection> {
    let found =
        Address::from(&command).find(Step::CheckIn, properties, reservations, external_refs, cx)?;
    check_days(&found)?;
    let inventory = inventories
        .get(&command.property_id)
        .ok_or_else(|| found.refuse(because(Rule::UnknownProperty)))?;
    let business_date = found.business_date;
    let reinstated = match found.state {
        ReservationState::NoShow => to_come(&found.booking.lines, business_date),
        ReservationState::Requested
        | ReservationState::Pending
        | ReservationState::Confirmed
        | ReservationState::CheckedIn
        | ReservationState::CheckedOut
        | ReservationState::Cancelled
        | ReservationState::Expired
        | ReservationState::Waitlisted
        | ReservationState::Rejected
        | ReservationState::Finished => Vec::new(),
    };
    let lines = if reinstated.is_empty() { &found.booking.lines } else { &reinstated };
    let mut faults = Findings::default();
    let moves = moves(lines, &command.assignments, business_date, inventory, &mut faults);
    found.check(faults)?;
    let mut held = lines.clone();
    hold(&mut held, &moves);
    let added = early(&held, &command.assignments, business_date);

    let mut tally = Tally::of(inventory, &reinstated);
    tally.add_moves(inventory, &moves);
    tally.add_lines(inventory, &added);
    let oversold = inventory.oversold_by(tally, &Sum::default());

    let Found { reservation_id, booking, .. } = found;
    let ReservationCreated { confirmation_number, booked_at, country, .. } = booking;
    Ok(ReservationCheckedIn {
        property_id: command.property_id,
        business_date,
        reservation_id,
        confirmation_number,
        booked_at,
        country,
        moves,
        added,
        reinstated,
        oversold,
    })
}

/// A guest comes within a week of the arrival, and before the last departure.
fn check_days(found: &Found<'_>) -> Result<(), Rejection> {
    let Found { booking, business_date, .. } = found;
    let (Some(arrival), Some(departure)) = (booking.arrival(), booking.departure()) else {
        return Ok(());
    };
    let refuse = |night, rule| Err(found.refuse(Reason { night: Some(night), ..because(rule) }));
    if business_date.until(arrival) > EARLY_NIGHTS_MAX {
        return refuse(arrival, Rule::BeforeArrival);
    }
    if *business_date > arrival && *business_date >= departure {
        return refuse(departure, Rule::AfterDeparture);
    }
    Ok(())
}

/// The lines with their nights from a date on; a day use that has passed is left out.
fn to_come(lines: &[Line], from: Night) -> Vec<Line> {
    let to_come = lines.iter().filter(|line| !line.is_day_use() || line.arrival >= from);
    let to_come = to_come.map(|line| {
        let nights = line.nights.iter().filter(|at| at.night >= from).cloned();
        Line { nights: nights.collect(), ..line.clone() }
    });
    to_come.collect()
}

/// The nights before the arrival, of the lines that were to arrive first.
fn early(lines: &[Line], assignments: &[Assignment], business_date: Night) -> Vec<Line> {
    let arrival = lines.iter().map(|line| line.arrival).min();
    let Some(arrival) = arrival.filter(|arrival| business_date < *arrival) else {
        return Vec::new();
    };
    let first = lines.iter().filter(|line| line.arrival == arrival);
    let lines = first.map(|line| {
        let held = match line.nights.first() {
            Some(at) => at.held.clone(),
            None => assigned(line, assignments).and_then(|product| line.holding(product)),
        };
        let nights = business_date.nights_to(arrival).map(|night| LineNight {
            night,
            held: held.clone(),
            price: Price::default(),
        });
        line.with_nights(nights.collect())
    });
    lines.collect()
}

fn assigned<'a>(line: &Line, assignments: &'a [Assignment]) -> Option<&'a ProductCode> {
    let mut assignments = assignments.iter();
    assignments.find(|one| one.line == line.number).map(|one| &one.product)
}

addressed!(CheckIn);

#[cfg(test)]
mod tests {
    use bellhop_core::message::HOUR_US;
    use bellhop_schemas::event::ReservationCancelled;

    use super::*;
    use crate::fixtures::*;
    use crate::state::reservation::ReservationState;

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &cancel(1));
        accept(&mut driver, &create(2, vec![line("DBL", 1, 9, 1)]));
        accept(&mut driver, &create(5, vec![line("BED", 1, 0, 1)]));
        accept(&mut driver, &create(3, vec![line("DBL", 2, 1, 2), line("TWN", 1, 4, 1)]));
        driver.set_time(noon(TODAY.plus(1)));
        let sent = hold_to_table(
            &mut driver,
            &arrive(3, &[(1, "TWN"), (2, "TWN")]),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::UnknownReservation, |it| it.reservation_id = Some(id(4))),
                (Rule::WrongState, |it| it.reservation_id = Some(id(1))),
                (Rule::BeforeArrival, |it| it.reservation_id = Some(id(2))),
                (Rule::AfterDeparture, |it| it.reservation_id = Some(id(5))),
                (Rule::UnknownLine, |it| it.assignments[1].line = 3),
                (Rule::BadLines, |it| it.assignments[1].line = 1),
                (Rule::UnknownProduct, |it| it.assignments[1].product = code("SUI")),
            ],
        );
        let event: ReservationCheckedIn = sent.only();
        let [moved] = event.moves.as_slice() else { panic!("line 2 stays: {event:?}") };
        assert_eq!(nights(&moved.line), [(1, "DBL"), (2, "DBL")]);
        assert_eq!((&moved.held, &moved.line.product), (&code("TWN"), &code("DBL")));
        assert_eq!((event.added, event.reinstated, event.oversold), (vec![], vec![], vec![]));
        assert_eq!(sold(&driver, Some("DBL")), [0, 0, 0, 0, 0]);
        assert_eq!(sold(&driver, Some("TWN")), [0, 2, 2, 0, 1]);
        assert_eq!(sold(&driver, HOUSE), [0, 2, 2, 0, 1]);
        assert_eq!(state(&driver, 3), ReservationState::CheckedIn);
    }

    #[test]
    fn a_move_is_recorded_although_it_oversells() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("TWN", 4, 1, 1)]));
        accept(&mut driver, &create(2, vec![line("DBL", 2, 0, 2)]));
        let event: ReservationCheckedIn = accept(&mut driver, &arrive(2, &[(1, "TWN")])).only();
        assert_eq!(oversold(&event.oversold), [(Some("TWN"), 1, 2)]);
        assert_eq!(cell(&driver, Some("TWN"), 1).available(), -2);
        assert_eq!(sold(&driver, HOUSE), [2, 6]);
    }

    #[test]
    fn a_move_into_statistics_may_oversell_the_house() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 8, 0, 1), line("TWN", 2, 0, 1)]));
        accept(&mut driver, &create(2, vec![line("BED", 1, 0, 1)]));
        let event: ReservationCheckedIn = accept(&mut driver, &arrive(2, &[(1, "TWN")])).only();
        assert_eq!(oversold(&event.oversold), [(None, 0, 1)]);
        assert_eq!(sold(&driver, HOUSE), [11]);
        assert_eq!(sold(&driver, Some("BED")), [0]);
    }

    #[test]
    fn lines_that_change_places_oversell_nothing() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("TWN", 4, 0, 1), line("DBL", 4, 0, 1)]));
        let swap = arrive(1, &[(1, "DBL"), (2, "TWN")]);
        let event: ReservationCheckedIn = accept(&mut driver, &swap).only();
        assert_eq!((event.moves.len(), event.oversold), (2, vec![]));
    }

    #[test]
    fn a_guest_who_comes_early_holds_the_nights_from_then_on() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("TWN", 4, 1, 1)]));
        let lines = vec![line("DBL", 2, 2, 2), line("BED", 1, 2, 0), line("DBL", 1, 3, 1)];
        accept(&mut driver, &create(2, lines));
        let event: ReservationCheckedIn =
            accept(&mut driver, &arrive(2, &[(1, "TWN"), (2, "TWN")])).only();
        let added: Vec<_> = event.added.iter().map(|line| (line.number, nights(line))).collect();
        let both = vec![(0, "TWN"), (1, "TWN")];
        assert_eq!(added, [(1, both.clone()), (2, both)], "line 3 was to arrive later");
        assert!(event.added.iter().all(|line| !line.is_day_use()));
        assert_eq!(event.added[0].nights[0].price, Price::default());
        assert_eq!(oversold(&event.oversold), [(Some("TWN"), 1, 3)]);
        assert_eq!(sold(&driver, Some("TWN")), [3, 7, 2, 2]);
        assert_eq!(sold(&driver, Some("DBL")), [0, 0, 0, 1]);
        driver.set_time(noon(TODAY.plus(1)));
        accept(&mut driver, &leave(2));
        assert_eq!(sold(&driver, Some("TWN")), [3, 4, 0, 0]);
    }

    #[test]
    fn who_comes_before_the_roll_hour_of_the_day_of_arrival_sleeps_the_night_before() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 1, 1)]));
        // 00:30 of the day of arrival; the business date is the day before.
        driver.set_time(Timestamp(noon(TODAY.plus(1)).0 - 11 * HOUR_US - HOUR_US / 2));
        let event: ReservationCheckedIn = accept(&mut driver, &arrive(1, &[])).only();
        assert_eq!(event.business_date, TODAY);
        assert_eq!(nights(&event.added[0]), [(0, "DBL")]);
        assert_eq!(sold(&driver, HOUSE), [1, 1, 0]);
    }

    #[test]
    fn a_no_show_who_comes_after_all_takes_back_the_nights_to_come() {
        let mut driver = hotel();
        let mut day_use = line("DBL", 1, 0, 0);
        day_use.day_use = Some(Price::default());
        accept(&mut driver, &create(1, vec![line("TWN", 2, 0, 3), day_use]));
        driver.set_time(noon(TODAY.plus(1)));
        accept(&mut driver, &no_show(1));
        accept(&mut driver, &create(2, vec![line("TWN", 3, 2, 1)]));
        let event: ReservationCheckedIn = accept(&mut driver, &arrive(1, &[])).only();
        let [taken] = event.reinstated.as_slice() else { panic!("the day has passed: {event:?}") };
        assert_eq!(nights(taken), [(1, "TWN"), (2, "TWN")]);
        assert_eq!(taken.nights[0].price, line("TWN", 1, 0, 1).nights[0]);
        assert_eq!(oversold(&event.oversold), [(Some("TWN"), 2, 1)]);
        assert_eq!(sold(&driver, Some("TWN")), [0, 2, 5]);
        assert_eq!(state(&driver, 1), ReservationState::CheckedIn);
        driver.set_time(noon(TODAY.plus(2)));
        accept(&mut driver, &leave(1));
        assert_eq!(sold(&driver, Some("TWN")), [0, 2, 3], "what was not slept is given back once");
    }

    #[test]
    fn nobody_checks_in_once_the_last_departure_has_come() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 2), line("TWN", 1, 0, 1)]));
        accept(&mut driver, &create(2, vec![line("DBL", 1, 1, 0)]));
        driver.set_time(noon(TODAY.plus(1)));
        accept(&mut driver, &arrive(2, &[]));
        driver.set_time(noon(TODAY.plus(2)));
        let refused = reasons(&driver.send(&arrive(1, &[])));
        assert_eq!(refused[0].rule, Rule::AfterDeparture);
        assert_eq!(refused[0].night, Some(TODAY.plus(2)));
        // 02:59 of that day still belongs to the last night.
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 2)]));
        driver.set_time(Timestamp(noon(TODAY.plus(2)).0 - 9 * HOUR_US - 1));
        accept(&mut driver, &arrive(1, &[]));
    }

    #[test]
    fn a_checked_in_reservation_leaves_what_it_holds_now() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 2)]));
        accept(&mut driver, &arrive(1, &[(1, "TWN")]));
        assert_eq!(rules(&driver.send(&arrive(1, &[]))), [Rule::WrongState]);
        assert_eq!(rules(&driver.send(&no_show(1))), [Rule::WrongState]);
        accept(&mut driver, &leave(1));
        assert_eq!(sold(&driver, Some("TWN")), [0, 0]);
        assert_eq!(sold(&driver, Some("DBL")), [0, 0]);
    }

    #[test]
    fn a_product_that_comes_later_can_be_given() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &create(2, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &define("ABC", 1, true));
        accept(&mut driver, &arrive(1, &[(1, "ABC")]));
        assert_eq!(sold(&driver, Some("ABC")), [1]);
        let cancelled: ReservationCancelled = accept(&mut driver, &cancel(2)).only();
        assert_eq!(nights(&cancelled.released[0]), [(0, "DBL")]);
    }
}
