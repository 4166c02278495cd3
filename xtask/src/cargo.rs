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

/// The arguments of a call over the packages that link the SQL engine.
///
/// Together with the rest, the test dependencies of the rest would change features far below the
/// engine, and so build it once more than `cargo build` does: a quarter of an hour.
pub(crate) fn of_engine<'a>(before: &[&'a str]) -> Vec<&'a str> {
    let packages = ENGINE.iter().flat_map(|package| ["--package", package]);
    before.iter().copied().chain(packages).collect()
}

/// The arguments of a call over all packages but those.
pub(crate) fn of_rest<'a>(before: &[&'a str]) -> Vec<&'a str> {
    let without = ENGINE.iter().flat_map(|package| ["--exclude", package]);
    before.iter().copied().chain(["--workspace"]).chain(without).collect()
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
