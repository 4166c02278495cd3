//! Whatever comes in, no record that goes out is larger than the bounds say.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that fails says where")]

mod toy;

use bellhop_core::avro::Avro;
use bellhop_core::driver::{Driver, Sent};
use bellhop_core::engine::{Parked, ParkedKind};
use bellhop_core::headers::Written;
use bellhop_core::limits::{
    CAUSE_BYTES_MAX, CORRELATION_ID_BYTES_MAX, HEADER_LENGTHS_BYTES, IDEMPOTENCY_KEY_BYTES_MAX,
    KEY_BYTES_MAX, Largest, PARKED_HEADERS_BYTES_MAX, PARKED_VALUE_BYTES_MAX,
};
use bellhop_core::message::{Message, Meta, Timestamp};
use bellhop_core::outcome::Outcome;
use bellhop_core::record::{Header, frame};
use proptest::prelude::*;
use toy::*;
use uuid::Uuid;

/// As the driver is configured.
const LARGEST: Largest = Largest::of(1 << 20);

/// Bytes of a batch with one record, every number as long as it can be.
fn on_the_wire<'a>(
    key: &[u8],
    value: &[u8],
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> usize {
    let headers = headers.map(|(name, value)| 5 + name.len() + 5 + value.len());
    61 + 5 + 1 + 10 + 5 + 5 + key.len() + 5 + value.len() + 5 + headers.sum::<usize>()
}

