//! One suite for the seam of the log, run on each of its implementations.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says where")]

mod cluster;
mod consumers;
mod embedded;
mod redpanda;
mod simulated;
mod suite;
mod troubles;
