//! A file of bookings becomes the commands that a hotel would have sent, each at its time.
//!
//! Start at [`import::Import::read`]; [`schedule`] orders what the rows led to, [`capacity`] finds
//! the rooms the hotels must have had, [`commands`] says it all in commands.
//!
//! # Invariants
//! 1. The same file under the same options gives the same commands in the same order, with the same
//!    ids, keys and times: a replay that was cut off goes on by counting them.
//! 2. Row numbers, never contents, tell bookings apart: 31,994 rows of the data set equal another.

pub(crate) mod capacity;
pub(crate) mod commands;
pub(crate) mod import;
pub(crate) mod row;
pub(crate) mod schedule;
