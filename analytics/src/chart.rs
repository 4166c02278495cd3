//! What the pictures of a report show.

use bellhop_schemas::night::Night;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Date32Type, Float64Type, Int32Type, Int64Type};

use crate::error::Error;
use crate::kpi::{Dimension, Query};
use crate::session::Session;

/// Days before the night from which a booking curve begins.
pub const CURVE_DAYS: i32 = 365;

/// Buckets of lead time: name and last day of each.
const BUCKETS: [(&str, i32); 7] = [
    ("same day", 0),
    ("1-7", 7),
    ("8-30", 30),
    ("31-90", 90),
    ("91-180", 180),
    ("181-365", 365),
    ("366+", i32::MAX),
];

/// A day of an occupancy calendar.
#[derive(Debug, Clone, PartialEq)]
pub struct CalendarDay {
    /// Code of the property.
    pub property: String,
    /// The night.
    pub day: Night,
    /// Share of the physical rooms that is sold; `None` where there is no room.
    pub occupancy: Option<f64>,
}

/// Occupancy of every night of every property, in order.
///
/// # Errors
/// Those of [`Session::kpi`].
pub fn calendar(session: &Session) -> Result<Vec<CalendarDay>, Error> {
    let query = Query::of("occupancy")?.by(&[Dimension::Property, Dimension::Day]);
    let answer = session.kpi(&query)?;
    let mut days = Vec::with_capacity(answer.len());
    for batch in answer.batches() {
        days.extend((0..batch.num_rows()).map(|row| CalendarDay {
            property: text(batch, 0, row),
            day: Night(batch.column(1).as_primitive::<Date32Type>().value(row)),
            occupancy: float(batch, 2, row),
        }));
    }
    Ok(days)
}

/// What a room earned in a month.
#[derive(Debug, Clone, PartialEq)]
pub struct MonthlyRate {
    /// Code of the property.
    pub property: String,
    /// The month, like `2016-08`.
    pub month: String,
    /// ISO 4217.
    pub currency: String,
    /// Minor units per room-night sold; `None` where none was.
    pub adr: Option<f64>,
    /// Minor units per room-night that the house has; `None` where it has none.
    pub revpar: Option<f64>,
}

/// ADR and RevPAR of every month of every property, in order.
///
/// # Errors
/// Those of [`Session::kpi`].
pub fn monthly_rates(session: &Session) -> Result<Vec<MonthlyRate>, Error> {
    let by = [Dimension::Property, Dimension::Month];
    let sold = session.kpi(&Query::of("adr")?.by(&by))?;
    let had = session.kpi(&Query::of("revpar")?.by(&by))?;
    let mut rates: Vec<MonthlyRate> = Vec::with_capacity(had.len());
    for batch in had.batches() {
        rates.extend((0..batch.num_rows()).map(|row| MonthlyRate {
            property: text(batch, 0, row),
            month: text(batch, 1, row),
            currency: text(batch, 3, row),
            adr: None,
            revpar: float(batch, 2, row),
        }));
    }
    for batch in sold.batches() {
        for row in 0..batch.num_rows() {
            let (property, month) = (text(batch, 0, row), text(batch, 1, row));
            let currency = text(batch, 3, row);
            let rate = rates.iter_mut().find(|rate| {
                rate.property == property && rate.month == month && rate.currency == currency
            });
            if let Some(rate) = rate {
                rate.adr = float(batch, 2, row);
            }
        }
    }
    Ok(rates)
}

/// A point of a booking curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurvePoint {
    /// Code of the property.
    pub property: String,
    /// Days before the night.
    pub days_before: i32,
    /// Room-nights on the books at the close of that day.
    pub room_nights: i64,
}

