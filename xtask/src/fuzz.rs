//! `cargo xtask fuzz`: damaged inputs for everything that reads bytes from outside.

use crate::cargo;

/// For how long each target is fuzzed when all tests run.
pub(crate) const SECONDS_IN_TESTS: u64 = 10;
/// What a target reads its time from.
pub(crate) const SECONDS: &str = "BELLHOP_FUZZ_SECONDS";

/// Which targets, and for how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only targets whose name contains this; all begin with `fuzz_`.
    #[arg(default_value = "fuzz_")]
    target: String,
    /// For how long each.
    #[arg(long, default_value_t = SECONDS_IN_TESTS)]
    seconds: u64,
    /// One input again, by the seed that a failure has printed.
    #[arg(long, conflicts_with = "seconds")]
    seed: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut variables = vec![(SECONDS, arguments.seconds.to_string())];
    variables.extend(arguments.seed.map(|seed| ("BELLHOP_FUZZ_SEED", seed.to_string())));
    let only = ["--", "--nocapture", arguments.target.as_str()];
    let rest = cargo::of_rest(&["test", "--locked", "--test", "fuzzing"]);
    let engine = cargo::of_engine(&["test", "--locked", "--bins", "--tests"]);
    for call in [rest, engine] {
        cargo::run(&[call.as_slice(), &only].concat(), &variables)?;
    }
    Ok(())
}
