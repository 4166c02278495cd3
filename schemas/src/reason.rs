//! Why a command was refused.

use bellhop_core::prelude::Avro;
use serde::{Deserialize, Serialize};

use crate::ids::{ProductCode, ReservationId};
use crate::night::Night;

/// A rule that refuses. The code of an outcome is its number plus one, so the order only grows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro, Serialize, Deserialize,
)]
#[avro(name = "bellhop.Rule")]
pub enum Rule {
    /// The property is not defined.
    UnknownProperty,
    /// The property is defined already.
    PropertyExists,
    /// The property's code is empty or longer than 64 bytes.
    BadCode,
    /// The time zone is not in the IANA database.
    UnknownTimeZone,
    /// The business day cannot roll at that hour.
    BadRollHour,
    /// ISO 4217 does not know the currency.
    UnknownCurrency,
    /// A count of units is negative or larger than any house.
    BadCount,
    /// The product is not defined.
    UnknownProduct,
    /// The product is defined already.
    ProductExists,
    /// The first night lies behind the last.
    BadRange,
    /// A night lies in the past.
    NightInPast,
    /// A night lies too far ahead.
    BeyondHorizon,
    /// The reservation id is in use.
    ReservationExists,
    /// The external reference is in use.
    ExternalRefInUse,
    /// The reservation is not known.
    UnknownReservation,
    /// A reservation needs a line, and takes at most 100.
    BadLines,
    /// Units of a line are below one or above 1,000.
    BadUnits,
    /// Negative or absurd numbers of guests or ages.
    BadGuests,
    /// The departure lies before the arrival.
    DepartureBeforeArrival,
    /// The stay is longer than 400 nights.
    StayTooLong,
    /// There must be one price a night, or one for a day use.
    PricesMismatch,
    /// A price is negative.
    NegativePrice,
    /// The prices add up to more than can be counted.
    PriceOverflow,
    /// The currency is not the property's.
    WrongCurrency,
    /// The engine has no rate for this, so the client or a contract must set the price.
    NoRate,
    /// No unit of the product is left.
    SoldOut,
    /// No unit of the house is left.
    HouseFull,
    /// The reservation's state does not allow it.
    WrongState,
    /// It is too early: the day of arrival is more than seven days away.
    BeforeArrival,
    /// The reservation has no such line.
    UnknownLine,
    /// The lines have more than 3,000 nights together.
    TooManyNights,
    /// A text is longer than 128 bytes.
    TextTooLong,
    /// A reservation has more than 20 external references.
    TooManyRefs,
    /// No unit is free over the day.
    DayUseFull,
    /// It is too late: the last day of departure has come.
    AfterDeparture,
    /// It is too early: the guest may still come.
    NoShowTooEarly,
    /// The hour of no-shows is none of a day.
    BadNoShowHour,
}

impl Rule {
    /// The code of an outcome that this rule refused; 0 is an acceptance.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16 + 1
    }
}

/// One reason of a refusal, with the numbers that decided.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.Reason")]
pub struct Reason {
    /// The rule.
    pub rule: Rule,
    /// The product that it is about.
    pub product: Option<ProductCode>,
    /// The night that it is about.
    pub night: Option<Night>,
    /// What was asked for.
    pub asked: Option<i64>,
    /// What the rule would have allowed.
    pub allowed: Option<i64>,
    /// The reservation that stands in the way.
    pub reservation_id: Option<ReservationId>,
}

/// A stay that could be had instead.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.Alternative")]
pub struct Alternative {
    /// The product.
    pub product: ProductCode,
    /// Day of arrival.
    pub arrival: Night,
    /// Day of departure.
    pub departure: Night,
}
