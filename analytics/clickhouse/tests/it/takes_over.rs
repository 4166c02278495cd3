//! Time-outs, zombies, partitions that move: what was not finished is finished once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bellhop_clickhouse::{CaughtUp, ErrorKind, Sink, audit};

use crate::proxy::{Mode, Proxy};
use crate::random::Random;
use crate::world::{GROUP, LONG, World, until_all};

/// Through a proxy, with time-outs that come soon.
fn through(world: &World, proxy: &Proxy) -> bellhop_clickhouse::Config {
    let mut config = world.config.clone();
    config.url = proxy.url.clone();
    config.insert_timeout = Duration::from_secs(2);
    config
}

#[test]
fn an_insert_that_happened_and_was_not_answered_is_not_repeated() {
    for table in ["room_nights", "events", "bookings"] {
        let mut world = World::with_bookings(1, 1_500);
        let proxy = Proxy::to(&world.config.url);
        let config = through(&world, &proxy);
        let mut sink = world.sink_with(config);
        proxy.set(Mode::SwallowAnswers, insert_into(table));
        let mut all = until_all(&world.book.counts);
        let status = sink
            .run_until(|status| {
                if proxy.struck() > 0 {
                    proxy.set(Mode::Pass, "");
                }
                all(status)
            })
            .unwrap();
        drop(sink);
        assert!(proxy.struck() > 0 && status.retries > 0, "{table}: {status:?}");
        world.assert_whole();
    }
}

fn insert_into(table: &str) -> &'static str {
    match table {
        "room_nights" => "INSERT+INTO+%60room_nights%60",
        "bookings" => "INSERT+INTO+%60bookings%60",
        _ => "INSERT+INTO+%60events%60",
    }
}

#[test]
fn an_insert_that_did_not_happen_is_repeated() {
    let mut world = World::with_bookings(2, 2_000);
    let proxy = Proxy::to(&world.config.url);
    let mut sink = world.sink_with(through(&world, &proxy));
    proxy.set(Mode::DropRequests, "INSERT+INTO");
    let mut all = until_all(&world.book.counts);
    let status = sink
        .run_until(|status| {
            // Longer than the ladder, so that the circuit opens once.
            if proxy.struck() > 40 {
                proxy.set(Mode::Pass, "");
            }
            all(status)
        })
        .unwrap();
    drop(sink);
    assert!(status.retries > 5, "{status:?}");
    world.assert_whole();
}

#[test]
fn answers_lost_and_requests_lost_at_random_leave_neither_gap_nor_duplicate() {
    let mut world = World::with_bookings(3, 12_000);
    let proxy = Proxy::to(&world.config.url);
    let mut config = through(&world, &proxy);
    config.batching.rows_max = 600;
    let mut sink = world.sink_with(config);
    let mut random = Random(7);
    let mut all = until_all(&world.book.counts);
    let (begun, mut turn) = (Instant::now(), Duration::ZERO);
    sink.run_until(|status| {
        if begun.elapsed() > turn {
            turn = begun.elapsed() + Duration::from_millis(10 + random.below(60));
            let mode = match random.below(4) {
                0 => Mode::SwallowAnswers,
                1 => Mode::DropRequests,
                _ => Mode::Pass,
            };
            proxy.set(if begun.elapsed() > LONG / 6 { Mode::Pass } else { mode }, "INSERT+INTO");
        }
        all(status)
    })
    .unwrap();
    drop(sink);
    assert!(proxy.struck() > 3, "struck {} times", proxy.struck());
    world.assert_whole();
}

/// A sink whose insert into `events` hangs in the network, and an heir that lands everything.
fn zombie_and_heir(world: &World, proxy: &Proxy, config: bellhop_clickhouse::Config, forget: bool) {
    let mut of_zombie = config.clone();
    of_zombie.url = proxy.url.clone();
    let consumer = world.book.log.consume(GROUP);
    let id = consumer.id();
    let mut zombie = Sink::new(of_zombie, Box::new(consumer)).unwrap();
    proxy.set(Mode::Hold, "INSERT+INTO");
    let until = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&until);
    let sleeping = std::thread::spawn(move || zombie.run_until(|_| stop.load(Ordering::SeqCst)));
    proxy.wait_struck(1);
    world.book.log.expel_consumer(GROUP, id);
    let mut heir = world.sink_with(config.clone());
    heir.run_until(until_all(&world.book.counts)).unwrap();
    drop(heir);
    assert!(audit::run(&world.server).unwrap().is_clean());
    if forget {
        // The tokens are gone, as after a long pause; only the time of the plan is left.
        for table in ["events", "room_nights", "bookings", "supply", "properties", "products"] {
            for window in [0, 20_000] {
                let sql = format!(
                    "ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = {window}"
                );
                world.server.run("forget", &sql).unwrap();
            }
        }
        std::thread::sleep(config.plan_ttl + Duration::from_millis(1_500));
    }
    proxy.set(Mode::Pass, "");
    let ended = sleeping.join().unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Fenced);
    until.store(true, Ordering::SeqCst);
}

