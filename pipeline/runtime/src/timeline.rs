//! One timeline: whether a state has gone through the history that is committed.

use std::fmt;

use bellhop_core::history::History;
use bellhop_core::message::LogId;
use bellhop_core::task::Progress;

use crate::restore::Expected;

/// How the events of a partition, or a state, differ from what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// The committed offset is of another log.
    OtherLog {
        /// The log of the events.
        events: LogId,
        /// The log of the committed offset.
        committed: LogId,
    },
    /// Events are missing.
    Fewer {
        /// What is there.
        found: History,
        /// What was committed.
        committed: History,
    },
    /// A state holds more than is committed.
    Ahead {
        /// What it holds.
        found: History,
        /// What was committed.
        committed: History,
    },
    /// As many events, and not the same.
    Differs {
        /// What was committed.
        committed: History,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherLog { events, committed } => write!(
                f,
                "its events are of log {}, its committed offset is of log {}: the topics were made anew, or one of the two comes from another cluster",
                events.0, committed.0
            ),
            Self::Fewer { found, committed } => {
                let missing = committed.events - found.events.min(committed.events);
                write!(
                    f,
                    "{missing} of the {} events that were committed are missing: found are {found}, committed {committed}",
                    committed.events
                )
            }
            Self::Ahead { found, committed } => write!(
                f,
                "it holds more than was committed: it has {found}, committed are {committed}"
            ),
            Self::Differs { committed } => write!(
                f,
                "its first {} events are not those that were committed: some were lost or replaced, as in a topic that was restored or copied",
                committed.events
            ),
        }
    }
}

impl std::error::Error for Mismatch {}

/// Watches a fold go through the history that is committed.
///
/// A fold may go further: a reader that is no worker meets what workers commit meanwhile, and an
/// offset may have been moved back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof {
    committed: Option<Progress>,
    /// Events that were decided again need not be the same, byte for byte, in another version.
    counts_only: bool,
    seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    NotYet,
    Same,
    Other,
}

impl Proof {
    pub(crate) fn of(expected: Expected) -> Self {
        let Expected { committed, runs_ahead } = expected;
        Self { committed, counts_only: runs_ahead, seen: Seen::NotYet }
    }

    fn committed(&self) -> Option<History> {
        self.committed.and_then(|committed| committed.history)
    }

    /// Whether the committed progress is of a log.
    pub(crate) fn same_log(&self, log_id: LogId) -> Result<(), Mismatch> {
        match self.committed() {
            Some(History { log_id: committed, .. }) if committed != log_id => {
                Err(Mismatch::OtherLog { events: log_id, committed })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a fold may go on from a state.
    pub(crate) fn may_begin_with(&self, found: History, at: Progress) -> Result<(), Mismatch> {
        let (Some(progress), Some(committed)) = (self.committed, self.committed()) else {
            return Ok(());
        };
        let ahead = if self.counts_only {
            at.next_offset > progress.next_offset
        } else {
            found.events > committed.events
        };
        if ahead {
            return Err(Mismatch::Ahead { found, committed });
        }
        let differs = found.events == committed.events && found.digest != committed.digest;
        if differs && !self.counts_only {
            return Err(Mismatch::Differs { committed });
        }
        Ok(())
    }

    /// Called for each state that a fold goes through.
    #[inline]
    pub(crate) fn look(&mut self, found: History) {
        if let Some(committed) = self.committed()
            && found.events == committed.events
        {
            let same = self.counts_only || found.digest == committed.digest;
            self.seen = if same { Seen::Same } else { Seen::Other };
        }
    }

    /// Whether the fold that ended with these events has gone through the committed history.
    pub(crate) fn verdict(&self, found: History) -> Result<(), Mismatch> {
        let Some(committed) = self.committed() else { return Ok(()) };
        match self.seen {
            Seen::Same => Ok(()),
            Seen::Other => Err(Mismatch::Differs { committed }),
            Seen::NotYet if found.events < committed.events => {
                Err(Mismatch::Fewer { found, committed })
            }
            Seen::NotYet if self.counts_only => Ok(()),
            Seen::NotYet => Err(Mismatch::Ahead { found, committed }),
        }
    }
}
