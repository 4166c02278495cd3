//! Sends commands.
//!
//! Several commands, or a bookmark, are one transaction. A bookmark is the committed offset of a
//! group of its own that nobody joins, so it moves with its commands and needs no topic. Brokers
//! forget it with the offsets of any group that is not used (`offsets.retention.minutes`, a week).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellhop_core::message::Position;
use bellhop_core::partition::partition_of;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::Shared;
use super::client::{Watch, list, log};
use super::error;
use super::native::{
    GroupMetadata, Producer as Native, Reports, Single, TopicHandle, TransactionError, send_offsets,
};
use super::transactional::{has_room, initialise};
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

impl Reports for Receipts {
    fn report(&self, index: usize, written: Result<u64, Code>) {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = offsets.get_mut(index) {
            *slot = Some(written);
        }
    }
}

/// A producer of commands.
struct Outlet {
    commands: TopicHandle,
    producer: Native<Receipts>,
}

/// Sends commands to a cluster.
pub struct Sender {
    shared: Arc<Shared>,
    /// Of single commands.
    plain: Option<Outlet>,
    /// Of transactions, and the name of its bookmark.
    transactions: Option<(Option<String>, Outlet)>,
}

impl Sender {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), plain: None, transactions: None }
    }

    fn group_of(&self, name: &str) -> String {
        format!("{}.bookmark.{name}", self.shared.config.prefix)
    }

    fn make(&self, id: Option<&str>) -> Result<Outlet, Error> {
        let tried = "make a producer of commands";
        let shared = &self.shared.config;
        let mut config = shared.producer(id);
        config.set("delivery.report.only.error", "false");
        let made = Native::new(&config, Receipts::default());
        let producer = made.map_err(|e| error::of(tried, e))?;
        if let Some(id) = id {
            initialise(&producer, id, shared.request_timeout)?;
        }
        let commands = TopicHandle::new(producer.native(), &shared.topic(Topic::Commands));
        let commands = commands.ok_or_else(|| error::fix(tried, "librdkafka gives no topic"))?;
        Ok(Outlet { commands, producer })
    }

    /// The producer of transactions under a bookmark: two of one name fence each other, so that no
    /// source is sent twice at once. It is made anew when one of its requests may come late.
    fn transactions(&mut self, name: Option<&str>) -> Result<&Outlet, Error> {
        let made = self
            .transactions
            .as_ref()
            .is_some_and(|(of, outlet)| of.as_deref() == name && !outlet.producer.has_unanswered());
        if !made {
            self.transactions = None;
            let id = match name {
                Some(name) => self.group_of(name),
                None => format!("{}.sender.{}", self.shared.config.prefix, self.shared.unique()),
            };
            let outlet = self.make(Some(&id))?;
            self.transactions = Some((name.map(str::to_owned), outlet));
        }
        match &self.transactions {
            Some((_, outlet)) => Ok(outlet),
            None => Err(error::fix("make a producer of commands", "there is none")),
        }
    }

    fn single(&mut self, command: &Command<'_>) -> Result<Vec<Position>, Error> {
        if self.plain.is_none() {
            self.plain = Some(self.make(None)?);
        }
        let Some(outlet) = &self.plain else { return Ok(Vec::new()) };
        let partitions = hand_over(&self.shared, outlet, &[*command])?;
        outlet.producer.flush(self.shared.config.transaction_timeout * 2);
        positions(&outlet.producer, &partitions)
    }
}

/// Gives commands to a producer; gives the partition of each.
fn hand_over(
    shared: &Shared,
    Outlet { commands: topic, producer }: &Outlet,
    commands: &[Command<'_>],
) -> Result<Vec<u32>, Error> {
    producer.context().expect(commands.len());
    let timed = shared.identity.timestamps == Timestamps::Create;
    let mut partitions = Vec::with_capacity(commands.len());
    for (tag, command) in commands.iter().enumerate() {
        let Command { key, value, timestamp, headers } = *command;
        let partition = partition_of(key, shared.identity.partitions);
        partitions.push(partition);
        let record = Single {
            partition: Some(partition),
            key: Some(key),
            value,
            headers: headers.iter().copied(),
            timestamp: timed.then_some(timestamp),
            tag,
        };
        let sent = topic.produce_single(producer.native(), &record, has_room(producer));
        sent.map_err(|(code, bytes)| {
            let topic = shared.config.topic(Topic::Commands);
            error::of_code(format!("send a command of {bytes} bytes to {topic}"), code, "")
        })?;
    }
    Ok(partitions)
}

fn positions(producer: &Native<Receipts>, partitions: &[u32]) -> Result<Vec<Position>, Error> {
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
        let outlet = self.transactions(bookmark.map(|bookmark| bookmark.name))?;
        let producer = &outlet.producer;
        let tried = || format!("send {} commands in one transaction", commands.len());
        let sent = (|| {
            let failed = |e: TransactionError| error::of_code(tried(), e.code, &e.text);
            producer.begin_transaction().map_err(failed)?;
            let partitions = hand_over(&shared, outlet, commands)?;
            producer.flush(most);
            let positions = positions(producer, &partitions)?;
            if let Some((group, next)) = &group {
                let mut mark = TopicPartitionList::new();
                let topic = shared.config.topic(Topic::Commands);
                let offset = Offset::Offset(next.cast_signed());
                mark.add_partition_offset(&topic, 0, offset).map_err(|e| error::of(tried(), e))?;
                let member = GroupMetadata::unguarded(group)
                    .ok_or_else(|| error::fix(tried(), "the bookmark's name holds a zero byte"))?;
                send_offsets(producer.native(), &mark, &member, most)
                    .map_err(|e| error::of_code("move a bookmark", e.code, &e.text))?;
            }
            producer.commit_transaction(most).map_err(failed)?;
            Ok(positions)
        })();
        if sent.is_err() {
            // What became of it shows in the bookmark; the next call begins with a new producer,
            // which ends what this one left.
            producer.purge_all();
            producer.poll(Duration::ZERO);
            if let Err(error) = producer.abort_transaction(Duration::from_secs(1)) {
                tracing::debug!(error = error.text, "abort");
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
