//! The parts of a stay that commands ask for and events record.

use bellhop_core::prelude::Avro;
use serde::{Deserialize, Serialize};

use crate::dimensions::Dimensions;
use crate::ids::ProductCode;
use crate::money::{Currency, Minor};
use crate::night::Night;

/// Who set a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.PricedBy")]
pub enum PricedBy {
    /// The engine's own rates.
    Engine,
    /// Whoever sent the command: a booking already sold elsewhere.
    Client,
    /// A contract.
    Contract,
}

/// The price of one unit for one night, or for a day use, in minor units of the line's currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.Price")]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Room revenue, net of tax and of everything that is not the room.
    pub room: Minor,
    /// Tax on it.
    #[serde(default)]
    pub tax: Minor,
    /// Everything else that is sold with the night.
    #[serde(default)]
    pub extras: Minor,
}

/// A line as it is asked for: some units of one product over one stay.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.RequestedLine")]
#[serde(deny_unknown_fields)]
pub struct RequestedLine {
    /// The product sold.
    pub product: ProductCode,
    /// How many of it.
    pub units: i32,
    /// Day of arrival.
    pub arrival: Night,
    /// Day of departure; the day of arrival for a day use.
    pub departure: Night,
    /// Adults in all units.
    pub adults: i32,
    /// Age in years of each child; null where it is not known.
    #[serde(default)]
    pub child_ages: Vec<Option<i32>>,
    /// What reports split it by.
    #[serde(default)]
    pub dimensions: Dimensions,
    /// ISO 4217 currency of all its prices.
    pub currency: Currency,
    /// Who set the prices.
    pub priced_by: PricedBy,
    /// The price of each night in order; empty for a day use.
    #[serde(default)]
    pub nights: Vec<Price>,
    /// The price of a day use.
    pub day_use: Option<Price>,
}

/// A night of a line as it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.LineNight")]
pub struct LineNight {
    /// Which night.
    pub night: Night,
    /// The product that the guest is given, where it is not the product sold.
    pub held: Option<ProductCode>,
    /// Price of one unit.
    pub price: Price,
}

/// A line as it was decided, or those nights of it that a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.Line")]
pub struct Line {
    /// Its number within the reservation, from 1.
    pub number: u16,
    /// The product sold.
    pub product: ProductCode,
    /// How many of it.
    pub units: u16,
    /// Day of arrival.
    pub arrival: Night,
    /// Day of departure; the day of arrival for a day use.
    pub departure: Night,
    /// Adults in all units.
    pub adults: u16,
    /// Age in years of each child; null where it is not known.
    pub child_ages: Vec<Option<i32>>,
    /// What reports split it by.
    pub dimensions: Dimensions,
    /// ISO 4217 currency of all its prices.
    pub currency: Currency,
    /// Who set the prices.
    pub priced_by: PricedBy,
    /// The nights, in order; none for a day use.
    pub nights: Vec<LineNight>,
    /// The price of a day use.
    pub day_use: Option<Price>,
}

impl Line {
    /// The product that the guest is given on one of its nights.
    #[must_use]
    pub fn held<'a>(&'a self, at: &'a LineNight) -> &'a ProductCode {
        at.held.as_ref().unwrap_or(&self.product)
    }

    /// A product as its nights hold it.
    #[must_use]
    pub fn holding(&self, product: &ProductCode) -> Option<ProductCode> {
        (*product != self.product).then(|| product.clone())
    }

    /// Nights of it, for a change that is about these alone: without the ages, which it leaves, and
    /// without the day use.
    #[must_use]
    pub fn with_nights(&self, nights: Vec<LineNight>) -> Self {
        Self {
            number: self.number,
            product: self.product.clone(),
            units: self.units,
            arrival: self.arrival,
            departure: self.departure,
            adults: self.adults,
            child_ages: Vec::new(),
            dimensions: self.dimensions.clone(),
            currency: self.currency,
            priced_by: self.priced_by,
            nights,
            day_use: None,
        }
    }

    /// Whether a night lies behind the stay that was booked: the guest stayed on for it.
    #[must_use]
    pub fn is_overstay(&self, night: Night) -> bool {
        night >= self.departure
    }

    /// Whether it uses the day of arrival and no night.
    #[must_use]
    pub fn is_day_use(&self) -> bool {
        self.day_use.is_some() || (self.nights.is_empty() && self.arrival == self.departure)
    }
}

/// Nights of a line that another product holds.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.LineMove")]
pub struct LineMove {
    /// The line with the nights that move, each with the product that held it until then.
    pub line: Line,
    /// The product that holds them now.
    pub held: ProductCode,
}

/// A night or a day that a fact took above its limit.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.OversoldNight")]
pub struct OversoldNight {
    /// The product; null for the house as a whole.
    pub product: Option<ProductCode>,
    /// The night; the day of a day use.
    pub night: Night,
    /// Units above the limit.
    pub units: i32,
    /// Whether it is the day's use, not the night.
    pub day_use: bool,
}

/// A run of nights whose supply changed by the same amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.SupplyChange")]
pub struct SupplyChange {
    /// First night; null for the beginning of time.
    pub first_night: Option<Night>,
    /// Last night; null for no end.
    pub last_night: Option<Night>,
    /// Units before.
    pub before: i32,
    /// Units after.
    pub after: i32,
}