#[test]
fn a_zombie_that_wakes_finds_its_tokens_used() {
    let mut world = World::with_bookings(1, 1_000);
    let proxy = Proxy::to(&world.config.url);
    let mut config = world.config.clone();
    config.plan_ttl = Duration::from_secs(60);
    config.batching.interval_min = Duration::from_millis(100);
    zombie_and_heir(&world, &proxy, config, false);
    wait_for_inserts(&world);
    world.assert_whole();
}

#[test]
fn a_zombie_that_wakes_after_the_tokens_are_forgotten_comes_too_late() {
    let mut world = World::with_bookings(1, 1_000);
    let proxy = Proxy::to(&world.config.url);
    let mut config = world.config.clone();
    config.plan_ttl = Duration::from_secs(2);
    zombie_and_heir(&world, &proxy, config, true);
    wait_for_inserts(&world);
    world.assert_whole();
}

/// What the zombie has sent is done, one way or the other.
fn wait_for_inserts(world: &World) {
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    while world.number("SELECT count() FROM system.processes WHERE query_kind = 'Insert'") > 0 {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn partitions_that_move_from_sink_to_sink_lose_nothing() {
    let mut world = World::with_bookings(4, 12_000);
    let mut config = world.config.clone();
    config.batching.rows_max = 500;
    config.batching.age_max = Duration::from_millis(20);
    std::thread::scope(|scope| {
        for number in 0..3_u64 {
            let (world, config) = (&world, config.clone());
            scope.spawn(move || {
                let mut random = Random(number);
                for _ in 0..5 {
                    let mut sink = world.sink_with(config.clone());
                    let stay = Duration::from_millis(50 + random.below(300));
                    let begun = Instant::now();
                    sink.run_until(|_| begun.elapsed() > stay).unwrap();
                }
            });
        }
    });
    world.land();
    world.assert_whole();
}

#[test]
fn a_partition_whose_mark_was_reset_during_a_batch_is_held_with_what_to_do() {
    let world = World::with_bookings(1, 1_500);
    let proxy = Proxy::to(&world.config.url);
    let mut config = through(&world, &proxy);
    config.release_timeout = Duration::ZERO;
    let mut sink = world.sink_with(config);
    // Room nights land, events do not.
    proxy.set(Mode::DropRequests, insert_into("events"));
    sink.run_until(|_| proxy.struck() > 1).unwrap();
    drop(sink);
    world.lose_marks();
    let why = world.land_or_held().unwrap();
    assert!(why.contains("bellhop repair clickhouse"), "{why}");
}

#[test]
fn a_sink_that_waits_for_all_ends_when_others_land_their_partitions() {
    let mut world = World::with_bookings(4, 8_000);
    let ends = (0..).zip(world.book.counts.clone()).collect();
    let mut other = world.sink();
    // It owns everything before the one that waits joins.
    other.run_until(|status| status.next.len() == 4).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| other.run_until(|_| stop.load(Ordering::SeqCst)).map(drop).unwrap());
        let mut caught_up = CaughtUp::new(world.server.clone(), ends);
        let mut waiting = world.sink();
        let begun = Instant::now();
        let status = waiting.run_until(|status| {
            assert!(begun.elapsed() < LONG, "{status:?}");
            caught_up.is_reached(status)
        });
        stop.store(true, Ordering::SeqCst);
        let owned = status.unwrap().next.len();
        assert!(owned < 4, "it owns {owned} of 4 partitions: nothing was shown");
    });
    drop(other);
    assert_eq!(bellhop_clickhouse::landed(&world.server).unwrap().len(), 4);
    world.assert_whole();
}

#[test]
fn rows_that_were_lost_with_their_token_kept_are_inserted_under_another() {
    // What a server leaves that dies between writing down a token and its rows, its views filled.
    for table in ["room_nights", "bookings", "events"] {
        let mut world = World::with_bookings(1, 1_500);
        let proxy = Proxy::to(&world.config.url);
        let mut config = through(&world, &proxy);
        config.plan_ttl = Duration::from_secs(1);
        config.release_timeout = Duration::ZERO;
        config.batching.rows_max = 1_000_000;
        config.batching.age_max = Duration::from_millis(600);
        let mut sink = world.sink_with(config.clone());
        proxy.set(Mode::SwallowAnswers, insert_into(table));
        sink.run_until(|_| proxy.struck() > 0).unwrap();
        drop(sink);
        proxy.set(Mode::Pass, "");
        let sql = format!("ALTER TABLE {table} DELETE WHERE 1 SETTINGS mutations_sync = 1");
        world.server.run("lose the rows", &sql).unwrap();
        let mut sink = world.sink_with(config);
        sink.run_until(until_all(&world.book.counts)).unwrap();
        drop(sink);
        // Their views had counted them before they were lost, and count them once.
        world.assert_whole();
        let rebuilt = bellhop_clickhouse::views::rebuild(&world.server).unwrap();
        assert!(rebuilt.iter().all(|view| view.corrections == 0), "{table}: {rebuilt:?}");
    }
}
