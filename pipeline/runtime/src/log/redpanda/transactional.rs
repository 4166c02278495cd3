//! A producer of transactions.
//!
//! # Late requests
//! librdkafka sends a request again when its connection was cut or its time was over; the first copy
//! may be on its way still. What it does when it arrives depends on where its producer is then:
//!
//! | request | if it arrives in a later transaction of the same epoch |
//! | --- | --- |
//! | EndTxn | ends that transaction, with what it has so far |
//! | TxnOffsetCommit | moves offsets back, when that transaction commits |
//! | AddPartitionsToTxn, AddOffsetsToTxn | adds to that transaction, or begins one that nobody ends |
//! | Produce | nothing: its sequence numbers are known |
//!
//! So a producer one of whose requests was not answered begins no other transaction: its id is
//! initialised once more. That gives it a new epoch, under which brokers refuse all that is of the
//! former one. As long as all is answered it costs nothing.
//!
//! The same happens where records were given up in flight: nobody knows whether they arrive.
//!
//! # Source
//! KIP-890 (transactions v2, in which brokers do this at the end of each transaction; librdkafka does
//! not speak it: its issue 5423); <https://jepsen.io/analyses/bufstream-0.1.0>, section 3.5.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bellhop_core::record::Header;
use compact_str::CompactString;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::client::Watch;
use super::config::Config;
use super::error;
use super::native::{Producer, Reports, Single, TopicHandle, TransactionError};
use crate::log::{Error, Topic};

/// How long a topic of replies that is not there is not looked for again.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// How long records that are on their way are waited for before a transaction is aborted.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// How long the queue of a producer may stay full.
const FULL: Duration = Duration::from_secs(30);

/// The transactional ids of an owner.
pub(super) fn ids(owner: &str) -> [String; 2] {
    [format!("{owner}.0"), format!("{owner}.1")]
}

/// Ends what was left undecided under the id of a producer; what its former holders have sent is
/// refused from now on.
pub(super) fn initialise<C: Reports>(
    producer: &Producer<C>,
    id: &str,
    most: Duration,
) -> Result<(), Error> {
    let until = Instant::now() + most;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match producer.init_transactions(left) {
            Ok(()) => return Ok(()),
            Err(failed) if failed.retriable && Instant::now() <= until => {}
            Err(failed) => {
                let tried = format!("initialise the transactions of {id}");
                return Err(error::of_code(tried, failed.code, &failed.text));
            }
        }
    }
}

/// One producer of transactions, or of batches that are none.
pub(super) struct TransactionalProducer {
    topics: [TopicHandle; 3],
    /// Topics of replies, and when each was looked for; `None` for those that are not there.
    replies: HashMap<CompactString, (Option<TopicHandle>, Instant)>,
    producer: Producer<Watch>,
    /// `None` for one of no transactions.
    id: Option<String>,
}

impl TransactionalProducer {
    /// Makes a producer and ends whatever was left undecided under its id.
    pub(super) fn open(config: &Config, id: &str) -> Result<Self, Error> {
        let mut made =
            Self::make(config, &config.producer(Some(id)), &format!("the producer {id}"))?;
        initialise(&made.producer, id, config.request_timeout)
            .map_err(|error| made.producer.context().explain(error))?;
        made.id = Some(id.to_owned());
        Ok(made)
    }

    /// Makes a producer of no transactions.
    pub(super) fn open_plain(config: &Config) -> Result<Self, Error> {
        Self::make(config, &config.plain_producer(), "the producer")
    }

    fn make(config: &Config, client: &ClientConfig, what: &str) -> Result<Self, Error> {
        let tried = || format!("make {what}");
        let made = Producer::new(client, Watch::default());
        let producer = made.map_err(|e| error::of(tried(), e))?;
        let native = producer.native();
        let topics = Topic::ALL.map(|topic| TopicHandle::new(native, &config.topic(topic)));
        let [Some(commands), Some(events), Some(parked)] = topics else {
            return Err(error::fix(tried(), "librdkafka gives no topic"));
        };
        let topics = [commands, events, parked];
        Ok(Self { topics, replies: HashMap::new(), producer, id: None })
    }

    pub(super) fn producer(&self) -> &Producer<Watch> {
        &self.producer
    }

