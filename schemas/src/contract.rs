//! The contract: the `.avsc` files, each made self-contained.
//!
//! A file defines one named type and refers to others by full name; a registry wants all in one
//! text. [`schema`] gives that text, with docs and defaults, the same in every build.
//!
//! # Invariants
//! Every file under `avro/` is in one of the two lists (a test holds them against the folder).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A file of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Path below `avro/`.
    pub path: &'static str,
    /// What it holds.
    pub text: &'static str,
}

macro_rules! files {
    ($($path:literal,)*) => {
        &[$(File { path: $path, text: include_str!(concat!("../avro/", $path)) }),*]
    };
}

/// The records that travel: each is a subject of the registry.
pub const MESSAGES: &[File] = files![
    "command/cancel_reservation.avsc",
    "command/check_in.avsc",
    "command/check_out.avsc",
    "command/create_reservation.avsc",
    "command/define_product.avsc",
    "command/define_property.avsc",
    "command/mark_no_show.avsc",
    "command/move_reservation.avsc",
    "command/set_overbooking.avsc",
    "command/set_physical_count.avsc",
    "event/catalog_rejected.avsc",
    "event/overbooking_limit_changed.avsc",
    "event/physical_count_changed.avsc",
    "event/product_defined.avsc",
    "event/property_defined.avsc",
    "event/reservation_cancelled.avsc",
    "event/reservation_checked_in.avsc",
    "event/reservation_checked_out.avsc",
    "event/reservation_created.avsc",
    "event/reservation_extended.avsc",
    "event/reservation_moved.avsc",
    "event/reservation_no_show.avsc",
    "event/reservation_rejected.avsc",
    "engine/change_rules.avsc",
    "engine/command_acknowledged.avsc",
    "engine/command_conflicted.avsc",
    "engine/genesis.avsc",
    "engine/parked.avsc",
    "engine/parked_resolved.avsc",
    "engine/reply.avsc",
    "engine/rules_changed.avsc",
    "engine/resolve_parked.avsc",
    "engine/tick.avsc",
];

/// The types that they are made of.
pub const PARTS: &[File] = files![
    "engine/meta.avsc",
    "engine/parked_header.avsc",
    "engine/parked_kind.avsc",
    "engine/release.avsc",
    "engine/reply_outcome.avsc",
    "engine/rules.avsc",
    "engine/resolution.avsc",
    "engine/source.avsc",
    "type/acceptance.avsc",
    "type/alternative.avsc",
    "type/assignment.avsc",
    "type/dimensions.avsc",
    "type/external_ref.avsc",
    "type/line.avsc",
    "type/line_move.avsc",
    "type/line_night.avsc",
    "type/oversold_night.avsc",
    "type/price.avsc",
    "type/priced_by.avsc",
    "type/product_kind.avsc",
    "type/reason.avsc",
    "type/requested_line.avsc",
    "type/rule.avsc",
    "type/supply_change.avsc",
    "type/uuid.avsc",
];

/// Why there is no such schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file is not what it should be.
    #[error("read the contract avro/{path}: {what}")]
    Broken {
        /// Path below `avro/`.
        path: &'static str,
        /// What is wrong.
        what: String,
    },
    /// No message has the name.
    #[error("no message of the contract has the name {name}")]
    Unknown {
        /// The name.
        name: String,
    },
}

/// The self-contained schema of a message, as JSON text.
///
/// # Errors
/// [`Error::Unknown`] for a name that is none of a message.
pub fn schema(name: &str) -> Result<String, Error> {
    let known = schemas()?.remove(name);
    known.ok_or_else(|| Error::Unknown { name: name.to_owned() })
}

/// Every message with its self-contained schema: what a registry is told.
///
/// # Errors
/// [`Error::Broken`], which a test rules out.
pub fn schemas() -> Result<BTreeMap<String, String>, Error> {
    inlined(&KEY_ORDER)
}

/// The same with what only people need: the unit and an example of a field.
///
/// # Errors
/// As [`schemas`].
pub fn annotated() -> Result<BTreeMap<String, String>, Error> {
    inlined(&[&KEY_ORDER[..], &ANNOTATIONS].concat())
}