/// Sends a record and holds what it led to against the bounds.
fn send(driver: &mut Driver, key: &[u8], value: Option<&[u8]>, headers: &[Header<'_>]) -> Sent {
    let (sent, output) = driver.send_and_keep(Some(key), value, headers);
    let topics = [
        (&output.events, LARGEST.event),
        (&output.commands, LARGEST.command),
        (&output.parked, LARGEST.parked),
    ];
    for (records, largest) in topics {
        for record in records.iter() {
            let headers = record.headers.iter().map(|header| (header.name, header.value));
            let bytes = on_the_wire(record.key, record.value, headers);
            assert!(bytes <= largest, "{bytes} bytes, at most {largest}: {:?}", sent.outcome);
        }
    }
    for reply in &output.replies {
        let id = reply.correlation_id.as_deref().map(|id| ("correlation-id", id));
        let headers = reply.headers();
        let headers = headers.iter().map(|header| (header.name, header.value)).chain(id);
        let bytes = on_the_wire(reply.key.as_deref().unwrap_or_default(), &reply.value, headers);
        assert!(bytes <= LARGEST.reply, "{bytes} bytes, at most {}", LARGEST.reply);
    }
    sent
}

fn driver() -> Driver {
    Driver::with_headers(Timestamp(1_000), Written { cloudevents: true, traceparent: true })
}

fn command<C: Message>(driver: &Driver, idempotency_key: &str, command: &C) -> Vec<u8> {
    let mut value = Vec::new();
    frame(driver.wire().id_of(C::NAME).unwrap(), &mut value);
    Meta::of_command(Uuid::from_u128(7), idempotency_key, Timestamp(0)).encode(&mut value);
    command.encode(&mut value);
    value
}

fn own_key() -> Vec<u8> {
    a_box().to_string().into_bytes()
}

fn parked(sent: Sent, kind: ParkedKind) -> Parked {
    assert_eq!(sent.outcome, Outcome::Parked(kind), "{:?}", sent.parked);
    sent.parked.expect("a parked record")
}

#[test]
fn a_key_of_any_bytes_is_parked_in_a_record_that_brokers_take() {
    let mut driver = driver();
    let value = command(&driver, "k", &PutIn { box_id: a_box(), coins: 1 });
    for bytes in [KEY_BYTES_MAX - 1, KEY_BYTES_MAX, KEY_BYTES_MAX + 1, 900_000, 64 << 20] {
        let key = vec![0xff; bytes];
        let found = parked(send(&mut driver, &key, Some(&value), &[]), ParkedKind::WrongKey);
        assert_eq!(found.key_bytes, bytes as i64);
        assert_eq!(found.key.as_ref().map(|key| key.0.len()), Some(bytes.min(KEY_BYTES_MAX)));
        assert_eq!(found.is_whole(), bytes <= KEY_BYTES_MAX);
        assert_eq!(found.value.map(|value| value.0), Some(value.clone()));
        assert!(found.cause.len() < 600, "{}", found.cause);
    }
}

#[test]
fn headers_are_kept_as_far_as_a_parked_record_takes_them() {
    let mut driver = driver();
    let one = HEADER_LENGTHS_BYTES + 1;
    let value = vec![b'v'; PARKED_HEADERS_BYTES_MAX - one];
    for (bytes, kept) in [(value.len() - 1, 1), (value.len(), 1), (value.len() + 1, 0)] {
        let value = vec![b'v'; bytes];
        let headers = [Header { name: "h", value: &value }, Header { name: "late", value: b"" }];
        let sent = send(&mut driver, b"", None, &headers);
        let found = parked(sent, ParkedKind::Undecodable);
        assert_eq!((found.headers.len(), found.header_count), (kept, 2));
        assert!(!found.is_whole());
    }
    let many = vec![Header { name: "", value: b"" }; 100_000];
    let found = parked(send(&mut driver, b"", None, &many), ParkedKind::Undecodable);
    let kept = PARKED_HEADERS_BYTES_MAX / HEADER_LENGTHS_BYTES;
    assert_eq!((found.headers.len(), found.header_count), (kept, 100_000));
}

#[test]
fn a_cause_is_cut_and_stays_text() {
    let mut driver = driver();
    let value = command(&driver, "k", &PutIn { box_id: a_box(), coins: 1 });
    let name = "ü".repeat(500_000);
    let headers = ["ce_specversion", "ce_id", "ce_source", "ce_type"].map(|header| Header {
        name: header,
        value: if header == "ce_specversion" { b"1.0" } else { name.as_bytes() },
    });
    let sent = send(&mut driver, &own_key(), Some(&value), &headers);
    let found = parked(sent, ParkedKind::WrongHeaders);
    assert!((CAUSE_BYTES_MAX - 3..=CAUSE_BYTES_MAX).contains(&found.cause.len()));
    assert!(found.cause.ends_with("üü..."), "{}", found.cause);
}

#[test]
fn a_value_that_leads_to_too_much_is_kept_whole() {
    let mut driver = driver();
    let value = command(&driver, "k", &Shout { box_id: a_box(), times: 1_000_000 });
    let found = parked(send(&mut driver, &own_key(), Some(&value), &[]), ParkedKind::TooLarge);
    assert!(found.is_whole());
    let huge = vec![0; (1 << 20) + 1];
    let found = parked(send(&mut driver, &own_key(), Some(&huge), &[]), ParkedKind::TooLarge);
    assert_eq!(found.value.as_ref().map(|value| value.0.len()), Some(PARKED_VALUE_BYTES_MAX));
    assert!(!found.is_whole());
}

#[test]
fn an_idempotency_key_has_a_bound_because_events_hold_it() {
    let mut driver = driver();
    let put = PutIn { box_id: a_box(), coins: 1 };
    for bytes in [IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX + 1, 900_000] {
        let value = command(&driver, &"k".repeat(bytes), &put);
        let sent = send(&mut driver, &own_key(), Some(&value), &[]);
        if bytes == IDEMPOTENCY_KEY_BYTES_MAX {
            assert!(matches!(sent.outcome, Outcome::Decided { .. }), "{sent:?}");
        } else {
            let found = parked(sent, ParkedKind::NoIdempotencyKey);
            assert!(found.cause.contains("at most 1024"), "{}", found.cause);
        }
    }
}

#[test]
fn a_command_whose_reply_cannot_name_it_is_parked() {
    let mut driver = driver();
    for bytes in [CORRELATION_ID_BYTES_MAX, CORRELATION_ID_BYTES_MAX + 1] {
        let id = vec![0xff; bytes];
        let fits = bytes == CORRELATION_ID_BYTES_MAX;
        for topic in [&b"replies"[..], b"elsewhere"] {
            let idempotency_key = format!("{bytes} {}", topic.len());
            let value = command(&driver, &idempotency_key, &PutIn { box_id: a_box(), coins: 1 });
            let headers = [
                Header { name: "correlation-id", value: &id },
                Header { name: "reply-to", value: topic },
            ];
            let sent = send(&mut driver, &own_key(), Some(&value), &headers);
            let ids: Vec<_> =
                sent.replies.iter().map(|reply| reply.correlation_id.clone()).collect();
            let asks = topic == b"replies";
            assert_eq!(ids, vec![fits.then(|| id.clone()); usize::from(asks)]);
            if asks && !fits {
                let found = parked(sent, ParkedKind::WrongHeaders);
                assert!(found.cause.contains("a reply takes at most 1024"), "{}", found.cause);
            } else {
                assert!(matches!(sent.outcome, Outcome::Decided { .. }), "{sent:?}");
            }
        }
    }
}

/// Lengths around every bound, and some between.
fn length() -> impl Strategy<Value = usize> {
    let bounds = [0, KEY_BYTES_MAX, CAUSE_BYTES_MAX, PARKED_HEADERS_BYTES_MAX, 1_000_000, 1 << 20];
    (prop::sample::select(bounds.to_vec()), -40..40_isize)
        .prop_map(|(bound, off)| bound.saturating_add_signed(off))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    // No frame: its schema id would be one that the driver has not.
    let byte = prop::sample::select(vec![1_u8, b'a', 0xc3, 0xff]);
    (length(), byte).prop_map(|(length, byte)| vec![byte; length])
}

const NAMES: [&str; 8] = [
    "reply-to",
    "correlation-id",
    "traceparent",
    "tracestate",
    "ce_type",
    "ce_specversion",
    "content-type",
    "x",
];
const TRACE: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let value = prop_oneof![
        bytes(),
        Just(b"replies".to_vec()),
        Just(TRACE.to_vec()),
        (0..600_usize).prop_map(|length| vec![b't'; length]),
    ];
    (prop::sample::select(NAMES.to_vec()), value)
}

