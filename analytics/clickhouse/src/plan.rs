//! The plan of a batch, as it is noted in the mark before anything is inserted.

use std::hash::{BuildHasher as _, RandomState};

use bellhop_core::message::LogId;
use serde::{Deserialize, Serialize};

use crate::server;
use crate::target::COUNT;

/// What a batch holds and how its inserts are named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Offset of its first event.
    pub(crate) first: u64,
    /// Offset of its last event.
    pub(crate) last: u64,
    /// Offset of the event before the first; -1 for none.
    pub(crate) previous: i64,
    /// Tells it from every other plan of the same events, whose names may be used up by rows that
    /// were deleted since.
    pub(crate) nonce: u64,
    /// By target: how often its name was found used up (see `docs/clickhouse.md`).
    #[serde(default)]
    pub(crate) burnt: [u32; COUNT],
}

/// What is noted in a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Version of the note.
    v: u32,
    /// Offset of the last event that has landed; -1 for none.
    pub(crate) landed: i64,
    /// What is under way.
    pub(crate) plan: Option<Plan>,
}

const VERSION: u32 = 2;

impl Note {
    pub(crate) fn of(landed: i64, plan: Option<Plan>) -> Self {
        Self { v: VERSION, landed, plan }
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` for a note of somebody else, as a tool that has reset the group leaves it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|note: &Self| note.v == VERSION)
    }
}

impl Plan {
    /// A plan that nobody has marked yet.
    pub(crate) fn new(first: u64, last: u64, previous: i64) -> Self {
        let nonce = RandomState::new().hash_one(server::now().to_bits());
        Self { first, last, previous, nonce, burnt: [0; COUNT] }
    }

    /// The name of its block in a target: the same whoever inserts it.
    pub(crate) fn token(&self, log: LogId, partition: u32, target: usize) -> String {
        let burnt = self.burnt.get(target).copied().unwrap_or(0);
        let Self { first, last, nonce, .. } = self;
        format!("{}/{partition}/{first}-{last}/{nonce:016x}/{burnt}", log.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_plans_of_the_same_events_have_different_names() {
        let (log, plan) = (LogId(uuid::Uuid::nil()), Plan::new(10, 99, 8));
        assert_ne!(plan.token(log, 0, 0), Plan::new(10, 99, 8).token(log, 0, 0));
        assert_eq!(plan.token(log, 0, 0), plan.clone().token(log, 0, 0));
    }

    #[test]
    fn a_note_comes_back_and_a_foreign_one_is_none() {
        let plan = Plan::new(10, 99, 8);
        let note = Note::of(8, Some(plan));
        assert_eq!(Note::parse(&note.text()), Some(note.clone()));
        assert!(note.text().len() < 200, "{}", note.text());
        for foreign in ["", "{}", "kafka-consumer-groups", r#"{"v":1,"landed":1,"plan":null}"#] {
            assert_eq!(Note::parse(foreign), None, "{foreign}");
        }
    }
}