/// Room-nights on the books by days before the night, from [`CURVE_DAYS`] down to 0, for the nights
/// of a month or for all of them. What was booked earlier is in the first point.
///
/// # Errors
/// [`Error::Query`].
pub fn booking_curve(session: &Session, month: Option<Night>) -> Result<Vec<CurvePoint>, Error> {
    let statistics = session.facts()?.in_statistics().into_iter().map(|it| format!("AND {it}"));
    let statistics = statistics.collect::<Vec<_>>().join(" ");
    let month = month.and_then(Night::date).map_or_else(String::new, |date| {
        let (first, last) = (date.first_of_month(), date.last_of_month());
        format!("AND stay_night BETWEEN DATE '{first}' AND DATE '{last}'")
    });
    let answer = session.sql(&format!(
        "SELECT code, days_before, sum(units) AS room_nights FROM (
           SELECT property_id, sum(units) AS units,
                  CAST(least(greatest(CAST(stay_night AS INT) - CAST(business_date AS INT), 0),
                             {CURVE_DAYS}) AS INT) AS days_before
           FROM room_nights WHERE kind = 'room' {month} {statistics}
           GROUP BY property_id, days_before
         ) JOIN properties USING (property_id)
         GROUP BY code, days_before ORDER BY code, days_before DESC"
    ))?;
    let mut points: Vec<CurvePoint> = Vec::new();
    for batch in answer.batches() {
        for row in 0..batch.num_rows() {
            let property = text(batch, 0, row);
            let day = batch.column(1).as_primitive::<Int32Type>().value(row);
            if points.last().is_none_or(|last| last.property != property) {
                hold(&mut points, 0);
                points.push(CurvePoint { property, days_before: CURVE_DAYS, room_nights: 0 });
            }
            hold(&mut points, day);
            if let Some(last) = points.last_mut() {
                last.room_nights += integer(batch, 2, row);
            }
        }
    }
    hold(&mut points, 0);
    Ok(points)
}

/// Goes on from the last point to a later day, on all days between which nothing changed.
fn hold(points: &mut Vec<CurvePoint>, day: i32) {
    if let Some(last) = points.last().cloned() {
        let between = (day..last.days_before).rev();
        points.extend(between.map(|day| CurvePoint { days_before: day, ..last.clone() }));
    }
}

/// Bookings of a bucket of lead time, and how many of them were cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadBucket {
    /// Code of the property.
    pub property: String,
    /// Days of lead time, like `8-30`.
    pub lead_days: &'static str,
    /// Bookings made.
    pub bookings: i64,
    /// Bookings cancelled.
    pub cancelled: i64,
}

/// Cancellations by lead time, the shortest first.
///
/// # Errors
/// [`Error::Query`].
pub fn cancellations_by_lead_time(session: &Session) -> Result<Vec<LeadBucket>, Error> {
    let cases = BUCKETS.iter().enumerate();
    let cases = cases.map(|(number, (_, last))| format!("WHEN lead_days <= {last} THEN {number}"));
    let answer = session.sql(&format!(
        "SELECT code, bucket, count(*), coalesce(sum(cancelled), 0) FROM (
           SELECT made.property_id, gone.cancelled, CASE {} END AS bucket
           FROM (SELECT property_id, reservation_id, lead_days FROM bookings WHERE booked = 1) made
           LEFT JOIN (
             SELECT property_id, reservation_id, sum(cancelled) AS cancelled
             FROM bookings WHERE cancelled <> 0 GROUP BY property_id, reservation_id
           ) gone ON gone.reservation_id = made.reservation_id
                 AND gone.property_id = made.property_id
         ) JOIN properties USING (property_id)
         GROUP BY code, property_id, bucket ORDER BY code, property_id, bucket",
        cases.collect::<Vec<_>>().join(" ")
    ))?;
    let mut buckets = Vec::new();
    for batch in answer.batches() {
        for row in 0..batch.num_rows() {
            let number = usize::try_from(integer(batch, 1, row)).unwrap_or(usize::MAX);
            buckets.extend(BUCKETS.get(number).map(|(lead_days, _)| LeadBucket {
                property: text(batch, 0, row),
                lead_days,
                bookings: integer(batch, 2, row),
                cancelled: integer(batch, 3, row),
            }));
        }
    }
    Ok(buckets)
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    let column = batch.column(column);
    let view = column.as_string_view_opt().map(|column| column.value(row));
    let view = view.or_else(|| column.as_string_opt::<i32>().map(|column| column.value(row)));
    view.unwrap_or_default().to_owned()
}

fn float(batch: &RecordBatch, column: usize, row: usize) -> Option<f64> {
    let column = batch.column(column).as_primitive::<Float64Type>();
    column.is_valid(row).then(|| column.value(row))
}

fn integer(batch: &RecordBatch, column: usize, row: usize) -> i64 {
    batch.column(column).as_primitive::<Int64Type>().value(row)
}
