//! Records that the engine itself writes and reads; they know no domain.

use bellhop_macros::Avro;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::avro::{Avro, Bytes, Reader};
use crate::limits::HEADER_LENGTHS_BYTES;
use crate::message::{Meta, Timestamp};
use crate::record::{frame, unframe};
use crate::rules::{ChangeRules, Rules, RulesChanged};

/// Version of everything on the wire that is not a message schema: ids, keys, genesis.
pub const FORMAT_VERSION: u16 = 1;
/// The rule that places a key in a partition.
pub const KEY_RULE: &str = "murmur2";

/// A record of the engine. All but [`Parked`] and [`Reply`] travel with `meta` in front.
pub trait EngineRecord: Avro {
    /// Full Avro name.
    const NAME: &'static str;
    /// Name as users see it.
    const TYPE: &'static str;
}

/// The schema of an engine record behind `meta`.
#[must_use]
pub fn engine_schema<T: EngineRecord>() -> String {
    crate::message::splice_meta(T::schema)
}

/// The first record of a partition of events.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.Genesis")]
pub struct Genesis {
    /// The log's random name.
    pub log_id: Uuid,
    /// How many partitions it has.
    pub partitions: u32,
    /// How a key finds its partition.
    pub key_rule: CompactString,
    /// Version of ids, keys and this record.
    pub format_version: u16,
    /// What the partition is decided by, until a command changes it.
    pub rules: Rules,
}

impl EngineRecord for Genesis {
    const NAME: &'static str = "bellhop.engine.Genesis";
    const TYPE: &'static str = "log.genesis";
}

impl Genesis {
    /// Reads the record as it lies in a log, whatever id its schema has; `None` when the bytes are
    /// something else.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<(u32, Self)> {
        let (schema_id, datum) = unframe(value)?;
        let mut reader = Reader::new(datum);
        let meta = Meta::decode(&mut reader).ok()?;
        let genesis = Self::decode(&mut reader).ok()?;
        reader.finish().ok()?;
        // The id of the log stands twice.
        (meta.message_id == genesis.log_id).then_some((schema_id, genesis))
    }

    /// Appends the record as it lies in a log: frame, `meta`, itself.
    pub fn write(&self, schema_id: u32, out: &mut Vec<u8>) {
        let meta = Meta {
            message_id: self.log_id,
            idempotency_key: None,
            correlation_id: None,
            causation_id: None,
            occurred_at: Timestamp(0),
            source: None,
        };
        frame(schema_id, out);
        meta.encode(out);
        self.encode(out);
    }
}

/// A command came with the idempotency key of another.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.CommandConflicted")]
pub struct CommandConflicted {
    /// Type of the command.
    pub command: CompactString,
    /// First event of the command that had the key first.
    pub first_event_id: Uuid,
}

impl EngineRecord for CommandConflicted {
    const NAME: &'static str = "bellhop.engine.CommandConflicted";
    const TYPE: &'static str = "command.conflicted";
}

/// A handler had nothing to say; the command is remembered all the same.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.CommandAcknowledged")]
pub struct CommandAcknowledged {
    /// Type of the command.
    pub command: CompactString,
}

impl EngineRecord for CommandAcknowledged {
    const NAME: &'static str = "bellhop.engine.CommandAcknowledged";
    const TYPE: &'static str = "command.acknowledged";
}

/// Moves the stream time of an idle partition; its owner appends it to the commands topic.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.Tick")]
pub struct Tick {
    /// The partition it is for; any key would do, so it is exempt from the key rule.
    pub partition: u32,
}

impl EngineRecord for Tick {
    const NAME: &'static str = "bellhop.engine.Tick";
    const TYPE: &'static str = "Tick";
}

/// Why a record was parked.
///
/// Of each: what it means, and what to do. `docs/refusals.md` is written from these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.ParkedKind")]
#[serde(rename_all = "snake_case")]
pub enum ParkedKind {
    /// No value, no frame, or bytes that are not what their schema says.
    ///
    /// Encode the record by the schema that its frame names; `bellhop parked show` has the bytes.
    Undecodable,
    /// A schema that is not known, or of a message that is not a command.
    ///
    /// Send a command of the contract; a new type needs workers that know it.
    UnknownType,
    /// The record's key is not its message's, or belongs to another partition.
    ///
    /// Send it with the property's id as the key, by the murmur2 partitioner.
    WrongKey,
    /// A handler panicked.
    ///
    /// It is a defect of the handler: report it, and release the command after an upgrade.
    Panicked,
    /// Larger than what can be decided.
    ///
    /// Ask for less at once, or raise `value_bytes_max`.
    TooLarge,
    /// Cascaded more than eight deep.
    ///
    /// It is a defect of the handlers, which send each other commands without end: report it.
    TooDeep,
    /// The command carries no idempotency key, or one that is too long.
    ///
    /// Give each intent a key of its own, of 1 to 1,024 bytes, or null for the message id.
    NoIdempotencyKey,
    /// CloudEvents headers that are not whole or name another message, or a `correlation-id` that
    /// is too long for a reply.
    ///
    /// Correct the headers, or send none of CloudEvents.
    WrongHeaders,
}

/// A record that could not be decided, kept with all that is needed to try it again.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.engine.Parked")]
pub struct Parked {
    /// Offset of the record in the commands topic, in the partition of the same number.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Stream time when it was parked.
    pub parked_at: Timestamp,
    /// The kind of cause.
    pub kind: ParkedKind,
    /// The cause in words.
    pub cause: String,
    /// Its key, or the first 1,024 bytes of a longer one.
    pub key: Option<Bytes>,
    /// Length of the whole key in bytes.
    pub key_bytes: i64,
    /// Its value, or the first 64 KiB of one that is too large.
    pub value: Option<Bytes>,
    /// Length of the whole value in bytes.
    pub value_bytes: i64,
    /// XXH3-64 of the whole value.
    pub value_hash: i64,
    /// Its first headers, as many as 64 KiB hold.
    pub headers: Vec<ParkedHeader>,
    /// How many it has.
    pub header_count: i64,
}

