//! The daily aggregates are what the ledger says, and can be made so again.

use std::sync::atomic::{AtomicBool, Ordering};

use bellhop_clickhouse::{Sink, views};

use crate::world::{GROUP, World, until_all};

#[test]
fn views_say_what_the_ledger_says() {
    let world = World::with_bookings(2, 12_000);
    world.land();
    for (view, ledger) in [
        (
            "SELECT sum(units) FROM daily_sales",
            "SELECT sum(units) FROM room_nights WHERE kind = 'room'",
        ),
        (
            "SELECT sum(room) FROM daily_sales",
            "SELECT sum(room) FROM room_nights WHERE kind = 'room'",
        ),
        (
            "SELECT sum(units) FROM daily_pickup WHERE stay_month = '2015-08-01' AND business_date <= '2015-07-15'",
            "SELECT sum(units) FROM room_nights WHERE kind = 'room' AND toStartOfMonth(stay_night) = '2015-08-01' AND business_date <= '2015-07-15'",
        ),
        (
            "SELECT sum(refused) FROM daily_refusals",
            "SELECT count() FROM refusals WHERE reason_index = 0",
        ),
    ] {
        let (view_says, ledger_says) = (world.number(view), world.number(ledger));
        assert_eq!(view_says, ledger_says, "{view}");
    }
    assert!(world.number("SELECT sum(units) FROM daily_sales") > 0);
}

#[test]
fn a_view_that_is_right_is_left_as_it_is() {
    let world = World::with_bookings(2, 2_000);
    world.land();
    let rebuilt = views::rebuild(&world.server).unwrap();
    assert!(rebuilt.iter().all(|view| view.corrections == 0), "{rebuilt:?}");
}

#[test]
fn the_same_damage_is_mended_as_often_as_it_is_done() {
    let mut world = World::with_bookings(1, 2_000);
    world.land();
    for _ in 0..3 {
        world.server.run("spoil", "TRUNCATE TABLE daily_sales").unwrap();
        let rebuilt = views::rebuild(&world.server).unwrap();
        assert!(rebuilt[0].corrections > 0, "{rebuilt:?}");
        world.assert_whole();
    }
}

#[test]
fn some_that_rebuild_at_once_take_turns_and_add_a_difference_once() {
    let mut world = World::with_bookings(1, 2_000);
    world.land();
    world.server.run("spoil", "TRUNCATE TABLE daily_sales").unwrap();
    let corrected: u64 = std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..4).map(|_| scope.spawn(|| views::rebuild(&world.server))).collect();
        let rebuilt = running.into_iter().map(|run| run.join().unwrap().unwrap());
        rebuilt.map(|views| u64::from(views[0].corrections > 0)).sum()
    });
    assert_eq!(corrected, 1);
    world.assert_whole();
}

#[test]
fn spoiled_views_are_rebuilt_while_a_sink_is_running() {
    let mut world = World::with_bookings(2, 3_000);
    world.land();
    world.server.run("spoil", "TRUNCATE TABLE daily_sales").unwrap();
    world
        .server
        .run("spoil", "INSERT INTO daily_pickup SELECT * FROM daily_pickup LIMIT 40")
        .unwrap();
    let consumer = world.book.log.consume(GROUP);
    let mut sink = Sink::new(world.config.clone(), Box::new(consumer)).unwrap();
    let is_rebuilt = AtomicBool::new(false);
    let status = std::thread::scope(|scope| {
        let running =
            scope.spawn(|| sink.run_until(|_| is_rebuilt.load(Ordering::SeqCst)).unwrap());
        for _ in 0..10 {
            world.append_bookings(200);
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        let rebuilt = views::rebuild(&world.server).unwrap();
        assert!(rebuilt[0].corrections > 0 && rebuilt[1].corrections > 0, "{rebuilt:?}");
        is_rebuilt.store(true, Ordering::SeqCst);
        running.join().unwrap()
    });
    assert!(status.events > 0);
    drop(sink);
    let mut sink = world.sink();
    sink.run_until(until_all(&world.book.counts)).unwrap();
    drop(sink);
    world.assert_whole();
}
