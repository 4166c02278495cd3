//! The KPIs in ClickHouse against a naive fold over the events of the two real hotels.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bellhop_clickhouse::kpi::{self, AsOf};
use bellhop_core::message::Timestamp;
use bellhop_schemas::night::Night;

use crate::hotels::HOTELS;
use crate::stream::{Event, Known, night, property_id};
use crate::world::{World, bookings};

/// All of the real data, landed once.
pub(crate) fn real() -> &'static World {
    static REAL: OnceLock<World> = OnceLock::new();
    REAL.get_or_init(|| {
        let world = World::with_bookings(2, usize::MAX);
        let mut config = world.config.clone();
        config.batching.rows_max = 100_000;
        world.land_with(config);
        world
    })
}

/// Property and month.
type Key = (String, String);

#[derive(Default)]
struct Cell {
    units: i64,
    room: i64,
    supply: i64,
    booked: i64,
    cancelled: i64,
    no_show: i64,
    lead: i64,
    nights: i64,
}

fn month(night: Night) -> String {
    night.to_string()[..7].to_owned()
}

fn name(id: bellhop_schemas::ids::PropertyId) -> &'static str {
    let of = |number: &usize| property_id(*number as u128) == id;
    HOTELS[(0..HOTELS.len()).find(of).unwrap()].0
}

/// What a person with the events and much time would write down.
fn fold(events: &[Known], as_of: AsOf) -> BTreeMap<Key, Cell> {
    let mut cells = BTreeMap::<Key, Cell>::new();
    let mut on_books = BTreeMap::<(&str, Night), i64>::new();
    for known in events {
        let (property, day, lines, sign) = match &known.event {
            Event::ReservationCreated(event) => {
                (event.property_id, event.business_date, &event.lines, 1)
            }
            Event::ReservationCancelled(event) => {
                (event.property_id, event.business_date, &event.released, -1)
            }
            Event::ReservationNoShow(event) => {
                (event.property_id, event.business_date, &event.released, -1)
            }
            // Moves add up to nothing, and nobody leaves early or late in these data.
            _ => continue,
        };
        let property = name(property);
        let is_known = match as_of {
            AsOf::Now => true,
            AsOf::Day(last) => day <= last,
            AsOf::Instant(last) => known.at <= last,
        };
        if !is_known {
            continue;
        }
        for line in lines {
            let cell = cells.entry((property.to_owned(), month(line.arrival))).or_default();
            match &known.event {
                Event::ReservationCreated(_) => {
                    cell.booked += 1;
                    cell.lead += i64::from(day.until(line.arrival));
                    cell.nights += i64::from(line.arrival.until(line.departure));
                }
                Event::ReservationCancelled(_) => cell.cancelled += 1,
                _ => cell.no_show += 1,
            }
            for night in &line.nights {
                let cell = cells.entry((property.to_owned(), month(night.night))).or_default();
                cell.units += sign * i64::from(line.units);
                *on_books.entry((property, night.night)).or_default() +=
                    sign * i64::from(line.units);
                cell.room += sign * i64::from(line.units) * night.price.room.0;
            }
        }
    }
    for (property, rooms) in HOTELS {
        let nights = on_books.iter().filter(|((of, _), units)| *of == property && **units > 0);
        let nights: Vec<Night> = nights.map(|((_, night), _)| *night).collect();
        let (Some(first), Some(last)) = (nights.first(), nights.last()) else { continue };
        for night in first.nights_to(last.plus(1)) {
            let defined = match as_of {
                AsOf::Now => true,
                // The hotels are defined with the first event of all.
                AsOf::Day(day) => events[0].at.0 / 86_400_000_000 <= i64::from(day.0),
                AsOf::Instant(at) => events[0].at <= at,
            };
            if defined {
                cells.entry((property.to_owned(), month(night))).or_default().supply +=
                    i64::from(rooms);
            }
        }
    }
    cells
}

