//! The state of one owned partition.
//!
//! ```text
//! Looking ─▶ Idle ─▶ Sealed ─▶ (mark) ─▶ Marked ─▶ Flying ─▶ Idle
//!    └─────────────────▲          ▲                   │
//!       a plan to finish          └───── Waiting ◀────┘ failed, or not known
//! ```
//!
//! While a batch is on its way the next one is collected; when that is full as well, the partition
//! is paused.

use std::sync::Arc;
use std::time::Instant;

use crate::batch::{Batch, Building};
use crate::circuit::Ladder;

/// Where the batch of a lane stands.
#[derive(Debug)]
pub(crate) enum State {
    /// It is not known yet where to go on.
    Looking,
    /// Where to go on is looked up again then.
    LookAgain(Instant),
    /// No batch.
    Idle,
    /// A batch whose plan is to be marked, now or at a time.
    Sealed(Planned, Instant),
    /// A batch that is being inserted.
    Flying(Planned),
}

/// A batch and what has become of it so far.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) batch: Arc<Batch>,
    /// None of its rows can be in yet; otherwise they are counted first.
    pub(crate) fresh: bool,
    /// From then on no earlier insert can reach the server any more.
    pub(crate) settled_at: Option<Instant>,
}

impl Planned {
    pub(crate) fn new(batch: Batch) -> Self {
        Self { batch: Arc::new(batch), fresh: true, settled_at: None }
    }

    /// A batch of which some rows may be in already; `settled_at` as above.
    pub(crate) fn counted(batch: Batch, settled_at: Instant) -> Self {
        Self { batch: Arc::new(batch), fresh: false, settled_at: Some(settled_at) }
    }
}

/// A partition.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) state: State,
    /// Counts what was asked of the pool, so that an answer to an earlier owner is known as such.
    pub(crate) turn: u64,
    pub(crate) building: Building,
    /// When the first event of it came.
    pub(crate) opened_at: Option<Instant>,
    /// When the last batch was sealed.
    pub(crate) sealed_at: Option<Instant>,
    /// Offset of the next event to take.
    pub(crate) next: u64,
    /// Offset of the last event that has landed; -1 for none.
    pub(crate) landed: i64,
    /// What `landed` moves to was not marked yet.
    pub(crate) unmarked: bool,
    /// The mark and the tables did not agree: the next batch is counted before it is inserted.
    pub(crate) count_next: bool,
    pub(crate) paused: bool,
    /// It stays paused until then: it waits for a schema.
    pub(crate) held_until: Option<Instant>,
    /// Where the group goes on with it, as it was when it was assigned.
    pub(crate) marked: u64,
    /// Why it is not taken over, and what to do about it.
    pub(crate) damage: Option<String>,
    /// It is asked back: nothing new is begun.
    pub(crate) leaving: bool,
    pub(crate) ladder: Ladder,
}

impl Lane {
    pub(crate) fn new(turn: u64) -> Self {
        Self {
            state: State::Looking,
            turn,
            building: Building::behind(-1),
            opened_at: None,
            sealed_at: None,
            next: 0,
            landed: -1,
            unmarked: false,
            count_next: false,
            paused: true,
            held_until: None,
            marked: 0,
            damage: None,
            leaving: false,
            ladder: Ladder::default(),
        }
    }

    /// Bytes of rows that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let on_its_way = match &self.state {
            State::Sealed(planned, _) | State::Flying(planned) => planned.batch.bytes(),
            State::Looking | State::LookAgain(_) | State::Idle => 0,
        };
        self.building.bytes() + on_its_way
    }

    /// Whether a batch is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.state, State::Sealed(..) | State::Flying(_))
    }
}
