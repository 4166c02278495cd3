//! Who owns which partition among the workers of one process.
//!
//! Partitions are spread evenly and stay where they are when they can. A partition moves in two
//! steps, as the cooperative protocol of Kafka does it (KIP-429): its owner is asked to give it up,
//! and once it has, the next one gets it.
//!
//! # Invariants
//! A partition has at most one owner; owners differ by at most one partition once nothing is being
//! handed over.

use std::collections::{BTreeMap, VecDeque};

/// Names a member; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// A change of ownership that a member has not heard of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
}

#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, VecDeque<Change>>,
    partitions: Vec<Held>,
    joined: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    owner: Option<MemberId>,
    /// The owner was asked to give it up.
    revoking: bool,
}

impl Group {
    pub(super) fn new(partitions: u32) -> Self {
        let partitions = vec![Held::default(); partitions as usize];
        Self { members: BTreeMap::new(), partitions, joined: 0 }
    }

    pub(super) fn join(&mut self) -> MemberId {
        self.joined += 1;
        let id = MemberId(self.joined);
        self.members.insert(id, VecDeque::new());
        self.rebalance();
        id
    }

    /// Takes a member out, with all it owns.
    pub(super) fn leave(&mut self, id: MemberId) {
        if self.members.remove(&id).is_some() {
            for held in self.partitions.iter_mut().filter(|held| held.owner == Some(id)) {
                *held = Held::default();
            }
            self.rebalance();
        }
    }

    pub(super) fn is_member(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    pub(super) fn owner(&self, partition: u32) -> Option<MemberId> {
        self.partitions.get(partition as usize).and_then(|held| held.owner)
    }

    pub(super) fn has_change(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|changes| !changes.is_empty())
    }

    pub(super) fn next_change(&mut self, id: MemberId) -> Option<Change> {
        self.members.get_mut(&id)?.pop_front()
    }

    pub(super) fn release(&mut self, id: MemberId, partitions: &[u32]) {
        for partition in partitions {
            if let Some(held) = self.partitions.get_mut(*partition as usize)
                && held.owner == Some(id)
            {
                *held = Held::default();
            }
        }
        self.rebalance();
    }

    fn rebalance(&mut self) {
        if self.members.is_empty() {
            return;
        }
        let target = self.target();
        let mut revoked: BTreeMap<MemberId, Vec<u32>> = BTreeMap::new();
        let mut assigned: BTreeMap<MemberId, Vec<u32>> = BTreeMap::new();
        for (partition, (held, target)) in (0..).zip(self.partitions.iter_mut().zip(target)) {
            match held.owner {
                Some(owner) if owner == target || held.revoking => {}
                // An assignment nobody has heard of is moved without a word.
                Some(owner) if take_unheard(self.members.get_mut(&owner), partition) => {
                    held.owner = Some(target);
                    assigned.entry(target).or_default().push(partition);
                }
                Some(owner) => {
                    held.revoking = true;
                    revoked.entry(owner).or_default().push(partition);
                }
                None => {
                    held.owner = Some(target);
                    assigned.entry(target).or_default().push(partition);
                }
            }
        }
        for (id, partitions) in revoked {
            if let Some(changes) = self.members.get_mut(&id) {
                changes.push_back(Change::Revoked(partitions));
            }
        }
        for (id, partitions) in assigned {
            if let Some(changes) = self.members.get_mut(&id) {
                changes.push_back(Change::Assigned(partitions));
            }
        }
    }

