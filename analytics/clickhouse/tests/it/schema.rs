//! The migrations give the schema that is checked in, however often and by whomever they run.

use bellhop_clickhouse::{Config, Error, ErrorKind, Server, migrate};

use crate::world::{config, shared};

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
