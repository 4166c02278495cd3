#![allow(unused)]
use bellhop_core::prelude::*;

#[path = "../toy/mod.rs"]
mod toy;
use toy::*;

#[handler]
pub fn again(command: PutIn, coins: &mut Store<Coins>) {}

fn main() {}