    /// Makes sure that no request of a former transaction can do anything to the next one: see the
    /// head of this file.
    pub(super) fn refuse_late_requests(&mut self, config: &Config) -> Result<(), Error> {
        let Some(id) = self.id.as_deref().filter(|_| self.producer.has_unanswered()) else {
            return Ok(());
        };
        tracing::debug!(id, "a request was not answered: the producer is made anew");
        *self = Self::open(config, id)?;
        Ok(())
    }

    /// Sends a record to a topic of replies, by its key; false if there is no such topic.
    pub(super) fn reply<'a>(
        &mut self,
        topic: &CompactString,
        key: Option<&'a [u8]>,
        value: &'a [u8],
        headers: impl Iterator<Item = Header<'a>> + Clone,
    ) -> Result<bool, (Code, usize)> {
        self.look_for(topic);
        let Some((Some(handle), _)) = self.replies.get(topic) else { return Ok(false) };
        let record = Single { partition: None, key, value, headers, timestamp: None, tag: 0 };
        handle.produce_single(self.producer.native(), &record, has_room(&self.producer))?;
        Ok(true)
    }

    /// Looks for a topic of replies; again after a while when it was not there.
    fn look_for(&mut self, name: &CompactString) {
        if let Some((found, asked)) = self.replies.get(name)
            && (found.is_some() || asked.elapsed() < MISSING_FOR)
        {
            return;
        }
        let found = self.producer.client().fetch_metadata(Some(name), Duration::from_secs(5));
        let there = found.is_ok_and(|metadata| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            topic.is_some_and(|topic| topic.error().is_none() && !topic.partitions().is_empty())
        });
        if !there {
            tracing::warn!(topic = %name, "replies are not sent: the topic is missing, or may not be described");
        }
        let handle = TopicHandle::new(self.producer.native(), name).filter(|_| there);
        self.replies.insert(name.clone(), (handle, Instant::now()));
    }

    pub(super) fn produce<'a>(
        &mut self,
        topic: Topic,
        records: impl Iterator<Item = (u32, &'a [u8], &'a [u8])>,
    ) -> Result<(), (Code, usize)> {
        let Self { topics, producer, .. } = self;
        topics[topic as usize].produce(records, has_room(producer))
    }

    pub(super) fn produce_singly<'a, H>(
        &self,
        topic: Topic,
        records: impl Iterator<Item = Single<'a, H>>,
    ) -> Result<(), (Code, usize)>
    where
        H: Iterator<Item = Header<'a>> + Clone,
    {
        let handle = &self.topics[topic as usize];
        for record in records {
            handle.produce_single(self.producer.native(), &record, has_room(&self.producer))?;
        }
        Ok(())
    }

    /// Waits until all is delivered, or failed; false when the time is over.
    ///
    /// While anything is in flight `commit_transaction` takes at least 100 ms, so it comes after.
    pub(super) fn drain(&self, until: Instant) -> bool {
        let mut before = usize::MAX;
        loop {
            self.producer.poll(Duration::ZERO);
            let now = self.producer.in_flight();
            if now == 0 {
                return true;
            }
            if now >= before {
                if Instant::now() > until {
                    return false;
                }
                // What is left takes as long as there is of it; to look more often costs more.
                let pause = (now as u64 / 4).clamp(50, 1_000);
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
        self.producer.purge_queue();
        if !self.drain(Instant::now() + ON_ITS_WAY) {
            self.producer.purge_all();
        }
        loop {
            // The abort waits for reports that only this thread takes, so it is asked in steps.
            self.drain(Instant::now() + Duration::from_millis(20));
            match self.producer.abort_transaction(Duration::from_millis(200)) {
                Ok(()) => return Ok(Some(())),
                Err(failed) if failed.fatal => return Err(failed),
                Err(failed) => {
                    if Instant::now() > until {
                        tracing::warn!(error = failed.text, "an abort is not confirmed");
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
                Err(failed) => {
                    let over = Instant::now() > until;
                    if failed.fatal || failed.abort || !failed.retriable || over {
                        return Err(failed);
                    }
                }
            }
        }
    }
}

/// Waits for room in the queue of a producer; false when there has been none for too long.
pub(super) fn has_room<C: Reports>(producer: &Producer<C>) -> impl FnMut() -> bool {
    let until = Instant::now() + FULL;
    move || {
        producer.poll(Duration::from_millis(1));
        Instant::now() < until
    }
}
