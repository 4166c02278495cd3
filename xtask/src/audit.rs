//! `cargo xtask audit`: the real data all the way into ClickHouse, and held against the topic.

use std::process::Command;

use anyhow::{Context, bail};
use bellhop_harness::ClickHouse;

/// The booking data.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../app/data/hotel_bookings.csv.gz");

pub(crate) fn run(what: &str) -> anyhow::Result<()> {
    crate::cargo::run(&["build", "--locked", "--package", "bellhop"], &[])?;
    let binary = crate::cargo::target()?.join("debug/bellhop");
    let clickhouse = ClickHouse::start()?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let data = folder.path().to_string_lossy().into_owned();
    let steps: [&[&str]; 4] = [
        &["replay", DATA, "--data", &data, "--capacity", "City Hotel=226"],
        &["migrate"],
        &["sink", "clickhouse", "--data", &data, "--until-caught-up"],
        &["audit", what, "--data", &data],
    ];
    for step in steps {
        let status = Command::new(&binary)
            .args(step)
            .env("BELLHOP_CLICKHOUSE__URL", clickhouse.url())
            .env("BELLHOP_CLICKHOUSE__USER", clickhouse.user())
            .env("BELLHOP_CLICKHOUSE__PASSWORD", clickhouse.password())
            .status()
            .with_context(|| format!("start {}", binary.display()))?;
        if !status.success() {
            bail!("bellhop {}: {status}", step.join(" "));
        }
    }
    Ok(())
}
