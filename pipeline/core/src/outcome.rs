//! What becomes of commands: their outcomes, and the records that a batch leads to.

use uuid::Uuid;

use crate::engine::ParkedKind;
use crate::record::Records;

/// The records that a batch leads to.
#[derive(Debug, Default)]
pub struct Output {
    /// For the events topic.
    pub events: Records,
    /// For the commands topic (cascades); their partition is that of their key.
    pub commands: Records,
    /// For the parked topic.
    pub parked: Records,
}

impl Output {
    /// Whether nothing came of the batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.commands.is_empty() && self.parked.is_empty()
    }

    /// Drops all records and keeps the memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.commands.clear();
        self.parked.clear();
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
    pub(crate) fn new(kind: ParkedKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into() }
    }
}

/// What a handler's `run` gives.
pub type Decided = Result<Outcome, Unfit>;
