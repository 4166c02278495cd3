//! Reading what is committed: topics, offsets of the group, and whether anything is undecided.
//!
//! The clients are made when they are first used. One sees what is committed; the other sees what
//! is not, and tells by the difference that a transaction is under way.

use std::collections::VecDeque;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_core::message::Timestamp;
use bellhop_core::task::Progress;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, Offset};

use super::Shared;
use super::client::{Watch, list};
use super::config::Config;
use super::error;
use super::native::{Consumed, Queue};
use super::note::Note;
use crate::log::{Each, Error, ErrorKind, Identity, Lookup, Reader, Topic};

/// Messages that are taken at once.
const TAKE: usize = 4_096;
/// How long one broker may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// One step of a wait for what may take long.
const STEP: Duration = Duration::from_millis(500);
/// How long a member waits for one of its partitions before it turns to the others.
const TURN: Duration = Duration::from_secs(1);
/// Reads of a member that stay open between two slices; each holds fetched records in memory.
const OPEN_MAX: usize = 4;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: u64,
    /// As it was written; see [`Note::parse`].
    pub(super) text: String,
}

impl Committed {
    pub(super) fn note(&self) -> Note {
        // An offset that somebody moved by hand counts; its time is that of the events.
        let moved = || Note { time: Some(Timestamp::MIN), ..Note::default() };
        Note::parse(&self.text).unwrap_or_else(moved)
    }

    /// How far the partition has come; none when it was only claimed.
    pub(super) fn progress(&self) -> Option<Progress> {
        let Note { time, history, owner: _ } = self.note();
        Some(Progress { next_offset: self.offset, stream_time: time?, history })
    }
}

/// One client that reads.
struct Client {
    /// Reads that were broken off, the oldest first.
    open: VecDeque<Open>,
    consumer: BaseConsumer<Watch>,
}

/// A partition that is being fetched: what a slice of a restore leaves is there for the next one,
/// and aborted records are skipped between them.
struct Open {
    topic: Topic,
    partition: u32,
    /// The offset of the first record that was not used, or where the next one is looked for.
    at: u64,
    /// The end up to which it was to be read.
    end: u64,
    records: Queue,
}

impl Open {
    /// Whether a read from an offset goes on with it; the record at which one was broken off may
    /// have been used or not.
    fn fits(&self, topic: Topic, partition: u32, from: u64) -> bool {
        (self.topic, self.partition) == (topic, partition)
            && (self.at..=self.at + 1).contains(&from)
    }
}

impl Client {
    fn new(config: &ClientConfig) -> Result<Self, Error> {
        let tried = "make a client to read with";
        let consumer: BaseConsumer<Watch> =
            config.create_with_context(Watch::default()).map_err(|e| error::of(tried, e))?;
        Ok(Self { open: VecDeque::new(), consumer })
    }

    /// Goes on with a read that was broken off there, or begins one.
    fn open(
        &mut self,
        name: &str,
        (topic, partition): (Topic, u32),
        (from, end): (u64, u64),
    ) -> Result<Open, Error> {
        let here = |open: &Open| (open.topic, open.partition) == (topic, partition);
        let index = self.open.iter().position(here);
        if let Some(open) = index.and_then(|index| self.open.remove(index)) {
            let open = Open { end, ..open };
            return if open.fits(topic, partition, from) {
                Ok(open)
            } else {
                self.seek(open, name, from)
            };
        }
        let tried = || format!("read {name}, partition {partition} from offset {from}");
        let native = self.consumer.client().native_ptr();
        let records = Queue::new(native);
        let records = records.ok_or_else(|| error::fix(tried(), "librdkafka gives no queue"))?;
        let topic_name = CString::new(name)
            .map_err(|_| error::fix(tried(), "the topic's name holds a zero byte"))?;
        let mut assignment = TopicPartitionList::new();
        let offset = Offset::Offset(from.cast_signed());
        assignment
            .add_partition_offset(name, partition.cast_signed(), offset)
            .map_err(|e| error::of(tried(), e))?;
        // Forwarded before it begins, so that every record comes to this queue.
        records.forward(native, &topic_name, partition);
        self.consumer.incremental_assign(&assignment).map_err(|e| error::of(tried(), e))?;
        Ok(Open { topic, partition, at: from, end, records })
    }

