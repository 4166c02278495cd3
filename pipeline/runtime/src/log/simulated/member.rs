//! The seam's traits on the simulated log: a member, a producer, a reader that is neither.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::time::Duration;

use bellhop_core::message::Position;
use bellhop_core::record::Record;
use bellhop_core::task::Progress;

use super::super::{
    Bookmark, Command, Each, Ended, Error, ErrorKind, Identity, Log, Lookup, Polled, Producer,
    Reader, Timestamps, Topic, Transaction,
};
use super::Simulated;
use super::group::Standing;
use super::topics::Append;
use super::world::{Called, Stop, World};

/// What a call that never returns unwinds with; who catches it drops the worker, as a crash would.
#[derive(Debug)]
pub struct Crash {
    /// The member that is no more.
    pub member: usize,
}

/// A worker's membership. To drop it is to leave, unless it has crashed.
#[derive(Debug)]
pub struct Member {
    log: Simulated,
    id: usize,
    identity: Identity,
}

impl Member {
    pub(super) fn new(log: Simulated, id: usize) -> Self {
        let identity = log.world().identity.clone();
        Self { log, id, identity }
    }

    /// Its number in the group.
    #[must_use]
    pub fn id(&self) -> usize {
        self.id
    }

    /// Makes a call, with the accidents that any call may have.
    fn call<T>(
        &self,
        name: &str,
        run: impl FnOnce(&mut World, usize) -> Called<T>,
    ) -> Result<T, Error> {
        let called = {
            let mut world = self.log.world();
            accident(&mut world, self.id, name)
                .and_then(|()| run(&mut world, self.id))
                .and_then(|given| crash_after(&mut world, given))
                .inspect_err(|stop| {
                    if let Stop::Crash = stop {
                        world.crash(self.id);
                    }
                })
        };
        match called {
            Ok(given) => Ok(given),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Crash) => resume_unwind(Box::new(Crash { member: self.id })),
        }
    }
}

fn accident(world: &mut World, member: usize, name: &str) -> Called<()> {
    match world.group.standing(member) {
        Standing::In => {}
        // Gone for the group, and yet it calls.
        Standing::Left | Standing::Crashed | Standing::Fenced => {
            world.trace.note(format_args!("{member} calls {name}, fenced"));
            let hint = "another took over; join again";
            return Err(Stop::error(ErrorKind::Fenced, name, hint));
        }
    }
    if world.strikes("crash", world.faults.crash) {
        return Err(Stop::Crash);
    }
    if world.strikes("retry", world.faults.retry) {
        world.trace.note(format_args!("{member} fails to {name}"));
        return Err(Stop::error(ErrorKind::Retry, name, "try again"));
    }
    Ok(())
}

fn crash_after<T>(world: &mut World, given: T) -> Called<T> {
    if world.strikes("crash", world.faults.crash) { Err(Stop::Crash) } else { Ok(given) }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.log.world().leave(self.id);
    }
}

fn read(world: &mut World, topic: Topic, partition: u32, from: u64, each: &mut Each<'_>) -> u64 {
    let mut next = from;
    for stored in world.topics.visible(topic, partition, from) {
        next = stored.offset + 1;
        let record = Record {
            offset: stored.offset,
            timestamp: stored.timestamp,
            key: stored.key.as_deref(),
            value: stored.value.as_deref(),
            headers: &stored.headers(),
        };
        if each(&record) == ControlFlow::Break(()) {
            break;
        }
    }
    world.trace.note(format_args!("read {topic} {partition} from {from} to {next}"));
    next
}

impl Reader for Member {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.call("read a schema", |world, _| Ok(world.schema_of(id).into()))
    }

    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.call("read a first offset", |world, _| Ok(world.topics.first(topic, partition)))
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.call("read an end", |world, _| Ok(world.topics.end(topic, partition)))
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        self.call("read", |world, _| Ok(read(world, topic, partition, from, each)))
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        self.call("read progress", |world, _| world.committed(partition))
    }
}

impl Log for Member {
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        self.call("register a schema", |world, _| Ok(world.schema_id(name, schema)))
    }

    fn poll(&mut self, records_max: usize, _: Duration) -> Result<Polled, Error> {
        self.call("poll", |world, id| Ok(world.poll(id, records_max)))
    }

    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        self.call("start", |world, id| {
            world.trace.note(format_args!("{id} starts {partition}@{next_offset}"));
            world.group.start(id, partition, next_offset);
            Ok(())
        })
    }

    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.call("pause", |world, id| {
            world.group.pause(id, partition);
            Ok(())
        })
    }

    fn submit(&mut self, transaction: Transaction) -> Result<(), Error> {
        self.call("submit", |world, id| world.submit(id, transaction))
    }

    fn ended(&mut self, _: Duration) -> Result<Option<(Transaction, Ended)>, Error> {
        self.call("end a transaction", World::ended)
    }

    fn recover(&mut self) -> Result<(), Error> {
        self.call("recover", |world, id| {
            world.recover(id);
            Ok(())
        })
    }

    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.call("release", |world, id| {
            world.release(id, partitions);
            Ok(())
        })
    }

    fn append_tick(&mut self, partition: u32, value: &[u8]) -> Result<(), Error> {
        self.call("append a tick", |world, id| {
            let stamped = world.identity.timestamps == Timestamps::Append;
            assert!(stamped, "member {id} ticks a log whose producers stamp the time");
            let value = Some(value);
            let timestamp = bellhop_core::message::Timestamp(0);
            let append = Append { timestamp, key: None, value, headers: &[] };
            world.append_command(partition, None, &append);
            Ok(())
        })
    }
}

/// Reads what is committed, with no accident of its own.
#[derive(Debug)]
pub struct Tool {
    log: Simulated,
    identity: Identity,
}

impl Tool {
    pub(super) fn new(log: Simulated) -> Self {
        let identity = log.world().identity.clone();
        Self { log, identity }
    }
}

impl Reader for Tool {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        Ok(self.log.world().schema_of(id).into())
    }

    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        Ok(self.log.world().topics.first(topic, partition))
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        Ok(self.log.world().topics.end(topic, partition))
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        Ok(read(&mut self.log.world(), topic, partition, from, each))
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        match self.log.world().committed(partition) {
            Ok(progress) => Ok(progress),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Crash) => resume_unwind(Box::new(Crash { member: usize::MAX })),
        }
    }
}

/// Sends commands.
#[derive(Debug)]
pub struct Sender {
    log: Simulated,
}

impl Sender {
    pub(super) fn new(log: Simulated) -> Self {
        Self { log }
    }
}

impl Producer for Sender {
    fn append(
        &mut self,
        commands: &[Command<'_>],
        bookmark: Option<Bookmark<'_>>,
    ) -> Result<Vec<Position>, Error> {
        match self.log.world().produce(commands, bookmark) {
            Ok(positions) => Ok(positions),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Crash) => resume_unwind(Box::new(Crash { member: usize::MAX })),
        }
    }

    fn bookmark(&mut self, name: &str) -> Result<Option<u64>, Error> {
        Ok(self.log.world().bookmark(name))
    }

    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        Ok(self.log.world().schema_id(name, schema))
    }
}
