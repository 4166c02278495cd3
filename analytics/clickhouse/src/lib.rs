//! Events in ClickHouse, each of them once.
//!
//! Start at [`Sink`]: it consumes the events of a log through its seam, expands them
//! (`bellhop-ledger`), and inserts them in batches whose outcome can always be found out.
//! [`migrate`] makes the tables, [`audit`] shows that there is no gap and no duplicate, [`repair`]
//! refills what is not as it should be, [`views`] adds the daily aggregates up anew, [`kpi`] answers
//! the KPIs. `docs/clickhouse.md` says why each
//! event lands once, which settings that needs, and what an operator must not change.
//!
//! ```no_run
//! # fn run(consumer: impl bellhop_runtime::log::Consumer + 'static) -> Result<(), bellhop_clickhouse::Error> {
//! use bellhop_clickhouse::{Config, Server, Sink, migrate};
//!
//! let config = Config { url: "http://localhost:8123".to_owned(), ..Config::default() };
//! migrate::run(&Server::new(&config)?)?;
//! Sink::new(config, Box::new(consumer))?.run_until(|status| status.events > 1_000)?;
//! # Ok(()) }
//! ```
//!
//! # Invariants
//! 1. A batch is inserted only under a mark that names it, and a successor finishes exactly it.
//! 2. `events` is inserted last: what it holds, all tables and views hold.
//! 3. What cannot be expanded is parked with its cause and the partition goes on.

pub mod audit;
pub mod kpi;
pub mod migrate;
pub mod repair;
pub mod views;

mod batch;
mod caught_up;
mod circuit;
mod config;
mod engine;
mod error;
mod flight;
mod lane;
mod lock;
mod native;
mod payload;
mod plan;
mod pool;
mod server;
mod sink;
mod takeover;
mod target;
mod tls;

pub use caught_up::{CaughtUp, landed};
pub use config::{Batching, Breaks, Config};
pub use error::{Error, ErrorKind};
pub use server::Server;
pub use sink::{Sink, Status};
