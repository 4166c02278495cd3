//! What the rows led to, in the order in which it happened.
//!
//! The order within a day decides results (7,057 bookings of the data set are cancelled on the day
//! they were made), so it is fixed: time = day (UTC) + hours of the phase + microseconds of the row.

use bellhop_core::message::{HOUR_US, Timestamp};
use bellhop_schemas::night::Night;

use super::row::{Ending, Row};

/// A part of the day; its number is its hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    CheckOut = 0,
    /// Of a booking of an earlier day.
    Cancel = 1,
    Book = 2,
    CancelSameDay = 3,
    CheckIn = 4,
    CheckOutDayUse = 5,
    NoShow = 6,
}

/// Something that happened to the booking of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    pub(crate) at: Timestamp,
    /// Index into the rows that were taken; it grows with the row's number.
    pub(crate) row: usize,
    pub(crate) phase: Phase,
}

/// The first instant of a day, UTC.
pub(crate) fn midnight(day: Night) -> Timestamp {
    Timestamp(i64::from(day.0) * 24 * HOUR_US)
}

/// Everything that happened, in order.
pub(crate) fn schedule(rows: &[Row]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(rows.len() * 3);
    for (index, row) in rows.iter().enumerate() {
        let mut happened = |day: Night, phase: Phase| {
            let within = phase as i64 * HOUR_US + i64::from(row.number);
            steps.push(Step { at: Timestamp(midnight(day).0 + within), row: index, phase });
        };
        happened(row.booked, Phase::Book);
        match row.ending {
            Ending::Cancelled(on) if on == row.booked => happened(on, Phase::CancelSameDay),
            Ending::Cancelled(on) => happened(on, Phase::Cancel),
            Ending::NoShow(on) => happened(on, Phase::NoShow),
            Ending::Stayed => {
                happened(row.arrival, Phase::CheckIn);
                let day_use = row.departure == row.arrival;
                let out = if day_use { Phase::CheckOutDayUse } else { Phase::CheckOut };
                happened(row.departure, out);
            }
        }
    }
    steps.sort_unstable();
    steps
}
