//! The producers of a worker, and the thread that commits with them.
//!
//! Two producers take turns: after a commit the broker still writes its markers, and the same
//! producer's next transaction would meet CONCURRENT_TRANSACTIONS, for which librdkafka sleeps
//! 20 ms. The thread hands over all records of a transaction, adds the offsets, waits until the records
//! are delivered and commits, while the worker decides on.
//!
//! ```text
//! begin ─▶ produce ─▶ offsets ─▶ drain ─▶ commit ─▶ Committed
//!             └──────────┴─────────┴─────────┴────▶ abort ─▶ Aborted
//!                                  in time neither nor ────▶ Unknown
//! ```

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bellhop_core::outcome::Answer;
use bellhop_core::partition::partition_of;
use bellhop_core::record::Records;
use bellhop_core::task::{CORRELATION_ID, Progress};
use compact_str::CompactString;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::client::{Bell, Watch};
use super::config::{Config, Guarantee, Sabotage};
use super::error;
use super::group::Marker;
use super::native::{GroupMetadata, Single, TopicHandle, TransactionError, send_offsets};
use super::note::Note;
use super::source::Committed;
use crate::log::{Ended, Error, ErrorKind, Timestamps, Topic, Transaction};

/// How long a topic of replies that is not there is not looked for again.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// How long records that are on their way are waited for before a transaction is aborted.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A transaction to commit.
pub(super) struct Job {
    pub(super) transaction: Transaction,
    /// As it was when the last change of ownership was heard.
    pub(super) member: Arc<GroupMetadata>,
}

/// How a job ended.
pub(super) type Done = Result<(Transaction, Ended), Error>;

/// The thread that commits.
pub(super) struct Committer {
    jobs: Option<Sender<Job>>,
    done: Arc<Mutex<Option<Done>>>,
    thread: Option<JoinHandle<()>>,
    under_way: bool,
    /// When the last job was given to the thread, or its end was asked for.
    since: Instant,
    patience: Duration,
}

/// What the thread is told once.
pub(super) struct Setup {
    pub(super) config: Arc<Config>,
    /// What both transactional ids begin with.
    pub(super) owner: String,
    pub(super) partitions: u32,
    pub(super) timestamps: Timestamps,
    pub(super) bell: Arc<Bell>,
    /// Commits offsets where there are no transactions.
    pub(super) marker: Marker,
}

/// The transactional ids of an owner.
pub(super) fn ids(owner: &str) -> [String; 2] {
    [format!("{owner}.0"), format!("{owner}.1")]
}

/// One producer of transactions.
pub(super) struct Desk {
    topics: [TopicHandle; 3],
    /// Topics of replies: whether they are there, and when that was asked.
    replies: HashMap<CompactString, (bool, Instant)>,
    producer: BaseProducer<Watch>,
}

