//! Bytes from outside never panic the machine, and what it accepts it can fold again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says where")]

mod embedded;
mod files;
mod records;
mod schemas;
mod state;
mod world;
