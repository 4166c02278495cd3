//! Hearing the replies to commands that this program sent.

use std::sync::Arc;
use std::time::Duration;

use bellhop_core::avro::{Avro as _, Reader as Datum};
use bellhop_core::engine::{EngineRecord as _, Reply};
use bellhop_core::record::unframe;
use bellhop_core::task::CORRELATION_ID;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::client::Watch;
use super::{Shared, error};
use crate::log::Error;

/// How long the brokers may take to say where a topic ends.
const ASK: Duration = Duration::from_secs(10);

/// Replies with one correlation id, from the moment on at which it was made.
pub struct Replies {
    consumer: BaseConsumer<Watch>,
    shared: Arc<Shared>,
    topic: String,
    correlation_id: Vec<u8>,
}

impl Replies {
    /// Listens to a topic from its end on.
    pub(super) fn listen(
        shared: &Arc<Shared>,
        topic: &str,
        correlation_id: &[u8],
    ) -> Result<Self, Error> {
        let tried = || format!("listen to the replies on {topic}");
        let config = shared.config.reader(&format!("{}-replies", shared.config.group));
        let consumer: BaseConsumer<Watch> = config
            .create_with_context(Watch::default())
            .map_err(|cause| error::of(tried(), cause))?;
        let metadata =
            consumer.fetch_metadata(Some(topic), ASK).map_err(|cause| error::of(tried(), cause))?;
        let partitions = metadata.topics().first().map_or(0, |found| found.partitions().len());
        if partitions == 0 {
            return Err(error::fix(tried(), "make the topic by `bellhop topics create`"));
        }
        let mut from = TopicPartitionList::new();
        for partition in 0..partitions as i32 {
            let (_, end) = consumer
                .fetch_watermarks(topic, partition, ASK)
                .map_err(|cause| error::of(tried(), cause))?;
            from.add_partition_offset(topic, partition, Offset::Offset(end))
                .map_err(|cause| error::of(tried(), cause))?;
        }
        consumer.assign(&from).map_err(|cause| error::of(tried(), cause))?;
        let correlation_id = correlation_id.to_vec();
        Ok(Self { consumer, shared: shared.clone(), topic: topic.to_owned(), correlation_id })
    }

    /// The next reply, if one comes in time.
    ///
    /// # Errors
    /// When the brokers cannot be read, or the registry cannot be asked.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Reply>, Error> {
        let tried = || format!("read the replies on {}", self.topic);
        let message = match self.consumer.poll(wait) {
            None => return Ok(None),
            // The end of a partition is one of these, and no failure.
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(None),
            Some(Err(cause)) => return Err(error::of(tried(), cause)),
            Some(Ok(message)) => message,
        };
        let ours = message.headers().is_some_and(|headers| {
            let id = headers.iter().find(|header| header.key == CORRELATION_ID);
            id.is_some_and(|id| id.value == Some(&self.correlation_id))
        });
        let Some((id, datum)) = message.payload().and_then(unframe).filter(|_| ours) else {
            return Ok(None);
        };
        let schema = self.shared.registry.schema_of(id)?.schema();
        if schema.is_none_or(|schema| schema.name != Reply::NAME) {
            return Ok(None);
        }
        Ok(Reply::decode(&mut Datum::new(datum)).ok())
    }
}
