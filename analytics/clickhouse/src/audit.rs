//! Shows that every event of a log is in ClickHouse once, as it was.
//!
//! [`run`] asks ClickHouse alone ([`SQL`], which an operator can paste as it is); [`compare`] holds
//! the content of every table against the topic: it expands the events anew and compares counts and
//! sums of hashes over all columns.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;

use bellhop_core::message::{Position, Timestamp};
use bellhop_core::record::Record;
use bellhop_ledger::decode::{Decoder, Learnt};
use bellhop_ledger::parked::park;
use bellhop_ledger::{Id, Kind, Put, Row, Table, Take};
use bellhop_runtime::log::{Reader, Topic};
use bellhop_schemas::night::Night;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::Building;
use crate::caught_up;
use crate::error::Error;
use crate::payload::without_columns;
use crate::server::Server;
use crate::sink::writer;
use crate::views;

/// The audit that needs nothing but ClickHouse.
pub const SQL: &str = include_str!("../sql/audit.sql");

/// One table and partition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// The table or view.
    pub table: String,
    /// The partition of the events topic.
    pub partition: i32,
    /// Offset of the first event in it; 0 of a view.
    pub first: i64,
    /// Offset of the last event in it; 0 of a view.
    pub last: i64,
    /// Its rows.
    pub rows: i64,
    /// Rows (of `events`: links between events) that are not there; so many at least.
    pub missing: i64,
    /// Rows that are there more than once, or of no event; so many at least.
    pub twice: i64,
    /// First offset of what is damaged; 0 where nothing is, and of a view.
    pub damaged_from: i64,
    /// Last offset of what is damaged.
    pub damaged_to: i64,
}

/// Events of a partition whose rows are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The partition.
    pub partition: u32,
    /// Offset of the first event.
    pub from: u64,
    /// Offset of the last event.
    pub to: u64,
}

impl Damage {
    /// The command that mends it, with the options that were given.
    #[must_use]
    pub fn command(&self, given: &str) -> String {
        let Self { partition, from, to } = self;
        let range = format!("--partition {partition} --from {from} --to {to}");
        format!("bellhop repair clickhouse {range} {given}").trim_end().to_owned()
    }
}

impl Line {
    fn is_whole(&self) -> bool {
        (self.missing, self.twice) == (0, 0)
    }

    fn is_view(&self) -> bool {
        views::ALL.iter().any(|view| view.name == self.table)
    }
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// A line for each table and partition.
    pub lines: Vec<Line>,
}

impl Audit {
    /// Rows missing and rows twice, over all tables.
    #[must_use]
    pub fn totals(&self) -> (i64, i64) {
        let missing = self.lines.iter().map(|line| line.missing).sum();
        (missing, self.lines.iter().map(|line| line.twice).sum())
    }

    /// Whether nothing is missing and nothing is there twice.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.totals() == (0, 0)
    }

    /// What is damaged, a range for each partition; views are not in it.
    #[must_use]
    pub fn damages(&self) -> Vec<Damage> {
        let mut ranges: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| !line.is_view() && !line.is_whole()) {
            // A block may reach beyond all that has landed.
            let of_partition = self.lines.iter().filter(|it| it.partition == line.partition);
            let last = of_partition.map(|it| it.last).max().unwrap_or(0);
            let range = ranges.entry(line.partition).or_insert((i64::MAX, 0));
            *range = (range.0.min(line.damaged_from), range.1.max(line.damaged_to.min(last)));
        }
        let damages = ranges.into_iter().map(|(partition, (from, to))| Damage {
            partition: partition.cast_unsigned(),
            from: from.max(0).cast_unsigned(),
            to: to.max(0).cast_unsigned(),
        });
        damages.collect()
    }

    /// Whether a view differs from its table.
    #[must_use]
    pub fn has_damaged_views(&self) -> bool {
        self.lines.iter().any(|line| line.is_view() && !line.is_whole())
    }

    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> i64 {
        let events = self.lines.iter().filter(|line| line.table == "events");
        events.map(|line| line.rows).sum()
    }
}

/// Asks ClickHouse whether a gap or a duplicate is in any table or view.
///
/// # Errors
/// When the server cannot be asked, or the tables are not there.
pub fn run(server: &Server) -> Result<Audit, Error> {
    let server = server.patient();
    let mut audit = Audit { lines: server.ask("audit the tables", SQL, &[])? };
    for _ in 0..AGAIN {
        if audit.is_clean() {
            break;
        }
        std::thread::sleep(PAUSE);
        audit.lines = server.ask("audit the tables", SQL, &[])?;
    }
    Ok(audit)
}

/// How often an audit is repeated that is not clean: a batch may have landed while tables were
/// read, one after the other.
const AGAIN: usize = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// What is damaged of all that has landed for certain, whatever lands meanwhile.
pub(crate) async fn landed(server: &Server) -> Result<Vec<Damage>, Error> {
    let server = &server.patient();
    let mut damages = Vec::new();
    for (partition, next) in caught_up::landed_async(server).await? {
        let range = Damage { partition, from: 0, to: next - 1 };
        damages.extend(of_range(server, &range).await?.damages());
    }
    Ok(damages)
}

