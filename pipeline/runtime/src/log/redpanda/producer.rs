//! Sends commands.
//!
//! Several commands, or a bookmark, are one transaction. A bookmark is the committed offset of a
//! group of its own that nobody joins, so it moves with its commands and needs no topic. Brokers
//! forget it with the offsets of any group that is not used (`offsets.retention.minutes`, a week).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bellhop_core::message::Position;
use bellhop_core::partition::partition_of;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as KafkaHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig,
};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::Shared;
use super::client::{Watch, list, log};
use super::error;
use super::native::{GroupMetadata, send_offsets};
use crate::log::{Bookmark, Command, Error, Producer, Timestamps, Topic};

/// Where each record of the transaction under way went.
#[derive(Default)]
struct Receipts {
    offsets: Mutex<Vec<Option<Result<u64, Code>>>>,
}

impl Receipts {
    fn expect(&self, count: usize) {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        offsets.clear();
        offsets.resize(count, None);
    }

    fn take(&self) -> Vec<Option<Result<u64, Code>>> {
        std::mem::take(&mut *self.offsets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Receipts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let told = match result {
            Ok(message) => Ok(message.offset().max(0).cast_unsigned()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = offsets.get_mut(index) {
            *slot = Some(told);
        }
    }
}

/// Sends commands to a cluster.
pub struct Sender {
    shared: Arc<Shared>,
    /// Of single commands.
    plain: Option<BaseProducer<Receipts>>,
    /// Of transactions, and the name of its bookmark.
    transactions: Option<(Option<String>, BaseProducer<Receipts>)>,
}

impl Sender {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), plain: None, transactions: None }
    }

    fn group_of(&self, name: &str) -> String {
        format!("{}.bookmark.{name}", self.shared.config.prefix)
    }

    fn make(&self, id: Option<&str>) -> Result<BaseProducer<Receipts>, Error> {
        let tried = "make a producer of commands";
        let mut config = self.shared.config.producer(id);
        config.set("delivery.report.only.error", "false");
        let made = config.create_with_context(Receipts::default());
        let producer: BaseProducer<Receipts> = made.map_err(|e| error::of(tried, e))?;
        if let Some(id) = id {
            producer
                .init_transactions(self.shared.config.request_timeout)
                .map_err(|e| error::of(format!("initialise the transactions of {id}"), e))?;
        }
        Ok(producer)
    }

    /// The producer of transactions under a bookmark: two of one name fence each other, so that no
    /// source is sent twice at once.
    fn transactions(&mut self, name: Option<&str>) -> Result<&BaseProducer<Receipts>, Error> {
        let made = self.transactions.as_ref().is_some_and(|(of, _)| of.as_deref() == name);
        if !made {
            self.transactions = None;
            let id = match name {
                Some(name) => self.group_of(name),
                None => format!("{}.sender.{}", self.shared.config.prefix, self.shared.unique()),
            };
            let producer = self.make(Some(&id))?;
            self.transactions = Some((name.map(str::to_owned), producer));
        }
        match &self.transactions {
            Some((_, producer)) => Ok(producer),
            None => Err(error::fix("make a producer of commands", "there is none")),
        }
    }

    fn single(&mut self, command: &Command<'_>) -> Result<Vec<Position>, Error> {
        if self.plain.is_none() {
            self.plain = Some(self.make(None)?);
        }
        let Some(producer) = &self.plain else { return Ok(Vec::new()) };
        let partitions = hand_over(&self.shared, producer, &[*command])?;
        wait(producer, self.shared.config.transaction_timeout * 2);
        positions(producer, &partitions)
    }
}

/// Gives commands to a producer; gives the partition of each.
fn hand_over(
    shared: &Shared,
    producer: &BaseProducer<Receipts>,
    commands: &[Command<'_>],
) -> Result<Vec<u32>, Error> {
    let topic = shared.config.topic(Topic::Commands);
    producer.context().expect(commands.len());
    let mut partitions = Vec::with_capacity(commands.len());
    for (index, command) in commands.iter().enumerate() {
        let partition = partition_of(command.key, shared.identity.partitions);
        partitions.push(partition);
        let make = || {
            let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, index)
                .partition(partition.cast_signed())
                .key(command.key)
                .payload(command.value);
            if shared.identity.timestamps == Timestamps::Create {
                record = record.timestamp(command.timestamp.0.div_euclid(1_000));
            }
            if !command.headers.is_empty() {
                let mut headers = OwnedHeaders::new_with_capacity(command.headers.len());
                for header in command.headers {
                    headers =
                        headers.insert(KafkaHeader { key: header.name, value: Some(header.value) });
                }
                record = record.headers(headers);
            }
            record
        };
        let until = Instant::now() + shared.config.transaction_timeout;
        let mut record = make();
        while let Err((e, refused)) = producer.send(record) {
            let code = e.rdkafka_error_code().unwrap_or(Code::Fail);
            if code != Code::QueueFull || Instant::now() > until {
                let tried = format!("send a command of {} bytes to {topic}", command.value.len());
                return Err(error::of_code(tried, code, &e.to_string()));
            }
            producer.poll(Duration::from_millis(1));
            record = refused;
        }
    }
    Ok(partitions)
}