#[derive(Debug, Clone)]
enum Kind {
    Put,
    /// An event of about so many bytes.
    Shout(i64),
    Poke(i32),
    Bytes(Vec<u8>),
    Nothing,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Put),
        (999_000..1_001_000_i64).prop_map(Kind::Shout),
        (-1..3_i32).prop_map(Kind::Poke),
        bytes().prop_map(Kind::Bytes),
        Just(Kind::Nothing),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_input_makes_an_output_above_the_bounds(
        records in prop::collection::vec(
            (prop::option::of(bytes()), kind(), length(), prop::collection::vec(header(), 0..5)),
            1..5,
        ),
    ) {
        std::panic::set_hook(Box::new(|_| {}));
        let mut driver = driver();
        for (key, kind, key_length, headers) in records {
            let idempotency_key = "i".repeat(key_length.min(100_000));
            let value = match kind {
                Kind::Put => {
                    Some(command(&driver, &idempotency_key, &PutIn { box_id: a_box(), coins: 1 }))
                }
                Kind::Shout(times) => {
                    Some(command(&driver, &idempotency_key, &Shout { box_id: a_box(), times }))
                }
                Kind::Poke(how) => {
                    Some(command(&driver, &idempotency_key, &Poke { box_id: a_box(), how }))
                }
                Kind::Bytes(bytes) => Some(bytes),
                Kind::Nothing => None,
            };
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| Header { name, value }).collect();
            send(&mut driver, &key.unwrap_or_else(own_key), value.as_deref(), &headers);
        }
    }
}
