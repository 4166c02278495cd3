//! `bellhop rebuild`: what is derived, made anew.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_clickhouse::{Server, views};
use clap::Subcommand;

use crate::config::Config;
use crate::site::given;
use crate::{output, words};

/// Makes anew what is derived from the tables in ClickHouse, while the sink runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bellhop rebuild views --clickhouse http://localhost:8123")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The daily aggregates: adds what they lack and takes off what they have too much
    Views {
        /// Address of the server [default: `clickhouse.url` of the configuration]
        #[arg(long, value_name = "URL")]
        clickhouse: Option<String>,
        /// Also where tables lack rows, as after old ones were deleted on purpose
        #[arg(long)]
        incomplete: bool,
    },
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let Action::Views { clickhouse, incomplete } = &args.action;
    let mut target = config.clickhouse.target(clickhouse.as_deref());
    target.given = given(clickhouse.as_deref(), []);
    let server = Server::new(&target)?;
    let mut out = output::stdout();
    let rebuild = if *incomplete { views::rebuild_incomplete } else { views::rebuild };
    for rebuilt in rebuild(&server)? {
        match rebuilt.corrections {
            0 => writeln!(out, "{} was right", rebuilt.view)?,
            rows => writeln!(out, "{}: {} corrected", rebuilt.view, words::count(rows, "row"))?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
