//! `bellhop sql`: any question about the lake.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;

use crate::answer::{Rows, Shape};
use crate::config::Config;
use crate::site::SiteArgs;
use crate::{lake, output};

/// Answers a question in SQL over the lake.
///
/// Tables: room_nights, bookings, supply, refusals, properties, products, events, parked; the two
/// ledgers (room_nights, supply) are signed, so sum them. Views: reservations (a row each, with
/// status, lead time and revenue) and denials (bookings refused). Money is in minor units, instants
/// are UTC. json_get(payload, 'lines.0.product') reads the body of an event.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop sql \"SELECT table_name FROM information_schema.tables\" --data ./data\n  bellhop sql \"SELECT rule, count(*) FROM denials GROUP BY rule\" --data ./data\n  bellhop sql \"SELECT status, count(*), sum(room) FROM reservations GROUP BY status\" --data ./data --json\n  bellhop sql \"SELECT * FROM room_nights\" --data ./data --parquet room_nights.parquet"
)]
pub(crate) struct Args {
    /// The query; it can change nothing
    query: String,
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let session = lake::session(&args.site.site(config)?)?;
    let rows = session.rows(&args.query)?;
    let mut out = output::stdout();
    args.shape.write(Rows { schema: Arc::clone(rows.schema()), rows }, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
