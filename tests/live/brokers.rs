//! Brokers that are killed and come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_harness::{Coordinator, KEEPS_ITS_WORD, Kafka, KafkaOptions as Options};

use crate::house::{House, Running, alone, work_if_child, worker_that_tells};
use crate::only_broker;

/// How long the cluster takes to believe that a broker is gone.
const BROKER_SESSION: Duration = Duration::from_secs(4);

fn options(nodes: usize) -> Options {
    let session = format!("broker.session.timeout.ms={}", BROKER_SESSION.as_millis());
    let properties = vec![session, "broker.heartbeat.interval.ms=500".to_owned()];
    Options { nodes, properties, ..Options::default() }
}

/// Waits until all is decided. How long it takes is printed.
fn wait(house: &House, since: Instant) {
    house.wait_decided();
    eprintln!("decided {} ms after", since.elapsed().as_millis());
}

/// Whichever of three it is; the second and third are the ones that coordinate the group and a
/// worker's transactions, which move to another.
#[test]
fn one_of_three_brokers_killed_in_the_middle_of_transactions_loses_nothing_and_doubles_nothing() {
    // Its brokers would take the time of others.
    let others = alone();
    let mut kafka = Kafka::start_with(options(3)).unwrap();
    let mut house = House::on(&kafka.brokers(), &others.registry.url());
    let ids = Arc::default();
    let workers = [Running::of(worker_that_tells(&house.log, &ids)), Running::start(&house.log)];
    house.send(1_000);
    house.wait_decided();
    let group = house.config.group.clone();
    for nth in 0..3 {
        let id = ids.lock().unwrap().clone();
        let of = [Coordinator::Group(&group), Coordinator::Transactions(&id)];
        let killed = if nth == 0 { 0 } else { kafka.coordinator(of[nth - 1]).unwrap() };
        // The commands are there before; the transactions on them are what is cut.
        house.send_and_meet(3_000);
        kafka.kill9(killed);
        wait(&house, Instant::now());
        if nth > 0 {
            assert_ne!(kafka.coordinator(of[nth - 1]).unwrap(), killed, "it has not moved");
        }
        kafka.restart(killed).unwrap();
        house.send(400);
        house.wait_decided();
    }
    workers.into_iter().for_each(Running::stop);
    house.check();
}

impl only_broker::Broker for Kafka {
    fn brokers(&self) -> String {
        Kafka::brokers(self)
    }

    fn kill9(&mut self) {
        Kafka::kill9(self, 0);
    }

    fn restart(&mut self) {
        Kafka::restart(self, 0).unwrap();
    }
}

#[test]
fn the_only_broker_killed_in_the_middle_of_transactions_loses_nothing_and_doubles_nothing() {
    work_if_child();
    let name = "brokers::the_only_broker_killed_in_the_middle_of_transactions_loses_nothing_and_doubles_nothing";
    let others = alone();
    let options = Options { version: KEEPS_ITS_WORD.to_owned(), ..options(1) };
    let mut kafka = Kafka::start_with(options).unwrap();
    only_broker::is_killed_under_load(&mut kafka, &others.registry.url(), name);
}
