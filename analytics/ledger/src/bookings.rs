//! The ledger of bookings: a row per change of a reservation's state.
//!
//! The dimensions are those of the reservation's first line that the event carries; the event of a
//! guest who comes or leaves as booked carries none, so there they are null.

use bellhop_schemas::stay::Line;

use crate::expand::Change;
use crate::room_nights::priced_by;
use crate::row::{Day, Instant, Int, Long, Null, Take, Text, Uuid, table};

table! {
    /// A change of a reservation's state.
    Booking of Bookings {
        /// The property.
        property_id: Uuid,
        /// Business date of the change.
        business_date: Day,
        /// When bellhop knew.
        known_at: Instant,
        /// When the guest booked, as the source claims.
        booked_at: Instant,
        /// The reservation.
        reservation_id: Uuid,
        /// Id of the event.
        change_id: Uuid,
        /// What happened: `book`, `cancel`, `no_show`, `check_in`, `reinstate` (a no-show came after
        /// all), `check_out`.
        reason: Text,
        /// 1 where it was booked.
        booked: Int,
        /// 1 where it was cancelled; a reopening would be -1.
        cancelled: Int,
        /// 1 where the guest did not come, -1 where he came after all.
        no_show: Int,
        /// 1 where the guest came.
        checked_in: Int,
        /// 1 where the guest left.
        checked_out: Int,
        /// First day of arrival over its lines.
        arrival: Null<Day>,
        /// Last day of departure over its lines.
        departure: Null<Day>,
        /// Nights between the two.
        nights: Null<Int>,
        /// Days from the business date of the booking to the arrival; null but on `book`.
        lead_days: Null<Int>,
        /// How many lines.
        lines: Int,
        /// The product.
        product: Null<Text>,
        /// Rate plan.
        rate_plan: Null<Text>,
        /// Market segment.
        segment: Null<Text>,
        /// Channel of distribution.
        channel: Null<Text>,
        /// Source of business.
        source: Null<Text>,
        /// Company that it is booked for.
        company: Null<Text>,
        /// Agent that it is booked by.
        agent: Null<Text>,
        /// Block that it picks up.
        block: Null<Text>,
        /// How it is guaranteed.
        guarantee: Null<Text>,
        /// Where the guest comes from.
        country: Null<Text>,
        /// Who set the price.
        priced_by: Null<Text>,
        /// ISO 4217.
        currency: Null<Text>,
        /// Partition of the event.
        partition: Int,
        /// Its offset.
        offset: Long,
    }
}

/// What happened to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Book,
    Cancel,
    NoShow,
    CheckIn,
    /// The guest came, and had been a no-show.
    Reinstate,
    CheckOut,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Cancel => "cancel",
            Self::NoShow => "no_show",
            Self::CheckIn => "check_in",
            Self::Reinstate => "reinstate",
            Self::CheckOut => "check_out",
        }
    }
}

/// Gives the step of one reservation.
pub(crate) fn step(to: &mut impl Take, change: &Change<'_>, lines: &[Line], step: Step) {
    let arrival = lines.iter().map(|line| line.arrival).min();
    let departure = lines.iter().map(|line| line.departure).max();
    let nights = arrival.zip(departure).map(|(arrival, departure)| arrival.until(departure));
    let lead_days =
        arrival.filter(|_| step == Step::Book).map(|arrival| change.business_date.until(arrival));
    let first = lines.first();
    let count = |counted| i32::from(step == counted);
    to.row(&Booking {
        property_id: change.property_id(),
        business_date: change.business_date,
        known_at: change.known_at,
        booked_at: change.booked_at,
        reservation_id: change.reservation_id(),
        change_id: change.change_id(),
        reason: step.as_str(),
        booked: count(Step::Book),
        cancelled: count(Step::Cancel),
        no_show: count(Step::NoShow) - count(Step::Reinstate),
        checked_in: count(Step::CheckIn) + count(Step::Reinstate),
        checked_out: count(Step::CheckOut),
        arrival,
        departure,
        nights,
        lead_days,
        lines: i32::try_from(lines.len()).unwrap_or(i32::MAX),
        product: first.map(|line| line.product.as_str()),
        rate_plan: first.and_then(|line| line.dimensions.rate_plan()),
        segment: first.and_then(|line| line.dimensions.segment()),
        channel: first.and_then(|line| line.dimensions.channel()),
        source: first.and_then(|line| line.dimensions.source()),
        company: first.and_then(|line| line.dimensions.company()),
        agent: first.and_then(|line| line.dimensions.agent()),
        block: first.and_then(|line| line.dimensions.block()),
        guarantee: first.and_then(|line| line.dimensions.guarantee()),
        country: change.country,
        priced_by: first.map(|line| priced_by(line.priced_by)),
        currency: first.map(|line| line.currency.as_str()),
        partition: change.partition(),
        offset: change.offset(),
    });
}
