//! The business date has moved on, and a guest who was to leave is still in house.

use bellhop_core::prelude::*;
use bellhop_schemas::event::{ReservationCreated, ReservationExtended};
use bellhop_schemas::ids::ReservationKey;
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineNight, Price};
use bellhop_schemas::timer::BusinessDateRolled;

use crate::command::requested_lines::NIGHTS_MAX;
use crate::state::in_house::{InHouse, OVERSTAY_NIGHTS_MAX};
use crate::state::inventory::{Inventory, Sum, Tally};
use crate::state::property::Property;
use crate::state::reservation::Reservation;

/// Events of one firing; the timer fires again for the rest.
const EVENTS_MAX: usize = 10_000;

/// Records the nights of every guest who is past the departure: those slept since, and the night of
/// the business date, which the room is not free for until he leaves. They have no price, and are of
/// the lines that were to leave last, in the product that these held last. It is a fact: nights that
/// it takes above their limit are listed.
///
/// A guest who was to leave on a business date holds nothing more on it; who has not left when it
/// ends is past the departure.
#[handler]
pub fn extend_stays(
    timer: BusinessDateRolled,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    reservations: &Store<Reservation>,
    in_house: &Store<InHouse>,
    cx: &Context,
) -> Vec<ReservationExtended> {
    let property_id = timer.property_id;
    let mut events = Vec::new();
    let (Some(property), Some(inventory), Some(guests)) =
        (properties.get(&property_id), inventories.get(&property_id), in_house.get(&property_id))
    else {
        return events;
    };
    // Where clocks go back past the roll hour, the date has been reached all the same.
    let business_date = property.business_date(cx.now).max(timer.business_date);
    let mut earlier = Sum::default();
    for reservation_id in guests.overdue(business_date) {
        let reservation = reservations.get(&ReservationKey { property_id, reservation_id });
        let Some(booking) = reservation.and_then(Reservation::booking) else { continue };
        let ReservationCreated { confirmation_number, booked_at, country, lines, .. } = booking;
        for extended in extensions(&lines, business_date) {
            let tally = Tally::of(inventory, &extended);
            let oversold = inventory.oversold_by(tally.clone(), &earlier);
            earlier.add(&tally);
            events.push(ReservationExtended {
                property_id,
                business_date,
                reservation_id,
                confirmation_number: confirmation_number.clone(),
                booked_at,
                country: country.clone(),
                extended,
                oversold,
            });
        }
        if events.len() >= EVENTS_MAX {
            break;
        }
    }
    events
}

/// The lines that leave last with the nights up to the business date, in parts that one event can
/// hold.
fn extensions(lines: &[Line], business_date: Night) -> Vec<Vec<Line>> {
    let Some(departure) = lines.iter().map(|line| line.departure).max() else { return Vec::new() };
    let last: Vec<_> = lines.iter().filter(|line| line.departure == departure).collect();
    let held = last.iter().filter_map(|line| line.nights.last()).map(|at| at.night.plus(1)).max();
    let from = held.map_or(departure, |held| held.max(departure));
    let end = business_date.plus(1).min(departure.plus(OVERSTAY_NIGHTS_MAX));
    let nights: Vec<_> = from.nights_to(end).collect();
    let part = |nights: &[Night]| {
        let line = |line: &&Line| {
            let held = line.nights.last().and_then(|at| at.held.as_ref());
            let nights = nights.iter().map(|night| LineNight {
                night: *night,
                held: held.cloned(),
                price: Price::default(),
            });
            line.with_nights(nights.collect())
        };
        last.iter().map(line).collect()
    };
    nights.chunks((NIGHTS_MAX / last.len()).max(1)).map(part).collect()
}

#[cfg(test)]
mod tests {
    use bellhop_core::driver::{Driver, Sent};
    use bellhop_core::message::{HOUR_US, Timestamp};
    use bellhop_schemas::command::DefineProperty;
    use bellhop_schemas::event::ReservationCheckedOut;
    use bellhop_schemas::reason::Rule;
    use bellhop_schemas::stay::RequestedLine;

    use super::*;
    use crate::fixtures::*;

    /// Books and checks in.
    fn stay(driver: &mut Driver, number: u128, lines: Vec<RequestedLine>) {
        accept(driver, &create(number, lines));
        accept(driver, &arrive(number, &[]));
    }

