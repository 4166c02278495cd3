//! What was lost is found and refilled once; what is printed as a remedy is one.

use std::time::{Duration, Instant};

use bellhop_clickhouse::repair::{self, Repaired, Wanted};
use bellhop_clickhouse::{Config, Error, ErrorKind, Server, audit, views};
use bellhop_runtime::log::{Consumer as _, Mark};

use crate::proxy::{Mode, Proxy};
use crate::world::{Book, GROUP, LONG, World, until_all};

impl World {
    fn repair(&mut self, partition: u32, from: u64, to: Option<u64>) -> Result<Repaired, Error> {
        repair::run(&self.config, &mut self.book.log, Wanted { partition, from, to })
    }

    /// Lands all there is, or what is not held: then gives why.
    pub(crate) fn land_or_held(&self) -> Option<String> {
        let (mut all, mut why) = (until_all(&self.book.counts), None);
        let landed = self.sink().run_until(|status| {
            why = status.held.values().next().cloned();
            why.is_some() || all(status)
        });
        landed.unwrap();
        why
    }

    /// Lands all there is, following what is asked for where a partition is held.
    pub(crate) fn land_and_follow(&mut self) -> Vec<String> {
        let mut followed = Vec::new();
        for _ in 0..6 {
            let Some(why) = self.land_or_held() else { return followed };
            followed.extend(self.follow(&why));
        }
        panic!("the same hints again and again: {followed:#?}");
    }

    pub(crate) fn lose_marks(&self) {
        lose_marks(&self.book);
    }

    fn follow(&mut self, text: &str) -> Vec<String> {
        follow(&self.config, &mut self.book, text)
    }

    fn delete(&self, table: &str, of: &str) {
        let sql = format!("ALTER TABLE {table} DELETE WHERE {of} SETTINGS mutations_sync = 1");
        self.server.run("delete", &sql).unwrap();
    }
}

/// Does to the letter what a text says, and nothing else; gives what was run.
pub(crate) fn follow(config: &Config, book: &mut Book, text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let commands: Vec<String> =
        quoted.filter(|words| words.starts_with("bellhop ")).map(str::to_owned).collect();
    let server = Server::new(config).unwrap();
    for command in &commands {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            [
                "bellhop",
                "repair",
                "clickhouse",
                "--partition",
                partition,
                "--from",
                from,
                "--to",
                to,
            ] => {
                let number = |word: &str| word.parse::<u64>().unwrap();
                let partition = u32::try_from(number(partition)).unwrap();
                let wanted = Wanted { partition, from: number(from), to: Some(number(to)) };
                repair::run(config, &mut book.log, wanted).unwrap();
            }
            ["bellhop", "rebuild", "views"] => drop(views::rebuild(&server).unwrap()),
            ["bellhop", "audit", "clickhouse"] => drop(audit::run(&server).unwrap()),
            _ => panic!("a test does not know how to run `{command}`"),
        }
    }
    assert!(!commands.is_empty(), "nothing to run in: {text}");
    commands
}

/// As `kafka-consumer-groups --reset-offsets` leaves them.
pub(crate) fn lose_marks(book: &Book) {
    let mut tool = book.log.consume(GROUP);
    tool.poll(0, Duration::from_millis(20)).unwrap();
    let marks: Vec<_> = (0..book.counts.len() as u32)
        .map(|partition| (partition, Mark { next_offset: 0, note: String::new() }))
        .collect();
    tool.mark(&marks).unwrap();
}

/// All tables but `events` have a batch of which no mark tells.
fn with_strays() -> World {
    let world = World::with_bookings(1, 1_500);
    let proxy = Proxy::to(&world.config.url);
    let mut config = world.config.clone();
    config.url = proxy.url.clone();
    config.insert_timeout = Duration::from_secs(2);
    config.release_timeout = Duration::ZERO;
    let mut sink = world.sink_with(config);
    proxy.set(Mode::DropRequests, "INSERT+INTO+%60events%60");
    sink.run_until(|_| proxy.struck() > 1).unwrap();
    drop(sink);
    world.lose_marks();
    world
}

#[test]
fn the_instruction_that_a_sink_prints_leads_to_whole_tables() {
    let mut world = with_strays();
    let followed = world.land_and_follow();
    assert!(followed[0].starts_with("bellhop repair clickhouse --partition 0 --from 0 --to "));
    world.assert_whole();
}

#[test]
fn rows_deleted_by_hand_land_again_though_their_tokens_are_used_up() {
    let mut world = with_strays();
    for table in ["room_nights", "bookings", "supply", "refusals", "properties", "products"] {
        world.delete(table, "`partition` = 0 AND `offset` > -1");
    }
    views::rebuild(&world.server).unwrap();
    world.land();
    world.assert_whole();
}

