//! The guest has come.

use bellhop_core::prelude::*;
use bellhop_schemas::command::{Assignment, CheckIn};
use bellhop_schemas::event::{ReservationCheckedIn, ReservationCreated, ReservationRejected};
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{Line, LineChange};

use super::address::{Address, Found, addressed};
use crate::rejection::{Refused, Rejection, because};
use crate::state::external_ref::ExternalRefs;
use crate::state::inventory::{Inventory, Tally};
use crate::state::property::Property;
use crate::state::reservation::{Reservation, Step};

/// Records that the guest has come, and which products the lines are given. It is a fact: nights
/// that a move takes above their limit are listed, never refused.
///
/// # Rejections, in order
/// `UnknownProperty`, `UnknownReservation`, `WrongState`, `BeforeArrival`; then for each assignment
/// `UnknownLine`, `BadLines` (a line that has one already), `UnknownProduct`.
#[handler]
pub fn check_in(
    command: CheckIn,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    reservations: &Store<Reservation>,
    external_refs: &Store<ExternalRefs>,
    cx: &Context,
) -> Result<ReservationCheckedIn, Rejection> {
    let found = Address::from(&command).find(
        Step::CheckIn,
        properties,
        reservations,
        external_refs,
        cx.now,
    )?;
    found.check_arrival()?;
    let inventory = inventories
        .get(&command.property_id)
        .ok_or_else(|| found.refuse(because(Rule::UnknownProperty)))?;
    let moved = moves(&found.booking.lines, &command.assignments, inventory)
        .map_err(|reason| found.refuse(reason))?;
    let oversold = inventory.oversold_by(tally(&moved, inventory));

    let Found { business_date, reservation_id, booking } = found;
    let ReservationCreated { confirmation_number, booked_at, country, .. } = booking;
    Ok(ReservationCheckedIn {
        property_id: command.property_id,
        business_date,
        reservation_id,
        confirmation_number,
        booked_at,
        country,
        moved,
        oversold,
    })
}

/// The lines whose nights are to be held by another product, each with those nights alone.
fn moves(
    lines: &[Line],
    assignments: &[Assignment],
    inventory: &Inventory,
) -> Result<Vec<LineChange>, Reason> {
    let mut moved = Vec::new();
    for (place, assignment) in assignments.iter().enumerate() {
        let Assignment { line, product } = assignment;
        let numbered = |rule| Reason { asked: Some((*line).into()), ..because(rule) };
        let line = lines
            .iter()
            .find(|known| known.number == *line)
            .ok_or_else(|| numbered(Rule::UnknownLine))?;
        if assignments[..place].iter().any(|earlier| earlier.line == assignment.line) {
            return Err(numbered(Rule::BadLines));
        }
        if inventory.index_of(product).is_none() {
            return Err(Reason {
                product: Some(product.clone()),
                ..numbered(Rule::UnknownProduct)
            });
        }
        let nights = line.nights.iter().filter(|at| line.held(at) != product).cloned();
        let before = Line { nights: nights.collect(), ..line.clone() };
        if !before.nights.is_empty() {
            let mut after = before.clone();
            after.nights.iter_mut().for_each(|at| at.held = line.holding(product));
            moved.push(LineChange { before, after });
        }
    }
    Ok(moved)
}

/// What the moves add to each night, and take from it.
fn tally(moved: &[LineChange], inventory: &Inventory) -> Tally {
    let mut tally = Tally::default();
    for LineChange { before, after } in moved {
        tally.add_line(inventory, before, -1);
        tally.add_line(inventory, after, 1);
    }
    tally
}

addressed!(CheckIn);

#[cfg(test)]
mod tests {
    use bellhop_schemas::event::ReservationCancelled;

    use super::*;
    use crate::fixtures::*;
    use crate::state::reservation::ReservationState;

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &cancel(1));
        accept(&mut driver, &create(2, vec![line("DBL", 1, 2, 1)]));
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
                (Rule::UnknownLine, |it| it.assignments[1].line = 3),
                (Rule::BadLines, |it| it.assignments[1].line = 1),
                (Rule::UnknownProduct, |it| it.assignments[1].product = code("SUI")),
            ],
        );
        let event: ReservationCheckedIn = sent.only();
        let [change] = event.moved.as_slice() else { panic!("line 2 stays: {event:?}") };
        assert_eq!(nights(&change.before), [(1, "DBL"), (2, "DBL")]);
        assert_eq!(nights(&change.after), [(1, "TWN"), (2, "TWN")]);
        assert_eq!(change.after.product, code("DBL"), "the product sold stays");
        assert_eq!(event.oversold, []);
        assert_eq!(sold(&driver, Some("DBL")), [0, 0, 1, 0, 0]);
        assert_eq!(sold(&driver, Some("TWN")), [0, 2, 2, 0, 1]);
        assert_eq!(sold(&driver, HOUSE), [0, 2, 3, 0, 1]);
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
        assert_eq!((event.moved.len(), event.oversold), (2, vec![]));
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
