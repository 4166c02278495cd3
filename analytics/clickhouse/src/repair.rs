//! Puts a range of events right: each of their rows is in its table once afterwards.
//!
//! Start at [`run`]. The events are expanded anew from the topic and held against the tables, offset
//! by offset: count, hashes of all columns, and of `events` what the sink adds. Rows of an offset
//! that differs are deleted and inserted again; what is right is not touched. So it may be run
//! again, also after it was killed, and beside sinks, which take no partition over meanwhile.
//!
//! # Invariants
//! 1. A table is compared again after it was written to: what this returns was seen.
//! 2. `events` comes last, as in a batch.
//! 3. An insert is repeated only when it cannot reach the server any more.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use bellhop_core::message::Timestamp;
use bellhop_core::record::Record;
use bellhop_ledger::Table;
use bellhop_ledger::decode::{Decoder, Learnt};
use bellhop_ledger::parked::TYPE as PARKED;
use bellhop_runtime::log::{Reader, Topic};
use serde::Deserialize;

use crate::audit::{self, Damage, Sums};
use crate::batch::Building;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::lock::{Held, REPAIRING};
use crate::server::{self, Insert, Server, blocking, new_token};
use crate::sink::writer;
use crate::target::{self, COUNT, EVENTS};
use crate::views::{self, Rebuilt};

/// Events that are compared at a time.
const CHUNK: usize = 5_000;
/// How often a chunk is tried while the server fails.
const TRIES: usize = 5;
/// What the server may take beyond the time until which an insert is good.
const SLACK: Duration = Duration::from_secs(2);
/// Pause before running mutations are looked at again.
const SETTLE: Duration = Duration::from_millis(200);
/// How long nothing may change behind the last event, where that is to be put right as well.
const QUIET: Duration = Duration::from_secs(2);

/// Which events to put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Their partition.
    pub partition: u32,
    /// Offset of the first.
    pub from: u64,
    /// Offset of the last; by default the last in `events`.
    pub to: Option<u64>,
}

/// What [`run`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Events that were compared.
    pub events: u64,
    /// Events that were left as they are: the log does not know their schema now, and they have rows
    /// from when it did.
    pub left: u64,
    /// By table that was not right: rows deleted and rows inserted.
    pub tables: BTreeMap<&'static str, (u64, u64)>,
    /// The views, in which the keys of the range were brought up to their tables at the end.
    pub views: Vec<Rebuilt>,
    /// Where the partition is damaged still. The views were left as they are then: they may be all
    /// that is left of those rows.
    pub elsewhere: Option<Damage>,
}

/// What a table has, or should have, of one event. All numbers are 0 where it has nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
struct Rows {
    count: u64,
    /// Sum of the hashes of the rows.
    hashes: u64,
    /// Of `events`: the offset before, and the rows in other tables.
    previous: i64,
    others: i64,
}

#[derive(Debug, Deserialize)]
struct Found {
    offset: u64,
    #[serde(flatten)]
    rows: Rows,
}

/// By target and offset.
type Contents = [BTreeMap<u64, Rows>; COUNT];

/// Puts the rows of a range of events right.
///
/// # Errors
/// When the topic cannot be read, the range is not in it, or the server refuses; what was done
/// until then is right, and it may be run again.
pub fn run(config: &Config, log: &mut dyn Reader, wanted: Wanted) -> Result<Repaired, Error> {
    let partitions = log.identity().partitions;
    if wanted.partition >= partitions {
        return Err(Error::tables(
            format!("repair partition {}: the log has {partitions}", wanted.partition),
            "the audit names the partitions",
        ));
    }
    let server = Server::new(config)?;
    blocking(async {
        let statements = target::check(&server, config.window(partitions)).await?;
        crate::sink::check_log(&server, log.identity()).await?;
        REPAIRING
            .hold(&server, async |held| {
                let server = held.server();
                let clock_ahead = server.clock_ahead().await?;
                let mut repair = Repair {
                    server,
                    config,
                    log,
                    held,
                    statements,
                    clock_ahead,
                    decoder: Decoder::default(),
                    partition: wanted.partition,
                };
                repair.run(wanted).await
            })
            .await
    })
}

struct Repair<'a> {
    server: &'a Server,
    config: &'a Config,
    log: &'a mut dyn Reader,
    held: &'a Held,
    statements: Vec<String>,
    clock_ahead: f64,
    decoder: Decoder,
    partition: u32,
}