/// What is damaged of a partition, of all that has landed for certain.
pub(crate) async fn landed_of(server: &Server, partition: u32) -> Result<Option<Damage>, Error> {
    let server = &server.patient();
    let landed = caught_up::landed_async(server).await?;
    let Some(next) = landed.get(&partition) else { return Ok(None) };
    let range = Damage { partition, from: 0, to: next - 1 };
    Ok(of_range(server, &range).await?.damages().into_iter().next())
}

/// The line of [`SQL`] that says what is audited.
const WHOLE: &str = "toInt32(-1) AS of_partition, toInt64(0) AS from_offset, toInt64(9223372036854775807) AS to_offset";

/// Audits a part of the tables, without the views.
pub(crate) async fn of_range(server: &Server, range: &Damage) -> Result<Audit, Error> {
    let Damage { partition, from, to } = range;
    let part = format!(
        "toInt32({partition}) AS of_partition, toInt64({from}) AS from_offset, toInt64({to}) AS to_offset"
    );
    let tried = format!("audit events {from}..{to} of partition {partition}");
    Ok(Audit { lines: server.ask_async(&tried, &SQL.replace(WHOLE, &part), &[]).await? })
}

/// A partition of a table, in ClickHouse and by the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The table.
    pub table: &'static str,
    /// The partition.
    pub partition: u32,
    /// Rows and sum of their hashes in ClickHouse.
    pub found: (u64, u64),
    /// The same from the events of the topic.
    pub wanted: (u64, u64),
}

/// What [`compare`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// A line for each table and partition that has rows.
    pub lines: Vec<Compared>,
    /// By partition: events of the topic that have not landed yet.
    pub behind: BTreeMap<u32, u64>,
}

impl Comparison {
    /// Lines that differ.
    pub fn differences(&self) -> impl Iterator<Item = &Compared> {
        self.lines.iter().filter(|line| line.found != line.wanted)
    }
}

#[derive(Debug, Deserialize)]
struct Sum {
    count: u64,
    hashes: u64,
}

#[derive(Debug, Deserialize)]
struct Last {
    last: i64,
}

/// Holds every column of every table against the topic, up to the last event that has landed.
///
/// # Errors
/// When the topic cannot be read or the server not be asked.
pub fn compare(server: &Server, log: &mut dyn Reader) -> Result<Comparison, Error> {
    let server = &server.patient();
    let mut comparison = Comparison { lines: Vec::new(), behind: BTreeMap::new() };
    let mut decoder = Decoder::default();
    for partition in 0..log.identity().partitions {
        let sql = format!(
            "SELECT max(`offset`) AS last FROM events WHERE `partition` = {partition} HAVING count() > 0"
        );
        let last: Vec<Last> = server.ask("see what has landed", &sql, &[])?;
        let last = last.first().map_or(-1, |row| row.last);
        let (sums, behind) = fold(log, &mut decoder, partition, last)?;
        comparison.behind.insert(partition, behind);
        for (table, wanted) in Table::ALL.into_iter().zip(sums) {
            let sql = format!(
                "SELECT count() AS count, sum({}) AS hashes FROM `{}` WHERE `partition` = {partition} AND `offset` <= {last}",
                hash_of(table),
                table.name()
            );
            let tried = format!("add up the hashes of {}", table.name());
            let found: Vec<Sum> = server.ask(&tried, &sql, &[])?;
            let found = found.first().map_or((0, 0), |sum| (sum.count, sum.hashes));
            if found != (0, 0) || wanted != (0, 0) {
                let table = table.name();
                comparison.lines.push(Compared { table, partition, found, wanted });
            }
        }
    }
    Ok(comparison)
}

/// Counts and sums of hashes by table, and how many events come behind `last`.
fn fold(
    log: &mut dyn Reader,
    decoder: &mut Decoder,
    partition: u32,
    last: i64,
) -> Result<([(u64, u64); Table::ALL.len()], u64), Error> {
    let mut sums = Sums::default();
    let (mut next, mut behind) = (0, 0);
    loop {
        let mut unknown = None;
        let from = next;
        let end = log.read(Topic::Events, partition, from, &mut |record| {
            if record.offset.cast_signed() > last {
                behind += 1;
                return ControlFlow::Continue(());
            }
            if !decoder.knows(record) {
                unknown = Some((record.offset, record.value.unwrap_or_default().to_vec()));
                return ControlFlow::Break(());
            }
            sums.add(partition, record, decoder);
            ControlFlow::Continue(())
        })?;
        let Some((offset, value)) = unknown else {
            debug_assert!(end >= from, "a log is read forward");
            return Ok((sums.sums, behind));
        };
        let value = Some(value.as_slice());
        let timestamp = Timestamp(0);
        let record = Record { offset, timestamp, key: None, value, headers: &[] };
        if let Learnt::Unknown(schema_id) = decoder.learn(&record, |id| writer(log, id))? {
            tracing::warn!(
                schema_id,
                "the log does not know a schema; its events are compared as parked ones"
            );
            decoder.give_up(schema_id);
        }
        next = offset;
    }
}

