//! What a handler or processor may know besides its message and stores.

use crate::message::{Meta, Position, Timestamp};
use crate::rules::Rules;

/// The circumstances of one message. There is no clock: `now` is stream time.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Stream time of the partition.
    pub now: Timestamp,
    /// The record that is handled, or that led to the event.
    pub position: Position,
    /// What the log is decided by at this position.
    pub rules: Rules,
    /// Metadata of the message.
    pub meta: &'a Meta,
    /// The message as Avro bytes, without its metadata: a store may keep them as they are.
    pub body: &'a [u8],
}
