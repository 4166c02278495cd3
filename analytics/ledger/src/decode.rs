//! From a record of the events topic to its rows: its type, its metadata, its body.
//!
//! # Invariants
//! 1. Any bytes give rows or the reason why they have none, never a panic.
//! 2. A schema that the log did not know is asked for again, unless its caller gives it up; and
//!    that lasts until [`Decoder::ask_again`].

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
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
    /// Ids that the log does not know, and that are not waited for.
    given_up: BTreeSet<u32>,
    expander: Expander,
    own: Vec<u8>,
}

/// What a schema id stands for.
struct Writer {
    name: String,
    reads: Reads,
}

const NO_FRAME: &str = "it has no frame of a schema";

fn not_known(id: u32) -> String {
    format!("schema id {id} is not known to the log")
}

impl Writer {
    /// A datum in our schema; the buffer takes one that has to be brought into it.
    fn own<'d>(&self, datum: &'d [u8], buffer: &'d mut Vec<u8>) -> Result<&'d [u8], String> {
        match &self.reads {
            Reads::Same | Reads::Unknown(_) => Ok(datum),
            Reads::Transcode(transcode) => {
                buffer.clear();
                let brought = transcode.transcode(datum, buffer);
                brought.map_err(|error| format!("bring it into our schema: {error}"))?;
                Ok(buffer.as_slice())
            }
            Reads::Refused(why) => Err(why.clone()),
        }
    }
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

/// Whether the schema of a record is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// It is, or the record names none.
    Known,
    /// The log does not know this id now; it may later, as after a replica has caught up.
    Unknown(u32),
}

/// What became of a record.
pub enum Decoded {
    /// It gave its rows.
    Rows,
    /// It gave its row in `events` only: its type is not known to this program.
    Foreign,
    /// It has none: [`crate::parked::park`] keeps it.
    Unreadable(Box<Unreadable>),
}

/// An event that has no rows.
#[derive(Debug)]
pub struct Unreadable {
    /// Why not.
    pub cause: String,
    /// The id of its schema, where the log does not know that.
    pub unknown_schema: Option<u32>,
    /// Its Avro name; empty where it is not known.
    pub name: String,
    /// Its metadata, or what stands for them.
    pub meta: Meta,
}

impl Decoder {
    /// Learns the writer of a record. `schema_of` gives the full name and the text of a schema by
    /// its id; `None` when the log does not know it. A record whose writer is unknown is parked by
    /// [`Decoder::rows`].
    ///
    /// # Errors
    /// Those of `schema_of`.
    pub fn learn<E>(
        &mut self,
        record: &Record<'_>,
        schema_of: impl FnOnce(u32) -> Result<Option<(String, String)>, E>,
    ) -> Result<Learnt, E> {
        let Some((id, _)) = record.value.and_then(unframe) else { return Ok(Learnt::Known) };
        if let Entry::Vacant(vacant) = self.writers.entry(id) {
            let Some((name, text)) = schema_of(id)? else { return Ok(Learnt::Unknown(id)) };
            vacant.insert(Arc::new(Writer { reads: reads(&name, &text), name }));
        }
        Ok(Learnt::Known)
    }

    /// Whether nothing has to be asked of the log to read it.
    #[must_use]
    pub fn knows(&self, record: &Record<'_>) -> bool {
        let id = record.value.and_then(unframe).map(|(id, _)| id);
        id.is_none_or(|id| self.writers.contains_key(&id) || self.given_up.contains(&id))
    }

    /// Parks the events of a schema that the log does not know, and asks no more.
    pub fn give_up(&mut self, id: u32) {
        self.given_up.insert(id);
    }

    /// Whether the schema of a record was given up.
    #[must_use]
    pub fn has_given_up(&self, record: &Record<'_>) -> bool {
        let id = record.value.and_then(unframe).map(|(id, _)| id);
        id.is_some_and(|id| self.given_up.contains(&id))
    }

    /// Asks again for what was given up.
    pub fn ask_again(&mut self) {
        self.given_up.clear();
    }

    /// The name of a record's type, as far as it is known.
    #[must_use]
    pub fn name(&self, record: &Record<'_>) -> String {
        let id = record.value.and_then(unframe).map(|(id, _)| id);
        let writer = id.and_then(|id| self.writers.get(&id));
        writer.map_or_else(String::new, |writer| writer.name.clone())
    }

    /// What stands behind the frame of a record, metadata first, in our schema of its type; as it is
    /// where the type is not known here.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn own<'d>(&'d mut self, record: &Record<'d>) -> Result<&'d [u8], String> {
        let Some((id, datum)) = record.value.and_then(unframe) else {
            return Err(NO_FRAME.to_owned());
        };
        match self.writers.get(&id) {
            Some(writer) => writer.own(datum, &mut self.own),
            None => Err(not_known(id)),
        }
    }

    /// Gives the rows of a record; on [`Decoded::Unreadable`], those given are to be dropped.
    pub fn rows(&mut self, at: Position, record: &Record<'_>, to: &mut impl Take) -> Decoded {
        let unreadable = |cause: String, name: &str, meta: Option<Meta>| {
            let meta = meta.unwrap_or_else(|| nothing_known(record.timestamp));
            let name = name.to_owned();
            Decoded::Unreadable(Box::new(Unreadable { cause, unknown_schema: None, name, meta }))
        };
        let Some((id, datum)) = record.value.and_then(unframe) else {
            return unreadable(NO_FRAME.to_owned(), "", None);
        };
        let Some(writer) = self.writers.get(&id).cloned() else {
            return Decoded::Unreadable(Box::new(Unreadable {
                cause: not_known(id),
                unknown_schema: Some(id),
                name: String::new(),
                meta: nothing_known(record.timestamp),
            }));
        };
        let name = writer.name.as_str();
        let datum = match writer.own(datum, &mut self.own) {
            Ok(datum) => datum,
            Err(why) => return unreadable(why, name, None),
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
                    Decoded::Foreign
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
