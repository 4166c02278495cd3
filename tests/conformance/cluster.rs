//! The brokers of this binary: Apache Kafka in a process, with a real schema registry.

use std::sync::OnceLock;

use bellhop_harness::{Kafka, Registry};

/// The services of this binary.
pub(crate) struct Cluster {
    kafka: Kafka,
    registry: Registry,
}

impl Cluster {
    /// `host:port` of the broker.
    pub(crate) fn brokers(&self) -> String {
        self.kafka.brokers()
    }

    /// Address of the registry.
    pub(crate) fn registry(&self) -> String {
        self.registry.url()
    }
}

/// One for all tests of this binary.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster {
        kafka: Kafka::start(1).unwrap(),
        registry: Registry::start().unwrap(),
    })
}
