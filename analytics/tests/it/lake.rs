//! The lake: parts grow, nothing counts twice, a crash leaves nothing.

use std::fs;

use bellhop_analytics::kpi::{self, Dimension, Query};
use bellhop_analytics::lake::{Lake, Part};
use bellhop_analytics::session::Session;
use bellhop_analytics::{Error, ErrorKind};
use bellhop_core::message::LogId;
use uuid::Uuid;

use crate::session;
use crate::slt::fixture;
use crate::stream::{InLog as _, Known, LOG};

/// Appends the events from an offset up to another; events before the lake's own offset, too.
fn append(lake: &mut Lake, events: &[Known], from: usize, to: usize) -> Option<Part> {
    let mut appender = lake.appender(0).unwrap();
    for (offset, known) in (from as u64..).zip(&events[from..to]) {
        let meta = known.meta(offset);
        appender.event(offset, known.name(), &meta, &known.datum()).unwrap();
    }
    lake.commit(appender).unwrap()
}

fn answers(session: &Session) -> Vec<String> {
    let by = [Dimension::Property, Dimension::Month, Dimension::Segment];
    let answers = kpi::ALL.iter().map(|kpi| {
        let query = Query::of(kpi.name).unwrap().by(&by);
        session.kpi(&query).unwrap().json().unwrap()
    });
    let mut answers: Vec<_> = answers.collect();
    let sql = "SELECT * FROM room_nights ORDER BY \"partition\", \"offset\", \"index\"";
    answers.push(session.sql(sql).unwrap().json().unwrap());
    let sql = "SELECT * FROM events ORDER BY \"partition\", \"offset\"";
    answers.push(session.sql(sql).unwrap().json().unwrap());
    answers
}

#[test]
fn parts_of_any_size_answer_like_the_rows_in_memory() {
    let events = fixture();
    let wanted = answers(&session::of(&events));
    for step in [1, 5, events.len()] {
        let folder = tempfile::tempdir().unwrap();
        let mut lake = Lake::open(folder.path(), LOG).unwrap();
        for from in (0..events.len()).step_by(step) {
            // Each time also the events that the lake has already.
            let to = (from + step).min(events.len());
            let part = append(&mut lake, &events, from.saturating_sub(3), to).unwrap();
            assert_eq!((part.first, part.last), (from as u64, to as u64 - 1));
        }
        assert_eq!(append(&mut lake, &events, 0, events.len()), None);
        let session = Session::open(folder.path()).unwrap();
        assert_eq!(answers(&session), wanted, "parts of {step} events");
        assert_eq!(answers(&session.load().unwrap()), wanted, "parts of {step} events, loaded");
    }
}

#[test]
fn what_is_not_committed_is_not_there() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::open(folder.path(), LOG).unwrap();
    append(&mut lake, &events, 0, 4);
    drop(lake.appender(0).unwrap());
    // A process that was killed in the middle of a part leaves its folder.
    let half = folder.path().join("0000-00000000000000000004.tmp");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("room_nights.parquet"), b"PAR1").unwrap();
    Session::open(folder.path()).unwrap().sql("SELECT count(*) FROM room_nights").unwrap();
    drop(lake);
    let lake = Lake::open(folder.path(), LOG).unwrap();
    assert!(!half.exists());
    assert_eq!((lake.next_offset(0), lake.next_offset(1)), (4, 0));
    assert_eq!(lake.parts(), [Part { partition: 0, first: 0, last: 3 }]);
}

#[test]
fn partitions_grow_side_by_side() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::open(folder.path(), LOG).unwrap();
    let mut appenders = [lake.appender(0).unwrap(), lake.appender(7).unwrap()];
    for (offset, known) in (0..).zip(&events) {
        for appender in &mut appenders {
            // Gaps, as transaction markers make them.
            let offset = offset * 2 + 5;
            appender.event(offset, known.name(), &known.meta(offset), &known.datum()).unwrap();
        }
    }
    for appender in appenders {
        lake.commit(appender).unwrap();
    }
    let next = events.len() as u64 * 2 + 4;
    assert_eq!([0, 7, 1].map(|it| lake.next_offset(it)), [next, next, 0]);
}

#[test]
fn another_log_and_another_writer_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(folder.path(), LOG).unwrap();
    let error = Lake::open(folder.path(), LOG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    drop(lake);
    let error = Lake::open(folder.path(), LogId(Uuid::from_u128(1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rebuild, "{error}");
    assert!(matches!(error, Error::NotThisLog { .. }));
    fs::write(folder.path().join("lake.json"), "{}").unwrap();
    let error = Lake::open(folder.path(), LOG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rebuild, "{error}");
}

#[test]
fn a_lake_that_does_not_exist_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let session = Session::open(&folder.path().join("none")).unwrap().load().unwrap();
    for kpi in kpi::ALL {
        let query = Query::of(kpi.name).unwrap();
        assert!(session.kpi(&query).unwrap().len() <= 1);
        let by = Query::of(kpi.name).unwrap().by(&Dimension::ALL);
        assert_eq!(session.kpi(&by).unwrap().json().unwrap(), "[]");
    }
}

#[test]
fn bytes_that_are_no_event_are_an_error_and_an_unknown_event_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::open(folder.path(), LOG).unwrap();
    let known = &fixture()[0];
    let mut appender = lake.appender(0).unwrap();
    let error = appender.event(0, known.name(), &known.meta(0), b"no").unwrap_err();
    assert_eq!(error.to_string(), "expand event 0@0 of type bellhop.event.PropertyDefined");
    drop(appender);
    let mut appender = lake.appender(0).unwrap();
    appender.event(0, "bellhop.event.FromTheFuture", &known.meta(0), b"anything").unwrap();
    lake.commit(appender).unwrap();
    let session = Session::open(folder.path()).unwrap();
    let answer = session.sql("SELECT type, property_id, payload FROM events").unwrap();
    let json = answer.json().unwrap();
    assert_eq!(
        json,
        r#"[{"type":"bellhop.event.FromTheFuture","property_id":null,"payload":null}]"#
    );
}