impl Parked {
    /// Whether nothing of the record was cut, so that it can be sent again as it was.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.0.len() as i64);
        length(&self.key) == self.key_bytes
            && length(&self.value) == self.value_bytes
            && self.headers.len() as i64 == self.header_count
    }
}

/// A header of a parked record.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.engine.ParkedHeader")]
pub struct ParkedHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Bytes,
}

impl EngineRecord for Parked {
    const NAME: &'static str = "bellhop.engine.Parked";
    const TYPE: &'static str = "command.parked";
}

/// Asks what is to become of a parked record; it lies in the partition of that record, and is
/// decided in order like any command. The first such record of a parked one counts.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.engine.ResolveParked")]
pub struct ResolveParked {
    /// The partition it is for; any key would do, so it is exempt from the key rule.
    pub partition: u32,
    /// Offset of the parked record in the commands topic.
    pub offset: i64,
    /// Who asks, 1 to 256 bytes: a role or an account.
    pub by: String,
    /// Why, 1 to 1,024 bytes: a ticket, no guest.
    pub why: String,
    /// What is decided in its stead; none skips it.
    pub release: Option<Release>,
}

/// A command to append in the stead of a parked record.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.engine.Release")]
pub struct Release {
    /// Its key; it finds its partition.
    pub key: Bytes,
    /// Its framed datum.
    pub value: Bytes,
    /// Its headers.
    pub headers: Vec<ParkedHeader>,
    /// Whether it differs from what was parked.
    pub edited: bool,
}

impl Release {
    /// Bytes of the whole record.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |it: &ParkedHeader| HEADER_LENGTHS_BYTES + it.name.len() + it.value.0.len();
        let headers = self.headers.iter().map(bytes);
        self.key.0.len() + self.value.0.len() + headers.sum::<usize>()
    }
}

impl EngineRecord for ResolveParked {
    const NAME: &'static str = "bellhop.engine.ResolveParked";
    const TYPE: &'static str = "ResolveParked";
}

/// What became of a parked record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.Resolution")]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It is a command again, at a new position.
    Released,
    /// So it is, with another key, value or headers.
    Edited,
    /// It stays undecided for good.
    Skipped,
}

/// Somebody resolved a parked record: an event, and the same in the parked topic, so that a reader
/// of that topic alone knows what is open.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.ParkedResolved")]
pub struct ParkedResolved {
    /// Offset of the parked record in the commands topic.
    pub offset: i64,
    /// What became of it.
    pub resolution: Resolution,
    /// Who asked.
    pub by: String,
    /// Why.
    pub why: String,
}

impl EngineRecord for ParkedResolved {
    const NAME: &'static str = "bellhop.engine.ParkedResolved";
    const TYPE: &'static str = "command.resolved";
}

/// What became of a command, in a [`Reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.ReplyOutcome")]
#[serde(rename_all = "snake_case")]
pub enum ReplyOutcome {
    /// Decided now: accepted with code 0, else refused.
    Decided,
    /// The same key and payload as before: the first outcome again.
    Repeated,
    /// The same key with another payload: not decided.
    Conflict,
    /// It cannot be decided, and is parked.
    Parked,
}

/// Tells whoever sent a command with a `reply-to` header what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.engine.Reply")]
pub struct Reply {
    /// Partition of the command.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// What became of it.
    pub outcome: ReplyOutcome,
    /// 0 accepted, else the code of the refusal; 0 where nothing was decided.
    pub code: u16,
    /// What the code is called, such as `SoldOut`; none for 0.
    pub refusal: Option<CompactString>,
    /// The first event of the outcome; of a conflict, the event that says so.
    pub event_id: Option<Uuid>,
    /// That event, framed as it lies on the events topic: it says all that was decided. None of a
    /// repeat, whose event was written before.
    pub event: Option<Bytes>,
    /// Why it is parked.
    pub parked: Option<ParkedKind>,
    /// The same in words.
    pub cause: Option<String>,
}

impl EngineRecord for Reply {
    const NAME: &'static str = "bellhop.engine.Reply";
    const TYPE: &'static str = "command.reply";
}

/// Appends an engine record behind its metadata.
pub fn encode_with_meta<T: Avro>(meta: &Meta, body: &T, out: &mut Vec<u8>) {
    meta.encode(out);
    body.encode(out);
}

/// Names and schemas of all engine records that have a place in the registry.
#[must_use]
pub fn engine_schemas() -> Vec<(&'static str, String)> {
    vec![
        (Genesis::NAME, engine_schema::<Genesis>()),
        (CommandConflicted::NAME, engine_schema::<CommandConflicted>()),
        (CommandAcknowledged::NAME, engine_schema::<CommandAcknowledged>()),
        (ChangeRules::NAME, engine_schema::<ChangeRules>()),
        (RulesChanged::NAME, engine_schema::<RulesChanged>()),
        (Tick::NAME, engine_schema::<Tick>()),
        (Parked::NAME, crate::avro::schema_of::<Parked>()),
        (ResolveParked::NAME, engine_schema::<ResolveParked>()),
        (ParkedResolved::NAME, engine_schema::<ParkedResolved>()),
        (Reply::NAME, crate::avro::schema_of::<Reply>()),
    ]
}