#[test]
fn rows_that_the_server_had_acknowledged_and_lost_are_found_at_the_next_start() {
    for (table, of) in [
        ("room_nights", "`offset` > 1400"),
        ("bookings", "`offset` BETWEEN 700 AND 720"),
        ("products", "1"),
        ("events", "`offset` BETWEEN 1000 AND 1010"),
        ("events", "`offset` > 1400"),
    ] {
        let mut world = World::with_bookings(1, 1_500);
        world.land();
        world.delete(table, of);
        let refused = views::rebuild(&world.server);
        let is_tail_of_events = of.contains('>') && table == "events";
        assert!(
            is_tail_of_events
                || refused.is_err_and(|error| error.to_string().contains("bellhop repair")),
            "{table} {of}: views were rebuilt from a table that had lost rows"
        );
        let why = world.land_or_held().unwrap();
        let followed = world.follow(&why);
        assert_eq!(followed.len(), 1, "{followed:?}");
        world.land();
        world.assert_whole();
    }
}

#[test]
fn a_damaged_partition_is_held_alone_and_goes_on_when_it_is_right() {
    let mut world = World::with_bookings(2, 3_000);
    world.land();
    world.delete("bookings", "`partition` = 0 AND `offset` BETWEEN 700 AND 720");
    world.append_bookings(400);
    let mut sink = world.sink();
    let begun = Instant::now();
    let mut why = None;
    let status = sink.run_until(|status| {
        assert!(begun.elapsed() < LONG, "{status:?}");
        why = status.held.get(&0).cloned();
        why.is_some() && status.next.get(&1) == Some(&1_700)
    });
    let status = status.unwrap();
    assert_eq!((status.next[&0], status.held.len()), (1_500, 1), "{status:?}");
    let followed = world.follow(&why.unwrap());
    assert_eq!(followed.len(), 1, "{followed:?}");
    // The same sink goes on with it.
    let status = sink.run_until(until_all(&world.book.counts)).unwrap();
    assert!(status.held.is_empty(), "{status:?}");
    drop(sink);
    world.assert_whole();
}

const LEDGERS: [&str; 4] = ["room_nights", "bookings", "supply", "refusals"];

#[test]
fn rows_that_are_dropped_by_when_they_landed_hold_no_partition() {
    let mut world = World::with_bookings(1, 2_000);
    world.land();
    let old = "landed_at = landed_at - INTERVAL 400 DAY WHERE `offset` < 1500";
    for table in ["events", "properties", "products"].into_iter().chain(LEDGERS) {
        let sql = format!("ALTER TABLE {table} UPDATE {old} SETTINGS mutations_sync = 1");
        world.server.run("make it old", &sql).unwrap();
    }
    for table in LEDGERS {
        let ttl = "MODIFY TTL toDateTime(landed_at) + INTERVAL 365 DAY";
        world
            .server
            .run("drop", &format!("ALTER TABLE {table} {ttl} SETTINGS mutations_sync = 1"))
            .unwrap();
        world.server.run("drop", &format!("OPTIMIZE TABLE {table} FINAL")).unwrap();
    }
    assert_eq!(world.number("SELECT count() FROM bookings WHERE `offset` < 1500"), 0);
    world.append_bookings(300);
    assert_eq!(world.land_or_held(), None);
    assert_eq!(world.number("SELECT count() FROM events"), 2_300);
}

#[test]
fn a_repair_takes_nothing_off_the_views_but_what_its_own_range_has_too_much() {
    let mut world = World::with_bookings(2, 4_000);
    world.land();
    let views = "SELECT sum(units) FROM daily_sales";
    let whole = world.number(views);
    world.delete("room_nights", "`offset` < 900");
    // Nothing to do in this range, and the views may be all that is left of the others.
    let repaired = world.repair(0, 1_500, None).unwrap();
    assert!(repaired.tables.is_empty() && repaired.views.is_empty(), "{repaired:?}");
    let elsewhere = repaired.elsewhere.unwrap();
    assert!(elsewhere.partition == 0 && elsewhere.from <= 1, "{elsewhere:?}");
    assert_eq!(world.number(views), whole);
    // One partition is put right; the other's nights stay in the views.
    for partition in [0, 1] {
        let repaired = world.repair(partition, 0, None).unwrap();
        assert_eq!(repaired.elsewhere, None);
        assert_eq!(world.number(views), whole, "after partition {partition}");
    }
    world.assert_whole();
}

