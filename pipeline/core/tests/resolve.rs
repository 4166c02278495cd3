//! Parked records are released or skipped, once, in order like any decision.

#![allow(clippy::expect_used, reason = "a test that fails says where")]

mod toy;

use std::sync::Arc;

use bellhop_core::avro::{Avro as _, Bytes, Reader};
use bellhop_core::engine::{
    EngineRecord as _, ParkedHeader, ParkedKind, ParkedResolved, Release, Resolution, ResolveParked,
};
use bellhop_core::headers::Written;
use bellhop_core::message::{LogId, Message as _, Meta, Timestamp};
use bellhop_core::outcome::Outcome;
use bellhop_core::partition::key_in;
use bellhop_core::record::{Record, Records, frame, unframe};
use bellhop_core::rules::Rules;
use bellhop_core::task::{Config, Task, WHY_BYTES_MAX};
use bellhop_core::topology::{Topology, Wire};
use toy::*;
use uuid::Uuid;

const NOON: Timestamp = Timestamp(1_700_000_000_000_000);

struct World {
    topology: Arc<Topology>,
    wire: Arc<Wire>,
    task: Task,
    offset: u64,
}

impl World {
    /// A partition whose first record is parked.
    fn new() -> Self {
        let topology = Arc::new(Topology::discover().expect("a topology"));
        let mut id = 0;
        let wire = Arc::new(Wire::new(&topology, |_| {
            id += 1;
            id
        }));
        let config = Config {
            partition: 3,
            partitions: 8,
            log_id: LogId(Uuid::from_u128(77 << 100)),
            commands_topic: "bellhop.commands".into(),
            version: "1".into(),
            rules: Rules { idempotency_hours: 1, value_bytes_max: 1 << 16, ..Rules::default() },
            reply_topics: Vec::new(),
            headers: Written::default(),
        };
        let task = Task::new(config, topology.clone(), wire.clone());
        let mut world = Self { topology, wire, task, offset: 0 };
        assert_eq!(world.send(b"garbage"), Outcome::Parked(ParkedKind::Undecodable));
        world.task.output().clear();
        world
    }

    fn anew(&self) -> Task {
        Task::new(self.task.config().clone(), self.topology.clone(), self.wire.clone())
    }

    fn send(&mut self, value: &[u8]) -> Outcome {
        let key = key_in(3, 8);
        let record = Record {
            offset: self.offset,
            timestamp: NOON,
            key: Some(key.as_bytes()),
            value: Some(value),
            headers: &[],
        };
        self.offset += 1;
        self.task.process(&record).expect("a known schema").expect("a new offset")
    }

    fn resolve(&mut self, asked: ResolveParked) -> Outcome {
        let mut value = Vec::new();
        frame(self.wire.id_of(ResolveParked::NAME).expect("an id"), &mut value);
        Meta::of_command(Uuid::from_u128(9), "parked/3@0", NOON).encode(&mut value);
        asked.encode(&mut value);
        self.send(&value)
    }

    /// A command as it travels, to be released.
    fn mended(&self) -> Release {
        let mut value = Vec::new();
        frame(self.wire.id_of(PutIn::NAME).expect("an id"), &mut value);
        Meta::of_command(Uuid::from_u128(1), "mended", NOON).encode(&mut value);
        PutIn { box_id: BoxId(Uuid::nil()), coins: 3 }.encode(&mut value);
        let header = |name: &str| ParkedHeader { name: name.into(), value: Bytes(b"x".to_vec()) };
        let headers = vec![header("reply-to"), header("bellhop-released-from")];
        Release { key: Bytes(b"box".to_vec()), value: Bytes(value), headers, edited: true }
    }

