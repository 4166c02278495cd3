//! The one thread that writes the file: group commit.
//!
//! ```text
//! wait for jobs ─▶ apply all that wait ─▶ commit (sync) ─▶ publish to memory ─▶ wake
//! ```

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};

use bellhop_core::message::Timestamp;
use bellhop_core::partition::partition_of;
use bellhop_core::record::Records;
use bellhop_core::task::Progress;

use super::group::MemberId;
use super::store::{Packed, Writing, failed};
use super::{Shared, State};
use crate::log::{
    Batch, Builder, Ended, Error, ErrorKind, Mark, Schema, Timestamps, Topic, Transaction,
};

/// Something to write.
pub(super) enum Job {
    Commit {
        member: MemberId,
        transaction: Transaction,
    },
    Append(Append),
    Schema {
        schema: Schema,
        answer: SyncSender<Result<u32, Failure>>,
    },
    /// Whether the member still owned all of the partitions is the answer.
    Mark {
        group: String,
        member: MemberId,
        marks: Vec<(u32, Mark)>,
        answer: SyncSender<Result<bool, Failure>>,
    },
}

/// Commands from outside, packed by partition.
pub(super) struct Append {
    pub(super) batches: Vec<(u32, Builder)>,
    pub(super) bookmark: Option<(String, u64)>,
    /// Gets the first offset of each batch.
    pub(super) answer: Option<SyncSender<Result<Vec<u64>, Failure>>>,
}

/// Why the log writes no more, for everybody who asks.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: ErrorKind,
    hint: String,
    cause: Option<String>,
}

impl Failure {
    pub(super) fn writer_gone() -> Self {
        Self {
            kind: ErrorKind::FixInput,
            hint: "the thread that writes the log is gone; start again".to_owned(),
            cause: None,
        }
    }

    fn of(error: Error) -> Self {
        let cause = error.source.map(|source| source.to_string());
        Self { kind: error.kind, hint: error.hint, cause }
    }

    pub(super) fn error(&self, tried: &str) -> Error {
        Error {
            kind: self.kind,
            tried: tried.to_owned(),
            hint: self.hint.clone(),
            source: self.cause.clone().map(Into::into),
        }
    }
}

/// What the jobs of one group commit have led to, until it is committed.
#[derive(Default)]
struct Group {
    /// Ends that moved, by topic and partition.
    ends: BTreeMap<(Topic, u32), u64>,
    times: BTreeMap<u32, Timestamp>,
    progress: BTreeMap<u32, Progress>,
    commands: Vec<Batch>,
    bookmarks: Vec<(String, u64)>,
    schemas: Vec<(u32, Schema)>,
    /// Marks by group of consumers and partition.
    marks: Vec<(String, u32, Mark)>,
    /// Reused to pack the outputs of tasks.
    done: Vec<Done>,
}

/// A job that was applied, and what its sender will hear.
enum Done {
    Commit {
        member: MemberId,
        transaction: Transaction,
        ended: Ended,
    },
    Append {
        firsts: Vec<u64>,
        answer: Option<SyncSender<Result<Vec<u64>, Failure>>>,
    },
    Schema {
        id: u32,
        answer: SyncSender<Result<u32, Failure>>,
    },
    Mark {
        group: String,
        partitions: Vec<u32>,
        owned: bool,
        answer: SyncSender<Result<bool, Failure>>,
    },
}

pub(super) fn run(shared: &Shared) {
    loop {
        let jobs = {
            let mut state = shared
                .work
                .wait_while(shared.lock(), |state| state.jobs.is_empty() && !state.closing)
                .unwrap_or_else(PoisonError::into_inner);
            if state.jobs.is_empty() {
                return;
            }
            std::mem::take(&mut state.jobs)
        };
        let mut group = Group::default();
        let written = catch_unwind(AssertUnwindSafe(|| write(shared, jobs, &mut group)));
        let written = written.unwrap_or_else(|_| {
            Err(Failure {
                kind: ErrorKind::Corrupt,
                hint: "the store panicked: the file is damaged, or this is a bug".to_owned(),
                cause: None,
            })
        });
        let mut state = shared.lock();
        match written {
            Ok(()) => publish(shared, &mut state, group),
            Err(failure) => {
                tracing::error!(hint = failure.hint, cause = failure.cause, "the log cannot write");
                state.broken = Some(failure.clone());
                fail(&mut state, group, &failure);
            }
        }
        shared.decided.notify_all();
    }
}

fn write(
    shared: &Shared,
    jobs: impl IntoIterator<Item = Job>,
    group: &mut Group,
) -> Result<(), Failure> {
    if let Some(failure) = &shared.lock().broken {
        // Who waits hears that its channel is closed.
        return Err(failure.clone());
    }
    let failure = |error: redb::Error| Failure::of(failed("write the log", error));
    let writing = shared.store.begin_write().map_err(failure)?;
    let mut tables = Writing::new(&writing).map_err(failure)?;
    let now = shared.clock.now();
    let mut apply = Apply { shared, group, tables: &mut tables, now, scratch: BTreeMap::new() };
    for job in jobs {
        apply.job(job).map_err(failure)?;
    }
    drop(tables);
    writing.commit().map_err(|error| failure(error.into()))
}

