//! Avro data as values: to write one command in every encoding that the specification allows, and in
//! the schemas of other writers.
//!
//! # Source
//! Apache Avro 1.12 specification, "Binary encoding": blocks of arrays, and counts with sizes. That a
//! varint may have bytes that say nothing is what its decoders accept.

use std::collections::BTreeSet;

use bellhop_core::avro::write_long;
use bellhop_schemas::schema::{Field, Primitive, Schema, Type, TypeId};
use serde_json::{Value, json};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// Null.
    Null,
    /// An int, a long, a boolean or the number of a symbol.
    Number(i64),
    /// A float, a double or a fixed.
    Raw(Vec<u8>),
    /// Bytes or a text.
    Bytes(Vec<u8>),
    /// The items of an array.
    Array(Vec<Datum>),
    /// A branch of a union.
    Union(usize, Box<Datum>),
    /// The fields of a record by name.
    Record(Vec<(String, Datum)>),
}

/// How numbers and arrays are written: each choice is below its argument.
pub type Choose<'a> = dyn FnMut(u64) -> u64 + 'a;

/// Reads a value of a type from the front of bytes.
///
/// # Panics
/// When the bytes are none of the type.
pub fn read(schema: &Schema, id: TypeId, bytes: &mut &[u8]) -> Datum {
    match schema.get(id) {
        Type::Primitive { primitive, .. } => match primitive {
            Primitive::Null => Datum::Null,
            Primitive::Boolean => Datum::Raw(take(bytes, 1)),
            Primitive::Int | Primitive::Long => Datum::Number(long(bytes)),
            Primitive::Float => Datum::Raw(take(bytes, 4)),
            Primitive::Double => Datum::Raw(take(bytes, 8)),
            Primitive::Bytes | Primitive::String => {
                let length = length(bytes);
                Datum::Bytes(take(bytes, length))
            }
        },
        Type::Fixed { size, .. } => Datum::Raw(take(bytes, *size)),
        Type::Enum { .. } => Datum::Number(long(bytes)),
        Type::Array(items) => {
            let mut read_items = Vec::new();
            loop {
                match length(bytes) {
                    0 => return Datum::Array(read_items),
                    count => read_items.extend((0..count).map(|_| read(schema, *items, bytes))),
                }
            }
        }
        Type::Map(_) => panic!("no command has a map"),
        Type::Union(branches) => {
            let branch = length(bytes);
            let id = branches.get(branch).unwrap_or_else(|| panic!("branch {branch}"));
            Datum::Union(branch, Box::new(read(schema, *id, bytes)))
        }
        Type::Record { fields, .. } => {
            let fields = fields.iter().map(|field| (field.name.clone(), field.ty));
            Datum::Record(fields.map(|(name, ty)| (name, read(schema, ty, bytes))).collect())
        }
    }
}

/// Writes a value in a schema, which may have its fields in another order and lack some.
///
/// # Panics
/// When the value is none of the schema.
pub fn write(
    schema: &Schema,
    id: TypeId,
    datum: &Datum,
    choose: &mut Choose<'_>,
    out: &mut Vec<u8>,
) {
    match (schema.get(id), datum) {
        (Type::Primitive { primitive: Primitive::Null, .. }, Datum::Null) => {}
        (Type::Primitive { .. } | Type::Enum { .. }, Datum::Number(number)) => {
            number_in(*number, choose, out);
        }
        (Type::Primitive { .. } | Type::Fixed { .. }, Datum::Raw(raw)) => {
            out.extend_from_slice(raw);
        }
        (Type::Primitive { .. }, Datum::Bytes(bytes)) => {
            number_in(bytes.len() as i64, choose, out);
            out.extend_from_slice(bytes);
        }
        (Type::Array(items), Datum::Array(values)) => {
            let mut rest = values.as_slice();
            while !rest.is_empty() {
                // Sometimes not all of what is left.
                let whole = rest.len() as u64;
                let count = if choose(3) == 0 { 1 + choose(whole) } else { whole };
                let (block, later) = rest.split_at(count as usize);
                let mut encoded = Vec::new();
                for value in block {
                    write(schema, *items, value, choose, &mut encoded);
                }
                if choose(3) == 0 {
                    number_in(-(count as i64), choose, out);
                    number_in(encoded.len() as i64, choose, out);
                } else {
                    number_in(count as i64, choose, out);
                }
                out.append(&mut encoded);
                rest = later;
            }
            number_in(0, choose, out);
        }
        (Type::Union(branches), Datum::Union(branch, value)) => {
            number_in(*branch as i64, choose, out);
            write(schema, branches[*branch], value, choose, out);
        }
        (Type::Record { fields, .. }, Datum::Record(values)) => {
            for Field { name, ty, .. } in fields {
                let value = values.iter().find(|(own, _)| own == name);
                let (_, value) = value.unwrap_or_else(|| panic!("the value has no {name}"));
                write(schema, *ty, value, choose, out);
            }
        }
        (ty, datum) => panic!("{datum:?} is no {}", ty.describe()),
    }
}

/// A choice that makes each encoding the canonical one.
pub fn canonically(_: u64) -> u64 {
    1
}

/// A varint, in one run of six with bytes at its end that add nothing.
fn number_in(number: i64, choose: &mut Choose<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    write_long(number, out);
    if choose(6) == 0 {
        let room = 10 - (out.len() - start);
        let more = if room == 0 { 0 } else { choose(room as u64 + 1) as usize };
        if more > 0 {
            if let Some(last) = out.last_mut() {
                *last |= 0x80;
            }
            out.extend(std::iter::repeat_n(0x80, more - 1));
            out.push(0);
        }
    }
}