    /// What timers led to before the command.
    fn extended(sent: &Sent) -> Vec<ReservationExtended> {
        sent.events.iter().filter_map(|event| event.body()).collect()
    }

    /// Lines with their nights in days after today.
    fn listed(lines: &[Line]) -> Vec<(u16, Vec<(i32, &str)>)> {
        lines.iter().map(|line| (line.number, nights(line))).collect()
    }

    /// A command that says when it is, and nothing else.
    fn at(driver: &mut Driver, now: Timestamp) -> Sent {
        driver.set_time(now);
        driver.send(&cancel(999))
    }

    #[test]
    fn the_room_of_a_guest_who_has_not_left_cannot_be_sold_again() {
        let mut driver = hotel();
        stay(&mut driver, 1, vec![line("TWN", 4, 0, 1)]);
        let again = create(2, vec![line("TWN", 4, 1, 1)]);
        driver.set_time(noon(TODAY.plus(1)));
        accept(&mut driver, &again);
        accept(&mut driver, &cancel(2));

        driver.set_time(noon(TODAY.plus(2)));
        let sent = driver.send(&create(3, vec![line("TWN", 1, 2, 1)]));
        let [extended] = extended(&sent).try_into().unwrap_or_else(|_| panic!("{sent:?}"));
        assert_eq!(extended.business_date, TODAY.plus(2));
        assert_eq!(extended.reservation_id, id(1));
        assert_eq!(listed(&extended.extended), [(1, vec![(1, "TWN"), (2, "TWN")])]);
        assert_eq!(extended.extended[0].nights[0].price, Price::default());
        assert_eq!(extended.oversold, []);
        assert_eq!(rules(&sent), [Rule::SoldOut]);

        let left: ReservationCheckedOut = accept(&mut driver, &leave(1)).only();
        assert_eq!(listed(&left.released), [(1, vec![(2, "TWN")])], "tonight is free again");
        assert_eq!(sold(&driver, Some("TWN")), [4, 4, 0]);
        assert_eq!(driver.task().timers().next_due(), None);
    }

