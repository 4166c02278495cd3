//! The project's own commands: `cargo xtask test`, `lint`, `bench`, `simulate`, `fuzz`, `soak`, `audit`.
#![allow(clippy::print_stdout, reason = "a command-line tool talks")]

mod audit;
mod bench;
mod bounds;
mod cargo;
mod fuzz;
mod licences;
mod plot;
mod soak;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds everything and runs all tests; some a second time in containers, where a Docker
    /// engine is.
    Test(test::Arguments),
    /// Runs the simulator: random commands and faults, every promise checked after each seed.
    ///
    /// Examples: `cargo xtask simulate --seeds 1000000`, `cargo xtask simulate --seed 4711`
    Simulate {
        /// How many seeds.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// One seed again; says more than a run of many.
        #[arg(long, conflicts_with = "seeds")]
        seed: Option<u64>,
    },
    /// Draws faults from seeds for as long as told: killed, paused and leaving processes, hanging
    /// transactions, lost records and parts, a registry and a network that are away; prints how often
    /// each came and what failed.
    ///
    /// Example: `cargo xtask soak --minutes 30 clickhouse`
    Soak(soak::Arguments),
    /// Gives damaged inputs to everything that reads bytes from outside: records, schemas, headers,
    /// snapshots, lines of JSON, CSV, configuration, SQL.
    ///
    /// Example: `cargo xtask fuzz --seconds 3600 fuzz_values_of_commands`
    Fuzz(fuzz::Arguments),
    /// Measures, in release mode, and holds the numbers against their gates.
    Bench(bench::Arguments),
    /// Replays the real data, lands it in ClickHouse and audits it there: starts all it needs.
    Audit {
        /// `kpi`: every KPI by a fold, DataFusion and ClickHouse; `clickhouse`: every row.
        #[arg(default_value = "kpi", value_parser = ["kpi", "clickhouse"])]
        what: String,
    },
    /// Checks formatting, licences, the page of bounds and lints.
    Lint,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Simulate { seeds, seed } => {
            let variable = match seed {
                Some(seed) => ("BELLHOP_SEED", seed.to_string()),
                None => ("BELLHOP_SEEDS", seeds.to_string()),
            };
            let arguments = ["test", "--release", "--locked", "--package", "bellhop-tests"];
            let only = ["--test", "simulation", "--", "--nocapture"];
            cargo::run(&[arguments.as_slice(), &only].concat(), &[variable])
        }
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Audit { what } => audit::run(&what),
        Command::Lint => {
            cargo::run(&["fmt", "--all", "--check"], &[])?;
            licences::check()?;
            bounds::check()?;
            let clippy = ["clippy", "--locked", "--quiet"];
            let all = [clippy.as_slice(), &["--all-targets"]].concat();
            // Not among all targets: it is no test that always runs.
            let containers = [clippy.as_slice(), &["--test", test::CONTAINERS]].concat();
            for call in [cargo::of_rest(&all), cargo::of_engine(&all), cargo::of_rest(&containers)]
            {
                cargo::run(&[call.as_slice(), &["--", "-D", "warnings"]].concat(), &[])?;
            }
            Ok(())
        }
    }
}