    /// Goes on elsewhere. One that ends and begins anew at once would lose its queue: librdkafka
    /// takes a partition's forwarding away some time after it is unassigned.
    fn seek(&self, mut open: Open, name: &str, from: u64) -> Result<Open, Error> {
        let (partition, offset) = (open.partition, Offset::Offset(from.cast_signed()));
        open.records.clear();
        match self.consumer.seek(name, partition.cast_signed(), offset, ANSWER) {
            Ok(()) => {
                open.at = from;
                Ok(open)
            }
            Err(e) => {
                self.close(open, name)?;
                Err(error::of(format!("seek {name}, partition {partition}, offset {from}"), e))
            }
        }
    }

    /// A client that is not asked to stop goes on to fetch.
    fn close(&self, mut open: Open, name: &str) -> Result<(), Error> {
        let partition = open.partition;
        let closed = self.consumer.incremental_unassign(&list(name, [partition]));
        closed
            .map_err(|e| error::of(format!("end the read of {name}, partition {partition}"), e))?;
        while open.records.consume(Duration::ZERO, TAKE, |_| {}) > 0 {}
        Ok(())
    }

    fn watermarks(
        &self,
        name: &str,
        partition: u32,
        most: Duration,
    ) -> Result<(u64, u64), KafkaError> {
        let until = Instant::now() + most;
        loop {
            let asked = self.consumer.fetch_watermarks(name, partition.cast_signed(), ANSWER);
            let e = match asked {
                Ok((low, high)) => {
                    return Ok((low.max(0).cast_unsigned(), high.max(0).cast_unsigned()));
                }
                Err(e) => e,
            };
            if !is_passing(&e) || Instant::now() > until {
                return Err(e);
            }
            // A client that fetches nothing goes on to ask a leader that is gone, until it looks
            // for the new one.
            if let Err(error) = self.consumer.fetch_metadata(Some(name), ANSWER) {
                tracing::debug!(%error, name, "look for the leader");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn committed(
        &self,
        name: &str,
        partition: u32,
        most: Duration,
    ) -> Result<Option<Committed>, KafkaError> {
        let found = self.consumer.committed_offsets(list(name, [partition]), most)?;
        let elements = found.elements();
        let Some(element) = elements.first() else { return Ok(None) };
        element.error()?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some(Committed {
                offset: offset.max(0).cast_unsigned(),
                text: element.metadata().to_owned(),
            }),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        })
    }
}

/// Reads; owns nothing.
pub(super) struct Source {
    config: Arc<Config>,
    group: String,
    /// At most so long is waited for one partition.
    patience: Duration,
    /// So many reads stay open when they are broken off.
    open_max: usize,
    committed: Option<Client>,
    undecided: Option<Client>,
}

impl Source {
    pub(super) fn new(config: Arc<Config>, group: &str) -> Self {
        let (patience, open_max) = (Duration::MAX, 0);
        let group = group.to_owned();
        Self { config, group, patience, open_max, committed: None, undecided: None }
    }

    /// Of a member: one partition is not waited for while others have work, and a read that is
    /// broken off is gone on with.
    pub(super) fn in_turns(mut self) -> Self {
        (self.patience, self.open_max) = (TURN, OPEN_MAX);
        self
    }

    fn client(&mut self) -> Result<&mut Client, Error> {
        if self.committed.is_none() {
            self.committed = Some(Client::new(&self.config.reader(&self.group))?);
        }
        match &mut self.committed {
            Some(client) => Ok(client),
            None => Err(error::fix("make a client to read with", "there is none")),
        }
    }

    fn undecided(&mut self) -> Result<&mut Client, Error> {
        if self.undecided.is_none() {
            self.undecided = Some(Client::new(&self.config.undecided(&self.group))?);
        }
        match &mut self.undecided {
            Some(client) => Ok(client),
            None => Err(error::fix("make a client to read with", "there is none")),
        }
    }

    /// First offset, and the offset behind the last committed record.
    pub(super) fn bounds(&mut self, topic: Topic, partition: u32) -> Result<(u64, u64), Error> {
        let name = self.config.topic(topic);
        let most = self.config.request_timeout.min(self.patience);
        let client = self.client()?;
        client.watermarks(&name, partition, most).map_err(|e| {
            let error = error::of(format!("find the end of {name}, partition {partition}"), e);
            client.consumer.context().explain(error)
        })
    }

