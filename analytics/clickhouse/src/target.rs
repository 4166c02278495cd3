//! What a batch lands in: the tables of the ledger.

use std::collections::BTreeMap;

use bellhop_ledger::{Kind, Table};
use serde::Deserialize;

use crate::engine;
use crate::error::Error;
use crate::server::Server;
use crate::views;

/// How many tables there are.
pub(crate) const COUNT: usize = Table::ALL.len();
/// The place of the events among them; they are inserted last.
pub(crate) const EVENTS: usize = Table::Events as usize;

/// A column as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    /// Text of which a block has few.
    pub(crate) repeats: bool,
}

const fn plain(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, nullable: false, repeats: false }
}

/// Columns whose text seldom repeats; a column of few texts may be among them, it is larger then.
const UNLIKE: [&str; 5] = ["idempotency_key", "payload", "code", "time_zone", "cause"];

/// Columns that the sink adds to those of the ledger.
pub(crate) fn added(target: usize) -> &'static [Column] {
    const PLACE: &[Column] = &[plain("partition", Kind::Int), plain("offset", Kind::Long)];
    const EVENT: &[Column] = &[
        plain("previous", Kind::Long),
        plain("room_nights", Kind::Int),
        plain("bookings", Kind::Int),
        plain("supply", Kind::Int),
        plain("refusals", Kind::Int),
        plain("properties", Kind::Int),
        plain("products", Kind::Int),
        plain("parked", Kind::Int),
    ];
    match Table::ALL.get(target) {
        Some(Table::Properties | Table::Products) => PLACE,
        Some(Table::Events) => EVENT,
        Some(
            Table::RoomNights | Table::Bookings | Table::Supply | Table::Refusals | Table::Parked,
        )
        | None => &[],
    }
}

/// Its name.
pub(crate) fn name(target: usize) -> &'static str {
    Table::ALL.get(target).map_or("", |table| table.name())
}

/// All that is written to it, in the order in which it is written.
pub(crate) fn columns(target: usize) -> Vec<Column> {
    let of_ledger = Table::ALL.get(target).map_or(&[][..], |table| table.columns());
    let of_ledger = of_ledger.iter().map(|column| Column {
        name: column.name,
        kind: column.kind,
        nullable: column.nullable,
        repeats: column.kind == Kind::Text && !UNLIKE.contains(&column.name),
    });
    of_ledger.chain(added(target).iter().cloned()).collect()
}

#[derive(Debug, Deserialize)]
struct Found {
    table: String,
    name: String,
    r#type: String,
}

#[derive(Debug, Deserialize)]
struct Engine {
    name: String,
    engine: String,
    engine_full: String,
    create_table_query: String,
}

/// How every table and view is marked that `bellhop migrate` makes.
pub(crate) const COMMENT: &str = "COMMENT 'Made by bellhop migrate'";
/// The words of it.
pub(crate) const MARK: &str = "Made by bellhop migrate";

