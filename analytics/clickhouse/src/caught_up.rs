//! Whether everything up to some offsets has landed, whoever lands it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::Error;
use crate::server::{Server, blocking};
use crate::sink::Status;

/// How often the tables are asked about partitions of other sinks.
const ASK: Duration = Duration::from_secs(1);
/// How often it is said what is waited for.
const SAY: Duration = Duration::from_secs(10);

/// By partition: the offset behind the last event in the tables.
///
/// # Errors
/// When the server cannot be asked, or the tables are not there.
pub fn landed(server: &Server) -> Result<BTreeMap<u32, u64>, Error> {
    blocking(landed_async(&server.fresh()))
}

pub(crate) async fn landed_async(server: &Server) -> Result<BTreeMap<u32, u64>, Error> {
    #[derive(Deserialize)]
    struct Log {
        partitions: u32,
    }
    #[derive(Deserialize)]
    struct Landed {
        partition: u32,
        next: u64,
    }
    let tried = "see what has landed";
    let sql = "SELECT max(partitions) AS partitions FROM log";
    let logs: Vec<Log> = server.ask_async(tried, sql, &[]).await?;
    let partitions = logs.first().map_or(0, |log| log.partitions);
    // The last event of a partition is read from the end of its sort key; a maximum by partition
    // reads them all.
    let lasts: Vec<String> = (0..partitions)
        .map(|partition| {
            format!(
                "SELECT toUInt32({partition}) AS partition, next FROM (SELECT toUInt64(`offset` + 1) AS next FROM events WHERE `partition` = {partition} ORDER BY `offset` DESC LIMIT 1)"
            )
        })
        .collect();
    if lasts.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<Landed> = server.ask_async(tried, &lasts.join(" UNION ALL "), &[]).await?;
    Ok(rows.into_iter().map(|landed| (landed.partition, landed.next)).collect())
}

/// Waits for offsets: those of its own partitions a sink knows, those of others the tables say.
#[derive(Debug)]
pub struct CaughtUp {
    server: Server,
    /// By partition: the offset behind the last event to wait for.
    ends: BTreeMap<u32, u64>,
    asked_at: Option<Instant>,
    said_at: Instant,
    landed: BTreeMap<u32, u64>,
}

impl CaughtUp {
    /// Waits until each partition has landed up to an offset.
    #[must_use]
    pub fn new(server: Server, ends: BTreeMap<u32, u64>) -> Self {
        let now = Instant::now();
        Self { server, ends, asked_at: None, said_at: now, landed: BTreeMap::new() }
    }

    /// Whether all has landed that is not held; says now and then what has not, and who is to land
    /// it.
    pub fn is_reached(&mut self, status: &Status) -> bool {
        let is_own_left = self
            .ends
            .iter()
            .filter(|(partition, _)| !status.held.contains_key(partition))
            .any(|(partition, end)| status.next.get(partition).is_some_and(|next| next < end));
        if is_own_left {
            return false;
        }
        let others: Vec<(u32, u64)> = self
            .ends
            .iter()
            .filter(|(partition, end)| **end > 0 && !status.next.contains_key(partition))
            .map(|(partition, end)| (*partition, *end))
            .collect();
        if others.is_empty() {
            return true;
        }
        let now = Instant::now();
        if self.asked_at.is_some_and(|asked| now < asked + ASK) {
            return false;
        }
        self.asked_at = Some(now);
        match landed(&self.server) {
            Ok(landed) => self.landed = landed,
            Err(error) => tracing::warn!(%error, "what other sinks have landed cannot be asked"),
        }
        let next = |partition: &u32| self.landed.get(partition).copied().unwrap_or(0);
        let left = others.iter().filter(|(partition, end)| next(partition) < *end);
        let left: Vec<String> = left
            .map(|(partition, end)| format!("{partition} (at {} of {end})", next(partition)))
            .collect();
        if left.is_empty() {
            return true;
        }
        if now >= self.said_at + SAY {
            self.said_at = now;
            tracing::warn!(
                partitions = left.join(", "),
                "waiting for partitions that other sinks of the group own; if they do not land, look at those sinks"
            );
        }
        false
    }
}