    /// What the only record of an output says.
    fn said(&self, records: &Records) -> ParkedResolved {
        assert_eq!(records.len(), 1);
        let value = records.get(0).expect("a record").value.to_vec();
        let (id, datum) = unframe(&value).expect("a frame");
        assert_eq!(self.wire.name_of(id), Some(ParkedResolved::NAME));
        let mut reader = Reader::new(datum);
        let meta = Meta::decode(&mut reader).expect("meta");
        let source = meta.source.expect("a source");
        assert_eq!((source.partition, source.offset), (3, 1));
        assert_eq!(source.idempotency_key.as_deref(), Some("parked/3@0"));
        ParkedResolved::decode(&mut reader).expect("the event")
    }
}

fn asked(offset: i64, why: &str, release: Option<Release>) -> ResolveParked {
    let by = "night desk".to_owned();
    ResolveParked { partition: 3, offset, by, why: why.to_owned(), release }
}

#[test]
fn a_release_is_an_event_and_a_command_at_a_new_position_and_a_second_one_changes_nothing() {
    let mut world = World::new();
    let release = world.mended();
    let outcome = world.resolve(asked(0, "mended by hand", Some(release.clone())));
    let Outcome::Decided { code: 0, first_event } = outcome else { panic!("{outcome:?}") };
    let output = std::mem::take(world.task.output());
    let event = world.said(&output.events);
    assert_eq!((event.offset, event.resolution), (0, Resolution::Edited));
    assert_eq!((event.by.as_str(), event.why.as_str()), ("night desk", "mended by hand"));
    assert_eq!(world.said(&output.parked), event, "readers of the parked topic know it too");
    assert_eq!(output.commands.len(), 1);
    let command = output.commands.get(0).expect("a command");
    assert_eq!((command.key, command.value), (&b"box"[..], release.value.0.as_slice()));
    let headers: Vec<_> = command.headers.iter().map(|it| (it.name, it.value)).collect();
    assert_eq!(headers, [("reply-to", &b"x"[..]), ("bellhop-released-from", b"3@0")]);

    for release in [Some(release), None] {
        let again = world.resolve(asked(0, "once more", release));
        assert_eq!(again, Outcome::Repeated { code: 0, first_event });
        assert!(world.task.output().is_empty());
    }
}

#[test]
fn a_skip_is_an_event_and_no_command() {
    let mut world = World::new();
    world.resolve(asked(0, "a test of the producer's", None));
    let output = std::mem::take(world.task.output());
    assert_eq!(world.said(&output.events).resolution, Resolution::Skipped);
    assert!(output.commands.is_empty());
}

#[test]
fn what_does_not_say_which_record_who_and_why_is_parked_itself() {
    let long = "x".repeat(WHY_BYTES_MAX + 1);
    for (offset, why) in [(-1, "x"), (1, "x"), (99, "x"), (0, ""), (0, long.as_str())] {
        let mut world = World::new();
        let outcome = world.resolve(asked(offset, why, None));
        assert_eq!(outcome, Outcome::Parked(ParkedKind::Undecodable), "{offset} {why}");
        assert!(world.task.output().events.is_empty());
    }
    let elsewhere = ResolveParked { partition: 4, ..asked(0, "x", None) };
    assert_eq!(World::new().resolve(elsewhere), Outcome::Parked(ParkedKind::WrongKey));
}

#[test]
fn the_fold_of_the_events_and_a_snapshot_know_what_is_resolved() {
    let mut world = World::new();
    assert!(!world.task.is_resolved(0));
    world.resolve(asked(0, "a test", None));
    assert!(world.task.is_resolved(0));
    let output = std::mem::take(world.task.output());
    let live = &world.task;

    let mut folded = world.anew();
    for event in output.events.iter() {
        folded.fold(event.key, event.value).expect("our own event");
    }
    folded.resume(live.progress());
    assert_eq!(live.first_difference(&folded), None);

    let mut bytes = Vec::new();
    live.snapshot(&mut bytes);
    let mut restored = world.anew();
    restored.restore(&bytes).expect("our own snapshot");
    assert_eq!(live.first_difference(&restored), None);

    let mut other = world.anew();
    other.resume(live.progress());
    let difference = live.first_difference(&other).expect("a difference");
    assert!(difference.contains("resolved parked records: 1 against 0"), "{difference}");
}
