//! All that the simulated log knows: topics, progress, registry, and the accidents of calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellhop_core::message::Position;
use bellhop_core::outcome::Output;
use bellhop_core::partition::partition_of;
use bellhop_core::record::Records;
use bellhop_core::task::Progress;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::super::{
    Batch, Bookmark, Builder, Command, Ended, Error, ErrorKind, Identity, Part, Polled, Schema,
    Timestamps, Topic, Transaction,
};
use super::consumers::Consumers;
use super::faults::{Broken, Faults};
use super::group::{Group, Open};
use super::random::Random;
use super::snapshots::Saves;
use super::topics::{Append, Topics, TransactionId};
use super::trace::Trace;
use crate::clock::{Clock, ManualClock};
use bellhop_core::record::Record;

/// Why a call does not give what was asked.
#[derive(Debug)]
pub(super) enum Stop {
    Error(Error),
    /// It never returns.
    Crash,
}

impl Stop {
    pub(super) fn error(kind: ErrorKind, tried: &str, hint: &str) -> Self {
        let (tried, hint) = (tried.to_owned(), hint.to_owned());
        Self::Error(Error { kind, tried, hint, source: None })
    }
}

pub(super) type Called<T> = Result<T, Stop>;

/// The simulated log.
#[derive(Debug)]
pub(super) struct World {
    pub(super) identity: Identity,
    pub(super) topics: Topics,
    pub(super) group: Group,
    pub(super) faults: Faults,
    pub(super) trace: Trace,
    pub(super) accidents: BTreeMap<&'static str, u64>,
    pub(super) random: Random,
    pub(super) clock: Arc<ManualClock>,
    pub(super) saves: Saves,
    /// Groups of consumers of the events, by name.
    pub(super) consumers: BTreeMap<String, Consumers>,
    committed: Vec<Option<Progress>>,
    bookmarks: BTreeMap<String, u64>,
    schemas: Vec<Schema>,
}

impl World {
    pub(super) fn new(
        identity: Identity,
        faults: Faults,
        random: Random,
        clock: Arc<ManualClock>,
    ) -> Self {
        let partitions = identity.partitions;
        Self {
            topics: Topics::new(partitions),
            group: Group::new(partitions),
            faults,
            trace: Trace::default(),
            accidents: BTreeMap::new(),
            random,
            clock,
            saves: Saves::new(),
            consumers: BTreeMap::new(),
            committed: vec![None; partitions as usize],
            bookmarks: BTreeMap::new(),
            schemas: Vec::new(),
            identity,
        }
    }

    /// Draws whether an accident happens, and counts it.
    pub(super) fn strikes(&mut self, name: &'static str, per_10k: u32) -> bool {
        let strikes = self.random.chance(per_10k);
        if strikes {
            *self.accidents.entry(name).or_default() += 1;
            self.trace.note(format_args!("accident: {name}"));
        }
        strikes
    }

    // Reading.

    pub(super) fn committed(&mut self, partition: u32) -> Called<Option<Progress>> {
        if let Some(member) = self.group.open_on(partition) {
            if !self.group.is_unknown(member) {
                let tried = format!("read the committed progress of partition {partition}");
                return Err(Stop::error(ErrorKind::Retry, &tried, "a transaction is under way"));
            }
            self.resolve(member);
        }
        Ok(self.committed[partition as usize])
    }

    /// Without a look for who may change it.
    pub(super) fn committed_now(&self, partition: u32) -> Option<Progress> {
        self.committed[partition as usize]
    }

    pub(super) fn set_committed(&mut self, partition: u32, to: Option<Progress>) {
        self.committed[partition as usize] = to;
    }

    pub(super) fn schema_of(&self, id: u32) -> Option<Schema> {
        self.schemas.get((id as usize).checked_sub(1)?).cloned()
    }

    pub(super) fn schema_id(&mut self, name: &str, text: &str) -> u32 {
        let schema = Schema { name: name.to_owned(), text: text.to_owned() };
        let known = self.schemas.iter().position(|known| *known == schema);
        let at = known.unwrap_or_else(|| {
            self.schemas.push(schema);
            self.schemas.len() - 1
        });
        at as u32 + 1
    }

    // Producing.

