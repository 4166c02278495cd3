//! Brokers that are killed and come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::house::{House, Running, alone};

#[test]
fn a_broker_killed_in_the_middle_of_transactions_loses_nothing_and_doubles_nothing() {
    let mut cluster = alone();
    let mut house = House::new(&cluster);
    let workers = [Running::start(&house.log), Running::start(&house.log)];
    house.send(2_000);
    house.wait_decided();
    for _ in 0..2 {
        // The commands are there before; the transactions on them are what is cut.
        for _ in 0..10 {
            house.send(400);
        }
        let killed = AtomicBool::new(false);
        cluster.kafka.kill9(0);
        killed.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(2));
        cluster.kafka.restart(0).unwrap();
        house.wait_decided();
    }
    workers.into_iter().for_each(Running::stop);
    house.check();
}
