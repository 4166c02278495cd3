//! Examples of messages as JSON, out of the annotations of the contract.
//!
//! A field has an `example` beside its `doc`, in the words of its type:
//!
//! | type | its example |
//! | --- | --- |
//! | text, number, boolean, enum, UUID | the value |
//! | date | days after the first day |
//! | list | how many items |
//! | record | `{}`: the examples of its fields |
//!
//! A field with a default and no example is left out.

use serde_json::{Map, Value};

use crate::night::Night;
use crate::schema::{Primitive, Schema, Type, TypeId};

/// A value of a type, with its dates from `first` on.
#[must_use]
pub fn of(schema: &Schema, id: TypeId, example: Option<&Value>, first: Night) -> Value {
    match schema.get(id) {
        Type::Record { fields, .. } => {
            let mut object = Map::new();
            for field in fields {
                if field.name != "meta" && (field.default.is_none() || field.example.is_some()) {
                    let value = of(schema, field.ty, field.example.as_ref(), first);
                    object.insert(field.name.clone(), value);
                }
            }
            Value::Object(object)
        }
        Type::Union(branches) => {
            let is_null =
                |ty: &Type| matches!(ty, Type::Primitive { primitive: Primitive::Null, .. });
            let not_null = branches.iter().find(|branch| !is_null(schema.get(**branch)));
            match (example, not_null) {
                (Some(_), Some(branch)) => of(schema, *branch, example, first),
                _ => Value::Null,
            }
        }
        Type::Array(items) => {
            let count = example.and_then(Value::as_u64).unwrap_or_default();
            (0..count).map(|_| of(schema, *items, None, first)).collect()
        }
        Type::Map(_) => Value::Object(Map::new()),
        Type::Enum { symbols, .. } => {
            let symbol = example.cloned().or_else(|| symbols.first().cloned().map(Value::String));
            symbol.unwrap_or_default()
        }
        Type::Fixed { .. } => {
            example.cloned().unwrap_or_else(|| "00000000-0000-4000-8000-000000000001".into())
        }
        ty @ Type::Primitive { primitive, .. } => match (ty.logical(), primitive) {
            (Some("date"), _) => {
                let days = example.and_then(Value::as_i64).unwrap_or_default();
                first.plus(i32::try_from(days).unwrap_or_default()).to_string().into()
            }
            (Some("timestamp-micros"), _) => format!("{first}T12:00:00Z").into(),
            (_, Primitive::Int | Primitive::Long | Primitive::Float | Primitive::Double) => {
                example.cloned().unwrap_or_else(|| 1.into())
            }
            (_, Primitive::Boolean) => example.cloned().unwrap_or_else(|| true.into()),
            (_, Primitive::String | Primitive::Bytes) => {
                example.cloned().unwrap_or_else(|| "x".into())
            }
            (_, Primitive::Null) => Value::Null,
        },
    }
}
