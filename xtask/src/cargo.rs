//! Runs cargo with the project's cache of build output.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use bellhop_harness::cache;

/// Where cargo builds to.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => Ok(target.into()),
        None => Ok(cache()?.join("target")),
    }
}

/// Cargo itself, building into the cache.
pub(crate) fn command() -> anyhow::Result<Command> {
    let mut command = bellhop_harness::cargo();
    command.env("CARGO_TARGET_DIR", target()?);
    Ok(command)
}

/// Runs cargo and fails as it does.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, String)]) -> anyhow::Result<()> {
    let mut command = command()?;
    command.args(arguments);
    for (name, value) in variables {
        command.env(name, value);
    }
    let status = command.status().context("start cargo")?;
    if !status.success() {
        bail!("cargo {}: {status}", arguments.join(" "));
    }
    Ok(())
}

/// The packages that link the SQL engine.
const ENGINE: [&str; 2] = ["bellhop", "bellhop-analytics"];

/// Runs cargo over all packages, those with the SQL engine apart from the rest.
///
/// Together, the test dependencies of the rest would change features far below the engine, and so
/// build it once more than `cargo build` does: a quarter of an hour.
pub(crate) fn run_groups(before: &[&str], after: &[&str]) -> anyhow::Result<()> {
    run_rest(before, after, &[])?;
    let mut engine = before.to_vec();
    engine.extend(ENGINE.iter().flat_map(|package| ["--package", package]));
    run(&[engine.as_slice(), after].concat(), &[])
}

/// Runs cargo over all packages but those with the SQL engine.
pub(crate) fn run_rest(
    before: &[&str],
    after: &[&str],
    variables: &[(&str, String)],
) -> anyhow::Result<()> {
    let mut rest = [before, &["--workspace"]].concat();
    rest.extend(ENGINE.iter().flat_map(|package| ["--exclude", package]));
    run(&[rest.as_slice(), after].concat(), variables)
}

/// Runs cargo and gives what it prints.
pub(crate) fn output(arguments: &[&str]) -> anyhow::Result<String> {
    let output = command()?
        .args(arguments)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("cargo {}: {}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