fn inlined(keys: &[&str]) -> Result<BTreeMap<String, String>, Error> {
    let mut definitions = BTreeMap::new();
    for file in PARTS.iter().chain(MESSAGES) {
        let (name, json) = read(file)?;
        definitions.insert(name, json);
    }
    let names: Vec<Value> =
        MESSAGES.iter().map(|file| Ok(Value::String(read(file)?.0))).collect::<Result<_, _>>()?;
    let mut schemas = BTreeMap::new();
    for name in &names {
        let mut inliner = Inliner {
            definitions: &definitions,
            keys,
            written: BTreeSet::new(),
            text: String::new(),
        };
        inliner.ty(name);
        schemas.insert(name.as_str().unwrap_or_default().to_owned(), inliner.text);
    }
    Ok(schemas)
}

fn read(file: &File) -> Result<(String, Value), Error> {
    let broken = |what: String| Error::Broken { path: file.path, what };
    let json: Value = serde_json::from_str(file.text).map_err(|error| broken(error.to_string()))?;
    let part = |key: &str| {
        let text = json.get(key).and_then(Value::as_str);
        text.ok_or_else(|| broken(format!("no \"{key}\"")))
    };
    let name = format!("{}.{}", part("namespace")?, part("name")?);
    Ok((name, json))
}

/// Writes keys in the order in which people write them, whatever order `serde_json` keeps.
const KEY_ORDER: [&str; 11] = [
    "type",
    "name",
    "namespace",
    "aliases",
    "doc",
    "size",
    "symbols",
    "items",
    "default",
    "fields",
    "logicalType",
];

/// Keys that stay out of what a registry is told.
const ANNOTATIONS: [&str; 2] = ["unit", "example"];

struct Inliner<'a> {
    keys: &'a [&'a str],
    definitions: &'a BTreeMap<String, Value>,
    written: BTreeSet<&'a str>,
    text: String,
}

impl<'a> Inliner<'a> {
    fn ty(&mut self, json: &'a Value) {
        match json {
            Value::String(name) => match self.definitions.get(name) {
                Some(definition) if !self.written.contains(name.as_str()) => {
                    self.written.insert(name);
                    self.ty(definition);
                }
                Some(_) | None => self.text.push_str(&json.to_string()),
            },
            Value::Array(branches) => self.list(branches, Self::ty),
            Value::Object(object) => self.object(object),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.text.push_str(&json.to_string());
            }
        }
    }

    fn list(&mut self, items: &'a [Value], write: fn(&mut Self, &'a Value)) {
        self.text.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
        self.text.push(']');
    }

    /// A type or a field: both have a `type`.
    fn object(&mut self, object: &'a Map<String, Value>) {
        let is_field = !object.contains_key("namespace") && object.contains_key("name");
        let mut separator = '{';
        for key in self.keys {
            let Some(value) = object.get(*key) else { continue };
            self.text.push(separator);
            separator = ',';
            self.text.push_str(&format!("\"{key}\":"));
            match (*key, value) {
                ("type", _) if is_field => self.ty(value),
                ("items", _) => self.ty(value),
                ("fields", Value::Array(fields)) => self.list(fields, Self::ty),
                _ => self.text.push_str(&value.to_string()),
            }
        }
        self.text.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn every_message_becomes_a_schema_of_its_own() {
        for (name, text) in schemas().unwrap() {
            let schema = Schema::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(schema.get(schema.root()).names().unwrap().full, name);
        }
    }

    #[test]
    fn nothing_of_a_file_is_lost_on_the_way() {
        for file in MESSAGES.iter().chain(PARTS) {
            let (_, json) = read(file).unwrap();
            check_keys(&json, file.path);
        }
    }

    /// A key that [`KEY_ORDER`] lacks would vanish from what the registry is told.
    fn check_keys(json: &Value, path: &str) {
        match json {
            Value::Object(object) => {
                for (key, value) in object {
                    if ANNOTATIONS.contains(&key.as_str()) {
                        continue;
                    }
                    assert!(KEY_ORDER.contains(&key.as_str()), "{path} has the key {key}");
                    if key != "default" {
                        check_keys(value, path);
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|item| check_keys(item, path)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_it() {
        let error = schema("bellhop.command.Nothing").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no message of the contract has the name bellhop.command.Nothing"
        );
    }
}
