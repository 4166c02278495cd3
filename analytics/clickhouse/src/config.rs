//! What a sink is told.

use std::path::PathBuf;
use std::time::Duration;

/// Where to land, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// HTTP address of the server, like `http://localhost:8123` or `https://host:8443`.
    pub url: String,
    /// A PEM file of certificates to trust, beside those that the machine trusts.
    pub ca: Option<PathBuf>,
    /// Options of the command line that name this server and its log; the commands that messages
    /// offer repeat them.
    pub given: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
    /// Database; `migrate` makes it.
    pub database: String,
    /// Whether its tables are replicated.
    pub replicated: bool,
    /// When a batch is full.
    pub batching: Batching,
    /// Bytes of rows that may wait, over all partitions, before no more events are taken.
    pub memory_bytes_max: usize,
    /// Events taken at a time.
    pub poll_records_max: usize,
    /// How long an insert may take before its outcome counts as unknown.
    pub insert_timeout: Duration,
    /// How long a batch may be inserted under one mark; the server refuses it later. The window of
    /// tokens has to last longer: see [`Config::window`].
    pub plan_ttl: Duration,
    /// Pauses between tries of a batch; then the circuit opens.
    pub ladder: Vec<Duration>,
    /// How long nothing is tried once the ladder is at its end.
    pub circuit_open: Duration,
    /// How long a partition that is asked back may take to finish its batch.
    pub release_timeout: Duration,
    /// How long a partition waits for a schema that the log does not know before the events of that
    /// schema are parked.
    pub unknown_for: Duration,
    /// How long a lock is respected whose holder gives no sign of life.
    pub lock_stale: Duration,
    /// For tests that prove that the audit notices.
    #[doc(hidden)]
    pub breaks: Breaks,
}

/// When a batch of a partition is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Rows over all tables.
    pub rows_max: usize,
    /// Bytes of rows over all tables.
    pub bytes_max: usize,
    /// Age of its first event.
    pub age_max: Duration,
    /// Shortest time between two batches of a partition: bounds how many tokens are used up.
    pub interval_min: Duration,
}

/// Promises to break.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaks {
    /// Inserts carry no token, and nothing is counted before a batch is tried again.
    pub no_token: bool,
    /// A batch is marked as done before it is inserted.
    pub mark_first: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "http://localhost:8123".to_owned(),
            ca: None,
            given: String::new(),
            user: "default".to_owned(),
            password: String::new(),
            database: "bellhop".to_owned(),
            replicated: false,
            batching: Batching::default(),
            memory_bytes_max: 128 << 20,
            poll_records_max: 2_000,
            insert_timeout: Duration::from_secs(60),
            plan_ttl: Duration::from_secs(30),
            ladder: [100, 200, 400, 800, 1_600].map(Duration::from_millis).to_vec(),
            circuit_open: Duration::from_secs(30),
            release_timeout: Duration::from_secs(5),
            unknown_for: Duration::from_secs(600),
            lock_stale: Duration::from_secs(60),
            breaks: Breaks::default(),
        }
    }
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            rows_max: 200_000,
            bytes_max: 32 << 20,
            age_max: Duration::from_millis(400),
            interval_min: Duration::from_millis(100),
        }
    }
}

impl Config {
    /// How many tokens a table has to remember: all that so many partitions can use up while a
    /// batch may still be inserted under its mark, twice over.
    #[must_use]
    pub fn window(&self, partitions: u32) -> u64 {
        let interval = self.batching.interval_min.as_millis().max(1);
        let tokens = self.plan_ttl.as_millis().div_ceil(interval);
        2 * u64::from(partitions) * u64::try_from(tokens).unwrap_or(u64::MAX / 8_192)
    }
}
