//! The rules of resolution, and apache-avro as the judge of them.

use apache_avro::types::Value;
use bellhop_core::avro::DecodeError;
use bellhop_core::topology::{Transcode, UnknownFields};
use bellhop_schemas::contract;
use bellhop_schemas::resolve::{self, Error, Resolution, Transcoder};

use crate::judge;

/// As commands are read.
fn resolve(writer: &str, reader: &str) -> Result<Resolution, Error> {
    resolve::resolve(writer, reader, UnknownFields::Skipped)
}

fn transcode(writer: &str, reader: &str, datum: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let Resolution::Transcode(transcoder) = resolve(writer, reader).unwrap() else {
        return Ok(datum.to_vec());
    };
    let mut out = Vec::new();
    transcoder.transcode(datum, &mut out).map(|()| out)
}

/// Our bytes for a value are those of apache-avro, which resolves through values.
fn check(writer: &str, reader: &str, value: Value) {
    let datum = judge::encode(writer, value);
    let expected = judge::encode(reader, judge::decode(writer, reader, &datum));
    assert_eq!(transcode(writer, reader, &datum).unwrap(), expected, "{writer} as {reader}");
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"a.R","fields":[{fields}]}}"#)
}

fn field(name: &str, ty: &str) -> String {
    format!(r#"{{"name":"{name}","type":{ty}}}"#)
}

fn error(writer: &str, reader: &str) -> String {
    resolve(writer, reader).unwrap_err().to_string()
}

#[test]
fn equal_schemas_need_no_program() {
    for text in contract::schemas().unwrap().values() {
        assert!(matches!(resolve(text, text).unwrap(), Resolution::Same));
    }
    let with_doc = r#"{"type":"record","name":"R","namespace":"a","doc":"x.","fields":[{"name":"x","type":{"type":"int"},"default":1}]}"#;
    let plain = record(&field("x", "\"int\""));
    assert!(matches!(resolve(with_doc, &plain).unwrap(), Resolution::Same));
    assert!(resolve(with_doc, &plain).unwrap().into_transcode().is_none());
}

#[test]
fn fields_are_found_in_any_order_and_the_rest_is_skipped() {
    let nested = r#"{"type":"record","name":"N","fields":[{"name":"p","type":"string"},{"name":"q","type":"long"}]}"#;
    let turned = r#"{"type":"record","name":"N","fields":[{"name":"q","type":"long"},{"name":"p","type":"string"}]}"#;
    let writer = record(
        &[
            field("a", "\"double\""),
            field("n", &format!(r#"{{"type":"array","items":{nested}}}"#)),
            field("b", r#"{"type":"map","values":["null","bytes"]}"#),
            field("c", "\"boolean\""),
            field("d", r#"{"type":"fixed","name":"F","size":3}"#),
        ]
        .join(","),
    );
    let reader = record(
        &[
            field("d", r#"{"type":"fixed","name":"F","size":3}"#),
            field("n", &format!(r#"{{"type":"array","items":{turned}}}"#)),
            field("c", "\"boolean\""),
        ]
        .join(","),
    );
    let item = |text: &str, number: i64| {
        Value::Record(vec![
            ("p".into(), Value::String(text.into())),
            ("q".into(), Value::Long(number)),
        ])
    };
    let map = [("k".to_owned(), Value::Union(1, Box::new(Value::Bytes(vec![1, 2]))))];
    check(
        &writer,
        &reader,
        Value::Record(vec![
            ("a".into(), Value::Double(1.5)),
            ("n".into(), Value::Array(vec![item("x", -1), item("y", 300)])),
            ("b".into(), Value::Map(map.into_iter().collect())),
            ("c".into(), Value::Boolean(true)),
            ("d".into(), Value::Fixed(3, vec![7, 8, 9])),
        ]),
    );
}

#[test]
fn a_missing_field_takes_its_default() {
    let defaults = [
        (r#""int""#, "-3"),
        (r#""long""#, "5000000000"),
        (r#""double""#, "0.25"),
        (r#""boolean""#, "true"),
        (r#""string""#, "\"text\""),
        (r#"["null","string"]"#, "null"),
        (r#"{"type":"array","items":"int"}"#, "[1,2]"),
        (r#"{"type":"map","values":"int"}"#, r#"{"k":1}"#),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, "\"B\""),
        (
            r#"{"type":"record","name":"N","fields":[{"name":"p","type":"int"},{"name":"q","type":"int","default":9}]}"#,
            r#"{"p":4}"#,
        ),
    ];
    for (ty, default) in defaults {
        let added = format!(r#"{{"name":"y","type":{ty},"default":{default}}}"#);
        let (writer, reader) =
            (record(&field("x", "\"int\"")), record(&format!("{added},{}", field("x", "\"int\""))));
        check(&writer, &reader, Value::Record(vec![("x".into(), Value::Int(1))]));
    }
    let bytes = r#"{"name":"y","type":"bytes","default":"\u00ff\u0001"}"#;
    let fixed =
        r#"{"name":"z","type":{"type":"fixed","name":"F","size":2},"default":"\u00fe\u0002"}"#;
    let reader = record(&format!("{bytes},{fixed}"));
    assert_eq!(transcode(&record(""), &reader, &[]).unwrap(), [4, 0xff, 1, 0xfe, 2]);
}

#[test]
fn numbers_widen_and_text_is_bytes() {
    let cases = [
        ("int", "long", Value::Int(i32::MIN)),
        ("int", "float", Value::Int(7)),
        ("int", "double", Value::Int(7)),
        ("long", "float", Value::Long(1 << 40)),
        ("long", "double", Value::Long(-9)),
        ("float", "double", Value::Float(0.5)),
        ("string", "bytes", Value::String("é".into())),
        ("bytes", "string", Value::Bytes("é".as_bytes().to_vec())),
    ];
    for (wrote, read, value) in cases {
        let of = |ty: &str| record(&field("x", &format!("\"{ty}\"")));
        check(&of(wrote), &of(read), Value::Record(vec![("x".into(), value)]));
    }
    let (bytes, string) = (record(&field("x", "\"bytes\"")), record(&field("x", "\"string\"")));
    assert_eq!(
        transcode(&bytes, &string, &[2, 0xff]).unwrap_err().to_string(),
        "decode at byte 0: a string that is not UTF-8"
    );
}

#[test]
fn branches_are_matched_by_type() {
    let cases = [
        (r#"["null","int"]"#, r#"["long","null"]"#, Value::Union(1, Box::new(Value::Int(5)))),
        (r#"["null","int"]"#, r#"["long","null"]"#, Value::Union(0, Box::new(Value::Null))),
        (r#""string""#, r#"["null","string"]"#, Value::String("x".into())),
        (
            r#"["null","string"]"#,
            r#""string""#,
            Value::Union(1, Box::new(Value::String("x".into()))),
        ),
        (r#""int""#, r#"["null","long","int"]"#, Value::Int(3)),
    ];
    for (wrote, read, value) in cases {
        let (writer, reader) = (record(&field("x", wrote)), record(&field("x", read)));
        check(&writer, &reader, Value::Record(vec![("x".into(), value)]));
    }
    let (nullable, plain) =
        (record(&field("x", r#"["null","int"]"#)), record(&field("x", "\"int\"")));
    assert_eq!(
        transcode(&nullable, &plain, &[0]).unwrap_err().to_string(),
        "decode at byte 1: a branch that this program does not know"
    );
}

/// As events are read: what the fold would not see is an error that names it.
#[test]
fn an_event_with_a_field_that_is_not_known_is_refused_wherever_it_stands() {
    let refused = |writer: &str, reader: &str| {
        let resolved = resolve::resolve(writer, reader, UnknownFields::Refused);
        resolved.map(|_| ()).unwrap_err().to_string()
    };
    let of = |fields: &str| format!(r#"{{"type":"record","name":"N","fields":[{fields}]}}"#);
    let (p, q) = (field("p", "\"int\""), field("q", "\"int\""));
    let (both, one) = (of(&format!("{p},{q}")), of(&q));
    type Within = fn(&str) -> String;
    let cases: [(&str, Within); 5] = [
        ("x.p", |inner| inner.to_owned()),
        ("x.p", |inner| format!(r#"{{"type":"array","items":{inner}}}"#)),
        ("x.p", |inner| format!(r#"{{"type":"map","values":{inner}}}"#)),
        ("x.p", |inner| format!(r#"["null",{inner}]"#)),
        ("x.p", |inner| format!(r#"["string",{{"type":"array","items":["null",{inner}]}}]"#)),
    ];
    for (at, within) in cases {
        let (writer, reader) =
            (record(&field("x", &within(&both))), record(&field("x", &within(&one))));
        resolve(&writer, &reader).unwrap();
        let wanted = format!(
            "resolve {at}: this program does not know the field; run the version that wrote it, or a newer one"
        );
        assert_eq!(refused(&writer, &reader), wanted, "{writer}");
    }
    let (top, without) = (record(&format!("{p},{q}")), record(&q));
    assert!(refused(&top, &without).starts_with("resolve p: "), "{}", refused(&top, &without));
}

#[test]
fn an_event_with_a_symbol_that_is_not_known_has_none_that_stands_for_it() {
    let of = |symbols: &str, default: &str| {
        let ty = format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]{default}}}"#);
        record(&field("x", &ty))
    };
    let (writer, reader) = (of(r#""A","B""#, ""), of(r#""B""#, r#","default":"B""#));
    let resolved = resolve::resolve(&writer, &reader, UnknownFields::Refused).unwrap();
    let Resolution::Transcode(transcoder) = resolved else { panic!("the bytes are not the same") };
    assert_eq!(transcoder.transcode(&[2], &mut Vec::new()), Ok(()));
    let error = transcoder.transcode(&[0], &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "decode at byte 1: a symbol that this program does not know");
}

#[test]
fn symbols_are_matched_by_name() {
    let of = |symbols: &str| {
        record(&field("x", &format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#)))
    };
    let (writer, reader) = (of(r#""A","B""#), of(r#""B","C""#));
    assert_eq!(transcode(&writer, &reader, &[2]).unwrap(), [0]);
    assert_eq!(
        transcode(&writer, &reader, &[0]).unwrap_err().to_string(),
        "decode at byte 1: a symbol that this program does not know"
    );
    let other = r#"{"type":"enum","name":"E","symbols":["B","C"],"default":"C"}"#;
    assert_eq!(transcode(&writer, &record(&field("x", other)), &[0]).unwrap(), [2]);
}

#[test]
fn an_alias_of_the_reader_finds_the_old_name() {
    let reader = r#"{"type":"record","name":"b.New","aliases":["a.R"],"fields":[{"name":"y","aliases":["x"],"type":"long"}]}"#;
    assert_eq!(transcode(&record(&field("x", "\"int\"")), reader, &[5]).unwrap(), [5]);
}

#[test]
fn a_schema_that_cannot_be_resolved_names_the_field() {
    let line = |ty: &str| {
        let line = format!(r#"{{"type":"record","name":"L","fields":[{}]}}"#, field("units", ty));
        record(&field("lines", &format!(r#"{{"type":"array","items":{line}}}"#)))
    };
    assert_eq!(
        error(&line("\"string\""), &line("\"int\"")),
        "resolve lines.units: string was written, int is read"
    );
    let nullable = |ty: &str| {
        record(&field("x", &format!(r#"["null",{{"type":"record","name":"L","fields":[{ty}]}}]"#)))
    };
    let plain = |ty: &str| {
        record(&field("x", &format!(r#"{{"type":"record","name":"L","fields":[{ty}]}}"#)))
    };
    assert_eq!(
        error(&plain(""), &nullable(&field("units", "\"int\""))),
        "resolve x.units: the writer has no such field, and it has no default"
    );
    assert_eq!(
        error(&record(""), r#"{"type":"record","name":"a.S","fields":[]}"#),
        "resolve the record: a.R was written, a.S is read"
    );
    assert_eq!(error("{", "7"), "read the writer's schema");
    assert_eq!(error("\"int\"", "7"), "read the reader's schema");
}

#[test]
fn blocks_with_sizes_and_several_blocks_are_read() {
    let array = |ty: &str| record(&field("x", &format!(r#"{{"type":"array","items":"{ty}"}}"#)));
    // Two items with the size of their block, then one without.
    let datum = [3, 4, 2, 4, 2, 6, 0];
    assert_eq!(
        transcode(&array("int"), &array("long"), &datum).unwrap(),
        [4, 2, 4, 2, 6, 0],
        "the size goes, the blocks stay"
    );
    assert_eq!(transcode(&array("int"), &record(""), &datum).unwrap(), [0_u8; 0]);
}

/// A list whose next is nullable.
const LIST: &str = r#"{"type":"record","name":"a.R","fields":[{"name":"x","type":"int"},{"name":"next","type":["null","a.R"]}]}"#;

#[test]
fn recursive_types_end() {
    let longer = LIST.replace("\"int\"", "\"long\"");
    let Resolution::Transcode(transcoder) = resolve(LIST, &longer).unwrap() else { panic!() };
    let mut datum = [2, 2].repeat(10);
    datum.extend([2, 0]);
    let mut out = Vec::new();
    transcoder.transcode(&datum, &mut out).unwrap();
    assert_eq!(out, datum);
    let deep = [2, 2].repeat(10_000);
    let error = transcoder.transcode(&deep, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().ends_with("a value nested too deep"), "{error}");
}

#[test]
fn items_of_no_size_are_skipped_and_never_read() {
    let nulls = record(&field("x", r#"{"type":"array","items":"null"}"#));
    let claim = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0];
    assert_eq!(transcode(&nulls, &record(""), &claim).unwrap(), [0_u8; 0]);
    let read = record(&field("x", r#"{"type":"array","items":["null","int"]}"#));
    assert_eq!(
        error(&nulls, &read),
        "resolve x: items that take no bytes, so that nothing bounds them"
    );
}

#[test]
fn defaults_cannot_blow_a_record_up() {
    let items = |fields: &str| {
        let item = format!(
            r#"{{"type":"record","name":"I","fields":[{}{fields}]}}"#,
            field("p", "\"int\"")
        );
        record(&field("x", &format!(r#"{{"type":"array","items":{item}}}"#)))
    };
    let text = "x".repeat(1_000);
    let reader = items(&format!(r#",{{"name":"q","type":"string","default":"{text}"}}"#));
    let few = [6, 0, 0, 0, 0];
    assert_eq!(transcode(&items(""), &reader, &few).unwrap().len(), 2 + 3 * (1 + 2 + 1_000));
    let mut many = vec![0xd0, 0x0f];
    many.extend(vec![0; 1_001]);
    let error = transcode(&items(""), &reader, &many).unwrap_err();
    assert!(error.to_string().ends_with("grows too large by its defaults"), "{error}");
    assert!(Transcoder::output_bytes_max(1_003) < 1 << 14);
}
