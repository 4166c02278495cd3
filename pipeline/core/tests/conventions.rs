//! The conventions of handlers and processors, and the promises of the machine, on a toy domain.

#![allow(clippy::expect_used, reason = "a test that fails says where")]

mod toy;

use bellhop_core::avro::{Avro, Reader, Symbol, Symbols as _};
use bellhop_core::describe::Description;
use bellhop_core::driver::{Driver, Sent};
use bellhop_core::engine::{
    CommandAcknowledged, CommandConflicted, EngineRecord, ParkedKind, Reply, ReplyOutcome, Tick,
};
use bellhop_core::headers::{TraceParent, Written, span_id};
use bellhop_core::message::{Meta, Position, Timestamp};
use bellhop_core::outcome::{Answer, Outcome};
use bellhop_core::record::{Header, frame, unframe};
use bellhop_core::topology::Topology;
use toy::*;
use uuid::Uuid;

const T0: Timestamp = Timestamp(1_000_000);

fn coins(driver: &Driver) -> i64 {
    driver.store::<Coins>().get(&a_box()).map_or(0, |coins| coins.coins)
}

fn put(coins: i64) -> PutIn {
    PutIn { box_id: a_box(), coins }
}

fn take(coins: i64) -> TakeOut {
    TakeOut { box_id: a_box(), coins }
}

#[test]
fn an_event_is_applied_stamped_and_carries_its_source() {
    let mut driver = Driver::new(T0);
    let sent = driver.send_as("key-1", &put(5));
    assert_eq!(sent.only::<PutInDone>(), PutInDone { box_id: a_box(), coins: 5, now: T0 });
    assert_eq!(coins(&driver), 5);
    let meta = &sent.events[0].meta;
    let source = meta.source.as_ref().expect("an event has a source");
    assert_eq!((source.partition, source.offset, source.index), (0, 0, 0));
    assert_eq!(source.idempotency_key.as_deref(), Some("key-1"));
    assert_eq!(meta.occurred_at, T0);
    assert_eq!(meta.correlation_id, meta.causation_id);
    let id = driver.task().config().log_id.message_id(Position { partition: 0, offset: 0 }, 0);
    assert_eq!(meta.message_id, id);
    assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
}

#[test]
fn message_ids_sort_by_position_and_differ_by_log() {
    let log = |n: u128| bellhop_core::message::LogId(Uuid::from_u128(n << 80));
    let id = |log: bellhop_core::message::LogId, partition, offset, index| {
        log.message_id(Position { partition, offset }, index)
    };
    let ordered = [
        id(log(1), 0, 0, 0),
        id(log(1), 0, 0, 1),
        id(log(1), 0, 1, 0),
        id(log(1), 0, (1 << 46) - 1, u16::MAX),
        id(log(1), 1, 0, 0),
        id(log(1), 4095, 0, 0),
        id(log(2), 0, 0, 0),
    ];
    assert!(ordered.is_sorted(), "{ordered:?}");
}

#[test]
fn processors_of_one_event_run_in_the_order_of_their_names() {
    let mut driver = Driver::new(T0);
    driver.send(&put(5));
    driver.send(&put(2));
    let journal = driver.store::<Journal>().get(&a_box()).expect("a journal");
    assert_eq!(journal.lines, ["0 and 5", "5 and 2"]);
}

#[test]
fn a_refusal_is_an_event_with_its_code_and_a_repeat_gets_it_again() {
    let mut driver = Driver::new(T0);
    let refused = driver.send_as("k", &take(3));
    assert_eq!(refused.only::<Refused>(), Refused { box_id: a_box(), missing: 3 });
    let first_event = refused.events[0].meta.message_id;
    assert_eq!(refused.outcome, Outcome::Decided { code: 2, first_event });
    driver.send(&put(10));
    let again = driver.send_as("k", &take(3));
    assert_eq!(again.outcome, Outcome::Repeated { code: 2, first_event });
    assert!(again.events.is_empty());
    assert_eq!(coins(&driver), 10);
}

