//! The machine alone: decode, dedupe, decide, evolve, encode; in memory, on one thread. Then its
//! state: written as a snapshot and restored from it.
//!
//! Prints one line of JSON. `cargo xtask bench core` pins it and shows it as a table.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark talks and may fail")]

use std::sync::Arc;

use bellhop_core::headers::Written;
use bellhop_core::message::LogId;
use bellhop_core::record::{Record, Records};
use bellhop_core::task::{Config, Task};
use bellhop_core::topology::{Topology, Wire};
use bellhop_handlers as _;
use bellhop_tests::avail::Load;
use uuid::Uuid;

fn main() {
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let mut id = 0;
    let wire = Arc::new(Wire::new(&topology, |_| {
        id += 1;
        id
    }));
    let load = Load::default();
    let commands = load.generate(&wire);
    let mut rates = Vec::new();
    let mut snapshots = Snapshots::default();
    let mut totals = Totals::default();
    for _ in 0..5 {
        let mut tasks: Vec<Task> = (0..load.partitions)
            .map(|partition| {
                let config = config(partition, load.partitions);
                Task::new(config, Arc::clone(&topology), Arc::clone(&wire))
            })
            .collect();
        run(&mut tasks, &commands.catalog, 0, &mut Totals::default());
        totals = Totals::default();
        let before = cpu_seconds();
        let first: Vec<u64> = commands.catalog.iter().map(|records| records.len() as u64).collect();
        for (partition, task) in tasks.iter_mut().enumerate() {
            let one = std::slice::from_mut(task);
            run(one, &commands.load[partition..=partition], first[partition], &mut totals);
        }
        rates.push(totals.commands as f64 / (cpu_seconds() - before));
        snapshots.measure(&tasks, |partition| {
            let config = config(partition, load.partitions);
            Task::new(config, Arc::clone(&topology), Arc::clone(&wire))
        });
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

fn config(partition: u32, partitions: u32) -> Config {
    Config {
        partition,
        partitions,
        log_id: LogId(Uuid::from_u128(42)),
        commands_topic: "bellhop.commands".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        idempotency_hours: 168,
        value_bytes_max: 1 << 20,
        reply_topics: Vec::new(),
        headers: Written::default(),
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

fn run(tasks: &mut [Task], records: &[Records], first_offset: u64, totals: &mut Totals) {
    for (task, records) in tasks.iter_mut().zip(records) {
        for (n, record) in records.iter().enumerate() {
            totals.commands += 1;
            totals.command_bytes += record.value.len() as u64;
            let record = Record {
                offset: first_offset + n as u64,
                timestamp: record.timestamp,
                key: Some(record.key),
                value: Some(record.value),
                headers: &[],
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
