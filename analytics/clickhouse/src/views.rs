//! The daily aggregates: what they are made of, whether they have all of it, and making them anew.
//!
//! A view adds rows of its table up, by keys that name the partition, and counts them in `rows`. So
//! it has all there is of a partition exactly when that count is the table's. What it lacks, or has
//! too much, is put right by adding the difference: every figure is a sum.

use std::time::Duration;

use serde::Deserialize;

use crate::audit::{self, Damage};
use crate::engine;
use crate::error::Error;
use crate::lock::REBUILDING;
use crate::server::{Server, blocking, new_token};

/// An aggregate.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Its table.
    pub name: &'static str,
    /// What it adds up.
    pub source: &'static str,
    /// Which rows of that.
    filter: &'static str,
    /// Its migration, whose SELECT fills it.
    migration: &'static str,
    /// What tells its rows apart.
    keys: &'static [&'static str],
    /// What is added up.
    sums: &'static [&'static str],
}

macro_rules! migration {
    ($name:literal) => {
        include_str!(concat!("../../../migrations/clickhouse/", $name, ".sql"))
    };
}

/// All of them.
pub const ALL: [View; 4] = [
    View {
        name: "daily_sales",
        source: "room_nights",
        filter: "kind = 'room'",
        migration: migration!("0012_daily_sales_view"),
        keys: &["property_id", "product", "currency", "stay_night", "`partition`"],
        sums: &["units", "room", "`rows`"],
    },
    View {
        name: "daily_pickup",
        source: "room_nights",
        filter: "kind = 'room'",
        migration: migration!("0014_daily_pickup_view"),
        keys: &["property_id", "product", "currency", "stay_month", "business_date", "`partition`"],
        sums: &["units", "room", "`rows`"],
    },
    View {
        name: "daily_refusals",
        source: "refusals",
        filter: "reason_index = 0",
        migration: migration!("0016_daily_refusals_view"),
        keys: &["property_id", "product", "business_date", "rule", "command", "`partition`"],
        sums: &["refused", "units", "`rows`"],
    },
    View {
        name: "event_links",
        source: "events",
        filter: "1",
        migration: migration!("0018_event_links_view"),
        keys: &["`partition`", "landed_on"],
        sums: &["parked", "span", "links", "`rows`"],
    },
];

impl View {
    /// The SELECT that fills it, over some rows of its table.
    pub(crate) fn select(&self, of: &str) -> String {
        let (_, select) = self.migration.split_once(" AS\n").unwrap_or(("", self.migration));
        let (select, _) = select.split_once("\nCOMMENT").unwrap_or((select, ""));
        let from = format!("FROM {}\n", self.source);
        select.replace(&from, &format!("FROM (SELECT * FROM {} WHERE {of})\n", self.source))
    }

    /// Adds some rows of its table so many times, but not after a time (seconds since 1970).
    pub(crate) fn add(&self, times: i64, of: &str, until: u64) -> String {
        let sums = self.sums.iter().map(|sum| format!("toInt64({sum} * {times}) AS {sum}"));
        let values = self.keys.iter().map(|key| (*key).to_owned()).chain(sums);
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM ({}) WHERE throwIf(toUnixTimestamp(now('UTC')) > {until}) = 0",
            self.name,
            [self.keys, self.sums].concat().join(", "),
            values.collect::<Vec<_>>().join(", "),
            self.select(of)
        )
    }

    /// How many rows it should have added up of some, by partition, and how many it has.
    pub(crate) fn counts(&self, partitions: &str) -> String {
        let Self { name, source, filter, .. } = self;
        format!(
            "SELECT `partition`, sum(wanted) AS wanted, sum(had) AS had FROM (
                SELECT `partition`, toInt64(count()) AS wanted, 0 AS had FROM {source} WHERE {filter} AND {partitions} GROUP BY `partition`
                UNION ALL
                SELECT `partition`, 0, toInt64(sum(`rows`)) FROM {name} WHERE {partitions} GROUP BY `partition`
            ) GROUP BY `partition` ORDER BY `partition`"
        )
    }

    /// What has to be added for it to be right; with a range of events, of the keys that their rows
    /// have.
    fn difference(&self, range: Option<&Damage>) -> String {
        let keys = self.keys.join(", ");
        // As text, for a null in a key is not in any set.
        let (of, of_keys) = match range {
            None => ("1".to_owned(), "1".to_owned()),
            Some(Damage { partition, from, to }) => {
                let of = format!("`partition` = {partition}");
                let of_range = format!("{of} AND `offset` BETWEEN {from} AND {to}");
                let of_keys = format!(
                    "{of} AND toString(({keys})) IN (SELECT toString(({keys})) FROM ({}))",
                    self.select(&of_range)
                );
                (of, of_keys)
            }
        };
        let signed = |sign: &str| {
            let sums = self.sums.iter().map(|sum| format!("{sign}toInt64({sum}) AS {sum}"));
            sums.collect::<Vec<_>>().join(", ")
        };
        let sums = self.sums.iter().map(|sum| format!("sum({sum}) AS {sum}"));
        let some = self.sums.iter().map(|sum| format!("{sum} != 0")).collect::<Vec<_>>();
        format!(
            "SELECT {keys}, {} FROM (
                SELECT {keys}, {} FROM ({}) WHERE {of_keys}
                UNION ALL SELECT {keys}, {} FROM {} WHERE {of_keys}
            ) GROUP BY {keys} HAVING {}",
            sums.collect::<Vec<_>>().join(", "),
            signed(""),
            self.select(&of),
            signed("-"),
            self.name,
            some.join(" OR ")
        )
    }
}