    pub(super) fn append_command(
        &mut self,
        partition: u32,
        transaction: Option<TransactionId>,
        append: &Append<'_>,
    ) -> Position {
        let stamped = self.identity.timestamps == Timestamps::Append;
        let timestamp = if stamped { self.clock.now() } else { append.timestamp };
        let append = Append { timestamp, ..*append };
        let offset = self.topics.append(Topic::Commands, partition, transaction, stamped, &append);
        let bytes = append.value.unwrap_or_default();
        let (count, hash) = (bytes.len(), xxh3_64(bytes));
        self.trace.note(format_args!("command {partition}@{offset} {count} bytes {hash:x}"));
        Position { partition, offset }
    }

    pub(super) fn produce(
        &mut self,
        commands: &[Command<'_>],
        bookmark: Option<Bookmark<'_>>,
    ) -> Called<Vec<Position>> {
        let failed = || Err(Stop::error(ErrorKind::Retry, "append commands", "send them again"));
        if self.strikes("append", self.faults.append) {
            if bookmark.is_none() || self.random.chance(5_000) {
                return failed();
            }
            self.produce_now(commands, bookmark);
            return failed();
        }
        Ok(self.produce_now(commands, bookmark))
    }

    fn produce_now(
        &mut self,
        commands: &[Command<'_>],
        bookmark: Option<Bookmark<'_>>,
    ) -> Vec<Position> {
        let transaction = bookmark.map(|_| self.topics.begin());
        let partitions = self.identity.partitions;
        let positions = commands.iter().map(|command| {
            let Command { key, value, timestamp, headers } = *command;
            let append = Append { timestamp, key: Some(key), value: Some(value), headers };
            self.append_command(partition_of(key, partitions), transaction, &append)
        });
        let positions = positions.collect();
        if let (Some(transaction), Some(bookmark)) = (transaction, bookmark) {
            self.topics.decide(transaction, true);
            self.bookmarks.insert(bookmark.name.to_owned(), bookmark.next);
        }
        positions
    }

    pub(super) fn bookmark(&self, name: &str) -> Option<u64> {
        self.bookmarks.get(name).copied()
    }

    // Polling.

    pub(super) fn poll(&mut self, member: usize, records_max: usize) -> Polled {
        let polled = match self.group.next_notice(member) {
            Some(notice) => notice,
            None if records_max == 0 || self.strikes("idle", self.faults.idle) => Polled::Idle,
            None => self.next_batch(member, records_max).map_or(Polled::Idle, Polled::Batch),
        };
        match &polled {
            Polled::Idle => {}
            Polled::Batch(batch) => {
                let (partition, records) = (batch.partition(), batch.len());
                let first = batch.cursor().next_record().map_or(0, |record| record.offset);
                self.trace.note(format_args!("{member} got {partition}@{first} x{records}"));
            }
            Polled::Assigned(_) | Polled::Revoked(_) | Polled::Lost(_) => {
                self.trace.note(format_args!("{member} got {polled:?}"));
            }
        }
        polled
    }

    fn next_batch(&mut self, member: usize, records_max: usize) -> Option<Batch> {
        let ready: Vec<(u32, u64)> = self
            .group
            .delivering(member)
            .filter(|(partition, next)| {
                self.topics.visible(Topic::Commands, *partition, *next).next().is_some()
            })
            .collect();
        let (partition, next) = *self.random.pick(&ready)?;
        let mut from = next;
        if self.strikes("duplicate", self.faults.duplicate) {
            from = next.saturating_sub(1 + self.random.below(6));
        }
        // Anything between one record and all that may come.
        let most = 1 + self.random.below(records_max as u64) as usize;
        let mut builder = Builder::default();
        let mut after = next;
        for stored in self.topics.visible(Topic::Commands, partition, from).take(most) {
            builder.push(&Record {
                offset: stored.offset,
                timestamp: stored.timestamp,
                key: stored.key.as_deref(),
                value: stored.value.as_deref(),
                headers: &stored.headers(),
            });
            after = after.max(stored.offset + 1);
        }
        self.group.delivered(member, partition, after);
        Some(builder.finish(partition))
    }

    // Committing.

    /// # Panics
    /// When the caller breaks the seam.
    pub(super) fn submit(&mut self, member: usize, transaction: Transaction) -> Called<()> {
        self.group.check_submit(member);
        for part in &transaction.parts {
            let partition = part.partition;
            let committed = self.committed[partition as usize];
            // A zombie may try anything; it will not succeed.
            if !self.group.holds(member, partition) {
                continue;
            }
            assert!(
                part.before == committed,
                "member {member} commits {partition} on top of {:?}, committed is {committed:?}",
                part.before,
            );
            assert!(
                part.after.is_none_or(|after| {
                    committed.is_none_or(|committed| committed.next_offset <= after.next_offset)
                }),
                "member {member} takes {partition} back from {committed:?} to {:?}",
                part.after,
            );
        }
        let id = self.topics.begin();
        let torn = self.strikes("torn", self.faults.torn);
        let records = transaction.parts.iter().map(|part| {
            part.output.events.len() + part.output.parked.len() + part.output.commands.len()
        });
        let records = records.sum::<usize>() as u64;
        let cut = self.late_end_arrives(member);
        let in_part = torn || cut;
        let mut left = if in_part { self.random.below(records.max(1)) } else { u64::MAX };
        let mut hash = 0;
        for part in &transaction.parts {
            self.write(id, part, &mut left, &mut hash);
        }
        let parts = transaction.parts.iter();
        let epochs = parts.clone().map(|part| self.group.epoch(member, part.partition)).collect();
        let after: Vec<_> = parts.map(|part| (part.partition, part.after)).collect();
        self.trace
            .note(format_args!("{member} submits {id:?} {after:?} {records} records {hash:x}"));
        if cut {
            // What it has so far: some of the records, and the offsets or not.
            self.topics.decide(id, true);
            if self.random.chance(5_000) {
                self.keep_progress(&after);
            }
        }
        let id = if cut { self.topics.begin() } else { id };
        let (transaction, unknown, asked) = (Some(transaction), false, false);
        let open = Open { id, after, epochs, transaction, unknown, asked, torn, cut };
        self.group.open(member, open);
        if torn { Err(Stop::Crash) } else { Ok(()) }
    }

    /// Whether a request of the member's last transaction ends the one that it begins.
    ///
    /// A member whose request was not answered initialises its id before it begins: what comes late
    /// is of a former epoch.
    fn late_end_arrives(&mut self, member: usize) -> bool {
        if !self.group.take_late_end(member) {
            return false;
        }
        let ends = self.faults.broken == Some(Broken::SameEpoch);
        let what = if ends { "ends another transaction" } else { "is refused" };
        self.trace.note(format_args!("an end of {member} comes late and {what}"));
        ends
    }

    fn write(&mut self, id: TransactionId, part: &Part, left: &mut u64, hash: &mut u64) {
        let partition = part.partition;
        let Part { output, .. } = part;
        let mut append = |world: &mut Self, topic: Topic, records: &Records| {
            for record in records.iter() {
                let Some(rest) = left.checked_sub(1) else { return };
                *left = rest;
                *hash = xxh3_64_with_seed(record.value, *hash);
                let key = (!record.key.is_empty()).then_some(record.key);
                let (timestamp, value) = (record.timestamp, Some(record.value));
                let headers: Vec<_> = record.headers.iter().collect();
                let append = Append { timestamp, key, value, headers: &headers };
                if topic == Topic::Commands {
                    let to = partition_of(record.key, world.identity.partitions);
                    world.append_command(to, Some(id), &append);
                } else {
                    world.topics.append(topic, partition, Some(id), false, &append);
                }
            }
        };
        append(self, Topic::Events, &output.events);
        append(self, Topic::Parked, &output.parked);
        append(self, Topic::Commands, &output.commands);
    }

    pub(super) fn ended(&mut self, member: usize) -> Called<Option<(Transaction, Ended)>> {
        if let Some((transaction, ended)) = self.group.take_verdict(member) {
            self.trace.note(format_args!("{member} learns {ended:?}"));
            return Ok(Some((transaction, ended)));
        }
        if !self.group.has_transaction(member)
            || self.strikes("slow_commit", self.faults.slow_commit)
        {
            return Ok(None);
        }
        let fresh = self.faults.broken == Some(Broken::FreshMember);
        let stale = self.group.is_stale(member) && !fresh;
        if stale {
            *self.accidents.entry("zombie").or_default() += 1;
        }
        let refused = !stale && self.refuses(member);
        let gone = stale || self.group.is_cut(member);
        let ended = if refused {
            Ended::Refused
        } else if gone || self.strikes("aborted", self.faults.aborted) {
            Ended::Aborted
        } else if self.strikes("unknown", self.faults.unknown) {
            Ended::Unknown
        } else {
            Ended::Committed
        };
        let transaction = match ended {
            Ended::Unknown => self.group.forget(member),
            Ended::Committed | Ended::Aborted | Ended::Refused => {
                let commit = ended == Ended::Committed;
                self.decide(member, commit, commit)
            }
        };
        self.trace.note(format_args!("{member} sees {ended:?}"));
        // A worker that is given nothing back has nothing to compare.
        let asks = self.faults.broken == Some(Broken::Split);
        if ended == Ended::Unknown && !asks && self.random.chance(2_500) {
            let tried = "commit a transaction";
            return Err(Stop::error(ErrorKind::Retry, tried, "recover and start over"));
        }
        match ended {
            Ended::Unknown => self.group.will_ask(member),
            Ended::Committed if self.strikes("late_end", self.faults.late_end) => {
                self.group.set_late_end(member);
            }
            Ended::Committed | Ended::Aborted | Ended::Refused => {}
        }
        Ok(transaction.map(|transaction| (transaction, ended)))
    }

    /// Whether a record of a member's transaction is larger than the log takes.
    fn refuses(&self, member: usize) -> bool {
        let most = self.faults.record_bytes_max as usize;
        let parts = self.group.submitted(member).map_or(&[][..], |transaction| &transaction.parts);
        let mut outputs = parts.iter().map(|part| &part.output);
        let is_larger = |records: &Records| {
            records.iter().any(|record| record.key.len() + record.value.len() > most)
        };
        let larger = |output: &Output| {
            is_larger(&output.events) || is_larger(&output.commands) || is_larger(&output.parked)
        };
        most > 0 && outputs.any(larger)
    }

    /// Ends a member's transaction as nobody but the coordinator knows: it is gone, or shut out, or
    /// makes its producers anew.
    pub(super) fn resolve(&mut self, member: usize) {
        if let Some(torn) = self.group.is_torn(member) {
            let stale = self.group.is_stale(member);
            // What was cut is gone.
            let gone = torn || stale || self.group.is_cut(member);
            let commit = !gone && self.random.chance(5_000);
            let ended = if commit { Ended::Committed } else { Ended::Aborted };
            let (visible, progress) = match self.faults.broken.filter(|_| !commit) {
                Some(Broken::OutputWithoutProgress) => (true, false),
                Some(Broken::ProgressWithoutOutput) => (false, true),
                Some(Broken::Split | Broken::SameEpoch | Broken::FreshMember) | None => {
                    (commit, commit)
                }
            };
            if let Some(transaction) = self.decide(member, visible, progress) {
                self.group.tell(member, transaction, ended);
            }
        }
    }

    pub(super) fn recover(&mut self, member: usize) {
        let splits = self.faults.broken == Some(Broken::Split) && self.group.is_asked(member);
        if splits && !self.group.is_stale(member) && self.random.chance(5_000) {
            let visible = self.random.chance(5_000);
            self.decide(member, visible, !visible);
        }
        self.resolve(member);
        self.group.take_verdict(member);
        self.trace.note(format_args!("{member} recovers"));
    }

    /// Ends a transaction: whether its records become visible, and whether its progress counts.
    fn decide(&mut self, member: usize, visible: bool, progress: bool) -> Option<Transaction> {
        let open = self.group.close(member)?;
        self.trace
            .note(format_args!("{member} {:?} visible {visible} progress {progress}", open.id));
        self.topics.decide(open.id, visible);
        if progress {
            self.keep_progress(&open.after);
        }
        open.transaction
    }

    fn keep_progress(&mut self, after: &[(u32, Option<Progress>)]) {
        for (partition, after) in after {
            let committed = &mut self.committed[*partition as usize];
            *committed = after.or(*committed);
        }
    }
}
