//! State is a fold: events alone rebuild stores, timers and remembered keys, under any batching.

#![allow(clippy::expect_used, reason = "a test that fails says where")]

mod toy;

use std::sync::Arc;

use bellhop_core::avro::Avro;
use bellhop_core::engine::{EngineRecord, ParkedKind, Tick};
use bellhop_core::headers::Written;
use bellhop_core::message::{LogId, Meta, Timestamp};
use bellhop_core::message::{Message, MessageKey};
use bellhop_core::outcome::Outcome;
use bellhop_core::record::{Record, Records, frame};
use bellhop_core::rules::{ChangeRules, Rules};
use bellhop_core::task::{Config, Progress, Task, UnknownSchema};
use bellhop_core::topology::{Topology, Wire};
use proptest::prelude::*;
use toy::*;
use uuid::Uuid;

const RULES: Rules = Rules { idempotency_hours: 1, value_bytes_max: 1 << 16, retention_days: 400 };

struct World {
    topology: Arc<Topology>,
    wire: Arc<Wire>,
}

impl World {
    fn new() -> Self {
        let topology = Arc::new(Topology::discover().expect("a topology"));
        let mut id = 0;
        let wire = Arc::new(Wire::new(&topology, |_| {
            id += 1;
            id
        }));
        Self { topology, wire }
    }

    fn task(&self) -> Task {
        let config = Config {
            partition: 0,
            partitions: 1,
            log_id: LogId(Uuid::from_u128(77 << 100)),
            commands_topic: "bellhop.commands".into(),
            version: "1".into(),
            rules: RULES,
            reply_topics: Vec::new(),
            headers: Written::default(),
        };
        Task::new(config, Arc::clone(&self.topology), Arc::clone(&self.wire))
    }

    fn change_rules(&self, idempotency_hours: u32) -> (Vec<u8>, Vec<u8>) {
        let mut value = Vec::new();
        frame(self.wire.id_of(ChangeRules::NAME).expect("an id"), &mut value);
        Meta::of_command(Uuid::from_u128(6), "rules", Timestamp(0)).encode(&mut value);
        ChangeRules { partition: 0, rules: Rules { idempotency_hours, ..RULES } }
            .encode(&mut value);
        (Vec::new(), value)
    }

