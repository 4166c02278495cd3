//! What the integration suites share: a toy domain, a load, and hands to drive a log with.

pub mod avail;
pub mod datum;
pub mod hands;
pub mod sim;
pub mod toy;
