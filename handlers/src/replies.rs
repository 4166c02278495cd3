//! What a producer that asks for a reply is told.

use bellhop_core::avro::{Avro as _, Reader};
use bellhop_core::driver::{Driver, Sent};
use bellhop_core::engine::Reply;
use bellhop_core::message::{Message, Meta};
use bellhop_core::record::{Header, unframe};
use bellhop_schemas::event::{ReservationCreated, ReservationRejected};
use bellhop_schemas::reason::Rule;

use crate::fixtures::*;

fn ask<C: Message>(driver: &mut Driver, key: &str, command: &C) -> Reply {
    let headers = [Header { name: "reply-to", value: b"replies" }];
    let Sent { replies, .. } = driver.send_headed(key, command, &headers);
    let [answer] = replies.as_slice() else { panic!("one reply: {replies:?}") };
    let (_, datum) = unframe(&answer.value).expect("a frame");
    Reply::decode(&mut Reader::new(datum)).expect("a reply")
}

fn event<E: Message>(reply: &Reply) -> E {
    let event = reply.event.as_ref().expect("an event");
    let (_, datum) = unframe(&event.0).expect("a frame");
    let mut reader = Reader::new(datum);
    Meta::decode(&mut reader).expect("metadata");
    let event = E::decode(&mut reader).expect("the event");
    reader.finish().expect("its end");
    event
}

#[test]
fn a_booking_is_answered_by_its_confirmation_number() {
    let mut driver = hotel();
    let reply = ask(&mut driver, "a", &create(1, vec![line("DBL", 1, 0, 1)]));
    assert_eq!((reply.code, reply.refusal.as_deref()), (0, None));
    assert_eq!(event::<ReservationCreated>(&reply).confirmation_number, "RSV-2025-000001");
}

#[test]
fn a_refusal_is_answered_by_every_reason_and_the_alternatives() {
    let mut driver = hotel();
    accept(&mut driver, &create(1, vec![line("DBL", 8, 0, 2)]));
    let late = create(2, vec![line("DBL", 3, 0, 2)]);
    let reply = ask(&mut driver, "late", &late);
    assert_eq!(reply.refusal.as_deref(), Some("SoldOut"));
    let rejected: ReservationRejected = event(&reply);
    let rows = rejected.reasons.iter().map(|it| {
        let product = it.product.as_ref().map(|product| product.as_str());
        let night = it.night.map(|night| TODAY.until(night));
        (it.rule, product, night, it.asked, it.allowed)
    });
    let of = |rule, product, night, allowed| (rule, product, Some(night), Some(3), Some(allowed));
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [
            of(Rule::SoldOut, Some("DBL"), 0, 0),
            of(Rule::SoldOut, Some("DBL"), 1, 0),
            of(Rule::HouseFull, None, 0, 2),
            of(Rule::HouseFull, None, 1, 2),
        ]
    );
    assert!(!rejected.alternatives.is_empty());
    let again = ask(&mut driver, "late", &late);
    assert_eq!((again.refusal.as_deref(), again.event_id), (Some("SoldOut"), reply.event_id));
}

#[test]
fn a_refusal_about_the_catalog_has_the_name_of_its_code() {
    let mut driver = hotel();
    let reply = ask(&mut driver, "again", &define("DBL", 1, true));
    assert_eq!((reply.code, reply.refusal.as_deref()), (9, Some("ProductExists")));
}
