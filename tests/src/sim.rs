//! The simulation: workers on a log that has every accident, and what must hold afterwards.
//!
//! A seed decides all of it ([`plan::Plan`]). [`crew::run`] sends random commands and steps the
//! workers until all is committed; [`check::check`] then reads the log and knows nothing of how it
//! came about. `tests/simulation` runs the seeds.

pub mod check;
pub mod commands;
pub mod crew;
pub mod house;
pub mod mutant;
pub mod plan;
pub mod writers;

// Without this the linker drops the handlers, and nobody would decide the commands of `schemas`.
use bellhop_handlers as _;
