//! Who owns what, and what each member has been told of it.
//!
//! A partition has an epoch that grows with each owner; a member commits under the epoch that its
//! polls had shown it when it submitted, so that a zombie which got its partition back, unawares or
//! before the end of its commit, commits nothing.
//!
//! # Invariants
//! 1. A partition changes hands only when no transaction on it is undecided.
//! 2. Notices of one partition reach a member in the order in which they came about.
//!
//! # Source
//! KIP-429 (cooperative rebalancing), KIP-447 (the generation taken at poll fences).

use std::collections::{BTreeMap, VecDeque};

use bellhop_core::message::{HOUR_US, Timestamp};
use bellhop_core::task::Progress;

use super::super::{Ended, Polled, Transaction};
use super::topics::TransactionId;
use super::world::World;
use crate::clock::Clock as _;

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    In,
    /// Left of its own accord.
    Left,
    /// Gone; the group finds out later.
    Crashed,
    /// Shut out for good.
    Fenced,
}

/// A transaction that is not decided.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: TransactionId,
    pub(super) after: Vec<(u32, Option<Progress>)>,
    /// The epochs under which it was submitted, in the order of `after`; `None` was not held.
    pub(super) epochs: Vec<Option<u64>>,
    /// Until it is given back.
    pub(super) transaction: Option<Transaction>,
    /// Its owner was told that nobody knows.
    pub(super) unknown: bool,
    /// Its owner has it back, and will ask what became of it.
    pub(super) asked: bool,
    /// Only a part of it was written.
    pub(super) torn: bool,
    /// A request that came late has ended it.
    pub(super) cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    Assigned { partition: u32, epoch: u64 },
    Revoked(u32),
    Lost(u32),
}

impl Notice {
    fn is_of(self, partition: u32) -> bool {
        match self {
            Self::Assigned { partition: of, .. } | Self::Revoked(of) | Self::Lost(of) => {
                of == partition
            }
        }
    }
}

/// A partition as a member knows it.
#[derive(Debug)]
struct Held {
    epoch: u64,
    next: Option<u64>,
    paused: bool,
}

#[derive(Debug)]
struct Membership {
    standing: Standing,
    notices: VecDeque<Notice>,
    held: BTreeMap<u32, Held>,
    open: Option<Open>,
    /// The request that ended its last transaction is on its way once more.
    late_end: bool,
    /// How its transaction ended, which it has not been told yet.
    verdict: Option<(Transaction, Ended)>,
}

#[derive(Debug, Default)]
struct Ownership {
    owner: Option<usize>,
    epoch: u64,
    /// Who gets it when its owner has released it.
    next: Option<usize>,
    revoking: bool,
    /// Steps for which it delivers nothing.
    stalled: u64,
}

/// The group of workers.
#[derive(Debug)]
pub(super) struct Group {
    members: Vec<Membership>,
    partitions: Vec<Ownership>,
}

impl Group {
    pub(super) fn new(partitions: u32) -> Self {
        Self {
            members: Vec::new(),
            partitions: (0..partitions).map(|_| Ownership::default()).collect(),
        }
    }

    pub(super) fn standing(&self, member: usize) -> Standing {
        self.members[member].standing
    }

    fn present(&self) -> Vec<usize> {
        let present = |member: &usize| self.standing(*member) == Standing::In;
        (0..self.members.len()).filter(present).collect()
    }

    fn owned_by(&self, member: usize) -> Vec<u32> {
        let owned = self.partitions.iter().zip(0_u32..);
        owned.filter(|(at, _)| at.owner == Some(member)).map(|(_, partition)| partition).collect()
    }

    /// The next change of ownership, together with those of the same kind behind it.
    pub(super) fn next_notice(&mut self, member: usize) -> Option<Polled> {
        let Membership { notices, held, .. } = &mut self.members[member];
        let first = *notices.front()?;
        let mut told = Vec::new();
        while let Some(notice) = notices.front().copied() {
            match (first, notice) {
                (Notice::Assigned { .. }, Notice::Assigned { partition, epoch }) => {
                    held.insert(partition, Held { epoch, next: None, paused: true });
                    told.push(partition);
                }
                (Notice::Revoked(_), Notice::Revoked(partition)) => {
                    if let Some(held) = held.get_mut(&partition) {
                        held.paused = true;
                    }
                    told.push(partition);
                }
                (Notice::Lost(_), Notice::Lost(partition)) => {
                    held.remove(&partition);
                    told.push(partition);
                }
                (Notice::Assigned { .. } | Notice::Revoked(_) | Notice::Lost(_), _) => break,
            }
            notices.pop_front();
        }
        Some(match first {
            Notice::Assigned { .. } => Polled::Assigned(told),
            Notice::Revoked(_) => Polled::Revoked(told),
            Notice::Lost(_) => Polled::Lost(told),
        })
    }

