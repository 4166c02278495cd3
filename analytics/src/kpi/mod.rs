//! The KPIs: a file each, all of them sums over the ledgers.
//!
//! Start at [`Query`]. A [`Kpi`] is a formula over the measures of its [`Grain`]; `plan` turns a
//! query into SQL that any session can run. `docs/kpis.md` says what each one means and where it
//! comes from.
//!
//! # Invariants
//! 1. As of the past, numerators and denominators see only what was known then.
//! 2. Two currencies are never added: money is grouped by currency, always.

mod adr;
mod bookings;
mod cancellation_rate;
mod lead_time;
mod length_of_stay;
mod no_show_rate;
mod occupancy;
mod refusals;
mod revpar;
mod room_nights;
mod room_revenue;

mod plan;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bellhop_core::message::Timestamp;
use bellhop_schemas::instant;
use bellhop_schemas::money::Currency;
use bellhop_schemas::night::Night;
use datafusion::arrow::array::{ArrayRef, AsArray as _, Float64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema};

pub(crate) use plan::{Facts, Plan};

use crate::error::Error;
use crate::sql::Answer;

/// Every KPI, in the order of the documentation.
pub const ALL: [&Kpi; 11] = [
    &room_nights::KPI,
    &occupancy::KPI,
    &room_revenue::KPI,
    &adr::KPI,
    &revpar::KPI,
    &bookings::KPI,
    &refusals::KPI,
    &cancellation_rate::KPI,
    &no_show_rate::KPI,
    &lead_time::KPI,
    &length_of_stay::KPI,
];

/// A figure with a name.
#[derive(Debug)]
pub struct Kpi {
    /// Its name, and that of its column.
    pub name: &'static str,
    /// What it says, in a line.
    pub summary: &'static str,
    /// What its numbers are.
    pub unit: Unit,
    grain: Grain,
    /// SQL over the measures of the grain.
    formula: &'static str,
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things; a 64-bit integer.
    Count,
    /// Money in minor units; a 64-bit integer.
    Money,
    /// Money in minor units per night; a float.
    MoneyPerNight,
    /// A share of one; a float.
    Share,
    /// Days or nights; a float.
    Days,
}

impl Unit {
    /// Whether the answer says in which currency.
    #[must_use]
    pub fn is_money(self) -> bool {
        matches!(self, Self::Money | Self::MoneyPerNight)
    }
}

/// What a KPI sums, and so which measures its formula can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grain {
    /// Nights on the books: `units`, `room`.
    Nights,
    /// The same, and what there was to sell: also `supply`.
    NightsOfSupply,
    /// Bookings: `booked`, `cancelled`, `no_show`, `lead_days`, `nights`.
    Bookings,
    /// Refused bookings: `refused`.
    Refusals,
}

