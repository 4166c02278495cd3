//! What analytics promises, held against events made by hand, at random, and by two real hotels.
#![expect(clippy::unwrap_used, reason = "a test that fails should stop there")]

mod agree;
mod chart;
mod docs;
mod hotels;
mod lake;
mod random;
mod real;
mod session;
mod slt;
mod stream;
