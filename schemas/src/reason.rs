//! Why a command was refused.

use bellhop_core::prelude::Avro;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::{ProductCode, ReservationId};
use crate::night::Night;

/// A rule that refuses, or warns. The code of an outcome is its number plus one, so the order only grows.
///
/// Of each: what it means, and what to do. `docs/refusals.md` is written from these words.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro, Serialize, Deserialize,
)]
#[avro(name = "bellhop.Rule")]
pub enum Rule {
    /// The property is not defined.
    ///
    /// Send `DefineProperty` first, or correct `property_id`.
    UnknownProperty,
    /// The property is defined already.
    ///
    /// Give the new property an id of its own; counts are changed by `SetPhysicalCount`.
    PropertyExists,
    /// The property's code is empty or longer than 64 bytes.
    ///
    /// Give a code of 1 to 64 bytes to a property, of 1 to 16 to a product.
    BadCode,
    /// The time zone is not in the IANA database.
    ///
    /// Write it as the IANA database does, such as `Europe/Lisbon`.
    UnknownTimeZone,
    /// The business day cannot roll at that hour.
    ///
    /// Give an hour from 0 to 12.
    BadRollHour,
    /// ISO 4217 does not know the currency.
    ///
    /// Give the three letters of ISO 4217, such as `EUR`.
    UnknownCurrency,
    /// A count of units is negative or larger than any house.
    ///
    /// Give a count from 0 to 30,000, or an allowance from -30,000 to 30,000.
    BadCount,
    /// The product is not defined.
    ///
    /// Send `DefineProduct` first, or correct the code.
    UnknownProduct,
    /// The product is defined already.
    ///
    /// Give the new product a code of its own; counts are changed by `SetPhysicalCount`.
    ProductExists,
    /// The first night lies behind the last.
    ///
    /// Exchange the two nights, or leave the last one null for no end.
    BadRange,
    /// A night lies in the past.
    ///
    /// Name nights from the business date of the property on. A booking that was sold elsewhere
    /// (`AlreadySold`) may begin up to `retention_days` ago.
    NightInPast,
    /// A night lies too far ahead.
    ///
    /// Name nights up to 1,827 days (five years) after the business date.
    BeyondHorizon,
    /// The reservation id is in use.
    ///
    /// Give the reservation an id of its own. To send the same command again, keep its idempotency
    /// key: it gets the first outcome.
    ReservationExists,
    /// The external reference is in use.
    ///
    /// Name each reference once; it is free again when the reservation that has it is cancelled.
    ExternalRefInUse,
    /// The reservation is not known.
    ///
    /// Correct the id or the external reference, or book first.
    UnknownReservation,
    /// A reservation needs a line, and takes at most 100.
    ///
    /// Give 1 to 100 lines, and one assignment a line.
    BadLines,
    /// Units of a line are below one or above 1,000.
    ///
    /// Give 1 to 1,000 units.
    BadUnits,
    /// Negative or absurd numbers of guests or ages.
    ///
    /// Give 0 to 10,000 adults, at most 10,000 children with ages from 0 to 120, and 1 to 10,000
    /// people to a unit of a product.
    BadGuests,
    /// The departure lies before the arrival.
    ///
    /// Exchange the two days; they are equal for a day use.
    DepartureBeforeArrival,
    /// The stay is longer than 400 nights.
    ///
    /// Give a line at most 400 nights; book the rest as another line.
    StayTooLong,
    /// There must be one price a night, or one for a day use.
    ///
    /// Give `nights` one price for each night of the stay and no `day_use`; for a day use, none,
    /// and `day_use`.
    PricesMismatch,
    /// A price is negative.
    ///
    /// Give prices from 0 on.
    NegativePrice,
    /// The prices add up to more than can be counted.
    ///
    /// Check the unit: prices are in minor units, such as cents, and add up to at most 10^15.
    PriceOverflow,
    /// The currency is not the property's.
    ///
    /// Give all prices in the currency that the property was defined with.
    WrongCurrency,
    /// The engine has no rate for this, so the client or a contract must set the price.
    ///
    /// Send `priced_by` as `Client` or `Contract`, with the prices.
    NoRate,
    /// No unit of the product is left.
    ///
    /// Take one of the alternatives, or fewer units.
    SoldOut,
    /// No unit of the house is left.
    ///
    /// Take one of the alternatives, or fewer units; more units of a product do not help.
    HouseFull,
    /// The reservation's state does not allow it.
    ///
    /// Look at the reservation (`bellhop why`): it may be cancelled, checked in or checked out
    /// already.
    WrongState,
    /// It is too early: the day of arrival is more than seven days away.
    ///
    /// Send it within the week before the day of arrival.
    BeforeArrival,
    /// The reservation has no such line.
    ///
    /// Number the lines from 1, in the order in which they were booked.
    UnknownLine,
    /// The lines have more than 3,000 nights together.
    ///
    /// Book fewer lines, or shorter ones, in one reservation.
    TooManyNights,
    /// A text is longer than 128 bytes.
    ///
    /// Shorten it to 128 bytes; a line's dimensions have as many together.
    TextTooLong,
    /// A reservation has more than 20 external references.
    ///
    /// Give at most 20.
    TooManyRefs,
    /// No unit is free over the day.
    ///
    /// Take another day or product, or fewer units.
    DayUseFull,
    /// It is too late: the last day of departure has come.
    ///
    /// Book a new stay.
    AfterDeparture,
    /// It is too early: the guest may still come.
    ///
    /// Send it after the property's hour of no-shows, or after the business date of the arrival.
    NoShowTooEarly,
    /// The hour of no-shows is not an hour of a day.
    ///
    /// Give an hour from 0 to 23, or null for the end of the business date.
    BadNoShowHour,
    /// The command does not say which reservation it is about.
    ///
    /// Give `reservation_id` or `external_ref`.
    ReservationNotNamed,
    /// The id and the external reference are those of two reservations.
    ///
    /// Give one of them, or both of the same reservation.
    NamesDisagree,
    /// ISO 3166-1 has no such country.
    ///
    /// Give the three letters of its alpha-3 code, such as `PRT`. Of a booking that was sold
    /// elsewhere (`AlreadySold`) it is a warning.
    UnknownCountry,
    /// The guests of a line do not fit into its units.
    ///
    /// Take more units, or a product with a larger `occupancy_max`. Of a booking that was sold
    /// elsewhere (`AlreadySold`) it is a warning.
    TooManyGuests,
    /// A line has no adult.
    ///
    /// It is a warning: children may travel alone. Check the count.
    NoAdults,
    /// The house has more rooms than any hotel of the world (7,351).
    ///
    /// It is a warning. Check the count.
    LargeHouse,
    /// A product with statistics has more units than the house on its first night.
    ///
    /// It is a warning: the house limits what is sold. Check both counts.
    MoreThanHouse,
    /// The reservation was over on that day, longer ago than reservations are kept.
    ///
    /// Look at its events (`bellhop why`); book a new stay under an id of its own.
    Finished,
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
    /// The field of the command that it is about: `lines[1].nights[0].tax`.
    pub path: Option<CompactString>,
    /// What was found, where it is no number: a code that is not known, the state of the
    /// reservation.
    pub found: Option<CompactString>,
    /// What the rule would have taken, where it is no number.
    pub wanted: Option<CompactString>,
}

impl Reason {
    /// A reason that needs no more; others fill in what they know.
    #[must_use]
    pub fn of(rule: Rule) -> Self {
        Self {
            rule,
            product: None,
            night: None,
            asked: None,
            allowed: None,
            reservation_id: None,
            path: None,
            found: None,
            wanted: None,
        }
    }
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