    #[test]
    fn each_roll_takes_one_more_night_and_lists_what_it_oversells() {
        let mut driver = hotel();
        stay(&mut driver, 1, vec![line("TWN", 2, 0, 1), line("BED", 1, 0, 1)]);
        accept(&mut driver, &create(2, vec![line("TWN", 3, 2, 2)]));
        let rolls = [(1, vec![]), (2, vec![1, 2]), (3, vec![3]), (4, vec![4])];
        for (day, nights) in rolls {
            // Not a microsecond before the roll at 03:00 UTC.
            let roll = Timestamp(noon(TODAY.plus(day)).0 - 9 * HOUR_US);
            assert_eq!(extended(&at(&mut driver, Timestamp(roll.0 - 1))), [], "day {day}");
            let events = extended(&at(&mut driver, roll));
            let lines = events.iter().flat_map(|event| &event.extended);
            let taken = lines.filter(|line| line.number == 1).flat_map(|line| &line.nights);
            let taken: Vec<_> = taken.map(|at| TODAY.until(at.night)).collect();
            assert_eq!(taken, nights, "day {day}");
            let over: Vec<_> = events.iter().flat_map(|event| oversold(&event.oversold)).collect();
            let over_on = |night| vec![(Some("TWN"), night, 1)];
            assert_eq!(over, if (2..4).contains(&day) { over_on(day) } else { vec![] });
        }
        assert_eq!(sold(&driver, Some("TWN")), [2, 2, 5, 5, 2, 0]);
        assert_eq!(sold(&driver, Some("BED")), [1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn guests_of_one_roll_oversell_one_after_another() {
        let mut driver = hotel();
        for number in 1..4 {
            stay(&mut driver, number, vec![line("TWN", 1, 0, 1)]);
        }
        accept(&mut driver, &create(9, vec![line("TWN", 3, 2, 1)]));
        let events = extended(&at(&mut driver, noon(TODAY.plus(2))));
        let over: Vec<_> = events.iter().map(|event| oversold(&event.oversold)).collect();
        assert_eq!(over, [vec![], vec![(Some("TWN"), 2, 1)], vec![(Some("TWN"), 2, 2)]]);
        assert_eq!(cell(&driver, Some("TWN"), 2).oversold(), 2);
    }

    #[test]
    fn only_lines_that_leave_last_stay_on_in_what_they_held_last() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 2, 0, 1), line("BED", 1, 0, 2)]));
        accept(&mut driver, &arrive(1, &[(2, "TWN")]));
        let events = extended(&at(&mut driver, noon(TODAY.plus(3))));
        assert_eq!(listed(&events[0].extended), [(2, vec![(2, "TWN"), (3, "TWN")])]);
        assert_eq!(events[0].extended[0].product, code("BED"));
    }

    #[test]
    fn a_day_use_that_stays_on_is_not_a_day_use_again() {
        let mut driver = hotel();
        let mut day_use = line("DBL", 1, 0, 0);
        day_use.day_use = Some(Price::default());
        stay(&mut driver, 1, vec![day_use]);
        let events = extended(&at(&mut driver, noon(TODAY.plus(1))));
        let [line] = events[0].extended.as_slice() else { panic!("{events:?}") };
        assert_eq!((nights(line), line.is_day_use()), (vec![(0, "DBL"), (1, "DBL")], false));
        assert_eq!(cell(&driver, Some("DBL"), 0).day_use, 1);
    }

    #[test]
    fn a_guest_is_extended_by_400_nights_in_events_that_can_be_sent() {
        let mut driver = hotel();
        accept(&mut driver, &define("BIG", 30_000, false));
        let lines = || (0..100).map(|_| line("BIG", 1, 0, 1)).collect();
        stay(&mut driver, 1, lines());
        let events = extended(&at(&mut driver, noon(TODAY.plus(5_000))));
        assert_eq!(events.len(), 14, "of 30 nights each");
        assert_eq!(cell(&driver, Some("BIG"), 400).sold, 100);
        assert_eq!(cell(&driver, Some("BIG"), 401).sold, 0);
        assert_eq!(driver.task().timers().next_due(), None);
        accept(&mut driver, &leave(1));
    }

    #[test]
    fn the_business_date_rolls_where_clocks_change() {
        // Zone, roll hour, the day whose roll extends the guest of the night before the last, and
        // that instant.
        let rows = [
            ("Europe/Lisbon", 1, "2025-03-30", "2025-03-30T01:00:00Z"), // 01:00 is skipped
            ("Europe/Lisbon", 1, "2025-10-26", "2025-10-26T00:00:00Z"), // 01:00 comes twice
            ("America/New_York", 2, "2025-03-09", "2025-03-09T07:00:00Z"), // 02:00 is skipped
            ("America/New_York", 3, "2025-11-02", "2025-11-02T08:00:00Z"),
            ("Asia/Kathmandu", 3, "2025-06-01", "2025-05-31T21:15:00Z"),
            ("Pacific/Apia", 3, "2011-12-31", "2011-12-30T13:00:00Z"), // the day before is skipped
            ("Antarctica/Troll", 2, "2025-03-30", "2025-03-30T01:00:00Z"), // 01:00 to 03:00
            ("Australia/Lord_Howe", 2, "2025-10-05", "2025-10-04T15:30:00Z"), // by half an hour
        ];
        for (zone, roll_hour, day, roll) in rows {
            let roll = bellhop_schemas::instant::from_text(roll).unwrap();
            let day: Night = day.parse().unwrap();
            let mut driver = Driver::new(noon(day.plus(-3)));
            let property =
                DefineProperty { time_zone: zone.into(), roll_hour, ..define_hotel(HOTEL) };
            accept(&mut driver, &property);
            accept(&mut driver, &define("DBL", 8, true));
            let arrival = TODAY.until(day.plus(-2));
            driver.set_time(Timestamp(noon(day.plus(-2)).0));
            stay(&mut driver, 1, vec![line("DBL", 1, arrival, 1)]);
            assert_eq!(extended(&at(&mut driver, Timestamp(roll.0 - 1))), [], "{zone}");
            let events = extended(&at(&mut driver, roll));
            assert_eq!(events.len(), 1, "{zone} at {roll:?}");
            assert_eq!(events[0].business_date, day, "{zone}");
        }
    }
}
