//! The commands: one file each.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config::Config;

mod audit;
mod completions;
mod config;
mod demo;
mod describe;
mod events;
mod kpi;
pub(crate) mod lag;
mod migrate;
mod parked;
mod rebuild;
mod repair;
mod replay;
mod rules;
mod run;
mod schemas;
mod send;
mod sink;
mod sql;
mod state;
mod topics;
mod verify;
mod why;
mod workers;

/// A hotel reservation stream engine: commands in, decisions out, in order and exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "bellhop",
    version = crate::VERSION,
    about,
    max_term_width = 100,
    after_help = "Examples:\n  \
        bellhop demo                                   two years of two real hotels, and a report\n  \
        bellhop replay bookings.csv.gz --data ./data   replays a file of bookings\n  \
        bellhop run --data ./data < commands.jsonl     decides commands, one a line\n  \
        bellhop kpi adr --by property,month --data ./data\n\n\
        Exit codes: 0 done, 1 failed or a difference was found, 2 wrong usage.\n\
        Configuration: bellhop.toml and BELLHOP_* variables; see `bellhop config`."
)]
pub(crate) struct Cli {
    /// Configuration file [default: bellhop.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Log more to standard error (-v, -vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Replay(replay::Args),
    Run(run::Args),
    Send(send::Args),
    State(state::Args),
    Why(why::Args),
    Events(events::Args),
    Kpi(kpi::Args),
    Sql(sql::Args),
    Verify(verify::Args),
    Parked(parked::Args),
    Lag(lag::Args),
    Workers(workers::Args),
    Topics(topics::Args),
    Rules(rules::Args),
    Schemas(schemas::Args),
    Sink(sink::Args),
    Migrate(migrate::Args),
    Audit(audit::Args),
    Rebuild(rebuild::Args),
    Repair(repair::Args),
    Describe(describe::Args),
    Config(config::Args),
    Completions(completions::Args),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, with what to do about it.
    pub(crate) fn run(&self, config: &Config) -> Result<ExitCode> {
        match &self.command {
            Command::Demo(args) => demo::run(args, config),
            Command::Replay(args) => replay::run(args, config),
            Command::Run(args) => run::run(args, config),
            Command::Send(args) => send::run(args, config),
            Command::State(args) => state::run(args, config),
            Command::Why(args) => why::run(args, config),
            Command::Events(args) => events::run(args, config),
            Command::Kpi(args) => kpi::run(args, config),
            Command::Sql(args) => sql::run(args, config),
            Command::Verify(args) => verify::run(args, config),
            Command::Parked(args) => parked::run(args, config),
            Command::Lag(args) => lag::run(args, config),
            Command::Workers(args) => workers::run(args, config),
            Command::Topics(args) => topics::run(args, config),
            Command::Rules(args) => rules::run(args, config),
            Command::Schemas(args) => schemas::run(args, config),
            Command::Sink(args) => sink::run(args, config),
            Command::Migrate(args) => migrate::run(args, config),
            Command::Audit(args) => audit::run(args, config),
            Command::Rebuild(args) => rebuild::run(args, config),
            Command::Repair(args) => repair::run(args, config),
            Command::Describe(args) => describe::run(args),
            Command::Config(args) => config::run(args, config),
            Command::Completions(args) => completions::run(args),
        }
    }
}
