//! `cargo xtask test`: everything on local processes, then what runs in containers, then the files
//! of `docker/`. A group that fails does not keep the others from running; one summary ends it all.

mod shaken;
mod summary;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use bellhop_harness::Docker;

use self::summary::Summary;
use crate::{cargo, fuzz};

/// The tests that need a Docker engine; see `tests/Cargo.toml`.
pub(crate) const CONTAINERS: &str = "containers";
const COMPOSE: &str = "docker/compose.yaml";
const ALERTS: &str = "docker/prometheus/alerts.yml";

/// Which tests, and under which load.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Runs them twice: on one core, and beside programs that keep every core busy. Finds tests
    /// that pass because the machine is fast.
    #[arg(long)]
    shaken: bool,
    /// With --shaken: begins another round until so many minutes are over.
    #[arg(long, default_value_t = 0, requires = "shaken")]
    minutes: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let docker = Docker::find()?;
    println!("containers: {docker}");
    let groups = groups(&docker);
    let filter = arguments.filter.as_deref();
    let mut summary = Summary::default();
    if arguments.shaken {
        shaken::run(&groups, filter, arguments.minutes, &mut summary)?;
    } else {
        for group in &groups {
            group.run(&[], filter, &mut summary)?;
        }
    }
    if docker.engine().is_none() {
        println!("containers: the suite of the log and a crash did not run: {docker}");
    }
    check_compose(&mut summary)?;
    check_alerts(&mut summary)?;
    print!("{summary}");
    if !summary.is_green() {
        bail!("not everything passed");
    }
    Ok(())
}

/// One call of `cargo test`.
struct Group {
    name: &'static str,
    /// What `cargo` is told.
    arguments: Vec<&'static str>,
    /// Variables of its environment.
    variables: Vec<(&'static str, String)>,
}

/// Everything there is to test, in the order of a run: what fails fastest first.
fn groups(docker: &Docker) -> Vec<Group> {
    let test = ["test", "--locked", "--no-fail-fast"];
    let fuzzing = (fuzz::SECONDS, fuzz::SECONDS_IN_TESTS.to_string());
    let group = |name, arguments| Group { name, arguments, variables: vec![fuzzing.clone()] };
    let mut groups = vec![
        group("all but the SQL engine", cargo::of_rest(&test)),
        group("the SQL engine and the program", cargo::of_engine(&test)),
    ];
    if let Some(engine) = docker.engine() {
        let test = [test.as_slice(), &["--test", CONTAINERS]].concat();
        groups.push(Group {
            name: "in containers",
            arguments: cargo::of_rest(&test),
            variables: vec![("DOCKER_HOST", engine.to_string())],
        });
    }
    groups
}

impl Group {
    /// Runs it, its program behind `before` if that names one, and adds what it came to.
    ///
    /// # Errors
    /// When no program can be started; a test that fails is none.
    fn run(
        &self,
        before: &[&str],
        filter: Option<&str>,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        println!("{}:", self.name);
        let mut command = behind(before, cargo::command()?);
        command.args(&self.arguments).envs(self.variables.iter().cloned());
        if let Some(filter) = filter {
            command.args(["--", filter]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("start cargo test")?;
        let output = child.stdout.take().context("read what cargo test prints")?;
        let group = summary.group(self.name);
        for line in BufReader::new(output).lines() {
            let line = line.context("read what cargo test prints")?;
            println!("{line}");
            group.read(&line);
        }
        let status = child.wait().context("wait for cargo test")?;
        group.end(status.success());
        Ok(())
    }

    /// Builds it and runs nothing.
    fn build(&self) -> anyhow::Result<()> {
        let arguments = [self.arguments.as_slice(), &["--no-run"]].concat();
        cargo::run(&arguments, &self.variables)
    }
}

/// The same command, started by another program that is told to.
fn behind(before: &[&str], command: Command) -> Command {
    let [program, arguments @ ..] = before else { return command };
    let mut outer = Command::new(program);
    outer.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// Whether Docker Compose takes our file; it needs no engine for that.
fn check_compose(summary: &mut Summary) -> anyhow::Result<()> {
    let version = compose(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        println!("{COMPOSE}: not checked: there is no docker compose");
        return Ok(());
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker/compose.yaml");
    let output = compose(&["--file", file, "config", "--quiet"]).output();
    let output = output.context("start docker compose")?;
    if !output.status.success() {
        println!("{COMPOSE}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    summary.group(COMPOSE).end(output.status.success());
    Ok(())
}

/// Whether the alerts fire on the series that `docker/prometheus/alerts_test.yml` lists.
fn check_alerts(summary: &mut Summary) -> anyhow::Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../", "docker/prometheus/alerts_test.yml");
    let output = match Command::new("promtool").args(["test", "rules", file]).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("{ALERTS}: not checked: there is no promtool");
            return Ok(());
        }
        output => output.context("start promtool")?,
    };
    if !output.status.success() {
        print!("{ALERTS}: {}", String::from_utf8_lossy(&output.stdout));
    }
    summary.group(ALERTS).end(output.status.success());
    Ok(())
}

fn compose(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.arg("compose").args(arguments);
    command
}
