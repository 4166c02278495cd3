//! Workers whose batches are no transactions: nothing is lost, and what comes twice is the same.

use std::time::{Duration, Instant};

use bellhop_runtime::log::redpanda::{Config, Guarantee, Redpanda};
use bellhop_runtime::log::simulated::Random;

use crate::house::{House, LONG, Running, shared, standby, work_if_child, worker_with};

fn at_least_once(house: &mut House) {
    let log_id = house.log.identity().log_id;
    house.config = Config { guarantee: Guarantee::AtLeastOnce, ..house.config.clone() };
    house.log = Redpanda::connect(&house.config, log_id).unwrap();
}

#[test]
fn processes_killed_at_any_moment_lose_nothing_at_least_once() {
    work_if_child();
    let name = "at_least_once::processes_killed_at_any_moment_lose_nothing_at_least_once";
    let cluster = shared();
    let mut house = House::new(&cluster);
    at_least_once(&mut house);
    let mut random = Random::new(0xa105);
    let mut workers = [house.process(name), house.process(name)];
    for kill in 0..6 {
        let before = house.events();
        let until = Instant::now() + LONG;
        while house.events() < before + 300 {
            assert!(Instant::now() < until, "kill {kill}: nothing is decided");
            house.send(300);
        }
        house.send_and_meet(1_000 + random.below(1_000));
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        workers[kill % 2].kill();
        workers[kill % 2] = house.process(name);
    }
    house.wait_decided();
    drop(workers);
    eprintln!("{} events came again", house.check_at_least_once());
}

#[test]
fn workers_that_come_and_go_decide_at_least_once_with_copies_too() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    at_least_once(&mut house);
    let first = Running::start(&house.log);
    let copies = standby(&house.log);
    house.send(500);
    for _ in 0..3 {
        let second = Running::of(worker_with(&house.log, Some(copies.clone())));
        for _ in 0..6 {
            house.send(250);
        }
        second.stop();
        house.send(250);
    }
    house.wait_decided();
    first.stop();
    eprintln!("{} events came again", house.check_at_least_once());
}
