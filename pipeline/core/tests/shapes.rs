//! A snapshot is read by a program whose stores have the same shape, and by no other.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that fails says where")]

use std::fmt;
use std::sync::Arc;

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter};
use bellhop_core::headers::Written;
use bellhop_core::message::{LogId, MessageKey};
use bellhop_core::prelude::*;
use bellhop_core::registry::{EVENTS, HANDLERS, PROCESSORS, REQUESTS};
use bellhop_core::rules::Rules;
use bellhop_core::task::{Config, SnapshotError, Task};
use bellhop_core::topology::{Topology, Wire};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro)]
struct LampId(Uuid);

impl fmt::Display for LampId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl MessageKey for LampId {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }
}

impl StoreKey for LampId {
    type Partition = Self;
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Command)]
#[avro(name = "lamp.Switch")]
#[message(key = lamp)]
struct Switch {
    lamp: LampId,
}

#[derive(Debug, Clone, PartialEq, Eq, Avro, Event)]
#[avro(name = "lamp.Switched")]
#[message(key = lamp, type = "lamp.switched")]
struct Switched {
    lamp: LampId,
}

#[handler]
fn switch(command: Switch) -> Switched {
    Switched { lamp: command.lamp }
}

/// The same store in four versions of a program.
macro_rules! version {
    ($module:ident $processor:ident { $($field:ident: $ty:ty),* }) => {
        mod $module {
            use super::*;

            #[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
            #[avro(name = "lamp.Lamp")]
            pub(super) struct Lamp {
                $(pub(super) $field: $ty),*
            }

            impl State for Lamp {
                const NAME: &'static str = "lamp";
                type Key = LampId;
            }

            #[processor]
            fn $processor(event: &Switched, lamps: &mut Store<Lamp>) {
                lamps.entry(event.lamp, Lamp::default);
            }
        }
    };
}
version!(first count { switched: i64 });
version!(a_field_more count_more { switched: i64, colour: Option<String> });
version!(another_type count_longer { switched: i32 });
version!(packed count_packed { switched: Packed });

/// Bytes that hold a [`Switched`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Packed(Vec<u8>);

impl Avro for Packed {
    fn encode(&self, out: &mut Vec<u8>) {
        bellhop_core::avro::write_bytes(&self.0, out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.bytes().map(|bytes| Self(bytes.to_vec()))
    }
    fn schema(out: &mut SchemaWriter) {
        out.packed::<Switched>();
    }
}

/// One more that writes the store: what it made of the events of the past is not in a snapshot.
#[processor]
fn polish(event: &Switched, lamps: &mut Store<first::Lamp>) {
    lamps.entry(event.lamp, first::Lamp::default).switched += 1;
}

fn task(processors: &[&str]) -> Task {
    let chosen = PROCESSORS.iter().filter(|it| processors.contains(&it.name)).collect();
    let (handlers, events) = (HANDLERS.iter().collect(), EVENTS.iter().collect());
    let topology = Arc::new(Topology::build(handlers, chosen, events, &REQUESTS).unwrap());
    let mut id = 0;
    let wire = Arc::new(Wire::new(&topology, |_| {
        id += 1;
        id
    }));
    let config = Config {
        partition: 0,
        partitions: 1,
        log_id: LogId(Uuid::from_u128(77 << 100)),
        commands_topic: "bellhop.commands".into(),
        version: "1".into(),
        rules: Rules::default(),
        reply_topics: Vec::new(),
        headers: Written::default(),
    };
    Task::new(config, topology, wire)
}

#[test]
fn a_snapshot_is_of_one_shape() {
    let mut snapshot = Vec::new();
    task(&["count"]).snapshot(&mut snapshot);
    task(&["count"]).restore(&snapshot).expect("the same program");
    let others: [&[&str]; 4] =
        [&["count_more"], &["count_longer"], &["count_packed"], &["count", "polish"]];
    for other in others {
        let mut other_snapshot = Vec::new();
        task(other).snapshot(&mut other_snapshot);
        for (program, snapshot) in [(other, &snapshot), (&["count"][..], &other_snapshot)] {
            let refused = task(program).restore(snapshot);
            let Err(SnapshotError::Mismatch { found, wanted }) = refused else {
                panic!("{program:?} of {other:?}: {refused:?}")
            };
            assert!(found.starts_with("the store lamp in the shape "), "{found}");
            assert_ne!(found, wanted);
        }
    }
}

#[test]
fn a_shape_names_what_is_packed() {
    let mut shape = SchemaWriter::default();
    Packed::schema(&mut shape);
    let shape = shape.into_text();
    assert!(shape.contains("lamp.Switched") && shape.contains("\"name\":\"lamp\""), "{shape}");
}
