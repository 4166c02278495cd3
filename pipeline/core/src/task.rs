//! The task of one partition: a synchronous state machine from input records to output records.
//!
//! It has no clock, no thread and no I/O. Somebody else polls, calls [`Task::process`] for each
//! record, commits [`Task::output`] together with [`Task::progress`], and calls [`Output::clear`].
//!
//! # Invariants
//! 1. Same genesis, same records at the same offsets and times: same output, byte for byte, however
//!    they were batched.
//! 2. The stores, timers and remembered keys equal the fold of the events ([`Task::fold`]) brought
//!    to the committed stream time ([`Task::resume`]).
//! 3. Stream time never falls.

mod change;
mod fold;
mod reply;
mod resolve;
mod snapshot;

pub use self::fold::FoldError;
pub use self::resolve::{BY_BYTES_MAX, RELEASED_FROM, WHY_BYTES_MAX};
pub use self::snapshot::SnapshotError;

use self::resolve::Resolved;

use std::sync::Arc;

use compact_str::CompactString;
use xxhash_rust::xxh3::xxh3_64;

use crate::avro::{Avro, Bytes};
use crate::call::{Call, Parts};
use crate::dedupe::Dedupe;
use crate::engine::{
    EngineRecord, FORMAT_VERSION, Genesis, KEY_RULE, Parked, ParkedHeader, ParkedKind,
};
use crate::headers::{self, Writer, Written};
use crate::history::History;
use crate::limits::{
    self, HEADER_LENGTHS_BYTES, KEY_BYTES_MAX, PARKED_HEADERS_BYTES_MAX, PARKED_VALUE_BYTES_MAX,
    Shown,
};
use crate::message::{LogId, Position, Timestamp};
use crate::outcome::{Outcome, Output, Unfit};
use crate::partition::partition_of;
use crate::record::{Header, Record, frame, unframe};
use crate::rules::Rules;
use crate::store::Stores;
use crate::timer::{Pending, TimerId, Timers};
use crate::topology::{Target, Topology, Wire};

/// What a task is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// The partition it owns.
    pub partition: u32,
    /// How many there are.
    pub partitions: u32,
    /// The log's name.
    pub log_id: LogId,
    /// Name of the commands topic, as it stands in the source of events.
    pub commands_topic: CompactString,
    /// Version of the handlers, as it stands in events.
    pub version: CompactString,
    /// What a partition is decided by that has no genesis yet; another follows its own.
    pub rules: Rules,
    /// Topics that commands may ask to be answered on; a `reply-to` of another is not followed.
    pub reply_topics: Vec<CompactString>,
    /// Headers of events, cascaded commands and replies.
    pub headers: Written,
}

/// Header that names the topic of a command's reply.
pub const REPLY_TO: &str = "reply-to";
/// Header that a reply takes over from its command.
pub const CORRELATION_ID: &str = "correlation-id";

/// How far a task has come; committed with its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Offset of the next record to process.
    pub next_offset: u64,
    /// Stream time.
    pub stream_time: Timestamp,
    /// The events that led there. A task always knows; of what is committed, none when somebody
    /// else than a worker committed it.
    pub history: Option<History>,
}

/// A record whose schema id nobody has told the task yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSchema(pub u32);

/// The state machine of one partition.
pub struct Task {
    config: Config,
    topology: Arc<Topology>,
    wire: Arc<Wire>,
    stores: Stores,
    timers: Timers,
    dedupe: Dedupe,
    rules: Rules,
    resolved: Resolved,
    progress: Progress,
    /// The events that the state holds.
    history: History,
    /// Source (offset, index) of the first event that the fold has not seen.
    held: (u64, u16),
    /// Events of records from this offset on are not folded.
    folds_before: u64,
    output: Output,
    scratch: Vec<u8>,
    transcoded: Vec<u8>,
    header_writer: Writer,
}

