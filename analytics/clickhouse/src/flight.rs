//! One batch into all its targets: `events` last, and nothing twice.
//!
//! A fresh batch is inserted as it is. One whose outcome is not known is counted first: what is in
//! stays, what is not is inserted, and what the server drops though it is not in (a crash between
//! the record of a token and the rows, see `docs/clickhouse.md`) is reported as burnt.

use std::sync::Arc;

use bellhop_core::message::LogId;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::audit::Damage;
use crate::batch::Batch;
use crate::error::Error;
use crate::server::{Insert, Server, new_token};
use crate::target::{self, COUNT, EVENTS};
use crate::views::{self, Counts, View};

/// All that an insert needs.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) partition: u32,
    pub(crate) batch: Arc<Batch>,
    /// None of its rows can be in yet; otherwise they are counted first.
    pub(crate) fresh: bool,
    /// Seconds since 1970, by the server's clock, after which the server refuses it.
    pub(crate) until: u64,
    pub(crate) log: LogId,
    pub(crate) statements: Arc<Vec<String>>,
    pub(crate) no_token: bool,
    /// No insert of an earlier try, or of an earlier owner, can reach the server any more.
    pub(crate) settled: bool,
}

/// How a flight ended well, or nearly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landed {
    /// Everything is in, once.
    All,
    /// The name of this target's block is used up, its rows are not in: it needs another name.
    Burnt(usize),
    /// A view lacks the batch, and an earlier insert may still bring it: try again later.
    Unsettled,
}

#[derive(Debug, Deserialize)]
struct Counted {
    count: u64,
}

impl Flight {
    pub(crate) async fn run(&self, server: &Server) -> Result<Landed, Error> {
        let mut others = JoinSet::new();
        for target in (0..COUNT).filter(|target| *target != EVENTS) {
            if self.batch.targets.get(target).is_some_and(|rows| rows.count > 0) {
                let (flight, server) = (self.clone(), server.clone());
                others.spawn_local(async move { flight.land(&server, target).await });
            }
        }
        let mut ended = Ok(Landed::All);
        while let Some(joined) = others.join_next().await {
            let landed = joined.unwrap_or_else(|error| {
                Err(Error::tables(format!("insert a batch: {error}"), "this is a bug; start again"))
            });
            if !matches!(landed, Ok(Landed::All)) {
                ended = landed;
            }
        }
        match ended {
            Ok(Landed::All) => self.land(server, EVENTS).await,
            other => other,
        }
    }

    /// One target, and the views over it.
    async fn land(&self, server: &Server, target: usize) -> Result<Landed, Error> {
        if self.fresh || self.no_token {
            self.insert(server, target).await?;
            return Ok(Landed::All);
        }
        let table = target::name(target);
        if !self.is_in(server, target).await? {
            self.insert(server, target).await?;
            if !self.is_in(server, target).await? {
                return Ok(Landed::Burnt(target));
            }
        }
        for view in views::ALL.iter().filter(|view| view.source == table) {
            if !self.complete(server, target, view).await? {
                return Ok(Landed::Unsettled);
            }
        }
        Ok(Landed::All)
    }

    async fn insert(&self, server: &Server, target: usize) -> Result<(), Error> {
        let (Some(sql), Some(rows)) = (self.statements.get(target), self.batch.targets.get(target))
        else {
            return Ok(());
        };
        let plan = &self.batch.plan;
        let (table, partition) = (target::name(target), self.partition);
        let tried = format!(
            "insert events {}..{} of partition {partition} into {table}",
            plan.first, plan.last
        );
        let token =
            if self.no_token { new_token() } else { plan.token(self.log, partition, target) };
        let insert = Insert { sql, token: &token, until: self.until, block: rows.bytes.clone() };
        server.insert(&tried, &insert).await
    }

    /// Whether the server is at work on an insert of this batch, whoever has sent it.
    async fn is_inserted(&self, server: &Server, target: usize) -> Result<bool, Error> {
        let plan = &self.batch.plan;
        let token = plan.token(self.log, self.partition, target);
        // What comes behind the last / tells apart names that were used up.
        let (of_plan, _) = token.rsplit_once('/').unwrap_or((&token, ""));
        let sql = format!(
            "SELECT count() AS count FROM system.processes WHERE startsWith(Settings['insert_deduplication_token'], '{of_plan}/')"
        );
        let tried = "see whether an insert of a batch runs";
        let rows: Vec<Counted> = server.ask_async(tried, &sql, &[]).await?;
        Ok(rows.first().is_none_or(|row| row.count > 0))
    }

