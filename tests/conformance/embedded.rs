//! The suite on the embedded log.

use std::sync::Arc;

use bellhop_core::message::{LogId, Timestamp};
use bellhop_runtime::clock::ManualClock;
use bellhop_runtime::log::embedded::{Embedded, MemberId, Options, Tuning};
use bellhop_runtime::log::{Consumer, Log, Producer, Reader, Timestamps};
use tempfile::TempDir;
use uuid::Uuid;

use crate::consumers::consumers_conform;
use crate::suite::{Fixture, PARTITIONS, conforms};
use crate::troubles::troubles_stay_apart;

struct OnDisk {
    dir: TempDir,
    clock: Arc<ManualClock>,
    log: Option<Embedded>,
    last: Option<MemberId>,
    last_consumer: Option<MemberId>,
}

impl OnDisk {
    fn log(&self) -> &Embedded {
        self.log.as_ref().expect("the log is open")
    }
}

impl Fixture for OnDisk {
    fn new(timestamps: Timestamps) -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
        let log_id = LogId(Uuid::from_u128(0xabc));
        let options = Options { partitions: PARTITIONS, timestamps, log_id };
        let log = Embedded::open_or_create(dir.path(), &options, Tuning::default(), clock.clone());
        Self { dir, clock, log: Some(log.unwrap()), last: None, last_consumer: None }
    }

    fn join(&mut self) -> Box<dyn Log> {
        let member = self.log().join();
        self.last = Some(member.id());
        Box::new(member)
    }

    fn expel_last(&mut self) {
        self.log().expel(self.last.expect("somebody joined"));
    }

    fn producer(&mut self) -> Box<dyn Producer> {
        Box::new(self.log().clone())
    }

    fn consume(&mut self, group: &str) -> Box<dyn Consumer> {
        let consumer = self.log().consume(group);
        self.last_consumer = Some(consumer.id());
        Box::new(consumer)
    }

    fn expel_last_consumer(&mut self, group: &str) {
        self.log().expel_consumer(group, self.last_consumer.expect("somebody joined"));
    }

    fn reader(&mut self) -> Box<dyn Reader> {
        Box::new(self.log().clone())
    }

    fn set_time(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    fn reopen(&mut self) {
        self.log = None;
        let log = Embedded::open(self.dir.path(), Tuning::default(), self.clock.clone());
        self.log = Some(log.unwrap());
    }
}

conforms!(OnDisk);
consumers_conform!(OnDisk);
troubles_stay_apart!(OnDisk);
