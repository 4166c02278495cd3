//! What analytics promises, held against events made by hand, at random, and by two real hotels.
#![expect(clippy::unwrap_used, reason = "a test that fails should stop there")]

mod agree;
mod docs;
mod export;
mod hotels;
mod lake;
mod questions;
mod random;
mod real;
mod session;
mod slt;
mod stream;
mod wire;
