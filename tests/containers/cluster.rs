//! The broker that the suite shares.

use std::sync::OnceLock;

use crate::broker::Broker;
use crate::only_broker::Broker as _;

/// The services of the suite.
pub(crate) struct Cluster(Broker);

impl Cluster {
    /// `host:port` of the broker.
    pub(crate) fn brokers(&self) -> String {
        self.0.brokers()
    }

    /// Address of the registry.
    pub(crate) fn registry(&self) -> String {
        self.0.registry()
    }
}

/// One for all tests of the suite.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster(Broker::start()))
}