#[test]
fn a_repair_waits_for_a_mutation_that_its_predecessor_has_left() {
    let mut world = World::with_bookings(1, 2_000);
    world.land();
    world.config.lock_stale = Duration::from_secs(1);
    world.server.run("stop", "SYSTEM STOP MERGES room_nights").unwrap();
    let sql = "ALTER TABLE room_nights DELETE WHERE `offset` BETWEEN 100 AND 900 SETTINGS mutations_sync = 0";
    world.server.run("a statement of a process that was killed", sql).unwrap();
    let left =
        "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done";
    assert_eq!(world.number(left), 1);
    let (config, server, log) = (&world.config, &world.server, &mut world.book.log);
    let wanted = Wanted { partition: 0, from: 0, to: None };
    std::thread::scope(|scope| {
        let repairing = scope.spawn(|| repair::run(config, log, wanted));
        // It takes the lock at once, and then does nothing until the mutation has ended.
        let begun = Instant::now();
        let locked = "SELECT toInt64(count()) AS n FROM system.tables WHERE database = currentDatabase() AND name = 'repairing'";
        #[derive(serde::Deserialize)]
        struct Row {
            n: i64,
        }
        while server.ask::<Row>("see", locked, &[]).unwrap()[0].n == 0 {
            assert!(begun.elapsed() < LONG && !repairing.is_finished());
            std::thread::yield_now();
        }
        server.run("go on", "SYSTEM START MERGES room_nights").unwrap();
        let repaired = repairing.join().unwrap().unwrap();
        assert!(repaired.tables.contains_key("room_nights"), "{repaired:?}");
    });
    world.assert_whole();
}

#[test]
fn the_statements_of_a_repair_say_whose_they_are() {
    let mut world = World::with_bookings(1, 500);
    world.land();
    // Too many: they are deleted first.
    let spoil = "INSERT INTO room_nights SELECT * FROM room_nights WHERE `offset` < 100";
    world.server.run("spoil", spoil).unwrap();
    world.server.run("stop", "SYSTEM STOP MERGES room_nights").unwrap();
    let (config, server, log) = (&world.config, &world.server, &mut world.book.log);
    let wanted = Wanted { partition: 0, from: 0, to: None };
    std::thread::scope(|scope| {
        let repairing = scope.spawn(|| repair::run(config, log, wanted));
        let begun = Instant::now();
        let runs = "SELECT Settings['log_comment'] AS comment FROM system.processes WHERE current_database = currentDatabase() AND query LIKE 'ALTER TABLE%room_nights%DELETE%'";
        #[derive(serde::Deserialize)]
        struct Row {
            comment: String,
        }
        let comment = loop {
            let rows: Vec<Row> = server.ask("see", runs, &[]).unwrap();
            if let Some(row) = rows.into_iter().next() {
                break row.comment;
            }
            assert!(begun.elapsed() < LONG && !repairing.is_finished());
            std::thread::yield_now();
        };
        server.run("go on", "SYSTEM START MERGES room_nights").unwrap();
        repairing.join().unwrap().unwrap();
        assert_eq!(comment, "bellhop repairing");
    });
    world.assert_whole();
}

#[test]
fn all_tables_cut_back_to_the_same_event_are_filled_from_there() {
    let mut world = World::with_bookings(2, 3_000);
    world.land();
    for table in
        ["events", "room_nights", "bookings", "supply", "refusals", "properties", "products"]
    {
        world.delete(table, "`offset` > 900");
    }
    views::rebuild(&world.server).unwrap();
    assert_eq!(world.land().events, 3_000 - 2 * 901);
    world.assert_whole();
}

#[test]
fn a_range_is_refilled_once_however_often_it_is_repaired() {
    let mut world = World::with_bookings(2, 12_000);
    world.land();
    for (table, of) in [
        ("room_nights", "`partition` = 1 AND `offset` BETWEEN 2000 AND 5500"),
        ("bookings", "`partition` = 1 AND `offset` > 5000"),
        ("events", "`partition` = 1 AND `offset` BETWEEN 4990 AND 5005"),
    ] {
        world.delete(table, of);
    }
    for sql in [
        "INSERT INTO bookings SELECT * FROM bookings WHERE `partition` = 1 AND `offset` < 700",
        "ALTER TABLE room_nights UPDATE room = room + 1 WHERE `partition` = 1 AND `offset` = 1234 SETTINGS mutations_sync = 1",
        "INSERT INTO supply SELECT * REPLACE (toInt64(3333) AS `offset`) FROM supply LIMIT 1",
    ] {
        world.server.run("spoil", sql).unwrap();
    }
    let damages = world.audit().damages();
    assert!(damages.iter().any(|damage| damage.partition == 1), "{damages:?}");
    for damage in damages {
        world.follow(&format!("`{}`", damage.command("")));
    }
    // What the audit does not see: a value.
    let repaired = world.repair(1, 0, None).unwrap();
    assert_eq!(repaired.events, 6_000);
    world.assert_whole();
    let again = world.repair(1, 0, None).unwrap();
    assert!(
        again.tables.is_empty() && again.views.iter().all(|view| view.corrections == 0),
        "{again:?}"
    );
    assert_eq!(world.repair(0, 100, Some(99)).unwrap().events, 0);
    world.assert_whole();
    let error = world.repair(9, 0, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FixInput);
}

