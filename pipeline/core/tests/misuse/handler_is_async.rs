#![allow(unused)]
use bellhop_core::prelude::*;

#[path = "../toy/mod.rs"]
mod toy;
use toy::*;

#[handler]
pub async fn again(command: PutIn) {}

fn main() {}
