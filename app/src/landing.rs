//! What a sink is doing, for those who ask from other threads: metrics, health, readiness.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use bellhop_clickhouse::Status;
use bellhop_runtime::clock::{Clock as _, SystemClock};
use bellhop_runtime::log::{Mark, Reader, Topic};

use crate::cli::lag;
use crate::http::Listening;

/// A sink that has not turned for so long hangs.
const HANGS: Duration = Duration::from_secs(60);
/// How often what it does is written down.
const GLANCE: Duration = Duration::from_millis(250);

/// Name, help and kind of what is served; names begin with `bellhop_sink_`.
const METRICS: [(&str, &str, &str); 11] = [
    ("events_total", "Events that have landed.", "counter"),
    ("rows_total", "Their rows, over all tables.", "counter"),
    ("batches_total", "Batches that have landed.", "counter"),
    ("parked_total", "Events that could not be made into rows.", "counter"),
    ("retries_total", "Tries that failed.", "counter"),
    ("up", "Whether the sink of this process runs.", "gauge"),
    ("circuit_open", "Whether nothing is sent because ClickHouse fails.", "gauge"),
    ("held_partitions", "Partitions that wait for a repair of their tables.", "gauge"),
    ("waiting_bytes", "Bytes of rows that wait or are on their way.", "gauge"),
    ("lag_records", "Events of an owned partition that have not landed.", "gauge"),
    ("lag_seconds", "Age of the first event that has not landed.", "gauge"),
];

/// A sink that is watched; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Landing(Arc<Mutex<Watched>>);

#[derive(Debug)]
struct Watched {
    /// Over all memberships of this process in the group.
    status: Status,
    turned_at: Instant,
    /// Why the last try to become a member failed; none since it is one.
    failing: Option<String>,
    /// By partition: where the group goes on, as it stood when this process joined.
    marks: BTreeMap<u32, u64>,
}

/// What is answered from.
#[derive(Clone)]
struct Site {
    landing: Landing,
    reader: Arc<Mutex<Box<dyn Reader>>>,
}

impl Landing {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Watched {
            status: Status::default(),
            turned_at: Instant::now(),
            failing: None,
            marks: BTreeMap::new(),
        })))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Watched) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It has turned; `before` is what earlier memberships have done.
    pub(crate) fn turned(&self, before: &Status, status: &Status) {
        self.with(|watched| {
            let now = Instant::now();
            if watched.failing.take().is_some() || now >= watched.turned_at + GLANCE {
                let mut all = status.clone();
                all.add(before);
                (watched.status, watched.turned_at) = (all, now);
            }
        });
    }

    /// It could not become a member, and tries again; `all` is what it has done so far.
    pub(crate) fn failed(&self, all: &Status, error: &bellhop_clickhouse::Error) {
        self.with(|watched| {
            watched.status =
                Status { next: std::mem::take(&mut watched.status.next), ..all.clone() };
            watched.turned_at = Instant::now();
            watched.failing = Some(error.to_string());
        });
    }

    /// Notes where the group goes on in each partition.
    pub(crate) fn marks(&self, partitions: u32, mut marked: impl FnMut(u32) -> Option<Mark>) {
        let marks = (0..partitions).map(|partition| {
            let next = marked(partition).map_or(0, |mark| mark.next_offset);
            (partition, next)
        });
        let marks = marks.collect();
        self.with(|watched| watched.marks = marks);
    }

    /// Whether it runs.
    fn check(&self) -> Result<(), String> {
        self.with(|watched| {
            let silent = watched.turned_at.elapsed();
            if silent > HANGS {
                return Err(format!("the sink has done nothing for {} s", silent.as_secs()));
            }
            Ok(())
        })
    }

    /// Whether it runs, and ClickHouse takes what it sends.
    fn check_ready(&self) -> Result<(), String> {
        self.check()?;
        self.with(|watched| match &watched.failing {
            Some(why) => Err(format!("nothing lands, events wait: {why}")),
            None if watched.status.circuit_open => {
                Err("ClickHouse fails; nothing is sent for a while, events wait".to_owned())
            }
            None => Ok(()),
        })
    }

    /// The text of its metrics.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn text(&self, reader: &mut dyn Reader) -> Result<String> {
        let up = u64::from(self.check().is_ok());
        let (status, is_failing, marks) = self.with(|watched| {
            (watched.status.clone(), watched.failing.is_some(), watched.marks.clone())
        });
        // What is not open yet is as far as the group has marked it.
        let mut next = if is_failing && status.next.is_empty() { marks } else { status.next };
        next.extend(&status.opening);
        let now = SystemClock::default().now();
        let lags = next
            .iter()
            .map(|(partition, next)| lag::behind(reader, Topic::Events, *partition, *next, now))
            .collect::<Result<Vec<_>>>()?;
        let mut text = String::new();
        for (name, help, kind) in METRICS {
            family(&mut text, name, help, kind);
            let of_process = match name {
                "events_total" => status.events,
                "rows_total" => status.rows,
                "batches_total" => status.batches,
                "parked_total" => status.parked,
                "retries_total" => status.retries,
                "up" => up,
                "circuit_open" => u64::from(is_failing || status.circuit_open),
                "held_partitions" => status.held.len() as u64,
                "waiting_bytes" => status.waiting_bytes as u64,
                of_partition => {
                    for lag in &lags {
                        let value = match of_partition {
                            "lag_records" => lag.records as f64,
                            _ => lag.age_seconds,
                        };
                        let labels = format!("partition=\"{}\"", lag.partition);
                        let _ = writeln!(text, "bellhop_sink_{name}{{{labels}}} {value}");
                    }
                    continue;
                }
            };
            let _ = writeln!(text, "bellhop_sink_{name} {of_process}");
        }
        Ok(text)
    }

    /// Serves until the process ends, what a process of workers serves.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(crate) fn serve(self, address: SocketAddr, reader: Box<dyn Reader>) -> Result<()> {
        let listening = Listening::on(address)?;
        let site = Site { landing: self, reader: Arc::new(Mutex::new(reader)) };
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(site);
        listening.answer(routes)
    }
}

