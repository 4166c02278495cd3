//! Commands on their way into a log, encoded one behind another.

use bellhop_core::message::{MessageKey as _, Meta, Timestamp};
use bellhop_core::record::Header;
use bellhop_core::topology::Wire;
use bellhop_runtime::log::Command;

use crate::command::AnyCommand;

/// Encoded commands.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<Ends>,
}

#[derive(Debug)]
struct Ends {
    start: usize,
    key: usize,
    value: usize,
    at: Timestamp,
}

impl Outbox {
    /// Adds a command.
    pub(crate) fn push(&mut self, command: &AnyCommand, meta: &Meta, at: Timestamp, wire: &Wire) {
        let start = self.bytes.len();
        command.property_id().write(&mut self.bytes);
        let key = self.bytes.len();
        command.write_value(meta, wire, &mut self.bytes);
        self.ends.push(Ends { start, key, value: self.bytes.len(), at });
    }

    /// All of them, each with these headers.
    pub(crate) fn commands<'a>(&'a self, headers: &'a [Header<'a>]) -> Vec<Command<'a>> {
        let command = |ends: &Ends| Command {
            key: &self.bytes[ends.start..ends.key],
            value: &self.bytes[ends.key..ends.value],
            timestamp: ends.at,
            headers,
        };
        self.ends.iter().map(command).collect()
    }

    /// Empties it and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
