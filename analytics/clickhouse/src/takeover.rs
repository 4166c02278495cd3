//! Where a partition goes on: what its mark says, held against what the tables hold.

use bellhop_runtime::log::Mark;
use serde::Deserialize;

use crate::audit;
use crate::error::{Error, ErrorKind};
use crate::lock::REPAIRING;
use crate::plan::{Note, Plan};
use crate::server::Server;
use crate::target::{self, COUNT, EVENTS};

/// How many of the newest events are held against the other tables, at most.
const NEWEST: i64 = 100_000;
/// How long before the last of them they may have landed: what a server loses with its power is as
/// old as its buffers, and what is dropped on purpose is older.
const NEWEST_SECONDS: u32 = 3_600;

/// How a partition goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// From an event on.
    From {
        /// Its offset.
        next: u64,
        /// Offset of the event before; -1 for none.
        previous: i64,
        /// The mark and the tables say the same; otherwise the first batch has to be counted.
        agreed: bool,
    },
    /// With this plan, which somebody has marked and perhaps not finished.
    Finish(Plan),
    /// Not before somebody has put its tables right.
    Held {
        /// Offset of its last event in `events`; -1 for none.
        last: i64,
        /// What is wrong, and what to do.
        why: String,
    },
}

#[derive(Debug, Deserialize)]
struct Last {
    offset: i64,
}

#[derive(Debug, Deserialize)]
struct Behind {
    count: u64,
    last: i64,
}

/// Looks at the tables. `events` is always inserted last, so up to its last offset all is in.
pub(crate) async fn look(
    server: &Server,
    partition: u32,
    mark: Option<&Mark>,
) -> Result<GoOn, Error> {
    if REPAIRING.is_held(server).await? {
        return Err(Error::Server {
            kind: ErrorKind::Retry,
            tried: format!("take over partition {partition}"),
            what: "`bellhop repair clickhouse` is running".to_owned(),
            hint: "the partition is taken over when it has ended",
        });
    }
    let sql = format!(
        "SELECT `offset` FROM events WHERE `partition` = {partition} ORDER BY `offset` DESC LIMIT 1"
    );
    let tried = format!("see what of partition {partition} is in events");
    let last: Vec<Last> = server.ask_async(&tried, &sql, &[]).await?;
    let last = last.first().map_or(-1, |row| row.offset);
    let note = mark.and_then(|mark| Note::parse(&mark.note));
    let go_on = decide(last, mark.map(|mark| mark.next_offset), note);
    if let GoOn::From { next, agreed: false, .. } = go_on {
        if let Some(why) = check_strays(server, partition, last).await? {
            return Ok(GoOn::Held { last, why });
        }
        tracing::info!(partition, next, "the tables say where to go on, not the mark of the group");
    }
    let damage = check_newest(server, partition, last).await?;
    Ok(damage.map_or(go_on, |why| GoOn::Held { last, why }))
}

fn decide(last: i64, marked: Option<u64>, note: Option<Note>) -> GoOn {
    let next = next_of(last);
    let behind = GoOn::From { next, previous: last, agreed: false };
    match note {
        Some(Note { plan: Some(plan), .. }) if plan.previous == last => GoOn::Finish(plan),
        // Offsets may have gaps, so what comes next need not lie directly behind.
        Some(Note { plan: None, landed, .. }) if landed == last => match marked {
            Some(next) if next.cast_signed() > last => {
                GoOn::From { next, previous: last, agreed: true }
            }
            Some(_) | None => behind,
        },
        Some(_) | None => behind,
    }
}

