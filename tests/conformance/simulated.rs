//! The suite on the simulated log, with no accident at all.

use std::sync::Arc;

use bellhop_core::message::Timestamp;
use bellhop_runtime::clock::ManualClock;
use bellhop_runtime::log::simulated::{Faults, Setup, Simulated};
use bellhop_runtime::log::{Consumer, Log, Producer, Reader, Timestamps};

use crate::consumers::consumers_conform;
use crate::suite::{Fixture, PARTITIONS, conforms};
use crate::troubles::{troubles_stay_apart, what_is_refused_is_parked_on};

struct InMemory {
    clock: Arc<ManualClock>,
    log: Simulated,
    last: Option<usize>,
    last_consumer: Option<usize>,
}

impl Fixture for InMemory {
    fn new(timestamps: Timestamps) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
        let log = Simulated::new(Setup {
            seed: 7,
            partitions: PARTITIONS,
            timestamps,
            faults: Faults::NONE,
            clock: clock.clone(),
        });
        Self { clock, log, last: None, last_consumer: None }
    }

    fn join(&mut self) -> Box<dyn Log> {
        let member = self.log.member();
        self.last = Some(member.id());
        Box::new(member)
    }

    fn expel_last(&mut self) {
        self.log.fence(self.last.expect("somebody joined"));
    }

    fn producer(&mut self) -> Box<dyn Producer> {
        Box::new(self.log.producer())
    }

    fn consume(&mut self, group: &str) -> Box<dyn Consumer> {
        let consumer = self.log.consume(group);
        self.last_consumer = Some(consumer.id());
        Box::new(consumer)
    }

    fn expel_last_consumer(&mut self, group: &str) {
        self.log.fence_consumer(group, self.last_consumer.expect("somebody joined"));
    }

    fn reader(&mut self) -> Box<dyn Reader> {
        Box::new(self.log.reader())
    }

    fn set_time(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    fn reopen(&mut self) {
        // Nothing but memory: it never closes.
    }
}

#[test]
fn a_log_with_a_limit_of_its_own_refuses_what_is_larger() {
    let fixture = InMemory::new(Timestamps::Append);
    fixture.log.set_faults(Faults { record_bytes_max: 3_000, ..Faults::NONE });
    what_is_refused_is_parked_on(fixture);
}

conforms!(InMemory);
consumers_conform!(InMemory);
troubles_stay_apart!(InMemory);
