//! Each Rust type is what its file says, field by field.

use std::collections::{BTreeMap, BTreeSet};

use bellhop_core::engine::engine_schemas;
use bellhop_core::message::Kind;
use bellhop_core::registry::{EVENTS, REQUESTS};
use bellhop_schemas::contract;
use bellhop_schemas::schema::{Schema, Type, TypeId};

use crate::{in_crate, samples, snake_case};

/// Every record that travels, as Rust describes it.
fn rust_schemas() -> BTreeMap<String, String> {
    let mut schemas: BTreeMap<String, String> =
        engine_schemas().into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let requests = REQUESTS.iter().filter(|info| info.kind == Kind::Command);
    for info in requests.chain(EVENTS.iter().map(|event| &event.message)) {
        schemas.insert(info.name.to_owned(), (info.schema)());
    }
    schemas
}

/// The named types of a schema.
fn named(schema: &Schema) -> BTreeMap<&str, &Type> {
    let named = |ty| Type::names(ty).map(|names| (names.full.as_str(), ty));
    schema.types().iter().filter_map(named).collect()
}

/// A type in one line; a named one by its name.
fn line(schema: &Schema, id: TypeId) -> String {
    match schema.get(id) {
        Type::Array(items) => format!("array of {}", line(schema, *items)),
        Type::Map(values) => format!("map of {}", line(schema, *values)),
        Type::Union(branches) => {
            let branches: Vec<_> = branches.iter().map(|id| line(schema, *id)).collect();
            branches.join(" or ")
        }
        ty @ (Type::Primitive { .. }
        | Type::Fixed { .. }
        | Type::Enum { .. }
        | Type::Record { .. }) => ty.describe(),
    }
}

/// The parts of a named type, in order: fields with types, symbols, size and meaning.
fn parts(schema: &Schema, ty: &Type) -> Vec<(String, String)> {
    match ty {
        Type::Record { fields, .. } => {
            fields.iter().map(|field| (field.name.clone(), line(schema, field.ty))).collect()
        }
        Type::Enum { symbols, .. } => {
            symbols.iter().map(|symbol| (symbol.clone(), "symbol".to_owned())).collect()
        }
        Type::Fixed { size, logical, .. } => {
            vec![
                ("size".to_owned(), size.to_string()),
                ("logical type".to_owned(), format!("{logical:?}")),
            ]
        }
        Type::Primitive { .. } | Type::Array(_) | Type::Map(_) | Type::Union(_) => vec![],
    }
}

fn differences(rust: &Schema, file: &Schema) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (of_rust, of_file) = (named(rust), named(file));
    for name in of_rust.keys().chain(of_file.keys()) {
        let (Some(in_rust), Some(in_file)) = (of_rust.get(name), of_file.get(name)) else {
            found.insert(format!("{name}: in Rust or in the files, not in both"));
            continue;
        };
        let (in_rust, in_file) = (parts(rust, in_rust), parts(file, in_file));
        let longest = in_rust.len().max(in_file.len());
        for index in 0..longest {
            let (ours, theirs) = (in_rust.get(index), in_file.get(index));
            if ours != theirs {
                let text = |part: Option<&(String, String)>| {
                    part.map_or("nothing".to_owned(), |(name, what)| format!("{name}: {what}"))
                };
                let (ours, theirs) = (text(ours), text(theirs));
                found.insert(format!(
                    "{name}, part {index}: Rust has {ours}; the file has {theirs}"
                ));
            }
        }
    }
    found
}

