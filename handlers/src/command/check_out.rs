//! The guest has left.

use bellhop_core::prelude::*;
use bellhop_schemas::command::CheckOut;
use bellhop_schemas::event::{ReservationCheckedOut, ReservationCreated, ReservationRejected};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::Rule;
use bellhop_schemas::stay::Line;

use super::address::{Address, Found, addressed};
use crate::rejection::{Refused, Rejection, because};
use crate::state::external_ref::ExternalRefs;
use crate::state::inventory::{Inventory, Sum, Tally};
use crate::state::property::Property;
use crate::state::reservation::{Reservation, Step};

/// Records that the guest has left. Nights before the local date were slept and stay sold; those from
/// that date on are given back with their prices. A line of which the guest leaves on the day of
/// arrival becomes a day use at the price of its first night.
///
/// # Rejections, in order
/// Each alone: `UnknownProperty`, `ReservationNotNamed`, `UnknownReservation`, `NamesDisagree`,
/// `Finished`, `WrongState`.
#[handler]
pub fn check_out(
    command: CheckOut,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    reservations: &Store<Reservation>,
    external_refs: &Store<ExternalRefs>,
    cx: &Context,
) -> Result<ReservationCheckedOut, Rejection> {
    let found = Address::from(&command).find(
        Step::CheckOut,
        properties,
        reservations,
        external_refs,
        cx,
    )?;
    let inventory = inventories
        .get(&command.property_id)
        .ok_or_else(|| found.refuse(because(Rule::UnknownProperty)))?;
    let today = found.property.local_date(cx.now);
    let Found { business_date, reservation_id, booking, .. } = found;
    let ReservationCreated { confirmation_number, booked_at, country, lines, .. } = booking;
    let day_use = day_use(&lines, today);
    let released = released(lines, today);
    let mut tally = Tally::of(inventory, &day_use);
    tally.take_off_lines(inventory, &released);
    let oversold = inventory.oversold_by(tally, &Sum::default());

    Ok(ReservationCheckedOut {
        property_id: command.property_id,
        business_date,
        reservation_id,
        confirmation_number,
        booked_at,
        country,
        released,
        day_use,
        oversold,
    })
}

/// The lines with those nights that are still to come.
fn released(lines: Vec<Line>, today: Night) -> Vec<Line> {
    let lines = lines.into_iter().map(|mut line| {
        line.nights.retain(|at| at.night >= today);
        Line { day_use: None, ..line }
    });
    lines.filter(|line| !line.nights.is_empty()).collect()
}

/// The lines whose first night is still to come today, as day uses.
fn day_use(lines: &[Line], today: Night) -> Vec<Line> {
    let today = lines.iter().filter_map(|line| {
        let first = line.nights.first().filter(|at| at.night == today)?;
        Some(Line { nights: Vec::new(), day_use: Some(first.price), ..line.clone() })
    });
    today.collect()
}

addressed!(CheckOut);

#[cfg(test)]
mod tests {
    use bellhop_core::driver::Driver;
    use bellhop_core::message::HOUR_US;
    use bellhop_schemas::stay::{Price, RequestedLine};

    use super::*;
    use crate::fixtures::*;
    use crate::state::reservation::ReservationState;

    /// Books and checks in reservation 1.
    fn stay(driver: &mut Driver, lines: Vec<RequestedLine>) {
        accept(driver, &create(1, lines));
        accept(driver, &arrive(1, &[]));
    }

    /// Lines with their nights in days after today.
    fn listed(lines: &[Line]) -> Vec<(u16, Vec<(i32, &str)>)> {
        lines.iter().map(|line| (line.number, nights(line))).collect()
    }

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        stay(&mut driver, vec![line("DBL", 2, 0, 2)]);
        accept(&mut driver, &create(2, vec![line("DBL", 1, 0, 2)]));
        driver.set_time(noon(TODAY.plus(2)));
        let sent = hold_to_table(
            &mut driver,
            &leave(1),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::UnknownReservation, |it| it.reservation_id = Some(id(3))),
                (Rule::WrongState, |it| it.reservation_id = Some(id(2))),
            ],
        );
        let event: ReservationCheckedOut = sent.only();
        assert_eq!((event.released, event.day_use, event.oversold), (vec![], vec![], vec![]));
        assert_eq!(sold(&driver, Some("DBL")), [3, 3, 0], "what was stayed stays sold");
        assert_eq!(state(&driver, 1), ReservationState::CheckedOut);
        assert_eq!(rules(&driver.send(&leave(1))), [Rule::WrongState]);
    }

    #[test]
    fn an_early_departure_gives_back_the_nights_to_come_with_their_prices() {
        let mut driver = hotel();
        stay(&mut driver, vec![line("DBL", 2, 0, 4), line("TWN", 1, 0, 1), line("BED", 1, 3, 1)]);
        driver.set_time(noon(TODAY.plus(2)));
        let event: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        let released = [(1, vec![(2, "DBL"), (3, "DBL")]), (3, vec![(3, "BED")])];
        assert_eq!(listed(&event.released), released);
        assert_eq!(event.released[0].nights[0].price, line("DBL", 1, 0, 1).nights[0]);
        assert_eq!(event.day_use, []);
        assert_eq!(sold(&driver, HOUSE), [3, 2, 0, 0]);
        assert_eq!(sold(&driver, Some("BED")), [0; 4]);
    }

    #[test]
    fn who_leaves_before_the_roll_hour_has_slept_the_night() {
        let mut driver = hotel();
        stay(&mut driver, vec![line("DBL", 1, 0, 3)]);
        // 02:30 of the next day, and the business date still that of the arrival.
        driver.set_time(Timestamp(noon(TODAY.plus(1)).0 - 9 * HOUR_US - HOUR_US / 2));
        let event: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        assert_eq!(event.business_date, TODAY);
        assert_eq!(listed(&event.released), [(1, vec![(1, "DBL"), (2, "DBL")])]);
        assert_eq!(sold(&driver, HOUSE), [1, 0, 0]);
    }

    #[test]
    fn who_leaves_on_the_day_of_arrival_had_the_use_of_the_day() {
        let mut driver = hotel();
        stay(&mut driver, vec![line("DBL", 2, 0, 2), line("TWN", 1, 1, 1)]);
        driver.set_time(Timestamp(noon(TODAY).0 + 6 * HOUR_US));
        let event: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        assert_eq!(
            listed(&event.released),
            [(1, vec![(0, "DBL"), (1, "DBL")]), (2, vec![(1, "TWN")])]
        );
        let [used] = event.day_use.as_slice() else { panic!("line 2 was to come: {event:?}") };
        assert_eq!((used.number, used.nights.len()), (1, 0));
        assert_eq!(used.day_use, Some(line("DBL", 1, 0, 1).nights[0]), "its price stays");
        assert_eq!(event.oversold, []);
        assert_eq!(sold(&driver, HOUSE), [0, 0]);
        assert_eq!(
            (cell(&driver, Some("DBL"), 0).day_use, cell(&driver, HOUSE, 0).day_use),
            (2, 2)
        );
    }

    #[test]
    fn a_day_use_stays_one() {
        let mut driver = hotel();
        let mut day_use = line("DBL", 1, 0, 0);
        day_use.day_use = Some(Price::default());
        stay(&mut driver, vec![day_use]);
        let event: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        assert_eq!((event.released, event.day_use), (vec![], vec![]));
        assert_eq!(cell(&driver, Some("DBL"), 0).day_use, 1);
    }
}