    /// Partitions whose records may come to a member, with the next offset of each.
    pub(super) fn delivering(&self, member: usize) -> impl Iterator<Item = (u32, u64)> {
        self.members[member].held.iter().filter_map(|(partition, held)| {
            let at = &self.partitions[*partition as usize];
            let flows = !held.paused && at.epoch == held.epoch && at.stalled == 0;
            held.next.filter(|_| flows).map(|next| (*partition, next))
        })
    }

    pub(super) fn delivered(&mut self, member: usize, partition: u32, next: u64) {
        if let Some(held) = self.members[member].held.get_mut(&partition) {
            held.next = Some(next);
        }
    }

    pub(super) fn start(&mut self, member: usize, partition: u32, next: u64) {
        if let Some(held) = self.members[member].held.get_mut(&partition) {
            (held.next, held.paused) = (Some(next), false);
        }
    }

    pub(super) fn pause(&mut self, member: usize, partition: u32) {
        if let Some(held) = self.members[member].held.get_mut(&partition) {
            held.paused = true;
        }
    }

    /// Whether a member owns a partition and knows it.
    pub(super) fn holds(&self, member: usize, partition: u32) -> bool {
        let at = &self.partitions[partition as usize];
        let held = self.members[member].held.get(&partition);
        at.owner == Some(member) && held.is_some_and(|held| held.epoch == at.epoch)
    }

    /// The epoch under which a member holds a partition.
    pub(super) fn epoch(&self, member: usize, partition: u32) -> Option<u64> {
        self.members[member].held.get(&partition).map(|held| held.epoch)
    }

    /// Whether a member was asked for a partition that it still owns, and knows it.
    pub(super) fn is_revoking(&self, member: usize) -> bool {
        let told =
            |partition: u32| !self.members[member].notices.contains(&Notice::Revoked(partition));
        self.owned_by(member).into_iter().any(|partition| {
            self.partitions[partition as usize].revoking
                && self.holds(member, partition)
                && told(partition)
        })
    }

    // Transactions.

    pub(super) fn check_submit(&self, member: usize) {
        let Membership { open, verdict, .. } = &self.members[member];
        assert!(
            open.is_none() && verdict.is_none(),
            "member {member} submits before its last transaction ended, or before it recovered"
        );
    }

    pub(super) fn open(&mut self, member: usize, open: Open) {
        self.members[member].open = Some(open);
    }

    /// Keeps the end of a transaction until its owner asks.
    pub(super) fn tell(&mut self, member: usize, transaction: Transaction, ended: Ended) {
        self.members[member].verdict = Some((transaction, ended));
    }

    pub(super) fn take_verdict(&mut self, member: usize) -> Option<(Transaction, Ended)> {
        self.members[member].verdict.take()
    }

    pub(super) fn close(&mut self, member: usize) -> Option<Open> {
        self.members[member].open.take()
    }

    /// Gives the transaction back though it is undecided.
    pub(super) fn forget(&mut self, member: usize) -> Option<Transaction> {
        let open = self.members[member].open.as_mut()?;
        open.unknown = true;
        open.transaction.take()
    }

    /// What a member has submitted and was not given back.
    pub(super) fn submitted(&self, member: usize) -> Option<&Transaction> {
        self.members[member].open.as_ref()?.transaction.as_ref()
    }

    /// The owner will recover, and ask.
    pub(super) fn will_ask(&mut self, member: usize) {
        if let Some(open) = &mut self.members[member].open {
            open.asked = true;
        }
    }

    pub(super) fn is_asked(&self, member: usize) -> bool {
        self.members[member].open.as_ref().is_some_and(|open| open.asked)
    }

