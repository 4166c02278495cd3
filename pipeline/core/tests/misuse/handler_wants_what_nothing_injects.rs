#![allow(unused)]
use bellhop_core::prelude::*;

#[path = "../toy/mod.rs"]
mod toy;
use toy::*;

#[handler]
pub fn again(command: PutIn, clock: &std::time::Instant) {}

fn main() {}
