//! What runs tasks: the log seam and its implementations, workers, snapshots, parked records.
//!
//! Start at [`log`], the seam, and [`worker`], the loop over it. No word of a domain.
//!
//! # Invariants
//! The clock is a seam ([`clock`]); randomness (the name of a log) is given by the caller.

pub mod clock;
pub mod log;
pub mod parked;
pub mod restore;
pub mod snapshot;
pub mod verify;
pub mod wiring;
pub mod worker;
