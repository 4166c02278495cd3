//! The suite of the log and a crash of the only broker once more, with the broker in a container:
//! Redpanda, or else Apache Kafka. The tests are those of `conformance` and `live`.
//!
//! `cargo xtask test` runs this where a Docker engine is; without one it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says where")]

mod broker;
mod cluster;
mod crash;
mod reaper;

#[path = "../conformance/consumers.rs"]
mod consumers;
#[path = "../live/embedded.rs"]
mod embedded;
#[path = "../live/house.rs"]
#[allow(dead_code, reason = "the live tests use all of it")]
mod house;
#[path = "../live/only_broker.rs"]
mod only_broker;
#[path = "../conformance/redpanda.rs"]
mod redpanda;
#[path = "../conformance/suite.rs"]
mod suite;
#[path = "../conformance/troubles.rs"]
#[allow(dead_code, reason = "the simulated log uses all of it")]
mod troubles;
