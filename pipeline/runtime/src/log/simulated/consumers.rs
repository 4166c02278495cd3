//! Groups of consumers of the simulated log's events, and what goes wrong in them.
//!
//! # Invariants
//! 1. A member marks a partition under the epoch that its polls have shown it: a zombie that got
//!    its partition back unawares marks nothing.
//! 2. With no group there is no draw from the seed: worlds without consumers go as they went.

use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::time::Duration;

use bellhop_core::record::Record;
use bellhop_core::task::Progress;

use super::super::{
    Batch, Builder, Each, Error, ErrorKind, Identity, Lookup, Mark, NOTE_BYTES_MAX, Polled, Reader,
    Topic,
};
use super::Simulated;
use super::group::Standing;
use super::member::{Crash, Tool};
use super::world::{Called, Stop, World};

/// A group of consumers.
#[derive(Debug)]
pub(super) struct Consumers {
    members: Vec<Subscriber>,
    partitions: Vec<Ownership>,
    marks: Vec<Option<Mark>>,
}

#[derive(Debug)]
struct Subscriber {
    standing: Standing,
    notices: VecDeque<Notice>,
    held: BTreeMap<u32, Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    Assigned { partition: u32, epoch: u64 },
    Revoked(u32),
    Lost(u32),
}

#[derive(Debug)]
struct Held {
    epoch: u64,
    /// The next event, where it is started.
    next: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Ownership {
    owner: Option<usize>,
    epoch: u64,
    /// Who gets it when its owner has released it.
    next: Option<usize>,
    revoking: bool,
}

impl Consumers {
    fn new(partitions: u32) -> Self {
        Self {
            members: Vec::new(),
            partitions: vec![Ownership::default(); partitions as usize],
            marks: vec![None; partitions as usize],
        }
    }

    fn present(&self) -> Vec<usize> {
        let is_in = |member: &usize| self.members[*member].standing == Standing::In;
        (0..self.members.len()).filter(is_in).collect()
    }

    fn owned_by(&self, member: usize) -> Vec<u32> {
        let owned = self.partitions.iter().zip(0_u32..);
        owned.filter(|(at, _)| at.owner == Some(member)).map(|(_, partition)| partition).collect()
    }

    fn holds(&self, member: usize, partition: u32) -> bool {
        let at = &self.partitions[partition as usize];
        let held = self.members[member].held.get(&partition);
        at.owner == Some(member) && held.is_some_and(|held| held.epoch == at.epoch)
    }

    fn give(&mut self, partition: u32, to: Option<usize>) {
        let to = to.filter(|to| self.members[*to].standing == Standing::In);
        let at = &mut self.partitions[partition as usize];
        at.epoch += 1;
        (at.owner, at.next, at.revoking) = (to, None, false);
        let epoch = at.epoch;
        if let Some(to) = to {
            self.members[to].notices.push_back(Notice::Assigned { partition, epoch });
        }
    }

    /// Deals the partitions out in turn to those present.
    fn deal(&mut self, turn: usize) {
        let present = self.present();
        for partition in 0..self.partitions.len() {
            let target = present.get((partition + turn) % present.len().max(1)).copied();
            let at = &mut self.partitions[partition];
            let number = partition as u32;
            match at.owner {
                None => self.give(number, target),
                Some(owner) if Some(owner) == target && !at.revoking => {}
                Some(owner) => {
                    at.next = target;
                    if !at.revoking && self.members[owner].standing == Standing::In {
                        at.revoking = true;
                        self.members[owner].notices.push_back(Notice::Revoked(number));
                    }
                }
            }
        }
    }

    /// All that a member owned is taken from it without a word.
    fn expire(&mut self, member: usize) {
        let heir = self.present().first().copied();
        for partition in self.owned_by(member) {
            self.give(partition, heir);
        }
    }

    fn next_notice(&mut self, member: usize) -> Option<Polled> {
        let Subscriber { notices, held, .. } = &mut self.members[member];
        Some(match notices.pop_front()? {
            Notice::Assigned { partition, epoch } => {
                held.insert(partition, Held { epoch, next: None });
                Polled::Assigned(vec![partition])
            }
            Notice::Revoked(partition) => {
                if let Some(held) = held.get_mut(&partition) {
                    held.next = None;
                }
                Polled::Revoked(vec![partition])
            }
            Notice::Lost(partition) => {
                held.remove(&partition);
                Polled::Lost(vec![partition])
            }
        })
    }
}

/// Accidents of the groups of consumers.
impl World {
    pub(super) fn step_consumers(&mut self) {
        let mut groups = std::mem::take(&mut self.consumers);
        for consumers in groups.values_mut() {
            self.step_group(consumers);
        }
        self.consumers = groups;
    }

