//! Analytics: the event stream as ledgers, a lake of Parquet files, KPIs and SQL over both.
//!
//! Events go through [`expand::Expander`] (whose rows are those of `bellhop-ledger`), through [`lake::Lake`] onto disk, and come back
//! as answers of a [`session::Session`]: [`kpi::Query`] for the named figures, SQL for all others.
//!
//! # Invariants
//! 1. A row needs one event and nothing before it, so any stretch of the stream can be expanded
//!    anew.
//! 2. What an event takes back is a row of the opposite sign with the original dimensions: every
//!    figure is a sum, and a figure as of the past is the same sum over fewer rows.
//! 3. The lake is derived: deleting its folder loses nothing that the events do not hold.

pub mod error;
pub mod expand;
pub mod export;
pub mod fold;
pub mod kpi;
pub mod lake;
pub mod session;
pub mod sql;
pub mod table;
pub mod view;

mod column;
mod function;
mod warm;

pub use error::{Error, ErrorKind};
