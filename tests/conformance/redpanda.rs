//! The suite on real brokers, wherever they run: see `cluster`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bellhop_core::message::{LogId, Timestamp};
use bellhop_harness::expel;
use bellhop_runtime::log::redpanda::topics::{self, Wanted};
use bellhop_runtime::log::redpanda::{Config, Redpanda};
use bellhop_runtime::log::{Consumer, Log, Producer, Reader, Timestamps};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use uuid::Uuid;

use crate::cluster::cluster;
use crate::consumers::consumers_conform;
use crate::suite::{Fixture, PARTITIONS, conforms};
use crate::troubles::troubles_stay_apart;

struct OnKafka {
    config: Config,
    log: Redpanda,
}

impl OnKafka {
    /// Throws out the one member of a group.
    fn expel(&self, group: &str) {
        let asking: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", cluster().brokers()).create().unwrap();
        let groups = asking.fetch_group_list(Some(group), Duration::from_secs(10)).unwrap();
        let members: Vec<_> = groups.groups().iter().flat_map(|group| group.members()).collect();
        let [member] = members.as_slice() else { panic!("{} members", members.len()) };
        expel(&cluster().brokers(), group, member.id()).unwrap();
    }
}

impl Fixture for OnKafka {
    const EVENTS_FROM: u64 = 1;
    const IS_SEEN_AT_ONCE: bool = false;

    fn new(timestamps: Timestamps) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut config = Config::new(&cluster().brokers(), &cluster().registry());
        config.prefix = format!("suite-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        config.group.clone_from(&config.prefix);
        config.timestamps = Some(timestamps);
        let wanted = Wanted {
            partitions: PARTITIONS,
            timestamps,
            // Some commands here are of 1970.
            commands_retention: None,
            ..Wanted::default()
        };
        topics::create(&config, &wanted).unwrap();
        let log = Redpanda::connect(&config, LogId(Uuid::from_u128(0xabc))).unwrap();
        Self { config, log }
    }

    fn join(&mut self) -> Box<dyn Log> {
        Box::new(self.log.join().unwrap())
    }

    fn expel_last(&mut self) {
        self.expel(&self.config.group);
    }

    fn consume(&mut self, group: &str) -> Box<dyn Consumer> {
        Box::new(self.log.consume(group).unwrap())
    }

    fn expel_last_consumer(&mut self, group: &str) {
        self.expel(&format!("{}.{group}", self.config.prefix));
    }

    fn producer(&mut self) -> Box<dyn Producer> {
        Box::new(self.log.sender())
    }

    fn reader(&mut self) -> Box<dyn Reader> {
        Box::new(self.log.reader())
    }

    fn set_time(&mut self, _: Timestamp) {
        // The brokers' clock is nobody's to set.
    }

    fn reopen(&mut self) {
        self.log = Redpanda::connect(&self.config, LogId(Uuid::from_u128(0xdef))).unwrap();
    }
}

conforms!(OnKafka);
consumers_conform!(OnKafka);
troubles_stay_apart!(OnKafka);
