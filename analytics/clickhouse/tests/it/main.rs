//! What the sink promises, held against the real engine: started, killed, starved and lied to.
#![expect(clippy::unwrap_used, reason = "a test that fails should stop there")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most events change nothing of what is folded")]

#[path = "../../../tests/it/hotels.rs"]
mod hotels;
#[path = "../../../tests/it/stream.rs"]
#[allow(dead_code, reason = "the tests of analytics use all of it")]
mod stream;

mod bad_input;
mod dashboard;
mod kills;
mod kpis;
mod lands;
mod proxy;
mod random;
mod repairs;
mod scans;
mod schema;
mod takes_over;
mod tls;
mod unknown_schema;
mod views;
mod world;
