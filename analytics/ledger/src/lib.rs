//! The expansion of events into rows, for every engine that keeps them.
//!
//! Start at [`decode::Decoder`]: a record of the events topic goes in, written with any schema, and
//! [`Expander::event`] gives the rows of its event one by one, borrowed, into whatever [`Take`]s them. [`row`] says what a row is made of, the modules of the tables what each
//! column means. There is no Arrow here, no SQL, no I/O.
//!
//! # Invariants
//! 1. A row needs one event and nothing before it, so any stretch of the stream can be expanded
//!    anew, and gives the same rows.
//! 2. What an event takes back is a row of the opposite sign with the original dimensions: every
//!    figure is a sum, and a figure as of the past is the same sum over fewer rows.

pub mod row;

pub mod decode;

pub mod bookings;
pub mod catalog;
pub mod events;
pub mod history;
pub mod parked;
pub mod refusals;
pub mod room_nights;
pub mod supply;

mod error;
mod expand;
mod json;

#[cfg(test)]
mod departures;

pub use error::Error;
pub use expand::{Expander, KNOWN, Known};
pub use row::{Column, Id, Kind, Put, Row, Table, Take};