    /// As [`Reader::read`].
    ///
    /// What retention deleted is not there to read; a tool that begins at 0 begins with what is.
    pub(super) fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        let mut from = from;
        // One that is gone on with asks no broker where the partition ends, before it is there.
        let mut open = self.committed.iter().flat_map(|client| &client.open);
        let goes_on = open.find(|open| open.fits(topic, partition, from));
        if let Some(end) = goes_on.map(|open| open.end) {
            match self.read_to(topic, partition, (from, end), each)? {
                ControlFlow::Break(next) => return Ok(next),
                ControlFlow::Continue(next) => from = next,
            }
        }
        let (low, end) = self.bounds(topic, partition)?;
        let read = self.read_to(topic, partition, (from.max(low), end), each)?;
        Ok(match read {
            ControlFlow::Break(next) | ControlFlow::Continue(next) => next,
        })
    }

    /// Reads up to an end, or until `each` breaks off; gives the offset to go on from.
    fn read_to(
        &mut self,
        topic: Topic,
        partition: u32,
        (from, end): (u64, u64),
        each: &mut Each<'_>,
    ) -> Result<ControlFlow<u64, u64>, Error> {
        if from >= end {
            return Ok(ControlFlow::Continue(from));
        }
        let name = self.config.topic(topic);
        let most = (self.config.request_timeout * 3).min(self.patience);
        let (open_max, config) = (self.open_max, self.config.clone());
        let client = self.client()?;
        let mut open = client.open(&name, (topic, partition), (from, end))?;
        let mut reading = Reading { next: from, end, broken_off: false, done: false, failed: None };
        let (mut since, mut late) = (Instant::now(), None);
        while !reading.done && reading.failed.is_none() {
            // Errors of the whole client come here.
            drop(client.consumer.poll(Duration::ZERO));
            let mut take = |consumed: Consumed<'_>| reading.take(partition, consumed, each);
            // The call waits until it has all that it is asked for, or its time is over: so it is
            // never asked to wait for more than one.
            let mut taken = open.records.consume_until(Duration::ZERO, TAKE, &mut take);
            if taken == 0 {
                taken = open.records.consume_until(Duration::from_millis(100), 1, &mut take);
            }
            if taken > 0 {
                since = Instant::now();
            } else if since.elapsed() > most {
                let tried = format!("read {name}, partition {partition} from offset {from}");
                let hint = format!("nothing came for {} ms; it is tried again", most.as_millis());
                late = Some(client.consumer.context().explain(error::retry(tried, hint)));
                break;
            }
        }
        let Reading { next, broken_off, failed, .. } = reading;
        // Nothing comes while the client skips aborted records; it goes on to do so.
        if broken_off || late.is_some() {
            open.at = next - u64::from(broken_off);
            client.open.push_back(open);
            let most = client.open.len().saturating_sub(open_max);
            let oldest: Vec<Open> = client.open.drain(..most).collect();
            for open in oldest {
                let name = config.topic(open.topic);
                client.close(open, &name)?;
            }
        } else {
            client.close(open, &name)?;
        }
        match failed.or(late) {
            Some(error) => Err(error),
            None if broken_off => Ok(ControlFlow::Break(next)),
            None => Ok(ControlFlow::Continue(next)),
        }
    }

    /// The committed offset, decided or not: that of the last transaction that was.
    pub(super) fn last_committed(&mut self, partition: u32) -> Result<Option<Committed>, Error> {
        let name = self.config.topic(Topic::Commands);
        let most = self.config.request_timeout.min(self.patience);
        let client = self.undecided()?;
        client.committed(&name, partition, most).map_err(|e| {
            let error = error::of(format!("read the offset of {name}, partition {partition}"), e);
            client.consumer.context().explain(error)
        })
    }

