//! What it costs to decode and encode a message: the derived codec beside the alternatives.
//!
//! `taskset -c 1 cargo bench -p bellhop-schemas --bench codec -- [--json]`. The codecs take turns
//! in rounds of CPU time; the smallest and the median round are printed. Every codec must first write the very
//! bytes of the sample, or it is not measured.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "a program that measures time, prints a table and shares samples with the tests"
)]

#[path = "../tests/contract/samples.rs"]
mod samples;

use std::fmt;
use std::hint::black_box;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use bellhop_core::engine::encode_with_meta;
use bellhop_core::message::{Message, Meta};
use bellhop_core::topology::{Transcode, UnknownFields};
use bellhop_schemas::command::Acceptance;
use bellhop_schemas::contract;
use bellhop_schemas::ids::ExternalRef;
use bellhop_schemas::resolve::{Resolution, resolve};
use bellhop_schemas::stay::{Price, PricedBy};
use compact_str::CompactString;
use rustix::time::{ClockId, clock_gettime};
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Text = Option<CompactString>;

/// A UUID as bytes: some serde codecs call themselves human-readable, and `Uuid` then is text.
struct Id([u8; 16]);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Id, E> {
                bytes.try_into().map(Id).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Meta")]
struct SerdeMeta {
    message_id: Id,
    idempotency_key: Text,
    correlation_id: Option<Id>,
    causation_id: Option<Id>,
    occurred_at: i64,
    source: Option<SerdeSource>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Source")]
struct SerdeSource {
    topic: CompactString,
    partition: i64,
    offset: i64,
    index: i32,
    depth: i32,
    idempotency_key: Text,
    payload_hash: i64,
    decided_by: CompactString,
}

/// `CreateReservation` as the serde codecs want it: `meta` inside, days and instants as numbers.
#[derive(Serialize, Deserialize)]
#[serde(rename = "CreateReservation")]
struct SerdeCommand {
    meta: SerdeMeta,
    property_id: Id,
    reservation_id: Id,
    booked_at: Option<i64>,
    guest_ref: Text,
    country: Text,
    external_refs: Vec<ExternalRef>,
    lines: Vec<RequestedLine>,
    acceptance: Acceptance,
}

#[derive(Serialize, Deserialize)]
struct RequestedLine {
    product: CompactString,
    units: i32,
    arrival: i32,
    departure: i32,
    adults: i32,
    child_ages: Vec<Option<i32>>,
    rate_plan: Text,
    segment: Text,
    channel: Text,
    source: Text,
    company: Text,
    agent: Text,
    block: Text,
    guarantee: Text,
    currency: CompactString,
    priced_by: PricedBy,
    nights: Vec<Price>,
    day_use: Option<Price>,
}

/// `ReservationCreated`, likewise.
#[derive(Serialize, Deserialize)]
#[serde(rename = "ReservationCreated")]
struct SerdeEvent {
    meta: SerdeMeta,
    property_id: Id,
    business_date: i32,
    reservation_id: Id,
    confirmation_number: CompactString,
    booked_at: i64,
    guest_ref: Text,
    country: Text,
    external_refs: Vec<ExternalRef>,
    lines: Vec<Line>,
    acceptance: Acceptance,
    oversold: Vec<OversoldNight>,
}

#[derive(Serialize, Deserialize)]
struct OversoldNight {
    product: Text,
    night: i32,
    units: i32,
    day_use: bool,
}

#[derive(Serialize, Deserialize)]
struct Line {
    number: i32,
    product: CompactString,
    units: i32,
    arrival: i32,
    departure: i32,
    adults: i32,
    child_ages: Vec<Option<i32>>,
    rate_plan: Text,
    segment: Text,
    channel: Text,
    source: Text,
    company: Text,
    agent: Text,
    block: Text,
    guarantee: Text,
    currency: CompactString,
    priced_by: PricedBy,
    nights: Vec<LineNight>,
    day_use: Option<Price>,
}

#[derive(Serialize, Deserialize)]
struct LineNight {
    night: i32,
    held: CompactString,
    price: Price,
}

/// One codec for one message.
struct Case {
    message: &'static str,
    codec: &'static str,
    bytes: usize,
    decode: Box<dyn Fn()>,
    /// None where only decoding makes sense.
    encode: Option<Box<dyn Fn()>>,
    decode_ns: Vec<f64>,
    encode_ns: Vec<f64>,
}

impl Case {
    fn new(
        message: &'static str,
        codec: &'static str,
        bytes: usize,
        decode: impl Fn() + 'static,
        encode: impl Fn() + 'static,
    ) -> Self {
        let (decode, encode) = (Box::new(decode), Some(Box::new(encode) as Box<dyn Fn()>));
        Self { message, codec, bytes, decode, encode, decode_ns: vec![], encode_ns: vec![] }
    }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn cases_of<M, S>(message: &'static str, meta: Meta, body: M) -> Vec<Case>
where
    M: Message + Serialize + DeserializeOwned,
    S: Serialize + DeserializeOwned + 'static,
{
    let mut datum = Vec::new();
    encode_with_meta(&meta, &body, &mut datum);
    let datum: &'static [u8] = datum.leak();
    let value: &'static (Meta, M) = leak((meta, body));
    let text = contract::schema(M::NAME).unwrap();
    let mut cases = Vec::new();

    cases.push(Case::new(
        message,
        "derived (ours)",
        datum.len(),
        move || drop(black_box(samples::decode::<M>(black_box(datum)).unwrap())),
        move || {
            let mut out = Vec::with_capacity(512);
            encode_with_meta(&value.0, &value.1, &mut out);
            drop(black_box(out));
        },
    ));

    let older = text.replacen("\"doc\":", "\"aliases\":[\"old.Name\"],\"doc\":", 1);
    let older = older.replacen("\"name\":\"country\"", "\"name\":\"region\"", 1);
    if let Resolution::Transcode(transcoder) =
        resolve(&older, &text, UnknownFields::Skipped).unwrap()
    {
        let mut case = Case::new(
            message,
            "derived, from another schema",
            datum.len(),
            move || {
                let mut ours = Vec::with_capacity(512);
                transcoder.transcode(black_box(datum), &mut ours).unwrap();
                drop(black_box(samples::decode::<M>(&ours).unwrap()));
            },
            || {},
        );
        case.encode = None;
        cases.push(case);
    }

    let schema: &'static apache_avro::Schema = leak(apache_avro::Schema::parse_str(&text).unwrap());
    let reader = leak(GenericDatumReader::builder(schema).human_readable(false).build().unwrap());
    let writer = leak(GenericDatumWriter::builder(schema).human_readable(false).build().unwrap());
    let value: &'static S = leak(reader.read_deser(&mut &*datum).unwrap());
    assert_eq!(writer.write_ser_to_vec(value).unwrap(), datum);
    cases.push(Case::new(
        message,
        "apache-avro, serde",
        datum.len(),
        move || {
            let value: S = reader.read_deser(&mut black_box(datum)).unwrap();
            drop(black_box(value));
        },
        move || drop(black_box(writer.write_ser_to_vec(value).unwrap())),
    ));
    let generic = reader.read_value(&mut &*datum).unwrap();
    cases.push(Case::new(
        message,
        "apache-avro, to and from its Value only",
        datum.len(),
        move || drop(black_box(reader.read_value(&mut black_box(datum)).unwrap())),
        move || {
            let mut out = Vec::with_capacity(512);
            writer.write_value_ref(&mut out, &generic).unwrap();
            drop(black_box(out));
        },
    ));

    let json: &'static [u8] = serde_json::to_vec(value).unwrap().leak();
    cases.push(Case::new(
        message,
        "serde_json",
        json.len(),
        move || {
            let value: (Meta, M) = serde_json::from_slice(black_box(json)).unwrap();
            drop(black_box(value));
        },
        move || drop(black_box(serde_json::to_vec(value).unwrap())),
    ));
    cases
}

/// Nanoseconds for which this thread had the processor: neighbours do not count.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Nanoseconds a call, over about 10 ms.
fn measure(work: &dyn Fn()) -> f64 {
    const SLICE_NS: f64 = 10e6;
    let run = |calls: u32| {
        let start = cpu_ns();
        for _ in 0..calls {
            work();
        }
        (cpu_ns() - start) / f64::from(calls)
    };
    let estimate = run(50).max(1.0);
    run((SLICE_NS / estimate).clamp(100.0, 1e6) as u32)
}

/// The smallest and the median round in nanoseconds; none without rounds.
fn summary(rounds: &mut [f64]) -> Option<(f64, f64)> {
    rounds.sort_unstable_by(f64::total_cmp);
    Some((*rounds.first()?, rounds[rounds.len() / 2]))
}

fn cell(summary: Option<(f64, f64)>) -> String {
    summary.map_or("-".to_owned(), |(least, median)| format!("{least:.0} ({median:.0})"))
}

fn main() {
    // A line of the table costs half a second; `--check` only sees that each codec agrees.
    let rounds = if std::env::args().any(|argument| argument == "--check") { 1 } else { 25 };
    let (meta, body) = (samples::command_meta(), samples::create_reservation());
    let mut cases = cases_of::<_, SerdeCommand>("CreateReservation", meta, body);
    let (meta, body) = (samples::event_meta(), samples::reservation_created());
    cases.extend(cases_of::<_, SerdeEvent>("ReservationCreated", meta, body));
    for _ in 0..rounds {
        for case in &mut cases {
            case.decode_ns.push(measure(&*case.decode));
            case.encode_ns.extend(case.encode.as_ref().map(|encode| measure(&**encode)));
        }
    }
    let json = std::env::args().any(|argument| argument == "--json");
    if !json {
        println!("| message | codec | bytes | decode ns (median) | encode ns (median) |");
        println!("| --- | --- | ---: | ---: | ---: |");
    }
    for case in &mut cases {
        let decode = summary(&mut case.decode_ns);
        let encode = summary(&mut case.encode_ns);
        let Case { message, codec, bytes, .. } = case;
        if json {
            let line = serde_json::json!({
                "message": message, "codec": codec, "bytes": bytes,
                "decode_ns": decode.map(|(least, _)| least),
                "decode_ns_median": decode.map(|(_, median)| median),
                "encode_ns": encode.map(|(least, _)| least),
                "encode_ns_median": encode.map(|(_, median)| median),
            });
            println!("{line}");
        } else {
            let (decode, encode) = (cell(decode), cell(encode));
            println!("| {message} | {codec} | {bytes} | {decode} | {encode} |");
        }
    }
}
