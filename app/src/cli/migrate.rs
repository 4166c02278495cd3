//! `bellhop migrate`: the tables in ClickHouse.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_clickhouse::{Server, migrate};

use crate::config::Config;
use crate::output;

/// Makes the tables and views in ClickHouse, or brings them up to date.
///
/// Each change is applied once, by one process at a time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bellhop migrate --clickhouse http://localhost:8123")]
pub(crate) struct Args {
    /// Address of the server [default: `clickhouse.url` of the configuration]
    #[arg(long, value_name = "URL")]
    clickhouse: Option<String>,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let server = Server::new(&config.clickhouse.target(args.clickhouse.as_deref()))?;
    let migrated = migrate::run(&server)?;
    let mut out = output::stdout();
    for name in &migrated.applied {
        writeln!(out, "applied {name}")?;
    }
    if migrated.applied.is_empty() {
        writeln!(out, "all tables are up to date")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
