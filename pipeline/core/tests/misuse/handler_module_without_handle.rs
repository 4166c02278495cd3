#![allow(unused)]
use bellhop_core::prelude::*;

#[path = "../toy/mod.rs"]
mod toy;
use toy::*;

#[handler]
mod again {
    pub fn validate(command: &super::PutIn) {}
}

fn main() {}
