//! The lake: parts grow and are merged, nothing counts twice, a crash leaves nothing, and what
//! cannot be read is kept aside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bellhop_analytics::kpi::{self, Dimension, Query};
use bellhop_analytics::lake::{Lake, Part};
use bellhop_analytics::session::Session;
use bellhop_analytics::table::Table;
use bellhop_analytics::{Error, ErrorKind};
use bellhop_core::message::{LogId, Message as _};
use bellhop_ledger::KNOWN;
use bellhop_ledger::decode::Decoder;
use bellhop_schemas::event::ReservationCreated;
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::Date32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::LogicalType;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::statistics::Statistics;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::slt::fixture;
use crate::stream::{Known, LOG};
use crate::wire::{Registry, append, framed, value};
use crate::{random, session};

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
        let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
        for from in (0..events.len()).step_by(step) {
            // Each time also the events that the lake has already.
            let to = (from + step).min(events.len());
            let part = append(&mut lake, &mut decoder, &events, from.saturating_sub(3), to);
            assert_eq!(part.unwrap().last, to as u64 - 1);
        }
        assert_eq!(append(&mut lake, &mut decoder, &events, 0, events.len()), None);
        let session = Session::open(folder.path()).unwrap();
        assert_eq!(answers(&session), wanted, "parts of {step} events");
        assert_eq!(answers(&session.load().unwrap()), wanted, "parts of {step} events, loaded");
    }
}

/// Folders of parts, listed or not.
fn folders(lake: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(lake).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> =
        entries.filter(|path| path.is_dir() && !path.ends_with("schema")).collect();
    folders.sort();
    folders
}

#[test]
fn a_lake_that_is_fed_often_has_few_parts() {
    let events: Vec<Known> = (0..40).flat_map(random::events).take(200).collect();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    for from in 0..events.len() {
        append(&mut lake, &mut decoder, &events, from, from + 1).unwrap();
        // Each has more rows than all behind it together.
        let rows: Vec<u64> = lake.parts().iter().map(|part| part.rows).collect();
        for (at, part) in rows.iter().enumerate() {
            assert!(*part > rows[at + 1..].iter().sum(), "{rows:?}");
        }
    }
    assert!(lake.parts().len() <= 11, "{:?}", lake.parts());
    assert_eq!(lake.next_offset(0), events.len() as u64);
    assert_eq!(folders(folder.path()).len(), lake.parts().len(), "what was replaced is gone");
    let wanted = answers(&session::of(&events));
    assert_eq!(answers(&Session::open(folder.path()).unwrap()), wanted);
}

#[test]
fn who_reads_keeps_the_files_that_are_replaced_meanwhile() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    append(&mut lake, &mut decoder, &events, 0, 8).unwrap();
    let session = Session::open(folder.path()).unwrap();
    let count = |session: &Session| {
        session.sql("SELECT count(*) AS n FROM events").unwrap().json().unwrap()
    };
    append(&mut lake, &mut decoder, &events, 8, events.len()).unwrap();
    assert_eq!(lake.parts().len(), 1, "the first part was replaced");
    assert_eq!(folders(folder.path()).len(), 2, "and its files are still there");
    assert_eq!(count(&session), r#"[{"n":8}]"#);
    drop(session);
    let session = Session::open(folder.path()).unwrap();
    assert_eq!(count(&session), format!("[{{\"n\":{}}}]", events.len()));
    drop((session, lake));
    Lake::open(folder.path(), LOG).unwrap();
    assert_eq!(folders(folder.path()).len(), 1, "the next writer deletes them");
}

#[test]
fn files_are_sorted_by_property_and_night_and_say_what_is_in_them() {
    let events: Vec<Known> = (0..30).flat_map(random::events).collect();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    append(&mut lake, &mut decoder, &events, 0, events.len()).unwrap();
    let path = folders(folder.path()).remove(0).join("room_nights.parquet");
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let group = reader.metadata().row_group(0);
    let column = |name: &str| {
        let found = group.columns().iter().find(|column| column.column_path().string() == name);
        found.unwrap()
    };
    for id in ["property_id", "reservation_id", "change_id"] {
        let described = column(id).column_descr();
        assert_eq!(described.type_length(), 16, "{id}");
        assert_eq!(described.logical_type_ref(), Some(&LogicalType::Uuid), "{id}");
    }
    assert!(matches!(
        column("stay_night").statistics(),
        Some(Statistics::Int32(it)) if it.min_opt() < it.max_opt()
    ));
    assert!(matches!(column("property_id").statistics(), Some(Statistics::FixedLenByteArray(_))));
    let mut rows: Vec<(Vec<u8>, i32)> = Vec::new();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let ids = batch.column_by_name("property_id").unwrap().as_fixed_size_binary();
        let nights = batch.column_by_name("stay_night").unwrap().as_primitive::<Date32Type>();
        rows.extend(ids.iter().zip(nights).map(|(id, night)| (id.unwrap().into(), night.unwrap())));
    }
    assert!(rows.len() > 1_000 && rows.is_sorted(), "{} rows", rows.len());
}

