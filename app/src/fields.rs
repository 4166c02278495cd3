//! The fields of a command as JSON: read whole, or refused with every fault.
//!
//! `serde` stops at the first fault. So a fault is noted, the field is replaced by an example of its
//! type ([`bellhop_schemas::example`]) or taken away, and the command is read again.

use std::fmt;

use bellhop_schemas::night::Night;
use bellhop_schemas::schema::{Primitive, Schema, Type, TypeId};
use bellhop_schemas::{contract, example};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

/// Faults of a line that are listed.
pub(crate) const FAULTS_MAX: usize = 100;

/// What is wrong with a line; at least one sentence, each with the path of its field.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Faults {}

/// What is wrong, a sentence for each fault that an error knows.
pub(crate) fn sentences(error: &anyhow::Error) -> Vec<String> {
    match error.downcast_ref::<Faults>() {
        Some(Faults(sentences)) => sentences.clone(),
        None => vec![format!("{error:#}")],
    }
}

/// Reads the fields of the message with an Avro name.
///
/// # Errors
/// Every fault that was found.
pub(crate) fn read<T: DeserializeOwned>(name: &str, fields: Value) -> Result<T, Faults> {
    let first = match attempt(&fields) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let Some(schema) = annotated(name) else { return Err(Faults(vec![words(&first)])) };
    let mut repaired = fields;
    let (mut faults, mut error) = (Vec::new(), first);
    loop {
        let fault = words(&error);
        if faults.last() == Some(&fault) {
            break;
        }
        faults.push(fault);
        if faults.len() == FAULTS_MAX {
            faults.push(format!("only the first {FAULTS_MAX} faults are listed"));
            break;
        }
        let text = error.inner().to_string();
        if !repair(&schema, &mut repaired, error.path(), &text) {
            break;
        }
        match attempt::<T>(&repaired) {
            Ok(_) => break,
            Err(next) => error = next,
        }
    }
    Err(Faults(faults))
}

type Fault = serde_path_to_error::Error<serde_json::Error>;

fn attempt<T: DeserializeOwned>(fields: &Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(fields)
}

fn words(error: &Fault) -> String {
    let path = error.path().to_string();
    if path == "." { error.inner().to_string() } else { format!("{path}: {}", error.inner()) }
}

fn annotated(name: &str) -> Option<Schema> {
    Schema::parse(contract::annotated().ok()?.get(name)?).ok()
}

/// Takes away what is wrong at a path; `false` where nothing can be done about it.
fn repair(schema: &Schema, fields: &mut Value, path: &Path, text: &str) -> bool {
    let mut at = fields;
    let mut ty = Some(schema.root());
    let mut segments = path.iter().peekable();
    while let Some(segment) = segments.next() {
        let record = ty.and_then(|ty| record_of(schema, ty));
        match segment {
            Segment::Map { key } => {
                let Value::Object(object) = at else { break };
                ty = record
                    .and_then(|fields| fields.iter().find(|it| it.name == *key))
                    .map(|it| it.ty);
                if ty.is_none() && segments.peek().is_none() {
                    return object.remove(key).is_some();
                }
                let Some(next) = object.get_mut(key) else { return false };
                at = next;
            }
            Segment::Seq { index } => {
                let Value::Array(list) = at else { break };
                ty = ty.and_then(|ty| items_of(schema, ty));
                let Some(next) = list.get_mut(*index) else { return false };
                at = next;
            }
            Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    let Some(ty) = ty else { return false };
    if let (Value::Object(object), Some(fields)) = (&mut *at, record_of(schema, ty)) {
        let Some(name) = text.split('`').nth(1) else { return false };
        let known = fields.iter().find(|field| field.name == name);
        return match known {
            Some(field) if !object.contains_key(name) => {
                let value = sample(schema, field.ty, field.example.as_ref());
                object.insert(name.to_owned(), value);
                true
            }
            Some(_) => false,
            None => object.remove(name).is_some(),
        };
    }
    let example = field_example(schema, path);
    *at = sample(schema, ty, example.as_ref());
    true
}

fn sample(schema: &Schema, ty: TypeId, example: Option<&Value>) -> Value {
    let first = Night(0);
    example::of(schema, ty, example, first)
}

/// The example of the field that a path ends with.
fn field_example(schema: &Schema, path: &Path) -> Option<Value> {
    let mut ty = schema.root();
    let mut example = None;
    for segment in path.iter() {
        match segment {
            Segment::Map { key } => {
                let field = record_of(schema, ty)?.iter().find(|field| field.name == *key)?;
                (ty, example) = (field.ty, field.example.clone());
            }
            Segment::Seq { .. } => (ty, example) = (items_of(schema, ty)?, None),
            Segment::Enum { .. } | Segment::Unknown => return example,
        }
    }
    example
}

/// The type itself, or the one beside null.
fn plain(schema: &Schema, ty: TypeId) -> TypeId {
    let Type::Union(branches) = schema.get(ty) else { return ty };
    let is_null = |ty: &Type| matches!(ty, Type::Primitive { primitive: Primitive::Null, .. });
    branches.iter().copied().find(|branch| !is_null(schema.get(*branch))).unwrap_or(ty)
}

fn record_of(schema: &Schema, ty: TypeId) -> Option<&[bellhop_schemas::schema::Field]> {
    match schema.get(plain(schema, ty)) {
        Type::Record { fields, .. } => Some(fields),
        Type::Primitive { .. }
        | Type::Fixed { .. }
        | Type::Enum { .. }
        | Type::Array(_)
        | Type::Map(_)
        | Type::Union(_) => None,
    }
}

fn items_of(schema: &Schema, ty: TypeId) -> Option<TypeId> {
    match schema.get(plain(schema, ty)) {
        Type::Array(items) => Some(*items),
        Type::Primitive { .. }
        | Type::Fixed { .. }
        | Type::Enum { .. }
        | Type::Record { .. }
        | Type::Map(_)
        | Type::Union(_) => None,
    }
}

/// Takes the fields of the envelope out of a line, and notes what is wrong with them.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    fields: &'a mut Map<String, Value>,
    faults: Vec<String>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn of(fields: &'a mut Map<String, Value>) -> Self {
        Self { fields, faults: Vec::new() }
    }

    /// A text; `None` where it is missing, null, or noted as a fault.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                self.fault(format!("{name}: {other} is not text"));
                None
            }
        }
    }

    /// What a text stands for.
    pub(crate) fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(format!("{name}: {error}"));
                None
            }
        }
    }

    /// Whether a field is there, whatever it holds.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn fault(&mut self, sentence: String) {
        self.faults.push(sentence);
    }

    /// What was noted.
    pub(crate) fn into_faults(self) -> Vec<String> {
        self.faults
    }
}
