//! Brokers that are killed and come back: one of three, whose coordinators and leaders move.

use std::time::Duration;

use bellhop_harness::Kafka;

use crate::house::{House, Running, shared};

#[test]
fn one_of_three_brokers_killed_in_the_middle_of_transactions_loses_nothing_and_doubles_nothing() {
    let others = shared();
    let mut kafka = Kafka::start(3).unwrap();
    let mut house = House::on(&kafka.brokers(), &others.registry.url());
    drop(others);
    let workers = [Running::start(&house.log), Running::start(&house.log)];
    house.send(1_000);
    house.wait_decided();
    for node in [0, 1] {
        // The commands are there before; the transactions on them are what is cut.
        for _ in 0..6 {
            house.send(400);
        }
        kafka.kill9(node);
        house.wait_decided();
        kafka.restart(node).unwrap();
        // The next one may go once this one holds all that it missed.
        std::thread::sleep(Duration::from_secs(3));
    }
    house.send(400);
    workers.into_iter().for_each(|worker| {
        house.wait_decided();
        worker.stop();
    });
    house.check();
}
