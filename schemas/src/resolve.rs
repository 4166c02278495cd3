//! Decoding with the writer's schema: a datum of an older or newer schema becomes one of ours.
//!
//! [`resolve`] compares the two schemas once, when a schema id is first met, and leaves a small
//! program ([`Transcoder`]) that copies, skips, converts and fills in, field by field. Equal
//! schemas need none ([`Resolution::Same`]), so the hot path never comes here.
//!
//! # Invariants
//! 1. Any bytes give a datum of the reader or an error, never a panic.
//! 2. What is written is bounded by the input ([`Transcoder::output_bytes_max`]), whatever counts
//!    the bytes claim; the depth of recursion is bounded as well.
//! 3. What the program writes is what our own encoder would have written, save that an array of
//!    several blocks stays one of several blocks.
//!
//! # Source
//! Apache Avro 1.12 specification, "Schema Resolution". Stricter in one thing: two different
//! logical types do not resolve, for reading milliseconds as microseconds is never right.

mod compile;
mod default;
mod run;

use std::sync::Arc;

use bellhop_core::topology::{Transcode, UnknownFields};

pub use self::compile::{Gap, compile};
pub use self::run::Transcoder;
use crate::schema::{self, Schema};

/// How data of a writer is read.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// The bytes are the same: decode them as they are.
    Same,
    /// The bytes go through a program first.
    Transcode(Arc<Transcoder>),
}

impl Resolution {
    /// As the topology wants it: `None` when the bytes are the same.
    #[must_use]
    pub fn into_transcode(self) -> Option<Arc<dyn Transcode>> {
        match self {
            Self::Same => None,
            Self::Transcode(transcoder) => Some(transcoder),
        }
    }
}

/// Why data of a writer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The writer's schema is none.
    #[error("read the writer's schema")]
    Writer(#[source] schema::Error),
    /// The reader's schema is none.
    #[error("read the reader's schema")]
    Reader(#[source] schema::Error),
    /// A field cannot be had from what the writer writes.
    #[error("resolve {at}: {what}")]
    Unresolvable {
        /// Path of field names from the record.
        at: String,
        /// What stands against it.
        what: String,
    },
    /// The writer has a field that the reader would drop.
    #[error(
        "resolve {at}: this program does not know the field; run the version that wrote it, or a newer one"
    )]
    UnknownField {
        /// Path of field names from the record.
        at: String,
    },
}

/// Compares a writer's schema with a reader's, both self-contained JSON. Commands are read with
/// [`UnknownFields::Skipped`], events with [`UnknownFields::Refused`].
///
/// # Errors
/// [`Error`], which names the field that cannot be resolved.
pub fn resolve(writer: &str, reader: &str, unknown: UnknownFields) -> Result<Resolution, Error> {
    let writer = Schema::parse(writer).map_err(Error::Writer)?;
    let reader = Schema::parse(reader).map_err(Error::Reader)?;
    let (transcoder, _) = compile(&writer, &reader, unknown)?;
    if writer.canonical() == reader.canonical() {
        return Ok(Resolution::Same);
    }
    Ok(Resolution::Transcode(Arc::new(transcoder)))
}
