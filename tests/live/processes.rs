//! Worker processes that are killed, and one that is stopped past its session and wakes up.

use std::time::{Duration, Instant};

use bellhop_harness::signal;
use bellhop_runtime::log::Reader;

use crate::house::{House, LONG, Running, alone, shared, work_if_child};

#[test]
fn processes_killed_at_any_moment_lose_nothing_and_decide_nothing_twice() {
    work_if_child();
    let name = "processes::processes_killed_at_any_moment_lose_nothing_and_decide_nothing_twice";
    let cluster = shared();
    let mut house = House::new(&cluster);
    let mut random = 0x5eed_u64;
    let mut workers = [house.process(name), house.process(name)];
    for kill in 0..4 {
        // What is under way when the process is killed is anything.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let before = house.events();
        let until = Instant::now() + LONG;
        while house.events() < before + 300 {
            assert!(Instant::now() < until, "kill {kill}: nothing is decided");
            house.send(300);
        }
        house.send(200 + (random >> 40) % 400);
        std::thread::sleep(Duration::from_micros((random >> 33) % 40_000));
        workers[kill % 2] = house.process(name);
    }
    house.wait_decided();
    drop(workers);
    house.check();
}

/// How long it takes is printed.
#[test]
fn a_killed_workers_partitions_are_taken_over_under_load() {
    work_if_child();
    let name = "processes::a_killed_workers_partitions_are_taken_over_under_load";
    // Alone: it is the time that is measured.
    let cluster = alone();
    let mut house = House::new(&cluster);
    let mut process = house.process(name);
    house.send(200);
    house.wait_decided();
    let heir = Running::start(&house.log);
    let until = Instant::now() + LONG;
    // Both own some; the load keeps transactions open.
    let mut rounds = 0;
    while rounds < 20 {
        assert!(Instant::now() < until, "the load is not taken");
        house.send(100);
        rounds += 1;
    }
    process.kill();
    let killed = Instant::now();
    house.send(100);
    let mut reader = house.log.reader();
    while !house.is_decided(&mut reader) {
        assert!(killed.elapsed() < LONG, "not taken over");
        std::thread::sleep(Duration::from_millis(5));
    }
    eprintln!("taken over {} ms after kill -9", killed.elapsed().as_millis());
    heir.stop();
    house.check();
}

#[test]
fn a_worker_that_sleeps_past_its_session_decides_nothing_twice_when_it_wakes() {
    work_if_child();
    let name =
        "processes::a_worker_that_sleeps_past_its_session_decides_nothing_twice_when_it_wakes";
    let cluster = shared();
    let mut house = House::new(&cluster);
    let mut zombie = house.process(name);
    for _ in 0..10 {
        house.send(200);
    }
    house.wait_decided();
    // Stopped in the middle of its work.
    house.send(3_000);
    signal(zombie.pid(), "STOP").unwrap();
    let heir = Running::start(&house.log);
    house.wait_decided();
    let decided = house.events();
    signal(zombie.pid(), "CONT").unwrap();
    // It goes on as a member like others: the heir leaves, and it decides alone.
    house.send(100);
    house.wait_decided();
    heir.stop();
    house.send(500);
    house.wait_decided();
    assert!(house.events() >= decided + 600);
    assert!(house.log.reader().committed(0).unwrap().is_some());
    zombie.kill();
    house.check();
}
