//! A command that is sent again after an upgrade gets its first answer, although its type has grown.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that fails says where")]

use std::fmt;
use std::sync::Arc;

use bellhop_core::avro::{Avro, FirstForm, schema_of};
use bellhop_core::headers::Written;
use bellhop_core::message::{LogId, Message, MessageKey, Meta};
use bellhop_core::outcome::Outcome;
use bellhop_core::prelude::*;
use bellhop_core::record::{Record, frame};
use bellhop_core::registry::{EVENTS, HANDLERS, REQUESTS};
use bellhop_core::rules::Rules;
use bellhop_core::task::{Config, FoldError, Task};
use bellhop_core::topology::{Topology, Wire};
use proptest::prelude::*;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro)]
struct DoorId(Uuid);

impl fmt::Display for DoorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl MessageKey for DoorId {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "door.Opened")]
#[message(key = door, type = "door.opened")]
struct Opened {
    door: DoorId,
}

/// The same command as three versions of a program know it.
macro_rules! version {
    ($module:ident { guest: { $($guest:tt)* } command: { $($command:tt)* } }) => {
        mod $module {
            use super::*;

            #[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
            #[avro(name = "door.Guest")]
            pub(super) struct Guest {
                pub(super) name: String,
                $($guest)*
            }

            #[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
            #[avro(name = "door.Open")]
            #[message(key = door)]
            pub(super) struct Open {
                pub(super) door: DoorId,
                pub(super) guests: Vec<Guest>,
                pub(super) last: Option<Guest>,
                $($command)*
                pub(super) times: i32,
            }

            #[handler]
            fn $module(command: Open) -> Opened {
                Opened { door: command.door }
            }
        }
    };
}
version!(first { guest: {} command: {} });
version!(second {
    guest: {
        #[avro(since = "0.2.0")]
        pub(super) age: Option<i32>,
    }
    command: {
        #[avro(since = "0.2.0")]
        pub(super) notes: Vec<String>,
    }
});
version!(third {
    guest: {
        #[avro(since = "0.2.0")]
        pub(super) age: Option<i32>,
    }
    command: {
        #[avro(since = "0.2.0")]
        pub(super) notes: Vec<String>,
        #[avro(since = "0.3.0")]
        pub(super) keeper: Option<Guest>,
    }
});
version!(unmarked {
    guest: {}
    command: {
        pub(super) notes: Vec<String>,
    }
});

const DOOR: DoorId = DoorId(Uuid::from_u128(5));

fn task(version: &str) -> (Task, u32) {
    let handlers = HANDLERS.iter().filter(|handler| handler.name == version).collect::<Vec<_>>();
    let of = |info: &&bellhop_core::message::MessageInfo| {
        handlers.iter().any(|handler| (handler.message.type_id)() == (info.type_id)())
    };
    let requests: Vec<_> = REQUESTS.iter().filter(of).copied().collect();
    let topology =
        Arc::new(Topology::build(handlers, vec![], EVENTS.iter().collect(), &requests).unwrap());
    let mut id = 0;
    let wire = Arc::new(Wire::new(&topology, |_| {
        id += 1;
        id
    }));
    let schema_id = wire.id_of("door.Open").unwrap();
    let config = Config {
        partition: 0,
        partitions: 1,
        log_id: LogId(Uuid::from_u128(77 << 100)),
        commands_topic: "bellhop.commands".into(),
        version: version.into(),
        rules: Rules::default(),
        reply_topics: Vec::new(),
        headers: Written::default(),
    };
    (Task::new(config, topology, wire), schema_id)
}

fn send<C: Message>(task: &mut (Task, u32), offset: u64, command: &C) -> Outcome {
    let (task, schema_id) = task;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    command.key().write(&mut key);
    frame(*schema_id, &mut value);
    Meta::of_command(Uuid::from_u128(1), "k", Timestamp(7)).encode(&mut value);
    command.encode(&mut value);
    let (key, value) = (Some(key.as_slice()), Some(value.as_slice()));
    let record = Record { offset, timestamp: Timestamp(7), key, value, headers: &[] };
    task.process(&record).unwrap().unwrap()
}

/// Decides a command in one version of the program, folds its events in another, and sends what
/// that one takes for the same command.
fn again<A: Message, B: Message>(decided: (&str, &A), sent: (&str, &B)) -> Outcome {
    let mut before = task(decided.0);
    assert!(matches!(send(&mut before, 0, decided.1), Outcome::Decided { code: 0, .. }));
    let mut after = task(sent.0);
    for event in before.0.output().events.iter() {
        after.0.fold(event.key, event.value).expect("an event that both versions know");
    }
    send(&mut after, 1, sent.1)
}

fn guest(age: Option<i32>) -> second::Guest {
    second::Guest { name: "A".into(), age }
}