    fn step_group(&mut self, consumers: &mut Consumers) {
        for member in 0..consumers.members.len() {
            let gone = consumers.members[member].standing == Standing::Crashed;
            if gone && !consumers.owned_by(member).is_empty() && self.random.chance(2_500) {
                self.trace.note(format_args!("the session of consumer {member} expires"));
                consumers.expire(member);
            }
        }
        // Whoever came when nobody was there gets what lies about.
        if consumers.partitions.iter().any(|at| at.owner.is_none()) {
            consumers.deal(0);
        }
        if self.strikes("rebalance", self.faults.rebalance) {
            let turn = self.random.below(consumers.partitions.len() as u64);
            consumers.deal(turn as usize);
        }
        let present = consumers.present();
        if self.strikes("lost", self.faults.lost)
            && let Some(member) = self.random.pick(&present).copied()
        {
            for partition in consumers.owned_by(member) {
                if self.random.chance(7_000) {
                    self.trace.note(format_args!("consumer {member} loses {partition}"));
                    let notices = &mut consumers.members[member].notices;
                    notices.retain(|notice| *notice != Notice::Revoked(partition));
                    notices.push_back(Notice::Lost(partition));
                    let heir = self.random.pick(&present).copied();
                    consumers.give(partition, heir);
                }
            }
        }
        if self.strikes("fenced", self.faults.fenced)
            && let Some(member) = self.random.pick(&present).copied()
        {
            self.trace.note(format_args!("consumer {member} is fenced"));
            consumers.members[member].standing = Standing::Fenced;
            consumers.expire(member);
        }
    }
}

impl Simulated {
    /// Joins a group of consumers of the events.
    #[must_use]
    pub fn consume(&self, group: &str) -> Consumer {
        let mut world = self.world();
        let partitions = world.identity.partitions;
        let consumers =
            world.consumers.entry(group.to_owned()).or_insert_with(|| Consumers::new(partitions));
        let (standing, notices) = (Standing::In, VecDeque::new());
        consumers.members.push(Subscriber { standing, notices, held: BTreeMap::new() });
        let id = consumers.members.len() - 1;
        consumers.deal(0);
        world.trace.note(format_args!("consumer {id} joins {group}"));
        drop(world);
        Consumer { log: self.clone(), tool: self.reader(), group: group.to_owned(), id }
    }

    /// A consumer is shut out for good: all that it does from now on fails.
    pub fn fence_consumer(&self, group: &str, member: usize) {
        if let Some(consumers) = self.world().consumers.get_mut(group)
            && consumers.members[member].standing == Standing::In
        {
            consumers.members[member].standing = Standing::Fenced;
            consumers.expire(member);
        }
    }
}

/// A member of a group of consumers. To drop it is to leave, unless it has crashed.
#[derive(Debug)]
pub struct Consumer {
    log: Simulated,
    tool: Tool,
    group: String,
    id: usize,
}

impl Consumer {
    /// Its number in the group.
    #[must_use]
    pub fn id(&self) -> usize {
        self.id
    }

    /// Makes a call, with the accidents that any call may have.
    fn call<T>(
        &self,
        name: &str,
        run: impl FnOnce(&mut World, &mut Consumers, usize) -> Called<T>,
    ) -> Result<T, Error> {
        let called = {
            let mut world = self.log.world();
            let Some(mut consumers) = world.consumers.remove(&self.group) else {
                return Err(self.error(ErrorKind::Fenced, name, "join again"));
            };
            let called = self.accident(&mut world, &consumers, name).and_then(|()| {
                let given = run(&mut world, &mut consumers, self.id)?;
                let crashes = world.faults.crash;
                if world.strikes("crash", crashes) { Err(Stop::Crash) } else { Ok(given) }
            });
            if let Err(Stop::Crash) = &called {
                world.trace.note(format_args!("consumer {} crashes", self.id));
                consumers.members[self.id].standing = Standing::Crashed;
            }
            world.consumers.insert(self.group.clone(), consumers);
            called
        };
        match called {
            Ok(given) => Ok(given),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Crash) => resume_unwind(Box::new(Crash { member: self.id })),
        }
    }

    fn accident(&self, world: &mut World, consumers: &Consumers, name: &str) -> Called<()> {
        if consumers.members[self.id].standing != Standing::In {
            world.trace.note(format_args!("consumer {} calls {name}, fenced", self.id));
            let hint = "another took over; join again";
            return Err(Stop::error(ErrorKind::Fenced, name, hint));
        }
        let crashes = world.faults.crash;
        if world.strikes("crash", crashes) {
            return Err(Stop::Crash);
        }
        if world.strikes("retry", world.faults.retry) {
            return Err(Stop::error(ErrorKind::Retry, name, "try again"));
        }
        Ok(())
    }

