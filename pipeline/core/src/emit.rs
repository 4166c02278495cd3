//! Sending what a handler returned: stamped, through the processors, into the output.

use std::any::Any;
use std::marker::PhantomData;

use crate::avro::{Avro, Reader};
use crate::call::Parts;
use crate::context::Context;
use crate::engine::{EngineRecord, encode_with_meta};
use crate::limits::{MESSAGE_BYTES_MAX, Shown};
use crate::message::{Message, MessageKey, Meta, Position, Timestamp};
use crate::processor::Apply;
use crate::record::{Records, frame};

/// Sends what a handler returned: events through their processors into the output, commands to
/// the commands topic.
pub struct Emitter<'a, C> {
    pub(crate) parts: Parts<'a>,
    pub(crate) meta: Meta,
    pub(crate) command_meta: &'a Meta,
    pub(crate) record_key: &'a [u8],
    /// The same as its type.
    pub(crate) key: &'a dyn Any,
    pub(crate) command: &'a [u8],
    pub(crate) position: Position,
    pub(crate) now: Timestamp,
    /// Index and code of the first event.
    pub(crate) first: Option<(u16, u16)>,
    /// What was too large to be sent: nothing is, then.
    pub(crate) too_large: Option<TooLarge>,
    pub(crate) marker: PhantomData<C>,
}

/// A message that no broker takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TooLarge {
    pub(crate) message: &'static str,
    pub(crate) bytes: usize,
}

impl<C> Emitter<'_, C> {
    /// What the handler knew.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            position: self.position,
            rules: self.parts.rules,
            meta: self.command_meta,
            body: self.command,
        }
    }

    /// Stamps the next message: its index and id.
    fn next_message(&mut self) {
        let index = *self.parts.next_index;
        let next = index.checked_add(1);
        *self.parts.next_index =
            next.unwrap_or_else(|| panic!("{}: 65,536 messages", self.position));
        self.meta.message_id = self.parts.log_id.message_id(self.position, index);
        if let Some(source) = &mut self.meta.source {
            source.index = index;
        }
    }

    /// Remembers the index and code of the first event.
    fn note_first(&mut self, code: u16) {
        let index = self.meta.source.as_ref().map_or(0, |source| source.index);
        self.first.get_or_insert((index, code));
    }

    /// Applies an event to the stores and writes it out.
    ///
    /// It is encoded first: one that is too large has changed nothing.
    ///
    /// # Panics
    /// When it is too large and others of the same command were applied before it.
    pub(crate) fn event<E: Message>(&mut self, event: &E) {
        if self.too_large.is_some() {
            return;
        }
        self.next_message();
        self.check_key(event);
        let entry = self.parts.topology.event_of::<E>();
        let schema_id = self.parts.wire.event_id(entry.index);
        let mut body_at = 0;
        self.write_event(schema_id, |meta, out| {
            meta.encode(out);
            body_at = out.len();
            event.encode(out);
        });
        if take_back_too_large(&mut self.parts.output.events, E::TYPE, &mut self.too_large) {
            assert!(self.first.is_none(), "{} is too large after other events", E::TYPE);
            return;
        }
        self.add_to_history();
        if let Some(headers) = self.parts.headers {
            headers.add_to(&mut self.parts.output.events, self.meta.message_id, E::TYPE, self.now);
        }
        let call = Apply {
            entry,
            stores: self.parts.stores,
            timers: self.parts.timers,
            meta: &self.meta,
            position: self.position,
            rules: self.parts.rules,
            body: self.parts.output.events.written_from(body_at),
        };
        call.to(event);
        self.note_first(event.outcome_code());
    }

    /// # Panics
    /// When the event is of another key than what led to it.
    fn check_key<E: Message>(&mut self, event: &E) {
        let key = event.key();
        if self.key.downcast_ref() == Some(&key) {
            return;
        }
        self.parts.scratch.clear();
        key.write(self.parts.scratch);
        assert!(
            self.parts.scratch.as_slice() == self.record_key,
            "{} of {key} came of a message of {}: an event belongs to the key that was asked",
            E::TYPE,
            Shown(self.record_key),
        );
    }

    pub(crate) fn engine_event<T: EngineRecord>(&mut self, record: &T) {
        self.next_message();
        self.note_first(0);
        let schema_id = self.parts.wire.written_id(T::NAME);
        self.write_event(schema_id, |meta, out| encode_with_meta(meta, record, out));
        self.add_to_history();
        if let Some(headers) = self.parts.headers {
            headers.add_to(&mut self.parts.output.events, self.meta.message_id, T::TYPE, self.now);
        }
    }

    fn add_to_history(&mut self) {
        let index = self.meta.source.as_ref().map_or(0, |source| source.index);
        if let Some(event) = self.parts.output.events.last() {
            self.parts.history.add(Some((self.position.offset, index)), event.key, event.value);
        }
    }

    fn write_event(&mut self, schema_id: u32, body: impl FnOnce(&Meta, &mut Vec<u8>)) {
        let Self { parts, meta, record_key, now, .. } = self;
        parts.output.events.push(
            *now,
            |out| out.extend_from_slice(record_key),
            |out| {
                frame(schema_id, out);
                body(meta, out);
            },
        );
    }

    /// Writes a command to the commands topic.
    ///
    /// # Panics
    /// When it is too large and events of the same command were applied before it.
    pub(crate) fn cascade<M: Message>(&mut self, command: &M) {
        if self.too_large.is_some() {
            return;
        }
        self.next_message();
        let Self { parts, meta, now, .. } = self;
        let depth = meta.source.as_ref().map_or(0, |source| source.depth);
        if let Some(source) = &mut meta.source {
            source.depth = depth + 1;
        }
        let schema_id = parts.wire.written_id(M::NAME);
        parts.output.commands.push(
            *now,
            |out| command.key().write(out),
            |out| {
                frame(schema_id, out);
                meta.encode(out);
                command.encode(out);
            },
        );
        if let Some(source) = &mut meta.source {
            source.depth = depth;
        }
        if take_back_too_large(&mut parts.output.commands, M::TYPE, &mut self.too_large) {
            assert!(self.first.is_none(), "{} is too large after events", M::TYPE);
        } else if let Some(headers) = parts.headers {
            headers.add_to(&mut parts.output.commands, meta.message_id, M::TYPE, *now);
        }
    }
}

/// Drops the last record again if no broker would take it.
fn take_back_too_large(
    records: &mut Records,
    message: &'static str,
    too_large: &mut Option<TooLarge>,
) -> bool {
    let last = records.len() - 1;
    let bytes = records.get(last).map_or(0, |record| record.key.len() + record.value.len());
    if bytes <= MESSAGE_BYTES_MAX {
        return false;
    }
    records.truncate(last);
    *too_large = Some(TooLarge { message, bytes });
    true
}

impl<C: Message> Emitter<'_, C> {
    /// The command once more: handlers take it by value, refusals are rare and want to see it.
    pub(crate) fn command_again(&self) -> C {
        match C::decode(&mut Reader::new(self.command)) {
            Ok(command) => command,
            Err(error) => panic!("{} decoded before and not again: {error}", C::TYPE),
        }
    }
}
