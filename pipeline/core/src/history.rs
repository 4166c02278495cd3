//! Which events a state holds: the proof that state, snapshot, copy and log are of one timeline.
//!
//! It travels with the committed offset and in snapshots. Offsets prove nothing: a broker's markers
//! take some, and a topic that was restored or made anew counts them again. A count proves little:
//! two timelines of one log often have as many events.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::avro::{Avro, DecodeError, Reader};
use crate::message::LogId;

/// Spreads the digest between two events; odd, so that nothing is lost.
///
/// # Source
/// Multiplier of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The events of a partition up to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The log.
    pub log_id: LogId,
    /// How many events, the genesis among them.
    pub events: u64,
    /// Source of the last one, its command's offset and its index; none of a genesis.
    pub last: Option<(u64, u16)>,
    /// Of the keys and values of all of them, in order.
    pub digest: u64,
}

impl History {
    /// Of no event.
    #[must_use]
    pub fn new(log_id: LogId) -> Self {
        Self { log_id, events: 0, last: None, digest: 0 }
    }

    /// Adds an event.
    #[inline]
    pub fn add(&mut self, source: Option<(u64, u16)>, key: &[u8], value: &[u8]) {
        self.events += 1;
        self.last = source;
        // Only the rotation waits for the event before.
        let event = xxh3_64(value) ^ xxh3_64(key).rotate_left(32);
        self.digest = (self.digest.rotate_left(7) ^ event).wrapping_mul(SPREAD);
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.log_id.0.encode(out);
        self.events.cast_signed().encode(out);
        let last = self.last.map(|(offset, index)| (offset.cast_signed(), index));
        last.map(|(offset, _)| offset).encode(out);
        last.map(|(_, index)| index).encode(out);
        self.digest.cast_signed().encode(out);
    }

    /// Reads what [`History::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are something else.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let log_id = LogId(Avro::decode(reader)?);
        let events = i64::decode(reader)?.cast_unsigned();
        let offset = Option::<i64>::decode(reader)?.map(i64::cast_unsigned);
        let last = offset.zip(Option::decode(reader)?);
        Ok(Self { log_id, events, last, digest: i64::decode(reader)?.cast_unsigned() })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log_id, events, last, digest } = self;
        write!(f, "{events} events of log {}", log_id.0)?;
        if let Some((offset, index)) = last {
            write!(f, ", the last of command offset {offset}, index {index}")?;
        }
        write!(f, " (digest {digest:016x})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn of(events: &[(&str, &str)]) -> History {
        let mut history = History::new(LogId(Uuid::from_u128(7)));
        for (at, (key, value)) in (0..).zip(events) {
            history.add(Some((at, 0)), key.as_bytes(), value.as_bytes());
        }
        history
    }

    #[test]
    fn histories_of_as_many_events_differ_by_key_by_value_and_by_order() {
        let one = of(&[("a", "x"), ("b", "y")]);
        assert_eq!(one, of(&[("a", "x"), ("b", "y")]));
        for other in [
            [("a", "x"), ("b", "z")],
            [("a", "x"), ("c", "y")],
            [("b", "y"), ("a", "x")],
            [("x", "a"), ("y", "b")],
            [("a", "y"), ("b", "x")],
        ] {
            assert_ne!(one.digest, of(&other).digest, "{other:?}");
        }
    }
}
