//! The signed ledger of nights: what was sold, night by night, and what was given back.
//!
//! # Invariants
//! 1. The sum of `units` over all rows of a reservation, product sold and night is what is on the
//!    books; likewise `room`, `tax` and `extras`.
//! 2. A move to another product held adds up to nothing over the product sold.

use bellhop_schemas::money::Minor;
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineMove, LineNight, Price, PricedBy};

use crate::error::Error;
use crate::expand::Change;
use crate::row::{Day, Instant, Int, Long, Null, Take, Text, Uuid, table};

table! {
    /// A night (or a day use) of a line, taken or given back.
    RoomNight of RoomNights {
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
        /// Number of the line.
        line: Int,
        /// The night; the day of a day use.
        stay_night: Day,
        /// Day of arrival of the line.
        arrival: Day,
        /// Day of departure of the line.
        departure: Day,
        /// The product sold.
        product: Text,
        /// The product that the guest is given.
        held: Text,
        /// Units, signed.
        units: Int,
        /// Room revenue of these units in minor units, signed.
        room: Long,
        /// Tax on it, likewise.
        tax: Long,
        /// Everything else sold with it, likewise.
        extras: Long,
        /// ISO 4217.
        currency: Text,
        /// `room`, `day_use` or `fee`.
        kind: Text,
        /// Why.
        reason: Text,
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
        /// `engine`, `client` or `contract`.
        priced_by: Text,
        /// Partition of the event.
        partition: Int,
        /// Its offset.
        offset: Long,
        /// Number of the row within the event, from 0.
        index: Int,
    }
}

/// Why a ledger changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Book,
    Cancel,
    NoShow,
    Modify,
    EarlyArrival,
    Reinstate,
    EarlyDeparture,
    Overstay,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Cancel => "cancel",
            Self::NoShow => "no_show",
            Self::Modify => "modify",
            Self::EarlyArrival => "early_arrival",
            Self::Reinstate => "reinstate",
            Self::EarlyDeparture => "early_departure",
            Self::Overstay => "overstay",
        }
    }
}

/// Whether a change takes nights or gives them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

/// Gives every night (or the day use) of some lines.
///
/// `first` is the number of rows that the event has given already; the new count comes back.
pub(crate) fn lines(
    to: &mut impl Take,
    change: &Change<'_>,
    lines: &[Line],
    sign: Sign,
    reason: Reason,
    first: i32,
) -> Result<i32, Error> {
    each(to, change, lines, sign, |_, _| reason, first)
}

/// Gives back every night of lines that a guest has left: those that were booked as an early
/// departure, those for which the guest had stayed on as the overstay that they were taken for.
///
/// Counts as [`lines`] does.
pub(crate) fn left(
    to: &mut impl Take,
    change: &Change<'_>,
    lines: &[Line],
    first: i32,
) -> Result<i32, Error> {
    let reason = |line: &Line, night| match line.is_overstay(night) {
        true => Reason::Overstay,
        false => Reason::EarlyDeparture,
    };
    each(to, change, lines, Sign::Minus, reason, first)
}

fn each(
    to: &mut impl Take,
    change: &Change<'_>,
    lines: &[Line],
    sign: Sign,
    reason: impl Fn(&Line, Night) -> Reason,
    first: i32,
) -> Result<i32, Error> {
    let mut index = first;
    for line in lines {
        for at in &line.nights {
            let LineNight { night, price, .. } = at;
            let held = line.held(at).as_str();
            let entry = Entry { night: *night, held, price, kind: "room" };
            entry_row(to, change, line, entry, sign, reason(line, *night), index)?;
            index += 1;
        }
        if line.is_day_use() {
            let price = line.day_use.unwrap_or_default();
            let entry = Entry {
                night: line.arrival,
                held: line.product.as_str(),
                price: &price,
                kind: "day_use",
            };
            entry_row(to, change, line, entry, sign, reason(line, line.arrival), index)?;
            index += 1;
        }
    }
    Ok(index)
}

/// Gives every night that moves: back from the product that held it, and to the one that holds it.
///
/// Counts as [`lines`] does.
pub(crate) fn moves(
    to: &mut impl Take,
    change: &Change<'_>,
    moves: &[LineMove],
    first: i32,
) -> Result<i32, Error> {
    let mut index = first;
    for LineMove { line, held } in moves {
        for (sign, now) in [(Sign::Minus, None), (Sign::Plus, Some(held))] {
            for at in &line.nights {
                let LineNight { night, price, .. } = at;
                let held = now.unwrap_or_else(|| line.held(at)).as_str();
                let entry = Entry { night: *night, held, price, kind: "room" };
                entry_row(to, change, line, entry, sign, Reason::Modify, index)?;
                index += 1;
            }
        }
    }
    Ok(index)
}

fn entry_row(
    to: &mut impl Take,
    change: &Change<'_>,
    line: &Line,
    entry: Entry<'_>,
    sign: Sign,
    reason: Reason,
    index: i32,
) -> Result<(), Error> {
    let units = match sign {
        Sign::Plus => i32::from(line.units),
        Sign::Minus => -i32::from(line.units),
    };
    let amount = |price: Minor| {
        let total = price.0.checked_mul(i64::from(units));
        total.ok_or(Error::AmountOverflow { at: change.at })
    };
    to.row(&RoomNight {
        property_id: change.property_id(),
        business_date: change.business_date,
        known_at: change.known_at,
        booked_at: change.booked_at,
        reservation_id: change.reservation_id(),
        change_id: change.change_id(),
        line: i32::from(line.number),
        stay_night: entry.night,
        arrival: line.arrival,
        departure: line.departure,
        product: line.product.as_str(),
        held: entry.held,
        units,
        room: amount(entry.price.room)?,
        tax: amount(entry.price.tax)?,
        extras: amount(entry.price.extras)?,
        currency: line.currency.as_str(),
        kind: entry.kind,
        reason: reason.as_str(),
        rate_plan: line.dimensions.rate_plan(),
        segment: line.dimensions.segment(),
        channel: line.dimensions.channel(),
        source: line.dimensions.source(),
        company: line.dimensions.company(),
        agent: line.dimensions.agent(),
        block: line.dimensions.block(),
        guarantee: line.dimensions.guarantee(),
        country: change.country,
        priced_by: priced_by(line.priced_by),
        partition: change.partition(),
        offset: change.offset(),
        index,
    });
    Ok(())
}

struct Entry<'a> {
    night: Night,
    held: &'a str,
    price: &'a Price,
    kind: &'static str,
}

pub(crate) fn priced_by(who: PricedBy) -> &'static str {
    match who {
        PricedBy::Engine => "engine",
        PricedBy::Client => "client",
        PricedBy::Contract => "contract",
    }
}
