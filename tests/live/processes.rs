//! Worker processes that are killed, and one that is stopped past its session and wakes up.

use std::time::{Duration, Instant};

use bellhop_harness::signal;
use bellhop_runtime::log::Reader;
use bellhop_runtime::log::simulated::Random;

use crate::house::{House, LONG, Running, alone, shared, variable, work_if_child};

/// Kills of a run that nobody asked more of (`BELLHOP_TEST_FAULTS`), from a seed
/// (`BELLHOP_TEST_SEED`).
const KILLS: usize = 10;
const SEED: u64 = 0x5eed;
const WORKERS: usize = 3;

#[test]
fn processes_killed_at_any_moment_lose_nothing_and_decide_nothing_twice() {
    work_if_child();
    let name = "processes::processes_killed_at_any_moment_lose_nothing_and_decide_nothing_twice";
    let seed = variable("BELLHOP_TEST_SEED").unwrap_or(SEED);
    let kills = variable("BELLHOP_TEST_FAULTS").unwrap_or(KILLS);
    let cluster = shared();
    let mut house = House::of(8, &cluster.kafka.brokers(), &cluster.registry.url());
    let mut random = Random::new(seed);
    let mut workers: Vec<_> = (0..WORKERS).map(|_| house.process(name)).collect();
    for kill in 0..kills {
        // Those that are left go on meanwhile; what is under way when one is killed is anything.
        let before = house.events();
        let until = Instant::now() + LONG;
        while house.events() < before + 300 {
            assert!(Instant::now() < until, "kill {kill} of seed {seed}: nothing is decided");
            house.send(300);
        }
        house.send(200 + random.below(400));
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        let killed = random.below(WORKERS as u64) as usize;
        workers[killed].kill();
        workers[killed] = house.process(name);
    }
    house.wait_decided();
    drop(workers);
    house.check();
    eprintln!("seed {seed}: {kills} workers killed");
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