fn in_first() -> first::Open {
    let guest = first::Guest { name: "A".into() };
    first::Open { door: DOOR, guests: vec![guest.clone()], last: Some(guest), times: 3 }
}

fn in_second() -> second::Open {
    let (guests, last) = (vec![guest(None)], Some(guest(None)));
    second::Open { door: DOOR, guests, last, notes: vec![], times: 3 }
}

fn in_third() -> third::Open {
    let guest = third::Guest { name: "A".into(), age: None };
    let (guests, last) = (vec![guest.clone()], Some(guest));
    third::Open { door: DOOR, guests, last, notes: vec![], keeper: None, times: 3 }
}

#[test]
fn a_repeat_after_the_type_has_grown_is_a_repeat() {
    let versions: [Outcome; 4] = [
        again(("first", &in_first()), ("second", &in_second())),
        again(("first", &in_first()), ("third", &in_third())),
        again(("second", &in_second()), ("third", &in_third())),
        again(("third", &in_third()), ("first", &in_first())),
    ];
    for outcome in versions {
        assert!(matches!(outcome, Outcome::Repeated { code: 0, .. }), "{outcome:?}");
    }
    // So that it is the marks that do it.
    let guests = vec![unmarked::Guest { name: "A".into() }];
    let last = guests.first().cloned();
    let unmarked = unmarked::Open { door: DOOR, guests, last, notes: vec![], times: 3 };
    let outcome = again(("first", &in_first()), ("unmarked", &unmarked));
    assert!(matches!(outcome, Outcome::Conflict { .. }), "{outcome:?}");
}

#[test]
fn a_field_that_was_added_and_is_used_is_another_payload() {
    let in_second = in_second();
    let others = [
        second::Open { notes: vec!["late".into()], ..in_second.clone() },
        second::Open { notes: vec![String::new()], ..in_second.clone() },
        second::Open { guests: vec![guest(Some(0))], ..in_second.clone() },
        second::Open { last: Some(guest(Some(9))), ..in_second.clone() },
        second::Open { last: None, ..in_second.clone() },
    ];
    for other in &others {
        let outcome = again(("first", &in_first()), ("second", other));
        assert!(matches!(outcome, Outcome::Conflict { .. }), "{other:?}: {outcome:?}");
        let outcome = again(("second", other), ("second", other));
        assert!(matches!(outcome, Outcome::Repeated { .. }), "{other:?}: {outcome:?}");
    }
    let keeper = Some(third::Guest { name: String::new(), age: None });
    let kept = third::Open { keeper, ..in_third() };
    let outcome = again(("third", &in_third()), ("third", &kept));
    assert!(matches!(outcome, Outcome::Conflict { .. }), "{outcome:?}");
}

#[test]
fn an_event_whose_payload_was_hashed_in_a_newer_way_is_refused() {
    let mut before = task("first");
    send(&mut before, 0, &in_first());
    let event = before.0.output().events.get(0).unwrap();
    let (key, mut value) = (event.key.to_vec(), event.value.to_vec());
    let mut reader = bellhop_core::avro::Reader::new(&event.value[5..]);
    let mut meta = Meta::decode(&mut reader).unwrap();
    let source = meta.source.as_mut().unwrap();
    source.payload_hash ^= 3 << 56;
    value.truncate(5);
    meta.encode(&mut value);
    value.extend_from_slice(reader.rest());
    let refused = task("first").0.fold(&key, &value);
    assert!(matches!(refused, Err(FoldError::NewerHash { .. })), "{refused:?}");
}

#[test]
fn a_type_that_has_not_grown_pays_nothing_and_one_that_has_says_so() {
    const { assert!(!first::Open::GROWN && second::Open::GROWN && third::Guest::GROWN) };
    assert!(schema_of::<second::Open>().contains(r#"{"name":"notes","since":"0.2.0","type":"#));
}

fn any_second() -> impl Strategy<Value = second::Open> {
    let guest = ("[ab]{0,2}", prop::option::of(0..3_i32))
        .prop_map(|(name, age)| second::Guest { name, age });
    let notes = prop::collection::vec("[ab]{0,2}".prop_map(String::from), 0..3);
    (prop::collection::vec(guest.clone(), 0..3), prop::option::of(guest), notes, 0..3_i32).prop_map(
        |(guests, last, notes, times)| second::Open { door: DOOR, guests, last, notes, times },
    )
}

proptest! {
    /// Both forms together tell values apart as the encoding does.
    #[test]
    fn two_values_have_one_form_only_if_they_are_equal(one in any_second(), other in any_second()) {
        let form = |value: &second::Open| {
            let mut form = FirstForm::default();
            value.first_form(&mut form);
            (form.hash(0), form.first)
        };
        prop_assert_eq!(form(&one) == form(&other), one == other);
    }
}
