//! From a record of the events topic to its rows: its type, its metadata, its body.
//!
//! # Invariants
//! Any bytes give rows or the reason why they have none, never a panic.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bellhop_core::avro::{Avro as _, Reader as Avro};
use bellhop_core::message::{Meta, Position, Timestamp};
use bellhop_core::record::{Record, unframe};
use bellhop_core::topology::{Transcode, UnknownFields};
use bellhop_schemas::resolve;
use bellhop_schemas::schema::{Schema, Type};
use uuid::Uuid;

use crate::expand::{Expander, KNOWN};
use crate::json;
use crate::row::Take;

/// Reads events written with any schema that the log knows.
#[derive(Default)]
pub struct Decoder {
    writers: HashMap<u32, Arc<Writer>>,
    expander: Expander,
    own: Vec<u8>,
}

/// What a schema id stands for.
struct Writer {
    name: String,
    reads: Reads,
}

enum Reads {
    /// As it is.
    Same,
    /// Brought into our schema first.
    Transcode(Arc<dyn Transcode>),
    /// A type that is not known here.
    Unknown(Schema),
    /// Not at all.
    Refused(String),
}

/// What became of a record.
pub enum Decoded {
    /// It gave its rows.
    Rows,
    /// It has none: [`crate::parked::park`] keeps it.
    Unreadable(Box<Unreadable>),
}

/// An event that has no rows.
#[derive(Debug)]
pub struct Unreadable {
    /// Why not.
    pub cause: String,
    /// Its Avro name; empty where it is not known.
    pub name: String,
    /// Its metadata, or what stands for them.
    pub meta: Meta,
}

impl Decoder {
    /// Makes sure that the writer of a record is known. `schema_of` gives the full name and the text
    /// of a schema by its id; `None` when the log does not know it.
    ///
    /// # Errors
    /// Those of `schema_of`.
    pub fn learn<E>(
        &mut self,
        record: &Record<'_>,
        schema_of: impl FnOnce(u32) -> Result<Option<(String, String)>, E>,
    ) -> Result<(), E> {
        let Some((id, _)) = record.value.and_then(unframe) else { return Ok(()) };
        if let Entry::Vacant(vacant) = self.writers.entry(id) {
            let writer = match schema_of(id)? {
                Some((name, text)) => Writer { reads: reads(&name, &text), name },
                None => Writer {
                    reads: Reads::Refused(format!("schema id {id} is not known to the log")),
                    name: String::new(),
                },
            };
            vacant.insert(Arc::new(writer));
        }
        Ok(())
    }

    /// Whether nothing has to be asked of the log to read it.
    #[must_use]
    pub fn knows(&self, record: &Record<'_>) -> bool {
        let id = record.value.and_then(unframe).map(|(id, _)| id);
        id.is_none_or(|id| self.writers.contains_key(&id))
    }

    /// The name of a record's type, as far as it is known.
    #[must_use]
    pub fn name(&self, record: &Record<'_>) -> String {
        let id = record.value.and_then(unframe).map(|(id, _)| id);
        let writer = id.and_then(|id| self.writers.get(&id));
        writer.map_or_else(String::new, |writer| writer.name.clone())
    }

    /// Gives the rows of a record; on [`Decoded::Unreadable`], those given are to be dropped.
    pub fn rows(&mut self, at: Position, record: &Record<'_>, to: &mut impl Take) -> Decoded {
        let unreadable = |cause: String, name: &str, meta: Option<Meta>| {
            let meta = meta.unwrap_or_else(|| nothing_known(record.timestamp));
            Decoded::Unreadable(Box::new(Unreadable { cause, name: name.to_owned(), meta }))
        };
        let Some((id, datum)) = record.value.and_then(unframe) else {
            return unreadable("it has no frame of a schema".to_owned(), "", None);
        };
        let Some(writer) = self.writers.get(&id).cloned() else {
            return unreadable(format!("schema id {id} is not known to the log"), "", None);
        };
        let name = writer.name.as_str();
        let datum = match &writer.reads {
            Reads::Same | Reads::Unknown(_) => datum,
            Reads::Transcode(transcode) => {
                self.own.clear();
                if let Err(error) = transcode.transcode(datum, &mut self.own) {
                    return unreadable(format!("bring it into our schema: {error}"), name, None);
                }
                self.own.as_slice()
            }
            Reads::Refused(why) => return unreadable(why.clone(), name, None),
        };
        let mut reader = Avro::new(datum);
        let meta = match Meta::decode(&mut reader) {
            Ok(meta) => meta,
            Err(error) => return unreadable(format!("decode its meta: {error}"), name, None),
        };
        if let Reads::Unknown(schema) = &writer.reads {
            return match json::record(schema, 1, &mut reader) {
                Ok(payload) => {
                    let payload = payload.to_string();
                    self.expander.unknown(at, name, &meta, Some(&payload), to);
                    Decoded::Rows
                }
                Err(error) => unreadable(format!("write it as JSON: {error}"), name, Some(meta)),
            };
        }
        match self.expander.event(at, name, &meta, reader.rest(), to) {
            Ok(()) => Decoded::Rows,
            Err(error) => unreadable(chain(&error), name, Some(meta)),
        }
    }
}

fn reads(name: &str, text: &str) -> Reads {
    let refused = |why: String| Reads::Refused(format!("read the schema of {name}: {why}"));
    if let Some(known) = KNOWN.iter().find(|known| known.name == name) {
        // Rows come of single events: a field more than is known here takes nothing from them.
        return match resolve::resolve(text, &(known.schema)(), UnknownFields::Skipped) {
            Ok(resolution) => match resolution.into_transcode() {
                None => Reads::Same,
                Some(transcode) => Reads::Transcode(transcode),
            },
            Err(error) => refused(chain(&error)),
        };
    }
    let schema = match Schema::parse(text) {
        Ok(schema) => schema,
        Err(error) => return refused(chain(&error)),
    };
    // The metadata come first and are ours; without them it is no event.
    let has_meta = match schema.get(schema.root()) {
        Type::Record { fields, .. } => fields.first().is_some_and(|field| {
            let names = schema.get(field.ty).names();
            field.name == "meta" && names.is_some_and(|names| names.full == "bellhop.Meta")
        }),
        Type::Primitive { .. }
        | Type::Fixed { .. }
        | Type::Enum { .. }
        | Type::Array(_)
        | Type::Map(_)
        | Type::Union(_) => false,
    };
    if has_meta {
        Reads::Unknown(schema)
    } else {
        refused("its first field is not the meta of an event".to_owned())
    }
}

/// What stands for the metadata of an event whose own cannot be had.
#[must_use]
pub fn nothing_known(timestamp: Timestamp) -> Meta {
    Meta {
        message_id: Uuid::nil(),
        idempotency_key: None,
        correlation_id: None,
        causation_id: None,
        occurred_at: timestamp,
        source: None,
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
