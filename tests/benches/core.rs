//! The machine alone: decode, dedupe, decide, evolve, encode; in memory, on one thread. Then its
//! state: written as a snapshot and restored from it.
//!
//! Prints one line of JSON. `cargo xtask bench core` pins it and shows it as a table. With
//! `--headers` it tells instead what headers cost.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark talks and may fail")]

use std::sync::Arc;

use bellhop_core::headers::{TRACEPARENT, Written};
use bellhop_core::message::LogId;
use bellhop_core::record::{Header, Record, Records};
use bellhop_core::rules::Rules;
use bellhop_core::task::{Config, Task};
use bellhop_core::topology::{Topology, Wire};
use bellhop_handlers as _;
use bellhop_tests::avail::{Commands, Load};
use uuid::Uuid;

fn main() {
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let mut id = 0;
    let wire = Arc::new(Wire::new(&topology, |_| {
        id += 1;
        id
    }));
    let load = Load::default();
    let world = World { commands: load.generate(&wire), load, topology, wire };
    if std::env::args().any(|argument| argument == "--headers") {
        return compare(&world);
    }
    let mut rates = Vec::new();
    let mut snapshots = Snapshots::default();
    let mut totals = Totals::default();
    for _ in 0..5 {
        let measured = world.measure(Written::default(), &[]);
        totals = measured.totals;
        rates.push(totals.commands as f64 / measured.seconds);
        snapshots.measure(&measured.tasks, |partition| world.task(partition, Written::default()));
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{{\"benchmark\":\"core\",\"commands\":{},\"events\":{},\"event_bytes\":{:.0},\"command_bytes\":{:.0},\"per_second\":{{\"min\":{:.0},\"median\":{:.0},\"max\":{:.0}}},{}}}",
        totals.commands,
        totals.events,
        totals.event_bytes as f64 / totals.events as f64,
        totals.command_bytes as f64 / totals.commands as f64,
        rates[0],
        rates[rates.len() / 2],
        rates[rates.len() - 1],
        snapshots.told(),
    );
}

/// What headers cost: CPU over that of the run without, in turns.
fn compare(world: &World) {
    let trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace = [Header { name: TRACEPARENT, value: trace }];
    let [none, cloudevents, traceparent, both] =
        [(false, false), (true, false), (false, true), (true, true)]
            .map(|(cloudevents, traceparent)| Written { cloudevents, traceparent });
    let mut ratios: [(&str, Vec<f64>); 4] =
        ["read", "cloudevents", "traceparent", "both"].map(|name| (name, Vec::new()));
    for _ in 0..5 {
        let off = world.measure(none, &[]).seconds;
        let on = [(none, &trace[..]), (cloudevents, &[]), (traceparent, &trace), (both, &trace)];
        for ((_, ratios), (written, headers)) in ratios.iter_mut().zip(on) {
            ratios.push(world.measure(written, headers).seconds / off);
        }
    }
    let each = ratios.map(|(name, mut ratios)| {
        ratios.sort_by(f64::total_cmp);
        let [min, .., max] = ratios.as_slice() else { panic!("five rounds") };
        let median = ratios[ratios.len() / 2];
        format!("\"{name}\":{{\"min\":{min:.3},\"median\":{median:.3},\"max\":{max:.3}}}")
    });
    println!("{{\"benchmark\":\"core headers\",\"over_none\":{{{}}}}}", each.join(","));
}

struct World {
    load: Load,
    commands: Commands,
    topology: Arc<Topology>,
    wire: Arc<Wire>,
}

/// What became of the load, and the seconds of CPU that it took.
struct Measured {
    totals: Totals,
    seconds: f64,
    tasks: Vec<Task>,
}

impl World {
    fn task(&self, partition: u32, headers: Written) -> Task {
        let config = Config {
            partition,
            partitions: self.load.partitions,
            log_id: LogId(Uuid::from_u128(42)),
            commands_topic: "bellhop.commands".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            rules: Rules::default(),
            reply_topics: Vec::new(),
            headers,
        };
        Task::new(config, Arc::clone(&self.topology), Arc::clone(&self.wire))
    }

    fn measure(&self, written: Written, headers: &[Header<'_>]) -> Measured {
        let partitions = 0..self.load.partitions;
        let mut tasks: Vec<Task> = partitions.map(|it| self.task(it, written)).collect();
        let Commands { catalog, load } = &self.commands;
        run(&mut tasks, catalog, 0, headers, &mut Totals::default());
        let mut totals = Totals::default();
        let before = cpu_seconds();
        let first: Vec<u64> = catalog.iter().map(|records| records.len() as u64).collect();
        for (partition, task) in tasks.iter_mut().enumerate() {
            let one = std::slice::from_mut(task);
            run(one, &load[partition..=partition], first[partition], headers, &mut totals);
        }
        Measured { totals, seconds: cpu_seconds() - before, tasks }
    }
}

/// What snapshots of all partitions took, CPU of the thread.
#[derive(Default)]
struct Snapshots {
    bytes: usize,
    written: Vec<f64>,
    restored: Vec<f64>,
}

impl Snapshots {
    fn measure(&mut self, tasks: &[Task], new: impl Fn(u32) -> Task) {
        let before = cpu_seconds();
        let mut states = Vec::new();
        for task in tasks {
            let mut state = Vec::new();
            task.snapshot(&mut state);
            states.push(state);
        }
        let written = cpu_seconds();
        for (partition, state) in (0..).zip(&states) {
            new(partition).restore(state).expect("a state");
        }
        self.restored.push(cpu_seconds() - written);
        self.written.push(written - before);
        self.bytes = states.iter().map(Vec::len).sum();
    }

    fn told(mut self) -> String {
        let gb = self.bytes as f64 / 1e9;
        let mut per_gb = |seconds: fn(&mut Self) -> &mut Vec<f64>| {
            let seconds = seconds(&mut self);
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2] / gb
        };
        let written = per_gb(|it| &mut it.written);
        let restored = per_gb(|it| &mut it.restored);
        format!(
            "\"snapshot\":{{\"mb\":{:.1},\"write_s_per_gb\":{written:.2},\"restore_s_per_gb\":{restored:.2}}}",
            gb * 1e3
        )
    }
}

#[derive(Default)]
struct Totals {
    commands: u64,
    events: u64,
    event_bytes: u64,
    command_bytes: u64,
}

fn run(
    tasks: &mut [Task],
    records: &[Records],
    first_offset: u64,
    headers: &[Header<'_>],
    totals: &mut Totals,
) {
    for (task, records) in tasks.iter_mut().zip(records) {
        for (n, record) in records.iter().enumerate() {
            totals.commands += 1;
            totals.command_bytes += record.value.len() as u64;
            let record = Record {
                offset: first_offset + n as u64,
                timestamp: record.timestamp,
                key: Some(record.key),
                value: Some(record.value),
                headers,
            };
            task.process(&record).expect("a known schema");
            if n % 1_000 == 999 {
                collect(task, totals);
            }
        }
        collect(task, totals);
    }
}

fn collect(task: &mut Task, totals: &mut Totals) {
    let output = task.output();
    assert!(output.parked.is_empty(), "the load has nothing to park");
    totals.events += output.events.len() as u64;
    totals.event_bytes += output.events.bytes() as u64;
    output.clear();
}

/// CPU time of this thread so far.
///
/// # Source
/// Linux, `Documentation/scheduler/sched-stats.rst`: nanoseconds on the CPU come first.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    let nanoseconds = stat.split_whitespace().next().and_then(|first| first.parse::<f64>().ok());
    nanoseconds.expect("a number") / 1e9
}
