//! Sink and engine are killed (signal 9) at random moments; and a broken sink is found out.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bellhop_clickhouse::{Config, Server, Sink, audit, migrate};
use bellhop_harness::ClickHouse;
use tempfile::TempDir;

use crate::proxy::{Mode, Proxy};
use crate::random::Random;
use crate::world::{Book, GROUP, LONG, World, bookings, until_all};

const CHILD: &str = "BELLHOP_TEST_SINK";
const KILLS: u64 = 10;

/// The process that is killed: a sink over a log in a folder. Without its variable it has nothing
/// to do, and says so.
#[test]
fn a_sink_for_the_tests_that_kill_it() {
    let Ok(told) = std::env::var(CHILD) else {
        eprintln!("only for the tests that start it");
        return;
    };
    let told: Vec<&str> = told.split(' ').collect();
    let [folder, url, database] = told[..] else { panic!("{told:?}") };
    let book = Book::open(folder.as_ref(), 2);
    let mut config = config_of(url, database);
    config.batching.rows_max = 400;
    config.batching.age_max = Duration::from_millis(20);
    let mut sink = Sink::new(config, Box::new(book.log.consume(GROUP))).unwrap();
    sink.run_until(until_all(&book.counts)).unwrap();
}

fn config_of(url: &str, database: &str) -> Config {
    let mut config = Config {
        url: url.to_owned(),
        password: "bellhop".to_owned(),
        database: database.to_owned(),
        ladder: vec![Duration::from_millis(30); 5],
        circuit_open: Duration::from_millis(100),
        plan_ttl: Duration::from_secs(2),
        ..Config::default()
    };
    config.batching.interval_min = Duration::from_millis(10);
    config
}

#[test]
fn killed_at_random_moments_sink_and_engine_leave_neither_gap_nor_duplicate() {
    let seed = std::env::var("BELLHOP_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(5);
    let kills = std::env::var("BELLHOP_TEST_KILLS").ok().and_then(|it| it.parse().ok());
    let mut random = Random(seed);
    let mut engine = ClickHouse::engine().unwrap();
    engine.query("CREATE DATABASE killed").unwrap();
    let config = config_of(engine.url(), "killed");
    let server = Server::new(&config).unwrap();
    migrate::run(&server).unwrap();
    let folder = TempDir::new().unwrap();
    let mut book = Book::open(folder.path(), 2);
    for (number, some) in bookings()[..24_000].chunks(500).enumerate() {
        book.append(number as u32 % 2, some);
    }
    drop(book);
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::a_sink_for_the_tests_that_kill_it"])
            .env(CHILD, format!("{} {} killed", folder.path().display(), config.url))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let (mut sinks, mut engines) = (0, 0);
    for _ in 0..kills.unwrap_or(KILLS) {
        let mut child = start();
        std::thread::sleep(Duration::from_millis(150 + random.below(600)));
        if random.below(2) == 0 {
            engine.kill().unwrap();
            engines += 1;
            std::thread::sleep(Duration::from_millis(random.below(200)));
            engine.restart().unwrap();
        }
        std::thread::sleep(Duration::from_millis(random.below(300)));
        // Gone already, it has landed all there is.
        sinks += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    eprintln!("seed {seed}: {sinks} sinks and {engines} engines killed");
    assert!(sinks > 2 && engines > 0, "{sinks} sinks and {engines} engines were killed");
    let begun = Instant::now();
    while !start().wait().unwrap().success() {
        assert!(begun.elapsed() < LONG, "seed {seed}: the last sink does not come to an end");
    }
    let mut book = Book::open(folder.path(), 2);
    let audited = audit::run(&server).unwrap();
    assert!(audited.is_clean(), "seed {seed}: {audited:#?}");
    assert_eq!(audited.events(), 24_000, "seed {seed}");
    let compared = audit::compare(&server, &mut book.log).unwrap();
    assert_eq!(compared.differences().count(), 0, "seed {seed}: {compared:#?}");
}

/// Lands with a promise broken and answers lost; gives what the audit says.
fn audit_of_broken(breaks: bellhop_clickhouse::Breaks, mode: Mode) -> (i64, i64) {
    let world = World::with_bookings(1, 3_000);
    let proxy = Proxy::to(&world.config.url);
    let mut broken = world.config.clone();
    broken.url = proxy.url.clone();
    broken.breaks = breaks;
    broken.batching.rows_max = 400;
    broken.release_timeout = Duration::ZERO;
    let mut sink = world.sink_with(broken.clone());
    proxy.set(mode, "INSERT+INTO");
    sink.run_until(|_| proxy.struck() > 2).unwrap();
    // It dies here: what it had not landed is for the next.
    drop(sink);
    proxy.set(Mode::Pass, "");
    broken.release_timeout = Duration::from_secs(5);
    let mut sink = world.sink_with(broken);
    sink.run_until(until_all(&world.book.counts)).unwrap();
    drop(sink);
    audit::run(&world.server).unwrap().totals()
}

#[test]
fn a_sink_without_tokens_is_found_out() {
    let breaks = bellhop_clickhouse::Breaks { no_token: true, ..Default::default() };
    let (_, twice) = audit_of_broken(breaks, Mode::SwallowAnswers);
    assert!(twice > 0, "the audit has not noticed");
}

#[test]
fn a_sink_that_marks_before_it_inserts_is_found_out() {
    let breaks = bellhop_clickhouse::Breaks { mark_first: true, ..Default::default() };
    let (missing, _) = audit_of_broken(breaks, Mode::DropRequests);
    assert!(missing > 0, "the audit has not noticed");
}

#[test]
fn an_unbroken_sink_passes_the_same_checks() {
    for mode in [Mode::SwallowAnswers, Mode::DropRequests] {
        assert_eq!(
            audit_of_broken(bellhop_clickhouse::Breaks::default(), mode),
            (0, 0),
            "{mode:?}"
        );
    }
}

#[test]
fn the_audit_names_what_is_missing_and_what_is_twice() {
    let world = World::with_bookings(1, 500);
    world.land();
    for (sql, table, column) in [
        (
            "ALTER TABLE events DELETE WHERE offset = 77 SETTINGS mutations_sync = 1",
            "events",
            "missing",
        ),
        ("INSERT INTO bookings SELECT * FROM bookings WHERE offset > 470", "bookings", "twice"),
        (
            "ALTER TABLE room_nights DELETE WHERE offset > 480 SETTINGS mutations_sync = 1",
            "room_nights",
            "missing",
        ),
        ("INSERT INTO daily_sales SELECT * FROM daily_sales LIMIT 1", "daily_sales", "twice"),
    ] {
        world.server.run("spoil", sql).unwrap();
        let audit = world.audit();
        let line = audit.lines.iter().find(|line| line.table == table).unwrap();
        let found = if column == "missing" { line.missing } else { line.twice };
        assert!(found > 0, "{sql}: {audit:#?}");
    }
}