    fn range(&self) -> String {
        let plan = &self.batch.plan;
        let (partition, first, last) = (self.partition, plan.first, plan.last);
        format!("`partition` = {partition} AND `offset` BETWEEN {first} AND {last}")
    }

    /// Whether the rows of a target are in; a block is in as a whole or not at all.
    async fn is_in(&self, server: &Server, target: usize) -> Result<bool, Error> {
        let table = target::name(target);
        let sql = format!("SELECT count() AS count FROM `{table}` WHERE {}", self.range());
        let tried = format!("see whether a batch is in {table}");
        let rows: Vec<Counted> = server.ask_async(&tried, &sql, &[]).await?;
        let found = rows.first().map_or(0, |row| row.count);
        let wanted = self.batch.targets.get(target).map_or(0, |rows| rows.count);
        if found != 0 && found != wanted {
            let plan = &self.batch.plan;
            return Err(Error::Tables {
                what: format!(
                    "{table} has {found} rows of events {}..{} of partition {}, their batch has {wanted}",
                    plan.first, plan.last, self.partition
                ),
                hint: format!(
                    "rows were deleted or inserted by hand, or another version expands these events to other rows; stop the sinks, run `{}`, and start again",
                    Damage { partition: self.partition, from: plan.first, to: plan.last }
                        .command(server.given())
                ),
            });
        }
        Ok(found == wanted)
    }

    /// Sees to it that a view has what its table has of this batch; says whether it has.
    ///
    /// A view lacks a batch when the server died between the two. It has one too often when the
    /// server died with the view filled and the table's name used up without its rows: the other
    /// name fills the view again. Then the batch is added to the view alone, or taken off it; but
    /// not before every insert that could change it as well is out of date.
    async fn complete(&self, server: &Server, target: usize, view: &View) -> Result<bool, Error> {
        // First, for an insert may fill the view until it has ended.
        if self.settled && self.is_inserted(server, target).await? {
            return Ok(false);
        }
        let tried = format!("see whether the view {} is complete", view.name);
        let partition = format!("`partition` = {}", self.partition);
        let counts: Vec<Counts> = server.ask_async(&tried, &view.counts(&partition), &[]).await?;
        let Some(counts) = counts.first().filter(|counts| counts.wanted != counts.had) else {
            return Ok(true);
        };
        if !self.settled {
            return Ok(false);
        }
        let sql =
            format!("SELECT toUInt64(sum(`rows`)) AS count FROM ({})", view.select(&self.range()));
        let of_batch: Vec<Counted> = server.ask_async(&tried, &sql, &[]).await?;
        let of_batch = of_batch.first().map_or(0, |row| row.count.cast_signed());
        let burnt = self.batch.plan.burnt.get(target).copied().unwrap_or(0);
        let Some(times) = times_to_add(counts.wanted - counts.had, of_batch, burnt) else {
            tracing::warn!(
                view = view.name,
                partition = self.partition,
                "the view differs from its table by more than this batch; run `bellhop rebuild views`"
            );
            return Ok(true);
        };
        let sql = view.add(times, &self.range(), self.until);
        // A name of its own: all earlier tries are settled, and what they did is counted.
        let token = self.batch.plan.token(self.log, self.partition, COUNT);
        let settings = [
            ("insert_deduplication_token", format!("{token}/view/{}", self.until)),
            ("max_threads", "1".to_owned()),
        ];
        server.run_async(&format!("complete the view {}", view.name), &sql, &settings).await?;
        // It is counted once more.
        Ok(false)
    }
}

/// How often a view has to get a batch of so many rows, less than never where it has it too often;
/// nothing where the difference is not of this batch.
fn times_to_add(difference: i64, of_batch: i64, burnt: u32) -> Option<i64> {
    let times = difference.checked_div(of_batch)?;
    (times * of_batch == difference && times <= 1 && -times <= i64::from(burnt)).then_some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_mended_only_where_it_is_of_the_batch() {
        for (difference, of_batch, burnt, times) in [
            (10, 10, 0, Some(1)),
            (-10, 10, 1, Some(-1)),
            (-20, 10, 2, Some(-2)),
            (-10, 10, 0, None),
            (-20, 10, 1, None),
            (20, 10, 1, None),
            (7, 10, 1, None),
            (10, 0, 1, None),
        ] {
            assert_eq!(times_to_add(difference, of_batch, burnt), times, "{difference} {of_batch}");
        }
    }
}
