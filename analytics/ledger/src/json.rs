//! A datum of any schema as JSON, for events of types that are not known here.
//!
//! # Invariants
//! Any bytes give text or an error, never a panic; depth and output are bounded by the input.

use bellhop_core::avro::{DecodeError, Reader};
use bellhop_schemas::night::Night;
use bellhop_schemas::schema::{Primitive, Schema, Type, TypeId};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Deeper data are not written; no event comes near.
const DEPTH_MAX: usize = 64;

/// The fields of a record from `skip` on, as a JSON object.
pub(crate) fn record(
    schema: &Schema,
    skip: usize,
    reader: &mut Reader<'_>,
) -> Result<Value, DecodeError> {
    let Type::Record { fields, .. } = schema.get(schema.root()) else {
        return Err(reader.invalid("a record as the type of an event"));
    };
    let mut object = Map::new();
    for field in fields.iter().skip(skip) {
        object.insert(field.name.clone(), value(schema, field.ty, reader, 0)?);
    }
    reader.finish()?;
    Ok(Value::Object(object))
}

fn value(
    schema: &Schema,
    id: TypeId,
    reader: &mut Reader<'_>,
    depth: usize,
) -> Result<Value, DecodeError> {
    if depth > DEPTH_MAX {
        return Err(reader.invalid("data that are not as deep"));
    }
    Ok(match schema.get(id) {
        Type::Primitive { primitive, logical } => scalar(*primitive, logical.as_deref(), reader)?,
        Type::Fixed { size, logical, .. } => {
            let bytes = reader.take(*size)?;
            match (logical.as_deref(), Uuid::from_slice(bytes)) {
                (Some("uuid"), Ok(uuid)) => Value::String(uuid.to_string()),
                _ => Value::String(hex(bytes)),
            }
        }
        Type::Enum { symbols, .. } => {
            let index = usize::try_from(reader.long()?).ok();
            let symbol = index.and_then(|index| symbols.get(index));
            Value::String(symbol.ok_or_else(|| reader.invalid("a symbol of the enum"))?.clone())
        }
        Type::Array(items) => {
            let mut array = Vec::new();
            blocks(reader, |reader| {
                array.push(value(schema, *items, reader, depth + 1)?);
                Ok(())
            })?;
            Value::Array(array)
        }
        Type::Map(values) => {
            let mut map = Map::new();
            blocks(reader, |reader| {
                let key = reader.str()?.to_owned();
                map.insert(key, value(schema, *values, reader, depth + 1)?);
                Ok(())
            })?;
            Value::Object(map)
        }
        Type::Union(branches) => {
            let index = usize::try_from(reader.long()?).ok();
            let branch = index.and_then(|index| branches.get(index));
            let branch = *branch.ok_or_else(|| reader.invalid("a branch of the union"))?;
            value(schema, branch, reader, depth + 1)?
        }
        Type::Record { fields, .. } => {
            let mut object = Map::new();
            for field in fields {
                object.insert(field.name.clone(), value(schema, field.ty, reader, depth + 1)?);
            }
            Value::Object(object)
        }
    })
}

/// Reads the blocks of an array or a map.
fn blocks(
    reader: &mut Reader<'_>,
    mut each: impl FnMut(&mut Reader<'_>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    loop {
        let count = reader.long()?;
        if count == 0 {
            return Ok(());
        }
        if count < 0 {
            // The bytes of the block, for those who skip it.
            reader.long()?;
        }
        for _ in 0..count.unsigned_abs() {
            let before = reader.position();
            each(reader)?;
            if reader.position() == before {
                return Err(reader.invalid("items that take bytes"));
            }
        }
    }
}

fn scalar(
    primitive: Primitive,
    logical: Option<&str>,
    reader: &mut Reader<'_>,
) -> Result<Value, DecodeError> {
    Ok(match primitive {
        Primitive::Null => Value::Null,
        Primitive::Boolean => match reader.take(1)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return Err(reader.invalid("a boolean")),
        },
        Primitive::Int | Primitive::Long => {
            let number = reader.long()?;
            match (logical, i32::try_from(number)) {
                (Some("date"), Ok(day)) => Value::String(Night(day).to_string()),
                _ => Value::from(number),
            }
        }
        Primitive::Float => {
            let bytes = reader.take(4)?.try_into().unwrap_or_default();
            Value::from(f64::from(f32::from_le_bytes(bytes)))
        }
        Primitive::Double => {
            Value::from(f64::from_le_bytes(reader.take(8)?.try_into().unwrap_or_default()))
        }
        Primitive::Bytes => Value::String(hex(reader.bytes()?)),
        Primitive::String => Value::String(reader.str()?.to_owned()),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"record","name":"x.Future","fields":[
        {"name":"meta","type":"long"},
        {"name":"day","type":{"type":"int","logicalType":"date"}},
        {"name":"who","type":["null","string"]},
        {"name":"tags","type":{"type":"array","items":"string"}},
        {"name":"by","type":{"type":"map","values":"long"}},
        {"name":"kind","type":{"type":"enum","name":"x.Kind","symbols":["A","B"]}},
        {"name":"raw","type":"bytes"}]}"#;
    const DATUM: &[u8] = b"\x02\x02\x06Bob\x03\x0a\x02a\x04bc\x00\x02\x02k\x0e\x00\x02\x04\x01\xff";

    #[test]
    fn a_datum_of_any_schema_becomes_json() {
        let schema = Schema::parse(SCHEMA).unwrap();
        let json = record(&schema, 1, &mut Reader::new(DATUM)).unwrap();
        assert_eq!(
            json.to_string(),
            r#"{"by":{"k":7},"day":"1970-01-02","kind":"B","raw":"01ff","tags":["a","bc"],"who":"Bob"}"#
        );
    }

    #[test]
    fn damaged_data_are_an_error() {
        let schema = Schema::parse(SCHEMA).unwrap();
        for end in 0..DATUM.len() {
            assert!(record(&schema, 1, &mut Reader::new(&DATUM[..end])).is_err(), "cut at {end}");
        }
    }
}
