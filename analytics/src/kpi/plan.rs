//! From a query to the SQL that answers it.
//!
//! ```text
//! sold      measures of the ledger, by the dimensions (and the currency, where it is money)
//! supplied  what there was to sell, by those dimensions that split supply
//! cells     both, side by side
//! SELECT    names for the dimensions, the formula for the value
//! ```

use std::fmt::Write as _;

use bellhop_schemas::night::Night;
use jiff::civil::Date;

use super::{AsOf, Dimension, Grain, Query};
use crate::error::Error;
use crate::warm::{self, Codes};

/// What a plan needs to know of the ledgers beforehand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The period of each property that has a night on its ledger.
    pub(crate) periods: Vec<Period>,
    /// Products (with their property) that do not count in the statistics.
    pub(crate) apart: Vec<(String, String)>,
}

impl Facts {
    /// Leaves out the products that do not count in the statistics, a condition each; none, mostly.
    pub(crate) fn in_statistics(&self) -> Vec<String> {
        let apart = self.apart.iter().map(|(property, product)| {
            let (property, product) = (quoted(property), quoted(product));
            format!("NOT (property_id = {property} AND product = {product})")
        });
        apart.collect()
    }
}

/// The nights over which a property is measured unless the query says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Period {
    property_id: String,
    first: Night,
    last: Night,
}

impl Period {
    /// The whole months from that of one night to that of another, in days since 1970.
    pub(crate) fn of_months(property_id: String, first: i32, last: i32) -> Self {
        let month = |night: Night, edge: fn(Date) -> Date| {
            night.date().map_or(night, |date| Night::of(edge(date)))
        };
        let first = month(Night(first), Date::first_of_month);
        let last = month(Night(last), Date::last_of_month);
        Self { property_id, first, last }
    }
}

/// A query on its way to become SQL.
pub(crate) struct Plan<'a> {
    pub(crate) query: &'a Query,
    pub(crate) facts: &'a Facts,
    /// Where the tables are those of [`crate::warm`]: codes for texts, and what they stand for.
    pub(crate) codes: Option<&'a Codes>,
}

