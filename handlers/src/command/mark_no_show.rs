//! The guest has not come.

use bellhop_core::prelude::*;
use bellhop_schemas::command::MarkNoShow;
use bellhop_schemas::event::{ReservationCreated, ReservationNoShow, ReservationRejected};
use bellhop_schemas::reason::{Reason, Rule};

use super::address::{Address, Found, addressed};
use crate::rejection::{Refused, Rejection, because};
use crate::state::external_ref::ExternalRefs;
use crate::state::property::Property;
use crate::state::reservation::{Reservation, Step};

/// Records that the guest has not come, and gives back all nights. It can be said from the property's
/// hour of the day of arrival on, or where it states none once that business date has ended. A guest
/// who comes after all is checked in.
///
/// # Rejections, in order
/// Each alone: `UnknownProperty`, `ReservationNotNamed`, `UnknownReservation`, `NamesDisagree`,
/// `Finished`, `WrongState`, `NoShowTooEarly`.
#[handler]
pub fn mark_no_show(
    command: MarkNoShow,
    properties: &Store<Property>,
    reservations: &Store<Reservation>,
    external_refs: &Store<ExternalRefs>,
    cx: &Context,
) -> Result<ReservationNoShow, Rejection> {
    let found =
        Address::from(&command).find(Step::NoShow, properties, reservations, external_refs, cx)?;
    let arrival = found.booking.arrival();
    if let Some(night) = arrival.filter(|arrival| !found.property.is_no_show(*arrival, cx.now)) {
        return Err(found.refuse(Reason { night: Some(night), ..because(Rule::NoShowTooEarly) }));
    }
    let Found { business_date, reservation_id, booking, .. } = found;
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
    use bellhop_core::driver::Driver;
    use bellhop_core::message::HOUR_US;
    use bellhop_schemas::command::{DefineProperty, MarkNoShow};

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
        driver.set_time(noon(TODAY.plus(2)));
        let sent = hold_to_table(
            &mut driver,
            &no_show(3),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::UnknownReservation, |it| it.reservation_id = Some(id(4))),
                (Rule::WrongState, |it| it.reservation_id = Some(id(1))),
                (Rule::NoShowTooEarly, |it| it.reservation_id = Some(id(2))),
            ],
        );
        let event: ReservationNoShow = sent.only();
        assert_eq!(event.business_date, TODAY.plus(2));
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

    /// The first of these instants that a no-show is accepted at.
    fn first_accepted(
        driver: &mut Driver,
        instants: impl IntoIterator<Item = Timestamp>,
    ) -> Timestamp {
        let accepted = instants.into_iter().find(|now| {
            driver.set_time(*now);
            let command = MarkNoShow { ..no_show(1) };
            rules(&driver.send(&command)).is_empty()
        });
        accepted.expect("a no-show some time")
    }

    #[test]
    fn a_guest_may_come_until_the_business_date_of_the_arrival_ends() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        let roll = noon(TODAY.plus(1)).0 - 9 * HOUR_US;
        let instants = [noon(TODAY).0, roll - 1, roll].map(Timestamp);
        assert_eq!(first_accepted(&mut driver, instants), Timestamp(roll));
    }

    #[test]
    fn a_property_may_state_the_hour() {
        let mut driver = Driver::new(noon(TODAY));
        accept(&mut driver, &DefineProperty { no_show_hour: Some(18), ..define_hotel(HOTEL) });
        accept(&mut driver, &define("DBL", 8, true));
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        let hour = noon(TODAY).0 + 6 * HOUR_US;
        let instants = [noon(TODAY).0, hour - 1, hour].map(Timestamp);
        assert_eq!(first_accepted(&mut driver, instants), Timestamp(hour));
    }
}