#[test]
fn a_key_with_another_payload_is_a_conflict_and_not_remembered() {
    let mut driver = Driver::new(T0);
    let first = driver.send_as("k", &put(1));
    let conflict = driver.send_as("k", &put(2));
    let first_event = first.events[0].meta.message_id;
    let event = conflict.events[0].meta.message_id;
    assert_eq!(conflict.outcome, Outcome::Conflict { event, first_event });
    assert_eq!(conflict.events[0].name, "bellhop.engine.CommandConflicted");
    let again = driver.send_as("k", &put(1));
    assert_eq!(again.outcome, Outcome::Repeated { code: 0, first_event });
    assert_eq!(coins(&driver), 1);
}

#[test]
fn whoever_asks_for_a_reply_gets_one_on_an_allowed_topic_and_nobody_else() {
    let mut driver = Driver::new(T0);
    let reply_to = |topic| Header { name: "reply-to", value: topic };
    let id = Header { name: "correlation-id", value: b"17" };
    let asked = [reply_to(b"replies"), id];
    let replies = |sent: &Sent| -> Vec<_> {
        let one = |answer: &Answer| {
            let (_, datum) = unframe(&answer.value).expect("a frame");
            let reply = Reply::decode(&mut Reader::new(datum)).expect("a reply");
            let key = answer.key.as_deref().map(String::from_utf8_lossy);
            assert_eq!((answer.topic.as_str(), key), ("replies", Some(a_box().to_string().into())));
            (reply.outcome, reply.code, reply.event_id, reply.offset, answer.correlation_id.clone())
        };
        sent.replies.iter().map(one).collect()
    };
    let correlated = Some(b"17".to_vec());
    let sent = driver.send_headed("k", &put(1), &asked);
    let first = Some(sent.events[0].meta.message_id);
    assert_eq!(replies(&sent), [(ReplyOutcome::Decided, 0, first, 0, correlated.clone())]);
    let sent = driver.send_headed("k", &put(1), &asked[..1]);
    assert_eq!(replies(&sent), [(ReplyOutcome::Repeated, 0, first, 1, None)]);
    let sent = driver.send_headed("k", &put(2), &asked);
    let conflict = Some(sent.events[0].meta.message_id);
    assert_eq!(replies(&sent), [(ReplyOutcome::Conflict, 0, conflict, 2, correlated.clone())]);
    let sent = driver.send_headed("p", &Poke { box_id: a_box(), how: -1 }, &asked);
    assert_eq!(replies(&sent), [(ReplyOutcome::Parked, 0, None, 3, correlated)]);
    for headers in [&[][..], &[id], &[reply_to(b"somewhere else")], &[reply_to(&[0xff])]] {
        assert_eq!(replies(&driver.send_headed("silent", &put(1), headers)), []);
    }
}

