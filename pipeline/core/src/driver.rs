//! The topology driver: a real task on no log at all, for tests of handlers.
//!
//! Typed commands go in, typed events come out; the clock is set by hand.

use std::sync::Arc;

use compact_str::CompactString;
use uuid::Uuid;

use crate::avro::{Avro, Reader};
use crate::engine::{EngineRecord as _, Parked};
use crate::headers::Written;
use crate::message::{LogId, Message, MessageKey, Meta, Timestamp};
use crate::outcome::{Answer, Outcome, Output};
use crate::record::{Header, Record, Records, frame, unframe};
use crate::rules::Rules;
use crate::store::{State, Store};
use crate::task::{Config, Task};
use crate::topology::{Topology, Wire};

/// One partition, driven by hand.
pub struct Driver {
    task: Task,
    wire: Arc<Wire>,
    now: Timestamp,
    offset: u64,
}

/// What a command led to.
#[derive(Debug)]
pub struct Sent {
    /// What became of it.
    pub outcome: Outcome,
    /// Its events in order.
    pub events: Vec<SentMessage>,
    /// Commands that it cascaded to.
    pub commands: Vec<SentMessage>,
    /// What was parked.
    pub parked: Option<Parked>,
    /// Replies to whoever asked for one.
    pub replies: Vec<Answer>,
}

/// One message.
#[derive(Debug, Clone)]
pub struct SentMessage {
    /// Avro name.
    pub name: String,
    /// Its metadata.
    pub meta: Meta,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
    datum: Vec<u8>,
}

impl SentMessage {
    /// The message as its type; `None` when it is another type's.
    #[must_use]
    pub fn body<E: Message>(&self) -> Option<E> {
        (self.name == E::NAME).then(|| E::decode(&mut Reader::new(&self.datum)).ok()).flatten()
    }

    /// The message without its metadata, as Avro bytes.
    #[must_use]
    pub fn datum(&self) -> &[u8] {
        &self.datum
    }
}

impl Sent {
    /// The only event.
    ///
    /// # Panics
    /// When there is not exactly one, of that type.
    #[must_use]
    pub fn only<E: Message>(&self) -> E {
        match self.events.as_slice() {
            [event] => event.body().unwrap_or_else(|| panic!("wanted {}: {self:?}", E::TYPE)),
            _ => panic!("wanted one {}: {self:?}", E::TYPE),
        }
    }
}

