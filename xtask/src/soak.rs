//! `cargo xtask soak`: the tests that draw faults, again and again, each time with a new seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bellhop_harness::as_from_a_shell;
use tempfile::TempDir;

use crate::cargo;

/// Tests of one kind: they take their seed from [`SEED`] and the number of faults from [`FAULTS`], and
/// print `seed 7: 3 workers killed, 1 networks cut` or the like, which the summary adds up.
struct Suite {
    name: &'static str,
    /// The folder of their package, and their program there.
    program: (&'static str, &'static str),
    /// Tests whose name contains one of these, one after another.
    filters: &'static [&'static str],
}

/// Every suite; one more is an entry.
const SUITES: &[Suite] = &[
    Suite {
        name: "clickhouse",
        program: ("analytics/clickhouse", "it"),
        filters: &["killed_at_random_moments"],
    },
    Suite {
        name: "kafka",
        program: ("tests", "live"),
        filters: &[
            "faults_of_all_kinds_at_any_moment",
            "processes_killed_at_any_moment_lose_nothing_and",
        ],
    },
];

const SEED: &str = "BELLHOP_TEST_SEED";
const FAULTS: &str = "BELLHOP_TEST_FAULTS";

/// How long, and what.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these suites: clickhouse, kafka.
    names: Vec<String>,
    /// No run is begun after so many minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Faults of a run.
    #[arg(long, default_value_t = 20)]
    faults: u64,
    /// Seed of the first run; the next has the next one. By default the time.
    #[arg(long)]
    seed: Option<u64>,
}

/// A suite that is built.
struct Built {
    suite: &'static Suite,
    /// A copy, which nobody builds anew meanwhile.
    program: PathBuf,
    /// Where cargo would run it.
    folder: PathBuf,
    totals: Totals,
}

/// What the runs of a suite came to.
#[derive(Default)]
struct Totals {
    runs: u64,
    faults: BTreeMap<String, u64>,
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
    let copies = TempDir::new_in(cargo::target()?).context("make a folder for the programs")?;
    let suites = SUITES.iter().filter(|suite| is_wanted(suite.name));
    let mut suites =
        suites.map(|suite| build(suite, copies.path())).collect::<anyhow::Result<Vec<Built>>>()?;
    let since = std::time::UNIX_EPOCH.elapsed().context("read the time")?;
    let first = arguments.seed.unwrap_or(since.as_secs());
    let until = Instant::now() + Duration::from_secs(arguments.minutes * 60);
    let mut seed = first;
    loop {
        for suite in &mut suites {
            suite.run(seed, arguments.faults)?;
        }
        if Instant::now() >= until {
            break;
        }
        seed += 1;
    }
    for suite in &suites {
        suite.print((first, seed), arguments.faults);
    }
    if suites.iter().any(|suite| !suite.totals.failed.is_empty()) {
        bail!("there were failures");
    }
    Ok(())
}

/// Builds the program of a suite, as all tests are built, and copies it.
fn build(suite: &'static Suite, copies: &Path) -> anyhow::Result<Built> {
    let (folder, name) = suite.program;
    let build = ["test", "--locked", "--no-run", "--message-format=json", "--test", name];
    let said = cargo::output(&cargo::of_rest(&build))?;
    let (built, folder) = said
        .lines()
        .find_map(|line| program(line, folder, name))
        .with_context(|| format!("cargo has built no test program {name} in {folder}"))?;
    let program = copies.join(suite.name);
    std::fs::copy(&built, &program).with_context(|| format!("copy {}", built.display()))?;
    Ok(Built { suite, program, folder, totals: Totals::default() })
}

/// A program and the folder of its package, if a message of cargo is about it.
fn program(message: &str, folder: &str, name: &str) -> Option<(PathBuf, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    let package = manifest.parent()?;
    let is_it = package.ends_with(folder) && message.pointer("/target/name")? == name;
    let program = message.get("executable")?.as_str().filter(|_| is_it)?;
    Some((program.into(), package.to_owned()))
}

impl Built {
    /// One run; a failure is printed and counted.
    fn run(&mut self, seed: u64, faults: u64) -> anyhow::Result<()> {
        let name = self.suite.name;
        let mut command = Command::new(&self.program);
        as_from_a_shell(&mut command);
        let output = command
            .args(["--nocapture", "--test-threads", "1"])
            .args(self.suite.filters)
            .current_dir(&self.folder)
            .env(SEED, seed.to_string())
            .env(FAULTS, faults.to_string())
            .output()
            .with_context(|| format!("start {}", self.program.display()))?;
        self.totals.runs += 1;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let printed = String::from_utf8_lossy(&output.stdout);
            println!("{name}: seed {seed} failed\n{printed}{said}");
            self.totals.failed.push(seed);
            return Ok(());
        }
        let begin = format!("seed {seed}: ");
        let counted: Vec<_> = said.lines().filter_map(|line| line.strip_prefix(&begin)).collect();
        if counted.is_empty() {
            bail!("{name} has drawn no fault:\n{said}");
        }
        for line in counted {
            println!("{name}: {begin}{line}");
            for (count, what) in counts(line) {
                *self.totals.faults.entry(what.to_owned()).or_default() += count;
            }
        }
        Ok(())
    }

    fn print(&self, (first, last): (u64, u64), faults: u64) {
        let Self { suite: Suite { name, program: (_, test), filters }, totals, .. } = self;
        let Totals { runs, faults: drawn, failed } = totals;
        println!("{name}: {runs} runs, {} failures; seeds {first} to {last}", failed.len());
        for (what, count) in drawn {
            println!("{count:7} {what}");
        }
        for seed in failed {
            println!(
                "  again: {SEED}={seed} {FAULTS}={faults} cargo {} -- --nocapture {}",
                cargo::of_rest(&["test", "--test", test]).join(" "),
                filters.join(" ")
            );
        }
    }
}

/// What a line says was drawn, and how often.
fn counts(line: &str) -> impl Iterator<Item = (u64, &str)> {
    line.split(", ").filter_map(|words| {
        let (count, what) = words.split_once(' ')?;
        Some((count.parse().ok()?, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_is_counted_also_one_that_was_not_drawn() {
        let counted: Vec<_> = counts("12 sinks killed, 0 networks cut, other words").collect();
        assert_eq!(counted, [(12, "sinks killed"), (0, "networks cut")]);
    }

    #[test]
    fn a_program_is_found_by_its_package_and_name() {
        let message = |folder: &str, target: &str| {
            format!(
                r#"{{"manifest_path":"/w/{folder}/Cargo.toml","target":{{"name":"{target}"}},"executable":"/t/{target}-1"}}"#
            )
        };
        let found = program(&message("tests", "live"), "tests", "live");
        assert_eq!(found, Some(("/t/live-1".into(), "/w/tests".into())));
        assert_eq!(program(&message("tests", "worker"), "tests", "live"), None);
        assert_eq!(program(&message("app", "live"), "tests", "live"), None);
        assert_eq!(program(r#"{"reason":"build-finished"}"#, "tests", "live"), None);
    }
}