#[test]
fn every_rust_type_is_what_its_file_says() {
    let (rust, files) = (rust_schemas(), contract::schemas().unwrap());
    assert_eq!(rust.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
    let mut found = BTreeSet::new();
    for (name, text) in &rust {
        let (ours, theirs) = (Schema::parse(text).unwrap(), Schema::parse(&files[name]).unwrap());
        found.extend(differences(&ours, &theirs));
        if found.is_empty() {
            assert_eq!(ours.canonical(), theirs.canonical(), "{name}");
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_difference_names_type_and_field() {
    let rust = r#"{"type":"record","name":"a.R","fields":[{"name":"x","type":"int"},{"name":"y","type":"int"}]}"#;
    let file = r#"{"type":"record","name":"a.R","fields":[{"name":"x","type":{"type":"int","logicalType":"date"}}]}"#;
    let found = differences(&Schema::parse(rust).unwrap(), &Schema::parse(file).unwrap());
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "a.R, part 0: Rust has x: int; the file has x: int (date)",
            "a.R, part 1: Rust has y: int; the file has nothing",
        ]
    );
}

#[test]
fn every_file_is_listed_and_lies_where_its_name_says() {
    let mut on_disk = BTreeSet::new();
    for folder in std::fs::read_dir(in_crate("avro")).unwrap() {
        let folder = folder.unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let (folder, file) = (folder.file_name(), file.unwrap().file_name());
            on_disk.insert(format!("{}/{}", folder.to_str().unwrap(), file.to_str().unwrap()));
        }
    }
    let files = || contract::MESSAGES.iter().chain(contract::PARTS);
    let listed: BTreeSet<_> = files().map(|file| file.path.to_owned()).collect();
    assert_eq!(on_disk, listed);
    for file in files() {
        let json: serde_json::Value = serde_json::from_str(file.text).unwrap();
        let (folder, stem) = file.path.split_once('/').unwrap();
        assert_eq!(stem, format!("{}.avsc", snake_case(json["name"].as_str().unwrap())));
        let namespace = json["namespace"].as_str().unwrap();
        let fits = match folder {
            "type" => namespace == "bellhop",
            "engine" => ["bellhop", "bellhop.engine"].contains(&namespace),
            other => namespace == format!("bellhop.{other}"),
        };
        assert!(fits, "{} has the namespace {namespace}", file.path);
    }
}

#[test]
fn every_part_belongs_to_a_message() {
    let used: BTreeSet<String> = contract::schemas()
        .unwrap()
        .values()
        .flat_map(|text| {
            let schema = Schema::parse(text).unwrap();
            named(&schema).into_keys().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let files = contract::MESSAGES.len() + contract::PARTS.len();
    assert_eq!(used.len(), files, "a file that no message uses, or a type without a file");
}

#[test]
fn every_record_and_field_says_what_it_means_and_has_the_default_of_its_type() {
    for text in contract::schemas().unwrap().values() {
        let schema = Schema::parse(text).unwrap();
        for (name, ty) in named(&schema) {
            let Type::Record { fields, .. } = ty else { continue };
            for field in fields {
                let at = format!("{name}.{}", field.name);
                assert!(
                    field.doc.as_ref().is_some_and(|doc| doc.ends_with('.')),
                    "{at} has no doc"
                );
                let wanted = match schema.get(field.ty) {
                    Type::Union(_) => Some(serde_json::Value::Null),
                    Type::Array(_) => Some(serde_json::json!([])),
                    Type::Primitive { .. }
                    | Type::Fixed { .. }
                    | Type::Enum { .. }
                    | Type::Map(_)
                    | Type::Record { .. } => field.default.clone(),
                };
                assert_eq!(field.default, wanted, "the default of {at}");
            }
        }
    }
    for file in contract::MESSAGES.iter().chain(contract::PARTS) {
        let json: serde_json::Value = serde_json::from_str(file.text).unwrap();
        assert!(json["doc"].as_str().is_some_and(|doc| doc.ends_with('.')), "{}", file.path);
    }
}

#[test]
fn every_message_has_a_sample() {
    let samples: BTreeSet<_> =
        samples::all().into_iter().map(|sample| sample.name.to_owned()).collect();
    assert_eq!(samples, contract::schemas().unwrap().into_keys().collect());
}
