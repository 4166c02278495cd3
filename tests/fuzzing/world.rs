//! A house with a history: its commands, its events, its state.

use std::sync::Arc;

use bellhop_core::headers::Written;
use bellhop_core::message::{HOUR_US, LogId, Timestamp};
use bellhop_core::record::{Header, Record};
use bellhop_core::rules::Rules;
use bellhop_core::task::{Config, Task};
use bellhop_core::topology::{Topology, Wire};
use bellhop_handlers as _;
use bellhop_runtime::log::simulated::Random;
use bellhop_tests::sim::commands::{Desk, Draft};
use uuid::Uuid;

/// Commands that the house has decided.
const COMMANDS: usize = 300;
/// Largest value that is decided.
const RULES: Rules =
    Rules { idempotency_hours: 24, value_bytes_max: 32 * 1024, retention_days: 30 };

/// One partition, and what led to it.
pub(crate) struct World {
    pub(crate) topology: Arc<Topology>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) commands: Vec<Draft>,
    /// Keys and values of events.
    pub(crate) events: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) snapshot: Vec<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        let topology = Arc::new(Topology::discover().expect("a topology"));
        let mut id = 0;
        let wire = Arc::new(Wire::new(&topology, |_| {
            id += 1;
            id
        }));
        let mut world =
            Self { topology, wire, commands: Vec::new(), events: Vec::new(), snapshot: Vec::new() };
        let mut task = world.empty();
        let mut desk = Desk::new(Random::new(7), 3, 1, RULES);
        for number in 0..COMMANDS {
            let draft = desk.next(&world.wire, time(number));
            let (key, value) = (draft.key.as_deref(), draft.value.as_deref());
            world.decide(&mut task, number, key, value, &[]);
            for event in task.output().events.iter() {
                world.events.push((event.key.to_vec(), event.value.to_vec()));
            }
            task.output().clear();
            world.commands.push(draft);
        }
        task.snapshot(&mut world.snapshot);
        world
    }

    /// A task without a history.
    pub(crate) fn empty(&self) -> Task {
        let config = Config {
            partition: 0,
            partitions: 1,
            log_id: LogId(Uuid::from_u128(0xf022)),
            commands_topic: "bellhop.commands".into(),
            version: "fuzzed".into(),
            rules: RULES,
            reply_topics: vec!["replies".into()],
            headers: Written { cloudevents: true, traceparent: true },
        };
        Task::new(config, Arc::clone(&self.topology), Arc::clone(&self.wire))
    }

    /// A task with the house's history.
    pub(crate) fn task(&self) -> Task {
        let mut task = self.empty();
        task.restore(&self.snapshot).expect("its own snapshot");
        task
    }

    /// Gives a record to a task; one of an unknown schema is parked, as a worker does.
    pub(crate) fn decide(
        &self,
        task: &mut Task,
        offset: usize,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        let offset = offset as u64;
        let record = Record { offset, timestamp: time(offset as usize), key, value, headers };
        if let Err(unknown) = task.process(&record) {
            let kind = bellhop_core::engine::ParkedKind::UnknownType;
            task.park(&record, kind, format!("schema id {}", unknown.0));
        }
    }
}

/// When a command was sent: 2025-03-10 and a minute for each.
fn time(number: usize) -> Timestamp {
    Timestamp(20_157 * 24 * HOUR_US + number as i64 * 60_000_000)
}