#[test]
fn a_reply_carries_the_event_the_name_of_its_code_and_the_cause_of_parking() {
    let mut driver = Driver::new(T0);
    let asked = [Header { name: "reply-to", value: b"replies" }];
    let reply = |sent: &Sent| {
        let [answer] = sent.replies.as_slice() else { panic!("one reply: {sent:?}") };
        let (_, datum) = unframe(&answer.value).expect("a frame");
        Reply::decode(&mut Reader::new(datum)).expect("a reply")
    };
    let body = |reply: &Reply| {
        let (_, datum) = unframe(&reply.event.as_ref().expect("an event").0).expect("a frame");
        let mut reader = Reader::new(datum);
        let meta = Meta::decode(&mut reader).expect("its metadata");
        assert_eq!(Some(meta.message_id), reply.event_id);
        reader.rest().to_vec()
    };
    // A timer fires before the command: the reply is about the command.
    driver.send(&put(5));
    driver.send(&Lend { box_id: a_box(), coins: 2, due: Timestamp(T0.0 + 5) });
    driver.set_time(Timestamp(T0.0 + 10));
    let sent = driver.send_headed("k", &take(30), &asked);
    assert_eq!(sent.events.len(), 2, "{sent:?}");
    let refused = reply(&sent);
    assert_eq!((refused.code, refused.refusal.as_deref()), (2, Some("TooFewCoins")));
    let event = Refused::decode(&mut Reader::new(&body(&refused))).expect("a refusal");
    assert_eq!(event, Refused { box_id: a_box(), missing: 25 });

    let again = reply(&driver.send_headed("k", &take(30), &asked));
    assert_eq!(again.outcome, ReplyOutcome::Repeated);
    assert_eq!(again.refusal.as_deref(), Some("TooFewCoins"));
    assert_eq!((again.event_id, again.event), (refused.event_id, None));

    let conflict = reply(&driver.send_headed("k", &take(1), &asked));
    let event = CommandConflicted::decode(&mut Reader::new(&body(&conflict))).expect("a conflict");
    assert_eq!(Some(event.first_event_id), refused.event_id);

    let accepted = reply(&driver.send_headed("p", &put(1), &asked));
    assert_eq!((accepted.code, accepted.refusal.as_deref()), (0, None));
    let event = PutInDone::decode(&mut Reader::new(&body(&accepted))).expect("an acceptance");
    assert_eq!(event.coins, 1);

    let parked = driver.send_headed("x", &Poke { box_id: a_box(), how: -1 }, &asked);
    let told = reply(&parked);
    assert_eq!((told.parked, told.event), (Some(ParkedKind::Panicked), None));
    assert_eq!(told.cause, parked.parked.map(|parked| parked.cause));
    assert!(told.cause.is_some());
}

#[test]
fn an_enum_says_what_its_doc_comments_say() {
    let [shut, few] = Objection::SYMBOLS else { panic!("two variants") };
    assert_eq!(
        (shut.name, shut.meaning(), shut.advice()),
        ("Shut", "The box is shut.".to_owned(), "Open it.".to_owned())
    );
    assert_eq!(few.meaning(), "The box has fewer coins than are asked for.");
    assert_eq!(few.advice(), "Ask for less, or put some in.");
    let of = |code| Symbol::of_code::<Objection>(code).map(|symbol| symbol.name);
    assert_eq!([0, 1, 2, 3].map(of), [None, Some("Shut"), Some("TooFewCoins"), None]);
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn cloud_event(type_name: &str) -> [Header<'_>; 4] {
    let header = |name, value: &'static str| Header { name, value: value.as_bytes() };
    let type_name = Header { name: "ce_type", value: type_name.as_bytes() };
    [header("ce_specversion", "1.0"), header("ce_id", "7"), header("ce_source", "/web"), type_name]
}

/// Headers as text, one a line.
fn lines<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    headers.map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value))).collect()
}