    fn error(&self, kind: ErrorKind, tried: &str, hint: &str) -> Error {
        let tried = format!("{tried} in the group {}", self.group);
        Error { kind, tried, hint: hint.to_owned(), source: None }
    }
}

impl Reader for Consumer {
    fn identity(&self) -> &Identity {
        self.tool.identity()
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.tool.schema_of(id)
    }

    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.tool.first(topic, partition)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.tool.end(topic, partition)
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        self.tool.read(topic, partition, from, each)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        self.tool.committed(partition)
    }
}

fn next_batch(
    world: &mut World,
    consumers: &mut Consumers,
    member: usize,
    records_max: usize,
) -> Option<Batch> {
    let held = consumers.members[member].held.iter();
    let ready: Vec<(u32, u64)> = held
        .filter_map(|(partition, held)| {
            // A zombie goes on being served from where it is.
            let next = held.next?;
            world.topics.visible(Topic::Events, *partition, next).next()?;
            Some((*partition, next))
        })
        .collect();
    let (partition, from) = *world.random.pick(&ready)?;
    let most = 1 + world.random.below(records_max as u64) as usize;
    let mut builder = Builder::default();
    let mut after = from;
    for stored in world.topics.visible(Topic::Events, partition, from).take(most) {
        builder.push(&Record {
            offset: stored.offset,
            timestamp: stored.timestamp,
            key: stored.key.as_deref(),
            value: stored.value.as_deref(),
            headers: &stored.headers(),
        });
        after = stored.offset + 1;
    }
    if let Some(held) = consumers.members[member].held.get_mut(&partition) {
        held.next = Some(after);
    }
    Some(builder.finish(partition))
}

impl super::super::Consumer for Consumer {
    fn poll(&mut self, records_max: usize, _: Duration) -> Result<Polled, Error> {
        self.call("poll the events", |world, consumers, id| {
            if let Some(notice) = consumers.next_notice(id) {
                world.trace.note(format_args!("consumer {id} got {notice:?}"));
                return Ok(notice);
            }
            if records_max == 0 || world.strikes("idle", world.faults.idle) {
                return Ok(Polled::Idle);
            }
            let batch = next_batch(world, consumers, id, records_max);
            Ok(batch.map_or(Polled::Idle, Polled::Batch))
        })
    }

    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        self.call("start a partition", |_, consumers, id| {
            let held = consumers.members[id].held.get_mut(&partition);
            let Some(held) = held else {
                return Err(Stop::error(ErrorKind::Fenced, "start a partition", "it is not held"));
            };
            held.next = Some(next_offset);
            Ok(())
        })
    }

    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.call("pause a partition", |_, consumers, id| {
            if let Some(held) = consumers.members[id].held.get_mut(&partition) {
                held.next = None;
            }
            Ok(())
        })
    }

    fn marked(&mut self, partition: u32) -> Result<Option<Mark>, Error> {
        self.call("read a mark", |_, consumers, _| Ok(consumers.marks[partition as usize].clone()))
    }

    /// # Panics
    /// When a note is longer than brokers take.
    fn mark(&mut self, marks: &[(u32, Mark)]) -> Result<(), Error> {
        assert!(marks.iter().all(|(_, mark)| mark.note.len() <= NOTE_BYTES_MAX), "{marks:?}");
        self.call("mark", |world, consumers, id| {
            if !marks.iter().all(|(partition, _)| consumers.holds(id, *partition)) {
                *world.accidents.entry("zombie").or_default() += 1;
                let hint = "another took over; join again";
                return Err(Stop::error(ErrorKind::Fenced, "mark", hint));
            }
            for (partition, mark) in marks {
                consumers.marks[*partition as usize] = Some(mark.clone());
            }
            world.trace.note(format_args!("consumer {id} marks {marks:?}"));
            // It is marked, and the member never hears of it.
            if world.strikes("unknown", world.faults.unknown) {
                return Err(Stop::error(ErrorKind::Retry, "mark", "try again"));
            }
            Ok(())
        })
    }

    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.call("release partitions", |world, consumers, id| {
            for partition in partitions.iter().copied() {
                if consumers.holds(id, partition) {
                    consumers.members[id].held.remove(&partition);
                    let next = consumers.partitions[partition as usize].next;
                    consumers.give(partition, next);
                }
            }
            world.trace.note(format_args!("consumer {id} releases {partitions:?}"));
            Ok(())
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let mut world = self.log.world();
        if let Some(consumers) = world.consumers.get_mut(&self.group)
            && consumers.members[self.id].standing == Standing::In
        {
            consumers.members[self.id].standing = Standing::Left;
            consumers.expire(self.id);
        }
    }
}