fn take(bytes: &mut &[u8], count: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken.to_vec()
}

fn long(bytes: &mut &[u8]) -> i64 {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let byte = take(bytes, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (number >> 1).cast_signed() ^ -((number & 1).cast_signed());
        }
    }
}

/// # Panics
/// When it is negative: what is read here is written by us.
fn length(bytes: &mut &[u8]) -> usize {
    let number = long(bytes);
    usize::try_from(number).unwrap_or_else(|_| panic!("{number} is no length"))
}

/// How another writer's schema differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The fields of every record are in the opposite order.
    Reversed,
    /// So are they, and most of those that have a default are missing.
    Lacking,
}

/// Fields that most commands set, so that a writer without them has little to say.
const OFTEN_SET: [&str; 5] =
    ["idempotency_key", "reservation_id", "country", "dimensions", "rate_plan"];

impl Writer {
    fn has(self, field: &Field) -> bool {
        self == Self::Reversed
            || field.default.is_none()
            || OFTEN_SET.contains(&field.name.as_str())
    }

    /// The schema of that writer, as JSON.
    #[must_use]
    pub fn schema(self, own: &Schema) -> String {
        self.write(own, own.root(), &mut BTreeSet::new()).to_string()
    }

    fn write(self, own: &Schema, id: TypeId, defined: &mut BTreeSet<String>) -> Value {
        let ty = own.get(id);
        if let Some(names) = ty.names()
            && !defined.insert(names.full.clone())
        {
            return json!(names.full);
        }
        let mut written = match ty {
            Type::Primitive { primitive, logical: None } => return json!(primitive.as_str()),
            Type::Primitive { primitive, .. } => json!({ "type": primitive.as_str() }),
            Type::Fixed { name, size, .. } => {
                json!({ "type": "fixed", "name": name.full, "size": size })
            }
            Type::Enum { name, symbols, .. } => {
                json!({ "type": "enum", "name": name.full, "symbols": symbols })
            }
            Type::Array(items) => {
                json!({ "type": "array", "items": self.write(own, *items, defined) })
            }
            Type::Map(_) => panic!("no command has a map"),
            Type::Union(branches) => {
                let branches = branches.iter().map(|branch| self.write(own, *branch, defined));
                return Value::Array(branches.collect());
            }
            Type::Record { name, fields } => {
                let kept = fields.iter().rev().filter(|field| self.has(field));
                let fields = kept.map(|Field { name, ty, .. }| {
                    json!({ "name": name, "type": self.write(own, *ty, defined) })
                });
                let fields: Vec<_> = fields.collect();
                json!({ "type": "record", "name": name.full, "fields": fields })
            }
        };
        if let (Some(logical), Some(object)) = (ty.logical(), written.as_object_mut()) {
            object.insert("logicalType".to_owned(), json!(logical));
        }
        written
    }

    /// The value without what this writer does not know, if that has its default.
    #[must_use]
    pub fn of(self, own: &Schema, datum: &Datum) -> Option<Datum> {
        let mut exact = true;
        let cut = self.cut(own, own.root(), datum, &mut exact);
        exact.then_some(cut)
    }

    /// The value without what this writer does not know; `exact` stays while all of that has its
    /// default.
    pub fn cut(self, own: &Schema, id: TypeId, datum: &Datum, exact: &mut bool) -> Datum {
        match (own.get(id), datum) {
            (Type::Record { fields, .. }, Datum::Record(values)) => {
                let mut kept = Vec::new();
                for (field, (name, value)) in fields.iter().zip(values) {
                    if self.has(field) {
                        kept.push((name.clone(), self.cut(own, field.ty, value, exact)));
                    } else {
                        *exact &= is_default(own, field, value);
                    }
                }
                Datum::Record(kept)
            }
            (Type::Array(items), Datum::Array(values)) => {
                let values = values.iter().map(|value| self.cut(own, *items, value, exact));
                Datum::Array(values.collect())
            }
            (Type::Union(branches), Datum::Union(branch, value)) => {
                let cut = self.cut(own, branches[*branch], value, exact);
                Datum::Union(*branch, Box::new(cut))
            }
            _ => datum.clone(),
        }
    }
}

/// Whether a value is the default of its field.
fn is_default(own: &Schema, field: &Field, value: &Datum) -> bool {
    match (&field.default, value) {
        (Some(Value::Null), Datum::Union(_, value)) => **value == Datum::Null,
        (Some(Value::Array(items)), Datum::Array(values)) => items.is_empty() && values.is_empty(),
        (Some(Value::Number(number)), Datum::Number(value)) => number.as_i64() == Some(*value),
        (Some(Value::String(symbol)), Datum::Number(value)) => match own.get(field.ty) {
            Type::Enum { symbols, .. } => {
                usize::try_from(*value).ok().and_then(|at| symbols.get(at)) == Some(symbol)
            }
            Type::Primitive { .. }
            | Type::Fixed { .. }
            | Type::Array(_)
            | Type::Map(_)
            | Type::Union(_)
            | Type::Record { .. } => false,
        },
        (Some(Value::Object(fields)), Datum::Record(values)) => {
            fields.is_empty()
                && match own.get(field.ty) {
                    Type::Record { fields, .. } => {
                        let mut pairs = fields.iter().zip(values);
                        pairs.all(|(field, (_, value))| is_default(own, field, value))
                    }
                    Type::Primitive { .. }
                    | Type::Fixed { .. }
                    | Type::Enum { .. }
                    | Type::Array(_)
                    | Type::Map(_)
                    | Type::Union(_) => false,
                }
        }
        _ => false,
    }
}
