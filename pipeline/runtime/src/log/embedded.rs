//! The embedded log: durable in one file of a data directory, shared by the workers of one process.
//!
//! Start at [`Embedded`], the open log; a worker joins it with [`Embedded::join`]. One thread
//! writes ([`writer`]): it takes whatever transactions and appends are waiting and commits them
//! together, so that the disk is asked to sync once for all, while the workers decide on.
//!
//! # Invariants
//! 1. What is visible is durable: memory is changed after the file was synced.
//! 2. A transaction is one transaction of the file: progress, outputs and cascades, or nothing.
//! 3. Offsets of a topic's partition have no gap.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bellhop_core::message::{LogId, Position, Timestamp};
use bellhop_core::partition::partition_of;
use bellhop_core::task::Progress;

pub use self::consumer::Consumer;
pub use self::group::MemberId;
pub use self::member::Member;

use self::consumer::Consumers;
use self::group::Group;
use self::store::{Contents, Store};
use self::writer::{Append, Failure, Job};
use super::{
    Batch, Bookmark, Builder, Command, Each, Ended, Error, Identity, Lookup, Producer, Reader,
    Schema, Timestamps, Topic, Transaction,
};
use crate::clock::Clock;

mod consumer;
mod group;
mod member;
mod store;
mod turns;
mod writer;

/// What a log is made with, once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many partitions, 1 to 4096.
    pub partitions: u32,
    /// Where the timestamps of commands come from.
    pub timestamps: Timestamps,
    /// The log's random name, if it is made now.
    pub log_id: LogId,
}

/// What may differ from one run to the next.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Bytes of the file kept in memory.
    pub cache_bytes: usize,
    /// Bytes of commands kept in memory until their worker takes them.
    pub tail_bytes: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, tail_bytes: 64 << 20 }
    }
}

/// An open log. Clones are the same log; the file is closed with the last of them.
#[derive(Clone)]
pub struct Embedded {
    open: Arc<Open>,
}

/// Closes when the last handle is gone.
struct Open {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Store,
    identity: Identity,
    clock: Arc<dyn Clock>,
    tail_bytes_max: usize,
    state: Mutex<State>,
    /// There are jobs, or the log closes.
    work: Condvar,
    /// A transaction was decided, or the log broke.
    decided: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    closing: bool,
    broken: Option<Failure>,
    contents: Contents,
    group: Group,
    members: BTreeMap<MemberId, Desk>,
    /// Groups of consumers of the events, by name.
    consumers: BTreeMap<String, Consumers>,
    /// By partition: transactions that are submitted and not decided.
    undecided: Vec<u32>,
    /// By partition: the newest commands, until their worker takes them.
    tails: Vec<VecDeque<Batch>>,
    tail_bytes: usize,
}

/// Where a member waits and what waits for it.
#[derive(Default)]
struct Desk {
    wake: Arc<Condvar>,
    ended: Option<Result<(Transaction, Ended), Failure>>,
}

impl Embedded {
    /// Opens the log of a data directory, or makes it there.
    ///
    /// # Errors
    /// When it is locked, damaged, of another format or number of partitions, or cannot be written.
    pub fn open_or_create(
        dir: &Path,
        options: &Options,
        tuning: Tuning,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let (store, identity) = Store::open(dir, Some(options), tuning.cache_bytes)?;
        let opened = (identity.partitions, identity.timestamps);
        if opened != (options.partitions, options.timestamps) {
            return Err(Error {
                kind: super::ErrorKind::FixInput,
                tried: format!("open the log in {}", dir.display()),
                hint: format!(
                    "it has {} partitions and timestamps {:?}, asked for {} and {:?}; both are fixed when it is made, so ask for its own or give another data directory",
                    opened.0, opened.1, options.partitions, options.timestamps
                ),
                source: None,
            });
        }
        Self::start(store, identity, tuning, clock)
    }

    /// Opens the log of a data directory.
    ///
    /// # Errors
    /// As [`Embedded::open_or_create`], and when there is none.
    pub fn open(dir: &Path, tuning: Tuning, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (store, identity) = Store::open(dir, None, tuning.cache_bytes)?;
        Self::start(store, identity, tuning, clock)
    }

