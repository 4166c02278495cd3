//! What is wrong is said, with what to do; what mends itself is waited for.

use std::time::Duration;

use bellhop_clickhouse::{Error, ErrorKind, Server, Sink, migrate};
use bellhop_core::message::LogId;
use bellhop_harness::ClickHouse;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::Timestamps;
use bellhop_runtime::log::embedded::{Embedded, Options, Tuning};
use tempfile::TempDir;
use uuid::Uuid;

use crate::world::{Book, GROUP, World, config, shared, until_all};

/// Why no sink can be made.
fn refused(world: &World, config: bellhop_clickhouse::Config) -> Error {
    let consumer = Box::new(world.book.log.consume(GROUP));
    match Sink::new(config, consumer) {
        Ok(_) => panic!("it was made"),
        Err(error) => error,
    }
}

fn says(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "no \"{word}\" in: {text}");
    }
}

#[test]
fn a_wrong_address_user_or_database_is_named_with_what_to_do() {
    let world = World::new(1);
    let with = |change: &dyn Fn(&mut bellhop_clickhouse::Config)| {
        let mut config = world.config.clone();
        change(&mut config);
        refused(&world, config)
    };
    let nobody = with(&|config| config.url = "http://127.0.0.1:9".to_owned());
    says(&nobody, ErrorKind::Retry, &["127.0.0.1:9", "the server runs"]);
    for url in ["ftp://host", "host:8123", ""] {
        says(
            &with(&|config| config.url = url.to_owned()),
            ErrorKind::FixInput,
            &["http://host:8123"],
        );
    }
    let stranger = with(&|config| config.password = "wrong".to_owned());
    says(&stranger, ErrorKind::FixInput, &["password"]);
    let nowhere = with(&|config| config.database = "nowhere".to_owned());
    says(&nowhere, ErrorKind::FixInput, &["nowhere", "database"]);
    let no_clickhouse = with(&|config| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        config.url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // An answer that comes before its request is none.
                let _ = std::io::Read::read(&mut stream, &mut [0; 4_096]);
                let body = "<html>hello</html>";
                let _ = std::io::Write::write_all(
                    &mut stream,
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                        .as_bytes(),
                );
            }
        });
    });
    says(&no_clickhouse, ErrorKind::FixInput, &["is a ClickHouse"]);
}

#[test]
fn missing_foreign_and_altered_tables_are_named_with_what_to_do() {
    for (spoil, words) in [
        ("DROP TABLE room_nights", ["room_nights", "bellhop migrate"]),
        ("DROP TABLE daily_pickup_view", ["daily_pickup_view", "bellhop migrate"]),
        ("ALTER TABLE events DROP COLUMN decided_by", ["decided_by", "bellhop migrate"]),
        ("ALTER TABLE bookings MODIFY COLUMN lines Int64", ["lines is Int64", "Int32"]),
        (
            "ALTER TABLE supply MODIFY SETTING non_replicated_deduplication_window = 5",
            ["tokens of 5 batches", "ALTER TABLE"],
        ),
        (
            "ALTER TABLE refusals MODIFY COLUMN landed_at DateTime64(3, 'UTC') DEFAULT now64(3)",
            ["landed_at", "refuse late batches"],
        ),
    ] {
        let world = World::new(1);
        world.server.run("spoil", spoil).unwrap();
        says(&refused(&world, world.config.clone()), ErrorKind::FixInput, &words);
    }
    let engine = shared();
    let config = config(engine);
    engine.query(&format!("CREATE DATABASE {}", config.database)).unwrap();
    let server = Server::new(&config).unwrap();
    // As its own would be, but for who made it.
    for sql in [
        "CREATE TABLE events (a Int32) ENGINE = Memory",
        "CREATE TABLE log (log_id UUID) ENGINE = MergeTree ORDER BY log_id",
    ] {
        server.run("foreign", sql).unwrap();
    }
    let tables = "SELECT name, create_table_query AS made FROM system.tables WHERE database = currentDatabase() ORDER BY name";
    let before: Vec<serde_json::Value> = server.ask("see", tables, &[]).unwrap();
    let error = migrate::run(&server).unwrap_err();
    says(&error, ErrorKind::FixInput, &["events, log", "name another database"]);
    let after: Vec<serde_json::Value> = server.ask("see", tables, &[]).unwrap();
    assert_eq!(before, after, "a database of somebody else was changed");
    let world = World::new(1);
    says(&refused(&world, config), ErrorKind::FixInput, &["has no table", "bellhop migrate"]);
}

