//! A transaction that the log refuses is taken apart: by partitions, then by halves, until the one
//! record is found whose outputs the log does not take. That one is parked by its position; all
//! others commit.
//!
//! The machine bounds every record that it writes, and the bounds are held against the topics when
//! the log is connected; this is for what changes since.

use super::ownership::Went;
use super::partition::{Carried, halve};
use super::{AssignmentState, Worker};
use crate::log::{Part, Transaction};

/// A part of a transaction that was taken apart.
pub(super) struct Piece {
    pub(super) part: Part,
    pub(super) carried: Carried,
}

impl Worker {
    /// Puts the pieces of a transaction in front of what waits.
    pub(super) fn take_apart(&mut self, transaction: Transaction) {
        let several = transaction.parts.len() > 1;
        let mut pieces = Vec::new();
        for part in transaction.parts {
            let Some(carried) = self.commit.carried.remove(&part.partition) else { continue };
            if several {
                pieces.push(Piece { part, carried });
                continue;
            }
            match halve(part, carried) {
                Ok(halves) => {
                    pieces.extend(halves.map(|(part, carried)| Piece { part, carried }));
                }
                Err((part, carried)) => self.set_aside(&part, &carried),
            }
        }
        tracing::debug!(pieces = pieces.len(), "a transaction is refused and taken apart");
        for piece in pieces.into_iter().rev() {
            self.commit.pieces.push_front(piece);
        }
    }

    /// One record leads to what the log does not take. What was decided behind it is of no use: the
    /// partition is restored up to it, and then it is parked.
    fn set_aside(&mut self, part: &Part, carried: &Carried) {
        let id = part.partition;
        self.commit.pieces.retain(|piece| piece.part.partition != id);
        let owned = self.partitions.get(&id).map(|partition| partition.epoch);
        let Some(after) = part.after.filter(|_| owned == Some(carried.epoch)) else { return };
        let offset = after.next_offset.saturating_sub(1);
        self.drop_state(id);
        if self.refused.insert(id, offset) == Some(offset) {
            // A timer that fires before it, or a topic that takes next to nothing.
            let what = "the log takes neither what it leads to nor its position in the topic of parked records: raise max.message.bytes of the topics (`bellhop topics check` names the values)";
            let Went::Done(partition) = self.refuse(id, Some(offset), what.to_owned()) else {
                return;
            };
            if let Some(failure) = partition.failure.clone() {
                let state = AssignmentState::StandsStill(failure);
                self.assignments.set(id, &self.name, state);
            }
            self.partitions.insert(id, *partition);
            if let Err(error) = self.log.pause(id) {
                // What still comes is not looked at.
                tracing::debug!(partition = id, %error, "a partition that stands still is not paused");
            }
            return;
        }
        tracing::error!(
            partition = id,
            offset,
            "the log does not take what this command leads to: it is parked by its position, the others go on"
        );
        if !self.revoked.contains(&id) {
            self.assignments.set(id, &self.name, AssignmentState::Restoring);
            self.assigned.push(id);
        }
    }
}