/// Checks all tables against what is written, and gives how to write each. Columns that are not
/// written are left to their defaults, so a newer schema is no obstacle.
pub(crate) async fn check(server: &Server, window: u64) -> Result<Vec<String>, Error> {
    let tried = "look at the tables";
    let database = server.database().to_owned();
    let parameters = [("database", database.clone())];
    let sql = "SELECT table, name, type FROM system.columns WHERE database = {database:String}";
    let found: Vec<Found> = server.ask_async(tried, sql, &parameters).await?;
    let mut types = BTreeMap::new();
    for column in found {
        types.insert((column.table, column.name), column.r#type);
    }
    let sql = "SELECT name, engine, engine_full, create_table_query FROM system.tables WHERE database = {database:String}";
    let engines: Vec<Engine> = server.ask_async(tried, sql, &parameters).await?;
    let engines: BTreeMap<_, _> =
        engines.into_iter().map(|table| (table.name.clone(), table)).collect();
    let mut statements = Vec::with_capacity(COUNT);
    for target in 0..COUNT {
        let table = name(target);
        let Some(engine) = engines.get(table) else { return Err(missing(&database, table)) };
        check_engine(&database, engine, window, server.replicated())?;
        if !engine.create_table_query.contains("until=") {
            return Err(Error::tables(
                format!("the column landed_at of {database}.{table} does not refuse late batches"),
                "somebody has changed its default; put it back as in migrations/clickhouse",
            ));
        }
        statements.push(statement(&database, target, &types)?);
    }
    // Views and the tables they fill must be there as well, or they would miss what lands.
    for view in &views::ALL {
        let fills = format!("{}_view", view.name);
        let Some(table) = engines.get(view.name) else {
            return Err(missing(&database, view.name));
        };
        check_engine(&database, table, window, server.replicated())?;
        if engines.get(&fills).is_none_or(|found| found.engine != "MaterializedView") {
            return Err(missing(&database, &fills));
        }
    }
    Ok(statements)
}

fn missing(database: &str, table: &str) -> Error {
    Error::tables(format!("{database} has no table {table}"), "run `bellhop migrate` first")
}

fn check_engine(
    database: &str,
    table: &Engine,
    window: u64,
    replicated: bool,
) -> Result<(), Error> {
    let name = &table.name;
    if !engine::is_fit(&table.engine, &table.engine_full, replicated) {
        return Err(Error::tables(
            format!(
                "{database}.{name} is not as `bellhop migrate` makes it: {}",
                table.engine_full
            ),
            "name another database, or see whether `clickhouse.replicated` says what it is; a batch lands once only in a MergeTree table without partitions",
        ));
    }
    let of_table = engine::window(&table.engine_full, replicated);
    if of_table < window {
        return Err(Error::tables(
            format!(
                "{database}.{name} remembers the tokens of {of_table} batches, {window} are needed"
            ),
            &format!(
                "run ALTER TABLE {database}.{name} MODIFY SETTING {}replicated_deduplication_window = {window}",
                if replicated { "" } else { "non_" }
            ),
        ));
    }
    Ok(())
}

fn statement(
    database: &str,
    target: usize,
    types: &BTreeMap<(String, String), String>,
) -> Result<String, Error> {
    let (table, columns) = (name(target), columns(target));
    let mut names = Vec::with_capacity(columns.len());
    for column in &columns {
        let Some(found) = types.get(&(table.to_owned(), column.name.to_owned())) else {
            return Err(Error::tables(
                format!("{database}.{table} has no column {}", column.name),
                "its schema is older than this program: run `bellhop migrate`",
            ));
        };
        let wanted = wire_type(column);
        let wanted = plain_type(&wanted);
        if plain_type(found) != wanted {
            return Err(Error::tables(
                format!("{database}.{table}: column {} is {found}, not {wanted}", column.name),
                "somebody has altered it; put the type back, nothing was lost",
            ));
        }
        names.push(format!("`{}`", column.name));
    }
    Ok(format!("INSERT INTO `{table}` ({}) FORMAT Native", names.join(", ")))
}

/// The type that a column is sent as.
pub(crate) fn wire_type(column: &Column) -> String {
    let ty = match column.kind {
        Kind::Uuid => "UUID",
        Kind::Text | Kind::Bytes => "String",
        Kind::Int => "Int32",
        Kind::Long => "Int64",
        Kind::Day => "Date32",
        Kind::Instant => "DateTime64(6, 'UTC')",
        Kind::Flag => "Bool",
    };
    let ty = if column.nullable { format!("Nullable({ty})") } else { ty.to_owned() };
    if column.repeats { format!("LowCardinality({ty})") } else { ty }
}

/// A type without what the server converts by itself.
fn plain_type(found: &str) -> &str {
    let inner = found.strip_prefix("LowCardinality(").and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(found)
}
