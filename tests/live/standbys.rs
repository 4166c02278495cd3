//! Copies of partitions that are followed, and what they become.

use std::time::Instant;

use bellhop_runtime::log::Reader as _;

use crate::house::{House, LONG, PARTITIONS, Running, shared, standby, work_if_child, worker_with};

/// Waits until copies of all partitions are there.
fn wait_warm(standby: &bellhop_runtime::standby::Standby) {
    let until = Instant::now() + LONG;
    while standby.warm().len() < PARTITIONS as usize {
        assert!(Instant::now() < until, "warm are only {:?}", standby.warm());
        std::thread::yield_now();
    }
}

#[test]
fn copies_take_over_from_workers_that_leave_and_follow_those_that_come_back() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let first = Running::start(&house.log);
    house.send(2_000);
    house.wait_decided();
    let copies = standby(&house.log);
    for _ in 0..3 {
        wait_warm(&copies);
        let second = Running::of(worker_with(&house.log, Some(copies.clone())));
        for _ in 0..5 {
            house.send(200);
        }
        // What it had is followed again.
        second.stop();
        house.send(300);
        house.wait_decided();
    }
    let second = Running::of(worker_with(&house.log, Some(copies.clone())));
    house.send(300);
    first.stop();
    house.send(300);
    house.wait_decided();
    assert_eq!(copies.warm(), Vec::<u32>::new(), "all is owned");
    second.stop();
    house.check();
}

#[test]
fn a_copy_takes_over_from_a_process_that_is_killed() {
    work_if_child();
    let name = "standbys::a_copy_takes_over_from_a_process_that_is_killed";
    let cluster = shared();
    let mut house = House::new(&cluster);
    let mut process = house.process(name);
    house.send(2_000);
    house.wait_decided();
    let copies = standby(&house.log);
    wait_warm(&copies);
    let heir = Running::of(worker_with(&house.log, Some(copies.clone())));
    for _ in 0..10 {
        house.send(200);
    }
    process.kill();
    house.send(500);
    house.wait_decided();
    assert_eq!(copies.warm(), Vec::<u32>::new(), "all is owned");
    heir.stop();
    house.check();
    assert!(house.log.reader().committed(0).unwrap().is_some());
}