#[test]
fn an_id_in_a_question_is_looked_up_in_the_statistics() {
    let session = session::of(&fixture());
    let sql = "EXPLAIN SELECT count(*) FROM room_nights \
               WHERE property_id = '00000000-0000-0001-0000-0000000000b0'";
    let plan = session.sql(sql).unwrap().texts().unwrap().concat().join("\n");
    // The text became bytes: no row is made text to be compared.
    assert!(!plan.contains("id_text(room_nights.property_id) = "), "{plan}");
}

#[test]
fn a_table_without_rows_has_a_file_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    drop(Lake::open(folder.path(), LOG).unwrap());
    for table in Table::ALL {
        let path = folder.path().join(format!("schema/{}.parquet", table.name()));
        let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        let file = reader.metadata().file_metadata();
        assert_eq!((file.num_rows(), file.schema_descr().num_columns() > 5), (0, true));
    }
}

#[test]
fn what_is_not_committed_is_not_there() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    append(&mut lake, &mut decoder, &events, 0, 4);
    drop(lake.appender(0));
    // A process that was killed in the middle leaves a folder that is not whole, or not listed.
    let half = folder.path().join("0000-00000000000000000004-00000000000000000009.tmp");
    let unlisted = folder.path().join("0000-00000000000000000004-00000000000000000009");
    for made in [&half, &unlisted] {
        fs::create_dir(made).unwrap();
        fs::write(made.join("room_nights.parquet"), b"PAR1").unwrap();
    }
    Session::open(folder.path()).unwrap().sql("SELECT count(*) FROM room_nights").unwrap();
    drop(lake);
    let lake = Lake::open(folder.path(), LOG).unwrap();
    assert!(!half.exists() && !unlisted.exists());
    assert_eq!((lake.next_offset(0), lake.next_offset(1)), (4, 0));
    assert!(matches!(lake.parts(), [Part { partition: 0, first: 0, last: 3, .. }]));
}

#[test]
fn partitions_grow_side_by_side() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    let mut appenders = [lake.appender(0), lake.appender(7)];
    for (offset, known) in (0..).zip(&events) {
        for appender in &mut appenders {
            // Gaps, as transaction markers make them.
            let offset = offset * 2 + 5;
            let value = value(known, offset);
            assert!(Registry::default().feed(appender, &mut decoder, offset, &value).is_none());
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
fn a_lake_of_this_log_in_another_format_is_made_anew() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    append(&mut lake, &mut decoder, &events, 0, 4);
    drop(lake);
    let path = folder.path().join("lake.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["format_version"] = json!(1);
    fs::write(&path, manifest.to_string()).unwrap();
    let session = Session::open(folder.path()).unwrap();
    assert!(session.sql("SELECT * FROM events").unwrap().is_empty());
    drop(session);
    let lake = Lake::open(folder.path(), LOG).unwrap();
    assert_eq!((lake.next_offset(0), folders(folder.path()).len()), (0, 0));
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
fn a_file_that_is_missing_is_an_error_and_not_an_empty_table() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    append(&mut lake, &mut decoder, &events, 0, events.len() - 1);
    fs::remove_file(folders(folder.path()).remove(0).join("bookings.parquet")).unwrap();
    let error = Session::open(folder.path()).map(drop).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Rebuild, "{text}");
    assert!(text.contains("bookings.parquet") && text.contains("delete the folder"), "{text}");
    // Nor does a merge make the loss final.
    let mut appender = lake.appender(0);
    for offset in events.len() as u64 - 1..events.len() as u64 * 3 {
        let value = value(&events[offset as usize % events.len()], offset);
        Registry::default().feed(&mut appender, &mut decoder, offset, &value);
    }
    let error = lake.commit(appender).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rebuild, "{error}");
}