    /// The committed offset, once no transaction on it is undecided.
    pub(super) fn stable_offset(
        &mut self,
        topic: Topic,
        partition: u32,
    ) -> Result<Option<Committed>, Error> {
        let name = self.config.topic(topic);
        let most = (self.config.transaction_timeout * 3).min(self.patience);
        let until = Instant::now() + most;
        let client = self.client()?;
        loop {
            // Undecided offsets look like no answer: the client asks on its own until the time is
            // over.
            match client.committed(&name, partition, STEP) {
                Ok(committed) => return Ok(committed),
                Err(e) if is_timeout(&e) && Instant::now() < until => {}
                Err(e) if is_passing(&e) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(e) => {
                    let tried = format!("read the decided offset of {name}, partition {partition}");
                    return Err(client.consumer.context().explain(error::of(tried, e)));
                }
            }
        }
    }

    /// Waits until no transaction on a partition of events is undecided.
    pub(super) fn wait_stable(&mut self, partition: u32) -> Result<(), Error> {
        let name = self.config.topic(Topic::Events);
        let most = self.config.request_timeout.min(self.patience);
        let tried = || format!("wait until {name}, partition {partition} is decided");
        let until = Instant::now() + (self.config.transaction_timeout * 3).min(self.patience);
        let mut pause = Duration::from_millis(1);
        loop {
            // In this order: what is added in between shows as undecided.
            let decided = self.bounds(Topic::Events, partition)?.1;
            let client = self.undecided()?;
            let (_, all) = client
                .watermarks(&name, partition, most)
                .map_err(|e| client.consumer.context().explain(error::of(tried(), e)))?;
            if decided >= all {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(error::retry(
                    tried(),
                    "a transaction on it is still undecided; if this goes on for longer than the transaction time-out, the brokers have lost its end: `kafka-transactions.sh find-hanging` names it, `abort` ends it",
                ));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn is_timeout(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(Code::OperationTimedOut | Code::RequestTimedOut | Code::UnstableOffsetCommit)
    )
}

fn is_passing(error: &KafkaError) -> bool {
    let kind = error.rdkafka_error_code().map(error::kind_of);
    kind == Some(ErrorKind::Retry)
}

/// One call of `read_to`.
struct Reading {
    next: u64,
    end: u64,
    /// The caller wants no more.
    broken_off: bool,
    done: bool,
    failed: Option<Error>,
}

impl Reading {
    fn take(
        &mut self,
        partition: u32,
        consumed: Consumed<'_>,
        each: &mut Each<'_>,
    ) -> ControlFlow<()> {
        match consumed {
            Consumed::Record(from, record) if from == partition && record.offset >= self.next => {
                if record.offset >= self.end {
                    (self.next, self.done) = (self.end, true);
                } else {
                    self.next = record.offset + 1;
                    self.broken_off = each(&record) == ControlFlow::Break(());
                    self.done = self.broken_off || self.next >= self.end;
                }
            }
            Consumed::End(from, offset) if from == partition && offset >= self.end => {
                (self.next, self.done) = (self.end, true);
            }
            // Of a read before this one.
            Consumed::Record(..) | Consumed::End(..) => {}
            Consumed::Failed(from, code, text) if from == partition => {
                let error = error::of_code(
                    format!("read partition {partition} from offset {}", self.next),
                    code,
                    &text,
                );
                if error.kind == ErrorKind::Retry {
                    tracing::debug!(partition, %error, text, "reading goes on");
                } else {
                    self.failed = Some(error);
                }
            }
            Consumed::Failed(..) => {}
        }
        if self.done || self.failed.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// A reader of a cluster.
pub struct View {
    pub(super) source: Source,
    pub(super) shared: Arc<Shared>,
}

impl View {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let source = Source::new(shared.config.clone(), &shared.config.group);
        Self { source, shared: shared.clone() }
    }

    /// As a member reads; see [`Source::in_turns`].
    pub(super) fn of_member(shared: &Arc<Shared>) -> Self {
        let Self { source, shared } = Self::new(shared);
        Self { source: source.in_turns(), shared }
    }
}

impl Reader for View {
    fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.shared.registry.schema_of(id)
    }

    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        Ok(self.source.bounds(topic, partition)?.0)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        Ok(self.source.bounds(topic, partition)?.1)
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        self.source.read(topic, partition, from, each)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        let committed = self.source.stable_offset(Topic::Commands, partition)?;
        Ok(committed.and_then(|committed| committed.progress()))
    }
}
