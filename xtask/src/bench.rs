//! `cargo xtask bench`: what is promised in numbers, measured in release mode on one pinned core.
//!
//! Every benchmark is a program that prints one line of JSON; here it is pinned, repeated, shown as
//! a table and held against its gate.

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use comfy_table::{Table, presets};
use serde_json::{Value, json};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these: core, embedded, demo, kpi, restore, hostile, avail, clickhouse.
    names: Vec<String>,
    /// Writes the results as JSON to this file.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Draws avail's results as an SVG to this file.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Shows the numbers and ignores the gates.
    #[arg(long)]
    no_gate: bool,
    /// Processor that the measured program is pinned to.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// Commands of avail's load; fewer for a quick look.
    #[arg(long, default_value_t = 1_000_000)]
    commands: usize,
    /// Seconds for which avail's broker is warmed up.
    #[arg(long, default_value_t = 120)]
    warm: usize,
}

/// A number and what it must be.
struct Row {
    name: Cow<'static, str>,
    value: f64,
    unit: Cow<'static, str>,
    gate: Gate,
}

enum Gate {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    fn new(
        name: impl Into<Cow<'static, str>>,
        value: f64,
        unit: impl Into<Cow<'static, str>>,
        gate: Gate,
    ) -> Self {
        Self { name: name.into(), value, unit: unit.into(), gate }
    }

    fn holds(&self) -> bool {
        match self.gate {
            Gate::AtLeast(least) => self.value >= least,
            Gate::AtMost(most) => self.value <= most,
        }
    }

    fn gate_text(&self) -> String {
        match self.gate {
            Gate::AtLeast(least) => format!("at least {least} {}", self.unit),
            Gate::AtMost(most) => format!("at most {most} {}", self.unit),
        }
    }
}

const ALL: [&str; 8] =
    ["core", "embedded", "demo", "kpi", "restore", "hostile", "avail", "clickhouse"];

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let names: Vec<&str> = match arguments.names.as_slice() {
        [] => ALL.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = names.iter().find(|name| !ALL.contains(name)) {
        bail!("there is no benchmark \"{unknown}\"; there are {}", ALL.join(", "));
    }
    let mut rows = Vec::new();
    let mut details = serde_json::Map::new();
    for name in names {
        let (found, detail) = match name {
            "core" => core(arguments.cpu)?,
            "embedded" => embedded(arguments.cpu)?,
            "demo" => demo()?,
            "kpi" => kpi(arguments.cpu)?,
            "restore" => restore(arguments.cpu)?,
            "hostile" => hostile(arguments.cpu)?,
            "avail" => avail(arguments)?,
            _ => clickhouse(arguments.cpu)?,
        };
        rows.extend(found);
        details.insert(name.to_owned(), detail);
    }
    print(&rows);
    let results = json!({
        "revision": revision(),
        "processor": processor(),
        "rows": rows.iter().map(|row| json!({
            "name": row.name, "value": row.value, "unit": row.unit,
            "gate": row.gate_text(), "holds": row.holds(),
        })).collect::<Vec<_>>(),
        "details": details,
    });
    match &arguments.out {
        Some(path) => std::fs::write(path, format!("{results:#}\n"))
            .with_context(|| format!("write {}", path.display()))?,
        None => println!("{results}"),
    }
    if let (Some(path), Some(detail)) = (&arguments.plot, results["details"].get("avail")) {
        crate::plot::avail(detail, path)?;
    }
    let missed: Vec<_> =
        rows.iter().filter(|row| !row.holds()).map(|row| row.name.as_ref()).collect();
    if !missed.is_empty() && !arguments.no_gate {
        bail!("below the gate: {}", missed.join(", "));
    }
    Ok(())
}

fn print(rows: &[Row]) {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["what", "measured", "gate", ""]);
    for row in rows {
        let digits = if row.value < 100.0 { 2 } else { 0 };
        let value = format!("{:.digits$} {}", row.value, row.unit);
        let verdict = if row.holds() { "ok" } else { "MISSED" };
        table.add_row([row.name.to_string(), value, row.gate_text(), verdict.to_owned()]);
    }
    println!("{} on {}\n{table}", revision(), processor());
}