/// Whether a table has rows behind the last event: their batch is known to nobody.
async fn check_strays(server: &Server, partition: u32, last: i64) -> Result<Option<String>, Error> {
    let mut found = Vec::new();
    let mut end = last;
    for target in (0..COUNT).filter(|target| *target != EVENTS) {
        let table = target::name(target);
        let sql = format!(
            "SELECT count() AS count, max(`offset`) AS last FROM `{table}` WHERE `partition` = {partition} AND `offset` > {last}"
        );
        let tried = format!("see whether {table} has what events has not");
        let rows: Vec<Behind> = server.ask_async(&tried, &sql, &[]).await?;
        if let Some(behind) = rows.first().filter(|behind| behind.count > 0) {
            found.push(format!("{} rows of {table}", behind.count));
            end = end.max(behind.last);
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let repair = audit::Damage { partition, from: next_of(last), to: end.cast_unsigned() };
    Ok(Some(format!(
        "partition {partition} has {} behind offset {last}, which is the last in events, and no mark says of which batch; the marks of the group were reset during a batch, or tables have lost rows; stop the sinks, run `{}`, and start again",
        found.join(", "),
        repair.command(server.given())
    )))
}

/// Whether the other tables have what the newest rows of `events` say, and those have no gap: what
/// a host loses with its power is new.
async fn check_newest(server: &Server, partition: u32, last: i64) -> Result<Option<String>, Error> {
    if last < 0 {
        return Ok(None);
    }
    let oldest = (last - NEWEST).max(-1);
    let of = format!("`partition` = {partition} AND events.`offset` > {oldest}");
    let sql = format!(
        "SELECT if(count() = 0, toInt64({oldest}), toInt64(max(events.`offset`))) AS offset FROM events WHERE {of} AND landed_at < (SELECT max(landed_at) - INTERVAL {NEWEST_SECONDS} SECOND FROM events WHERE {of})"
    );
    let tried = format!("see which events of partition {partition} landed last");
    let before: Vec<Last> = server.ask_async(&tried, &sql, &[]).await?;
    let from = (before.first().map_or(oldest, |row| row.offset) + 1).cast_unsigned();
    let range = audit::Damage { partition, from, to: last.cast_unsigned() };
    let audit = audit::of_range(server, &range).await?;
    let Some(damage) = audit.damages().into_iter().next() else { return Ok(None) };
    let (missing, twice) = audit.totals();
    Ok(Some(format!(
        "of the newest events of partition {partition}, {missing} rows are missing and {twice} are there too often; the server has lost what it had acknowledged, or rows were changed by hand; run `{}`, the partition goes on then",
        damage.command(server.given())
    )))
}

fn next_of(last: i64) -> u64 {
    last.wrapping_add(1).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(first: u64, last: u64, previous: i64) -> Plan {
        Plan { nonce: 7, ..Plan::new(first, last, previous) }
    }

    #[test]
    fn a_mark_and_the_tables_together_say_where_to_go_on() {
        let noted = |landed, plan| Some(Note::of(landed, plan));
        let from = |next, previous, agreed| GoOn::From { next, previous, agreed };
        for (what, last, marked, note, expected) in [
            ("all is new", -1, None, None, from(0, -1, false)),
            ("replay into full tables", 99, None, None, from(100, 99, false)),
            ("nothing under way", 99, Some(100), noted(99, None), from(100, 99, true)),
            ("markers lie between", 99, Some(103), noted(99, None), from(103, 99, true)),
            (
                "a plan that may not have landed",
                99,
                Some(100),
                noted(99, Some(plan(100, 149, 99))),
                GoOn::Finish(plan(100, 149, 99)),
            ),
            (
                "the same behind markers",
                97,
                Some(100),
                noted(97, Some(plan(100, 149, 97))),
                GoOn::Finish(plan(100, 149, 97)),
            ),
            (
                "a plan that has landed",
                149,
                Some(100),
                noted(99, Some(plan(100, 149, 99))),
                from(150, 149, false),
            ),
            ("the newest events are gone", 79, Some(100), noted(99, None), from(80, 79, false)),
            ("the group was reset", 99, Some(0), None, from(100, 99, false)),
            ("the tables were emptied", -1, Some(100), noted(99, None), from(0, -1, false)),
            (
                "the tables were emptied during a batch",
                -1,
                Some(100),
                noted(99, Some(plan(100, 149, 99))),
                from(0, -1, false),
            ),
        ] {
            assert_eq!(decide(last, marked, note), expected, "{what}");
        }
    }
}
