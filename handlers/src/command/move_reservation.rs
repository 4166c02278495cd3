//! Lines are given another product, before the guest comes or in house.

use bellhop_core::prelude::*;
use bellhop_schemas::command::MoveReservation;
use bellhop_schemas::event::{ReservationCreated, ReservationMoved, ReservationRejected};
use bellhop_schemas::reason::Rule;

use super::address::{Address, Found, addressed};
use super::assignment::moves;
use crate::rejection::{Findings, Refused, Rejection, because, beyond};
use crate::state::external_ref::ExternalRefs;
use crate::state::inventory::{Inventory, Sum, Tally};
use crate::state::property::Property;
use crate::state::reservation::{Reservation, Step};

/// Moves the nights from the business date on. It is a fact: nights that it takes above their limit
/// are listed, never refused. The product sold stays.
///
/// # Rejections, in order
/// Each alone: `UnknownProperty`, `ReservationNotNamed`, `UnknownReservation`, `NamesDisagree`,
/// `Finished`, `WrongState`, `BadLines` (no assignment); then for each assignment `UnknownLine` or `BadLines` (a
/// line that has one already), and `UnknownProduct`.
#[handler]
pub fn move_reservation(
    command: MoveReservation,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    reservations: &Store<Reservation>,
    external_refs: &Store<ExternalRefs>,
    cx: &Context,
) -> Result<ReservationMoved, Rejection> {
    let found =
        Address::from(&command).find(Step::Move, properties, reservations, external_refs, cx)?;
    let inventory = inventories
        .get(&command.property_id)
        .ok_or_else(|| found.refuse(because(Rule::UnknownProperty)))?;
    let mut faults = Findings::default();
    if command.assignments.is_empty() {
        faults.add("assignments", beyond(Rule::BadLines, 0, 1));
    }
    let Found { booking, business_date, .. } = &found;
    let moves = moves(&booking.lines, &command.assignments, *business_date, inventory, &mut faults);
    found.check(faults)?;
    let mut tally = Tally::default();
    tally.add_moves(inventory, &moves);
    let oversold = inventory.oversold_by(tally, &Sum::default());

    let Found { business_date, reservation_id, booking, .. } = found;
    let ReservationCreated { confirmation_number, booked_at, country, .. } = booking;
    Ok(ReservationMoved {
        property_id: command.property_id,
        business_date,
        reservation_id,
        confirmation_number,
        booked_at,
        country,
        moves,
        oversold,
    })
}

addressed!(MoveReservation);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;
    use crate::state::reservation::ReservationState;

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &cancel(1));
        accept(&mut driver, &create(2, vec![line("DBL", 2, 1, 2), line("TWN", 1, 4, 1)]));
        let sent = hold_to_table(
            &mut driver,
            &relocate(2, &[(1, "TWN"), (2, "TWN")]),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::UnknownReservation, |it| it.reservation_id = Some(id(4))),
                (Rule::WrongState, |it| it.reservation_id = Some(id(1))),
                (Rule::BadLines, |it| it.assignments.clear()),
                (Rule::UnknownLine, |it| it.assignments = vec![assign(3, "TWN")]),
                (Rule::BadLines, |it| it.assignments = vec![assign(1, "TWN"), assign(1, "TWN")]),
                (Rule::UnknownProduct, |it| it.assignments = vec![assign(1, "SUI")]),
            ],
        );
        let event: ReservationMoved = sent.only();
        let [moved] = event.moves.as_slice() else { panic!("line 2 stays: {event:?}") };
        assert_eq!(
            (nights(&moved.line), &moved.held),
            (vec![(1, "DBL"), (2, "DBL")], &code("TWN"))
        );
        assert_eq!(event.oversold, []);
        assert_eq!(sold(&driver, Some("DBL")), [0, 0, 0]);
        assert_eq!(sold(&driver, Some("TWN")), [0, 2, 2, 0, 1]);
        assert_eq!(sold(&driver, HOUSE), [0, 2, 2, 0, 1]);
        assert_eq!(state(&driver, 2), ReservationState::Confirmed);
    }

    #[test]
    fn a_guest_in_house_moves_from_the_business_date_on() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("TWN", 4, 2, 1)]));
        accept(&mut driver, &create(2, vec![line("DBL", 1, 0, 3)]));
        accept(&mut driver, &arrive(2, &[]));
        driver.set_time(noon(TODAY.plus(1)));
        let event: ReservationMoved = accept(&mut driver, &relocate(2, &[(1, "TWN")])).only();
        assert_eq!(nights(&event.moves[0].line), [(1, "DBL"), (2, "DBL")], "one night was slept");
        assert_eq!(oversold(&event.oversold), [(Some("TWN"), 2, 1)]);
        accept(&mut driver, &leave(2));
        assert_eq!(sold(&driver, Some("DBL")), [1, 0, 0]);
        assert_eq!(sold(&driver, Some("TWN")), [0, 0, 4]);
        assert_eq!(rules(&driver.send(&relocate(2, &[(1, "DBL")]))), [Rule::WrongState]);
    }

    #[test]
    fn what_a_line_holds_already_does_not_move() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 2)]));
        let event: ReservationMoved = accept(&mut driver, &relocate(1, &[(1, "DBL")])).only();
        assert_eq!((event.moves, event.oversold), (vec![], vec![]));
    }
}
