#![allow(unused)]
use bellhop_core::prelude::*;

#[path = "../toy/mod.rs"]
mod toy;
use toy::*;

#[processor]
pub fn again(event: PutInDone, coins: &mut Store<Coins>) {}

fn main() {}
