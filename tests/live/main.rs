//! Workers on real brokers: processes killed and stopped, brokers killed, groups that change, bad
//! records, a network that is cut. Whatever happens, every command has one outcome, and the events
//! are those of the embedded log for the same commands.
//!
//! One cluster serves all tests of this binary; what takes time has it alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says where")]

mod at_least_once;
mod bad_input;
mod brokers;
mod embedded;
mod faults;
mod headers;
mod house;
mod memory;
mod network;
mod only_broker;
mod processes;
mod rebalances;
mod registry;
mod sabotage;
mod security;
mod standbys;
mod tools;
mod troubles;