impl Plan<'_> {
    /// The SQL.
    pub(crate) fn sql(&self) -> Result<String, Error> {
        check_period(self.query.from, self.query.to)?;
        let dimensions = self.query.dimensions();
        let mut sql = String::new();
        match self.query.kpi.grain {
            Grain::Nights => {
                let _ = write!(sql, "WITH cells AS ({}\n)", self.sold(&dimensions));
            }
            Grain::NightsOfSupply => {
                let sold = self.sold(&dimensions);
                let supplied = self.supplied(&dimensions)?;
                let cells = self.side_by_side(&dimensions);
                let _ = write!(
                    sql,
                    "WITH sold AS ({sold}\n), supplied AS ({supplied}\n), cells AS ({cells}\n)"
                );
            }
            Grain::Bookings => {
                let _ = write!(sql, "WITH cells AS ({}\n)", self.booked(&dimensions));
            }
            Grain::Refusals => {
                let _ = write!(sql, "WITH cells AS ({}\n)", self.refused(&dimensions));
            }
        }
        sql.push_str(&self.select(&dimensions));
        Ok(sql)
    }

    fn in_statistics(&self, prefix: &str) -> Vec<String> {
        let apart = self.facts.apart.iter().filter_map(|(property, product)| {
            let (property, product) = (self.property(property)?, self.text(product)?);
            Some(format!("NOT ({prefix}property_id = {property} AND {prefix}product = {product})"))
        });
        apart.collect()
    }

    /// A property as the tables hold it; `None` where they do not.
    fn property(&self, id: &str) -> Option<String> {
        match self.codes {
            None => Some(quoted(id)),
            Some(codes) => codes.property(id).map(|code| code.to_string()),
        }
    }

    /// A text as the tables hold it; `None` where they do not.
    fn text(&self, text: &str) -> Option<String> {
        match self.codes {
            None => Some(quoted(text)),
            Some(codes) => codes.text(text).map(|code| code.to_string()),
        }
    }

    /// Nights on the books.
    fn sold(&self, dimensions: &[Dimension]) -> String {
        // In memory there are nights of the kind `room` alone, and they are netted as of now.
        let (table, kind) = match (self.codes, self.query.as_of) {
            (None, _) => ("room_nights", "kind = 'room'"),
            (Some(_), None) => (warm::NIGHTS_NOW, "true"),
            (Some(_), Some(_)) => ("room_nights", "true"),
        };
        let mut conditions = vec![kind.to_owned()];
        conditions.extend(self.known());
        conditions.extend(self.within("stay_night"));
        conditions.extend(self.in_statistics(""));
        let keys = self.keys(dimensions, "stay_night", "");
        grouped(
            table,
            &keys,
            &["sum(units) AS units", "sum(room) AS room"],
            &conditions,
            "sum(units) <> 0 OR sum(room) <> 0",
        )
    }

    /// Bookings and what became of them.
    fn booked(&self, dimensions: &[Dimension]) -> String {
        let mut conditions = vec!["arrival IS NOT NULL".to_owned()];
        conditions.extend(self.known());
        conditions.extend(self.within("arrival"));
        let measures = [
            "sum(booked) AS booked",
            "sum(cancelled) AS cancelled",
            "sum(no_show) AS no_show",
            "sum(CAST(lead_days AS BIGINT) * booked) AS lead_days",
            "sum(CAST(nights AS BIGINT) * booked) AS nights",
        ];
        let keys = self.keys(dimensions, "arrival", "");
        grouped("bookings", &keys, &measures, &conditions, "sum(booked) <> 0")
    }

    /// Refused bookings.
    fn refused(&self, dimensions: &[Dimension]) -> String {
        let mut conditions = match self.codes {
            None => vec!["command = 'CreateReservation'".into(), "reason_index = 0".into()],
            Some(_) => vec!["true".to_owned()],
        };
        conditions.extend(self.known());
        conditions.extend(self.within("arrival"));
        let keys = self.keys(dimensions, "arrival", "");
        grouped("refusals", &keys, &["count(*) AS refused"], &conditions, "count(*) > 0")
    }

    /// What there was to sell: of the house, or by product of the products.
    fn supplied(&self, dimensions: &[Dimension]) -> Result<String, Error> {
        let splits: Vec<_> =
            dimensions.iter().copied().filter(|dimension| dimension.splits_supply()).collect();
        let count = if self.query.less_out_of_order {
            "supply.physical - supply.out_of_order"
        } else {
            "supply.physical"
        };
        let mut conditions = vec![format!("{count} <> 0")];
        if splits.contains(&Dimension::Product) {
            conditions.push("supply.product IS NOT NULL".into());
            conditions.extend(self.in_statistics("supply."));
        } else {
            conditions.push("supply.product IS NULL".into());
        }
        conditions.extend(self.known().map(|known| format!("supply.{known}")));

        let mut from = String::from("supply");
        let nights = match (self.query.from, self.query.to) {
            (Some(first), Some(last)) => Some((first, last)),
            (from_asked, to_asked) => {
                let mut rows = Vec::new();
                let mut hull: Option<(Night, Night)> = None;
                for period in &self.facts.periods {
                    let first = from_asked.unwrap_or(period.first);
                    let last = to_asked.unwrap_or(period.last);
                    let id = self.property(&period.property_id).filter(|_| first <= last);
                    if let Some(id) = id {
                        let (from, to) = (day(first), day(last));
                        rows.push(format!("({id}, {from}, {to})"));
                        hull =
                            Some(hull.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
                    }
                }
                if !rows.is_empty() {
                    let _ = write!(
                        from,
                        "\n  JOIN (VALUES {}) AS periods(property_id, first_night, last_night)\
                         \n    ON periods.property_id = supply.property_id",
                        rows.join(", ")
                    );
                    conditions
                        .push("night BETWEEN periods.first_night AND periods.last_night".into());
                }
                hull
            }
        };
        let Some((first, last)) = nights else {
            // No property has a period: nothing was to be sold.
            let keys = self.keys(&splits, "night", "supply.");
            let conditions = ["false".to_owned()];
            let from =
                format!("{from}\n  CROSS JOIN (SELECT DATE '1970-01-01' AS night) AS nights");
            return Ok(grouped(
                &self.with_currency(&from),
                &keys,
                &["sum(supply.physical) AS supply"],
                &conditions,
                "true",
            ));
        };
        check_period(Some(first), Some(last))?;
        let _ = write!(
            from,
            "\n  JOIN (SELECT CAST(value AS DATE) AS night FROM \
             generate_series({}, {}, INTERVAL '1' DAY)) AS nights\
             \n    ON (supply.first_night IS NULL OR supply.first_night <= night)\
             \n   AND (supply.last_night IS NULL OR supply.last_night >= night)",
            day(first),
            day(last)
        );
        let keys = self.keys(&splits, "night", "supply.");
        let measure = format!("sum({count}) AS supply");
        Ok(grouped(&self.with_currency(&from), &keys, &[&measure], &conditions, "true"))
    }

    /// Supply has no currency of its own: it is the property's.
    fn with_currency(&self, from: &str) -> String {
        if self.query.kpi.unit.is_money() {
            format!("{from}\n  JOIN properties ON properties.property_id = supply.property_id")
        } else {
            from.to_owned()
        }
    }

    /// Joins what was sold with what there was. Where a dimension splits the sold alone, groups that
    /// sold nothing do not show; else all that could be sold shows.
    fn side_by_side(&self, dimensions: &[Dimension]) -> String {
        let mut shared: Vec<&str> = Vec::new();
        let mut columns = Vec::new();
        for dimension in dimensions {
            let key = key_name(*dimension);
            if dimension.splits_supply() {
                shared.push(key);
            } else {
                columns.push(format!("sold.{key} AS {key}"));
            }
        }
        let kind = if columns.is_empty() { "FULL" } else { "LEFT" };
        if self.query.kpi.unit.is_money() {
            shared.push("currency");
        }
        columns.extend(
            shared.iter().map(|key| format!("coalesce(sold.{key}, supplied.{key}) AS {key}")),
        );
        columns.extend(["units", "room", "supply"].map(str::to_owned));
        let on = shared.iter().map(|key| format!("sold.{key} = supplied.{key}"));
        let on = on.collect::<Vec<_>>().join(" AND ");
        let join = if on.is_empty() {
            "CROSS JOIN supplied".into()
        } else {
            format!("{kind} JOIN supplied ON {on}")
        };
        format!("\n  SELECT {}\n  FROM sold {join}", columns.join(", "))
    }

    fn select(&self, dimensions: &[Dimension]) -> String {
        let name = self.query.kpi.name;
        let mut columns = Vec::new();
        let mut order = Vec::new();
        let mut from = String::from("cells");
        for dimension in dimensions {
            match dimension {
                _ if self.codes.is_some() => {
                    // Codes are in the order of what they stand for, so they sort like it.
                    let key = key_name(*dimension);
                    columns.push(format!("cells.{key} AS {dimension}"));
                    order.push(format!("cells.{key}"));
                }
                Dimension::Property => {
                    columns.push("coalesce(named.code, cells.property_id) AS property".into());
                    from.push_str(
                        " LEFT JOIN (SELECT property_id, code FROM properties) AS named \
                         ON named.property_id = cells.property_id",
                    );
                    order.push("property".to_owned());
                    order.push("cells.property_id".to_owned());
                }
                Dimension::Month => {
                    columns.push("to_char(cells.month_start, '%Y-%m') AS month".to_owned());
                    order.push("cells.month_start".into());
                }
                Dimension::Day
                | Dimension::Product
                | Dimension::Segment
                | Dimension::Channel
                | Dimension::Country => {
                    columns.push(format!("cells.{dimension}"));
                    order.push(format!("cells.{dimension}"));
                }
            }
        }
        columns.push(format!("{} AS {name}", self.query.kpi.formula));
        if self.query.kpi.unit.is_money() {
            columns.push("cells.currency".into());
            order.push("cells.currency".into());
        }
        let mut sql = format!("\nSELECT {}\nFROM {from}", columns.join(", "));
        if !order.is_empty() {
            let _ = write!(sql, "\nORDER BY {}", order.join(", "));
        }
        sql
    }

    /// Expressions to group by, each with its name; `day` is the column that holds the day.
    fn keys(
        &self,
        dimensions: &[Dimension],
        day: &str,
        prefix: &str,
    ) -> Vec<(String, &'static str)> {
        let expression = |dimension: &Dimension| match dimension {
            Dimension::Day => day.to_owned(),
            Dimension::Month if self.codes.is_none() => format!("date_trunc('month', {day})"),
            // In memory the months of nights and arrivals are there already.
            Dimension::Month if day == "night" => "CAST(date_trunc('month', night) AS DATE)".into(),
            Dimension::Month => format!("{prefix}month_start"),
            Dimension::Property => format!("{prefix}property_id"),
            Dimension::Product | Dimension::Segment | Dimension::Channel | Dimension::Country => {
                format!("{prefix}{dimension}")
            }
        };
        let mut keys: Vec<_> = dimensions
            .iter()
            .map(|dimension| (expression(dimension), key_name(*dimension)))
            .collect();
        if self.query.kpi.unit.is_money() {
            keys.push(("currency".into(), "currency"));
        }
        keys
    }

    /// What was known, as a condition that begins with the column.
    fn known(&self) -> Option<String> {
        self.query.as_of.map(|as_of| match as_of {
            AsOf::Day(last) => format!("business_date <= {}", day(last)),
            AsOf::Instant(instant) => format!(
                "known_at <= arrow_cast({}, 'Timestamp(Microsecond, Some(\"+00:00\"))')",
                instant.0
            ),
        })
    }

    /// The days of the period, as conditions on the column that holds them.
    fn within(&self, column: &str) -> Vec<String> {
        let from = self.query.from.map(|first| format!("{column} >= {}", day(first)));
        let to = self.query.to.map(|last| format!("{column} <= {}", day(last)));
        from.into_iter().chain(to).collect()
    }
}

