//! The two hotels of the data set, as the events that a replay gives which refuses nothing.
//!
//! The mapping is that of `bellhop replay`, written a second time on purpose.
//!
//! # Source
//! Antonio, Almeida, Nunes: "Hotel booking demand datasets", Data in Brief 22 (2019), CC BY 4.0.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use bellhop_core::message::Timestamp;
use bellhop_schemas::command::ProductKind;
use bellhop_schemas::event::ProductDefined;
use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::money::Currency;
use bellhop_schemas::night::Night;
use compact_str::CompactString;

use crate::stream::{
    DAY_US, Event, Known, Stay, always, dimensions, line, night, property, property_id,
    reservation_id,
};

pub(crate) const HOTELS: [(&str, i32); 2] = [("City Hotel", 226), ("Resort Hotel", 187)];
const HOUR_US: i64 = 3_600_000_000;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Every event in order of time; how many rows were read, and how many of them made no sense.
pub(crate) fn events() -> (Vec<Known>, usize, usize) {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut paths = folders.map(|folder| folder.join("app/data/hotel_bookings.csv.gz"));
    let path = paths.find(|path| path.exists()).unwrap();
    let file = flate2::read::GzDecoder::new(File::open(path).unwrap());
    let mut reader = csv::Reader::from_reader(file);
    let names = reader.headers().unwrap().clone();
    let column = |name: &str| names.iter().position(|it| it == name).unwrap();
    let [hotel, lead, year, month, day, weekends, weeks, adults, country, segment, channel] = [
        "hotel",
        "lead_time",
        "arrival_date_year",
        "arrival_date_month",
        "arrival_date_day_of_month",
        "stays_in_weekend_nights",
        "stays_in_week_nights",
        "adults",
        "country",
        "market_segment",
        "distribution_channel",
    ]
    .map(column);
    let [sold, given, adr, status, status_day] = [
        "reserved_room_type",
        "assigned_room_type",
        "adr",
        "reservation_status",
        "reservation_status_date",
    ]
    .map(column);

    let mut steps: Vec<(i64, Event)> = Vec::new();
    let mut products = BTreeSet::new();
    let (mut rows, mut refused) = (0, 0);
    for row in reader.records() {
        let row = row.unwrap();
        rows += 1;
        let Some(price) = minor(&row[adr]) else {
            refused += 1;
            continue;
        };
        let number = |at: usize| row[at].parse::<i32>().unwrap();
        let house = HOTELS.iter().position(|(name, _)| *name == &row[hotel]).unwrap();
        let month = MONTHS.iter().position(|name| *name == &row[month]).unwrap() + 1;
        let arrival = Night::ymd(number(year) as i16, month as i8, number(day) as i8).unwrap();
        let departure = arrival.plus(number(weekends) + number(weeks));
        let booked = arrival.plus(-number(lead));
        let ended: Night = night(&row[status_day]);
        let at = |day: Night, phase: i64| i64::from(day.0) * DAY_US + phase * HOUR_US + rows;
        let mut line = line(&row[sold], 1, arrival, departure, price, Currency::EUR);
        line.adults = number(adults) as u16;
        line.dimensions = dimensions(Some(&row[segment]), Some(&row[channel]));
        products.insert((house, CompactString::from(&row[sold])));
        products.insert((house, CompactString::from(&row[given])));
        let stay = Stay {
            property_id: property_id(house as u128),
            reservation_id: reservation_id(rows as u128),
            booked_at: Timestamp(at(booked, 2)),
            country: (&row[country] != "NULL").then(|| row[country].into()),
            lines: vec![line],
        };
        steps.push((at(booked, 2), stay.created(booked).into()));
        match &row[status] {
            "Canceled" => {
                let phase = if ended == booked { 3 } else { 1 };
                steps.push((at(ended, phase), stay.cancelled(ended).into()));
            }
            "No-Show" => {
                let day = ended.max(arrival);
                steps.push((at(day, 6), stay.no_show(day).into()));
            }
            _ => {
                let given = (row[given] != row[sold]).then_some(&row[given]);
                steps.push((at(arrival, 4), stay.checked_in(arrival, given).into()));
                let phase = if arrival == departure { 5 } else { 0 };
                let out = stay.checked_out(departure, Vec::new(), Vec::new());
                steps.push((at(departure, phase), out.into()));
            }
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    let start = steps[0].0 - HOUR_US;
    let day = Night(i32::try_from(start / DAY_US).unwrap());
    let mut events = Vec::with_capacity(steps.len() + 32);
    for (number, (name, physical)) in HOTELS.iter().enumerate() {
        let id = property_id(number as u128);
        let event = property(id, name, Currency::EUR, day, *physical).into();
        events.push(Known { at: Timestamp(start), event });
    }
    for (house, product) in products {
        let event = ProductDefined {
            property_id: property_id(house as u128),
            business_date: day,
            product: ProductCode(product.clone()),
            name: product,
            kind: ProductKind::Room,
            statistics: true,
            physical: always(100),
            occupancy_max: None,
            warnings: Vec::new(),
        };
        events.push(Known { at: Timestamp(start), event: event.into() });
    }
    events.extend(steps.into_iter().map(|(at, event)| Known { at: Timestamp(at), event }));
    (events, rows as usize, refused)
}

/// Cents of a decimal number of euros; `None` when it is negative.
fn minor(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = format!("{part:0<2}");
    assert_eq!(part.len(), 2, "{text} has fractions of a cent");
    let cents = whole.parse::<i64>().unwrap() * 100 + part.parse::<i64>().unwrap();
    (!text.starts_with('-')).then_some(cents)
}