    pub(super) fn is_cut(&self, member: usize) -> bool {
        self.members[member].open.as_ref().is_some_and(|open| open.cut)
    }

    pub(super) fn set_late_end(&mut self, member: usize) {
        self.members[member].late_end = true;
    }

    pub(super) fn take_late_end(&mut self, member: usize) -> bool {
        std::mem::take(&mut self.members[member].late_end)
    }

    pub(super) fn has_transaction(&self, member: usize) -> bool {
        self.members[member].open.as_ref().is_some_and(|open| !open.unknown)
    }

    pub(super) fn is_unknown(&self, member: usize) -> bool {
        self.members[member].open.as_ref().is_some_and(|open| open.unknown)
    }

    pub(super) fn is_torn(&self, member: usize) -> Option<bool> {
        self.members[member].open.as_ref().map(|open| open.torn)
    }

    /// Whether a member's transaction is about a partition that it owns no more.
    pub(super) fn is_stale(&self, member: usize) -> bool {
        self.members[member].open.as_ref().is_some_and(|open| {
            open.after.iter().zip(&open.epochs).any(|((partition, _), epoch)| {
                let at = &self.partitions[*partition as usize];
                at.owner != Some(member) || Some(at.epoch) != *epoch
            })
        })
    }

    /// The member whose undecided transaction is about a partition.
    pub(super) fn open_on(&self, partition: u32) -> Option<usize> {
        self.members.iter().position(|member| {
            member
                .open
                .as_ref()
                .is_some_and(|open| open.after.iter().any(|(other, _)| *other == partition))
        })
    }
}

/// Ownership moves.
impl World {
    pub(super) fn join(&mut self) -> usize {
        self.group.members.push(Membership {
            standing: Standing::In,
            notices: VecDeque::new(),
            held: BTreeMap::new(),
            open: None,
            late_end: false,
            verdict: None,
        });
        let member = self.group.members.len() - 1;
        self.trace.note(format_args!("{member} joins"));
        self.deal(0);
        member
    }

    /// The member goes and says so.
    pub(super) fn leave(&mut self, member: usize) {
        if self.group.standing(member) == Standing::In {
            self.trace.note(format_args!("{member} leaves"));
            self.group.members[member].standing = Standing::Left;
            self.expire(member);
        }
    }

    pub(super) fn crash(&mut self, member: usize) {
        if self.group.standing(member) == Standing::In {
            self.trace.note(format_args!("{member} crashes"));
            self.group.members[member].standing = Standing::Crashed;
        }
    }

    pub(super) fn fence(&mut self, member: usize) {
        if self.group.standing(member) == Standing::In {
            self.trace.note(format_args!("{member} is fenced"));
            self.group.members[member].standing = Standing::Fenced;
            self.expire(member);
        }
    }

    /// What the caller of a release has given up goes to its next owner.
    ///
    /// # Panics
    /// When a transaction on one of them is undecided.
    pub(super) fn release(&mut self, member: usize, partitions: &[u32]) {
        for partition in partitions.iter().copied() {
            assert!(
                self.group.open_on(partition) != Some(member),
                "member {member} releases {partition} with an undecided transaction on it"
            );
            let holds = self.group.holds(member, partition);
            let Membership { held, notices, .. } = &mut self.group.members[member];
            // What a member has given up is not told to be lost any more; what it is given again
            // may be.
            if held.remove(&partition).is_some()
                && let Some(first) = notices.iter().position(|notice| notice.is_of(partition))
                && notices.get(first) == Some(&Notice::Lost(partition))
            {
                notices.remove(first);
            }
            if holds {
                let next = self.group.partitions[partition as usize].next;
                self.give(partition, next);
            }
        }
        self.trace.note(format_args!("{member} releases {partitions:?}"));
    }

