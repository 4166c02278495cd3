//! The Redpanda log under the AVAIL load on a real broker, against a bare loop of the same client.
//!
//! Every contender is a process of its own (this program, started again), pinned to one processor,
//! the broker to another. A round preloads one set of topics and lets each contender work through
//! it, one after another: the bellhop worker (`ours`), a passthrough of one record out for one in
//! (`p1`), one with ours' number and sizes of records out (`p2`), the worker at least once (`alo`). Before any number counts, state
//! and events of ours must be those of an oracle: tasks in memory, on one thread, no log.
//!
//! Prints one line of JSON. `cargo xtask bench avail` pins it and shows it as a table.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark talks and may fail"
)]

mod latency;
mod ours;
mod raw;
mod restore;
mod usage;
mod world;

use std::time::{Duration, Instant};

use self::latency::{Incident, Quantiles};
use self::usage::Usage;
use self::world::World;

/// What to measure, from the command line.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    commands: usize,
    rounds: usize,
    /// Rounds that measure what headers cost.
    headers: usize,
    warm: Duration,
    latency: Duration,
    takeovers: usize,
    restores: usize,
    cpu: usize,
    broker_cpu: usize,
}

impl Options {
    fn parse(arguments: &[String]) -> Self {
        let number = |name: &str, default: usize| {
            let at = arguments.iter().position(|argument| argument == name);
            let Some(at) = at else { return default };
            let text = arguments.get(at + 1).expect("a number behind the option");
            text.parse().expect("a number")
        };
        let seconds = |name, default| Duration::from_secs(number(name, default) as u64);
        Self {
            commands: number("--commands", 1_000_000),
            rounds: number("--rounds", 5),
            headers: number("--headers", 0),
            warm: seconds("--warm", 120),
            latency: seconds("--latency", 5),
            takeovers: number("--takeovers", 3),
            restores: number("--restores", 5),
            cpu: number("--cpu", 1),
            broker_cpu: number("--broker-cpu", 0),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((word, rest)) = arguments.split_first()
        && word == "child"
    {
        return world::child(rest);
    }
    let options = Options::parse(&arguments);
    let world = World::start(&options);
    let mut rounds = Vec::new();
    let warm_until = Instant::now() + options.warm;
    while Instant::now() < warm_until {
        let round = world.round();
        eprintln!("warm-up: {}", round.describe());
    }
    for _ in 0..options.rounds {
        let round = world.round();
        eprintln!("{}", round.describe());
        rounds.push(round);
    }
    let mut parts = vec![
        "\"benchmark\":\"avail\"".to_owned(),
        format!("\"commands\":{}", world.count()),
        format!("\"command_bytes\":{:.0}", world.command_bytes()),
        format!("\"event_bytes\":{:.0}", world.oracle.event_bytes()),
        format!("\"events\":{}", world.oracle.events),
        format!("\"rounds\":{}", options.rounds),
        format!("\"warm_seconds\":{}", options.warm.as_secs()),
    ];
    if !rounds.is_empty() {
        let spread = |each: &dyn Fn(&world::Round) -> f64| spread(rounds.iter().map(each));
        let ratio = |raw: Pick| spread(&|round| raw(round).cpu_us / round.ours.cpu_us);
        parts.push(format!(
            "\"ratios\":{{\"p1\":{},\"p2\":{},\"alo\":{}}}",
            ratio(|round| &round.p1),
            ratio(|round| &round.p2),
            ratio(|round| &round.alo)
        ));
        let contenders: [(&str, Pick); 4] = [
            ("ours", |round| &round.ours),
            ("alo", |round| &round.alo),
            ("p1", |round| &round.p1),
            ("p2", |round| &round.p2),
        ];
        for (name, of) in contenders {
            let each = |value: fn(&Usage) -> f64| spread(&|round| value(of(round)));
            parts.push(format!(
                "\"{name}\":{{\"cpu_us\":{},\"broker_cpu_us\":{},\"per_second\":{},\"peak_mb\":{}}}",
                each(|it| it.cpu_us / it.count),
                each(|it| it.broker_cpu_us / it.count),
                each(|it| it.count / it.wall_us * 1e6),
                each(|it| it.peak_kb / 1024.0),
            ));
            // A worker does not tell how many transactions it made.
            if world::is_raw(name) {
                let each = each(|it| it.count / it.transactions);
                parts.push(format!("\"{name}_records_per_transaction\":{each}"));
            }
        }
    }
    if options.restores > 0 {
        parts.push(format!("\"restore\":{}", restores(&world, options.restores)));
    }
    parts.push(format!("\"idle_mb\":{:.1}", latency::idle_mb(&world)));
    if options.headers > 0 {
        let found: Vec<_> = (0..options.headers)
            .map(|_| {
                let ratios = world.headers_round();
                eprintln!("headers: {ratios:?}");
                ratios
            })
            .collect();
        let [cloudevents, both] = [0, 1].map(|nth| spread(found.iter().map(|it| it[nth])));
        parts.push(format!(
            "\"headers_cpu_over_none\":{{\"cloudevents\":{cloudevents},\"both\":{both}}}"
        ));
    }
    if !options.latency.is_zero() {
        let runs =
            [("ours", 10), ("ours", 1_000), ("ours", 10_000), ("p1", 10_000), ("ours", 50_000)];
        let found = runs.into_iter().map(|(contender, rate)| {
            let quantiles = latency::measure(&world, contender, rate, options.latency);
            told(&format!("{contender}_{rate}"), &quantiles)
        });
        parts.push(format!("\"latency_ms\":{{{}}}", found.collect::<Vec<_>>().join(",")));
    }
    if options.takeovers > 0 {
        let runs = [
            ("kill", "ours", Incident::Kill, Duration::from_secs(12)),
            ("kill_standby", "standby", Incident::Kill, Duration::from_secs(12)),
            ("leave", "ours", Incident::Leave, Duration::from_secs(6)),
            ("leave_standby", "standby", Incident::Leave, Duration::from_secs(6)),
            ("join", "ours", Incident::Join, Duration::from_secs(10)),
            ("join_standby", "standby", Incident::Join, Duration::from_secs(10)),
        ];
        let found = runs.into_iter().map(|(name, heir, incident, length)| {
            let longest = (0..options.takeovers).map(|_| {
                let found = latency::interrupted(&world, heir, incident, TAKEOVER_RATE, length);
                eprintln!("{name}: {found:?}");
                found.max
            });
            let longest = spread(longest);
            format!("\"{name}\":{longest}")
        });
        parts.push(format!("\"takeover_ms\":{{{}}}", found.collect::<Vec<_>>().join(",")));
    }
    println!("{{{}}}", parts.join(","));
}

/// What restores took, as JSON; a GB is of what is read: values of events, or files of snapshots.
fn restores(world: &World, rounds: usize) -> String {
    let restores = world.restores(rounds);
    let each = |value: &dyn Fn(&world::Restored) -> f64| spread(restores.rounds.iter().map(value));
    let events_gb = world.oracle.event_bytes() * world.oracle.events as f64 / 1e9;
    let snapshot_gb = restores.snapshot_bytes / 1e9;
    let told = [
        ("fold_over_insert", each(&|it| it.fold.cpu_us / it.insert.cpu_us)),
        ("fold_over_insert_wall", each(&|it| it.fold.wall_us / it.insert.wall_us)),
        ("fold_us", each(&|it| it.fold.cpu_us / it.fold.count)),
        ("insert_us", each(&|it| it.insert.cpu_us / it.insert.count)),
        ("fold_s_per_gb", each(&|it| it.fold.wall_us / 1e6 / events_gb)),
        ("snapshot_s_per_gb", each(&|it| it.thaw.wall_us / 1e6 / snapshot_gb)),
        ("snapshot_mb", format!("{:.1}", snapshot_gb * 1e3)),
    ];
    let told = told.map(|(name, value)| format!("\"{name}\":{value}"));
    let told = format!("{{{}}}", told.join(","));
    eprintln!("restore: {told}");
    told
}

/// Commands a second while workers change.
const TAKEOVER_RATE: u64 = 2_000;

/// Quantiles as JSON, and in words.
fn told(name: &str, quantiles: &Quantiles) -> String {
    eprintln!("{name}: {quantiles:?}");
    let Quantiles { count, p50, p95, p99, max } = quantiles;
    format!(
        "\"{name}\":{{\"count\":{count},\"p50\":{p50:.2},\"p95\":{p95:.2},\"p99\":{p99:.2},\"max\":{max:.2}}}"
    )
}

/// One contender of a round.
type Pick = fn(&world::Round) -> &Usage;

/// Least, median and most, as JSON.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (values.first(), values.last()) else { return "null".to_owned() };
    let median = values[values.len() / 2];
    format!("{{\"min\":{min:.3},\"median\":{median:.3},\"max\":{max:.3}}}")
}
