//! `cargo xtask test`: everything on local processes, then what runs in containers, then the files
//! of `docker/`; what does not run says so at the end.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use bellhop_harness::Docker;

/// The tests that need a Docker engine; see `tests/Cargo.toml`.
pub(crate) const CONTAINERS: &str = "containers";
const COMPOSE: &str = "docker/compose.yaml";

pub(crate) fn run(filter: Option<&str>) -> anyhow::Result<()> {
    let docker = Docker::find()?;
    println!("containers: {docker}");
    let filter: Vec<&str> = filter.iter().flat_map(|name| ["--", name]).collect();
    crate::cargo::run_groups(&["test", "--locked"], &filter)?;
    match docker.engine() {
        Some(engine) => {
            let host = ("DOCKER_HOST", engine.to_string());
            let test = ["test", "--locked", "--test", CONTAINERS];
            crate::cargo::run_rest(&test, &filter, &[host])?;
        }
        None => println!("containers: the suite of the log and a crash did not run: {docker}"),
    }
    check_compose()
}

/// Whether Docker Compose takes our file; it needs no engine for that.
fn check_compose() -> anyhow::Result<()> {
    let version = compose(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        println!("{COMPOSE}: not checked: there is no docker compose");
        return Ok(());
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker/compose.yaml");
    let output = compose(&["--file", file, "config", "--quiet"]).output();
    let output = output.context("start docker compose")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{COMPOSE}: {}", said.trim_end());
    println!("{COMPOSE}: docker compose takes it");
    Ok(())
}

fn compose(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.arg("compose").args(arguments);
    command
}