#[test]
fn tables_of_another_log_are_left_alone() {
    let world = World::with_bookings(1, 100);
    world.land();
    let folder = TempDir::new().unwrap();
    let options = Options {
        partitions: 1,
        timestamps: Timestamps::Create,
        log_id: LogId(Uuid::from_u128(0xdead)),
    };
    let clock = std::sync::Arc::new(SystemClock::default());
    let other =
        Embedded::open_or_create(folder.path(), &options, Tuning::default(), clock).unwrap();
    let error = Sink::new(world.config.clone(), Box::new(other.consume(GROUP)));
    says(&error.err().unwrap(), ErrorKind::FixInput, &["hold the log", "name another database"]);
}

#[test]
fn a_table_altered_under_a_running_sink_stops_it_and_nothing_is_lost() {
    let mut world = World::with_bookings(1, 600);
    let mut sink = world.sink();
    sink.run_until(until_all(&world.book.counts)).unwrap();
    world.server.run("alter", "ALTER TABLE bookings MODIFY COLUMN lines Int64").unwrap();
    world.append_bookings(700);
    let error = sink.run_until(until_all(&world.book.counts)).unwrap_err();
    says(&error, ErrorKind::FixInput, &["bookings", "put the column back"]);
    drop(sink);
    world.server.run("mend", "ALTER TABLE bookings MODIFY COLUMN lines Int32").unwrap();
    assert_eq!(world.land().events, 700);
    world.assert_whole();
}

#[test]
fn a_column_added_under_a_running_sink_takes_its_default() {
    let mut world = World::with_bookings(1, 600);
    let mut sink = world.sink();
    sink.run_until(until_all(&world.book.counts)).unwrap();
    for table in ["events", "room_nights"] {
        let sql = format!("ALTER TABLE {table} ADD COLUMN mood String DEFAULT 'good' FIRST");
        world.server.run("add", &sql).unwrap();
    }
    world.append_bookings(700);
    sink.run_until(until_all(&world.book.counts)).unwrap();
    drop(sink);
    world.append_bookings(10);
    world.land();
    assert_eq!(world.number("SELECT count() FROM events WHERE mood = 'good'"), 1_310);
    world.assert_whole();
}

#[test]
fn a_server_that_is_gone_for_a_while_is_waited_for() {
    let mut engine = ClickHouse::engine().unwrap();
    let mut world = World::on(&engine, 2);
    world.append_bookings(6_000);
    let mut config = world.config.clone();
    config.batching.rows_max = 500;
    let counts = world.book.counts.clone();
    let mut sink = world.sink_with(config);
    let landing = std::thread::spawn(move || {
        let mut all = until_all(&counts);
        sink.run_until(|status| all(status)).unwrap()
    });
    std::thread::sleep(Duration::from_millis(150));
    engine.kill().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    engine.restart().unwrap();
    let status = landing.join().unwrap();
    assert!(status.retries > 0, "{status:?}");
    world.assert_whole();
}

#[test]
fn a_log_that_is_opened_again_remembers_what_its_group_has_marked() {
    let mut world = World::with_bookings(2, 500);
    world.land();
    let marks = world.book.log.marks(GROUP);
    assert_eq!(marks.values().map(|mark| mark.next_offset).collect::<Vec<_>>(), [250, 250]);
    let folder = world.folder.path().to_owned();
    // The last handle closes the file.
    let empty = TempDir::new().unwrap();
    world.book = Book::open(empty.path(), 2);
    world.book = Book::open(&folder, 2);
    assert_eq!(world.book.log.marks(GROUP), marks);
}