fn lines_of(headers: &[(String, Vec<u8>)]) -> String {
    lines(headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
}

#[test]
fn a_cloud_event_that_names_another_message_is_parked_and_leaves_its_key_unused() {
    let mut driver = Driver::new(T0);
    let sent = driver.send_headed("k", &put(1), &cloud_event("TakeOut"));
    assert_eq!(sent.outcome, Outcome::Parked(ParkedKind::WrongHeaders));
    let parked = sent.parked.expect("what was parked");
    assert_eq!(parked.cause, "ce_type is \"TakeOut\", the value holds PutIn (toy.PutIn)");
    assert_eq!(parked.headers.len(), 4);
    let sent = driver.send_headed("k", &put(1), &cloud_event("PutIn"));
    assert!(matches!(sent.outcome, Outcome::Decided { code: 0, .. }), "{sent:?}");
    let again = driver.send_headed("k", &put(1), &cloud_event("toy.PutIn"));
    assert!(matches!(again.outcome, Outcome::Repeated { .. }), "{again:?}");
    let json = Header { name: "content-type", value: b"application/cloudevents+json" };
    let (key, value) = (a_box().to_string(), b"{\"specversion\":\"1.0\"}");
    let sent = driver.send_raw(Some(key.as_bytes()), Some(value), &[json]);
    let parked = sent.parked.expect("what was parked");
    assert!(parked.cause.contains("binary mode"), "{}", parked.cause);
}

#[test]
fn headers_of_a_trace_that_say_nonsense_are_ignored() {
    let mut driver = Driver::with_headers(T0, Written { cloudevents: false, traceparent: true });
    let trace = |value| Header { name: "traceparent", value };
    let twice = [trace(TRACE.as_bytes()), trace(TRACE.as_bytes())];
    for headers in [&[][..], &[trace(&[0xff, 0xfe, 0])], &[trace(b"")], &twice] {
        let sent = driver.send_headed(&format!("{headers:?}"), &put(1), headers);
        assert!(matches!(sent.outcome, Outcome::Decided { .. }), "{sent:?}");
        assert_eq!(sent.events[0].headers, []);
    }
}

#[test]
fn what_a_command_leads_to_is_a_cloud_event_in_its_trace() {
    let written = Written { cloudevents: true, traceparent: true };
    let mut driver = Driver::with_headers(T0, written);
    driver.send(&put(3));
    let header = |name, value: &'static str| Header { name, value: value.as_bytes() };
    let headers = [
        header("traceparent", TRACE),
        header("reply-to", "replies"),
        header("tracestate", "vendor=1"),
        header("correlation-id", "c"),
    ];
    let sent = driver.send_headed("k", &take(3), &headers);
    let log_id = driver.task().config().log_id;
    let at = Position { partition: 0, offset: 1 };
    let span = span_id(log_id, at);
    let expected = |index, type_name: &str| {
        format!(
            "content-type: application/avro\nce_specversion: 1.0\nce_id: {}\nce_source: /bellhop/{}\nce_type: {type_name}\nce_time: 1970-01-01T00:00:01.000000Z\nce_subject: {}\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-{span:016x}-01\ntracestate: vendor=1\n",
            log_id.message_id(at, index),
            log_id.0,
            a_box(),
        )
    };
    let [event] = sent.events.as_slice() else { panic!("one event: {sent:?}") };
    assert_eq!(lines_of(&event.headers), expected(0, "coins.taken_out"));
    let [poke] = sent.commands.as_slice() else { panic!("one cascade: {sent:?}") };
    assert_eq!(lines_of(&poke.headers), expected(1, "Poke"));
    let [reply] = sent.replies.as_slice() else { panic!("one reply: {sent:?}") };
    let headers = lines(reply.headers().iter().map(|header| (header.name, header.value)));
    assert_eq!(headers, expected(u16::MAX, Reply::TYPE));
    // The cascaded command goes on in the trace, below the span that sent it.
    let headers: Vec<_> = poke.headers.iter().map(|(name, value)| Header { name, value }).collect();
    assert_eq!(TraceParent::of(&headers).map(|trace| trace.span_id), Some(span));
    let next = driver.send_headed("p", &Poke { box_id: a_box(), how: 1 }, &headers);
    assert!(matches!(next.outcome, Outcome::Decided { .. }), "its ce_type is its own: {next:?}");
    // A conflict, and an acknowledgement.
    let conflict = driver.send_headed("k", &take(2), &cloud_event("TakeOut"));
    assert!(lines_of(&conflict.events[0].headers).contains("ce_type: command.conflicted\n"));
    let silent = driver.send(&put(0));
    let headers = lines_of(&silent.events[0].headers);
    assert!(headers.contains("ce_type: command.acknowledged\n"), "{headers}");
    assert!(!headers.contains("traceparent"), "a command with no trace begins none: {headers}");
}

#[test]
fn what_a_timer_leads_to_is_not_in_the_trace_of_the_record_that_it_fires_before() {
    let written = Written { cloudevents: true, traceparent: true };
    let mut driver = Driver::with_headers(T0, written);
    driver.send(&put(5));
    driver.send(&Lend { box_id: a_box(), coins: 2, due: Timestamp(T0.0 + 5) });
    driver.set_time(Timestamp(T0.0 + 10));
    let trace = Header { name: "traceparent", value: TRACE.as_bytes() };
    let sent = driver.send_headed("k", &put(1), &[trace]);
    let [timer, own] = sent.events.as_slice() else { panic!("two events: {sent:?}") };
    let names = |headers: &[(String, Vec<u8>)]| -> Vec<String> {
        headers.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&timer.headers).last().map(String::as_str), Some("ce_subject"));
    assert_eq!(names(&own.headers).last().map(String::as_str), Some("traceparent"));
}

