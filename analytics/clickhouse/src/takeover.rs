//! Where a partition goes on: what its mark says, held against what the tables hold.

use bellhop_runtime::log::Mark;
use serde::Deserialize;

use crate::error::Error;
use crate::plan::{Note, Plan};
use crate::server::Server;
use crate::target::{self, COUNT, EVENTS};

/// How a partition goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// From this event on; the event before has the second offset, -1 for none.
    From(u64, i64),
    /// With this plan, which somebody has marked and perhaps not finished.
    Finish(Plan),
}

#[derive(Debug, Deserialize)]
struct Last {
    offset: i64,
}

#[derive(Debug, Deserialize)]
struct Count {
    count: u64,
}

/// Looks at the tables. `events` is always inserted last, so up to its last offset all is in.
pub(crate) async fn look(
    server: &Server,
    partition: u32,
    mark: Option<&Mark>,
) -> Result<GoOn, Error> {
    let sql = format!(
        "SELECT `offset` FROM events WHERE `partition` = {partition} ORDER BY `offset` DESC LIMIT 1"
    );
    let tried = format!("see what of partition {partition} is in events");
    let last: Vec<Last> = server.ask_async(&tried, &sql, &[]).await?;
    let last = last.first().map_or(-1, |row| row.offset);
    let note = mark.and_then(|mark| Note::parse(&mark.note));
    let is_noted = note.is_some();
    let go_on = decide(last, mark.map(|mark| mark.next_offset), note);
    let GoOn::From(next, previous) = go_on else { return Ok(go_on) };
    let agrees = is_noted && mark.is_some_and(|mark| mark.next_offset == next);
    if !agrees {
        check_strays(server, partition, last).await?;
        tracing::info!(partition, next, "the tables say where to go on, not the mark of the group");
    }
    Ok(GoOn::From(next, previous))
}

fn decide(last: i64, marked: Option<u64>, note: Option<Note>) -> GoOn {
    let behind = GoOn::From(last.wrapping_add(1).cast_unsigned(), last);
    match note {
        Some(Note { plan: Some(plan), .. }) if plan.previous == last => GoOn::Finish(plan),
        // Offsets may have gaps, so what comes next need not lie directly behind.
        Some(Note { plan: None, landed, .. }) if landed == last => match marked {
            Some(next) if next.cast_signed() > last => GoOn::From(next, last),
            Some(_) | None => behind,
        },
        Some(_) | None => behind,
    }
}

/// Whether a table has rows behind the last event: their batch is known to nobody.
async fn check_strays(server: &Server, partition: u32, last: i64) -> Result<(), Error> {
    for target in (0..COUNT).filter(|target| *target != EVENTS) {
        let table = target::name(target);
        let of = format!("`partition` = {partition} AND `offset` > {last}");
        let sql = format!("SELECT count() AS count FROM `{table}` WHERE {of}");
        let tried = format!("see whether {table} has what events has not");
        let rows: Vec<Count> = server.ask_async(&tried, &sql, &[]).await?;
        let count = rows.first().map_or(0, |row| row.count);
        if count > 0 {
            return Err(Error::Tables {
                what: format!(
                    "{table} has {count} rows of partition {partition} behind offset {last}, which is the last in events, and no mark says of which batch"
                ),
                hint: format!(
                    "the marks of the group were reset during a batch, or the tables restored from different times; run ALTER TABLE {table} DELETE WHERE {of} SETTINGS mutations_sync = 1, then `bellhop rebuild views`, and start again"
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(first: u64, last: u64, previous: i64) -> Plan {
        Plan { first, last, previous, burnt: [0; COUNT] }
    }

    #[test]
    fn a_mark_and_the_tables_together_say_where_to_go_on() {
        let noted = |landed, plan| Some(Note::of(landed, plan));
        for (what, last, marked, note, expected) in [
            ("all is new", -1, None, None, GoOn::From(0, -1)),
            ("replay into full tables", 99, None, None, GoOn::From(100, 99)),
            ("nothing under way", 99, Some(100), noted(99, None), GoOn::From(100, 99)),
            ("markers lie between", 99, Some(103), noted(99, None), GoOn::From(103, 99)),
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
                GoOn::From(150, 149),
            ),
            ("the group was reset", 99, Some(0), None, GoOn::From(100, 99)),
            ("the tables were emptied", -1, Some(100), noted(99, None), GoOn::From(0, -1)),
            (
                "the tables were emptied during a batch",
                -1,
                Some(100),
                noted(99, Some(plan(100, 149, 99))),
                GoOn::From(0, -1),
            ),
        ] {
            assert_eq!(decide(last, marked, note), expected, "{what}");
        }
    }
}
