//! The configuration: defaults, then a file, then `BELLHOP_*` variables (`BELLHOP_KAFKA__BROKERS` is
//! `brokers` of the table `kafka`). Unknown keys are refused.

mod clickhouse;
mod hidden;
mod kafka;
pub(crate) mod reference;
mod telemetry;

use std::net::SocketAddr;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bellhop_core::headers::Written;
use bellhop_core::rules::Rules;
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::UncasedStr;
use serde::{Deserialize, Serialize};

pub(crate) use self::clickhouse::ClickHouse;
pub(crate) use self::kafka::{Kafka, Times};
pub(crate) use self::telemetry::Telemetry;

/// The file that is read when none is named.
const FILE: &str = "bellhop.toml";
/// Variables of the project's own tools that have the same prefix and configure nothing; so do all
/// that begin with `BELLHOP_TEST_`, `BELLHOP_BENCH_` or `BELLHOP_FUZZ_`.
const TOOLS: [&str; 8] =
    ["cache", "seed", "seeds", "bless", "release", "revision", "update", "write_golden"];

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Folder of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    /// What is logged to standard error: off, error, warn, info, debug or trace.
    pub(crate) log: String,
    /// How: `text` for people, `json` for machines, an object a line.
    pub(crate) log_format: LogFormat,
    /// Partitions of a log that is made anew.
    pub(crate) partitions: u32,
    /// Worker threads; 0 for one a core.
    pub(crate) workers: usize,
    /// Records that a transaction has at most.
    pub(crate) commit_records: usize,
    /// Bytes that the records of a transaction lead to, about; more wait for the next.
    pub(crate) commit_bytes: usize,
    /// Milliseconds that a record waits at most for its transaction.
    pub(crate) commit_ms: u64,
    /// Hours of stream time that a new log remembers idempotency keys for at least.
    pub(crate) idempotency_hours: u32,
    /// Values of more bytes are parked, on a new log.
    pub(crate) value_bytes_max: u32,
    /// Days that a reservation is kept in memory after its last day, on a new log.
    pub(crate) retention_days: u32,
    /// Events of a partition between two snapshots; 0 for none but the one at the end.
    pub(crate) snapshot_events: u64,
    /// Address of S3-like storage for the snapshots, `s3://bucket/prefix`, so that any machine finds
    /// them; keys and endpoint come from the `AWS_*` variables. Without, they lie in `data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshots: Option<String>,
    /// Whether this process keeps copies of the partitions that it does not own, to take them over
    /// in less than a second; it costs their memory.
    pub(crate) standby: bool,
    /// Topics that commands may ask to be answered on [default: the topic `replies` of the prefix]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reply_topics: Option<Vec<String>>,
    /// Headers that are written with events, replies and cascaded commands: `cloudevents`,
    /// `traceparent`.
    pub(crate) output_headers: Vec<OutputHeader>,
    /// Name of this process, in metrics and among the workers of a cluster [default:
    /// `kafka.instance`, or the machine's name and the process's number]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Address, as `127.0.0.1:9464`, of metrics, health and readiness; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<SocketAddr>,
    /// The Kafka-protocol cluster, when the log is on one.
    pub(crate) kafka: Kafka,
    /// Where events are to land.
    pub(crate) clickhouse: ClickHouse,
    /// Where spans go.
    pub(crate) telemetry: Telemetry,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// A line of words, coloured on a terminal.
    Text,
    /// An object a line, its fields beside time, level and message.
    Json,
}

/// A group of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OutputHeader {
    /// The attributes of CloudEvents 1.0, in binary mode.
    CloudEvents,
    /// The trace of the command (W3C), with `tracestate`.
    TraceParent,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: None,
            log: "warn".to_owned(),
            log_format: LogFormat::Text,
            partitions: 8,
            workers: 0,
            commit_records: 10_000,
            commit_bytes: 16 << 20,
            commit_ms: 5,
            idempotency_hours: 168,
            value_bytes_max: 1 << 20,
            retention_days: 400,
            snapshot_events: 1_000_000,
            snapshots: None,
            standby: false,
            reply_topics: None,
            output_headers: Vec::new(),
            name: None,
            http: None,
            kafka: Kafka::default(),
            clickhouse: ClickHouse::default(),
            telemetry: Telemetry::default(),
        }
    }
}