#[test]
fn nothing_is_written_unless_it_is_asked_for() {
    let mut driver = Driver::new(T0);
    let trace = Header { name: "traceparent", value: TRACE.as_bytes() };
    let reply_to = Header { name: "reply-to", value: b"replies" };
    let sent = driver.send_headed("k", &put(1), &[trace, reply_to]);
    assert_eq!(sent.events[0].headers, []);
    assert!(sent.replies[0].headers().is_empty());
}

#[test]
fn another_type_of_command_with_the_same_key_and_bytes_is_a_conflict() {
    let mut driver = Driver::new(T0);
    driver.send_as("k", &put(1));
    let conflict = driver.send_as("k", &take(1));
    assert!(matches!(conflict.outcome, Outcome::Conflict { .. }), "{conflict:?}");
}

#[test]
fn a_command_without_a_key_is_remembered_by_its_message_id() {
    let mut driver = Driver::new(T0);
    let mut meta = Meta::of_command(Uuid::from_u128(9), "", T0);
    meta.idempotency_key = None;
    let first = driver.send_with(&meta, &put(1));
    let again = driver.send_with(&meta, &put(1));
    let first_event = first.events[0].meta.message_id;
    assert_eq!(again.outcome, Outcome::Repeated { code: 0, first_event });
    meta.idempotency_key = Some("".into());
    let empty = driver.send_with(&meta, &put(1));
    assert_eq!(empty.outcome, Outcome::Parked(ParkedKind::NoIdempotencyKey));
}

#[test]
fn a_handler_with_nothing_to_say_is_acknowledged() {
    let mut driver = Driver::new(T0);
    let sent = driver.send_as("k", &put(0));
    assert_eq!(sent.events[0].name, CommandAcknowledged::NAME);
    let first_event = sent.events[0].meta.message_id;
    let again = driver.send_as("k", &put(0));
    assert_eq!(again.outcome, Outcome::Repeated { code: 0, first_event });
}

#[test]
fn a_compound_handler_feeds_its_steps_and_cascades_through_the_commands_topic() {
    let mut driver = Driver::new(T0);
    driver.send(&put(3));
    let sent = driver.send(&take(3));
    assert_eq!(sent.only::<TakenOut>(), TakenOut { box_id: a_box(), coins: 3 });
    let [poke] = sent.commands.as_slice() else { panic!("one cascade: {sent:?}") };
    assert_eq!(poke.body::<Poke>(), Some(Poke { box_id: a_box(), how: 1 }));
    assert_eq!(poke.meta.source.as_ref().map(|source| source.depth), Some(1));
    assert_eq!(poke.meta.correlation_id, sent.events[0].meta.correlation_id);
}

#[test]
fn a_cascade_ends_after_eight() {
    let mut driver = Driver::new(T0);
    let mut sent = driver.send(&Poke { box_id: a_box(), how: 2 });
    for depth in 1..=8 {
        let [poke] = sent.commands.as_slice() else { panic!("a cascade at {depth}: {sent:?}") };
        assert_eq!(poke.meta.source.as_ref().map(|source| source.depth), Some(depth));
        sent = driver.send_with(&poke.meta.clone(), &Poke { box_id: a_box(), how: 2 });
    }
    assert_eq!(sent.outcome, Outcome::Parked(ParkedKind::TooDeep));
}

