//! A call of a handler, from the bytes of a command to its events.
//!
//! Start at [`Call::decide`].

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use compact_str::{CompactString, ToCompactString};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::avro::{Avro, DecodeError, FirstForm, Reader};
use crate::context::Context;
use crate::dedupe::{Dedupe, FirstOutcome};
use crate::emit::{Emitter, TooLarge};
use crate::engine::{CommandAcknowledged, CommandConflicted, ParkedKind};
use crate::handler::{CASCADE_DEPTH_MAX, Outputs};
use crate::hash::PayloadHash;
use crate::headers::Outgoing;
use crate::history::History;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, MESSAGE_BYTES_MAX, Shown};
use crate::message::{LogId, Message, MessageKey, Meta, Position, Source, Timestamp};
use crate::outcome::{Decided, Outcome, Output, Unfit};
use crate::rules::Rules;
use crate::store::Stores;
use crate::timer::{TimerId, Timers};
use crate::topology::{Topology, Wire};

/// The parts of a task that a call works on.
pub(crate) struct Parts<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) wire: &'a Wire,
    pub(crate) log_id: LogId,
    pub(crate) rules: Rules,
    pub(crate) stores: &'a mut Stores,
    pub(crate) timers: &'a mut Timers,
    pub(crate) dedupe: &'a mut Dedupe,
    pub(crate) history: &'a mut History,
    pub(crate) output: &'a mut Output,
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) next_index: &'a mut u16,
    pub(crate) commands_topic: &'a CompactString,
    pub(crate) version: &'a CompactString,
    /// Headers of what is sent, if there are any.
    pub(crate) headers: Option<&'a Outgoing<'a>>,
}

impl Parts<'_> {
    fn reborrow(&mut self) -> Parts<'_> {
        Parts {
            topology: self.topology,
            wire: self.wire,
            log_id: self.log_id,
            rules: self.rules,
            stores: self.stores,
            timers: self.timers,
            dedupe: self.dedupe,
            history: self.history,
            output: self.output,
            scratch: self.scratch,
            next_index: self.next_index,
            commands_topic: self.commands_topic,
            version: self.version,
            headers: self.headers,
        }
    }
}

/// One call of a handler.
pub struct Call<'a> {
    pub(crate) parts: Parts<'a>,
    pub(crate) slots: &'a [usize],
    pub(crate) cascades: bool,
    /// Keeps equal payloads of two message types apart.
    pub(crate) payload_seed: u64,
    pub(crate) record_key: &'a [u8],
    pub(crate) datum: &'a [u8],
    pub(crate) position: Position,
    pub(crate) now: Timestamp,
    /// Set when a timer fires: the datum then has no `meta`.
    pub(crate) timer: Option<TimerId>,
}

