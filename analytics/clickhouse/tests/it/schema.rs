//! The migrations give the schema that is checked in, however often and by whomever they run.

use std::time::{Duration, Instant};

use bellhop_clickhouse::{Config, Error, ErrorKind, Server, migrate};

use crate::world::{LONG, config, shared};

const CURRENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/clickhouse/current.txt");

fn empty() -> (Config, Server) {
    let config = config(shared());
    shared().query(&format!("CREATE DATABASE {}", config.database)).unwrap();
    let server = Server::new(&config).unwrap();
    (config, server)
}

fn schema(config: &Config, server: &Server) -> String {
    #[derive(serde::Deserialize)]
    struct Row {
        create: String,
    }
    let sql = "SELECT create_table_query AS create FROM system.tables WHERE database = currentDatabase() ORDER BY name";
    let rows: Vec<Row> = server.ask("read the schema", sql, &[]).unwrap();
    let tables = rows.iter().map(|row| row.create.replace(&format!("{}.", config.database), ""));
    let text = tables.map(|create| create.replace(", `", ",\n    `")).collect::<Vec<_>>();
    text.join("\n\n") + "\n"
}

#[test]
fn all_migrations_give_the_schema_that_is_checked_in() {
    let (config, server) = empty();
    let migrated = migrate::run(&server).unwrap();
    assert_eq!(migrated.applied.len(), migrate::ALL.len());
    let found = schema(&config, &server);
    if std::env::var_os("BELLHOP_UPDATE").is_some() {
        std::fs::write(CURRENT, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(CURRENT).unwrap();
    assert!(found == wanted, "not {CURRENT}; BELLHOP_UPDATE=1 writes it anew:\n{found}");
}

#[test]
fn migrations_run_again_change_nothing_even_one_by_one() {
    let (config, server) = empty();
    migrate::run(&server).unwrap();
    let before = schema(&config, &server);
    assert_eq!(migrate::run(&server).unwrap().applied, Vec::<&str>::new());
    for migration in migrate::ALL {
        server.run(migration.name, migration.sql).unwrap();
    }
    assert_eq!(schema(&config, &server), before);
}

#[test]
fn two_that_migrate_at_once_take_turns() {
    let (config, server) = empty();
    let applied: usize = std::thread::scope(|scope| {
        let running: Vec<_> = (0..3).map(|_| scope.spawn(|| migrate::run(&server))).collect();
        running.into_iter().map(|run| run.join().unwrap().unwrap().applied.len()).sum()
    });
    assert_eq!(applied, migrate::ALL.len());
    assert!(!schema(&config, &server).contains("migrating"), "the lock is given back");
}

#[test]
fn a_migration_that_was_changed_after_it_was_applied_is_refused() {
    let (_, server) = empty();
    migrate::run(&server).unwrap();
    let sql = "INSERT INTO migrations (number, name, checksum) VALUES (3, '0003_events', 1)";
    server.run("change", sql).unwrap();
    let error: Error = migrate::run(&server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FixInput);
    assert!(error.to_string().contains("0003_events"), "{error}");
}

#[test]
fn a_schema_newer_than_the_program_is_reported_and_works() {
    let (_, server) = empty();
    migrate::run(&server).unwrap();
    let sql = "INSERT INTO migrations (number, name, checksum) VALUES (999, '0999_future', 1)";
    server.run("a newer program", sql).unwrap();
    assert_eq!(migrate::run(&server).unwrap().newer, [999]);
}

/// No more of replicated tables can be shown without a keeper.
#[test]
fn the_engine_knows_what_replicated_tables_are_made_and_asked_with() {
    for (table, setting) in [
        ("merge_tree_settings", "replicated_deduplication_window"),
        ("merge_tree_settings", "replicated_deduplication_window_seconds"),
        ("settings", "insert_quorum"),
        ("settings", "insert_quorum_parallel"),
        ("settings", "select_sequential_consistency"),
    ] {
        let sql = format!("SELECT count() FROM system.{table} WHERE name = '{setting}'");
        assert_eq!(shared().query(&sql).unwrap().trim(), "1", "{setting}");
    }
    // It takes the statements apart and misses the keeper, nothing else.
    let mut config = config(shared());
    config.replicated = true;
    let error = migrate::run(&Server::new(&config).unwrap()).unwrap_err().to_string();
    let lacks = ["ZooKeeper", "Keeper", "Replicated database engine"]
        .iter()
        .any(|word| error.contains(word));
    assert!(lacks && !error.contains("Syntax error"), "{error}");
}

/// The line that is tested is the line that `docker/compose.yaml` starts.
#[test]
fn tests_and_compose_run_one_line_of_clickhouse() {
    let compose = include_str!("../../../../docker/compose.yaml");
    let (_, rest) = compose.split_once("image: clickhouse/clickhouse-server:").unwrap();
    let line = rest.lines().next().unwrap();
    let version = shared().query("SELECT version()").unwrap();
    assert!(version.starts_with(&format!("{line}.")), "tests run {version}, compose {line}");
}

#[test]
fn a_database_that_does_not_exist_is_made() {
    let config = config(shared());
    let server = Server::new(&config).unwrap();
    assert_eq!(migrate::run(&server).unwrap().applied.len(), migrate::ALL.len());
    assert_eq!(migrate::run(&server).unwrap().applied.len(), 0);
}

const OLD_LOCK: &str = "CREATE TABLE migrating (holder String, at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')) ENGINE = MergeTree ORDER BY at COMMENT 'Made by bellhop migrate'";

#[test]
fn a_lock_is_taken_from_a_holder_that_is_gone_and_not_from_one_whose_statement_runs() {
    let (mut config, server) = empty();
    config.lock_stale = Duration::from_secs(2);
    server.run("a lock that somebody has left", OLD_LOCK).unwrap();
    // Its holder has died, and the server still does what it was asked for.
    let url =
        format!("{}/?database={}&log_comment=bellhop%20migrating", config.url, config.database);
    let login = (config.user.clone(), config.password.clone());
    let running = std::thread::spawn(move || {
        let altering = "SELECT sleepEachRow(1) FROM numbers(8) SETTINGS max_block_size = 1";
        crate::proxy::post(&url, &login, altering);
    });
    let runs =
        "SELECT count() FROM system.processes WHERE Settings['log_comment'] = 'bellhop migrating'";
    let begun = Instant::now();
    while shared().query(runs).unwrap().trim() == "0" {
        assert!(begun.elapsed() < LONG);
        std::thread::yield_now();
    }
    let migrated = migrate::run(&Server::new(&config).unwrap()).unwrap();
    assert_eq!(migrated.applied.len(), migrate::ALL.len());
    assert!(running.is_finished(), "the lock was taken from a statement that runs");
    running.join().unwrap();
}
