//! Migrations: numbered files, one statement each, each of which may run again.
//!
//! A lock keeps two of them from running at once: making a table is atomic on the server, so the
//! table is the lock; one that is older than any migration takes is somebody's who is gone.

use std::time::Duration;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;
use crate::server::{Server, blocking};

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
    17 "0017_events_merges",
    18 "0018_room_nights_merges",
    19 "0019_bookings_merges",
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Names of those that were applied.
    pub applied: Vec<&'static str>,
    /// Numbers that the database has and this program does not: its schema is newer.
    pub newer: Vec<u32>,
}

const MODIFY_SETTING: &str = " MODIFY SETTING ";
const LOCK: &str = "migrating";
/// Longer than any migration takes.
const STALE_SECONDS: u32 = 120;
const WAIT: Duration = Duration::from_millis(200);

#[derive(Debug, Deserialize)]
struct Applied {
    number: u32,
    name: String,
    checksum: u64,
}

#[derive(Debug, Deserialize)]
struct Age {
    seconds: i64,
}

/// Applies what was not applied yet, one process at a time.
///
/// # Errors
/// When the server refuses, or a migration was applied whose text is another by now.
pub fn run(server: &Server) -> Result<Migrated, Error> {
    let server = &server.fresh();
    blocking(async {
        lock(server).await?;
        let migrated = apply(server).await;
        let sql = format!("DROP TABLE IF EXISTS {LOCK} SYNC");
        let unlocked = server.run_async("end the migration", &sql, &[]).await;
        let migrated = migrated?;
        unlocked.map(|()| migrated)
    })
}

async fn lock(server: &Server) -> Result<(), Error> {
    let make = format!("CREATE TABLE {LOCK} (nothing UInt8) ENGINE = TinyLog");
    let age = format!(
        "SELECT toInt64(now() - metadata_modification_time) AS seconds FROM system.tables WHERE database = currentDatabase() AND name = '{LOCK}'"
    );
    loop {
        match server.run_async("begin a migration", &make, &[]).await {
            Ok(()) => return Ok(()),
            // TABLE_ALREADY_EXISTS
            Err(error) if error.code() == Some(57) => {}
            Err(error) => return Err(error),
        }
        let ages: Vec<Age> = server.ask_async("see who migrates", &age, &[]).await?;
        if ages.iter().any(|age| age.seconds > i64::from(STALE_SECONDS)) {
            let sql = format!("DROP TABLE IF EXISTS {LOCK} SYNC");
            server.run_async("end a migration that somebody has left", &sql, &[]).await?;
        }
        tokio::time::sleep(WAIT).await;
    }
}

async fn apply(server: &Server) -> Result<Migrated, Error> {
    let mut migrated = Migrated { applied: Vec::new(), newer: Vec::new() };
    let mut known: Vec<Applied> = Vec::new();
    for (at, migration) in ALL.iter().enumerate() {
        let found = known.iter().find(|applied| applied.number == migration.number);
        if let Some(found) = found {
            check(migration, found)?;
            continue;
        }
        let tried = format!("apply migration {}", migration.name);
        let run = server.run_async(&tried, migration.sql, &[]).await;
        run.map_err(|error| not_ours(migration, error))?;
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

/// A setting that a table does not take says that the table is of another engine.
fn not_ours(migration: &Migration, error: Error) -> Error {
    const UNKNOWN_SETTING: u32 = 115;
    if error.code() != Some(UNKNOWN_SETTING) || !migration.sql.contains(MODIFY_SETTING) {
        return error;
    }
    let found = format!("migration {} sets what its table does not know", migration.name);
    let hint = "if somebody else made that table, name another database; ClickHouse 25.8 or later is needed";
    Error::tables(found, hint)
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
            let again = ["IF NOT EXISTS", MODIFY_SETTING];
            let is_again = again.iter().any(|words| migration.sql.contains(words));
            assert!(is_again, "{} may run again", migration.name);
        }
    }
}
