//! What the page and the demo's screen tell, asked of the lake.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bellhop_analytics::kpi::{Dimension, Query};
use bellhop_analytics::session::Session;
use bellhop_schemas::money::Currency;
use bellhop_schemas::night::Night;
use serde_json::{Map, Value};

use super::{CURVE_DAYS, Hotel, Lead, Month};

/// First days of the classes of lead times; the last one is open.
const LEADS: [(i64, &str); 7] = [
    (0, "same day"),
    (1, "1-7"),
    (8, "8-30"),
    (31, "31-90"),
    (91, "91-180"),
    (181, "181-365"),
    (366, "over 365"),
];

/// All properties of the lake, the busiest first.
///
/// # Errors
/// When a question cannot be answered.
pub(crate) fn hotels(session: &Session) -> Result<Vec<Hotel>> {
    let mut hotels: BTreeMap<String, Hotel> = BTreeMap::new();
    for row in rows(&session.sql("SELECT code, currency FROM properties")?.json()?)? {
        let name = text(&row, "code");
        let hotel =
            Hotel { name: name.clone(), currency: text(&row, "currency"), ..Hotel::default() };
        hotels.insert(name, hotel);
    }
    {
        let period = period(session)?;
        let mut each = |kpi: &str, by: &[Dimension], set: &mut dyn FnMut(&mut Hotel, &Row, f64)| {
            let mut query = Query::of(kpi)?.by(&[&[Dimension::Property], by].concat());
            if query.kpi.divides_by_supply() || !by.is_empty() {
                (query.from, query.to) = period;
            }
            let answer = session.kpi(&query)?.json()?;
            for row in rows(&answer)? {
                if let Some(hotel) = hotels.get_mut(&text(&row, "property")) {
                    let value = row.get(kpi).and_then(Value::as_f64).unwrap_or_default();
                    set(hotel, &row, value);
                }
            }
            anyhow::Ok(())
        };
        each("room_nights", &[], &mut |hotel, _, value| hotel.room_nights = value as i64)?;
        each("bookings", &[], &mut |hotel, _, value| hotel.bookings = value as i64)?;
        each("occupancy", &[], &mut |hotel, _, value| hotel.occupancy = value)?;
        each("room_revenue", &[], &mut |hotel, _, value| hotel.revenue = major(hotel, value))?;
        each("adr", &[], &mut |hotel, _, value| hotel.adr = major(hotel, value))?;
        each("revpar", &[], &mut |hotel, _, value| hotel.revpar = major(hotel, value))?;
        let month = &[Dimension::Month];
        each("bookings", month, &mut |hotel, row, value| {
            month_of(hotel, row).arrivals = value as i64;
        })?;
        each("occupancy", month, &mut |hotel, row, value| month_of(hotel, row).occupancy = value)?;
        each("adr", month, &mut |hotel, row, value| {
            let value = major(hotel, value);
            month_of(hotel, row).adr = value;
        })?;
        each("revpar", month, &mut |hotel, row, value| {
            let value = major(hotel, value);
            month_of(hotel, row).revpar = value;
        })?;
        each("occupancy", &[Dimension::Day], &mut |hotel, row, value| {
            if let Ok(night) = text(row, "day").parse::<Night>() {
                hotel.nights.push((night, value));
            }
        })?;
    }
    count_rooms(session, &mut hotels)?;
    count_leads(session, &mut hotels)?;
    draw_curves(session, &mut hotels)?;
    let mut hotels: Vec<_> = hotels.into_values().collect();
    for hotel in &mut hotels {
        hotel.months.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        hotel.nights.sort_unstable_by_key(|(night, _)| *night);
        hotel.cancelled = hotel.leads.iter().map(|lead| lead.cancelled).sum();
    }
    hotels.sort_by_key(|hotel| std::cmp::Reverse(hotel.room_nights));
    Ok(hotels)
}

/// The days of arrival that the data have. Nights behind them belong to stays that came before, and
/// would count as nights on which the house was all but empty.
fn period(session: &Session) -> Result<(Option<Night>, Option<Night>)> {
    let sql = "SELECT min(arrival) AS first, max(arrival) AS last FROM bookings WHERE booked > 0";
    let answer = rows(&session.sql(sql)?.json()?)?;
    let day = |name| answer.first().and_then(|row| text(row, name).parse().ok());
    Ok((day("first"), day("last")))
}

