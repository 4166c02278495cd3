//! How large the records of a task can become, whatever it is given.
//!
//! A record that no broker takes makes the transaction of its whole batch fail, for ever. So what
//! comes from outside is cut, refused or not copied at the bounds below, and [`Largest`] adds them
//! up: at start it is held against the limits of the topics.
//!
//! # Invariants
//! No input leads to a record larger than [`Largest`] says (`tests/bounds.rs` tries).

use std::fmt;

/// Bytes of a record's key. A record with a longer one is parked, with the first bytes of its key.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Bytes of an idempotency key: it stands in every event of its command.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 1_024;
/// Bytes of a `correlation-id` that a reply takes over. A command that asks for a reply and has a
/// longer one is parked.
pub const CORRELATION_ID_BYTES_MAX: usize = 1_024;
/// Bytes of the cause in a parked record.
pub const CAUSE_BYTES_MAX: usize = 2_048;
/// Bytes kept of a value that is too large to decide.
pub const PARKED_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Bytes kept of the headers of a parked record, each with [`HEADER_LENGTHS_BYTES`].
pub const PARKED_HEADERS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of key and value of a message that a handler returns. Brokers take a record of 1,048,588
/// with its frame (`message.max.bytes`).
pub const MESSAGE_BYTES_MAX: usize = 1_000_000;
/// Bytes of the name that users see of a message type.
pub const TYPE_BYTES_MAX: usize = 128;

/// The lengths of a header's name and value.
pub const HEADER_LENGTHS_BYTES: usize = 10;
/// All headers that we write: a `tracestate` of 512 bytes, a key and a type as attributes of a
/// CloudEvent, and seven of fixed length.
const WRITTEN_HEADERS_BYTES_MAX: usize = KEY_BYTES_MAX + TYPE_BYTES_MAX + 512 + 512;
/// A parked record but for key, value, cause and headers: nine numbers and five lengths.
const PARKED_FIXED_BYTES: usize = 9 * 10 + 5 * 10;
/// A reply's value: nine numbers, an id, what a code is called, and an event or a cause.
const REPLY_BYTES_MAX: usize = 9 * 10 + 17 + TYPE_BYTES_MAX + MESSAGE_BYTES_MAX;
/// What a client adds to a record, and a batch of one (61 bytes).
///
/// # Source
/// Kafka, "Message Format", version 2.
const FRAMING_BYTES: usize = 128;

/// Bytes of the largest record of each topic, as brokers count them for `max.message.bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Largest {
    /// Of `bellhop.events`.
    pub event: usize,
    /// Of cascades in `bellhop.commands`.
    pub command: usize,
    /// Of `bellhop.parked`.
    pub parked: usize,
    /// Of the topics of replies.
    pub reply: usize,
}

impl Largest {
    /// Where values of so many bytes are decided.
    #[must_use]
    pub const fn of(value_bytes_max: usize) -> Self {
        let kept = if value_bytes_max > PARKED_VALUE_BYTES_MAX {
            value_bytes_max
        } else {
            PARKED_VALUE_BYTES_MAX
        };
        let message = FRAMING_BYTES + MESSAGE_BYTES_MAX + WRITTEN_HEADERS_BYTES_MAX;
        Self {
            event: message,
            command: message,
            parked: FRAMING_BYTES
                + PARKED_FIXED_BYTES
                + KEY_BYTES_MAX
                + kept
                + CAUSE_BYTES_MAX
                + PARKED_HEADERS_BYTES_MAX,
            reply: FRAMING_BYTES
                + REPLY_BYTES_MAX
                + KEY_BYTES_MAX
                + CORRELATION_ID_BYTES_MAX
                + WRITTEN_HEADERS_BYTES_MAX,
        }
    }
}

/// The first bytes, at most so many.
pub(crate) fn first(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

/// Cuts a text at the end of a character; what was cut shows as three dots.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    const DOTS: &str = "...";
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - DOTS.len()));
        text.push_str(DOTS);
    }
}

/// A key for people: its first bytes, those that are no plain text escaped.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        write!(f, "\"{}\"", first(self.0, SHOWN).escape_ascii())?;
        match self.0.len() {
            0..=SHOWN => Ok(()),
            bytes => write!(f, " (the first {SHOWN} of {bytes} bytes)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, cut_to) in
            [("", ""), ("abcdef", "abcdef"), ("abcdefg", "abc..."), ("abüüü", "ab...")]
        {
            let mut text = text.to_owned();
            cut(&mut text, 6);
            assert_eq!(text, cut_to);
        }
    }

    #[test]
    fn a_key_is_shown_escaped_and_short() {
        assert_eq!(Shown(b"a\xff\"b").to_string(), "\"a\\xff\\\"b\"");
        let long = Shown(&[0xff; 900_000]).to_string();
        assert!(long.ends_with("\\xff\" (the first 64 of 900000 bytes)"), "{long}");
        assert!(long.len() < 300);
    }
}