#[test]
fn a_panic_parks_the_command_and_the_key_goes_on() {
    let mut driver = Driver::new(T0);
    driver.send(&put(5));
    let sent = driver.send(&Poke { box_id: a_box(), how: -1 });
    assert_eq!(sent.outcome, Outcome::Parked(ParkedKind::Panicked));
    let parked = sent.parked.expect("a parked record");
    assert_eq!(parked.offset, 1);
    assert!(parked.cause.contains("poked with -1"), "{}", parked.cause);
    assert!(parked.value.is_some() && parked.key.is_some());
    driver.send(&put(1));
    assert_eq!(coins(&driver), 6);
}

#[test]
fn an_event_that_no_broker_takes_is_not_sent_and_its_command_is_parked() {
    let mut driver = Driver::new(T0);
    let shout = |times| Shout { box_id: a_box(), times };
    let sent = driver.send_as("k", &shout(1_000_000));
    assert_eq!(sent.outcome, Outcome::Parked(ParkedKind::TooLarge));
    let cause = sent.parked.expect("a parked record").cause;
    assert!(cause.starts_with("Shout leads to box.echoed of 1000"), "{cause}");
    assert_eq!((sent.events.len(), sent.commands.len(), coins(&driver)), (0, 0, 0));
    let sent = driver.send_as("k", &shout(900_000));
    assert!(matches!(sent.outcome, Outcome::Decided { code: 0, .. }), "{:?}", sent.outcome);
    assert_eq!((sent.events.len(), sent.commands.len(), coins(&driver)), (1, 1, 900_000));
}

#[test]
fn what_cannot_be_decoded_is_parked_with_its_bytes_and_cause() {
    let mut driver = Driver::new(T0);
    let key = a_box().to_string().into_bytes();
    let id = driver.wire().id_of("toy.PutIn").expect("an id");
    let framed = |datum: &[u8]| {
        let mut value = Vec::new();
        frame(id, &mut value);
        value.extend_from_slice(datum);
        value
    };
    let truncated = framed(&[1, 2, 3]);
    let event_id = driver.wire().id_of("toy.PutInDone").expect("an id");
    let mut event = Vec::new();
    frame(event_id, &mut event);
    let huge = vec![0; (1 << 20) + 1];
    let cases: [(Option<&[u8]>, ParkedKind, &str); 6] = [
        (None, ParkedKind::Undecodable, "no value"),
        (Some(b""), ParkedKind::Undecodable, "Confluent framing"),
        (Some(b"{\"json\":1}"), ParkedKind::Undecodable, "Confluent framing"),
        (Some(&truncated), ParkedKind::Undecodable, "ends inside a value"),
        (Some(&event), ParkedKind::UnknownType, "is not a command"),
        (Some(&huge), ParkedKind::TooLarge, "at most 1048576"),
    ];
    for (value, kind, cause) in cases {
        let sent = driver.send_record(Some(&key), value);
        assert_eq!(sent.outcome, Outcome::Parked(kind));
        let parked = sent.parked.expect("a parked record");
        assert!(parked.cause.contains(cause), "{} for {cause}", parked.cause);
        assert_eq!(parked.value_bytes as usize, value.map_or(0, <[u8]>::len));
        let kept = value.map(|value| value[..value.len().min(64 * 1024)].to_vec());
        assert_eq!(
            parked.value.map(|bytes| bytes.0),
            kept.filter(|_| true).map(|kept| {
                if kind == ParkedKind::TooLarge { kept } else { value.unwrap_or_default().to_vec() }
            })
        );
    }
}

