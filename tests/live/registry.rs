//! The schema registry: ids, compatibility, and what still works while it is down.

use bellhop_harness::Registry;
use bellhop_runtime::log::ErrorKind;
use bellhop_runtime::registry::{Config, Confluent, Fit, Registry as _};

fn schema(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","namespace":"live","fields":[{fields}]}}"#)
}

const AMOUNT: &str = r#"{"name":"amount","type":"long"}"#;
const NOTE: &str = r#"{"name":"note","type":"string","default":""}"#;
const WHEN: &str = r#"{"name":"when","type":"long"}"#;

#[test]
fn a_registry_refuses_what_old_records_cannot_be_read_with_and_known_ids_outlive_it() {
    let server = Registry::start().unwrap();
    let config = Config::new(&server.url());
    let registry = Confluent::new(&config).unwrap();
    let (old, new) = (schema(AMOUNT), schema(&format!("{AMOUNT},{NOTE}")));
    let name = "live.R";
    assert_eq!(registry.fits(name, &old).unwrap(), Fit::New);
    assert_eq!(registry.find(name, &old).unwrap(), None);
    let id = registry.id_of(name, &old).unwrap();
    assert_eq!(registry.find(name, &old).unwrap(), Some(id));
    assert_eq!(registry.fits(name, &old).unwrap(), Fit::Registered);
    // A field with a default may follow; one without may not.
    assert_eq!(registry.fits(name, &new).unwrap(), Fit::Compatible);
    let newer = registry.id_of(name, &new).unwrap();
    assert_ne!(newer, id);
    let bad = schema(&format!("{AMOUNT},{WHEN}"));
    let fit = registry.fits(name, &bad).unwrap();
    assert!(matches!(fit, Fit::Refused(_)), "{fit:?}");
    let error = registry.register(name, &bad).unwrap_err();
    assert_eq!(error.kind, ErrorKind::FixInput, "{error}");

    // Another process meets the ids in records.
    let other = Confluent::new(&config).unwrap();
    let found = other.schema_of(id).unwrap().schema().unwrap();
    assert_eq!((found.name.as_str(), found.text), (name, old.clone()));
    assert_eq!(other.schema_of(2_000_000_000).unwrap().schema(), None);
    drop(server);
    // Known ids, and ids known to be unknown, are not asked for.
    assert!(other.schema_of(id).unwrap().schema().is_some());
    assert_eq!(other.schema_of(2_000_000_000).unwrap().schema(), None);
    assert_eq!(registry.id_of(name, &old).unwrap(), id);
    let error = other.schema_of(newer).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry, "{error}");
}
