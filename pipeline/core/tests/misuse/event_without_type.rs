#![allow(unused)]
use bellhop_core::prelude::*;

#[path = "../toy/mod.rs"]
mod toy;
use toy::*;

#[derive(Debug, Avro, Event)]
#[avro(name = "toy.Typeless")]
#[message(key = box_id)]
pub struct Typeless {
    pub box_id: BoxId,
}

fn main() {}
