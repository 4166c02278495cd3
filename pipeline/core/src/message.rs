//! Messages and their metadata: what travels in the `meta` field of every record.
//!
//! On the wire a message is one Avro record whose first field is `meta`; in Rust the two are apart,
//! so that a handler returns bodies and the engine alone stamps them.

use std::any::TypeId;
use std::fmt;
use std::hash::Hash;

use bellhop_macros::Avro;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::avro::{self, Avro, DecodeError, Reader, SchemaWriter};
use crate::limits::TYPE_BYTES_MAX;

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub i64);

/// Microseconds in an hour.
pub const HOUR_US: i64 = 3_600_000_000;

impl Timestamp {
    /// The instant before every record.
    pub const MIN: Self = Self(i64::MIN);

    /// Hours since 1970, rounded down.
    #[must_use]
    pub fn hour(self) -> i64 {
        self.0.div_euclid(HOUR_US)
    }
}

impl Avro for Timestamp {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        avro::write_long(self.0, out);
    }
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.long().map(Self)
    }
    fn schema(out: &mut SchemaWriter) {
        out.push(r#"{"type":"long","logicalType":"timestamp-micros"}"#);
    }
}

/// Where a record lies in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Partition of the topic.
    pub partition: u32,
    /// Offset in the partition.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// The random name of a log: two logs never share it, so nothing of one passes for the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub Uuid);

impl LogId {
    /// The id of the message that a source record led to: UUIDv8, no hash, the same every time.
    ///
    /// Layout: 48 bits of the log id, 12 of the partition, 46 of the offset, 16 of the index; ids of
    /// one partition sort by position.
    ///
    /// # Panics
    /// When a number does not fit; the log refuses more than 4,096 partitions at start.
    #[must_use]
    pub fn message_id(self, position: Position, index: u16) -> Uuid {
        let Position { partition, offset } = position;
        assert!(partition < 1 << 12 && offset < 1 << 46, "{position} does not fit a message id");
        let log = self.0.as_u128() >> 80;
        let tail = (u128::from(offset) << 16) | u128::from(index);
        Uuid::from_u128((log << 80) | (8 << 76) | (u128::from(partition) << 64) | (2 << 62) | tail)
    }
}

/// What led to an event.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.Source")]
pub struct Source {
    /// Topic of the record that was handled.
    pub topic: CompactString,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Which of the messages that the record led to, counted from 0.
    pub index: u16,
    /// How many cascades lie between it and a message from outside.
    pub depth: u8,
    /// Idempotency key of the command; null when a timer fired.
    pub idempotency_key: Option<CompactString>,
    /// Hash of the command without its `meta`, its kind in the highest byte; 0 when a timer fired.
    pub payload_hash: i64,
    /// Version of the handlers that decided.
    pub decided_by: CompactString,
}

impl Source {
    /// Where the handled record lies.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { partition: self.partition, offset: self.offset.cast_unsigned() }
    }
}

/// The metadata of a message, its first field on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.Meta")]
pub struct Meta {
    /// Unique id of this message.
    pub message_id: Uuid,
    /// Repeats of a message share it. Null means that `message_id` serves, as it does on events.
    pub idempotency_key: Option<CompactString>,
    /// Shared by all messages of one conversation; null starts one, named by `message_id`.
    pub correlation_id: Option<Uuid>,
    /// The message (or timer) that led to this one.
    pub causation_id: Option<Uuid>,
    /// When it happened: for an event, stream time; for a command, what its producer says.
    pub occurred_at: Timestamp,
    /// What led to it; null on messages from outside.
    pub source: Option<Source>,
}

impl Meta {
    /// The metadata of a message from outside.
    #[must_use]
    pub fn of_command(message_id: Uuid, idempotency_key: &str, occurred_at: Timestamp) -> Self {
        Self {
            message_id,
            idempotency_key: Some(idempotency_key.into()),
            correlation_id: None,
            causation_id: None,
            occurred_at,
            source: None,
        }
    }
}

/// What a message is for, and so where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Asks for a decision; goes to the commands topic.
    Command,
    /// Says what was decided; goes to the events topic.
    Event,
    /// Comes due inside a partition; goes nowhere.
    Timer,
}

/// The key of a message: what belongs to one key is decided in order, by one partition.
pub trait MessageKey: Copy + Eq + Hash + Ord + fmt::Debug + fmt::Display + 'static {
    /// Appends the record key as it stands in the topic.
    fn write(&self, out: &mut Vec<u8>);
}

/// A record type that travels through the log.
///
/// Derived by `Command`, `Event` or `Timer`, which also register it with the topology.
pub trait Message: Avro + fmt::Debug + Send + 'static {
    /// Full Avro name; also the registry subject.
    const NAME: &'static str;
    /// Name as users see it: `CreateReservation`, `reservation.created`.
    const TYPE: &'static str;
    /// What it is for.
    const KIND: Kind;
    /// Type of its key.
    type Key: MessageKey;

    /// The key it is partitioned by.
    fn key(&self) -> Self::Key;

    /// The code of the outcome that this event records: 0 accepted, anything else a refusal.
    fn outcome_code(&self) -> u16 {
        0
    }

    /// What a code of such outcomes is called; `None` for 0, and where codes have no names.
    fn refusal(code: u16) -> Option<&'static str> {
        let _ = code;
        None
    }
}

/// The self-contained schema of a message as it travels: its fields behind `meta`.
#[must_use]
pub fn wire_schema<M: Message>() -> String {
    splice_meta(M::schema)
}

/// The record schema that `body` writes, with the field `meta` put in front of its fields.
pub(crate) fn splice_meta(body: fn(&mut SchemaWriter)) -> String {
    const FIELDS: &str = "\"fields\":[";
    let mut meta = SchemaWriter::default();
    Meta::schema(&mut meta);
    // What `meta` defines, the body names: it goes through the same writer.
    let meta_bytes = meta.bytes();
    body(&mut meta);
    let text = meta.into_text();
    let (meta, body) = text.split_at(meta_bytes);
    let (head, fields) = body.split_once(FIELDS).unwrap_or((body, "]}"));
    let comma = if fields.starts_with(']') { "" } else { "," };
    format!("{head}{FIELDS}{{\"name\":\"meta\",\"type\":{meta}}}{comma}{fields}")
}

/// What the topology knows of a message type.
#[derive(Clone, Copy)]
pub struct MessageInfo {
    /// Full Avro name.
    pub name: &'static str,
    /// Name as users see it.
    pub type_name: &'static str,
    /// What it is for.
    pub kind: Kind,
    /// Name of the key's Rust type.
    pub key: fn() -> &'static str,
    /// Its schema on the wire.
    pub schema: fn() -> String,
    /// What a code of the outcomes that it records is called.
    pub refusal: fn(u16) -> Option<&'static str>,
    /// Its Rust type.
    pub type_id: fn() -> TypeId,
}

impl MessageInfo {
    /// Of a type.
    #[must_use]
    pub const fn of<M: Message>() -> Self {
        const {
            assert!(M::TYPE.len() <= TYPE_BYTES_MAX, "a type name is longer than a header may be");
        }
        Self {
            name: M::NAME,
            type_name: M::TYPE,
            kind: M::KIND,
            key: short_type_name::<M::Key>,
            schema: wire_schema::<M>,
            refusal: M::refusal,
            type_id: TypeId::of::<M>,
        }
    }
}

impl fmt::Debug for MessageInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name)
    }
}

/// The last segment of a type's path.
#[must_use]
pub fn short_type_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}
