//! From a query to the SQL that answers it.
//!
//! ```text
//! periods   first and last night of each property, where the query leaves one open
//! sold      measures of the ledger, by the dimensions (and the currency, where it is money)
//! supplied  what there was to sell, by those dimensions that split supply
//! cells     both, side by side
//! SELECT    names for the dimensions, the formula for the value
//! ```
//!
//! The SQL is that of the standard where there is a choice, so that it also runs over the files of
//! the lake in other engines.

use std::fmt::Write as _;

use bellhop_schemas::night::Night;
use jiff::Timestamp;

use super::{AsOf, Dimension, Grain, Query};
use crate::error::Error;
use crate::warm::{self, Codes};

/// What a plan needs to know of the ledgers beforehand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts {
    /// Whether a product does not count in the statistics.
    pub(crate) apart: bool,
    /// First and last night of the query over all properties; `None` where it names both, or there
    /// is none.
    pub(crate) hull: Option<(Night, Night)>,
}

/// Leaves out the products that do not count in the statistics, of a table with some name.
pub(crate) fn in_statistics(table: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM products WHERE NOT products.statistics \
         AND products.property_id = {table}.property_id AND products.product = {table}.product)"
    )
}

/// A query on its way to become SQL.
pub(crate) struct Plan<'a> {
    pub(crate) query: &'a Query,
    pub(crate) facts: Facts,
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
                sql.push_str("WITH ");
                if self.has_open_end() {
                    let _ = write!(sql, "periods AS ({}\n), ", self.periods());
                }
                let _ = write!(
                    sql,
                    "sold AS ({sold}\n), supplied AS ({supplied}\n), cells AS ({cells}\n)"
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

    /// The SQL for the period of each property: its id, first and last night.
    pub(crate) fn period_sql(&self) -> Result<String, Error> {
        check_period(self.query.from, self.query.to)?;
        Ok(format!("{}\n  ORDER BY property_id", self.periods()))
    }

    fn has_open_end(&self) -> bool {
        self.query.from.is_none() || self.query.to.is_none()
    }

    /// From the first to the last night on the books, unless the query says otherwise.
    fn periods(&self) -> String {
        let mut conditions = self.nights_on_books();
        conditions.extend(self.properties(""));
        let nights = grouped(
            self.nights_table(),
            &[("property_id".to_owned(), "property_id"), ("stay_night".to_owned(), "night")],
            &[],
            &conditions,
            "sum(units) > 0",
        );
        let edge = |given: Option<Night>, own: &str| given.map_or_else(|| own.to_owned(), day);
        let nights = nights.replace('\n', "\n  ");
        format!(
            "\n  SELECT property_id, {} AS first_night, {} AS last_night\n  FROM ({nights}\n  ) AS nights\n  GROUP BY property_id",
            edge(self.query.from, "min(night)"),
            edge(self.query.to, "max(night)")
        )
    }

    fn nights_table(&self) -> &'static str {
        // In memory there are nights of the kind `room` alone, and they are netted as of now.
        match (self.codes, self.query.as_of) {
            (Some(_), None) => warm::NIGHTS_NOW,
            (None, _) | (Some(_), Some(_)) => "room_nights",
        }
    }

    /// Of all nights those that figures count, as known then.
    fn nights_on_books(&self) -> Vec<String> {
        let mut conditions = Vec::new();
        if self.codes.is_none() {
            conditions.push("kind = 'room'".to_owned());
        }
        conditions.extend(self.known(""));
        if self.facts.apart {
            conditions.push(in_statistics(self.nights_table()));
        }
        conditions
    }

    /// Nights on the books.
    fn sold(&self, dimensions: &[Dimension]) -> String {
        let mut conditions = self.nights_on_books();
        conditions.extend(self.properties(""));
        conditions.extend(self.within("stay_night"));
        let keys = self.keys(dimensions, "stay_night", "");
        grouped(
            self.nights_table(),
            &keys,
            &["sum(units) AS units", "sum(room) AS room"],
            &conditions,
            "sum(units) <> 0 OR sum(room) <> 0",
        )
    }

    /// Bookings and what became of them.
    fn booked(&self, dimensions: &[Dimension]) -> String {
        let mut conditions = vec!["arrival IS NOT NULL".to_owned()];
        conditions.extend(self.known(""));
        conditions.extend(self.properties(""));
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
        let mut conditions = Vec::new();
        if self.codes.is_none() {
            conditions.push("command = 'CreateReservation'".to_owned());
            conditions.push("reason_index = 0".to_owned());
        }
        conditions.extend(self.known(""));
        conditions.extend(self.properties(""));
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
            if self.facts.apart {
                conditions.push(in_statistics("supply"));
            }
        } else {
            conditions.push("supply.product IS NULL".into());
        }
        conditions.extend(self.known("supply."));
        conditions.extend(self.properties("supply."));

        let mut from = String::from("supply");
        let nights = if self.has_open_end() {
            from.push_str("\n  JOIN periods ON periods.property_id = supply.property_id");
            conditions.push("night BETWEEN periods.first_night AND periods.last_night".into());
            self.facts.hull
        } else {
            self.query.from.zip(self.query.to)
        };
        let measure = format!("sum({count}) AS supply");
        let keys = self.keys(&splits, "night", "supply.");
        let Some((first, last)) = nights else {
            // No property has a period: nothing was to be sold.
            from.push_str("\n  CROSS JOIN (SELECT DATE '1970-01-01' AS night) AS nights");
            conditions.push("false".to_owned());
            return Ok(grouped(
                &self.with_currency(&from),
                &keys,
                &[&measure],
                &conditions,
                "true",
            ));
        };
        check_period(Some(first), Some(last))?;
        let _ = write!(
            from,
            "\n  JOIN (SELECT CAST(moment AS DATE) AS night FROM \
             generate_series({}, {}, INTERVAL '1' DAY) AS series(moment)) AS nights\
             \n    ON (supply.first_night IS NULL OR supply.first_night <= night)\
             \n   AND (supply.last_night IS NULL OR supply.last_night >= night)",
            day(first),
            day(last)
        );
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
                    columns.push(
                        "coalesce(named.name, CAST(cells.property_id AS VARCHAR)) AS property"
                            .to_owned(),
                    );
                    // Where two properties have one code, the id says which is which.
                    from.push_str(
                        " LEFT JOIN (SELECT property_id, CASE WHEN count(*) OVER (PARTITION BY code) > 1 \
                         THEN code || ' (' || CAST(property_id AS VARCHAR) || ')' ELSE code END AS name \
                         FROM properties) AS named ON named.property_id = cells.property_id",
                    );
                    order.push("property".to_owned());
                    order.push("cells.property_id".to_owned());
                }
                Dimension::Month => {
                    columns
                        .push("substr(CAST(cells.month_start AS VARCHAR), 1, 7) AS month".into());
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
            // In memory the months of nights and arrivals are there already.
            Dimension::Month if self.codes.is_some() && day != "night" => {
                format!("{prefix}month_start")
            }
            Dimension::Month => format!("CAST(date_trunc('month', {day}) AS DATE)"),
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

    /// The properties that are asked for, of a table with a prefix; `None` for all of them.
    fn properties(&self, prefix: &str) -> Option<String> {
        let ids = self.query.properties.as_ref()?;
        let ids = ids.iter().filter_map(|id| match self.codes {
            None => Some(quoted(id)),
            Some(codes) => codes.property(id).map(|code| code.to_string()),
        });
        let ids: Vec<_> = ids.collect();
        Some(match ids.is_empty() {
            true => "false".to_owned(),
            false => format!("{prefix}property_id IN ({})", ids.join(", ")),
        })
    }

    /// What was known, of a table with a prefix.
    fn known(&self, prefix: &str) -> Option<String> {
        let as_of = self.query.as_of?;
        let year = match as_of {
            AsOf::Day(last) => last.date().map(|date| i64::from(date.year())),
            AsOf::Instant(instant) => Timestamp::from_microsecond(instant.0)
                .ok()
                .map(|at| i64::from(at.to_zoned(jiff::tz::TimeZone::UTC).year())),
        };
        // Before and after those years all or nothing was known; SQL cannot write them.
        let is_early = match as_of {
            AsOf::Day(last) => last.0 < 0,
            AsOf::Instant(instant) => instant.0 < 0,
        };
        if !year.is_some_and(|year| (YEAR_MIN..=YEAR_MAX).contains(&year)) {
            return is_early.then(|| "false".to_owned());
        }
        Some(match as_of {
            AsOf::Day(last) => format!("{prefix}business_date <= {}", day(last)),
            AsOf::Instant(instant) => format!(
                "{prefix}known_at <= CAST('{}' AS TIMESTAMP WITH TIME ZONE)",
                bellhop_schemas::instant::to_text(instant).unwrap_or_default()
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
    let mut sql = format!("\n  SELECT {}\n  FROM {from}", columns.join(", "));
    if !conditions.is_empty() {
        let _ = write!(sql, "\n  WHERE {}", conditions.join(" AND "));
    }
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
    format!("DATE '{night}'")
}

/// Years of a period; nights become timestamps of nanoseconds in a series, which bounds them.
const YEAR_MIN: i64 = 1700;
const YEAR_MAX: i64 = 2200;

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
    night.date().is_some_and(|date| (YEAR_MIN..=YEAR_MAX).contains(&i64::from(date.year())))
}