impl Desk {
    /// Makes a producer and ends whatever was left undecided under its id.
    pub(super) fn open(config: &Config, id: &str) -> Result<Self, Error> {
        let desk = Self::make(config, &config.producer(Some(id)), &format!("the producer {id}"))?;
        let producer = &desk.producer;
        let until = Instant::now() + config.request_timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match producer.init_transactions(left) {
                Ok(()) => break,
                Err(e) => {
                    let retriable = error::transaction(e.clone()).retriable;
                    if !retriable || Instant::now() > until {
                        let error = error::of(format!("initialise the transactions of {id}"), e);
                        return Err(producer.context().explain(error));
                    }
                }
            }
        }
        Ok(desk)
    }

    /// Makes a producer of no transactions.
    fn open_plain(config: &Config) -> Result<Self, Error> {
        Self::make(config, &config.plain_producer(), "the producer")
    }

    fn make(config: &Config, client: &ClientConfig, what: &str) -> Result<Self, Error> {
        let tried = || format!("make {what}");
        let producer: BaseProducer<Watch> =
            client.create_with_context(Watch::default()).map_err(|e| error::of(tried(), e))?;
        let native = producer.client().native_ptr();
        let topics = Topic::ALL.map(|topic| TopicHandle::new(native, &config.topic(topic)));
        let [Some(commands), Some(events), Some(parked)] = topics else {
            return Err(error::fix(tried(), "librdkafka gives no topic"));
        };
        Ok(Self { topics: [commands, events, parked], replies: HashMap::new(), producer })
    }

    pub(super) fn producer(&self) -> &BaseProducer<Watch> {
        &self.producer
    }

    /// Whether a topic is there; asked again after a while when it was not.
    fn has_topic(&mut self, name: &CompactString) -> bool {
        if let Some((there, asked)) = self.replies.get(name)
            && (*there || asked.elapsed() < MISSING_FOR)
        {
            return *there;
        }
        let found = self.producer.client().fetch_metadata(Some(name), Duration::from_secs(5));
        let there = found.is_ok_and(|metadata| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            topic.is_some_and(|topic| topic.error().is_none() && !topic.partitions().is_empty())
        });
        if !there {
            tracing::warn!(topic = %name, "replies are not sent: the topic is missing, or may not be described");
        }
        self.replies.insert(name.clone(), (there, Instant::now()));
        there
    }

    fn produce<'a>(
        &mut self,
        topic: Topic,
        records: impl Iterator<Item = (u32, &'a [u8], &'a [u8])>,
    ) -> Result<(), (Code, usize)> {
        let Self { topics, producer, .. } = self;
        let until = Instant::now() + Duration::from_secs(30);
        let full = || {
            producer.poll(Duration::from_millis(1));
            Instant::now() < until
        };
        topics[topic as usize].produce(records, full)
    }

    fn produce_singly<'a>(
        &mut self,
        topic: Topic,
        records: impl Iterator<Item = Single<'a>>,
    ) -> Result<(), (Code, usize)> {
        let Self { topics, producer, .. } = self;
        let native = producer.client().native_ptr();
        let until = Instant::now() + Duration::from_secs(30);
        let full = || {
            producer.poll(Duration::from_millis(1));
            Instant::now() < until
        };
        let topic = &mut topics[topic as usize];
        for record in records {
            topic.produce_single(native, &record, full)?;
        }
        Ok(())
    }

    /// Waits until all is delivered, or failed; false when the time is over.
    ///
    /// While anything is in flight `commit_transaction` takes at least 100 ms, so it comes after.
    fn drain(&self, until: Instant) -> bool {
        let mut before = i32::MAX;
        loop {
            self.producer.poll(Duration::ZERO);
            let now = self.producer.in_flight_count();
            if now == 0 {
                return true;
            }
            if now >= before {
                if Instant::now() > until {
                    return false;
                }
                // What is left takes as long as there is of it; to look more often costs more.
                let pause = u64::from(now.unsigned_abs() / 4).clamp(50, 1_000);
                std::thread::sleep(Duration::from_micros(pause));
            }
            before = now;
        }
    }

    /// Aborts; `None` when nobody knows whether it did.
    pub(super) fn abort(&self, most: Duration) -> Result<Option<()>, TransactionError> {
        let until = Instant::now() + most;
        // What is not sent yet never will be; what is on its way is waited for: purged in flight, it
        // would leave librdkafka waiting, and hold up the producer's next transaction for all of
        // its time.
        self.producer.purge(PurgeConfig::default().queue());
        if !self.drain(Instant::now() + ON_ITS_WAY) {
            self.producer.purge(PurgeConfig::default().queue().inflight());
        }
        loop {
            // The abort waits for reports that only this thread takes, so it is asked in steps.
            self.drain(Instant::now() + Duration::from_millis(20));
            match self.producer.abort_transaction(Duration::from_millis(200)) {
                Ok(()) => return Ok(Some(())),
                Err(e) => {
                    let error = error::transaction(e);
                    if error.fatal {
                        return Err(error);
                    }
                    if Instant::now() > until {
                        tracing::warn!(error = error.text, "an abort is not confirmed");
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Commits what was produced; the caller has drained it.
    pub(super) fn commit(&self, until: Instant) -> Result<(), TransactionError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.producer.commit_transaction(left.max(Duration::from_millis(100))) {
                Ok(()) => return Ok(()),
                Err(e) => {
                    let error = error::transaction(e);
                    if error.fatal || error.abort || !error.retriable || Instant::now() > until {
                        return Err(error);
                    }
                }
            }
        }
    }
}

impl Committer {
    /// Makes the producers, which ends what was left undecided under their ids.
    pub(super) fn start(setup: Setup) -> Result<Self, Error> {
        let desks = match setup.config.guarantee {
            Guarantee::ExactlyOnce => open_both(&setup)?,
            Guarantee::AtLeastOnce => vec![Desk::open_plain(&setup.config)?],
        };
        let patience = setup.config.transaction_timeout * 3 / 2;
        let (jobs, work) = channel();
        let done = Arc::new(Mutex::new(None));
        let told = done.clone();
        let thread = std::thread::Builder::new()
            .name("bellhop-commit".to_owned())
            .spawn(move || run(setup, desks, &work, &told))
            .map_err(|error| Error::no_thread("start the thread that commits", error))?;
        let (jobs, thread, since) = (Some(jobs), Some(thread), Instant::now());
        Ok(Self { jobs, done, thread, under_way: false, since, patience })
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    pub(super) fn has_ended(&self) -> bool {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// # Panics
    /// When another transaction is under way.
    pub(super) fn submit(&mut self, job: Job) -> Result<(), Error> {
        assert!(!self.under_way, "a transaction was submitted while another is under way");
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            return Err(error::retry("submit a transaction", "the thread that commits is gone"));
        }
        self.under_way = true;
        self.since = Instant::now();
        Ok(())
    }

    /// Whether the thread is in a call that has not come back for longer than any broker is waited
    /// for.
    ///
    /// librdkafka waits for the answer to the offsets of a transaction without end
    /// (`rd_kafka_send_offsets_to_transaction`, `RD_POLL_INFINITE`), and while brokers come and go
    /// the answer may never come. The broker has long aborted the transaction then.
    pub(super) fn is_stuck(&self) -> bool {
        self.under_way && !self.has_ended() && self.since.elapsed() > self.patience
    }

    /// Gives a transaction back that the brokers need not be asked about.
    pub(super) fn refuse(&mut self, transaction: Transaction) {
        let refused = Ok((transaction, Ended::Aborted));
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        self.under_way = true;
    }

    /// Waits for the transaction under way and ends the thread; false when it is not known how it
    /// ended.
    pub(super) fn close(mut self) -> bool {
        self.join();
        match self.take() {
            None => !self.under_way,
            Some(Ok((_, Ended::Committed | Ended::Aborted | Ended::Refused))) => true,
            Some(Ok((_, Ended::Unknown)) | Err(_)) => false,
        }
    }

    /// Waits for the end of the thread. One that is stuck is left to itself: whoever initialises
    /// its transactional ids next takes its producers' right to commit.
    fn join(&mut self) {
        self.jobs = None;
        let Some(thread) = self.thread.take() else { return };
        if !self.under_way {
            self.since = Instant::now();
        }
        while !thread.is_finished() {
            if self.since.elapsed() > self.patience {
                tracing::warn!(
                    "the client does not come back from a transaction: it is left behind"
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.join().is_err() {
            tracing::error!("the thread that commits panicked");
        }
    }

    pub(super) fn take(&mut self) -> Option<Done> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.under_way = false;
        Some(done)
    }
}

impl Drop for Committer {
    /// Waits for the transaction under way: nothing may be undecided when the member is gone.
    fn drop(&mut self) {
        self.join();
    }
}

fn open_both(setup: &Setup) -> Result<Vec<Desk>, Error> {
    let [first, second] = ids(&setup.owner);
    let opened = std::thread::scope(|scope| {
        let first = scope.spawn(|| Desk::open(&setup.config, &first));
        let second = Desk::open(&setup.config, &second);
        (first.join(), second)
    });
    let (Ok(first), second) = opened else {
        return Err(error::fix("make the producers", "a thread of this program panicked"));
    };
    Ok(vec![first?, second?])
}

fn run(setup: Setup, mut desks: Vec<Desk>, work: &Receiver<Job>, done: &Mutex<Option<Done>>) {
    while let Ok(Job { transaction, member }) = work.recv() {
        let Some(desk) = desks.first_mut() else { return };
        let mut turn = Turn { setup: &setup, desk };
        let ended = match setup.config.guarantee {
            Guarantee::ExactlyOnce => turn.commit(&transaction, &member),
            Guarantee::AtLeastOnce => turn.deliver(&transaction),
        };
        let ended = ended.map(|ended| (transaction, ended));
        *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        setup.bell.ring();
        desks.rotate_left(1);
    }
}

/// One transaction of one producer.
struct Turn<'a> {
    setup: &'a Setup,
    desk: &'a mut Desk,
}

impl Turn<'_> {
    fn commit(
        &mut self,
        transaction: &Transaction,
        member: &GroupMetadata,
    ) -> Result<Ended, Error> {
        let most = self.setup.config.transaction_timeout;
        let until = Instant::now() + most;
        if let Err(e) = self.desk.producer().begin_transaction() {
            return self.failed("begin a transaction", error::transaction(e));
        }
        if let Err(ended) = self.produce(transaction) {
            return ended;
        }
        // While the records are on their way, so that their two round trips and those of the
        // offsets are not one after another.
        let offsets = self.offsets(transaction);
        let sent = offsets
            .map_err(error::transaction)
            .and_then(|offsets| self.send_offsets(&offsets, member, until));
        if let Err(failed) = sent {
            return self.failed("add the offsets to a transaction", failed);
        }
        if !self.desk.drain(until) {
            return self.abort("deliver the records of a transaction", "no answer in time");
        }
        match self.desk.commit(until + most) {
            Ok(()) => Ok(Ended::Committed),
            Err(failed) if !failed.fatal && !failed.abort => {
                tracing::warn!(cause = failed.text, "a commit is not confirmed");
                Ok(Ended::Unknown)
            }
            Err(failed) => self.failed("commit a transaction", failed),
        }
    }

    /// At least once: first all records are delivered, then the offsets say so. Whatever goes wrong
    /// in between, the batch is decided or sent again.
    fn deliver(&mut self, transaction: &Transaction) -> Result<Ended, Error> {
        let until = Instant::now() + self.setup.config.transaction_timeout;
        if let Err(ended) = self.produce(transaction) {
            return ended;
        }
        let drained = self.desk.drain(until);
        let client = self.desk.producer().client();
        if let Some((code, text)) = client.fatal_error() {
            let error = error::of_code("deliver the records of a batch", code, &text);
            if error.kind == ErrorKind::FixInput {
                return Err(error);
            }
        }
        if !drained || self.desk.producer().context().has_failed() {
            tracing::warn!("a batch is not delivered: it is sent again");
            self.desk.producer().purge(PurgeConfig::default().queue().inflight());
            let refused = self.desk.producer().context().take_refused();
            return Ok(if refused { Ended::Refused } else { Ended::Unknown });
        }
        let marks: Vec<_> = transaction
            .parts
            .iter()
            .map(|part| {
                let (offset, text) = marked(part.after.or(part.before), None);
                (part.partition, Committed { offset, text })
            })
            .collect();
        let tried = "commit the offsets of a batch";
        loop {
            match self.setup.marker.commit(&marks) {
                Some(Ok(())) => return Ok(Ended::Committed),
                Some(Err(error)) => {
                    let error = error::of(tried, error);
                    if error.kind != ErrorKind::Retry {
                        return Err(error);
                    }
                    // While the group is rebalanced; the batch would be written once more.
                    if Instant::now() > until {
                        return Ok(Ended::Unknown);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                None => return Err(error::retry(tried, "the membership is gone")),
            }
        }
    }

    fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        member: &GroupMetadata,
        until: Instant,
    ) -> Result<(), TransactionError> {
        let native = self.desk.producer().client().native_ptr();
        let config = &self.setup.config;
        let nobody = match config.sabotage {
            Some(Sabotage::NoGroupMetadata) => GroupMetadata::unguarded(&config.group),
            Some(Sabotage::OffsetsOutside) => return self.send_outside(offsets, member),
            Some(Sabotage::ReadUncommitted) | None => None,
        };
        let member = nobody.as_ref().unwrap_or(member);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match send_offsets(native, offsets, member, left.max(Duration::from_millis(100))) {
                Err(failed) if failed.retriable && !failed.abort && Instant::now() < until => {
                    tracing::debug!(error = failed.text, "send offsets again");
                }
                sent => return sent,
            }
        }
    }

    /// What must never be done: see [`Sabotage::OffsetsOutside`].
    fn send_outside(
        &self,
        offsets: &TopicPartitionList,
        member: &GroupMetadata,
    ) -> Result<(), TransactionError> {
        let (config, most) = (&self.setup.config, self.setup.config.request_timeout);
        let id = format!("{}.outside", self.setup.owner);
        let failed = |code: Code, text: &str| TransactionError {
            code,
            text: text.to_owned(),
            fatal: false,
            retriable: false,
            abort: true,
        };
        let desk = Desk::open(config, &id).map_err(|e| failed(Code::Fail, &e.tried))?;
        desk.producer().begin_transaction().map_err(error::transaction)?;
        send_offsets(desk.producer().client().native_ptr(), offsets, member, most)?;
        desk.commit(Instant::now() + most)
    }

    /// Hands all records over; gives how the transaction has ended if one cannot be.
    fn produce(&mut self, transaction: &Transaction) -> Result<(), Result<Ended, Error>> {
        let partitions = self.setup.partitions;
        for part in &transaction.parts {
            let home = part.partition;
            self.give(Topic::Events, &part.output.events, |_| home)?;
            self.give(Topic::Parked, &part.output.parked, |_| home)?;
            let there = |key: &[u8]| partition_of(key, partitions);
            self.give(Topic::Commands, &part.output.commands, there)?;
            for answer in &part.output.replies {
                self.reply(answer)?;
            }
        }
        Ok(())
    }

    /// Gives records to the producer: by the batch, unless they have headers or times of their own,
    /// which only one record at a time takes.
    fn give(
        &mut self,
        topic: Topic,
        records: &Records,
        home: impl Fn(&[u8]) -> u32,
    ) -> Result<(), Result<Ended, Error>> {
        let timed = topic == Topic::Commands && self.setup.timestamps == Timestamps::Create;
        let given = if timed || records.has_headers() {
            self.desk.produce_singly(
                topic,
                records.iter().map(|it| Single {
                    partition: home(it.key),
                    key: it.key,
                    value: it.value,
                    headers: it.headers,
                    timestamp: timed.then_some(it.timestamp),
                }),
            )
        } else {
            self.desk.produce(topic, records.iter().map(|it| (home(it.key), it.key, it.value)))
        };
        given.map_err(|(code, bytes)| self.refused(topic, code, bytes))
    }

    /// Sends a reply, if its topic is there: one that is not must not stop the commands behind it.
    fn reply(&mut self, answer: &Answer) -> Result<(), Result<Ended, Error>> {
        if !self.desk.has_topic(&answer.topic) {
            return Ok(());
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(&answer.topic).payload(&answer.value);
        if let Some(key) = &answer.key {
            record = record.key(key);
        }
        let correlation = answer.correlation_id.as_deref();
        let correlation = correlation.map(|value| (CORRELATION_ID, value));
        let others = answer.headers();
        let all = correlation.into_iter().chain(others.iter().map(|it| (it.name, it.value)));
        let headers = all.fold(None::<OwnedHeaders>, |headers, (key, value)| {
            Some(headers.unwrap_or_default().insert(Header { key, value: Some(value) }))
        });
        if let Some(headers) = headers {
            record = record.headers(headers);
        }
        match self.desk.producer().send(record) {
            Ok(()) => Ok(()),
            Err((e, _)) => {
                let code = e.rdkafka_error_code().unwrap_or(Code::Fail);
                Err(self.refused(Topic::Events, code, answer.value.len()))
            }
        }
    }

    /// A record that cannot even be handed to the client: the same records would meet the same
    /// again.
    fn refused(&self, topic: Topic, code: Code, bytes: usize) -> Result<Ended, Error> {
        let name = self.setup.config.topic(topic);
        if self.setup.config.guarantee == Guarantee::ExactlyOnce {
            if error::is_refusal(code) {
                tracing::warn!(topic = name, bytes, "a record is larger than the client sends");
                return match self.abort("produce a record", "it is too large")? {
                    Ended::Aborted => Ok(Ended::Refused),
                    ended @ (Ended::Committed | Ended::Refused | Ended::Unknown) => Ok(ended),
                };
            }
            let aborted = self.desk.abort(self.setup.config.transaction_timeout);
            tracing::debug!(?aborted, "a record was refused");
        }
        Err(error::of_code(format!("produce a record of {bytes} bytes to {name}"), code, ""))
    }

    /// What a failed call means for the transaction.
    fn failed(&self, tried: &str, failed: TransactionError) -> Result<Ended, Error> {
        let TransactionError { code, text, fatal, .. } = &failed;
        if !*fatal {
            return self.abort(tried, text);
        }
        let mut error = error::of_code(tried, *code, text);
        if error.kind == ErrorKind::Retry {
            // The producer is of no use any more; what became of it is found out with a new one.
            tracing::warn!(tried, cause = text, "a producer failed");
            return Ok(Ended::Unknown);
        }
        if error.kind == ErrorKind::Fenced {
            error.hint = "another worker ended this worker's transactions; join again".to_owned();
        }
        Err(error)
    }

    fn abort(&self, tried: &str, cause: &str) -> Result<Ended, Error> {
        tracing::debug!(tried, cause, "abort");
        match self.desk.abort(self.setup.config.transaction_timeout) {
            Ok(Some(())) if self.desk.producer().context().take_refused() => Ok(Ended::Refused),
            Ok(Some(())) => Ok(Ended::Aborted),
            Ok(None) => Ok(Ended::Unknown),
            Err(failed) if error::kind_of(failed.code) == ErrorKind::Fenced => {
                Err(error::of_code("abort a transaction", failed.code, &failed.text))
            }
            Err(failed) => {
                tracing::warn!(cause = failed.text, "a producer failed");
                Ok(Ended::Unknown)
            }
        }
    }

    /// The offsets of all parts, with who commits them.
    fn offsets(
        &self,
        transaction: &Transaction,
    ) -> Result<TopicPartitionList, rdkafka::error::KafkaError> {
        let name = self.setup.config.topic(Topic::Commands);
        let mut offsets = TopicPartitionList::with_capacity(transaction.parts.len());
        for part in &transaction.parts {
            let (offset, text) = marked(part.after.or(part.before), Some(&self.setup.owner));
            let partition = part.partition.cast_signed();
            offsets.add_partition_offset(&name, partition, Offset::Offset(offset.cast_signed()))?;
            if let Some(mut element) = offsets.find_partition(&name, partition) {
                element.set_metadata(text.as_str());
            }
        }
        Ok(offsets)
    }
}

/// Offset and text that say how far a partition has come and who owns it.
pub(super) fn marked(progress: Option<Progress>, owner: Option<&str>) -> (u64, String) {
    let time = progress.map(|progress| progress.stream_time);
    let history = progress.and_then(|progress| progress.history);
    let note = Note { time, history, owner: owner.map(str::to_owned) };
    (progress.map_or(0, |progress| progress.next_offset), note.write())
}
