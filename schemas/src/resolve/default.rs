//! The bytes of a default value.

use bellhop_core::avro::{write_bytes, write_long};
use serde_json::Value;

use crate::schema::{Primitive, Schema, Type, TypeId};

/// Deepest nesting of a default; a record whose default is itself would not end.
const DEPTH_MAX: usize = 32;

/// Appends a default as a datum of `ty`; the error says what does not fit.
pub(super) fn encode(
    schema: &Schema,
    ty: TypeId,
    json: &Value,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err("the default does not end".to_owned());
    }
    let ty = schema.get(ty);
    let misfit = || format!("the default {json} is no {}", ty.describe());
    let inner =
        |id: TypeId, json: &Value, out: &mut Vec<u8>| encode(schema, id, json, depth + 1, out);
    match (ty, json) {
        (Type::Primitive { primitive, .. }, _) => {
            encode_primitive(*primitive, json, out).ok_or_else(misfit)
        }
        (Type::Fixed { size, .. }, Value::String(text)) => {
            let bytes = latin1(text).filter(|bytes| bytes.len() == *size).ok_or_else(misfit)?;
            out.extend_from_slice(&bytes);
            Ok(())
        }
        (Type::Enum { symbols, .. }, Value::String(text)) => {
            let number = symbols.iter().position(|symbol| symbol == text).ok_or_else(misfit)?;
            write_long(number as i64, out);
            Ok(())
        }
        (Type::Array(items), Value::Array(list)) => {
            if !list.is_empty() {
                write_long(list.len() as i64, out);
                list.iter().try_for_each(|item| inner(*items, item, out))?;
            }
            out.push(0);
            Ok(())
        }
        (Type::Map(values), Value::Object(map)) => {
            if !map.is_empty() {
                write_long(map.len() as i64, out);
                for (key, value) in map {
                    write_bytes(key.as_bytes(), out);
                    inner(*values, value, out)?;
                }
            }
            out.push(0);
            Ok(())
        }
        (Type::Union(branches), _) => {
            let start = out.len();
            for (index, branch) in branches.iter().enumerate() {
                out.truncate(start);
                write_long(index as i64, out);
                if inner(*branch, json, out).is_ok() {
                    return Ok(());
                }
            }
            out.truncate(start);
            Err(misfit())
        }
        (Type::Record { fields, .. }, Value::Object(map)) => {
            for field in fields {
                let value = map.get(&field.name).or(field.default.as_ref());
                inner(field.ty, value.ok_or_else(misfit)?, out)?;
            }
            Ok(())
        }
        (
            Type::Fixed { .. }
            | Type::Enum { .. }
            | Type::Array(_)
            | Type::Map(_)
            | Type::Record { .. },
            _,
        ) => Err(misfit()),
    }
}

fn encode_primitive(primitive: Primitive, json: &Value, out: &mut Vec<u8>) -> Option<()> {
    match primitive {
        Primitive::Null => json.as_null()?,
        Primitive::Boolean => out.push(u8::from(json.as_bool()?)),
        Primitive::Int => write_long(i64::from(i32::try_from(json.as_i64()?).ok()?), out),
        Primitive::Long => write_long(json.as_i64()?, out),
        Primitive::Float => out.extend_from_slice(&(json.as_f64()? as f32).to_le_bytes()),
        Primitive::Double => out.extend_from_slice(&json.as_f64()?.to_le_bytes()),
        Primitive::Bytes => write_bytes(&latin1(json.as_str()?)?, out),
        Primitive::String => write_bytes(json.as_str()?.as_bytes(), out),
    }
    Some(())
}

/// Bytes in a default are written as the characters U+0000 to U+00FF.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok()).collect()
}
