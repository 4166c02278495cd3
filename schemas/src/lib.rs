//! The messages of bellhop: commands in, events out, and the types they are made of.
//!
//! The `.avsc` files under `avro/` are the contract ([`contract`]); a test holds each Rust type
//! against its file, field by field. Start at [`command`] and [`event`]; [`resolve`] reads what
//! was written with another version of a schema, [`compat`] keeps that possible.

pub mod command;
pub mod event;
pub mod timer;

pub mod country;
pub mod dimensions;
pub mod ids;
pub mod instant;
pub mod money;
pub mod night;
pub mod reason;
pub mod stay;

pub mod compat;
pub mod contract;
pub mod example;
pub mod resolve;
pub mod schema;
