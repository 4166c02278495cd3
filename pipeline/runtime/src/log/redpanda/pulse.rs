//! Whether the brokers answer, whether every partition has a leader, and whether the topics are
//! still as large as the log was made.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::client::Watch;
use super::{Shared, error};
use crate::log::{Error, Topic};

/// Asks the brokers with a client of its own, so that nobody waits for it.
pub struct Pulse {
    client: BaseConsumer<Watch>,
    shared: Arc<Shared>,
}

/// What the brokers said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Brokers that are up.
    pub brokers: u32,
}

impl Pulse {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self, Error> {
        let config = shared.config.reader(&shared.config.group);
        let client = config.create_with_context(Watch::default());
        let client = client.map_err(|e| error::of("make a client to ask with", e))?;
        Ok(Self { client, shared: shared.clone() })
    }

    /// Asks once, and waits at most so long for each answer.
    ///
    /// # Errors
    /// When nobody answers, a partition has no leader, or a topic has grown.
    pub fn beat(&self, most: Duration) -> Result<Beat, Error> {
        let config = &self.shared.config;
        let tried = || format!("ask the brokers at {}", config.brokers);
        // Whatever the client has to say of itself, so that it does not pile up.
        while self.client.poll(Duration::ZERO).is_some() {}
        let mut brokers = 0;
        for topic in [Topic::Commands, Topic::Events] {
            let name = config.topic(topic);
            let metadata = self
                .client
                .fetch_metadata(Some(&name), most)
                .map_err(|e| self.client.context().explain(error::of(tried(), e)))?;
            brokers = metadata.brokers().len() as u32;
            let found = metadata.topics().iter().find(|found| found.name() == name);
            let partitions = found.map_or(&[][..], |found| found.partitions());
            let wanted = self.shared.identity.partitions;
            if partitions.len() as u32 != wanted {
                return Err(error::fix(
                    tried(),
                    format!(
                        "{name} has {} partitions, this log was made with {wanted}: commands land where nobody decides them; `bellhop topics check` says more",
                        partitions.len()
                    ),
                ));
            }
            let headless: Vec<_> =
                partitions.iter().filter(|it| it.leader() < 0).map(|it| it.id()).collect();
            if !headless.is_empty() {
                return Err(error::retry(
                    tried(),
                    format!(
                        "{name} has no leader for partitions {headless:?}: they stand still until a broker that has them is up"
                    ),
                ));
            }
        }
        Ok(Beat { brokers })
    }
}
