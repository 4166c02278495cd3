//! Answers for other programs: what is written is what was asked, row by row.

use std::fs::File;
use std::sync::Arc;

use bellhop_analytics::kpi::{Dimension, Query};
use bellhop_analytics::{Error, ErrorKind, export};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::session;
use crate::slt::fixture;

const SQL: &str = "SELECT property_id, stay_night, known_at, units, room, segment FROM room_nights \
                   ORDER BY known_at, \"offset\", \"index\" LIMIT 2";

#[test]
fn rows_as_csv_and_json_are_those_of_the_answer() {
    let session = session::of(&fixture());
    let rows = session.rows(SQL).unwrap();
    let (schema, mut csv) = (Arc::clone(rows.schema()), Vec::new());
    export::csv(&schema, rows, &mut csv).unwrap();
    let wanted = "\
property_id,stay_night,known_at,units,room,segment
00000000-0000-0001-0000-0000000000b0,2016-06-29,2016-06-10T09:00:00Z,2,20000,Leisure
00000000-0000-0001-0000-0000000000b0,2016-06-30,2016-06-10T09:00:00Z,2,20000,Leisure
";
    assert_eq!(String::from_utf8(csv).unwrap(), wanted);
    let mut json = Vec::new();
    export::json(session.rows(SQL).unwrap(), &mut json).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), session.sql(SQL).unwrap().json().unwrap());
}

#[test]
fn an_answer_without_rows_has_its_header_and_is_an_empty_array() {
    let session = session::of(&fixture());
    let sql = "SELECT code FROM properties WHERE code = 'Ritz'";
    let rows = session.rows(sql).unwrap();
    let (schema, mut csv) = (Arc::clone(rows.schema()), Vec::new());
    export::csv(&schema, rows, &mut csv).unwrap();
    assert_eq!(csv, b"code\n");
    let mut json = Vec::new();
    export::json(session.rows(sql).unwrap(), &mut json).unwrap();
    assert_eq!(json, b"[]");
}

#[test]
fn a_parquet_file_holds_all_rows_and_instants_without_a_zone() {
    let session = session::of(&fixture());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let rows = session.rows("SELECT * FROM room_nights").unwrap();
    let schema = Arc::clone(rows.schema());
    let count = export::parquet(&schema, rows, &path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let known_at = reader.schema().field_with_name("known_at").unwrap().data_type().to_string();
    assert_eq!(known_at, "Timestamp(µs)");
    let read: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!((count, read), (21, 21));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // Where it cannot be written, nothing stays behind.
    let rows = session.rows("SELECT CAST(product AS INT) FROM room_nights").unwrap();
    let schema = Arc::clone(rows.schema());
    let error = export::parquet(&schema, rows, &folder.path().join("not.parquet")).unwrap_err();
    assert!(matches!(error, Error::Query(_)), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn money_leaves_in_major_units_of_its_currency() {
    let session = session::of(&fixture());
    for (kpi, wanted) in [
        (
            "room_revenue",
            r#"[{"property":"Inn","room_revenue":400.0,"currency":"EUR"},{"property":"Ryokan","room_revenue":60000.0,"currency":"JPY"}]"#,
        ),
        (
            "room_nights",
            r#"[{"property":"Inn","room_nights":4},{"property":"Ryokan","room_nights":3}]"#,
        ),
    ] {
        let query = Query::of(kpi).unwrap().by(&[Dimension::Property]);
        let answer = query.kpi.in_major_units(&session.kpi(&query).unwrap()).unwrap();
        assert_eq!(answer.json().unwrap(), wanted);
    }
}

#[test]
fn a_question_that_cannot_be_answered_says_so_at_once_or_in_its_rows() {
    let session = session::of(&fixture());
    let Err(error) = session.rows("SELECT nothing FROM room_nights") else { panic!("it ran") };
    assert_eq!(error.kind(), ErrorKind::FixInput);
    let Err(error) = session.rows("DROP TABLE room_nights") else { panic!("it ran") };
    assert_eq!(error.kind(), ErrorKind::FixInput);
}