#[test]
fn a_key_that_is_not_its_payloads_is_parked() {
    let mut driver = Driver::new(T0);
    let id = driver.wire().id_of("toy.PutIn").expect("an id");
    let mut value = Vec::new();
    frame(id, &mut value);
    Meta::of_command(Uuid::from_u128(1), "k", T0).encode(&mut value);
    put(1).encode(&mut value);
    for key in [Some(b"another".as_slice()), None] {
        let sent = driver.send_record(key, Some(&value));
        assert_eq!(sent.outcome, Outcome::Parked(ParkedKind::WrongKey));
        let cause = sent.parked.expect("a parked record").cause;
        assert!(cause.contains(&a_box().to_string()), "{cause}");
    }
    assert_eq!(coins(&driver), 0);
}

#[test]
fn timers_fire_before_the_record_that_reaches_them_in_the_order_of_due_and_id() {
    let mut driver = Driver::new(T0);
    driver.send(&put(100));
    let lend = |coins, due| Lend { box_id: a_box(), coins, due: Timestamp(due) };
    driver.send(&lend(1, 3_000_000));
    driver.send(&lend(2, 2_000_000));
    driver.send(&lend(4, 2_000_000));
    driver.set_time(Timestamp(1_999_999));
    assert_eq!(driver.send(&put(10)).events.len(), 1);
    driver.set_time(Timestamp(3_000_000));
    let sent = driver.send(&put(20));
    let fired: Vec<i64> = sent
        .events
        .iter()
        .filter_map(|event| event.body::<PutInDone>())
        .map(|event| event.coins)
        .collect();
    assert_eq!(fired, [2, 4, 1, 20]);
    for (index, event) in sent.events.iter().enumerate() {
        let source = event.meta.source.as_ref().expect("a source");
        assert_eq!((source.offset, usize::from(source.index)), (5, index));
        assert_eq!(event.meta.occurred_at, Timestamp(3_000_000));
    }
    assert_eq!(coins(&driver), 130);
}

#[test]
fn a_timer_due_in_the_past_fires_before_the_next_later_record() {
    let mut driver = Driver::new(T0);
    driver.send(&put(9));
    driver.send(&Lend { box_id: a_box(), coins: 9, due: Timestamp(5) });
    assert_eq!(coins(&driver), 0);
    driver.send(&put(1));
    assert_eq!(coins(&driver), 1, "no time has passed");
    driver.set_time(Timestamp(T0.0 + 1));
    driver.send(&put(1));
    assert_eq!(coins(&driver), 11);
}

#[test]
fn a_tick_moves_time_and_leaves_no_event_of_its_own() {
    let mut driver = Driver::new(T0);
    driver.send(&Lend { box_id: a_box(), coins: 9, due: Timestamp(2_000_000) });
    driver.set_time(Timestamp(2_000_000));
    let id = driver.wire().id_of(Tick::NAME).expect("an id");
    let mut value = Vec::new();
    frame(id, &mut value);
    Meta::of_command(Uuid::nil(), "tick", T0).encode(&mut value);
    Tick { partition: 0 }.encode(&mut value);
    let sent = driver.send_record(None, Some(&value));
    assert_eq!(sent.outcome, Outcome::Ticked);
    assert_eq!(sent.only::<PutInDone>().coins, 9);
    assert!(driver.send_record(None, Some(&value)).events.is_empty());
}

#[test]
fn stream_time_never_falls() {
    let mut driver = Driver::new(Timestamp(50));
    driver.send(&put(1));
    driver.set_time(Timestamp(20));
    assert_eq!(driver.send(&put(1)).only::<PutInDone>().now, Timestamp(50));
}

#[test]
fn a_record_that_was_handled_is_not_handled_again() {
    let mut driver = Driver::new(T0);
    driver.send(&put(1));
    assert!(driver.redeliver(0, &put(1)).is_none());
    assert_eq!(coins(&driver), 1);
}

#[test]
fn describe_names_handlers_stores_and_processors() {
    let topology = Topology::discover().expect("a topology");
    let text = Description::of(&topology).to_text();
    for part in [
        "toy.TakeOut  by BoxId\n  handler  take_out",
        "reads    coins",
        "sends    coins.taken_out, Poke, coins.refused",
        "processor  a_journal_before",
        "writes   journal",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}