fn key_name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Property => "property_id",
        Dimension::Month => "month_start",
        Dimension::Day
        | Dimension::Product
        | Dimension::Segment
        | Dimension::Channel
        | Dimension::Country => dimension.name(),
    }
}

/// A subquery; without keys it is one row, and `having` does not apply.
fn grouped(
    from: &str,
    keys: &[(String, &'static str)],
    measures: &[&str],
    conditions: &[String],
    having: &str,
) -> String {
    let mut columns: Vec<_> = keys.iter().map(|(key, name)| format!("{key} AS {name}")).collect();
    columns.extend(measures.iter().map(|measure| (*measure).to_owned()));
    let mut sql = format!(
        "\n  SELECT {}\n  FROM {from}\n  WHERE {}",
        columns.join(", "),
        conditions.join(" AND ")
    );
    if !keys.is_empty() {
        let group: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
        let _ = write!(sql, "\n  GROUP BY {}\n  HAVING {having}", group.join(", "));
    }
    sql
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A day as SQL.
fn day(night: Night) -> String {
    match night.date().filter(|date| date.year() >= 0) {
        Some(date) => format!("DATE '{date}'"),
        None => format!("arrow_cast({}, 'Date32')", night.0),
    }
}

/// Nights become timestamps of nanoseconds in a series, which is what bounds the years.
fn check_period(from: Option<Night>, to: Option<Night>) -> Result<(), Error> {
    let what = match (from, to) {
        (Some(from), Some(to)) if to < from => "ends before it begins",
        _ if [from, to].into_iter().flatten().any(|night| !has_a_year_of_hotels(night)) => {
            "leaves the years 1700 to 2200"
        }
        _ => return Ok(()),
    };
    let text =
        |night: Option<Night>| night.map_or_else(|| "the first day".into(), |it| it.to_string());
    Err(Error::BadPeriod {
        from: text(from),
        to: to.map_or_else(|| "the last day".into(), |it| it.to_string()),
        what,
    })
}

fn has_a_year_of_hotels(night: Night) -> bool {
    night.date().is_some_and(|date| (1700..=2200).contains(&date.year()))
}
