//! Commands hash as their first release did: a field that came later says so where it is written.

use std::collections::BTreeMap;

use bellhop_core::message::Kind;
use bellhop_core::registry::REQUESTS;
use serde_json::Value;

use crate::in_crate;

/// Parts of a named type in order: fields with the bytes of their types, or symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    bytes: String,
    since: Option<String>,
}

/// Collects the named types of a schema; gives how the bytes of a type look.
fn collect(json: &Value, types: &mut BTreeMap<String, Vec<Part>>) -> String {
    match json {
        // Both are written alike.
        Value::String(name) if name == "int" => "long".to_owned(),
        Value::String(name) => name.clone(),
        Value::Array(branches) => {
            let branches: Vec<_> = branches.iter().map(|it| collect(it, types)).collect();
            branches.join(" or ")
        }
        Value::Object(object) => {
            let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
            let list = |key: &str| object.get(key).and_then(Value::as_array).into_iter().flatten();
            let Some(name) = text("name") else {
                return match object.get("items") {
                    Some(items) => format!("array of {}", collect(items, types)),
                    None => collect(&object["type"], types),
                };
            };
            let full = match text("namespace") {
                Some(space) if !name.contains('.') => format!("{space}.{name}"),
                Some(_) | None => name,
            };
            let symbols = list("symbols").map(|symbol| Part {
                name: symbol.as_str().unwrap().to_owned(),
                bytes: "symbol".to_owned(),
                since: None,
            });
            let symbols: Vec<_> = symbols.collect();
            let fields = list("fields").map(|field| Part {
                name: field["name"].as_str().unwrap().to_owned(),
                bytes: collect(&field["type"], types),
                since: field["since"].as_str().map(str::to_owned),
            });
            let parts = symbols.into_iter().chain(fields).collect();
            types.insert(full.clone(), parts);
            full
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => json.to_string(),
    }
}

fn types_of(text: &str) -> BTreeMap<String, Vec<Part>> {
    let mut types = BTreeMap::new();
    collect(&serde_json::from_str(text).unwrap(), &mut types);
    types
}

fn number(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap()).collect()
}

/// What would change the hashes of commands that were sent before; `releases` by version.
fn changes(
    now: &BTreeMap<String, Vec<Part>>,
    releases: &BTreeMap<Vec<u64>, BTreeMap<String, Vec<Part>>>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, parts) in now {
        let with = |release: &&BTreeMap<String, Vec<Part>>| release.contains_key(name);
        let Some(first) = releases.values().find(with).map(|release| &release[name]) else {
            continue;
        };
        let unmarked: Vec<_> = parts.iter().filter(|part| part.since.is_none()).collect();
        for (index, old) in first.iter().enumerate() {
            match unmarked.get(index) {
                Some(new) if (&new.name, &new.bytes) == (&old.name, &old.bytes) => {}
                new => found.push(format!(
                    "{name}.{} was written as {} in its first release, now {:?} stands there",
                    old.name,
                    old.bytes,
                    new.map(|new| (&new.name, &new.bytes)),
                )),
            }
        }
        // Symbols may come at the end.
        let more = unmarked.iter().skip(first.len()).filter(|part| part.bytes != "symbol");
        found.extend(more.map(|part| {
            format!("{name}.{} is new: mark it with #[avro(since = \"..\")]", part.name)
        }));
        for part in parts {
            let Some(since) = &part.since else { continue };
            for (version, release) in releases.iter().filter(|(_, release)| with(release)) {
                let has = release[name].iter().any(|old| old.name == part.name);
                if has != (*version >= number(since)) {
                    found.push(format!("{name}.{} is not since {since}", part.name));
                }
            }
        }
    }
    found
}