type Row = Map<String, Value>;

fn rows(json: &str) -> Result<Vec<Row>> {
    serde_json::from_str(json).context("read the answer of the lake")
}

fn text(row: &Row, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(row: &Row, name: &str) -> i64 {
    row.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// Minor units in the hotel's own.
fn major(hotel: &Hotel, minor: f64) -> f64 {
    let currency = hotel.currency.parse::<Currency>().ok();
    let exponent = currency.and_then(|currency| currency.exponent()).unwrap_or(0);
    minor / 10_f64.powi(i32::from(exponent))
}

fn month_of<'h>(hotel: &'h mut Hotel, row: &Row) -> &'h mut Month {
    let name = text(row, "month");
    let at = hotel.months.iter().position(|month| month.name == name).unwrap_or_else(|| {
        hotel.months.push(Month { name, ..Month::default() });
        hotel.months.len() - 1
    });
    &mut hotel.months[at]
}

fn count_rooms(session: &Session, hotels: &mut BTreeMap<String, Hotel>) -> Result<()> {
    let answer = session.sql(
        "SELECT code, sum(physical) AS rooms FROM supply JOIN properties USING (property_id) \
         WHERE product IS NULL GROUP BY code",
    )?;
    for row in rows(&answer.json()?)? {
        if let Some(hotel) = hotels.get_mut(&text(&row, "code")) {
            hotel.rooms = number(&row, "rooms");
        }
    }
    Ok(())
}

fn count_leads(session: &Session, hotels: &mut BTreeMap<String, Hotel>) -> Result<()> {
    let class =
        LEADS.iter().rev().map(|(first, _)| format!("WHEN lead_days >= {first} THEN {first}"));
    let class: Vec<_> = class.collect();
    let answer = session.sql(&format!(
        "WITH each AS (SELECT property_id, reservation_id, max(lead_days) AS lead_days, \
             sum(cancelled) AS cancelled FROM bookings GROUP BY property_id, reservation_id) \
         SELECT code, CASE {} ELSE 0 END AS first, count(*) AS bookings, sum(cancelled) AS cancelled \
         FROM each JOIN properties USING (property_id) GROUP BY 1, 2",
        class.join(" ")
    ))?;
    for hotel in hotels.values_mut() {
        hotel.leads =
            LEADS.map(|(_, name)| Lead { name: name.to_owned(), ..Lead::default() }).to_vec();
    }
    for row in rows(&answer.json()?)? {
        let class = LEADS.iter().position(|(first, _)| *first == number(&row, "first"));
        let hotel = hotels.get_mut(&text(&row, "code"));
        if let Some(lead) = hotel.zip(class).and_then(|(hotel, class)| hotel.leads.get_mut(class)) {
            lead.bookings = number(&row, "bookings");
            lead.cancelled = number(&row, "cancelled");
        }
    }
    Ok(())
}

/// Of the nights that stayed, how many were booked so many days ahead.
fn draw_curves(session: &Session, hotels: &mut BTreeMap<String, Hotel>) -> Result<()> {
    let answer = session.sql(
        "SELECT code, arrival - CAST(booked_at AS DATE) AS lead_days, sum(units) AS units \
         FROM room_nights JOIN properties USING (property_id) WHERE kind = 'room' GROUP BY 1, 2",
    )?;
    for row in rows(&answer.json()?)? {
        let Some(hotel) = hotels.get_mut(&text(&row, "code")) else { continue };
        hotel.curve.resize(CURVE_DAYS + 1, 0.0);
        let days = usize::try_from(number(&row, "lead_days")).unwrap_or(0).min(CURVE_DAYS);
        hotel.curve[days] += number(&row, "units") as f64;
    }
    for hotel in hotels.values_mut() {
        let all: f64 = hotel.curve.iter().sum();
        let mut booked = 0.0;
        for share in hotel.curve.iter_mut().rev() {
            booked += *share;
            *share = booked / all.max(1.0);
        }
    }
    Ok(())
}
