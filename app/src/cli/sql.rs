//! `bellhop sql`: any question about the lake.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_analytics::sql::Answer;

use crate::config::Config;
use crate::site::SiteArgs;
use crate::{lake, output};

/// Answers a question in SQL over the lake.
///
/// Tables: room_nights, bookings, supply, refusals, properties, products, events; the two ledgers
/// (room_nights, supply) are signed, so sum them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop sql \"SELECT table_name FROM information_schema.tables\" --data ./data\n  bellhop sql \"SELECT rule, count(*) FROM refusals GROUP BY rule\" --data ./data\n  bellhop sql \"SELECT product, sum(units) nights FROM room_nights GROUP BY product ORDER BY nights DESC\" --data ./data --json"
)]
pub(crate) struct Args {
    /// The query; it can change nothing
    query: String,
    #[command(flatten)]
    site: SiteArgs,
    /// Print a JSON array of objects
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let session = lake::session(&args.site.site(config)?)?;
    let answer = session.sql(&args.query)?;
    let mut out = output::stdout();
    if args.json {
        writeln!(out, "{}", answer.json()?)?;
    } else {
        print(&answer, answer.texts()?, &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints rows under the names of an answer's columns.
pub(crate) fn print(
    answer: &Answer,
    rows: Vec<Vec<String>>,
    out: &mut impl std::io::Write,
) -> Result<()> {
    let header = answer.header();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = output::table(&header, header.len());
    for (index, column) in table.column_iter_mut().enumerate() {
        let field = answer.schema().fields().get(index);
        if field.is_some_and(|field| field.data_type().is_numeric()) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table.add_rows(rows);
    writeln!(out, "{table}")?;
    Ok(())
}
