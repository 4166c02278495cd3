//! Timers: messages that come due inside a partition.
//!
//! Processors set them, so they are a fold of the events like every store. Before the record
//! stamped t is handled, timers due at or before t fire in the order of [`TimerId`].
//!
//! # Invariants
//! A timer is due after the instant of the event that set it. So none fires before the record that
//! set it has been handled, and the fold of the events alone knows which are still to come: those
//! due after the last stream time.

use std::collections::BTreeMap;

use bellhop_macros::Avro;
use uuid::Uuid;

use crate::avro::{Avro, DecodeError, Reader, write_bytes, write_long};
use crate::message::{Kind, Message, MessageKey, Timestamp};

/// Names a timer; the order of firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro)]
#[avro(name = "bellhop.TimerId")]
pub struct TimerId {
    /// When it fires.
    pub due: Timestamp,
    /// The event that set it.
    pub event_id: Uuid,
    /// Which of the timers that the event set.
    pub index: u16,
}

/// A timer that has not fired: its message type and datum (without `meta`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Avro name of the message.
    pub name: String,
    /// Its record key.
    pub key: Vec<u8>,
    /// The message.
    pub datum: Vec<u8>,
}

/// The timers of one partition.
#[derive(Debug, Default)]
pub struct Timers {
    pending: BTreeMap<TimerId, Pending>,
    now: Timestamp,
    event_id: Uuid,
    next_index: u16,
}

impl Timers {
    /// Sets a timer; due at once means one microsecond after the event that sets it.
    pub fn set<T: Message>(&mut self, due: Timestamp, message: &T) -> TimerId {
        assert!(matches!(T::KIND, Kind::Timer), "{} is not a timer", T::TYPE);
        let due = due.max(Timestamp(self.now.0.saturating_add(1)));
        let id = TimerId { due, event_id: self.event_id, index: self.next_index };
        self.next_index += 1;
        let (mut key, mut datum) = (Vec::new(), Vec::new());
        message.key().write(&mut key);
        message.encode(&mut datum);
        self.pending.insert(id, Pending { name: T::NAME.to_owned(), key, datum });
        id
    }

    /// Takes a timer back; false when it has fired.
    pub fn cancel(&mut self, id: &TimerId) -> bool {
        self.pending.remove(id).is_some()
    }

    /// How many are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The instant of the next one.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.pending.first_key_value().map(|(id, _)| id.due)
    }

    /// Names the event whose processors are about to run.
    pub(crate) fn begin_event(&mut self, now: Timestamp, event_id: Uuid) {
        (self.now, self.event_id, self.next_index) = (now, event_id, 0);
    }

    /// Takes the first timer due at or before `now`.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(TimerId, Pending)> {
        let first = self.pending.first_entry()?;
        (first.key().due <= now).then(|| first.remove_entry())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write_long(self.pending.len() as i64, out);
        for (id, pending) in &self.pending {
            id.encode(out);
            pending.name.encode(out);
            write_bytes(&pending.key, out);
            write_bytes(&pending.datum, out);
        }
    }

    pub(crate) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.pending.clear();
        for _ in 0..reader.long()? {
            let id = TimerId::decode(reader)?;
            let name = String::decode(reader)?;
            let (key, datum) = (reader.bytes()?.to_vec(), reader.bytes()?.to_vec());
            self.pending.insert(id, Pending { name, key, datum });
        }
        Ok(())
    }
}
