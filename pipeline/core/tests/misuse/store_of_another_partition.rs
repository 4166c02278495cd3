#![allow(unused)]
use bellhop_core::prelude::*;

#[path = "../toy/mod.rs"]
mod toy;
use toy::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro)]
pub struct ShelfId(pub i64);

impl std::fmt::Display for ShelfId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl bellhop_core::message::MessageKey for ShelfId {
    fn write(&self, _: &mut Vec<u8>) {}
}

impl StoreKey for ShelfId {
    type Partition = Self;
}

#[derive(Debug, Avro)]
#[avro(name = "toy.Shelf")]
pub struct Shelf {
    pub boxes: i64,
}

impl State for Shelf {
    const NAME: &'static str = "shelf";
    type Key = ShelfId;
}

#[handler]
pub fn again(command: PutIn, shelf: &Store<Shelf>) {
    let _ = (command, shelf);
}

fn main() {}