    /// Who shall own each partition: everybody keeps what is his up to his share.
    fn target(&self) -> Vec<MemberId> {
        let count = self.partitions.len();
        let (least, more) = (count / self.members.len(), count % self.members.len());
        let mut kept: BTreeMap<MemberId, usize> = self.members.keys().map(|id| (*id, 0)).collect();
        // The first to own more than the least are the ones who may.
        let mut extra = more;
        let mut target: Vec<Option<MemberId>> = vec![None; count];
        for (held, target) in self.partitions.iter().zip(&mut target) {
            let Some((owner, kept)) =
                held.owner.and_then(|owner| Some((owner, kept.get_mut(&owner)?)))
            else {
                continue;
            };
            if *kept < least || (*kept == least && extra > 0) {
                extra -= usize::from(*kept == least);
                *kept += 1;
                *target = Some(owner);
            }
        }
        for target in target.iter_mut().filter(|target| target.is_none()) {
            let poorest = kept.iter_mut().min_by_key(|(id, kept)| (**kept, **id));
            if let Some((id, kept)) = poorest {
                *kept += 1;
                *target = Some(*id);
            }
        }
        target.into_iter().flatten().collect()
    }
}

fn take_unheard(changes: Option<&mut VecDeque<Change>>, partition: u32) -> bool {
    let Some(changes) = changes else { return false };
    let mut taken = false;
    for change in changes.iter_mut() {
        if let Change::Assigned(partitions) = change {
            let before = partitions.len();
            partitions.retain(|assigned| *assigned != partition);
            taken |= partitions.len() < before;
        }
    }
    changes.retain(|change| *change != Change::Assigned(Vec::new()));
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(group: &mut Group, id: MemberId) -> Vec<Change> {
        std::iter::from_fn(|| group.next_change(id)).collect()
    }

    fn owned(group: &Group, id: MemberId) -> usize {
        (0..).take(group.partitions.len()).filter(|p| group.owner(*p) == Some(id)).count()
    }

    #[test]
    fn the_first_member_gets_everything_and_gives_half_to_the_second() {
        let mut group = Group::new(4);
        let first = group.join();
        assert_eq!(changes(&mut group, first), [Change::Assigned(vec![0, 1, 2, 3])]);
        let second = group.join();
        assert_eq!(changes(&mut group, second), []);
        assert_eq!(changes(&mut group, first), [Change::Revoked(vec![2, 3])]);
        group.release(first, &[2, 3]);
        assert_eq!(changes(&mut group, second), [Change::Assigned(vec![2, 3])]);
        assert_eq!(group.owner(0), Some(first));
    }

    #[test]
    fn members_that_join_before_anyone_polls_revoke_nothing() {
        let mut group = Group::new(5);
        let members = [group.join(), group.join(), group.join()];
        let heard = members.map(|id| changes(&mut group, id));
        assert!(heard.iter().flatten().all(|change| matches!(change, Change::Assigned(_))));
        assert_eq!(members.map(|id| owned(&group, id)), [2, 2, 1]);
    }

    #[test]
    fn a_member_that_is_gone_leaves_its_partitions_to_the_others() {
        let mut group = Group::new(4);
        let (first, second) = (group.join(), group.join());
        changes(&mut group, first);
        changes(&mut group, second);
        group.leave(second);
        assert_eq!(changes(&mut group, first), [Change::Assigned(vec![2, 3])]);
        assert!(!group.is_member(second));
    }

    #[test]
    fn shares_are_even_whoever_comes_and_goes() {
        let mut group = Group::new(7);
        let mut members = Vec::new();
        for step in 0..40_usize {
            if step % 3 == 2 {
                let gone = members.remove(step * 7 % members.len());
                group.leave(gone);
            } else {
                members.push(group.join());
            }
            // Everybody does as he is told until nobody is told anything.
            for _ in 0..3 {
                for id in &members {
                    for change in changes(&mut group, *id) {
                        if let Change::Revoked(partitions) = change {
                            group.release(*id, &partitions);
                        }
                    }
                }
            }
            let shares: Vec<usize> = members.iter().map(|id| owned(&group, *id)).collect();
            let (least, most) = (shares.iter().min(), shares.iter().max());
            assert_eq!(shares.iter().sum::<usize>(), 7, "step {step}");
            assert!(most.unwrap() - least.unwrap() <= 1, "step {step}: {shares:?}");
        }
    }
}
