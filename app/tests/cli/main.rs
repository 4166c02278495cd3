//! The built binary, as people use it: arguments and input in, words and exit codes out.

#![expect(clippy::expect_used, reason = "a test that cannot start a process says so and fails")]

mod harness;

mod bad_input;
mod clickhouse;
mod cluster;
mod commands;
mod demo;
mod examples;
mod figures;
mod kill;
mod lake;
mod operator;
mod replay;
mod rules;
mod stays;
mod stub_registry;