impl Task {
    /// An empty partition.
    #[must_use]
    pub fn new(config: Config, topology: Arc<Topology>, wire: Arc<Wire>) -> Self {
        Self {
            stores: topology.make_stores(config.log_id),
            timers: Timers::default(),
            dedupe: Dedupe::new(config.log_id, config.rules.idempotency_hours),
            rules: config.rules,
            progress: Progress { next_offset: 0, stream_time: Timestamp::MIN, history: None },
            history: History::new(config.log_id),
            resolved: Resolved::default(),
            held: (0, 0),
            folds_before: u64::MAX,
            output: Output::default(),
            scratch: Vec::new(),
            transcoded: Vec::new(),
            header_writer: Writer::new(config.headers, config.log_id),
            config,
            topology,
            wire,
        }
    }

    /// What it decides by.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The stores of the partition.
    #[must_use]
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The timers of the partition.
    #[must_use]
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// The remembered idempotency keys.
    #[must_use]
    pub fn dedupe(&self) -> &Dedupe {
        &self.dedupe
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { history: Some(self.history), ..self.progress }
    }

    /// The events that its state holds.
    #[must_use]
    pub fn history(&self) -> History {
        self.history
    }

    /// What the records processed since the last [`Output::clear`] led to.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// As [`Task::output`], to look at.
    #[must_use]
    pub fn decided(&self) -> &Output {
        &self.output
    }

    /// Replaces the schema ids, after the log learned a new one.
    pub fn set_wire(&mut self, wire: Arc<Wire>) {
        self.wire = wire;
    }

    /// Writes the first record of the partition's events.
    pub fn write_genesis(&mut self) {
        let genesis = Genesis {
            log_id: self.config.log_id.0,
            partitions: self.config.partitions,
            key_rule: KEY_RULE.into(),
            format_version: FORMAT_VERSION,
            rules: self.rules,
        };
        let schema_id = self.wire.written_id(Genesis::NAME);
        self.output.events.push(Timestamp(0), |_| {}, |out| genesis.write(schema_id, out));
        if let Some(event) = self.output.events.last() {
            self.history.add(None, event.key, event.value);
        }
    }

    /// Handles one record: due timers first, then the record itself.
    ///
    /// Gives `None` for a record that was handled before.
    ///
    /// # Errors
    /// [`UnknownSchema`] when the record's schema id is not known: nothing has happened then; tell
    /// the task ([`Task::set_wire`]) and call again, or [`Task::park`] the record.
    pub fn process(&mut self, record: &Record<'_>) -> Result<Option<Outcome>, UnknownSchema> {
        if record.offset < self.progress.next_offset {
            return Ok(None);
        }
        let framed = self.examine(record);
        if let Ok((schema_id, _)) = framed
            && self.wire.read(schema_id).is_none()
        {
            return Err(UnknownSchema(schema_id));
        }
        let mut next_index = self.begin(record);
        let decided = framed
            .and_then(|(schema_id, datum)| self.decide(record, schema_id, datum, &mut next_index));
        let outcome = decided.unwrap_or_else(|unfit| self.write_parked(record, unfit));
        self.reply(record, outcome);
        Ok(Some(outcome))
    }

    /// Parks a record without looking at it.
    pub fn park(
        &mut self,
        record: &Record<'_>,
        kind: ParkedKind,
        cause: String,
    ) -> Option<Outcome> {
        if record.offset < self.progress.next_offset {
            return None;
        }
        self.begin(record);
        let outcome = self.write_parked(record, Unfit::new(kind, cause));
        self.reply(record, outcome);
        Some(outcome)
    }

    /// Moves time to the record and fires what is due; gives the next message index.
    fn begin(&mut self, record: &Record<'_>) -> u16 {
        let now = self.progress.stream_time.max(record.timestamp);
        self.progress.next_offset = record.offset + 1;
        self.progress.stream_time = now;
        self.dedupe.advance(now);
        let mut next_index = 0;
        while let Some((id, pending)) = self.timers.pop_due(now) {
            self.fire(record.offset, id, &pending, &mut next_index);
        }
        let at = Position { partition: self.config.partition, offset: record.offset };
        self.header_writer.hear(record.headers, self.config.log_id, at);
        next_index
    }