    fn start(
        store: Store,
        identity: Identity,
        tuning: Tuning,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let contents = store.contents(identity.partitions)?;
        let partitions = identity.partitions as usize;
        let state = State {
            jobs: VecDeque::new(),
            closing: false,
            broken: None,
            contents,
            group: Group::new(identity.partitions),
            members: BTreeMap::new(),
            consumers: BTreeMap::new(),
            undecided: vec![0; partitions],
            tails: vec![VecDeque::new(); partitions],
            tail_bytes: 0,
        };
        let shared = Arc::new(Shared {
            store,
            identity,
            clock,
            tail_bytes_max: tuning.tail_bytes,
            state: Mutex::new(state),
            work: Condvar::new(),
            decided: Condvar::new(),
        });
        let writing = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("bellhop-log".to_owned())
            .spawn(move || writer::run(&writing))
            .map_err(|error| store::failed("start the thread that writes the log", error))?;
        Ok(Self { open: Arc::new(Open { shared, writer: Mutex::new(Some(writer)) }) })
    }

    fn shared(&self) -> &Shared {
        &self.open.shared
    }

    /// Joins the group of workers.
    #[must_use]
    pub fn join(&self) -> Member {
        let mut state = self.shared().lock();
        let id = state.group.join();
        let desk = Desk::default();
        let wake = Arc::clone(&desk.wake);
        state.members.insert(id, desk);
        state.wake_members();
        drop(state);
        Member::new(self.clone(), id, wake)
    }

    /// Throws a member out: its partitions go to others, and it commits nothing any more.
    pub fn expel(&self, id: MemberId) {
        let mut state = self.shared().lock();
        state.group.leave(id);
        state.wake_members();
    }

    /// What the log is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.shared().identity
    }

    /// All bookmarks.
    #[must_use]
    pub fn bookmarks(&self) -> Vec<(String, u64)> {
        let state = self.shared().lock();
        state.contents.bookmarks.iter().map(|(name, next)| (name.clone(), *next)).collect()
    }

    fn schema_id(&self, name: &str, text: &str) -> Result<u32, Error> {
        let known = |schemas: &BTreeMap<u32, Schema>| {
            let mut all = schemas.iter();
            all.find(|(_, schema)| schema.name == name && schema.text == text).map(|(id, _)| *id)
        };
        if let Some(id) = known(&self.shared().lock().contents.schemas) {
            return Ok(id);
        }
        let (answer, answered) = sync_channel(1);
        let schema = Schema { name: name.to_owned(), text: text.to_owned() };
        let tried = format!("write the schema {name}");
        self.shared().ask(Job::Schema { schema, answer }, &tried)?;
        answered
            .recv()
            .unwrap_or_else(|_| Err(Failure::writer_gone()))
            .map_err(|failure| failure.error(&tried))
    }

    fn schema_of(&self, id: u32) -> Option<Schema> {
        self.shared().lock().contents.schemas.get(&id).cloned()
    }

    fn end(&self, topic: Topic, partition: u32) -> u64 {
        let state = self.shared().lock();
        state.contents.ends.get(partition as usize).map_or(0, |ends| ends[topic as usize])
    }

    fn committed(&self, partition: u32) -> Result<Option<Progress>, Error> {
        let shared = self.shared();
        let at = partition as usize;
        let state = shared
            .decided
            .wait_while(shared.lock(), |state| {
                state.broken.is_none() && state.undecided.get(at).is_some_and(|count| *count > 0)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match &state.broken {
            Some(failure) => {
                Err(failure.error(&format!("read the progress of partition {partition}")))
            }
            None => Ok(state.contents.progress.get(at).copied().flatten()),
        }
    }
}

/// Reads up to `end` what is stored.
fn read_stored(
    store: &Store,
    (topic, partition): (Topic, u32),
    from: u64,
    end: u64,
    each: &mut Each<'_>,
) -> Result<u64, Error> {
    let mut next = from;
    if from >= end {
        return Ok(next);
    }
    store.each_batch(topic, partition, from, &mut |batch| {
        let mut cursor = batch.cursor();
        while let Some(record) = cursor.next_record() {
            if record.offset >= end {
                return false;
            }
            next = record.offset + 1;
            if each(&record).is_break() {
                return false;
            }
        }
        next < end
    })?;
    Ok(next)
}

impl Reader for Embedded {
    fn identity(&self) -> &Identity {
        Self::identity(self)
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        Ok(Self::schema_of(self, id).into())
    }

    /// Nothing is ever deleted.
    fn first(&mut self, _: Topic, _: u32) -> Result<u64, Error> {
        Ok(0)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        Ok(Self::end(self, topic, partition))
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        let end = Self::end(self, topic, partition);
        read_stored(&self.shared().store, (topic, partition), from, end, each)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        Self::committed(self, partition)
    }
}

impl Producer for Embedded {
    fn append(
        &mut self,
        commands: &[Command<'_>],
        bookmark: Option<Bookmark<'_>>,
    ) -> Result<Vec<Position>, Error> {
        let Identity { partitions, timestamps, .. } = *self.identity();
        let mut builders: BTreeMap<u32, Builder> = BTreeMap::new();
        let mut places = Vec::with_capacity(commands.len());
        for command in commands {
            let partition = partition_of(command.key, partitions);
            let builder = builders.entry(partition).or_default();
            places.push((partition, builder.len() as u64));
            let timestamp = match timestamps {
                Timestamps::Append => Timestamp(0),
                Timestamps::Create => command.timestamp,
            };
            builder.push_next(timestamp, Some(command.key), Some(command.value), command.headers);
        }
        let partitions: Vec<u32> = builders.keys().copied().collect();
        let (answer, answered) = sync_channel(1);
        let append = Append {
            batches: builders.into_iter().collect(),
            bookmark: bookmark.map(|bookmark| (bookmark.name.to_owned(), bookmark.next)),
            answer: Some(answer),
        };
        let tried = format!("append {} commands", commands.len());
        self.shared().ask(Job::Append(append), &tried)?;
        let firsts = answered
            .recv()
            .unwrap_or_else(|_| Err(Failure::writer_gone()))
            .map_err(|failure| failure.error(&tried))?;
        let firsts: BTreeMap<u32, u64> = partitions.into_iter().zip(firsts).collect();
        let position = |(partition, index): (u32, u64)| Position {
            partition,
            offset: firsts.get(&partition).map_or(0, |first| first + index),
        };
        Ok(places.into_iter().map(position).collect())
    }

    fn bookmark(&mut self, name: &str) -> Result<Option<u64>, Error> {
        Ok(self.shared().lock().contents.bookmarks.get(name).copied())
    }

    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        Self::schema_id(self, name, schema)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, job: Job, tried: &str) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(failure) = &state.broken {
            return Err(failure.error(tried));
        }
        state.jobs.push_back(job);
        self.work.notify_one();
        Ok(())
    }
}

