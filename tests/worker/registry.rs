//! What a schema registry may answer about the id of a record: nothing of it stops a worker.

use std::time::{Duration, Instant};

use bellhop_harness::RedpandaRegistry;
use bellhop_runtime::log::{ErrorKind, Lookup};
use bellhop_runtime::registry::{Config, Confluent, Registry as _};

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[]}"#;

fn confluent(stub: &RedpandaRegistry) -> Confluent {
    Confluent::new(&Config::new(stub.url())).unwrap()
}

fn unknown(found: Result<Lookup, bellhop_runtime::log::Error>) -> String {
    match found {
        Ok(Lookup::Unknown(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_id_that_no_registry_gives_is_unknown_without_a_request() {
    let stub = RedpandaRegistry::start().unwrap();
    let registry = confluent(&stub);
    for id in [u32::MAX, 1 << 31] {
        let why = unknown(registry.schema_of(id));
        assert!(why.contains("above 2147483647"), "{why}");
        assert_eq!(unknown(registry.schema_at_once(id)), why);
    }
    assert_eq!(stub.asked_for_ids(), 0);
    // The largest id there can be is asked for, once.
    for _ in 0..3 {
        let why = unknown(registry.schema_of(i32::MAX.cast_unsigned()));
        assert_eq!(why, "status 404: Schema 2147483647 not found");
    }
    assert_eq!(stub.asked_for_ids(), 1);
}

#[test]
fn an_id_that_is_forbidden_is_unknown_unless_the_user_may_read_nothing() {
    let stub = RedpandaRegistry::start().unwrap();
    stub.authorize();
    let registry = confluent(&stub);
    let own = registry.id_of("R", SCHEMA).unwrap();
    let why = unknown(registry.schema_of(77));
    assert_eq!(why, "status 403: Forbidden (missing required ACLs)");
    // Another process has no schema of its own yet.
    assert_eq!(unknown(confluent(&stub).schema_of(77)), why);
    assert_eq!(confluent(&stub).schema_of(own).unwrap().schema().unwrap().text, SCHEMA);
    stub.set_stranger(true);
    let error = registry.schema_of(78).unwrap_err();
    assert_eq!(error.kind, ErrorKind::FixInput);
    assert!(error.hint.contains("refuses the user"), "{error}");
    let error = confluent(&stub).id_of("R", SCHEMA).unwrap_err();
    assert_eq!(error.kind, ErrorKind::FixInput);
    // What was not answered is not remembered as unknown.
    stub.set_stranger(false);
    assert_eq!(unknown(registry.schema_of(78)), why);
}

#[test]
fn a_flood_of_ids_makes_no_thread_wait_and_each_is_asked_for_once_while_it_is_remembered() {
    const IDS: std::ops::Range<u32> = 1_000..1_500;
    let stub = RedpandaRegistry::start().unwrap();
    let registry = confluent(&stub);
    stub.set_away(true);
    for id in IDS {
        let error = registry.schema_at_once(id).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Retry, "{error}");
    }
    stub.set_away(false);
    let until = Instant::now() + Duration::from_secs(30);
    for id in IDS {
        while registry.schema_at_once(id).is_err() {
            assert!(Instant::now() < until, "{id} is not answered");
            std::thread::yield_now();
        }
    }
    // What is known to be unknown is not asked for again.
    let before = stub.asked_for_ids();
    IDS.for_each(|id| assert!(unknown(registry.schema_at_once(id)).contains("not found")));
    assert_eq!(stub.asked_for_ids(), before);
}