/// Says what the numbers that follow are.
fn family(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP bellhop_sink_{name} {help}\n# TYPE bellhop_sink_{name} {kind}");
}

fn answer(checked: Result<(), String>) -> (StatusCode, String) {
    match checked {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// Reads the log away from the thread that answers.
async fn ask<T: Send + 'static>(
    site: Site,
    read: impl FnOnce(&Landing, &mut dyn Reader) -> Result<T> + Send + 'static,
) -> Result<T> {
    let read = move || {
        let mut reader = site.reader.lock().unwrap_or_else(PoisonError::into_inner);
        read(&site.landing, &mut **reader)
    };
    tokio::task::spawn_blocking(read).await.context("read the log")?
}

async fn healthz(State(site): State<Site>) -> (StatusCode, String) {
    answer(site.landing.check())
}

async fn readyz(State(site): State<Site>) -> (StatusCode, String) {
    if let Err(why) = site.landing.check_ready() {
        return answer(Err(why));
    }
    let read = ask(site, |_, reader| Ok(reader.end(Topic::Events, 0)?)).await;
    answer(read.map(drop).map_err(|error| format!("{error:#}")))
}

async fn metrics(State(site): State<Site>) -> (StatusCode, String) {
    match ask(site, |landing, reader| landing.text(reader)).await {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => answer(Err(format!("{error:#}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERTS: &str = include_str!("../../docker/prometheus/alerts.yml");

    #[test]
    fn a_sink_that_has_not_begun_is_well_and_one_that_clickhouse_refuses_is_not_ready() {
        let landing = Landing::new();
        assert_eq!(landing.check(), Ok(()));
        landing.with(|watched| watched.turned_at -= GLANCE);
        let status = Status { circuit_open: true, events: 3, ..Status::default() };
        landing.turned(&Status { events: 4, ..Status::default() }, &status);
        assert_eq!(landing.check(), Ok(()));
        assert!(landing.check_ready().is_err_and(|why| why.contains("ClickHouse fails")));
        assert_eq!(landing.with(|watched| watched.status.events), 7);
    }

    #[test]
    fn a_sink_that_has_never_reached_clickhouse_lives_and_is_not_ready() {
        let landing = Landing::new();
        landing.marks(2, |partition| {
            Some(Mark { next_offset: u64::from(partition) + 7, note: String::new() })
        });
        landing.with(|watched| watched.turned_at -= HANGS * 2);
        let error = bellhop_clickhouse::Error::Tables {
            what: "connect to http://ch:8123".to_owned(),
            hint: "it is tried again".to_owned(),
        };
        let all = Status { retries: 3, ..Status::default() };
        landing.failed(&all, &error);
        assert_eq!(landing.check(), Ok(()), "a try is a sign of life");
        assert!(landing.check_ready().is_err_and(|why| why.contains("http://ch:8123")));
        let (retries, marks) =
            landing.with(|watched| (watched.status.retries, watched.marks.clone()));
        assert_eq!((retries, marks), (3, BTreeMap::from([(0, 7), (1, 8)])));
        landing.turned(&Status::default(), &Status::default());
        assert_eq!(landing.check_ready(), Ok(()));
    }

    #[test]
    fn what_alerts_ask_for_is_served() {
        let mut names = String::new();
        for (name, help, kind) in METRICS {
            family(&mut names, name, help, kind);
        }
        let mut asked = 0;
        for word in ALERTS.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if word.starts_with("bellhop_sink_") {
                assert!(names.contains(&format!("# TYPE {word} ")), "nobody serves {word}");
                asked += 1;
            }
        }
        assert!(asked > 3, "{asked}");
    }
}