/// Waits until every record is delivered or failed.
fn wait(producer: &BaseProducer<Receipts>, most: Duration) {
    let until = Instant::now() + most;
    while producer.in_flight_count() > 0 && Instant::now() < until {
        producer.poll(Duration::from_millis(10));
    }
}

fn positions(
    producer: &BaseProducer<Receipts>,
    partitions: &[u32],
) -> Result<Vec<Position>, Error> {
    let receipts = producer.context().take();
    let tried = || format!("send {} commands", partitions.len());
    partitions
        .iter()
        .zip(receipts)
        .map(|(partition, receipt)| match receipt {
            Some(Ok(offset)) => Ok(Position { partition: *partition, offset }),
            Some(Err(code)) => Err(error::of_code(tried(), code, "")),
            None => Err(error::of_code(tried(), Code::MessageTimedOut, "")),
        })
        .collect()
}

impl Producer for Sender {
    fn append(
        &mut self,
        commands: &[Command<'_>],
        bookmark: Option<Bookmark<'_>>,
    ) -> Result<Vec<Position>, Error> {
        match (commands, bookmark) {
            ([], None) => return Ok(Vec::new()),
            ([command], None) => return self.single(command),
            _ => {}
        }
        let shared = self.shared.clone();
        let group = bookmark.map(|bookmark| (self.group_of(bookmark.name), bookmark.next));
        let most = shared.config.transaction_timeout;
        let producer = self.transactions(bookmark.map(|bookmark| bookmark.name))?;
        let tried = || format!("send {} commands in one transaction", commands.len());
        let sent = (|| {
            producer.begin_transaction().map_err(|e| error::of(tried(), e))?;
            let partitions = hand_over(&shared, producer, commands)?;
            wait(producer, most);
            let positions = positions(producer, &partitions)?;
            if let Some((group, next)) = &group {
                let mut mark = TopicPartitionList::new();
                let topic = shared.config.topic(Topic::Commands);
                let offset = Offset::Offset(next.cast_signed());
                mark.add_partition_offset(&topic, 0, offset).map_err(|e| error::of(tried(), e))?;
                let member = GroupMetadata::unguarded(group)
                    .ok_or_else(|| error::fix(tried(), "the bookmark's name holds a zero byte"))?;
                let native = producer.client().native_ptr();
                send_offsets(native, &mark, &member, most)
                    .map_err(|e| error::of_code("move a bookmark", e.code, &e.text))?;
            }
            producer.commit_transaction(most).map_err(|e| error::of(tried(), e))?;
            Ok(positions)
        })();
        if sent.is_err() {
            // What became of it shows in the bookmark; the next call begins with a new producer,
            // which ends what this one left.
            producer.purge(PurgeConfig::default().queue().inflight());
            producer.poll(Duration::ZERO);
            if let Err(error) = producer.abort_transaction(Duration::from_secs(1)) {
                tracing::debug!(%error, "abort");
            }
            self.transactions = None;
        }
        sent
    }

    fn bookmark(&mut self, name: &str) -> Result<Option<u64>, Error> {
        // Ends what a former process left undecided under the name.
        self.transactions(Some(name))?;
        let config = &self.shared.config;
        let group = self.group_of(name);
        let tried = || format!("read the bookmark {name}");
        let consumer: BaseConsumer<Watch> = config
            .reader(&group)
            .create_with_context(Watch::default())
            .map_err(|e| error::of(tried(), e))?;
        let topic = config.topic(Topic::Commands);
        let found = consumer
            .committed_offsets(list(&topic, [0]), config.transaction_timeout)
            .map_err(|e| consumer.context().explain(error::of(tried(), e)))?;
        let elements = found.elements();
        let offset = elements.first().map(|element| element.offset());
        Ok(match offset {
            Some(Offset::Offset(next)) => Some(next.max(0).cast_unsigned()),
            _ => None,
        })
    }

    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        self.shared.registry.id_of(name, schema)
    }
}
