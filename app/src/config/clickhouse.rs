//! The table `clickhouse` of the configuration: where events are to land.

use std::path::PathBuf;
use std::time::Duration;

use bellhop_clickhouse::Batching;
use serde::{Deserialize, Serialize};

use super::hidden::Hidden;

/// Where events are to land, and in what batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClickHouse {
    /// HTTP address of the server; https:// for TLS.
    pub(crate) url: String,
    /// A PEM file of certificates to trust, beside those that the machine trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    /// User.
    user: String,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Hidden>,
    /// Database; `bellhop migrate` makes it.
    database: String,
    /// Whether its tables are replicated; `bellhop migrate` makes them so.
    replicated: bool,
    /// Rows of a batch, over all tables.
    batch_rows: usize,
    /// Bytes of a batch.
    batch_bytes: usize,
    /// Milliseconds that an event waits at most for its batch.
    batch_ms: u64,
    /// Bytes of rows that may wait in all before no more events are taken.
    memory_bytes: usize,
}

impl Default for ClickHouse {
    fn default() -> Self {
        let bellhop_clickhouse::Config { url, user, database, batching, memory_bytes_max, .. } =
            bellhop_clickhouse::Config::default();
        Self {
            url,
            ca: None,
            user,
            password: None,
            database,
            replicated: false,
            batch_rows: batching.rows_max,
            batch_bytes: batching.bytes_max,
            batch_ms: batching.age_max.as_millis() as u64,
            memory_bytes: memory_bytes_max,
        }
    }
}

impl ClickHouse {
    /// As the sink wants it; `url` replaces the configured one.
    pub(crate) fn target(&self, url: Option<&str>) -> bellhop_clickhouse::Config {
        bellhop_clickhouse::Config {
            url: url.unwrap_or(&self.url).to_owned(),
            ca: self.ca.clone(),
            user: self.user.clone(),
            password: self.password.as_ref().map(|it| it.0.clone()).unwrap_or_default(),
            database: self.database.clone(),
            replicated: self.replicated,
            batching: Batching {
                rows_max: self.batch_rows,
                bytes_max: self.batch_bytes,
                age_max: Duration::from_millis(self.batch_ms),
                ..Batching::default()
            },
            memory_bytes_max: self.memory_bytes,
            ..bellhop_clickhouse::Config::default()
        }
    }
}
