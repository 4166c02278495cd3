//! What runs tasks: the log seam and its implementations, workers, snapshots, parked records,
//! spans.
//!
//! Start at [`log`], the seam, and [`worker`], the loop over it. No word of a domain.
//!
//! # Invariants
//! The clock is a seam ([`clock`]); randomness is given by the caller (the
//! name of a log), but for the names of transactions and of traces that begin here.

pub mod clock;
pub mod log;
pub mod parked;
pub mod registry;
pub mod restore;
pub mod schemas_on_disk;
pub mod snapshot;
pub mod standby;
pub mod telemetry;
pub mod timeline;
pub mod verify;
mod web;
pub mod wiring;
pub mod worker;