struct Apply<'a, 't> {
    shared: &'a Shared,
    group: &'a mut Group,
    tables: &'a mut Writing<'t>,
    now: Timestamp,
    /// Cascades by partition, while one part is applied.
    scratch: BTreeMap<u32, Builder>,
}

impl Apply<'_, '_> {
    fn job(&mut self, job: Job) -> Result<(), redb::Error> {
        match job {
            Job::Commit { member, transaction } => {
                let owned = {
                    let state = self.shared.lock();
                    let mut parts = transaction.parts.iter();
                    parts.all(|part| state.group.owner(part.partition) == Some(member))
                };
                let ended = if owned { Ended::Committed } else { Ended::Aborted };
                // Its sender must hear of it even when the store fails.
                let written = if owned { self.commit(&transaction) } else { Ok(()) };
                self.group.done.push(Done::Commit { member, transaction, ended });
                written
            }
            Job::Append(Append { batches, bookmark, answer }) => {
                let mut firsts = Vec::with_capacity(batches.len());
                let mut written = Ok(());
                for (partition, builder) in batches {
                    written = written.and_then(|()| {
                        firsts.push(self.commands(partition, builder)?);
                        Ok(())
                    });
                }
                if let Some((name, next)) = bookmark {
                    written = written.and_then(|()| self.tables.bookmark(&name, next));
                    self.group.bookmarks.push((name, next));
                }
                self.group.done.push(Done::Append { firsts, answer });
                written
            }
            Job::Schema { schema, answer } => {
                let known = {
                    let state = self.shared.lock();
                    let stored = state.contents.schemas.iter().map(|(id, known)| (*id, known));
                    let now = self.group.schemas.iter().map(|(id, known)| (*id, known));
                    let mut all = stored.chain(now);
                    all.find(|(_, known)| **known == schema).map(|(id, _)| id)
                };
                let mut written = Ok(());
                let id = match known {
                    Some(id) => id,
                    None => {
                        let stored = self.shared.lock().contents.schemas.len();
                        let id = (stored + self.group.schemas.len() + 1) as u32;
                        written = self.tables.schema(id, &schema);
                        self.group.schemas.push((id, schema));
                        id
                    }
                };
                self.group.done.push(Done::Schema { id, answer });
                written
            }
            Job::Mark { group, member, marks, answer } => {
                let owned = {
                    let state = self.shared.lock();
                    marks.iter().all(|(partition, _)| state.consumes(&group, member, *partition))
                };
                let partitions = marks.iter().map(|(partition, _)| *partition).collect();
                let mut written = Ok(());
                for (partition, mark) in marks.into_iter().filter(|_| owned) {
                    written = written.and_then(|()| self.tables.mark(&group, partition, &mark));
                    self.group.marks.push((group.clone(), partition, mark));
                }
                self.group.done.push(Done::Mark { group, partitions, owned, answer });
                written
            }
        }
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<(), redb::Error> {
        for part in &transaction.parts {
            self.records(Topic::Events, part.partition, &part.output.events)?;
            self.records(Topic::Parked, part.partition, &part.output.parked)?;
            let timestamps = self.shared.identity.timestamps;
            for command in part.output.commands.iter() {
                let partition = partition_of(command.key, self.shared.identity.partitions);
                let timestamp = match timestamps {
                    Timestamps::Append => Timestamp(0),
                    Timestamps::Create => command.timestamp,
                };
                let builder = self.scratch.entry(partition).or_default();
                let headers: Vec<_> = command.headers.iter().collect();
                builder.push_next(timestamp, Some(command.key), Some(command.value), &headers);
            }
            while let Some((partition, builder)) = self.scratch.pop_first() {
                self.commands(partition, builder)?;
            }
            if let Some(after) = part.after {
                self.tables.progress(part.partition, after)?;
                self.group.progress.insert(part.partition, after);
            }
        }
        Ok(())
    }

    /// Moves the end of a topic's partition; gives what it was.
    fn advance(&mut self, topic: Topic, partition: u32, records: usize) -> u64 {
        let ends = &mut self.group.ends;
        let end = ends.entry((topic, partition)).or_insert_with(|| {
            let state = self.shared.lock();
            state.contents.ends[partition as usize][topic as usize]
        });
        let first = *end;
        *end += records as u64;
        first
    }

    fn records(
        &mut self,
        topic: Topic,
        partition: u32,
        records: &Records,
    ) -> Result<(), redb::Error> {
        if records.is_empty() {
            return Ok(());
        }
        let mut builder = Builder::with_capacity(records.bytes() + 16 * records.len());
        for record in records.iter() {
            let key = (!record.key.is_empty()).then_some(record.key);
            let headers: Vec<_> = record.headers.iter().collect();
            builder.push_next(record.timestamp, key, Some(record.value), &headers);
        }
        let first = self.advance(topic, partition, builder.len());
        let (records, base_time) = (builder.len(), builder.base_time());
        let bytes = builder.into_bytes();
        self.tables.batch(topic, partition, first, &Packed { records, base_time, bytes: &bytes })
    }

    fn commands(&mut self, partition: u32, builder: Builder) -> Result<u64, redb::Error> {
        let records = builder.len();
        let first = self.advance(Topic::Commands, partition, records);
        if records == 0 {
            return Ok(first);
        }
        let base_time = match self.shared.identity.timestamps {
            Timestamps::Create => builder.base_time(),
            Timestamps::Append => {
                let last = self.group.times.get(&partition).copied();
                let stored = || self.shared.lock().contents.times[partition as usize];
                let time = self.now.max(last.unwrap_or_else(stored));
                self.group.times.insert(partition, time);
                time
            }
        };
        let bytes = builder.into_bytes();
        let packed = Packed { records, base_time, bytes: &bytes };
        self.tables.batch(Topic::Commands, partition, first, &packed)?;
        self.group.commands.push(Batch::new(partition, first, base_time, records, Arc::new(bytes)));
        Ok(first)
    }
}

fn publish(shared: &Shared, state: &mut State, group: Group) {
    let has_events = group.ends.keys().any(|(topic, _)| *topic == Topic::Events);
    for ((topic, partition), end) in group.ends {
        state.contents.ends[partition as usize][topic as usize] = end;
    }
    for (partition, time) in group.times {
        state.contents.times[partition as usize] = time;
    }
    for (partition, progress) in group.progress {
        state.contents.progress[partition as usize] = Some(progress);
    }
    state.contents.bookmarks.extend(group.bookmarks);
    state.contents.schemas.extend(group.schemas);
    for (group, partition, mark) in group.marks {
        state.contents.marks.entry(group).or_default().insert(partition, mark);
    }
    if has_events {
        state.wake_consumers();
    }
    let mut wake = Vec::new();
    for batch in group.commands {
        wake.extend(state.group.owner(batch.partition()));
        state.keep(batch, shared.tail_bytes_max);
    }
    for done in group.done {
        match done {
            Done::Commit { member, transaction, ended } => {
                state.end(member, transaction, Ok(ended));
                wake.push(member);
            }
            // Nobody may wait any more.
            Done::Append { firsts, answer } => {
                answer.and_then(|answer| answer.send(Ok(firsts)).ok());
            }
            Done::Schema { id, answer } => drop(answer.send(Ok(id))),
            Done::Mark { group, partitions, owned, answer } => {
                state.decide_marks(&group, &partitions);
                drop(answer.send(Ok(owned)));
            }
        }
    }
    wake.sort_unstable();
    wake.dedup();
    for desk in wake.iter().filter_map(|id| state.members.get(id)) {
        desk.wake.notify_all();
    }
}

fn fail(state: &mut State, group: Group, failure: &Failure) {
    for done in group.done {
        match done {
            Done::Commit { member, transaction, .. } => {
                state.end(member, transaction, Err(failure.clone()));
            }
            Done::Append { answer, .. } => {
                answer.and_then(|answer| answer.send(Err(failure.clone())).ok());
            }
            Done::Schema { answer, .. } => drop(answer.send(Err(failure.clone()))),
            Done::Mark { group, partitions, answer, .. } => {
                state.decide_marks(&group, &partitions);
                drop(answer.send(Err(failure.clone())));
            }
        }
    }
    state.wake_members();
    state.wake_consumers();
}

impl State {
    /// Gives a transaction back to the member that submitted it.
    fn end(&mut self, member: MemberId, transaction: Transaction, ended: Result<Ended, Failure>) {
        for part in &transaction.parts {
            self.undecided[part.partition as usize] -= 1;
        }
        if let Some(desk) = self.members.get_mut(&member) {
            desk.ended = Some(ended.map(|ended| (transaction, ended)));
        }
    }

    fn decide_marks(&mut self, group: &str, partitions: &[u32]) {
        if let Some(consumers) = self.consumers.get_mut(group) {
            for partition in partitions {
                consumers.undecided[*partition as usize] -= 1;
            }
        }
    }

    /// Keeps the newest commands in memory, as far as there is room.
    fn keep(&mut self, batch: Batch, bytes_max: usize) {
        let tail = &mut self.tails[batch.partition() as usize];
        // Batches that nobody takes (no worker, a slow one) are read from the file later.
        self.tail_bytes += batch.bytes();
        tail.push_back(batch);
        while self.tail_bytes > bytes_max {
            let Some(tail) = self.tails.iter_mut().max_by_key(|tail| tail.len()) else { return };
            let Some(oldest) = tail.pop_front() else { return };
            self.tail_bytes -= oldest.bytes();
        }
    }
}