#[test]
fn every_field_that_a_command_got_after_its_first_release_is_marked() {
    let mut releases: BTreeMap<Vec<u64>, BTreeMap<String, Vec<Part>>> = BTreeMap::new();
    for version in std::fs::read_dir(in_crate("released")).unwrap() {
        let version = version.unwrap();
        let types = releases.entry(number(version.file_name().to_str().unwrap())).or_default();
        for file in std::fs::read_dir(version.path()).unwrap() {
            types.extend(types_of(&std::fs::read_to_string(file.unwrap().path()).unwrap()));
        }
    }
    let mut found = Vec::new();
    for command in REQUESTS.iter().filter(|info| info.kind == Kind::Command) {
        let mut now = types_of(&(command.schema)());
        // It is not hashed.
        let meta = now.remove("bellhop.Meta").zip(now.remove("bellhop.Source"));
        assert!(meta.is_some(), "{} has no meta", command.name);
        if let Some(fields) = now.get_mut(command.name) {
            assert_eq!(fields.remove(0).name, "meta");
        }
        let mut releases = releases.clone();
        for release in releases.values_mut() {
            release.entry(command.name.to_owned()).and_modify(|fields| drop(fields.remove(0)));
        }
        found.extend(changes(&now, &releases));
    }
    assert!(found.is_empty(), "an equal retry would be a conflict: {found:#?}");
}

#[test]
fn a_field_without_a_mark_is_named() {
    let record = |fields: &str| format!(r#"{{"type":"record","name":"a.R","fields":[{fields}]}}"#);
    let field = |name: &str, more: &str| format!(r#"{{"name":"{name}",{more}"type":"int"}}"#);
    let (x, y) = (field("x", ""), field("y", ""));
    let marked = field("y", r#""since":"0.2.0","#);
    let said = |now: &str, old: &str| {
        let releases = BTreeMap::from([(vec![0, 1, 0], types_of(&record(old)))]);
        changes(&types_of(&record(now)), &releases)
    };
    let none = Vec::<String>::new();
    assert_eq!(said(&x, &x), none);
    assert_eq!(said(&format!("{marked},{x}"), &x), none);
    assert_eq!(said(&x.replace("int", "long"), &x), none);
    let new = "a.R.y is new: mark it with #[avro(since = \"..\")]";
    assert_eq!(said(&format!("{x},{y}"), &x), [new]);
    assert_eq!(said(&format!("{x},{marked}"), &format!("{x},{y}")).len(), 2);
    assert_eq!(said(&format!("{y},{x}"), &format!("{x},{y}")).len(), 2);
    assert_eq!(said(&x.replace("\"int\"", "[\"null\",\"int\"]"), &x).len(), 1);
}

/// What an older producer leaves out is what a newer one says by default.
#[test]
fn the_default_of_a_marked_field_is_the_contracts() {
    for command in REQUESTS.iter().filter(|info| info.kind == Kind::Command) {
        let file = bellhop_schemas::contract::schema(command.name).unwrap();
        let file: Value = serde_json::from_str(&file).unwrap();
        let mut marked = Vec::new();
        let derived: Value = serde_json::from_str(&(command.schema)()).unwrap();
        find_marked(&derived, &mut marked);
        for (field, ty) in marked {
            let wanted = match ty {
                Value::Array(_) => Value::Null,
                Value::Object(it) if it.contains_key("items") => serde_json::json!([]),
                ty @ (Value::Object(_)
                | Value::String(_)
                | Value::Null
                | Value::Bool(_)
                | Value::Number(_)) => {
                    panic!("{field} of {}: the default of {ty} is not compared", command.name)
                }
            };
            let default = default_of(&file, &field);
            assert_eq!(default, Some(wanted), "{field} of {}", command.name);
        }
    }
}

fn find_marked(json: &Value, marked: &mut Vec<(String, Value)>) {
    match json {
        Value::Object(object) => {
            if object.contains_key("since") {
                let name = object["name"].as_str().unwrap().to_owned();
                marked.push((name, object["type"].clone()));
            }
            object.values().for_each(|value| find_marked(value, marked));
        }
        Value::Array(list) => list.iter().for_each(|value| find_marked(value, marked)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn default_of(json: &Value, field: &str) -> Option<Value> {
    match json {
        Value::Object(object) => {
            if object.get("name").and_then(Value::as_str) == Some(field)
                && let Some(default) = object.get("default")
            {
                return Some(default.clone());
            }
            object.values().find_map(|value| default_of(value, field))
        }
        Value::Array(list) => list.iter().find_map(|value| default_of(value, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
