//! `cargo xtask soak`: the tests that kill processes, again and again, each time with a new seed.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Tests of one kind: they take their seed from `BELLHOP_TEST_SEED` and the number of kills from
/// `BELLHOP_TEST_KILLS`, and print `seed N: A sinks and B engines killed` or the like: of each line
/// that ends in " killed", each number behind the colon counts.
struct Suite {
    name: &'static str,
    /// What cargo is told to build and run.
    cargo: &'static [&'static str],
    /// Tests whose name contains this.
    filter: &'static str,
}

/// Every suite; one more is a line.
const SUITES: &[Suite] = &[
    Suite {
        name: "clickhouse",
        cargo: &["--package", "bellhop-clickhouse", "--test", "it"],
        filter: "killed_at_random_moments",
    },
    Suite {
        name: "kafka",
        cargo: &["--package", "bellhop-tests", "--test", "live"],
        filter: "processes_killed_at_any_moment_lose_nothing_and_decide",
    },
];

/// How long, and what.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these suites: clickhouse, kafka.
    names: Vec<String>,
    /// No run is begun after so many minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Kills of a run.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Seed of the first run; the next has the next one. By default the time.
    #[arg(long)]
    seed: Option<u64>,
}

/// What the runs of a suite came to.
#[derive(Default)]
struct Totals {
    runs: u64,
    kills: u64,
    failed: Vec<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let is_wanted =
        |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|it| it == name);
    let known = |name: &String| SUITES.iter().any(|suite| suite.name == *name);
    if let Some(unknown) = arguments.names.iter().find(|name| !known(name)) {
        let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        bail!("there is no suite \"{unknown}\"; there are {}", names.join(", "));
    }
    let suites: Vec<&Suite> = SUITES.iter().filter(|suite| is_wanted(suite.name)).collect();
    for suite in &suites {
        crate::cargo::run(&[&["test", "--locked", "--no-run"], suite.cargo].concat(), &[])?;
    }
    let since = std::time::UNIX_EPOCH.elapsed().context("read the time")?;
    let first = arguments.seed.unwrap_or(since.as_secs());
    let until = Instant::now() + Duration::from_secs(arguments.minutes * 60);
    let mut totals: Vec<Totals> = suites.iter().map(|_| Totals::default()).collect();
    let mut seed = first;
    loop {
        for (suite, totals) in suites.iter().zip(&mut totals) {
            let killed = once(suite, seed, arguments.kills)?;
            totals.runs += 1;
            match killed {
                Some(kills) => totals.kills += kills,
                None => totals.failed.push(seed),
            }
        }
        if Instant::now() >= until {
            break;
        }
        seed += 1;
    }
    for (suite, totals) in suites.iter().zip(&totals) {
        let Totals { runs, kills, failed } = totals;
        println!(
            "{}: {runs} runs, {kills} kills, {} failures; seeds {first} to {seed}",
            suite.name,
            failed.len()
        );
        for seed in failed {
            println!(
                "  again: BELLHOP_TEST_SEED={seed} BELLHOP_TEST_KILLS={} cargo test {} {}",
                arguments.kills,
                suite.cargo.join(" "),
                suite.filter
            );
        }
    }
    if totals.iter().any(|totals| !totals.failed.is_empty()) {
        bail!("there were failures");
    }
    Ok(())
}

/// One run; gives how many processes it has killed, nothing when it failed.
fn once(suite: &Suite, seed: u64, kills: u64) -> anyhow::Result<Option<u64>> {
    let output = crate::cargo::command()?
        .args([&["test", "--quiet", "--locked"], suite.cargo].concat())
        .args(["--", "--nocapture", suite.filter])
        .env("BELLHOP_TEST_SEED", seed.to_string())
        .env("BELLHOP_TEST_KILLS", kills.to_string())
        .output()
        .context("start cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        println!(
            "{}: seed {seed} failed\n{}{said}",
            suite.name,
            String::from_utf8_lossy(&output.stdout)
        );
        return Ok(None);
    }
    let lines: Vec<_> = said.lines().filter(|line| line.ends_with(" killed")).collect();
    if lines.is_empty() {
        bail!("{} has killed nothing:\n{said}", suite.name);
    }
    for line in said.lines().filter(|line| line.starts_with(&format!("seed {seed}:"))) {
        println!("{}: {line}", suite.name);
    }
    Ok(Some(lines.into_iter().map(killed).sum()))
}

/// How many processes a line says were killed.
fn killed(line: &str) -> u64 {
    let (_, counts) = line.split_once(':').unwrap_or(("", line));
    counts.split(' ').filter_map(|word| word.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_no_kill() {
        assert_eq!(killed("seed 7: 12 sinks and 6 engines killed"), 18);
    }
}