fn expected(cell: &Cell, kpi: &str) -> Option<Option<f64>> {
    let share = |above: i64, below: i64| (below != 0).then(|| above as f64 / below as f64);
    let on_books = cell.units != 0 || cell.room != 0;
    match kpi {
        "room_nights" => on_books.then_some(Some(cell.units as f64)),
        "room_revenue" => on_books.then_some(Some(cell.room as f64)),
        "adr" => on_books.then_some(share(cell.room, cell.units)),
        "occupancy" => (on_books || cell.supply != 0).then_some(share(cell.units, cell.supply)),
        "revpar" => (on_books || cell.supply != 0).then_some(share(cell.room, cell.supply)),
        "bookings" => (cell.booked != 0).then_some(Some(cell.booked as f64)),
        "cancellation_rate" => (cell.booked != 0).then_some(share(cell.cancelled, cell.booked)),
        "no_show_rate" => {
            (cell.booked != 0).then_some(share(cell.no_show, cell.booked - cell.cancelled))
        }
        "lead_time" => (cell.booked != 0).then_some(share(cell.lead, cell.booked)),
        "length_of_stay" => (cell.booked != 0).then_some(share(cell.nights, cell.booked)),
        "refusals" => None,
        other => panic!("{other} is not folded"),
    }
}

#[test]
fn every_kpi_is_what_a_fold_over_the_real_events_says_now_and_as_of_the_past() {
    let world = real();
    let instant = Timestamp(i64::from(night("2016-04-10").0) * 86_400_000_000 + 12_345_678_901);
    for as_of in [AsOf::Now, AsOf::Day(night("2016-01-31")), AsOf::Instant(instant)] {
        let cells = fold(bookings(), as_of);
        for kpi in kpi::ALL {
            let found = kpi::answer(&world.server, kpi.name, as_of).unwrap();
            let mut by_key = BTreeMap::new();
            for figure in found {
                let currency = ["room_revenue", "adr", "revpar"].contains(&kpi.name);
                assert_eq!(figure.currency, if currency { "EUR" } else { "" }, "{}", kpi.name);
                let key = (figure.property.clone(), figure.month_of_stay.clone().unwrap());
                assert!(by_key.insert(key, figure.value).is_none(), "{figure:?} is twice");
            }
            let wanted: BTreeMap<Key, Option<f64>> = cells
                .iter()
                .filter_map(|(key, cell)| Some((key.clone(), expected(cell, kpi.name)?)))
                .collect();
            assert_eq!(
                by_key.keys().collect::<Vec<_>>(),
                wanted.keys().collect::<Vec<_>>(),
                "{} {as_of:?}",
                kpi.name
            );
            for (key, value) in &wanted {
                let (value, found) = (value.unwrap_or(f64::NAN), by_key[key].unwrap_or(f64::NAN));
                let same = (value - found).abs() <= 1e-9 * value.abs().max(1.0);
                let both_null = value.is_nan() && found.is_nan();
                assert!(same || both_null, "{} {as_of:?} {key:?}: {value}, {found}", kpi.name);
            }
            assert!(kpi.name == "refusals" || wanted.len() > 20, "{}: {}", kpi.name, wanted.len());
        }
    }
}

#[test]
fn two_real_hotels_add_up_to_the_cent() {
    let world = real();
    let total = |kpi: &str, property: &str| -> f64 {
        let figures = kpi::answer(&world.server, kpi, AsOf::Now).unwrap();
        let of = figures.iter().filter(|figure| figure.property == property);
        of.map(|figure| figure.value.unwrap()).sum()
    };
    // The numbers of `analytics/tests/it/real.rs`.
    for (property, bookings, nights, revenue) in [
        ("City Hotel", 79_330.0, 135_153.0, 1_439_441_018.0),
        ("Resort Hotel", 40_059.0, 119_877.0, 1_160_191_403.0),
    ] {
        assert_eq!(total("bookings", property), bookings, "{property}");
        assert_eq!(total("room_nights", property), nights, "{property}");
        assert_eq!(total("room_revenue", property), revenue, "{property}");
    }
}

#[test]
fn a_kpi_that_does_not_exist_is_answered_with_those_that_do() {
    let error = kpi::answer(&real().server, "happiness", AsOf::Now).unwrap_err();
    assert!(error.to_string().contains("occupancy"), "{error}");
}
