//! The guest has left.

use bellhop_core::prelude::*;
use bellhop_schemas::command::CheckOut;
use bellhop_schemas::event::{ReservationCheckedOut, ReservationCreated, ReservationRejected};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::Rule;
use bellhop_schemas::stay::{Line, LineNight, Price};

use super::address::{Address, Found, addressed};
use crate::rejection::{Refused, Rejection, because};
use crate::state::external_ref::ExternalRefs;
use crate::state::inventory::{Inventory, Tally};
use crate::state::property::Property;
use crate::state::reservation::{Reservation, Step};

/// Nights of an overstay that are recorded.
const OVERSTAY_NIGHTS_MAX: i32 = 400;

/// Records that the guest has left on the business date. Nights from that date on are given back
/// with their prices. Nights from the reservation's departure up to that date were stayed without a
/// price, by the lines that were to leave last; it is a fact, so those they oversell are listed.
///
/// # Rejections, in order
/// `UnknownProperty`, `UnknownReservation`, `WrongState`.
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
        cx.now,
    )?;
    let inventory = inventories
        .get(&command.property_id)
        .ok_or_else(|| found.refuse(because(Rule::UnknownProperty)))?;
    let Found { business_date, reservation_id, booking } = found;
    let overstayed = overstayed(&booking.lines, business_date);
    let mut tally = Tally::default();
    overstayed.iter().for_each(|line| tally.add_line(inventory, line, 1));

    let ReservationCreated { confirmation_number, booked_at, country, lines, .. } = booking;
    Ok(ReservationCheckedOut {
        property_id: command.property_id,
        business_date,
        reservation_id,
        confirmation_number,
        booked_at,
        country,
        released: released(lines, business_date),
        overstayed,
        oversold: inventory.oversold_by(tally),
    })
}

/// The lines with those nights that are still to come.
fn released(mut lines: Vec<Line>, business_date: Night) -> Vec<Line> {
    lines.iter_mut().for_each(|line| line.nights.retain(|at| at.night >= business_date));
    lines.retain(|line| !line.nights.is_empty());
    lines
}

/// The lines with the nights stayed beyond the departure, in the product that they held last.
fn overstayed(lines: &[Line], business_date: Night) -> Vec<Line> {
    let departure = lines.iter().map(|line| line.departure).max();
    let Some(departure) = departure.filter(|day| *day < business_date) else { return Vec::new() };
    let end = business_date.min(departure.plus(OVERSTAY_NIGHTS_MAX));
    let late = lines.iter().filter(|line| line.departure == departure);
    let lines = late.map(|line| {
        let held = line.nights.last().and_then(|at| at.held.as_ref());
        let nights = departure.nights_to(end).map(|night| LineNight {
            night,
            held: held.cloned(),
            price: Price::default(),
        });
        Line { nights: nights.collect(), ..line.clone() }
    });
    lines.collect()
}

addressed!(CheckOut);

#[cfg(test)]
mod tests {
    use bellhop_core::driver::Driver;
    use bellhop_schemas::command::CreateReservation;
    use bellhop_schemas::stay::RequestedLine;

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
        assert_eq!((event.released, event.overstayed, event.oversold), (vec![], vec![], vec![]));
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
        assert_eq!(event.overstayed, []);
        assert_eq!(sold(&driver, HOUSE), [3, 2, 0, 0]);
        assert_eq!(sold(&driver, Some("BED")), [0; 4]);
    }

    #[test]
    fn an_overstay_takes_nights_without_a_price_and_lists_what_it_oversells() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 2, 0, 1), line("BED", 1, 0, 2)]));
        accept(&mut driver, &arrive(1, &[(2, "TWN")]));
        accept(&mut driver, &create(2, vec![line("TWN", 4, 3, 1)]));
        driver.set_time(noon(TODAY.plus(4)));
        let event: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        let stayed = [(2, vec![(2, "TWN"), (3, "TWN")])];
        assert_eq!(listed(&event.overstayed), stayed, "line 1 was to leave before");
        assert_eq!(event.overstayed[0].nights[0].price, Price::default());
        assert_eq!(event.overstayed[0].product, code("BED"));
        assert_eq!(oversold(&event.oversold), [(Some("TWN"), 3, 1)]);
        assert_eq!(sold(&driver, HOUSE), [3, 1, 1, 5, 0]);
    }

    #[test]
    fn an_overstay_is_recorded_for_400_nights() {
        let mut driver = hotel();
        stay(&mut driver, vec![line("DBL", 1, 0, 1)]);
        driver.set_time(noon(TODAY.plus(5_000)));
        let event: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        let nights = nights(&event.overstayed[0]);
        assert_eq!((nights.len(), nights[0].0, nights[399].0), (400, 1, 400));
    }

    #[test]
    fn a_day_use_that_stays_on_holds_the_product_sold() {
        let mut driver = hotel();
        let day_use = CreateReservation { country: None, ..create(1, vec![line("DBL", 1, 0, 0)]) };
        accept(&mut driver, &day_use);
        accept(&mut driver, &arrive(1, &[(1, "TWN")]));
        driver.set_time(noon(TODAY.plus(1)));
        let event: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        assert_eq!(listed(&event.overstayed), [(1, vec![(0, "DBL")])]);
        assert_eq!((event.released, event.country), (vec![], None));
    }
}