/// Runs a benchmark target, pinned, and reads its line of JSON.
fn measure(package: &str, bench: &str, cpu: usize, arguments: &[&str]) -> anyhow::Result<Value> {
    let build = ["bench", "--package", package, "--bench", bench, "--locked", "--no-run"];
    crate::cargo::run(&build, &[])?;
    let mut cargo = Command::new("taskset");
    bellhop_harness::as_from_a_shell(&mut cargo);
    let output = cargo
        .args(["-c", &cpu.to_string()])
        .arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["bench", "--quiet", "--package", package, "--bench", bench, "--locked", "--"])
        .args(arguments)
        .env("CARGO_TARGET_DIR", crate::cargo::target()?)
        .stderr(Stdio::inherit())
        .output()
        .context("start taskset (package util-linux)")?;
    if !output.status.success() {
        bail!("the benchmark {bench} ended with {}", output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    serde_json::from_str(line.with_context(|| format!("{bench} printed no result:\n{text}"))?)
        .context("read the benchmark's result")
}

pub(crate) fn number(value: &Value, path: &str) -> anyhow::Result<f64> {
    value.pointer(path).and_then(Value::as_f64).with_context(|| format!("find {path} in {value}"))
}

type Measured = (Vec<Row>, Value);

fn core(cpu: usize) -> anyhow::Result<Measured> {
    let detail = measure("bellhop-tests", "core", cpu, &[])?;
    let value = number(&detail, "/per_second/median")?;
    let name = "core alone, AVAIL mix";
    let row = Row::new(name, value, "commands/s", Gate::AtLeast(700_000.0));
    Ok((vec![row], detail))
}

fn embedded(cpu: usize) -> anyhow::Result<Measured> {
    let detail = measure("bellhop-tests", "embedded", cpu, &[])?;
    let value = number(&detail, "/per_second/median")?;
    let name = "embedded log, durable, AVAIL mix";
    let row = Row::new(name, value, "commands/s", Gate::AtLeast(200_000.0));
    Ok((vec![row], detail))
}

/// The Redpanda log on a real broker, against a bare loop of the same client.
fn avail(arguments: &Arguments) -> anyhow::Result<Measured> {
    let (cpu, commands) = (arguments.cpu.to_string(), arguments.commands.to_string());
    let warm = arguments.warm.to_string();
    let told = ["--cpu", &cpu, "--commands", &commands, "--warm", &warm];
    let detail = measure("bellhop-tests", "avail", arguments.cpu, &told)?;
    let at_least = |name: &'static str, path, unit: &'static str, least| -> anyhow::Result<Row> {
        Ok(Row::new(name, number(&detail, path)?, unit, Gate::AtLeast(least)))
    };
    let at_most = |name: &'static str, path, unit: &'static str, most| -> anyhow::Result<Row> {
        Ok(Row::new(name, number(&detail, path)?, unit, Gate::AtMost(most)))
    };
    let mut rows = vec![
        at_least("exactly once against bare P2, a core", "/ratios/p2/median", "x", 0.70)?,
        at_most("exactly once, CPU of a command", "/ours/cpu_us/median", "us", 3.0)?,
        at_most("one command on an idle system, p50", "/latency_ms/ours_10/p50", "ms", 10.0)?,
        at_most("end to end at 10,000/s, p95", "/latency_ms/ours_10000/p95", "ms", 25.0)?,
        at_most("end to end at 10,000/s, p99", "/latency_ms/ours_10000/p99", "ms", 50.0)?,
    ];
    let name = "exactly once against own at-least-once, a core";
    rows.push(at_least(name, "/ratios/alo/median", "x", 0.85)?);
    // The longest that a command waited for its event, of those due from then on.
    let name = "take-over after kill -9, the longest wait";
    rows.push(at_most(name, "/takeover_ms/kill/median", "ms", 8_000.0)?);
    let name = "take-over from a worker that leaves, with standby";
    rows.push(at_most(name, "/takeover_ms/leave_standby/median", "ms", 1_000.0)?);
    let name = "handover at load to a worker that joins, with standby";
    rows.push(at_most(name, "/takeover_ms/join_standby/median", "ms", 1_000.0)?);
    let name = "restore from events, CPU against a bare consume-and-insert";
    rows.push(at_most(name, "/restore/fold_over_insert/median", "x", 1.3)?);
    let name = "restore from a snapshot, a GB";
    rows.push(at_most(name, "/restore/snapshot_s_per_gb/median", "s", 1.0)?);
    rows.push(at_most("memory of an idle worker", "/idle_mb", "MB", 60.0)?);
    let (ours, raw) = ("/latency_ms/ours_10000/p99", "/latency_ms/p1_10000/p99");
    let value = number(&detail, ours)? / number(&detail, raw)?;
    let name = "end to end at 10,000/s, p99 against bare P1";
    rows.push(Row::new(name, value, "x", Gate::AtMost(1.5)));
    // More is not a result: something else ran beside it.
    let value = number(&detail, "/ratios/p2/max")? / number(&detail, "/ratios/p2/min")?;
    let name = "spread of the pairs against P2";
    rows.push(Row::new(name, value, "x", Gate::AtMost(1.5)));
    Ok((rows, detail))
}

/// The sink on a real engine; it knows its own gates, and pins itself and the engine.
fn clickhouse(cpu: usize) -> anyhow::Result<Measured> {
    let detail = measure("bellhop-clickhouse", "sink", cpu, &["--no-gate"])?;
    let rows = detail["rows"].as_array().context("find the rows of the sink's benchmark")?;
    let rows = rows.iter().map(|row| {
        let text = |name: &str| -> anyhow::Result<String> {
            let text = row[name].as_str().with_context(|| format!("find {name} in {row}"))?;
            Ok(text.to_owned())
        };
        let gate = match (row["at_least"].as_f64(), row["at_most"].as_f64()) {
            (Some(least), _) => Gate::AtLeast(least),
            (None, Some(most)) => Gate::AtMost(most),
            (None, None) => bail!("find the gate in {row}"),
        };
        Ok(Row::new(text("name")?, number(row, "/value")?, text("unit")?, gate))
    });
    Ok((rows.collect::<anyhow::Result<_>>()?, detail.clone()))
}

fn kpi(cpu: usize) -> anyhow::Result<Measured> {
    let detail = measure("bellhop-analytics", "kpis", cpu, &[])?;
    let mut rows = Vec::new();
    for (name, path, gate) in [
        ("slowest KPI over the whole dataset, as `bellhop kpi` asks it", "/as_asked_ms", 250.0),
        ("the same over a lake that was fed 10,000 times", "/after_many_ms", 200.0),
        ("slowest KPI over the whole dataset, in memory (`audit kpi`)", "/slowest_ms", 50.0),
    ] {
        rows.push(Row::new(name, number(&detail, path)?, "ms", Gate::AtMost(gate)));
    }
    Ok((rows, detail))
}

/// The release binary, built.
fn bellhop() -> anyhow::Result<PathBuf> {
    crate::cargo::run(&["build", "--release", "--locked", "--package", "bellhop"], &[])?;
    Ok(crate::cargo::target()?.join("release/bellhop"))
}

/// A folder for one measurement, empty.
fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    let folder = bellhop_harness::cache()?.join("bench").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("clear {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

fn demo() -> anyhow::Result<Measured> {
    let bellhop = bellhop()?;
    let (mut seconds, mut peaks) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let data = scratch("demo")?;
        let started = Instant::now();
        let mut child = Command::new(&bellhop)
            .args(["demo", "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the demo")?;
        let mut peak = 0.0;
        let status = loop {
            peak = peak_mb(child.id()).unwrap_or(peak);
            match child.try_wait().context("wait for the demo")? {
                Some(status) => break status,
                None => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        };
        if !status.success() {
            bail!("the demo ended with {status}");
        }
        seconds.push(started.elapsed().as_secs_f64());
        peaks.push(peak);
    }
    seconds.sort_by(f64::total_cmp);
    peaks.sort_by(f64::total_cmp);
    let rows = vec![
        Row::new("demo, whole run", seconds[1], "s", Gate::AtMost(15.0)),
        Row::new("demo, peak memory", peaks[2], "MB", Gate::AtMost(500.0)),
    ];
    Ok((rows, json!({ "seconds": seconds, "peak_mb": peaks })))
}

/// The high-water mark of a process's resident memory.
///
/// # Source
/// Linux, proc(5): `VmHWM` in KiB.
fn peak_mb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// Restores the demo's state from its snapshots, as a worker does at its start.
fn restore(cpu: usize) -> anyhow::Result<Measured> {
    let bellhop = bellhop()?;
    let data = scratch("restore")?;
    let status = Command::new(&bellhop)
        .args(["demo", "--data"])
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("start the demo")?;
    if !status.success() {
        bail!("the demo ended with {status}");
    }
    let data = data.to_string_lossy().into_owned();
    let detail = measure("bellhop-tests", "restore", cpu, &[&data])?;
    let value = number(&detail, "/milliseconds/median")?;
    let name = "restore the demo's state from its snapshot";
    Ok((vec![Row::new(name, value, "ms", Gate::AtMost(200.0))], detail))
}

/// Reservations whose ids were chosen to collide, against random ones.
fn hostile(cpu: usize) -> anyhow::Result<Measured> {
    let detail = measure("bellhop-tests", "hostile", cpu, &[])?;
    let value = number(&detail, "/chosen_over_random/restore/median")?;
    let name = "restore 100,000 reservations, hostile ids against random";
    Ok((vec![Row::new(name, value, "x", Gate::AtMost(1.2))], detail))
}

fn revision() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    match git {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown revision".to_owned(),
    }
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| line.split_once(':')).map(|(_, model)| model.trim());
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{} ({count} processors)", model.unwrap_or("unknown processor"))
}
