//! The KPIs in ClickHouse, by property and month: a file of SQL each, as-of capable.
//!
//! `docs/kpis.md` says what each one means; the numbers are those of `bellhop kpi`.

use bellhop_core::message::Timestamp;
use bellhop_schemas::night::Night;
use serde::Deserialize;

use crate::error::Error;
use crate::server::Server;

/// A figure with a name.
#[derive(Debug, Clone, Copy)]
pub struct Kpi {
    /// Its name, that of `bellhop kpi`.
    pub name: &'static str,
    /// What answers it; takes `as_of_day` and `as_of`.
    pub sql: &'static str,
}

macro_rules! kpis {
    ($($name:literal),*) => {
        /// All of them, in the order of the documentation.
        pub const ALL: &[Kpi] = &[$(Kpi {
            name: $name,
            sql: include_str!(concat!("../sql/kpi/", $name, ".sql")),
        },)*];
    };
}
kpis!(
    "room_nights",
    "occupancy",
    "room_revenue",
    "adr",
    "revpar",
    "bookings",
    "refusals",
    "cancellation_rate",
    "no_show_rate",
    "lead_time",
    "length_of_stay"
);

/// What was known when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// All that is known.
    Now,
    /// At the close of a business date.
    Day(Night),
    /// At an instant of stream time.
    Instant(Timestamp),
}

/// A figure of a property and month.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Figure {
    /// The name of the property.
    pub property: String,
    /// The month, like `2016-08`; null where a refused booking named none.
    pub month_of_stay: Option<String>,
    /// The figure; null where its denominator is zero. Money is in minor units.
    pub value: Option<f64>,
    /// ISO 4217; empty where it is no money.
    pub currency: String,
}

/// Answers a KPI by property and month.
///
/// # Errors
/// [`Error::Tables`] for a name that does not exist; when the server cannot be asked.
pub fn answer(server: &Server, name: &str, as_of: AsOf) -> Result<Vec<Figure>, Error> {
    let Some(kpi) = ALL.iter().find(|kpi| kpi.name == name) else {
        let known = ALL.iter().map(|kpi| kpi.name).collect::<Vec<_>>().join(", ");
        return Err(Error::tables(
            format!("there is no KPI \"{name}\" in ClickHouse"),
            &format!("there are {known}"),
        ));
    };
    let (mut day, mut instant) = ("2299-12-31".to_owned(), "2299-12-31 00:00:00.000000".to_owned());
    match as_of {
        AsOf::Now => {}
        AsOf::Day(last) => day = last.to_string(),
        AsOf::Instant(last) => {
            let (seconds, micros) = (last.0.div_euclid(1_000_000), last.0.rem_euclid(1_000_000));
            instant = format!("{seconds}.{micros:06}");
        }
    }
    server.ask(&format!("ask for {name}"), kpi.sql, &[("as_of_day", day), ("as_of", instant)])
}
