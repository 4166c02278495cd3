//! The reservation domain: what is decided, and what is remembered.
//!
//! Start at [`command::create_reservation`]. A file in `command/` decides one command, a file in
//! `processor/` applies one event, a file in `state/` holds one store.
//!
//! # Invariants
//! 1. Handlers read and processors write; what a processor writes is all in its event.
//! 2. No request takes a night above its limit; facts are recorded and list what they oversell.
//! 3. No clock, no randomness, no I/O: time is stream time, zones are those compiled in.

pub mod command;
pub mod processor;
pub mod state;

pub mod rejection;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod day_uses;
#[cfg(test)]
mod fields;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod replies;
