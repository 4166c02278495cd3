//! Migrations: numbered files, one statement each, each of which may run again.
//!
//! A lock keeps two of them from running at once. Everything that is made carries a comment that
//! says so: a database with tables of the same names and without it is somebody else's.

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::engine;
use crate::error::Error;
use crate::lock::{self, Held, MIGRATING};
use crate::server::{Server, blocking};
use crate::target::MARK;

/// A file of `migrations/clickhouse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Its statement.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal,)*) => {
        /// All of them, in order.
        pub const ALL: &[Migration] = &[$(Migration {
            number: $number,
            name: $name,
            sql: include_str!(concat!("../../../migrations/clickhouse/", $name, ".sql")),
        },)*];
    };
}
migrations! {
    1 "0001_migrations",
    2 "0002_log",
    3 "0003_events",
    4 "0004_room_nights",
    5 "0005_bookings",
    6 "0006_supply",
    7 "0007_refusals",
    8 "0008_properties",
    9 "0009_products",
    10 "0010_parked",
    11 "0011_daily_sales",
    12 "0012_daily_sales_view",
    13 "0013_daily_pickup",
    14 "0014_daily_pickup_view",
    15 "0015_daily_refusals",
    16 "0016_daily_refusals_view",
    17 "0017_event_links",
    18 "0018_event_links_view",
    19 "0019_currencies",
    20 "0020_denials",
    21 "0021_reservations",
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Names of those that were applied.
    pub applied: Vec<&'static str>,
    /// Numbers that the database has and this program does not: its schema is newer.
    pub newer: Vec<u32>,
}

const UNKNOWN_DATABASE: u32 = 81;

#[derive(Debug, Deserialize)]
struct Applied {
    number: u32,
    name: String,
    checksum: u64,
}

#[derive(Debug, Deserialize)]
struct Table {
    name: String,
    comment: String,
}

/// Applies what was not applied yet, one process at a time; makes the database if there is none.
///
/// # Errors
/// When the server refuses, when the database has tables of these names that somebody else has
/// made (nothing is changed then), or a migration was applied whose text is another by now.
pub fn run(server: &Server) -> Result<Migrated, Error> {
    let server = &server.fresh();
    blocking(async {
        make_database(server).await?;
        refuse_foreign(server).await?;
        MIGRATING.hold(server, async |held| apply(held).await).await
    })
}

async fn make_database(server: &Server) -> Result<(), Error> {
    match server.run_async("look for the database", "SELECT 1", &[]).await {
        Err(error) if error.code() == Some(UNKNOWN_DATABASE) => {
            let sql = format!("CREATE DATABASE IF NOT EXISTS `{}`", server.database());
            server.in_database("system").run_async("make the database", &sql, &[]).await
        }
        looked => looked,
    }
}

/// What a migration makes.
fn made(migration: &Migration) -> Option<&'static str> {
    migration.sql.split_once(" IF NOT EXISTS ")?.1.split_whitespace().next()
}

/// Tables of our names that are not ours: nothing is altered, nothing is written to them.
async fn refuse_foreign(server: &Server) -> Result<(), Error> {
    let sql =
        "SELECT name, comment FROM system.tables WHERE database = currentDatabase() ORDER BY name";
    let tables: Vec<Table> = server.ask_async("look for tables of others", sql, &[]).await?;
    let locks = lock::ALL.map(|lock| lock.name);
    let ours: Vec<&str> = ALL.iter().filter_map(made).chain(locks).collect();
    let is_foreign = |table: &&Table| ours.contains(&table.name.as_str()) && table.comment != MARK;
    let foreign: Vec<&str> =
        tables.iter().filter(is_foreign).map(|table| table.name.as_str()).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Error::tables(
        format!(
            "migrate the database {}: it has tables that `bellhop migrate` did not make: {}",
            server.database(),
            foreign.join(", ")
        ),
        "name another database (`clickhouse.database` of the configuration); nothing was changed",
    ))
}

async fn apply(held: &Held) -> Result<Migrated, Error> {
    let server = &held.server().patient();
    let mut migrated = Migrated { applied: Vec::new(), newer: Vec::new() };
    let mut known: Vec<Applied> = Vec::new();
    for (at, migration) in ALL.iter().enumerate() {
        let found = known.iter().find(|applied| applied.number == migration.number);
        if let Some(found) = found {
            check(migration, found)?;
            continue;
        }
        let tried = format!("apply migration {}", migration.name);
        held.check().await?;
        let sql = engine::made(migration.sql, server.replicated());
        server.run_async(&tried, &sql, &[]).await?;
        if at == 0 {
            // The first one makes the table that tells of all others.
            known = applied(server).await?;
            migrated.newer = known
                .iter()
                .map(|applied| applied.number)
                .filter(|number| ALL.iter().all(|migration| migration.number != *number))
                .collect();
            if let Some(found) = known.iter().find(|applied| applied.number == migration.number) {
                check(migration, found)?;
                continue;
            }
        }
        let sql = format!(
            "INSERT INTO migrations (number, name, checksum) VALUES ({}, '{}', {})",
            migration.number,
            migration.name,
            xxh3_64(migration.sql.as_bytes())
        );
        server.run_async(&tried, &sql, &[]).await?;
        migrated.applied.push(migration.name);
    }
    Ok(migrated)
}

async fn applied(server: &Server) -> Result<Vec<Applied>, Error> {
    let sql = "SELECT number, name, checksum FROM migrations FINAL ORDER BY number";
    server.ask_async("see which migrations were applied", sql, &[]).await
}

fn check(migration: &Migration, applied: &Applied) -> Result<(), Error> {
    if applied.checksum == xxh3_64(migration.sql.as_bytes()) {
        return Ok(());
    }
    Err(Error::tables(
        format!(
            "migration {} was applied as {}, with another text than it has now",
            migration.name, applied.name
        ),
        "a migration never changes once released; name another database, or use the program that made this one",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::COMMENT;

    #[test]
    fn every_file_is_a_migration_and_they_are_numbered_without_a_gap() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/clickhouse");
        let files = std::fs::read_dir(folder).unwrap();
        let mut files: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        files.sort();
        let known: Vec<String> = ALL.iter().map(|it| format!("{}.sql", it.name)).collect();
        assert_eq!(files, known);
        for (number, migration) in (1..).zip(ALL) {
            assert_eq!(migration.number, number);
            assert!(migration.name.starts_with(&format!("{number:04}_")), "{}", migration.name);
            assert!(!migration.sql.contains(';'), "{} is one statement", migration.name);
            assert!(made(migration).is_some(), "{} may run again", migration.name);
            assert!(migration.sql.contains(COMMENT), "{} says who made it", migration.name);
        }
    }
}