/// Events that are compared together: the offset of each, and of the event before.
struct Chunk {
    from: u64,
    to: u64,
    previous: BTreeMap<u64, i64>,
    /// Those whose schema the log does not know.
    unknown: BTreeSet<u64>,
    /// Those of them that are not compared.
    left: BTreeSet<u64>,
    wanted: Contents,
}

impl Repair<'_> {
    async fn run(&mut self, wanted: Wanted) -> Result<Repaired, Error> {
        self.settle().await?;
        let last = self.last().await?;
        let to = wanted.to.map_or(last, u64::cast_signed);
        if to > last {
            self.check_quiet(last).await?;
        }
        let end = self.log.end(Topic::Events, self.partition)?;
        let to = to.min(end.cast_signed() - 1);
        let mut repaired = Repaired {
            events: 0,
            left: 0,
            tables: BTreeMap::new(),
            views: Vec::new(),
            elsewhere: None,
        };
        let mut next = wanted.from;
        let mut previous = self.before(next)?;
        while next.cast_signed() <= to {
            let mut chunk = self.expand(next, to.cast_unsigned(), previous)?;
            self.leave_unknown(&mut chunk).await?;
            repaired.left += chunk.left.len() as u64;
            repaired.events += chunk.previous.len() as u64;
            self.held.check().await?;
            self.mend(&chunk, &mut repaired).await?;
            previous =
                chunk.previous.last_key_value().map_or(previous, |(last, _)| last.cast_signed());
            next = chunk.to + 1;
        }
        repaired.elsewhere = audit::landed_of(self.server, self.partition).await?;
        if repaired.elsewhere.is_none() && to >= 0 {
            let to = to.cast_unsigned();
            let range = Damage { partition: self.partition, from: wanted.from, to };
            repaired.views = views::rebuild_all(self.server, Some(&range)).await?;
        }
        Ok(repaired)
    }

    /// Waits until no mutation runs: between two of its parts, rows look right that are going.
    async fn settle(&self) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Mutation {
            table: String,
            mutation_id: String,
            latest_fail_reason: String,
        }
        let sql = "SELECT `table`, mutation_id, latest_fail_reason FROM system.mutations WHERE database = currentDatabase() AND NOT is_done";
        loop {
            let tried = "see whether a mutation runs";
            let mut mutations: Vec<Mutation> = self.server.ask_async(tried, sql, &[]).await?;
            mutations.retain(|it| (0..COUNT).any(|target| target::name(target) == it.table));
            if mutations.is_empty() {
                return Ok(());
            }
            if let Some(failed) = mutations.iter().find(|it| !it.latest_fail_reason.is_empty()) {
                let Mutation { table, mutation_id, latest_fail_reason } = failed;
                return Err(Error::tables(
                    format!("the mutation {mutation_id} of {table} fails: {latest_fail_reason}"),
                    "end it with KILL MUTATION, and run this again",
                ));
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Offset of the last event in `events`; -1 for none.
    async fn last(&self) -> Result<i64, Error> {
        #[derive(Deserialize)]
        struct Last {
            last: i64,
        }
        let sql = format!(
            "SELECT `offset` AS last FROM events WHERE `partition` = {} ORDER BY `offset` DESC LIMIT 1",
            self.partition
        );
        let rows: Vec<Last> = self.server.ask_async("see what has landed", &sql, &[]).await?;
        Ok(rows.first().map_or(-1, |row| row.last))
    }

    /// Behind the last event a sink may be inserting a batch: it must have stopped.
    async fn check_quiet(&self, last: i64) -> Result<(), Error> {
        #[derive(PartialEq, Eq, Deserialize)]
        struct Seen {
            inserts: u64,
            rows: u64,
        }
        let counts: Vec<_> = (0..COUNT)
            .map(|target| {
                format!(
                    "(SELECT count() FROM `{}` WHERE `partition` = {} AND `offset` > {last})",
                    target::name(target),
                    self.partition
                )
            })
            .collect();
        let sql = format!(
            "SELECT (SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = currentDatabase()) AS inserts, {} AS rows",
            counts.join(" + ")
        );
        let tried = "see whether a sink inserts";
        let before: Vec<Seen> = self.server.ask_async(tried, &sql, &[]).await?;
        tokio::time::sleep(QUIET).await;
        let after: Vec<Seen> = self.server.ask_async(tried, &sql, &[]).await?;
        if before == after && after.iter().all(|seen| seen.inserts == 0) {
            return Ok(());
        }
        Err(Error::tables(
            format!("partition {} is landing behind offset {last}", self.partition),
            "stop the sinks, or repair up to that offset only",
        ))
    }

    /// Offset of the event before one; -1 for none.
    fn before(&mut self, offset: u64) -> Result<i64, Error> {
        let mut back = 64;
        loop {
            let from = offset.saturating_sub(back);
            let mut last = -1;
            self.log.read(Topic::Events, self.partition, from, &mut |record| {
                if record.offset >= offset {
                    return ControlFlow::Break(());
                }
                last = record.offset.cast_signed();
                ControlFlow::Continue(())
            })?;
            if last >= 0 || from == 0 {
                return Ok(last);
            }
            back *= 16;
        }
    }

    /// What the tables should have of the next events of a range.
    fn expand(&mut self, from: u64, to: u64, mut before: i64) -> Result<Chunk, Error> {
        let mut chunk = Chunk {
            from,
            to,
            previous: BTreeMap::new(),
            unknown: BTreeSet::new(),
            left: BTreeSet::new(),
            wanted: Contents::default(),
        };
        let mut sums = Sums::default();
        let partition = self.partition;
        self.records(from, to, &mut |record, decoder| {
            if chunk.previous.len() == CHUNK {
                chunk.to = before.cast_unsigned();
                return ControlFlow::Break(());
            }
            if decoder.has_given_up(record) {
                chunk.unknown.insert(record.offset);
            }
            sums.add(partition, record, decoder);
            let all = sums.event.iter().map(|(count, _)| count).sum::<u64>();
            // One of them is that of `events` itself.
            let others = all.saturating_sub(1);
            let others = others.cast_signed();
            for (target, wanted) in chunk.wanted.iter_mut().enumerate() {
                let (count, hashes) = sums.event.get(target).copied().unwrap_or_default();
                let (previous, others) = if target == EVENTS { (before, others) } else { (0, 0) };
                if count > 0 {
                    wanted.insert(record.offset, Rows { count, hashes, previous, others });
                }
            }
            chunk.previous.insert(record.offset, before);
            before = record.offset.cast_signed();
            ControlFlow::Continue(())
        })?;
        Ok(chunk)
    }

    /// Leaves events alone whose schema is not known now and was when they landed.
    async fn leave_unknown(&self, chunk: &mut Chunk) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Landed {
            offset: u64,
        }
        if chunk.unknown.is_empty() {
            return Ok(());
        }
        let offsets: Vec<_> = chunk.unknown.iter().map(u64::to_string).collect();
        let sql = format!(
            "SELECT DISTINCT toUInt64(`offset`) AS offset FROM events WHERE `partition` = {} AND events.`offset` IN ({}) AND type != '{PARKED}'",
            self.partition,
            offsets.join(", ")
        );
        let tried = format!("see what has landed of {}", self.part(chunk));
        let landed: Vec<Landed> = self.server.ask_async(&tried, &sql, &[]).await?;
        chunk.left = landed.into_iter().map(|landed| landed.offset).collect();
        for wanted in &mut chunk.wanted {
            wanted.retain(|offset, _| !chunk.left.contains(offset));
        }
        Ok(())
    }

    /// Reads the events of a range; their schemas are known to the decoder.
    fn records(
        &mut self,
        from: u64,
        to: u64,
        each: &mut dyn FnMut(&Record<'_>, &mut Decoder) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut next = from;
        loop {
            let (decoder, mut unknown) = (&mut self.decoder, None);
            self.log.read(Topic::Events, self.partition, next, &mut |record| {
                if record.offset > to {
                    return ControlFlow::Break(());
                }
                if !decoder.knows(record) {
                    unknown = Some((record.offset, record.value.unwrap_or_default().to_vec()));
                    return ControlFlow::Break(());
                }
                each(record, decoder)
            })?;
            let Some((offset, value)) = unknown else { return Ok(()) };
            let value = Some(value.as_slice());
            let record = Record { offset, timestamp: Timestamp(0), key: None, value, headers: &[] };
            let log: &mut dyn Reader = self.log;
            let learnt = self.decoder.learn(&record, |id| writer(log, id))?;
            if let Learnt::Unknown(id) = learnt {
                self.decoder.give_up(id);
            }
            next = offset;
        }
    }

    /// Brings all tables to what a chunk says.
    async fn mend(&mut self, chunk: &Chunk, repaired: &mut Repaired) -> Result<(), Error> {
        for target in (0..COUNT).filter(|target| *target != EVENTS).chain([EVENTS]) {
            let mut tries = 0;
            loop {
                let until = server::now() + self.clock_ahead + self.config.plan_ttl.as_secs_f64();
                match self.mend_one(chunk, target, until.max(0.0) as u64, repaired).await {
                    Ok(true) => break,
                    Ok(false) if tries < TRIES => {}
                    Ok(false) => {
                        return Err(Error::tables(
                            format!(
                                "{} is not right after its rows of {} were written {TRIES} times",
                                target::name(target),
                                self.part(chunk)
                            ),
                            "somebody else writes to it; stop that, and run this again",
                        ));
                    }
                    Err(error) if error.kind() == ErrorKind::Retry && tries < TRIES => {
                        tracing::warn!(%error, "ClickHouse failed; trying again when what was sent is out of date");
                        tokio::time::sleep(self.config.plan_ttl + SLACK).await;
                    }
                    Err(error) => return Err(error),
                }
                tries += 1;
            }
        }
        Ok(())
    }

    fn part(&self, chunk: &Chunk) -> String {
        format!("events {}..{} of partition {}", chunk.from, chunk.to, self.partition)
    }

    /// Says whether a table is right; if not, writes what is wrong anew.
    async fn mend_one(
        &mut self,
        chunk: &Chunk,
        target: usize,
        until: u64,
        repaired: &mut Repaired,
    ) -> Result<bool, Error> {
        let nothing = BTreeMap::new();
        let wanted = chunk.wanted.get(target).unwrap_or(&nothing);
        let found = self.found(chunk, target).await?;
        let wrong: BTreeSet<u64> = wanted
            .keys()
            .chain(found.keys())
            .filter(|offset| wanted.get(offset) != found.get(offset))
            .copied()
            .collect();
        if wrong.is_empty() {
            return Ok(true);
        }
        let table = target::name(target);
        let done = repaired.tables.entry(table).or_default();
        let doomed: Vec<_> =
            wrong.iter().filter(|offset| found.contains_key(offset)).map(u64::to_string).collect();
        if !doomed.is_empty() {
            let sql = format!(
                "ALTER TABLE `{table}` DELETE WHERE `partition` = {} AND `offset` IN ({}) SETTINGS mutations_sync = 2",
                self.partition,
                doomed.join(", ")
            );
            let tried = format!("delete wrong rows of {} from {table}", self.part(chunk));
            self.server.patient().run_async(&tried, &sql, &[]).await?;
            done.0 +=
                wrong.iter().filter_map(|at| found.get(at)).map(|rows| rows.count).sum::<u64>();
        }
        let mut building = Building::behind(-1);
        let partition = self.partition;
        self.records(chunk.from, chunk.to, &mut |record, decoder| {
            if wrong.contains(&record.offset) {
                let previous = chunk.previous.get(&record.offset).copied().unwrap_or(-1);
                building.add_behind(previous, partition, record, decoder);
            }
            ControlFlow::Continue(())
        })?;
        let rows = building.seal().and_then(|batch| batch.targets.into_iter().nth(target));
        if let (Some(rows), Some(sql)) =
            (rows.filter(|rows| rows.count > 0), self.statements.get(target))
        {
            let tried = format!("insert rows of {} into {table}", self.part(chunk));
            let insert = Insert { sql, token: &new_token(), until, block: rows.bytes };
            self.server.insert(&tried, &insert).await?;
            done.1 += rows.count;
        }
        Ok(false)
    }

    /// What a table has of a chunk, also of offsets that have no event.
    async fn found(&self, chunk: &Chunk, target: usize) -> Result<BTreeMap<u64, Rows>, Error> {
        let hashes = match Table::ALL.get(target) {
            Some(table) => format!("sum({})", audit::hash_of(*table)),
            None => "toUInt64(0)".to_owned(),
        };
        let added = if target == EVENTS {
            "toInt64(sum(previous)) AS previous, toInt64(sum(room_nights + bookings + supply + refusals + properties + products + parked)) AS others"
        } else {
            "toInt64(0) AS previous, toInt64(0) AS others"
        };
        let table = target::name(target);
        let sql = format!(
            "SELECT toUInt64(`offset`) AS offset, count() AS count, {hashes} AS hashes, {added} FROM `{table}` WHERE `partition` = {} AND {table}.`offset` BETWEEN {} AND {} GROUP BY {table}.`offset`",
            self.partition, chunk.from, chunk.to
        );
        let tried = format!("compare {table} with {}", self.part(chunk));
        let rows: Vec<Found> = self.server.ask_async(&tried, &sql, &[]).await?;
        let found = rows.into_iter().filter(|found| !chunk.left.contains(&found.offset));
        Ok(found.map(|found| (found.offset, found.rows)).collect())
    }
}

impl From<Damage> for Wanted {
    fn from(damage: Damage) -> Self {
        let Damage { partition, from, to } = damage;
        Self { partition, from, to: Some(to) }
    }
}