    fn value<C: Message>(&self, key: &str, command: &C) -> (Vec<u8>, Vec<u8>) {
        let (mut record_key, mut value) = (Vec::new(), Vec::new());
        command.key().write(&mut record_key);
        frame(self.wire.id_of(C::NAME).expect("an id"), &mut value);
        Meta::of_command(Uuid::from_u128(5), key, Timestamp(0)).encode(&mut value);
        command.encode(&mut value);
        (record_key, value)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(i64),
    Take(i64),
    Lend(i64, i64),
    Panic,
    Garbage,
    Silent,
    /// Remembers keys for so many hours from here on.
    Rules(u32),
}

fn steps() -> impl Strategy<Value = Vec<(Step, u8, i64)>> {
    let step = prop_oneof![
        (0..9_i64).prop_map(Step::Put),
        (0..9_i64).prop_map(Step::Take),
        (1..9_i64, 0..4_000_000_000_i64).prop_map(|(coins, due)| Step::Lend(coins, due)),
        Just(Step::Panic),
        Just(Step::Garbage),
        Just(Step::Silent),
        (0..3_u32).prop_map(Step::Rules),
    ];
    // The key is one of a few, so that repeats and conflicts happen; time moves by up to an hour.
    prop::collection::vec((step, 0..20_u8, -10_i64..3_600_000_000), 1..60)
}

fn run(world: &World, steps: &[(Step, u8, i64)], batches: &[usize]) -> (Task, Records) {
    let mut task = world.task();
    let mut events = Records::default();
    let mut now = 0;
    let mut batches = batches.iter().copied().cycle();
    let mut left = batches.next().unwrap_or(1);
    for (offset, (step, key, pause)) in steps.iter().enumerate() {
        now += pause;
        let key = format!("k{key}");
        let (record_key, value) = match step {
            Step::Put(coins) => world.value(&key, &PutIn { box_id: a_box(), coins: *coins }),
            Step::Take(coins) => world.value(&key, &TakeOut { box_id: a_box(), coins: *coins }),
            Step::Lend(coins, due) => {
                let due = Timestamp(now + due);
                world.value(&key, &Lend { box_id: a_box(), coins: *coins, due })
            }
            Step::Panic => world.value(&key, &Poke { box_id: a_box(), how: -1 }),
            Step::Garbage => (b"x".to_vec(), b"garbage".to_vec()),
            Step::Rules(idempotency_hours) => world.change_rules(*idempotency_hours),
            Step::Silent => world.value(&key, &PutIn { box_id: a_box(), coins: 0 }),
        };
        let record = Record {
            offset: offset as u64,
            timestamp: Timestamp(now),
            key: Some(&record_key),
            value: Some(&value),
            headers: &[],
        };
        task.process(&record).expect("known schemas");
        left -= 1;
        if left == 0 {
            collect(&mut task, &mut events);
            left = batches.next().unwrap_or(1);
        }
    }
    collect(&mut task, &mut events);
    (task, events)
}

fn collect(task: &mut Task, events: &mut Records) {
    for event in task.output().events.iter() {
        events.push(
            event.timestamp,
            |out| out.extend_from_slice(event.key),
            |out| out.extend_from_slice(event.value),
        );
    }
    task.output().clear();
}

proptest! {
    #[test]
    fn the_fold_of_the_events_is_the_state(steps in steps(), batch in 1..9_usize) {
        std::panic::set_hook(Box::new(|_| {}));
        let world = World::new();
        let (live, events) = run(&world, &steps, &[batch]);
        let mut folded = world.task();
        for event in events.iter() {
            folded.fold(event.key, event.value).expect("our own events");
        }
        folded.resume(live.progress());
        prop_assert_eq!(live.first_difference(&folded), None);
        prop_assert_eq!(live.history().events, events.len() as u64);
        // One event less is another history, whatever the state.
        if let Some(left_out) = events.len().checked_sub(1) {
            let mut holed = world.task();
            for event in events.iter().take(left_out) {
                holed.fold(event.key, event.value).expect("our own events");
            }
            prop_assert_ne!(live.history(), holed.history());
        }
    }

    #[test]
    fn batching_changes_nothing(steps in steps(), batches in prop::collection::vec(1..7_usize, 1..9)) {
        std::panic::set_hook(Box::new(|_| {}));
        let world = World::new();
        let (one, straight) = run(&world, &steps, &[1]);
        let (other, batched) = run(&world, &steps, &batches);
        prop_assert_eq!(straight, batched);
        prop_assert_eq!(one.first_difference(&other), None);
    }

    #[test]
    fn a_snapshot_and_the_tail_give_the_state(steps in steps(), cut in 0..60_usize) {
        std::panic::set_hook(Box::new(|_| {}));
        let world = World::new();
        let (live, events) = run(&world, &steps, &[1]);
        let cut = cut.min(steps.len());
        let (at_cut, _) = run(&world, &steps[..cut], &[1]);
        let mut snapshot = Vec::new();
        at_cut.snapshot(&mut snapshot);
        let mut restored = world.task();
        restored.restore(&snapshot).expect("our own snapshot");
        prop_assert_eq!(at_cut.first_difference(&restored), None);
        // The events offset of a snapshot is a lower bound: all events again, from the first.
        for event in events.iter() {
            restored.fold(event.key, event.value).expect("our own events");
        }
        restored.resume(live.progress());
        prop_assert_eq!(live.first_difference(&restored), None);
    }

    /// As an at-least-once log has it: a batch whose offset was not committed is decided again.
    #[test]
    fn events_that_come_again_change_nothing(steps in steps(), back in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        std::panic::set_hook(Box::new(|_| {}));
        let world = World::new();
        let (live, events) = run(&world, &steps, &[1]);
        let events: Vec<_> = events.iter().collect();
        let at = at.index(events.len() + 1);
        let back = back.index(at + 1);
        let mut folded = world.task();
        for event in events[..at].iter().chain(&events[back..]) {
            folded.fold(event.key, event.value).expect("our own events");
        }
        folded.resume(live.progress());
        prop_assert_eq!(live.first_difference(&folded), None);
    }

    #[test]
    fn what_is_not_folded_is_decided_again_to_the_same_events(steps in steps(), cut in 0..60_usize) {
        std::panic::set_hook(Box::new(|_| {}));
        let world = World::new();
        let (live, events) = run(&world, &steps, &[1]);
        let cut = cut.min(steps.len());
        let (at_cut, before) = run(&world, &steps[..cut], &[1]);
        let mut restored = world.task();
        restored.fold_only_before(cut as u64);
        for event in events.iter() {
            restored.fold(event.key, event.value).expect("our own events");
        }
        restored.resume(at_cut.progress());
        prop_assert_eq!(at_cut.first_difference(&restored), None);
        prop_assert_eq!(live.progress().next_offset, steps.len() as u64);
        prop_assert!(events.iter().zip(before.iter()).all(|(one, other)| one == other));
    }

    #[test]
    fn a_damaged_snapshot_is_an_error_and_never_a_panic(steps in steps(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        std::panic::set_hook(Box::new(|_| {}));
        let world = World::new();
        let (live, _) = run(&world, &steps, &[1]);
        let mut snapshot = Vec::new();
        live.snapshot(&mut snapshot);
        let at = at.index(snapshot.len());
        snapshot[at] = byte;
        let _ = world.task().restore(&snapshot);
        let _ = world.task().restore(&snapshot[..at]);
    }
}

#[test]
fn a_snapshot_of_another_log_is_refused() {
    let world = World::new();
    let (task, _) = run(&world, &[(Step::Put(1), 0, 1)], &[1]);
    let mut snapshot = Vec::new();
    task.snapshot(&mut snapshot);
    snapshot[0] ^= 1;
    let error = world.task().restore(&snapshot).expect_err("another log");
    assert!(error.to_string().contains("wanted partition 0 of 1"), "{error}");
}

#[test]
fn a_foreign_genesis_is_refused() {
    let world = World::new();
    let mut task = world.task();
    task.write_genesis();
    let mut events = Records::default();
    collect(&mut task, &mut events);
    let genesis = events.get(0).expect("a genesis");
    world.task().fold(genesis.key, genesis.value).expect("its own genesis");
    let mut foreign = genesis.value.to_vec();
    // Behind it stand partitions, key rule, format and rules.
    let last_of_log_id = foreign.len() - 14;
    foreign[last_of_log_id - 3] ^= 1;
    let error = world.task().fold(genesis.key, &foreign).expect_err("a foreign genesis");
    assert!(error.to_string().contains("another log"), "{error}");
}

#[test]
fn time_that_passed_without_events_is_in_the_committed_progress() {
    let world = World::new();
    let mut task = world.task();
    let to = |next_offset, time| Progress {
        next_offset,
        stream_time: Timestamp(time),
        history: Some(task.history()),
    };
    let (further, back) = (to(12, 99), to(3, 5));
    task.resume(further);
    assert_eq!(task.progress(), further);
    task.resume(back);
    assert_eq!(task.progress(), further);
}

/// The configuration of whoever folds says nothing: the genesis does.
#[test]
fn a_partition_is_decided_by_the_rules_of_its_genesis() {
    let world = World::new();
    let mut first = world.task();
    first.write_genesis();
    let genesis = first.output().events.get(0).expect("a genesis").value.to_vec();
    let other = Rules { idempotency_hours: 99, value_bytes_max: 9_999, retention_days: 99 };
    let config = Config { rules: other, ..world.task().config().clone() };
    let mut task = Task::new(config, Arc::clone(&world.topology), Arc::clone(&world.wire));
    assert_eq!(task.rules(), other);
    task.fold(&[], &genesis).expect("its genesis");
    assert_eq!(task.rules(), RULES);
}

#[test]
fn rules_that_cannot_be_followed_are_parked() {
    let world = World::new();
    let mut task = world.task();
    let send = |task: &mut Task, offset, partition, value_bytes_max| {
        let mut value = Vec::new();
        frame(world.wire.id_of(ChangeRules::NAME).expect("an id"), &mut value);
        Meta::of_command(Uuid::from_u128(6), "rules", Timestamp(0)).encode(&mut value);
        let rules = Rules { idempotency_hours: 1, value_bytes_max, ..RULES };
        ChangeRules { partition, rules }.encode(&mut value);
        let value = Some(value.as_slice());
        let record = Record { offset, timestamp: Timestamp(0), key: None, value, headers: &[] };
        task.process(&record).expect("a known schema").expect("an outcome")
    };
    let parked = |outcome| matches!(outcome, Outcome::Parked(ParkedKind::Undecodable));
    assert!(parked(send(&mut task, 0, 0, 7)));
    assert_eq!(send(&mut task, 1, 1, 4_096), Outcome::Parked(ParkedKind::WrongKey));
    assert_eq!(task.rules(), RULES);
    assert!(matches!(send(&mut task, 2, 0, 4_096), Outcome::Decided { code: 0, .. }));
    assert_eq!(task.rules().value_bytes_max, 4_096);
}

#[test]
fn a_key_of_another_partition_is_parked_before_its_schema_is_asked_for() {
    let world = World::new();
    let config = Config { partition: 0, partitions: 1 << 20, ..world.task().config().clone() };
    let mut task = Task::new(config, Arc::clone(&world.topology), Arc::clone(&world.wire));
    let mut send = |offset, key, schema_id| {
        let mut value = Vec::new();
        frame(schema_id, &mut value);
        let value = Some(value.as_slice());
        task.process(&Record { offset, timestamp: Timestamp(0), key, value, headers: &[] })
    };
    let elsewhere = Some(&b"x"[..]);
    let wrong = Ok(Some(Outcome::Parked(ParkedKind::WrongKey)));
    assert_eq!(send(0, elsewhere, 4_000_000), wrong);
    // Whether or not the schema is known, and of a command: the same commands give the same.
    for (offset, name) in [(1, Tick::NAME), (2, ChangeRules::NAME)] {
        let schema_id = world.wire.id_of(name).expect("an id");
        assert_eq!(send(offset, elsewhere, schema_id), wrong);
    }
    // A tick has no key.
    assert_eq!(send(3, None, 4_000_000), Err(UnknownSchema(4_000_000)));
}
