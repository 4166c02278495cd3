//! Avro schemas as values: parsed from JSON, named types resolved, shapes compared.
//!
//! # Invariants
//! 1. Every [`TypeId`] of a schema is a type of it; names were resolved when it was parsed.
//! 2. Any text gives a schema or an error, never a panic; what is parsed is as deep as JSON may
//!    be (128 levels).
//!
//! # Source
//! Apache Avro 1.12 specification, "Schema Declaration", "Names", "Parsing Canonical Form".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A type within its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(usize);

impl TypeId {
    /// Its place among all types of the schema, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// A self-contained schema.
#[derive(Debug, Clone)]
pub struct Schema {
    types: Vec<Type>,
    root: TypeId,
}

/// One type of a schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// A type without parts.
    Primitive {
        /// Which.
        primitive: Primitive,
        /// What its values mean, as `date`.
        logical: Option<String>,
    },
    /// So many bytes.
    Fixed {
        /// Full name and other names.
        name: Names,
        /// Length in bytes.
        size: usize,
        /// What its values mean, as `uuid`.
        logical: Option<String>,
    },
    /// One of some symbols.
    Enum {
        /// Full name and other names.
        name: Names,
        /// The symbols in the order of their numbers.
        symbols: Vec<String>,
        /// The symbol that stands for one that a reader does not know.
        default: Option<String>,
    },
    /// Values of one type in order.
    Array(TypeId),
    /// Values of one type by text.
    Map(TypeId),
    /// A value of one of some types.
    Union(Vec<TypeId>),
    /// Fields in order.
    Record {
        /// Full name and other names.
        name: Names,
        /// The fields.
        fields: Vec<Field>,
    },
}

/// A type without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primitive {
    /// Nothing.
    Null,
    /// True or false.
    Boolean,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// IEEE 754, 32 bits.
    Float,
    /// IEEE 754, 64 bits.
    Double,
    /// Bytes.
    Bytes,
    /// UTF-8 text.
    String,
}

impl Primitive {
    const ALL: [Self; 8] = [
        Self::Null,
        Self::Boolean,
        Self::Int,
        Self::Long,
        Self::Float,
        Self::Double,
        Self::Bytes,
        Self::String,
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|primitive| primitive.as_str() == name)
    }

    /// Its name in a schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
        }
    }
}

/// The names of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// With namespace.
    pub full: String,
    /// Full names that it had before.
    pub aliases: Vec<String>,
}

impl Names {
    /// Without namespace.
    #[must_use]
    pub fn short(&self) -> &str {
        self.full.rsplit('.').next().unwrap_or(&self.full)
    }
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Names that it had before.
    pub aliases: Vec<String>,
    /// Its type.
    pub ty: TypeId,
    /// What a reader takes when the writer has no such field.
    pub default: Option<Value>,
    /// What it means.
    pub doc: Option<String>,
    /// What its number counts; an annotation of our own.
    pub unit: Option<String>,
    /// A value for an example ([`crate::example`]); an annotation of our own.
    pub example: Option<Value>,
}

/// Why text is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not JSON.
    #[error("read a schema: not JSON, {what}")]
    NotJson {
        /// What the parser says.
        what: String,
    },
    /// A part of it is not what Avro wants there.
    #[error("read a schema: {at}: {what}")]
    Malformed {
        /// Path of names from the root.
        at: String,
        /// What is wrong.
        what: String,
    },
}