/// Adds up hashes of rows as text.
#[derive(Default)]
pub(crate) struct Sums {
    sums: [(u64, u64); Table::ALL.len()],
    text: Vec<u8>,
    /// What the last event has added: count and sum of hashes by table.
    pub(crate) event: [(u64, u64); Table::ALL.len()],
}

impl Sums {
    /// Adds the rows of a record.
    pub(crate) fn add(&mut self, partition: u32, record: &Record<'_>, decoder: &mut Decoder) {
        self.event = Default::default();
        let at = Position { partition, offset: record.offset };
        // What ClickHouse cannot hold is found where it is encoded.
        let parked = Building::behind(-1).add(partition, record, decoder);
        match &parked {
            None => drop(decoder.rows(at, record, self)),
            Some(unreadable) => park(self, at, record, unreadable),
        }
        for (sum, event) in self.sums.iter_mut().zip(self.event) {
            *sum = (sum.0 + event.0, sum.1.wrapping_add(event.1));
        }
    }
}

impl Take for Sums {
    fn row<R: Row>(&mut self, row: &R) {
        self.text.clear();
        row.put(&mut Text(&mut self.text));
        if let Some(sum) = self.event.get_mut(R::TABLE as usize) {
            *sum = (sum.0 + 1, sum.1.wrapping_add(xxh3_64(&self.text)));
        }
    }
}

/// A row as text that SQL can make as well: each value behind a separator, null as `\N`.
struct Text<'a>(&'a mut Vec<u8>);

const SEPARATOR: u8 = 0x1f;

impl Text<'_> {
    fn number(&mut self, number: i64) {
        self.0.push(SEPARATOR);
        // A vector takes all that is written to it.
        let _ = write!(self.0, "{number}");
    }
}

impl Put for Text<'_> {
    fn id(&mut self, id: &Id) {
        self.text(id.as_str());
    }
    fn text(&mut self, text: &str) {
        self.0.push(SEPARATOR);
        match without_columns(text) {
            None => self.0.extend_from_slice(text.as_bytes()),
            Some(rest) => {
                self.0.push(b'{');
                self.0.extend_from_slice(rest.as_bytes());
            }
        }
    }
    fn int(&mut self, count: i32) {
        self.number(i64::from(count));
    }
    fn long(&mut self, amount: i64) {
        self.number(amount);
    }
    fn day(&mut self, day: Night) {
        self.number(i64::from(day.0));
    }
    fn instant(&mut self, instant: Timestamp) {
        self.number(instant.0);
    }
    fn flag(&mut self, flag: bool) {
        self.number(i64::from(flag));
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.push(SEPARATOR);
        self.0.extend_from_slice(bytes);
    }
    fn some(&mut self) {}
    fn none(&mut self) {
        self.text("\\N");
    }
}

/// The hash of a row in SQL.
pub(crate) fn hash_of(table: Table) -> String {
    let mut values = String::new();
    for column in table.columns() {
        let name = column.name;
        let value = match column.kind {
            Kind::Uuid | Kind::Text | Kind::Int | Kind::Long | Kind::Bytes => {
                format!("toString(`{name}`)")
            }
            Kind::Day => format!("toString(toInt32(`{name}`))"),
            Kind::Instant => format!("toString(toUnixTimestamp64Micro(`{name}`))"),
            Kind::Flag => format!("toString(toUInt8(`{name}`))"),
        };
        let _ = match column.nullable {
            true => write!(values, ", char(31), ifNull({value}, '\\\\N')"),
            false => write!(values, ", char(31), {value}"),
        };
    }
    format!("xxh3(concat(''{values}))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_audited_can_be_named() {
        assert_eq!(SQL.matches(WHOLE).count(), 1);
    }

    #[test]
    fn damages_of_a_partition_become_one_range_and_views_none() {
        let line = |table: &str, partition, missing, twice, damaged_from, damaged_to| Line {
            table: table.to_owned(),
            partition,
            first: 0,
            last: 3_700,
            rows: 0,
            missing,
            twice,
            damaged_from,
            damaged_to,
        };
        let lines = vec![
            line("events", 0, 1, 0, 500, 510),
            line("bookings", 0, 0, 2, 3_000, 3_999),
            line("supply", 0, 0, 0, 0, 0),
            line("events", 1, 0, 0, 0, 0),
            line("daily_sales", 1, 4, 0, 0, 0),
        ];
        let audit = Audit { lines };
        assert_eq!(audit.damages(), [Damage { partition: 0, from: 500, to: 3_700 }]);
        assert!(audit.has_damaged_views());
        assert_eq!(
            audit.damages()[0].command("--data ./data"),
            "bellhop repair clickhouse --partition 0 --from 500 --to 3700 --data ./data"
        );
    }
}
