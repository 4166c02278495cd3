//! Workers on real brokers: processes killed and stopped, brokers killed, groups that change, bad
//! records. Whatever happens, every command has one outcome, and the events are what a fresh task
//! decides of the same commands.
//!
//! One cluster serves all tests of this binary; what takes time has it alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says where")]

mod bad_input;
mod brokers;
mod house;
mod processes;
mod rebalances;
mod registry;
mod sabotage;
