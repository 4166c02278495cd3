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
//!                                         timed out ──────▶ Unknown
//! ```

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bellhop_core::outcome::Answer;
use bellhop_core::partition::partition_of;
use bellhop_core::record::{Header, Records};
use bellhop_core::task::{CORRELATION_ID, Progress};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::client::Bell;
use super::config::{Config, Guarantee, Sabotage};
use super::error;
use super::group::Marker;
use super::native::{GroupMetadata, Single, TransactionError, send_offsets};
use super::note::Note;
use super::source::Committed;
use super::transactional::{TransactionalProducer, ids};
use crate::log::{Ended, Error, ErrorKind, Timestamps, Topic, Transaction};

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

impl Committer {
    /// Makes the producers, which ends what was left undecided under their ids.
    pub(super) fn start(setup: Setup) -> Result<Self, Error> {
        let producers = match setup.config.guarantee {
            Guarantee::ExactlyOnce => open_both(&setup)?,
            Guarantee::AtLeastOnce => vec![TransactionalProducer::open_plain(&setup.config)?],
        };
        let patience = setup.config.transaction_timeout * 3 / 2;
        let (jobs, work) = channel();
        let done = Arc::new(Mutex::new(None));
        let told = done.clone();
        let thread = std::thread::Builder::new()
            .name("bellhop-commit".to_owned())
            .spawn(move || run(setup, producers, &work, &told))
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

fn open_both(setup: &Setup) -> Result<Vec<TransactionalProducer>, Error> {
    let [first, second] = ids(&setup.owner);
    let opened = std::thread::scope(|scope| {
        let first = scope.spawn(|| TransactionalProducer::open(&setup.config, &first));
        let second = TransactionalProducer::open(&setup.config, &second);
        (first.join(), second)
    });
    let (Ok(first), second) = opened else {
        return Err(error::fix("make the producers", "a thread of this program panicked"));
    };
    Ok(vec![first?, second?])
}

fn run(
    setup: Setup,
    mut producers: Vec<TransactionalProducer>,
    work: &Receiver<Job>,
    done: &Mutex<Option<Done>>,
) {
    while let Ok(Job { transaction, member }) = work.recv() {
        let Some(producer) = producers.first_mut() else { return };
        let mut turn = Turn { setup: &setup, producer };
        let ended = match setup.config.guarantee {
            Guarantee::ExactlyOnce => turn.commit(&transaction, &member),
            Guarantee::AtLeastOnce => turn.deliver(&transaction),
        };
        let ended = ended.map(|ended| (transaction, ended));
        *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        setup.bell.ring();
        producers.rotate_left(1);
    }
}

/// One transaction of one producer.
struct Turn<'a> {
    setup: &'a Setup,
    producer: &'a mut TransactionalProducer,
}

impl Turn<'_> {
    fn commit(
        &mut self,
        transaction: &Transaction,
        member: &GroupMetadata,
    ) -> Result<Ended, Error> {
        if let Err(error) = self.producer.refuse_late_requests(&self.setup.config) {
            return match error.kind {
                ErrorKind::Retry => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "a transaction is not begun");
                    Ok(Ended::Aborted)
                }
                ErrorKind::Fenced | ErrorKind::Corrupt | ErrorKind::FixInput => Err(error),
            };
        }
        let most = self.setup.config.transaction_timeout;
        let until = Instant::now() + most;
        if let Err(failed) = self.producer.producer().begin_transaction() {
            return self.failed("begin a transaction", failed);
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
        if !self.producer.drain(until) {
            return self.abort("deliver the records of a transaction", "no answer in time");
        }
        match self.producer.commit(until + most) {
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
        let drained = self.producer.drain(until);
        let client = self.producer.producer().client();
        if let Some((code, text)) = client.fatal_error() {
            let error = error::of_code("deliver the records of a batch", code, &text);
            if error.kind == ErrorKind::FixInput {
                return Err(error);
            }
        }
        if !drained || self.producer.producer().context().has_failed() {
            tracing::warn!("a batch is not delivered: it is sent again");
            self.producer.producer().purge_all();
            let refused = self.producer.producer().context().take_refused();
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
        let native = self.producer.producer().native();
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
        let producer =
            TransactionalProducer::open(config, &id).map_err(|e| failed(Code::Fail, &e.tried))?;
        producer.producer().begin_transaction()?;
        send_offsets(producer.producer().native(), offsets, member, most)?;
        producer.commit(Instant::now() + most)
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
            self.producer.produce_singly(
                topic,
                records.iter().map(|it| Single {
                    partition: Some(home(it.key)),
                    key: (!it.key.is_empty()).then_some(it.key),
                    value: it.value,
                    headers: it.headers.iter(),
                    timestamp: timed.then_some(it.timestamp),
                    tag: 0,
                }),
            )
        } else {
            self.producer.produce(topic, records.iter().map(|it| (home(it.key), it.key, it.value)))
        };
        given.map_err(|(code, bytes)| self.refused(topic, code, bytes))
    }

    /// Sends a reply, if its topic is there: one that is not must not stop the commands behind it.
    fn reply(&mut self, answer: &Answer) -> Result<(), Result<Ended, Error>> {
        let correlation = answer.correlation_id.as_deref();
        let correlation = correlation.map(|value| Header { name: CORRELATION_ID, value });
        let headers = correlation.into_iter().chain(answer.headers().iter());
        match self.producer.reply(&answer.topic, answer.key.as_deref(), &answer.value, headers) {
            Ok(_) => Ok(()),
            Err((code, bytes)) => Err(self.refused(Topic::Events, code, bytes)),
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
            let aborted = self.producer.abort(self.setup.config.transaction_timeout);
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
        match self.producer.abort(self.setup.config.transaction_timeout) {
            Ok(Some(())) if self.producer.producer().context().take_refused() => Ok(Ended::Refused),
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
