#![allow(unused)]
use bellhop_core::prelude::*;

#[path = "../toy/mod.rs"]
mod toy;
use toy::*;

#[derive(Debug, Avro, Command)]
#[avro(name = "toy.Keyless")]
pub struct Keyless {
    pub coins: i64,
}

fn main() {}