#[test]
fn a_repair_whose_answers_and_requests_are_lost_ends_with_whole_tables() {
    for mode in [Mode::SwallowAnswers, Mode::DropRequests] {
        let mut world = World::with_bookings(1, 2_000);
        world.land();
        world.delete("room_nights", "`offset` BETWEEN 100 AND 900");
        let proxy = Proxy::to(&world.config.url);
        let mut config = world.config.clone();
        config.url = proxy.url.clone();
        config.plan_ttl = Duration::from_secs(1);
        config.insert_timeout = Duration::from_secs(1);
        proxy.set(mode, "INSERT+INTO+%60room_nights%60");
        let log = &mut world.book.log;
        let wanted = Wanted { partition: 0, from: 0, to: None };
        std::thread::scope(|scope| {
            let repairing = scope.spawn(|| repair::run(&config, log, wanted));
            proxy.wait_struck(1);
            proxy.set(Mode::Pass, "");
            repairing.join().unwrap().unwrap();
        });
        world.assert_whole();
    }
}

#[test]
fn a_sink_goes_on_beside_a_repair_and_takes_nothing_over_meanwhile() {
    let mut world = World::with_bookings(1, 8_000);
    world.land();
    world.delete("room_nights", "`offset` BETWEEN 100 AND 7000");
    // Somebody holds the lock of a repair.
    world.server.run("lock", "CREATE TABLE repairing (holder String, at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')) ENGINE = MergeTree ORDER BY at COMMENT 'Made by bellhop migrate'").unwrap();
    let begun = Instant::now();
    let mut sink = world.sink();
    let status = sink.run_until(|_| begun.elapsed() > Duration::from_secs(1)).unwrap();
    assert!(status.next.values().all(|next| *next == 0) && status.retries > 0, "{status:?}");
    drop(sink);
    world.server.run("unlock", "DROP TABLE repairing SYNC").unwrap();
    world.repair(0, 0, None).unwrap();
    world.append_bookings(500);
    world.land();
    world.assert_whole();
}

#[test]
fn as_many_rows_too_many_as_too_few_are_both_found() {
    let world = World::with_bookings(1, 3_000);
    world.land();
    let lost = "`offset` BETWEEN 1100 AND 1250";
    let count = world.number(&format!("SELECT count() FROM bookings WHERE {lost}"));
    assert!(count > 10);
    let moved = |by: i64, of: &str| {
        let sql = format!(
            "INSERT INTO bookings SELECT * REPLACE (`offset` + {by} AS `offset`) FROM bookings WHERE bookings.{of}"
        );
        world.server.run("insert at other offsets", &sql).unwrap();
        world.delete("bookings", of);
    };
    // As many rows of no event, so that all totals are right.
    moved(10_000, lost);
    let audit = world.audit();
    let (missing, twice) = audit.totals();
    assert_eq!((missing, twice), (count, count));
    let damage = audit.damages()[0];
    assert!(damage.from <= 1_100 && damage.to >= 11_250, "{damage:?}");
    moved(-10_000, "`offset` > 10000");
    assert!(world.audit().is_clean());
    // Within a block of offsets only the hashes tell.
    moved(300, lost);
    let audit = world.audit();
    let (missing, twice) = audit.totals();
    assert!(missing > 0 && twice > 0, "{missing} missing, {twice} twice");
    let damage = audit.damages()[0];
    assert!(damage.from <= 1_100 && damage.to >= 1_550, "{damage:?}");
}

#[test]
fn an_audit_of_whole_tables_offers_nothing() {
    let world = World::with_bookings(2, 2_000);
    world.land();
    let audit = audit::run(&world.server).unwrap();
    assert!(audit.is_clean() && audit.damages().is_empty() && !audit.has_damaged_views());
}

#[test]
fn a_view_is_not_mended_while_an_insert_that_fills_it_still_runs() {
    let mut world = World::with_bookings(1, 300);
    // The server is busy with these before it comes to our view, for longer than a plan is good.
    for number in 0..4 {
        let sql = format!(
            "CREATE MATERIALIZED VIEW a_slow_{number} ENGINE = Null AS SELECT sleepEachRow(1.3) AS slept FROM (SELECT units FROM room_nights LIMIT 2)"
        );
        world.server.run("make it slow", &sql).unwrap();
    }
    let mut config = world.config.clone();
    config.plan_ttl = Duration::from_secs(1);
    config.insert_timeout = Duration::from_secs(1);
    config.batching.rows_max = 1_000_000;
    config.batching.age_max = Duration::from_millis(300);
    let mut sink = world.sink_with(config);
    let status = sink.run_until(until_all(&world.book.counts)).unwrap();
    drop(sink);
    assert!(status.retries > 0, "{status:?}");
    world.assert_whole();
}
