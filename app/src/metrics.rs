//! The text of `/metrics`: what this process has counted, and what is known of the partitions that
//! it owns. Nothing is exported twice by two processes, so sums over them are right.
//!
//! # Source
//! Prometheus, exposition formats, text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::time::Instant;

use bellhop_runtime::telemetry::Counts;
use bellhop_runtime::worker::{Assignment, AssignmentState, BOUNDS_US, Histogram, Meter, Outcomes};

use crate::watch::{Known, Measured};

/// What is shown.
pub(crate) struct Shown<'a> {
    /// Name of this process.
    pub(crate) worker: &'a str,
    /// Partitions of the whole log.
    pub(crate) partitions: u32,
    /// Whether its workers run.
    pub(crate) up: bool,
    /// What its workers own.
    pub(crate) owned: &'a BTreeMap<u32, Assignment>,
    pub(crate) meter: &'a Meter,
    pub(crate) known: &'a Known,
    pub(crate) spans: Option<&'a Counts>,
}

/// Name, help and value of what was measured of a partition.
type Column = (&'static str, &'static str, fn(&Measured) -> f64);

const MEASURED: [Column; 5] = [
    ("bellhop_lag_records", "Commands that wait to be decided.", |it| it.lag.records as f64),
    ("bellhop_lag_seconds", "Age of the first command that waits.", |it| it.lag.age_seconds),
    ("bellhop_commands_decided", "Offset of the next command to decide.", |it| it.lag.next as f64),
    ("bellhop_events_end", "Offset behind the last event.", |it| it.events_end as f64),
    ("bellhop_parked_end", "Offset behind the last parked record.", |it| it.parked_end as f64),
];

/// Label and count of an outcome.
type Outcome = (&'static str, fn(&Outcomes) -> u64);

const OUTCOMES: [Outcome; 5] = [
    ("accepted", |it| it.accepted),
    ("refused", |it| it.refused),
    ("repeated", |it| it.repeated),
    ("conflict", |it| it.conflicted),
    ("parked", |it| it.parked),
];

/// The whole text.
pub(crate) fn text(shown: &Shown<'_>) -> String {
    let Shown { worker, partitions, up, owned, meter, known, spans } = shown;
    let mut out = Text::default();
    let version = env!("CARGO_PKG_VERSION");
    let labels = format!("version=\"{version}\",worker=\"{}\"", escaped(worker));
    out.family("bellhop_build_info", "gauge", "This process: its version and name.");
    out.line("bellhop_build_info", &labels, 1);
    out.single(
        "bellhop_workers_up",
        "gauge",
        "Whether the workers of this process run.",
        u8::from(*up),
    );
    let answers = u8::from(known.trouble.is_none());
    let silent = known.trouble.as_ref().map_or(0.0, |(_, since)| since.elapsed().as_secs_f64());
    out.single(
        "bellhop_brokers_up",
        "gauge",
        "Whether the brokers answer, with a leader for every partition; 1 in a folder.",
        answers,
    );
    out.single("bellhop_brokers_silent_seconds", "gauge", "How long they have not.", silent);
    out.single(
        "bellhop_partitions",
        "gauge",
        "Partitions of the log, whoever owns them.",
        partitions,
    );

    out.family("bellhop_partition_owned", "gauge", "Partitions that this process owns, by worker.");
    for (partition, it) in *owned {
        let labels = format!("{},worker=\"{}\"", of(*partition), escaped(&it.worker));
        out.line("bellhop_partition_owned", &labels, 1);
    }
    out.family("bellhop_partition_open", "gauge", "Whether an owned partition is decided now.");
    for (partition, it) in *owned {
        let open = u8::from(it.state == AssignmentState::Deciding);
        out.line("bellhop_partition_open", &of(*partition), open);
    }
    out.family(
        "bellhop_partition_failed",
        "gauge",
        "Owned partitions that stand still until somebody acts.",
    );
    for (partition, it) in *owned {
        let failed = u8::from(matches!(it.state, AssignmentState::StandsStill(_)));
        out.line("bellhop_partition_failed", &of(*partition), failed);
    }
    out.family(
        "bellhop_commands_total",
        "counter",
        "Commands of this process whose outcome is committed.",
    );
    for (partition, outcomes) in meter.outcomes() {
        for (outcome, count) in OUTCOMES {
            let labels = format!("{},outcome=\"{outcome}\"", of(partition));
            out.line("bellhop_commands_total", &labels, count(&outcomes));
        }
    }
    out.histogram(
        "bellhop_outcome_seconds",
        "From the append of the oldest command of a transaction, by partition, to its commit.",
        &meter.outcome_time,
    );
    out.histogram(
        "bellhop_commit_seconds",
        "From the submission of a transaction to its end.",
        &meter.commit_time,
    );
    let (committed, undone) = meter.transactions();
    out.family("bellhop_transactions_total", "counter", "Transactions by their end.");
    out.line("bellhop_transactions_total", "end=\"committed\"", committed);
    out.line("bellhop_transactions_total", "end=\"undone\"", undone);
    out.single(
        "bellhop_rebalances_total",
        "counter",
        "Changes of ownership: assignments, revocations, losses.",
        meter.rebalances(),
    );

    let age = known.measured.map_or(f64::NAN, |at| Instant::now().duration_since(at).as_secs_f64());
    out.single(
        "bellhop_measured_seconds",
        "gauge",
        "Age of what follows; it grows while the brokers do not answer.",
        age,
    );
    for (name, help, value) in MEASURED {
        out.family(name, "gauge", help);
        for (partition, measured) in &known.partitions {
            out.line(name, &of(*partition), value(measured));
        }
    }
    if let Some(spans) = spans {
        out.single(
            "bellhop_spans_exported_total",
            "counter",
            "Spans that the collector has taken.",
            spans.exported(),
        );
        out.single(
            "bellhop_spans_dropped_total",
            "counter",
            "Spans that nobody has taken.",
            spans.dropped(),
        );
    }
    out.0
}

fn of(partition: u32) -> String {
    format!("partition=\"{partition}\"")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let (buckets, sum_us) = histogram.read();
        let mut count = 0;
        let bounds = BOUNDS_US.iter().map(|us| (*us as f64 / 1e6).to_string());
        for (bound, bucket) in bounds.chain(["+Inf".to_owned()]).zip(buckets) {
            count += bucket;
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {count}", sum_us as f64 / 1e6);
    }
}
