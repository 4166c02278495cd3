//! A reservation is given up before the guest comes.

use bellhop_core::prelude::*;
use bellhop_schemas::command::CancelReservation;
use bellhop_schemas::event::{ReservationCancelled, ReservationCreated, ReservationRejected};

use super::address::{Address, Found, addressed};
use super::limits;
use crate::rejection::{Findings, Refused, Rejection};
use crate::state::external_ref::ExternalRefs;
use crate::state::property::Property;
use crate::state::reservation::{Reservation, Step};

/// Cancels a confirmed reservation, gives back all of its nights, and frees its external references.
///
/// # Rejections, in order
/// Each alone: `UnknownProperty`, `ReservationNotNamed`, `UnknownReservation`, `NamesDisagree`,
/// `Finished`, `WrongState`, `TextTooLong` (the cause).
#[handler]
pub fn cancel_reservation(
    command: CancelReservation,
    properties: &Store<Property>,
    reservations: &Store<Reservation>,
    external_refs: &Store<ExternalRefs>,
    cx: &Context,
) -> Result<ReservationCancelled, Rejection> {
    let found =
        Address::from(&command).find(Step::Cancel, properties, reservations, external_refs, cx)?;
    let mut faults = Findings::default();
    if let Some(cause) = &command.cause {
        limits::check_text("cause", cause, &mut faults);
    }
    found.check(faults)?;
    let Found { business_date, reservation_id, booking, .. } = found;
    let ReservationCreated {
        confirmation_number, booked_at, country, external_refs, lines, ..
    } = booking;
    Ok(ReservationCancelled {
        property_id: command.property_id,
        business_date,
        reservation_id,
        confirmation_number,
        booked_at,
        country,
        cause: command.cause,
        released: lines,
        external_refs,
    })
}

addressed!(CancelReservation);

#[cfg(test)]
mod tests {
    use bellhop_schemas::command::CreateReservation;
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
        let lines = vec![line("DBL", 2, 0, 3), line("BED", 1, 1, 1), line("TWN", 1, 0, 0)];
        let created: ReservationCreated = accept(&mut driver, &create(2, lines)).only();
        let sent = hold_to_table(
            &mut driver,
            &cancel(2),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::UnknownReservation, |it| it.reservation_id = Some(id(3))),
                (Rule::WrongState, |it| it.reservation_id = Some(id(1))),
                (Rule::TextTooLong, |it| it.cause = Some("x".repeat(129).into())),
            ],
        );
        let cancelled: ReservationCancelled = sent.only();
        assert_eq!(cancelled.released, created.lines, "as they were booked");
        assert_eq!(cancelled.booked_at, created.booked_at);
        assert_eq!(cancelled.confirmation_number, created.confirmation_number);
        assert_eq!(cancelled.country, created.country);
        assert_eq!(cancelled.cause.as_deref(), Some("plans"));
        assert_eq!(sold(&driver, HOUSE), [0, 0, 0]);
        assert_eq!(sold(&driver, Some("BED")), [0, 0]);
        assert_eq!(state(&driver, 2), ReservationState::Cancelled);
    }

    #[test]
    fn a_reservation_is_found_by_the_number_of_another_system() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &create(2, vec![line("DBL", 1, 0, 1)]));
        let by = |number, reference| CancelReservation {
            reservation_id: number,
            external_ref: Some(pms(reference)),
            ..cancel(1)
        };
        for unknown in [by(None, "3"), by(Some(id(1)), "3")] {
            assert_eq!(rules(&driver.send(&unknown)), [Rule::UnknownReservation], "{unknown:?}");
        }
        assert_eq!(rules(&driver.send(&by(Some(id(2)), "1"))), [Rule::NamesDisagree]);
        let cancelled: ReservationCancelled = accept(&mut driver, &by(None, "2")).only();
        assert_eq!(cancelled.reservation_id, id(2));
        assert_eq!(cancelled.external_refs, [pms("2")]);
        assert_eq!(rules(&driver.send(&by(None, "2"))), [Rule::UnknownReservation]);
        let again: ReservationRejected = driver.send(&cancel(2)).only();
        assert_eq!(again.reasons[0].rule, Rule::WrongState);
        assert_eq!(again.reservation_id, Some(id(2)), "finished, and still known by its id");
    }

    #[test]
    fn the_number_of_another_system_is_free_again() {
        let mut driver = hotel();
        let lines = || vec![line("DBL", 1, 0, 1)];
        accept(&mut driver, &create(1, lines()));
        let changed = CreateReservation { external_refs: vec![pms("1")], ..create(2, lines()) };
        let refused = driver.send(&changed);
        let [reason] = reasons(&refused).try_into().unwrap_or_else(|_| panic!("{refused:?}"));
        assert_eq!((reason.rule, reason.reservation_id), (Rule::ExternalRefInUse, Some(id(1))));
        accept(&mut driver, &cancel(1));
        accept(&mut driver, &changed);
        let by_number =
            CancelReservation { reservation_id: None, external_ref: Some(pms("1")), ..cancel(1) };
        let cancelled: ReservationCancelled = accept(&mut driver, &by_number).only();
        assert_eq!(cancelled.reservation_id, id(2));
    }

    #[test]
    fn only_a_confirmed_reservation_can_be_cancelled() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &arrive(1, &[]));
        let refused: ReservationRejected = driver.send(&cancel(1)).only();
        assert_eq!(refused.reasons[0].rule, Rule::WrongState);
        assert_eq!(refused.country.as_deref(), Some("PRT"));
        accept(&mut driver, &leave(1));
        assert_eq!(rules(&driver.send(&cancel(1))), [Rule::WrongState]);
    }

    #[test]
    fn the_nights_are_given_back_where_they_can_be_sold_again() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 8, 0, 2)]));
        assert_eq!(rules(&driver.send(&create(2, vec![line("DBL", 8, 0, 2)])))[0], Rule::SoldOut);
        accept(&mut driver, &cancel(1));
        accept(&mut driver, &create(2, vec![line("DBL", 8, 0, 2)]));
    }
}