/// What a KPI can be split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The property; shown as its code, with its id where two have the same.
    Property,
    /// The day: of the night, the arrival, or the arrival asked for.
    Day,
    /// The month of that day.
    Month,
    /// The product sold, or asked for.
    Product,
    /// Market segment.
    Segment,
    /// Channel of distribution.
    Channel,
    /// Where the guest comes from.
    Country,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Property,
        Self::Day,
        Self::Month,
        Self::Product,
        Self::Segment,
        Self::Channel,
        Self::Country,
    ];

    /// Its name, and that of its column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Property => "property",
            Self::Day => "day",
            Self::Month => "month",
            Self::Product => "product",
            Self::Segment => "segment",
            Self::Channel => "channel",
            Self::Country => "country",
        }
    }

    /// Whether supply differs along it; along the others a denominator stays whole.
    fn splits_supply(self) -> bool {
        match self {
            Self::Property | Self::Day | Self::Month | Self::Product => true,
            Self::Segment | Self::Channel | Self::Country => false,
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dimension {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|dimension| dimension.name() == name.trim());
        found.ok_or_else(|| Error::UnknownDimension {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// What was known when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// At the close of a business date of each property.
    Day(Night),
    /// At an instant of stream time.
    Instant(Timestamp),
}

impl FromStr for AsOf {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let day = text.parse().map(Self::Day).ok();
        let instant = || instant::from_text(text).map(Self::Instant).ok();
        day.or_else(instant).ok_or_else(|| Error::NotAnInstant { text: text.to_owned() })
    }
}

/// A question for a KPI.
#[derive(Debug, Clone)]
pub struct Query {
    /// Which.
    pub kpi: &'static Kpi,
    /// What it is split by; a dimension named twice counts once.
    pub by: Vec<Dimension>,
    /// As it was known then; `None` for all that is known.
    pub as_of: Option<AsOf>,
    /// Ids of the properties that are asked for; `None` for all of them.
    pub properties: Option<Vec<String>>,
    /// First day of the period; `None` for the first there is.
    pub from: Option<Night>,
    /// Last day of the period; `None` for the last there is.
    pub to: Option<Night>,
    /// Whether rooms out of order count as not there to be sold.
    pub less_out_of_order: bool,
}

impl Query {
    /// The KPI of a name: one figure over all there is; set the fields for more.
    ///
    /// # Errors
    /// [`Error::UnknownKpi`].
    pub fn of(name: &str) -> Result<Self, Error> {
        let found = ALL.into_iter().find(|kpi| kpi.name == name);
        let kpi = found.ok_or_else(|| Error::UnknownKpi {
            name: name.to_owned(),
            known: ALL.map(|kpi| kpi.name).join(", "),
        })?;
        let (as_of, properties, from, to) = (None, None, None, None);
        Ok(Self { kpi, by: Vec::new(), as_of, properties, from, to, less_out_of_order: false })
    }

    /// The same, split.
    #[must_use]
    pub fn by(self, dimensions: &[Dimension]) -> Self {
        Self { by: dimensions.to_vec(), ..self }
    }

    /// The dimensions, each once.
    pub(crate) fn dimensions(&self) -> Vec<Dimension> {
        let mut once = Vec::new();
        for dimension in &self.by {
            if !once.contains(dimension) {
                once.push(*dimension);
            }
        }
        once
    }
}

impl Kpi {
    /// Whether it divides by what there was to sell, so that its period matters.
    #[must_use]
    pub fn divides_by_supply(&self) -> bool {
        self.grain == Grain::NightsOfSupply
    }

    /// An answer for other programs: money in major units of its currency, like 106.5.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn in_major_units(&self, answer: &Answer) -> Result<Answer, Error> {
        let schema = answer.schema();
        let columns =
            self.unit.is_money().then(|| (schema.index_of(self.name), schema.index_of("currency")));
        let Some((Ok(value), Ok(currency))) = columns else { return Ok(answer.clone()) };
        let fields =
            schema.fields().iter().enumerate().map(|(index, field)| match index == value {
                true => Field::new(field.name(), DataType::Float64, true),
                false => field.as_ref().clone(),
            });
        let major = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut batches = Vec::with_capacity(answer.batches().len());
        for batch in answer.batches() {
            let mut columns = batch.columns().to_vec();
            if let (Some(values), Some(currencies)) = (columns.get(value), columns.get(currency)) {
                let values = major_units(values, currencies)?;
                columns[value] = Arc::new(values);
            }
            batches.push(RecordBatch::try_new(Arc::clone(&major), columns)?);
        }
        Ok(Answer::new(major, batches))
    }

    /// An answer as a person reads it: money in major units, shares in percent.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn texts(&self, answer: &Answer) -> Result<Vec<Vec<String>>, Error> {
        let mut rows = answer.texts()?;
        let header = answer.header();
        let value = header.iter().position(|name| name == self.name);
        let currency = header.iter().position(|name| name == "currency");
        for row in &mut rows {
            let currency = currency.and_then(|at| row.get(at)).and_then(|text| text.parse().ok());
            if let Some(cell) = value.and_then(|at| row.get_mut(at)) {
                *cell = self.unit.text(cell, currency);
            }
        }
        Ok(rows)
    }
}

fn major_units(values: &ArrayRef, currencies: &ArrayRef) -> Result<Float64Array, Error> {
    let values = cast(values, &DataType::Float64)?;
    let currencies = cast(currencies, &DataType::Utf8View)?;
    let values = values.as_primitive::<Float64Type>().iter();
    let major = values.zip(currencies.as_string_view()).map(|(value, currency)| {
        let currency: Option<Currency> = currency.and_then(|text| text.parse().ok());
        let places = currency.and_then(|it| it.exponent()).unwrap_or(0);
        value.map(|minor| minor / 10_f64.powi(i32::from(places)))
    });
    Ok(major.collect())
}

impl Unit {
    /// A number as a person reads it; text that is no number stays.
    fn text(self, number: &str, currency: Option<Currency>) -> String {
        let Ok(value) = number.parse::<f64>() else {
            return number.to_owned();
        };
        match self {
            Self::Count => number.to_owned(),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Days => format!("{value:.1}"),
            Self::Money | Self::MoneyPerNight => {
                let places = usize::from(currency.and_then(|it| it.exponent()).unwrap_or(0));
                let minor = if self == Self::Money { number } else { &format!("{value:.0}") };
                major(minor, places)
            }
        }
    }
}

/// An integer of minor units with its decimal point.
fn major(minor: &str, places: usize) -> String {
    let (sign, digits) = minor.strip_prefix('-').map_or(("", minor), |digits| ("-", digits));
    if places == 0 {
        return minor.to_owned();
    }
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    format!("{sign}{whole}.{part}")
}