    /// The world goes one step on.
    pub(super) fn step(&mut self) {
        for partition in &mut self.group.partitions {
            partition.stalled = partition.stalled.saturating_sub(1);
        }
        for member in 0..self.group.members.len() {
            let gone = self.group.standing(member) == Standing::Crashed;
            // What it left behind: partitions, or a transaction on some that it had lost already.
            let left =
                !self.group.owned_by(member).is_empty() || self.group.is_torn(member).is_some();
            if gone && left && self.random.chance(2_500) {
                self.trace.note(format_args!("the session of {member} expires"));
                self.expire(member);
            }
        }
        if self.strikes("rebalance", self.faults.rebalance) {
            let turn = self.random.below(self.group.partitions.len() as u64);
            self.deal(turn as usize);
        }
        if self.strikes("lost", self.faults.lost)
            && let Some(member) = self.any_member()
        {
            for partition in self.group.owned_by(member) {
                if self.random.chance(7_000) {
                    self.lose(member, partition);
                }
            }
        }
        if self.strikes("fenced", self.faults.fenced)
            && let Some(member) = self.any_member()
        {
            self.fence(member);
        }
        if self.strikes("stall", self.faults.stall) {
            let partition = self.random.below(self.group.partitions.len() as u64) as usize;
            self.group.partitions[partition].stalled = 1 + self.random.below(60);
        }
        if self.strikes("clock_jump", self.faults.clock_jump) {
            self.jump();
        }
    }

    /// Sets the wall clock: seconds to days forward, or some of it back.
    fn jump(&mut self) {
        let now = self.clock.now();
        let by = match self.random.below(4) {
            0 => self.random.between(1_000_000, 60_000_000),
            1 => self.random.between(0, 3 * HOUR_US),
            2 => self.random.between(0, 72 * HOUR_US),
            _ => -self.random.between(0, 3 * HOUR_US),
        };
        self.clock.set(Timestamp(now.0.saturating_add(by)));
        self.trace.note(format_args!("the clock jumps by {by} us"));
    }

    fn any_member(&mut self) -> Option<usize> {
        let present = self.group.present();
        self.random.pick(&present).copied()
    }

    /// All that a member owned is taken from it.
    fn expire(&mut self, member: usize) {
        self.resolve(member);
        for partition in self.group.owned_by(member) {
            let next = self.any_member();
            self.give(partition, next);
        }
        let orphans = self.group.partitions.iter_mut().filter(|at| at.next == Some(member));
        orphans.for_each(|at| at.next = None);
    }

    /// A member loses all that it owns.
    pub(super) fn lose_all(&mut self, member: usize) {
        if self.group.standing(member) == Standing::In {
            *self.accidents.entry("outlived").or_default() += 1;
            for partition in self.group.owned_by(member) {
                self.lose(member, partition);
            }
        }
    }

    fn lose(&mut self, member: usize, partition: u32) {
        if self.group.open_on(partition) == Some(member) {
            self.resolve(member);
        }
        self.trace.note(format_args!("{member} loses {partition}"));
        let notices = &mut self.group.members[member].notices;
        notices.retain(|notice| *notice != Notice::Revoked(partition));
        notices.push_back(Notice::Lost(partition));
        let next = self.any_member();
        self.give(partition, next);
    }

    /// Deals the partitions out in turn to those present.
    fn deal(&mut self, turn: usize) {
        let present = self.group.present();
        for partition in 0..self.group.partitions.len() {
            let target = present.get((partition + turn) % present.len().max(1)).copied();
            let at = &mut self.group.partitions[partition];
            let partition = partition as u32;
            match (at.owner, target) {
                (None, _) => self.give(partition, target),
                (Some(owner), Some(target)) if owner == target && !at.revoking => {}
                (Some(owner), _) => {
                    at.next = target;
                    // Whoever is gone is told nothing; its session expires.
                    if !at.revoking && self.group.standing(owner) == Standing::In {
                        self.group.partitions[partition as usize].revoking = true;
                        let notices = &mut self.group.members[owner].notices;
                        notices.push_back(Notice::Revoked(partition));
                    }
                }
            }
        }
    }

    fn give(&mut self, partition: u32, to: Option<usize>) {
        let to = match to {
            Some(to) if self.group.standing(to) == Standing::In => Some(to),
            Some(_) | None => self.any_member(),
        };
        let at = &mut self.group.partitions[partition as usize];
        at.epoch += 1;
        (at.owner, at.next, at.revoking) = (to, None, false);
        let epoch = at.epoch;
        if let Some(to) = to {
            let notices = &mut self.group.members[to].notices;
            notices.push_back(Notice::Assigned { partition, epoch });
        }
    }
}