impl Schema {
    /// Reads a self-contained schema.
    ///
    /// # Errors
    /// [`Error`], which names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let json: Value = serde_json::from_str(text)
            .map_err(|error| Error::NotJson { what: error.to_string() })?;
        Self::from_json(&json)
    }

    /// Reads a self-contained schema.
    ///
    /// # Errors
    /// As [`Schema::parse`].
    pub fn from_json(json: &Value) -> Result<Self, Error> {
        let mut parser = Parser { types: Vec::new(), names: BTreeMap::new(), path: Vec::new() };
        let root = parser.any(json, "")?;
        let types = parser.types.into_iter().map(|ty| ty.unwrap_or(Type::NULL)).collect();
        Ok(Self { types, root })
    }

    /// The type of a whole datum.
    #[must_use]
    pub fn root(&self) -> TypeId {
        self.root
    }

    /// A type of this schema.
    ///
    /// # Panics
    /// For an id of another schema.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0]
    }

    /// All its types, each at its index; a type stands before its parts.
    #[must_use]
    pub fn types(&self) -> &[Type] {
        &self.types
    }

    /// Text that is the same for schemas of the same bytes: no docs, defaults, aliases, logical
    /// types, and a named type whole only where it comes first.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.write_canonical(self.root, &mut vec![false; self.types.len()], &mut text);
        text
    }

    fn write_canonical(&self, id: TypeId, written: &mut [bool], text: &mut String) {
        let again = std::mem::replace(&mut written[id.0], true);
        match self.get(id) {
            Type::Primitive { primitive, .. } => {
                let _ = write!(text, "\"{}\"", primitive.as_str());
            }
            Type::Fixed { name, .. } | Type::Enum { name, .. } | Type::Record { name, .. }
                if again =>
            {
                let _ = write!(text, "\"{}\"", name.full);
            }
            Type::Fixed { name, size, .. } => {
                let _ = write!(text, r#"{{"name":"{}","type":"fixed","size":{size}}}"#, name.full);
            }
            Type::Enum { name, symbols, .. } => {
                let _ = write!(text, r#"{{"name":"{}","type":"enum","symbols":["#, name.full);
                for (index, symbol) in symbols.iter().enumerate() {
                    let _ = write!(text, "{}\"{symbol}\"", comma(index));
                }
                text.push_str("]}");
            }
            Type::Array(items) => {
                text.push_str(r#"{"type":"array","items":"#);
                self.write_canonical(*items, written, text);
                text.push('}');
            }
            Type::Map(values) => {
                text.push_str(r#"{"type":"map","values":"#);
                self.write_canonical(*values, written, text);
                text.push('}');
            }
            Type::Union(branches) => {
                text.push('[');
                for (index, branch) in branches.iter().enumerate() {
                    text.push_str(comma(index));
                    self.write_canonical(*branch, written, text);
                }
                text.push(']');
            }
            Type::Record { name, fields } => {
                let _ = write!(text, r#"{{"name":"{}","type":"record","fields":["#, name.full);
                for (index, field) in fields.iter().enumerate() {
                    let _ = write!(text, r#"{}{{"name":"{}","type":"#, comma(index), field.name);
                    self.write_canonical(field.ty, written, text);
                    text.push('}');
                }
                text.push_str("]}");
            }
        }
    }
}

fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

impl Type {
    const NULL: Self = Self::Primitive { primitive: Primitive::Null, logical: None };

    /// The names, of a type that has some.
    #[must_use]
    pub fn names(&self) -> Option<&Names> {
        match self {
            Self::Fixed { name, .. } | Self::Enum { name, .. } | Self::Record { name, .. } => {
                Some(name)
            }
            Self::Primitive { .. } | Self::Array(_) | Self::Map(_) | Self::Union(_) => None,
        }
    }

    /// What its values mean beyond their bytes.
    #[must_use]
    pub fn logical(&self) -> Option<&str> {
        match self {
            Self::Primitive { logical, .. } | Self::Fixed { logical, .. } => logical.as_deref(),
            Self::Enum { .. }
            | Self::Array(_)
            | Self::Map(_)
            | Self::Union(_)
            | Self::Record { .. } => None,
        }
    }

    /// In words, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Primitive { primitive, logical: None } => primitive.as_str().to_owned(),
            Self::Primitive { primitive, logical: Some(logical) } => {
                format!("{} ({logical})", primitive.as_str())
            }
            Self::Fixed { name, size, .. } => format!("fixed {} of {size} bytes", name.full),
            Self::Enum { name, .. } => format!("enum {}", name.full),
            Self::Array(_) => "array".to_owned(),
            Self::Map(_) => "map".to_owned(),
            Self::Union(_) => "union".to_owned(),
            Self::Record { name, .. } => format!("record {}", name.full),
        }
    }
}

/// Types are numbered before their parts are read, so that a part may name what it is in.
struct Parser {
    types: Vec<Option<Type>>,
    names: BTreeMap<String, TypeId>,
    path: Vec<String>,
}

impl Parser {
    fn malformed(&self, what: impl Into<String>) -> Error {
        let at = match self.path.as_slice() {
            [] => "the schema".to_owned(),
            path => path.join("."),
        };
        Error::Malformed { at, what: what.into() }
    }

    fn check_name(&self, name: &str) -> Result<(), Error> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let fits =
            name.bytes().all(word) && !name.starts_with(|first: char| first.is_ascii_digit());
        if fits && !name.is_empty() {
            return Ok(());
        }
        Err(self.malformed(format!("{name:?} is no name; names are letters, digits and _")))
    }

    fn reserve(&mut self) -> TypeId {
        self.types.push(None);
        TypeId(self.types.len() - 1)
    }

    fn add(&mut self, ty: Type) -> TypeId {
        self.types.push(Some(ty));
        TypeId(self.types.len() - 1)
    }

    fn any(&mut self, json: &Value, namespace: &str) -> Result<TypeId, Error> {
        match json {
            Value::String(name) => self.named(name, None, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => match object.get("type") {
                Some(Value::String(kind)) => self.object(kind, object, namespace),
                Some(inner @ (Value::Object(_) | Value::Array(_))) => self.any(inner, namespace),
                _ => Err(self.malformed("an object without \"type\"")),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                Err(self.malformed(format!("{json} where a type belongs")))
            }
        }
    }

    /// A primitive, or a named type that was defined before.
    fn named(
        &mut self,
        name: &str,
        logical: Option<String>,
        namespace: &str,
    ) -> Result<TypeId, Error> {
        if let Some(primitive) = Primitive::from_name(name) {
            return Ok(self.add(Type::Primitive { primitive, logical }));
        }
        let known = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
        known.copied().ok_or_else(|| self.malformed(format!("the type {name} is not defined")))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<TypeId, Error> {
        let id = self.reserve();
        let mut ids = Vec::new();
        for branch in branches {
            if branch.is_array() {
                return Err(self.malformed("a union directly within a union"));
            }
            ids.push(self.any(branch, namespace)?);
        }
        if ids.is_empty() {
            return Err(self.malformed("a union without branches"));
        }
        self.types[id.0] = Some(Type::Union(ids));
        Ok(id)
    }

    fn object(
        &mut self,
        kind: &str,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<TypeId, Error> {
        let logical = object.get("logicalType").and_then(Value::as_str).map(str::to_owned);
        match kind {
            "array" => {
                let id = self.reserve();
                let items = self.part(object, "items", namespace)?;
                self.types[id.0] = Some(Type::Array(items));
                Ok(id)
            }
            "map" => {
                let id = self.reserve();
                let values = self.part(object, "values", namespace)?;
                self.types[id.0] = Some(Type::Map(values));
                Ok(id)
            }
            "fixed" => {
                let (id, name, _) = self.define(object, namespace)?;
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| self.malformed("a fixed without \"size\""))?;
                self.types[id.0] = Some(Type::Fixed { name, size, logical });
                Ok(id)
            }
            "enum" => {
                let (id, name, _) = self.define(object, namespace)?;
                let symbols = texts(object.get("symbols"));
                let symbols = symbols.filter(|symbols| !symbols.is_empty());
                let symbols =
                    symbols.ok_or_else(|| self.malformed("an enum without \"symbols\""))?;
                for symbol in &symbols {
                    self.check_name(symbol)?;
                }
                let default = object.get("default").and_then(Value::as_str).map(str::to_owned);
                if let Some(default) = default.as_ref().filter(|text| !symbols.contains(text)) {
                    return Err(self.malformed(format!("the default {default} is no symbol")));
                }
                self.types[id.0] = Some(Type::Enum { name, symbols, default });
                Ok(id)
            }
            "record" | "error" => self.record(object, namespace),
            primitive => self.named(primitive, logical, namespace),
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, Error> {
        let (id, name, inner) = self.define(object, namespace)?;
        let Some(Value::Array(list)) = object.get("fields") else {
            return Err(self.malformed(format!("the record {} without \"fields\"", name.full)));
        };
        let mut fields: Vec<Field> = Vec::new();
        for json in list {
            let field_name = json.get("name").and_then(Value::as_str);
            let field_name = field_name
                .ok_or_else(|| self.malformed(format!("a field of {} has no name", name.full)))?;
            self.check_name(field_name)?;
            if fields.iter().any(|field| field.name == field_name) {
                return Err(self.malformed(format!("two fields have the name {field_name}")));
            }
            self.path.push(field_name.to_owned());
            let ty = json.get("type").ok_or_else(|| self.malformed("a field without \"type\""))?;
            let ty = self.any(ty, &inner)?;
            self.path.pop();
            fields.push(Field {
                name: field_name.to_owned(),
                aliases: texts(json.get("aliases")).unwrap_or_default(),
                ty,
                default: json.get("default").cloned(),
                doc: json.get("doc").and_then(Value::as_str).map(str::to_owned),
                unit: json.get("unit").and_then(Value::as_str).map(str::to_owned),
                example: json.get("example").cloned(),
            });
        }
        self.types[id.0] = Some(Type::Record { name, fields });
        Ok(id)
    }

    fn part(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        namespace: &str,
    ) -> Result<TypeId, Error> {
        let json = object.get(key);
        self.any(json.ok_or_else(|| self.malformed(format!("no \"{key}\"")))?, namespace)
    }

    /// Registers a name; also gives the namespace of what is inside.
    fn define(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<(TypeId, Names, String), Error> {
        let name = object.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| self.malformed("a named type without \"name\""))?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, namespace);
        for part in full.split('.') {
            self.check_name(part)?;
        }
        let inner = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let aliases = texts(object.get("aliases")).unwrap_or_default();
        let aliases = aliases.iter().map(|alias| full_name(alias, &inner)).collect();
        let id = self.reserve();
        if self.names.insert(full.clone(), id).is_some() {
            return Err(self.malformed(format!("two types have the name {full}")));
        }
        Ok((id, Names { full, aliases }, inner))
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn texts(json: Option<&Value>) -> Option<Vec<String>> {
    let list = json?.as_array()?;
    list.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_the_namespace_they_stand_in() {
        let text = r#"{"type":"record","name":"a.b.R","fields":[
            {"name":"x","type":{"type":"fixed","name":"F","size":2}},
            {"name":"y","type":["null","F","a.b.R"]}]}"#;
        let schema = Schema::parse(text).unwrap();
        assert_eq!(
            schema.canonical(),
            r#"{"name":"a.b.R","type":"record","fields":[{"name":"x","type":{"name":"a.b.F","type":"fixed","size":2}},{"name":"y","type":["null","a.b.F","a.b.R"]}]}"#
        );
    }

    #[test]
    fn an_error_names_the_field() {
        let text = r#"{"type":"record","name":"R","fields":[
            {"name":"x","type":{"type":"array","items":"Unknown"}}]}"#;
        let error = Schema::parse(text).unwrap_err();
        assert_eq!(error.to_string(), "read a schema: x: the type Unknown is not defined");
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for text in [
            "",
            "7",
            "{}",
            "[]",
            r#"[["null"]]"#,
            r#"{"type":"fixed","name":"F","size":-1}"#,
            r#"{"type":"enum","name":"E","symbols":[]}"#,
            r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#,
            r#"{"type":"fixed","name":"a\"b","size":1}"#,
            r#"{"type":"record","name":"R"}"#,
            r#"{"type":"record","name":"R","fields":[{"name":"x"}]}"#,
            r#"{"type":"record","name":"R","fields":[{"name":"x","type":"int"},{"name":"x","type":"int"}]}"#,
            &"{\"type\":\"array\",\"items\":".repeat(10_000),
        ] {
            assert!(Schema::parse(text).is_err(), "{text}");
        }
    }
}
