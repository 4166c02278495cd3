//! The guest has not come.

use bellhop_core::prelude::*;
use bellhop_schemas::command::MarkNoShow;
use bellhop_schemas::event::{ReservationCreated, ReservationNoShow, ReservationRejected};

use super::address::{Address, Found, addressed};
use crate::rejection::{Refused, Rejection};
use crate::state::external_ref::ExternalRefs;
use crate::state::property::Property;
use crate::state::reservation::{Reservation, Step};

/// Records that the guest has not come, from the day of arrival on, and gives back all nights.
///
/// # Rejections, in order
/// `UnknownProperty`, `UnknownReservation`, `WrongState`, `BeforeArrival`.
#[handler]
pub fn mark_no_show(
    command: MarkNoShow,
    properties: &Store<Property>,
    reservations: &Store<Reservation>,
    external_refs: &Store<ExternalRefs>,
    cx: &Context,
) -> Result<ReservationNoShow, Rejection> {
    let found = Address::from(&command).find(
        Step::NoShow,
        properties,
        reservations,
        external_refs,
        cx.now,
    )?;
    found.check_arrival()?;
    let Found { business_date, reservation_id, booking } = found;
    let ReservationCreated { confirmation_number, booked_at, country, lines, .. } = booking;
    Ok(ReservationNoShow {
        property_id: command.property_id,
        business_date,
        reservation_id,
        confirmation_number,
        booked_at,
        country,
        released: lines,
    })
}

addressed!(MarkNoShow);

#[cfg(test)]
mod tests {
    use bellhop_schemas::event::ReservationCreated;
    use bellhop_schemas::reason::Rule;

    use super::*;
    use crate::fixtures::*;
    use crate::state::reservation::ReservationState;

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &cancel(1));
        accept(&mut driver, &create(2, vec![line("DBL", 1, 2, 1)]));
        let lines = vec![line("DBL", 1, 5, 1), line("TWN", 3, 1, 2)];
        let created: ReservationCreated = accept(&mut driver, &create(3, lines)).only();
        driver.set_time(noon(TODAY.plus(1)));
        let sent = hold_to_table(
            &mut driver,
            &no_show(3),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::UnknownReservation, |it| it.reservation_id = Some(id(4))),
                (Rule::WrongState, |it| it.reservation_id = Some(id(1))),
                (Rule::BeforeArrival, |it| it.reservation_id = Some(id(2))),
            ],
        );
        let event: ReservationNoShow = sent.only();
        assert_eq!(event.business_date, TODAY.plus(1));
        assert_eq!(event.released, created.lines);
        assert_eq!(sold(&driver, HOUSE), [0, 0, 1, 0, 0, 0]);
        assert_eq!(state(&driver, 3), ReservationState::NoShow);
    }

    #[test]
    fn nights_that_have_passed_are_given_back_too() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 5)]));
        driver.set_time(noon(TODAY.plus(3)));
        accept(&mut driver, &no_show(1));
        assert_eq!(sold(&driver, Some("DBL")), [0; 5]);
    }
}