impl Driver {
    /// An empty partition of everything that is linked, at the given time.
    ///
    /// # Panics
    /// When the topology cannot work.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self::with_headers(now, Written::default())
    }

    /// The same, whose messages have headers.
    ///
    /// # Panics
    /// As [`Driver::new`].
    #[must_use]
    pub fn with_headers(now: Timestamp, headers: Written) -> Self {
        let topology = match Topology::discover() {
            Ok(topology) => Arc::new(topology),
            Err(error) => panic!("{error}"),
        };
        let mut next_id = 0;
        let wire = Arc::new(Wire::new(&topology, |_| {
            next_id += 1;
            next_id
        }));
        let config = Config {
            partition: 0,
            partitions: 1,
            log_id: LogId(Uuid::from_u128(0x00dd_ba11_0000_4000_8000_0000_0000_0000)),
            commands_topic: CompactString::const_new("bellhop.commands"),
            version: CompactString::const_new("test"),
            rules: Rules::default(),
            reply_topics: vec!["replies".into()],
            headers,
        };
        Self { task: Task::new(config, topology, Arc::clone(&wire)), wire, now, offset: 0 }
    }

    /// Sets the clock.
    pub fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Sends a command under a key of its own.
    pub fn send<C: Message>(&mut self, command: &C) -> Sent {
        let key = format!("driver-{}", self.offset);
        self.send_as(&key, command)
    }

    /// Sends a command under an idempotency key.
    ///
    /// # Panics
    /// When the driver itself is broken: it knows all schemas of its topology.
    pub fn send_as<C: Message>(&mut self, idempotency_key: &str, command: &C) -> Sent {
        let id = Uuid::from_u128(u128::from(self.offset) | (0xc << 96));
        self.send_with(&Meta::of_command(id, idempotency_key, self.now), command)
    }

    /// Sends a command with its metadata.
    ///
    /// # Panics
    /// As [`Driver::send_as`].
    pub fn send_with<C: Message>(&mut self, meta: &Meta, command: &C) -> Sent {
        let (key, value) = self.encode(meta, command);
        self.send_record(Some(&key), Some(&value))
    }

    fn encode<C: Message>(&self, meta: &Meta, command: &C) -> (Vec<u8>, Vec<u8>) {
        let Some(schema_id) = self.wire.id_of(C::NAME) else {
            panic!("{} is not of this topology", C::TYPE)
        };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        command.key().write(&mut key);
        frame(schema_id, &mut value);
        meta.encode(&mut value);
        command.encode(&mut value);
        (key, value)
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When their schema id is unknown, or what the task wrote cannot be read back.
    pub fn send_record(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Sent {
        self.send_raw(key, value, &[])
    }

    /// Sends a command under an idempotency key, with headers.
    ///
    /// # Panics
    /// As [`Driver::send_as`].
    pub fn send_headed<C: Message>(
        &mut self,
        idempotency_key: &str,
        command: &C,
        headers: &[Header<'_>],
    ) -> Sent {
        let id = Uuid::from_u128(u128::from(self.offset) | (0xc << 96));
        let (key, value) = self.encode(&Meta::of_command(id, idempotency_key, self.now), command);
        self.send_raw(Some(&key), Some(&value), headers)
    }

    /// Sends bytes, with headers.
    ///
    /// # Panics
    /// As [`Driver::send_record`].
    pub fn send_raw(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Sent {
        self.send_and_keep(key, value, headers).0
    }

    /// Sends bytes, and gives the records that they led to as well.
    ///
    /// # Panics
    /// As [`Driver::send_record`].
    pub fn send_and_keep(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> (Sent, Output) {
        let record = Record { offset: self.offset, timestamp: self.now, key, value, headers };
        self.offset += 1;
        let outcome = match self.task.process(&record) {
            Ok(Some(outcome)) => outcome,
            other => panic!("process offset {}: {other:?}", record.offset),
        };
        let read = |records: &Records| {
            let messages = records.iter().map(|message| {
                let (id, datum) = unframe(message.value).unwrap_or_default();
                let mut reader = Reader::new(datum);
                let meta = Meta::decode(&mut reader).unwrap_or_else(|error| panic!("{error}"));
                let name = self.wire.name_of(id).unwrap_or_default().to_owned();
                let headers = message.headers.iter();
                let headers = headers.map(|it| (it.name.to_owned(), it.value.to_vec())).collect();
                SentMessage { name, meta, headers, datum: reader.rest().to_vec() }
            });
            messages.collect()
        };
        let output = std::mem::take(self.task.output());
        let parked = output.parked.iter().find_map(|parked| {
            let (id, datum) = unframe(parked.value).unwrap_or_default();
            (self.wire.name_of(id) == Some(Parked::NAME)).then_some(datum)
        });
        let parked = parked.map(|datum| {
            Parked::decode(&mut Reader::new(datum)).unwrap_or_else(|error| panic!("{error}"))
        });
        let sent = Sent {
            outcome,
            events: read(&output.events),
            commands: read(&output.commands),
            parked,
            replies: output.replies.clone(),
        };
        (sent, output)
    }

    /// Delivers a command at an offset that was handled before.
    ///
    /// # Panics
    /// As [`Driver::send_as`].
    pub fn redeliver<C: Message>(&mut self, offset: u64, command: &C) -> Option<Outcome> {
        let (key, value) = self.encode(&Meta::of_command(Uuid::nil(), "again", self.now), command);
        let (key, value) = (Some(key.as_slice()), Some(value.as_slice()));
        let record = Record { offset, timestamp: self.now, key, value, headers: &[] };
        self.task.process(&record).unwrap_or_else(|unknown| panic!("{unknown:?}"))
    }

    /// The schema ids.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// A store.
    ///
    /// # Panics
    /// When nothing of the topology uses it.
    #[must_use]
    pub fn store<S: State>(&self) -> &Store<S> {
        self.task.stores().find().unwrap_or_else(|| panic!("nothing uses the store {}", S::NAME))
    }

    /// The task itself.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }
}