fn is_ours(variable: &UncasedStr) -> bool {
    let of_tools = TOOLS.iter().any(|tool| variable == *tool);
    let of_tests = ["test_", "bench_", "fuzz_"].iter().any(|prefix| variable.starts_with(prefix));
    !of_tools && !of_tests
}

/// The file that `--config` named.
static FILE_GIVEN: OnceLock<PathBuf> = OnceLock::new();

impl Config {
    /// Keeps the file that `--config` named: a process reads one configuration.
    pub(crate) fn file_is_given(file: PathBuf) {
        let _ = FILE_GIVEN.set(file);
    }

    /// The file that `--config` named, for commands that messages offer.
    pub(crate) fn file_given() -> Option<&'static Path> {
        FILE_GIVEN.get().map(PathBuf::as_path)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the named file is not there, a key is unknown or a value is of the wrong type.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self> {
        if let Some(file) = file
            && !file.is_file()
        {
            bail!("there is no configuration file {}: check --config", file.display());
        }
        let figment = Figment::from(Serialized::defaults(Self::default()))
            .merge(Toml::file(file.unwrap_or(Path::new(FILE))))
            .merge(Env::prefixed("BELLHOP_").filter(is_ours).split("__"));
        let config: Self = figment
            .extract()
            .context("read the configuration; `bellhop config` prints the keys there are")?;
        config.check()
    }

    fn check(self) -> Result<Self> {
        if !(1..=4_096).contains(&self.partitions) {
            bail!("partitions = {}: set 1 to 4096", self.partitions);
        }
        if self.commit_records == 0 {
            bail!("commit_records = 0: a transaction needs a record; set 1 or more");
        }
        if self.commit_bytes == 0 {
            bail!("commit_bytes = 0: a transaction needs room for a record; set 1 or more");
        }
        if !(1..=60_000).contains(&self.commit_ms) {
            bail!("commit_ms = {}: set 1 to 60000", self.commit_ms);
        }
        self.rules().check().map_err(anyhow::Error::msg)?;
        self.kafka.check()?;
        self.telemetry.check()?;
        Ok(self)
    }

    /// What a log that is made anew is decided by; one that is there has rules of its own.
    pub(crate) fn rules(&self) -> Rules {
        let Self { idempotency_hours, value_bytes_max, retention_days, .. } = *self;
        Rules { idempotency_hours, value_bytes_max, retention_days }
    }

    /// Headers to write.
    pub(crate) fn headers(&self) -> Written {
        Written {
            cloudevents: self.output_headers.contains(&OutputHeader::CloudEvents),
            traceparent: self.output_headers.contains(&OutputHeader::TraceParent),
        }
    }

    /// How long idempotency keys are remembered.
    pub(crate) fn remembered(&self) -> Duration {
        self.rules().idempotency_time()
    }

    /// Name of this process.
    pub(crate) fn name(&self) -> String {
        let named = self.name.as_deref().or(self.kafka.instance());
        named.map_or_else(own_name, str::to_owned)
    }

    /// Worker threads, at least one.
    pub(crate) fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if self.workers == 0 { cores() } else { self.workers }
    }

    /// As a file.
    ///
    /// # Errors
    /// Never, for a value that was read.
    pub(crate) fn to_toml(&self) -> Result<String> {
        let value = serde_json::to_value(self)?;
        let mut text = String::new();
        write_table("", &value, &mut text);
        Ok(text)
    }
}

/// The machine's name and the process's number.
fn own_name() -> String {
    let of_system = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = of_system.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "bellhop" } else { host };
    format!("{host}-{}", std::process::id())
}

/// Texts, numbers and lists are written alike in JSON and TOML; tables come last.
fn write_table(name: &str, table: &serde_json::Value, out: &mut String) {
    let fields = || table.as_object().into_iter().flatten();
    if !name.is_empty() {
        out.push_str(&format!("\n[{name}]\n"));
    }
    for (key, value) in fields().filter(|(_, value)| !value.is_object()) {
        // A secret that is printed would be taken for one when the file is read.
        let comment = if reference::is_secret(value) { "# " } else { "" };
        out.push_str(&format!("{comment}{key} = {value}\n"));
    }
    for (key, value) in fields().filter(|(_, value)| value.is_object()) {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        write_table(&name, value, out);
    }
}