impl State {
    fn wake_members(&self) {
        self.members.values().for_each(|desk| desk.wake.notify_all());
    }

    fn wake_consumers(&self) {
        self.consumers.values().for_each(Consumers::wake_all);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that writes the log panicked");
        }
    }
}

/// A log that is only read, while no other process has it open.
pub struct ReadOnly {
    store: Store,
    identity: Identity,
    contents: Contents,
}

impl ReadOnly {
    /// Opens the log of a data directory to read.
    ///
    /// # Errors
    /// As [`Embedded::open`], and when it was not closed in order.
    pub fn open(dir: &Path, tuning: Tuning) -> Result<Self, Error> {
        let (store, identity) = Store::open_read_only(dir, tuning.cache_bytes)?;
        let contents = store.contents(identity.partitions)?;
        Ok(Self { store, identity, contents })
    }

    /// All bookmarks.
    #[must_use]
    pub fn bookmarks(&self) -> Vec<(String, u64)> {
        self.contents.bookmarks.iter().map(|(name, next)| (name.clone(), *next)).collect()
    }
}

impl Reader for ReadOnly {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        Ok(self.contents.schemas.get(&id).cloned().into())
    }

    /// Nothing is ever deleted.
    fn first(&mut self, _: Topic, _: u32) -> Result<u64, Error> {
        Ok(0)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        let ends = self.contents.ends.get(partition as usize);
        Ok(ends.map_or(0, |ends| ends[topic as usize]))
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        let end = self.end(topic, partition)?;
        read_stored(&self.store, (topic, partition), from, end, each)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        Ok(self.contents.progress.get(partition as usize).copied().flatten())
    }
}

#[cfg(test)]
mod tests;