impl Call<'_> {
    /// Takes a command from its bytes to its events.
    ///
    /// In order: decode, key, idempotency (a repeat ends here), the handler's decision, its events
    /// through their processors, and the memory of the key.
    ///
    /// # Errors
    /// [`Unfit`] when the record is to be parked; nothing was changed then.
    pub fn decide<C: Message, R: Outputs<C>>(
        &mut self,
        handle: impl FnOnce(C, &Stores, &[usize], &Context<'_>) -> R,
    ) -> Decided {
        let undecodable = |error: DecodeError| {
            Unfit::new(ParkedKind::Undecodable, format!("{} is not decodable: {error}", C::TYPE))
        };
        let mut reader = Reader::new(self.datum);
        let mut meta = match self.timer {
            None => Meta::decode(&mut reader).map_err(undecodable)?,
            Some(timer) => Meta {
                message_id: timer.event_id,
                idempotency_key: None,
                correlation_id: None,
                causation_id: Some(timer.event_id),
                occurred_at: timer.due,
                source: None,
            },
        };
        let body = reader.rest();
        let command = C::decode(&mut reader).map_err(undecodable)?;
        reader.finish().map_err(undecodable)?;
        let message_key = command.key();
        self.check_key::<C>(message_key)?;

        let depth = meta.source.as_ref().map_or(0, |source| source.depth);
        if self.cascades && depth >= CASCADE_DEPTH_MAX {
            let cause =
                format!("{} came of {CASCADE_DEPTH_MAX} cascades and would cascade again", C::TYPE);
            return Err(Unfit::new(ParkedKind::TooDeep, cause));
        }

        let mut key = None;
        let mut fingerprint = None;
        let mut payload_hash = PayloadHash::NONE;
        if self.timer.is_none() {
            payload_hash = self.payload_hash(&command, &reader, body);
            let own = Self::idempotency_key(&mut meta)?;
            let print =
                self.parts.dedupe.fingerprint(self.record_key, own.as_bytes(), self.parts.scratch);
            if let Some(first) = self.parts.dedupe.get(print) {
                return Ok(self.answer_again::<C>(&meta, own, first, payload_hash));
            }
            (key, fingerprint) = (Some(own), Some(print));
        }

        let returned = {
            let cx = Context {
                now: self.now,
                position: self.position,
                rules: self.parts.rules,
                meta: &meta,
                body,
            };
            let stores = &*self.parts.stores;
            let slots = self.slots;
            catch_unwind(AssertUnwindSafe(|| handle(command, stores, slots, &cx))).map_err(
                |panic| Unfit::new(ParkedKind::Panicked, panic_text(panic.as_ref(), C::TYPE)),
            )?
        };

        let stamp = self.stamp(&meta, key, payload_hash, depth);
        let sent = (*self.parts.next_index, self.parts.output.commands.len());
        let mut emitter = self.emitter::<C>(stamp, &meta, body, &message_key);
        returned.emit(&mut emitter);
        if let Some(TooLarge { message, bytes }) = emitter.too_large {
            *self.parts.next_index = sent.0;
            self.parts.output.commands.truncate(sent.1);
            let cause = format!(
                "{} leads to {message} of {bytes} bytes, at most {MESSAGE_BYTES_MAX} can be sent; ask for less at once",
                C::TYPE
            );
            return Err(Unfit::new(ParkedKind::TooLarge, cause));
        }
        if emitter.first.is_none() && fingerprint.is_some() {
            emitter.engine_event(&CommandAcknowledged { command: C::TYPE.into() });
        }
        let (index, code) = emitter.first.unwrap_or_default();
        if let Some(fingerprint) = fingerprint {
            let first = FirstOutcome { payload_hash, offset: self.position.offset, index, code };
            self.parts.dedupe.insert(fingerprint, first, self.now);
        }
        let first_event = self.parts.log_id.message_id(self.position, index);
        Ok(Outcome::Decided { code, first_event })
    }

    fn emitter<'a, C>(
        &'a mut self,
        meta: Meta,
        command_meta: &'a Meta,
        command: &'a [u8],
        key: &'a dyn Any,
    ) -> Emitter<'a, C> {
        Emitter {
            record_key: self.record_key,
            key,
            position: self.position,
            now: self.now,
            parts: self.parts.reborrow(),
            meta,
            command_meta,
            command,
            first: None,
            too_large: None,
            marker: PhantomData,
        }
    }

    fn check_key<C: Message>(&mut self, key: C::Key) -> Result<(), Unfit> {
        self.parts.scratch.clear();
        key.write(self.parts.scratch);
        if self.parts.scratch.as_slice() == self.record_key {
            return Ok(());
        }
        let cause = format!(
            "the record's key is {}, its {} says \"{key}\"; send it with the latter",
            Shown(self.record_key),
            C::TYPE,
        );
        Err(Unfit::new(ParkedKind::WrongKey, cause))
    }

    /// Hash of the payload: of the bytes as they came, unless a release added fields to the type, or
    /// an encoder wrote them in a form that equal values need not share.
    fn payload_hash<C: Message>(
        &mut self,
        command: &C,
        reader: &Reader<'_>,
        body: &[u8],
    ) -> PayloadHash {
        let seed = self.payload_seed;
        if !C::GROWN && reader.is_canonical() {
            return PayloadHash::of(xxh3_64_with_seed(body, seed));
        }
        let mut form = FirstForm::into(std::mem::take(self.parts.scratch));
        command.first_form(&mut form);
        let hash = form.hash(seed);
        *self.parts.scratch = form.first;
        PayloadHash::of(hash)
    }

    /// The idempotency key of a command: its own, or else its message id.
    fn idempotency_key(meta: &mut Meta) -> Result<CompactString, Unfit> {
        match meta.idempotency_key.take() {
            Some(key) if key.is_empty() => {
                let cause = "the idempotency key is empty; leave it null to use the message id";
                Err(Unfit::new(ParkedKind::NoIdempotencyKey, cause))
            }
            Some(key) if key.len() > IDEMPOTENCY_KEY_BYTES_MAX => {
                let cause = format!(
                    "the idempotency key has {} bytes, at most {IDEMPOTENCY_KEY_BYTES_MAX} are remembered",
                    key.len()
                );
                Err(Unfit::new(ParkedKind::NoIdempotencyKey, cause))
            }
            Some(key) => Ok(key),
            None => Ok(meta.message_id.hyphenated().to_compact_string()),
        }
    }

    fn answer_again<C: Message>(
        &mut self,
        meta: &Meta,
        key: CompactString,
        first: FirstOutcome,
        payload_hash: PayloadHash,
    ) -> Outcome {
        let log_id = self.parts.log_id;
        let at = Position { partition: self.position.partition, offset: first.offset };
        let first_event = log_id.message_id(at, first.index);
        if first.payload_hash == payload_hash {
            return Outcome::Repeated { code: first.code, first_event };
        }
        let event = log_id.message_id(self.position, *self.parts.next_index);
        let stamp = self.stamp(meta, Some(key), payload_hash, 0);
        self.emitter::<C>(stamp, meta, &[], &()).engine_event(&CommandConflicted {
            command: C::TYPE.into(),
            first_event_id: first_event,
        });
        Outcome::Conflict { event, first_event }
    }

    /// The metadata that all messages of this call share.
    fn stamp(
        &self,
        meta: &Meta,
        key: Option<CompactString>,
        payload_hash: PayloadHash,
        depth: u8,
    ) -> Meta {
        let Parts { commands_topic, version, .. } = self.parts;
        let stamp = Stamp { position: self.position, now: self.now, commands_topic, version };
        stamp.of(meta, key, payload_hash.0, depth)
    }
}

/// Where and when a decision is made, and by which version.
pub(crate) struct Stamp<'a> {
    pub(crate) position: Position,
    pub(crate) now: Timestamp,
    pub(crate) commands_topic: &'a CompactString,
    pub(crate) version: &'a CompactString,
}

impl Stamp<'_> {
    /// The metadata of what a command leads to; its message has index 0 and no id yet.
    pub(crate) fn of(
        &self,
        command: &Meta,
        idempotency_key: Option<CompactString>,
        payload_hash: u64,
        depth: u8,
    ) -> Meta {
        Meta {
            message_id: Uuid::nil(),
            idempotency_key: None,
            correlation_id: Some(command.correlation_id.unwrap_or(command.message_id)),
            causation_id: Some(command.message_id),
            occurred_at: self.now,
            source: Some(Source {
                topic: self.commands_topic.clone(),
                partition: self.position.partition,
                offset: self.position.offset.cast_signed(),
                index: 0,
                depth,
                idempotency_key,
                payload_hash: payload_hash.cast_signed(),
                decided_by: self.version.clone(),
            }),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send), command: &str) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    format!("the handler of {command} panicked: {text}")
}
