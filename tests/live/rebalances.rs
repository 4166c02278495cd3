//! Workers that come and go in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bellhop_core::record::Header;
use bellhop_runtime::log::{Command, Log, Polled, Producer, Reader};
use bellhop_tests::hands::counter_in;
use bellhop_tests::toy::Add;

use crate::house::{House, LONG, PARTITIONS, Running, shared, worker, worker_observed};

#[test]
fn workers_that_come_and_go_at_load_decide_every_command_once() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let first = Running::start(&house.log);
    house.send(500);
    for _ in 0..3 {
        let second = Running::start(&house.log);
        for _ in 0..8 {
            house.send(250);
        }
        second.stop();
        house.send(250);
    }
    house.wait_decided();
    first.stop();
    house.check();
}

#[test]
fn two_workers_share_the_partitions() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let mut workers = [worker(&house.log), worker(&house.log)];
    let until = Instant::now() + LONG;
    let mut shares = [0, 0];
    while shares != [2, 2] {
        assert!(Instant::now() < until, "shares of {shares:?}");
        for (worker, share) in workers.iter_mut().zip(&mut shares) {
            worker.step(Duration::from_millis(5)).unwrap();
            *share = worker.status().partitions.len();
        }
    }
    house.send(1_000);
    let mut reader = house.log.reader();
    while !house.is_decided(&mut reader) {
        assert!(Instant::now() < until, "not decided");
        for worker in &mut workers {
            worker.step(Duration::from_millis(5)).unwrap();
        }
    }
    drop(workers);
    house.check();
}

/// How long it takes is printed; it counts the join, and the first connection of the new member.
#[test]
fn partitions_are_handed_over_at_load() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let first = Running::start(&house.log);
    house.send(1_000);
    house.wait_decided();
    let mut second = house.log.join().unwrap();
    let joined = Instant::now();
    let mut owned = Vec::new();
    while owned.len() < 2 {
        assert!(joined.elapsed() < LONG, "owns {owned:?}");
        house.send(50);
        if let Polled::Assigned(partitions) = second.poll(0, Duration::from_millis(10)).unwrap() {
            owned.extend(partitions);
        }
    }
    eprintln!("handed over {} ms after the member joined", joined.elapsed().as_millis());
    drop(second);
    house.wait_decided();
    first.stop();
    house.check();
}

/// A rebalance stops all partitions of a member until it has answered. How long those that stay
/// stand still is printed.
#[test]
fn partitions_that_stay_go_on_while_others_are_handed_over() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let outcomes = Arc::new(Mutex::new(BTreeMap::<u32, Vec<Instant>>::new()));
    let told = outcomes.clone();
    let observer = move |partition, _, _| {
        told.lock().unwrap().entry(partition).or_default().push(Instant::now());
    };
    let first = Running::of(worker_observed(&house.log, Box::new(observer)));
    house.send(1_000);
    house.wait_decided();
    for _ in 0..3 {
        let mut second = house.log.join().unwrap();
        let joined = Instant::now();
        let mut owned = Vec::new();
        while owned.len() < 2 {
            assert!(joined.elapsed() < LONG, "owns {owned:?}");
            house.send(50);
            if let Polled::Assigned(partitions) = second.poll(0, Duration::from_millis(1)).unwrap()
            {
                owned.extend(partitions);
            }
        }
        let handed = Instant::now();
        while handed.elapsed() < Duration::from_millis(500) {
            house.send(50);
        }
        let mut longest = Duration::ZERO;
        for (_, told) in outcomes.lock().unwrap().iter().filter(|(id, _)| !owned.contains(id)) {
            let during = told.iter().copied().filter(|told| *told >= joined);
            let all: Vec<_> = [joined].into_iter().chain(during).chain([Instant::now()]).collect();
            let pauses = all.windows(2).map(|pair| pair[1] - pair[0]);
            longest = longest.max(pauses.max().unwrap_or_default());
        }
        eprintln!(
            "handed over {} ms after the member joined; those that stay stood still for {} ms",
            (handed - joined).as_millis(),
            longest.as_millis()
        );
        // A rebalance that is not answered ends with the session.
        assert!(longest < house.config.session_timeout, "{longest:?}");
        drop(second);
        house.wait_decided();
    }
    first.stop();
    house.check();
}

/// No command waits for another that would fill its batch. How long each takes is printed.
#[test]
fn a_command_alone_is_decided() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let running = Running::start(&house.log);
    house.send(10);
    house.wait_decided();
    let (mut reader, mut sender) = (house.log.reader(), house.log.sender());
    let counter = counter_in(0, PARTITIONS, 1);
    let mut took = Vec::new();
    for number in 0..40 {
        let add = Add { counter, amount: 1, note: String::new() };
        let (key, value) = house.pen.write(&format!("alone {number}"), &add);
        let begun = Instant::now();
        let command = Command {
            key: &key,
            value: &value,
            timestamp: bellhop_core::message::Timestamp(0),
            headers: &[Header { name: "x", value: b"y" }],
        };
        let position = sender.append(&[command], None).unwrap()[0];
        house.sent.entry(0).or_default().push((position.offset, format!("alone {number}")));
        while reader.committed(0).unwrap().is_none_or(|it| it.next_offset <= position.offset) {
            assert!(begun.elapsed() < LONG, "command {number} is not decided");
        }
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    eprintln!("a command alone: p50 {:?}, max {:?}", took[20], took[39]);
    running.stop();
    house.check();
}