/// Rows of one partition: what should be counted, and what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Counts {
    pub(crate) partition: i32,
    pub(crate) wanted: i64,
    pub(crate) had: i64,
}

/// What [`rebuild`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The view.
    pub view: &'static str,
    /// Rows that had to be added; 0 when it was right.
    pub corrections: u64,
}

/// How often a view is tried while batches land in between.
const TRIES: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// Makes all views what their tables say, while sinks may be running: adds what each lacks and
/// takes off what it has too much.
///
/// The difference is taken between two batches: it counts only if no insert was under way when it
/// began or ended and none has landed meanwhile. Adding it later is fine, for sums commute.
///
/// # Errors
/// When a table has lost rows, which the views may still have; when the server cannot be asked, or
/// batches land without a pause: stop the sinks then.
pub fn rebuild(server: &Server) -> Result<Vec<Rebuilt>, Error> {
    let server = &server.patient();
    blocking(async {
        if let Some(damage) = audit::landed(server).await?.first() {
            return Err(Error::tables(
                format!(
                    "rebuild the views: rows are missing or too many in their tables, first in partition {} at offset {} or behind",
                    damage.partition, damage.from
                ),
                &format!(
                    "run `{}` first, which rebuilds the views as well; `bellhop audit clickhouse` lists all",
                    damage.command(server.given())
                ),
            ));
        }
        rebuild_all(server, None).await
    })
}

/// The same, also where tables lack rows, as those do whose old rows were deleted on purpose.
///
/// # Errors
/// When the server cannot be asked, or batches land without a pause.
pub fn rebuild_incomplete(server: &Server) -> Result<Vec<Rebuilt>, Error> {
    blocking(async { rebuild_all(&server.patient(), None).await })
}

/// Brings all views up, or what they have of the keys of a range of events: one process at a time,
/// for two would add the same difference.
pub(crate) async fn rebuild_all(
    server: &Server,
    range: Option<&Damage>,
) -> Result<Vec<Rebuilt>, Error> {
    REBUILDING
        .hold(server, async |held| {
            let mut rebuilt = Vec::new();
            for view in &ALL {
                held.check().await?;
                rebuilt.push(rebuild_one(&held.server().patient(), view, range).await?);
            }
            Ok(rebuilt)
        })
        .await
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Quiet {
    inserts: u64,
    landed: i64,
    counted: i64,
}

async fn quiet(server: &Server, view: &View) -> Result<Quiet, Error> {
    let sql = format!(
        "SELECT
            (SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = currentDatabase()) AS inserts,
            (SELECT toInt64(count()) FROM {}) AS landed,
            (SELECT toInt64(sum(`rows`)) FROM {}) AS counted",
        view.source, view.name
    );
    let rows: Vec<Quiet> = server.ask_async("see whether batches land", &sql, &[]).await?;
    Ok(rows.into_iter().next().unwrap_or(Quiet { inserts: 1, landed: 0, counted: 0 }))
}

async fn rebuild_one(
    server: &Server,
    view: &View,
    range: Option<&Damage>,
) -> Result<Rebuilt, Error> {
    #[derive(Deserialize)]
    struct Row {
        corrections: u64,
    }
    let (name, tried) = (view.name, format!("rebuild the view {}", view.name));
    let scratch = format!("{name}_difference");
    for _ in 0..TRIES {
        server.run_async(&tried, &format!("DROP TABLE IF EXISTS {scratch} SYNC"), &[]).await?;
        let before = quiet(server, view).await?;
        if before.inserts == 0 {
            let sql = format!(
                "CREATE TABLE {scratch} ENGINE = MergeTree ORDER BY tuple() SETTINGS allow_nullable_key = 1 AS {}",
                view.difference(range)
            );
            let sql = engine::made(&sql, server.replicated());
            server.run_async(&tried, &sql, &[]).await?;
            if quiet(server, view).await? == before {
                let sql = format!("SELECT count() AS corrections FROM {scratch}");
                let rows: Vec<Row> = server.ask_async(&tried, &sql, &[]).await?;
                let corrections = rows.first().map_or(0, |row| row.corrections);
                let columns = [view.keys, view.sums].concat().join(", ");
                let sql = format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {scratch}");
                if corrections > 0 {
                    let settings = [("insert_deduplication_token", new_token())];
                    server.run_async(&tried, &sql, &settings).await?;
                }
                let drop = format!("DROP TABLE IF EXISTS {scratch} SYNC");
                server.run_async(&tried, &drop, &[]).await?;
                return Ok(Rebuilt { view: name, corrections });
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::tables(
        format!("{tried}: batches landed during each of {TRIES} tries"),
        "stop the sinks for as long as it takes, or try when there is less to land",
    ))
}