    fn examine<'r>(&self, record: &Record<'r>) -> Result<(u32, &'r [u8]), Unfit> {
        let key_bytes = record.key.map_or(0, <[u8]>::len);
        if key_bytes > KEY_BYTES_MAX {
            let cause = format!("the key has {key_bytes} bytes, at most {KEY_BYTES_MAX} are read");
            return Err(Unfit::new(ParkedKind::WrongKey, cause));
        }
        let Some(value) = record.value else {
            return Err(Unfit::new(ParkedKind::Undecodable, "the record has no value"));
        };
        if value.len() > self.rules.value_bytes_max as usize {
            let (bytes, most) = (value.len(), self.rules.value_bytes_max);
            let cause = format!("the value has {bytes} bytes, at most {most} can be decided");
            return Err(Unfit::new(ParkedKind::TooLarge, cause));
        }
        let framed = unframe(value).ok_or_else(|| {
            let structured = "a CloudEvent in structured mode is not read; send it in binary mode";
            let foreign =
                "the value does not begin with a zero and a schema id (Confluent framing)";
            let cause = if headers::is_structured(record.headers) { structured } else { foreign };
            Unfit::new(ParkedKind::Undecodable, cause)
        })?;
        // Before its schema is asked for: a flood of keys from elsewhere asks no registry. A tick
        // has no key.
        match record.key {
            Some(key) if !key.is_empty() => self.check_home(key)?,
            Some(_) | None => {}
        }
        Ok(framed)
    }

    /// Holds a key against the partition that its record is in.
    fn check_home(&self, key: &[u8]) -> Result<(), Unfit> {
        let home = partition_of(key, self.config.partitions);
        if home == self.config.partition {
            return Ok(());
        }
        let cause = format!(
            "the key {} belongs to partition {home}, the record is in {}; produce with the murmur2 partitioner (librdkafka: partitioner=murmur2_random)",
            Shown(key),
            self.config.partition,
        );
        Err(Unfit::new(ParkedKind::WrongKey, cause))
    }

    fn decide(
        &mut self,
        record: &Record<'_>,
        schema_id: u32,
        datum: &[u8],
        next_index: &mut u16,
    ) -> Result<Outcome, Unfit> {
        let Some(readable) = self.wire.read(schema_id) else {
            return Err(Unfit::new(ParkedKind::UnknownType, format!("schema id {schema_id}")));
        };
        let request = match readable.target {
            Target::Request(index) => &self.topology.requests[index],
            Target::Tick => return Ok(Outcome::Ticked),
            Target::ChangeRules => return self.change_rules(record.offset, datum, next_index),
            Target::ResolveParked => return self.resolve_parked(record, datum, next_index),
            Target::Event(_) | Target::Other => {
                let cause = format!("{} is not a command", readable.name);
                return Err(Unfit::new(ParkedKind::UnknownType, cause));
            }
        };
        if !record.headers.is_empty() {
            let message = request.handler.message;
            self.check_headers(record.headers, [message.type_name, message.name])?;
        }
        let key = record.key.unwrap_or_default();
        if key.is_empty() {
            self.check_home(key)?;
        }
        let datum = match &readable.transcode {
            None => datum,
            Some(transcode) => {
                self.transcoded.clear();
                transcode.transcode(datum, &mut self.transcoded).map_err(|error| {
                    let cause = format!("{} of schema id {schema_id}: {error}", readable.name);
                    Unfit::new(ParkedKind::Undecodable, cause)
                })?;
                &self.transcoded
            }
        };
        let outgoing = self.header_writer.outgoing();
        let mut call = Call {
            slots: &request.slots,
            cascades: request.cascades(),
            payload_seed: request.payload_seed,
            record_key: key,
            datum,
            position: Position { partition: self.config.partition, offset: record.offset },
            now: self.progress.stream_time,
            timer: None,
            parts: Parts {
                topology: &self.topology,
                wire: &self.wire,
                log_id: self.config.log_id,
                rules: self.rules,
                stores: &mut self.stores,
                timers: &mut self.timers,
                dedupe: &mut self.dedupe,
                history: &mut self.history,
                output: &mut self.output,
                scratch: &mut self.scratch,
                next_index,
                commands_topic: &self.config.commands_topic,
                version: &self.config.version,
                headers: outgoing.as_ref(),
            },
        };
        (request.handler.run)(&mut call)
    }

    /// # Panics
    /// When the timer's own handler cannot take it: it was set by this program's processors.
    fn fire(&mut self, offset: u64, id: TimerId, pending: &Pending, next_index: &mut u16) {
        let Some(request) = self.topology.timer(&pending.name) else {
            panic!("a timer {} is due and has no handler", pending.name)
        };
        let outgoing = self.header_writer.untraced();
        let mut call = Call {
            slots: &request.slots,
            cascades: request.cascades(),
            payload_seed: 0,
            record_key: &pending.key,
            datum: &pending.datum,
            position: Position { partition: self.config.partition, offset },
            now: self.progress.stream_time,
            timer: Some(id),
            parts: Parts {
                topology: &self.topology,
                wire: &self.wire,
                log_id: self.config.log_id,
                rules: self.rules,
                stores: &mut self.stores,
                timers: &mut self.timers,
                dedupe: &mut self.dedupe,
                history: &mut self.history,
                output: &mut self.output,
                scratch: &mut self.scratch,
                next_index,
                commands_topic: &self.config.commands_topic,
                version: &self.config.version,
                headers: outgoing.as_ref(),
            },
        };
        if let Err(unfit) = (request.handler.run)(&mut call) {
            panic!("the timer {} due {} cannot fire: {}", pending.name, id.due.0, unfit.cause)
        }
    }

    fn write_parked(&mut self, record: &Record<'_>, unfit: Unfit) -> Outcome {
        let value = record.value.unwrap_or_default();
        let is_larger = value.len() > self.rules.value_bytes_max as usize;
        let kept = if is_larger { limits::first(value, PARKED_VALUE_BYTES_MAX) } else { value };
        let parked = Parked {
            offset: record.offset.cast_signed(),
            timestamp: record.timestamp,
            parked_at: self.progress.stream_time,
            kind: unfit.kind,
            cause: unfit.cause,
            key: record.key.map(|key| Bytes(limits::first(key, KEY_BYTES_MAX).to_vec())),
            key_bytes: record.key.map_or(0, <[u8]>::len) as i64,
            value: record.value.map(|_| Bytes(kept.to_vec())),
            value_bytes: value.len() as i64,
            value_hash: xxh3_64(value).cast_signed(),
            headers: first_headers(record.headers),
            header_count: record.headers.len() as i64,
        };
        let schema_id = self.wire.written_id(Parked::NAME);
        self.output.parked.push(
            self.progress.stream_time,
            // The key stands inside, where one that is empty differs from none.
            |_| {},
            |out| {
                frame(schema_id, out);
                parked.encode(out);
            },
        );
        Outcome::Parked(unfit.kind)
    }
}

/// As many headers as a parked record takes.
fn first_headers(headers: &[Header<'_>]) -> Vec<ParkedHeader> {
    let mut left = PARKED_HEADERS_BYTES_MAX;
    let fitting = headers.iter().take_while(|header| {
        let bytes = header.name.len() + header.value.len() + HEADER_LENGTHS_BYTES;
        let rest = left.checked_sub(bytes);
        left = rest.unwrap_or(0);
        rest.is_some()
    });
    let kept = |header: &Header<'_>| ParkedHeader {
        name: header.name.to_owned(),
        value: Bytes(header.value.to_vec()),
    };
    fitting.map(kept).collect()
}
