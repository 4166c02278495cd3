//! What becomes of commands: their outcomes, and the records that a batch leads to.

use compact_str::CompactString;
use uuid::Uuid;

use crate::engine::ParkedKind;
use crate::limits::{self, CAUSE_BYTES_MAX};
use crate::record::{PackedHeaders, Records};

/// The records that a batch leads to.
#[derive(Debug, Default)]
pub struct Output {
    /// For the events topic.
    pub events: Records,
    /// For the commands topic (cascades); their partition is that of their key.
    pub commands: Records,
    /// For the parked topic.
    pub parked: Records,
    /// For the topics that commands asked to be answered on.
    pub replies: Vec<Answer>,
}

/// A reply on its way. Its allocations are paid by commands that ask for one, and by no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The topic that the command named.
    pub topic: CompactString,
    /// The command's `correlation-id`, to go back as a header; none where it was too long.
    pub correlation_id: Option<Vec<u8>>,
    /// The command's key; none where it was too long.
    pub key: Option<Vec<u8>>,
    /// The framed [`Reply`](crate::engine::Reply).
    pub value: Vec<u8>,
    /// More headers, packed.
    pub headers: Vec<u8>,
}

impl Answer {
    /// Its headers but the `correlation-id`.
    #[must_use]
    pub fn headers(&self) -> PackedHeaders<'_> {
        PackedHeaders::new(&self.headers)
    }
}

impl Output {
    /// Whether nothing came of the batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.commands.is_empty()
            && self.parked.is_empty()
            && self.replies.is_empty()
    }

    /// Drops all records and keeps the memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.commands.clear();
        self.parked.clear();
        self.replies.clear();
    }
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Decided now.
    Decided {
        /// 0 accepted, else the code of the refusal.
        code: u16,
        /// Its first event.
        first_event: Uuid,
    },
    /// The same key and payload as before: the first outcome again, and no new event.
    Repeated {
        /// Code of the first outcome.
        code: u16,
        /// First event of the first outcome.
        first_event: Uuid,
    },
    /// The same key with another payload.
    Conflict {
        /// The event that says so.
        event: Uuid,
        /// First event of the command that had the key first.
        first_event: Uuid,
    },
    /// Parked, with the cause in the parked topic.
    Parked(ParkedKind),
    /// A tick: only time passed.
    Ticked,
}

/// Why a record cannot be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The kind of cause.
    pub kind: ParkedKind,
    /// The cause in words.
    pub cause: String,
}

impl Unfit {
    /// A cause that is too long is cut.
    pub(crate) fn new(kind: ParkedKind, cause: impl Into<String>) -> Self {
        let mut cause = cause.into();
        limits::cut(&mut cause, CAUSE_BYTES_MAX);
        Self { kind, cause }
    }
}

/// What a handler's `run` gives.
pub type Decided = Result<Outcome, Unfit>;
