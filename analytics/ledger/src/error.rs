//! Why an event has no rows.

use bellhop_core::avro::DecodeError;
use bellhop_core::message::Position;

/// An event that cannot be expanded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its type cannot read it.
    #[error("expand event {at} of type {name}")]
    Decode {
        /// Where it lies.
        at: Position,
        /// Its Avro record name.
        name: String,
        /// The cause.
        source: DecodeError,
    },
    /// An amount does not fit 64 bits once multiplied by its units.
    #[error("expand event {at}: units times price do not fit 64 bits")]
    AmountOverflow {
        /// Where it lies.
        at: Position,
    },
    /// It cannot be written as JSON.
    #[error("write event {at} as JSON")]
    Json {
        /// Where it lies.
        at: Position,
        /// The cause.
        source: serde_json::Error,
    },
}