#[test]
fn a_program_that_can_read_more_expands_what_the_last_one_could_not() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    let last = events.len() as u64;
    append(&mut lake, &mut decoder, &events, 0, events.len());
    drop(lake);
    let reads = |readable: Value| {
        let path = folder.path().join("lake.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        manifest["readable"] = readable;
        fs::write(&path, manifest.to_string()).unwrap();
        Lake::open(folder.path(), LOG).unwrap()
    };
    let mut lake = reads(json!(1));
    assert_eq!(lake.next_offset(0), last, "an earlier program could read all");
    let mut appender = lake.appender(0);
    let junk = b"junk";
    assert!(Registry::default().feed(&mut appender, &mut decoder, last, junk).is_some());
    lake.commit(appender).unwrap();
    drop(lake);
    assert_eq!(Session::open(folder.path()).unwrap().unread(), 1);
    let lake = reads(json!(1_000_000));
    assert_eq!(lake.next_offset(0), last + 1, "this program can read less");
    drop(lake);
    assert_eq!(reads(json!(1)).next_offset(0), 0, "this program can read more");
}

/// The schema of a type with a field behind its own, as a later version might write it.
fn evolved(name: &str) -> String {
    let known = KNOWN.iter().find(|known| known.name == name).unwrap();
    let mut schema: Value = serde_json::from_str(&(known.schema)()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.push(json!({ "name": "mood", "type": "string", "default": "" }));
    schema.to_string()
}

#[test]
fn events_of_other_writers_and_junk_go_into_the_lake_and_none_stops_it() {
    let events = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (mut lake, mut decoder) = (Lake::open(folder.path(), LOG).unwrap(), Decoder::default());
    let mut registry = Registry::default();
    let later = registry.add(ReservationCreated::NAME, &evolved(ReservationCreated::NAME));
    let meta = serde_json::from_str::<Value>(&(KNOWN[0].schema)()).unwrap()["fields"][0].clone();
    let wish = json!({ "type": "record", "name": "bellhop.event.WishLeft",
        "fields": [meta, { "name": "wish", "type": "string" }] });
    let wish = registry.add("bellhop.event.WishLeft", &wish.to_string());
    let mut appender = lake.appender(0);
    let mut reasons = Vec::new();
    for (offset, known) in (0..).zip(&events) {
        let value = match known.name() {
            ReservationCreated::NAME => framed(later, known, offset, b"\x08fine"),
            _ => value(known, offset),
        };
        reasons.extend(registry.feed(&mut appender, &mut decoder, offset, &value));
    }
    assert!(reasons.is_empty(), "{reasons:?}");
    let next = events.len() as u64;
    let meta_bytes = |offset: u64| {
        let mut value = framed(wish, &events[0], offset, b"");
        value.truncate(value.len() - events[0].datum().len());
        value
    };
    let mut foreign = meta_bytes(next);
    foreign.extend_from_slice(b"\x0csilent");
    assert!(registry.feed(&mut appender, &mut decoder, next, &foreign).is_none());
    let mut cut = value(&events[0], next + 1);
    cut.truncate(cut.len() - 3);
    for (offset, junk) in
        (next + 1..).zip([cut.as_slice(), b"{\"not\":\"avro\"}", b"", &[0, 0, 0, 9, 9, 1]])
    {
        let parked = registry.feed(&mut appender, &mut decoder, offset, junk);
        assert!(parked.is_some_and(|parked| !parked.cause.is_empty()), "{junk:?}");
    }
    lake.commit(appender).unwrap();
    let found = Session::open(folder.path()).unwrap();
    let wanted = session::of(&events);
    for kpi in kpi::ALL {
        let query = Query::of(kpi.name).unwrap().by(&[Dimension::Property, Dimension::Month]);
        let [found, wanted] =
            [&found, &wanted].map(|session| session.kpi(&query).unwrap().json().unwrap());
        assert_eq!(found, wanted, "{}", kpi.name);
    }
    let sql = "SELECT type, payload FROM events WHERE name LIKE '%WishLeft'";
    let json = found.sql(sql).unwrap().json().unwrap();
    assert_eq!(json, r#"[{"type":"bellhop.event.WishLeft","payload":"{\"wish\":\"silent\"}"}]"#);
    let sql = "SELECT parked.cause, events.type, parked.value FROM parked \
               JOIN events ON events.\"offset\" = parked.\"offset\" ORDER BY parked.\"offset\"";
    let rows: Vec<Value> = serde_json::from_str(&found.sql(sql).unwrap().json().unwrap()).unwrap();
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert_eq!(rows[1]["cause"], "it has no frame of a schema");
    assert!(rows[3]["cause"].as_str().unwrap().contains("not known to the log"), "{rows:?}");
    assert!(rows.iter().all(|row| row["type"] == "sink.parked"), "{rows:?}");
    let bytes: Vec<_> = rows.iter().map(|row| row["value"].as_str().unwrap().len() / 2).collect();
    assert_eq!(bytes, [cut.len(), 14, 0, 6]);
}
