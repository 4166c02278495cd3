//! The machine of bellhop: it decides commands in order, exactly once, and knows no domain.
//!
//! Start at [`task::Task`], the state machine of a partition; [`call`] is one call of a handler inside it,
//! [`topology`] the wiring that the attributes of `bellhop_macros` register.
//!
//! # Invariants
//! No clock, no randomness, no thread, no file, no socket: same input, same output.

extern crate self as bellhop_core;

pub mod avro;
pub mod call;
pub mod context;
pub mod dedupe;
pub mod describe;
pub mod driver;
pub mod emit;
pub mod engine;
pub mod handler;
pub mod hash;
pub mod headers;
pub mod history;
pub mod limits;
pub mod message;
pub mod outcome;
pub mod partition;
pub mod processor;
pub mod record;
pub mod registry;
pub mod rules;
pub mod store;
pub mod task;
pub mod timer;
pub mod topology;

#[doc(hidden)]
pub use linkme;

/// What a file of handlers needs.
pub mod prelude {
    pub use bellhop_macros::{Avro, Command, Event, Timer, handler, processor};

    pub use crate::context::Context;
    pub use crate::handler::Refusal;
    pub use crate::message::{Message, Timestamp};
    pub use crate::store::{State, Store, StoreKey};
    pub use crate::timer::Timers;
}
