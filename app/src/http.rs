//! Metrics for Prometheus, health and readiness, over HTTP.
//!
//! `/metrics` in the text format of Prometheus; `/healthz` is 200 while the workers run; `/readyz`
//! is 200 when the log can be read as well.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::telemetry::Counts;

use crate::cli::lag;
use crate::config::Config;
use crate::site::OpenLog;
use crate::workers::{Health, Workers};

/// What is answered from.
#[derive(Clone)]
struct Site {
    health: Health,
    reader: Arc<Mutex<Box<dyn Reader>>>,
    spans: Option<Arc<Counts>>,
}

/// Serves until the process ends, if the configuration names an address.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) fn serve(config: &Config, log: &OpenLog, workers: &Workers) -> Result<()> {
    let Some(address) = config.http else { return Ok(()) };
    let site = Site {
        health: workers.health(),
        reader: Arc::new(Mutex::new(log.reader())),
        spans: workers.spans(),
    };
    let listener = std::net::TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .with_context(|| format!("listen on {address}: give another address as `http`"))?;
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(site);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the thread that answers over HTTP")?;
    let serve = move || {
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, routes).await
        });
        if let Err(error) = served {
            tracing::warn!(%error, "metrics and health are not served any more");
        }
    };
    std::thread::Builder::new()
        .name("bellhop-http".to_owned())
        .spawn(serve)
        .context("start the thread that answers over HTTP")?;
    tracing::info!(address = %told(address), "metrics, health and readiness");
    Ok(())
}

fn told(address: SocketAddr) -> String {
    format!("http://{address}/metrics")
}

async fn healthz(State(site): State<Site>) -> (StatusCode, String) {
    match site.health.check() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn readyz(State(site): State<Site>) -> (StatusCode, String) {
    if let Err(why) = site.health.check() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    }
    match ask(site, |reader| Ok(reader.end(Topic::Events, 0)?)).await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")),
    }
}

async fn metrics(State(site): State<Site>) -> (StatusCode, String) {
    let (health, spans) = (site.health.clone(), site.spans.clone());
    match ask(site, measure).await {
        Ok(mut text) => {
            let up = u8::from(health.check().is_ok());
            family(&mut text, "bellhop_workers_up", "Whether the workers of this process run.");
            let _ = writeln!(text, "bellhop_workers_up {up}");
            if let Some(spans) = spans {
                count_spans(&spans, &mut text);
            }
            (StatusCode::OK, text)
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")),
    }
}

/// Reads the log away from the thread that answers.
async fn ask<T: Send + 'static>(
    site: Site,
    read: impl FnOnce(&mut dyn Reader) -> Result<T> + Send + 'static,
) -> Result<T> {
    let read = move || {
        let mut reader = site.reader.lock().unwrap_or_else(PoisonError::into_inner);
        read(&mut **reader)
    };
    tokio::task::spawn_blocking(read).await.context("read the log")?
}

/// Name, help and value of a gauge.
type Column = (&'static str, &'static str, fn(&lag::Lag) -> f64);

fn measure(reader: &mut dyn Reader) -> Result<String> {
    let lags = lag::of(reader)?;
    let mut text = String::new();
    let columns: [Column; 3] = [
        ("bellhop_lag_records", "Commands that wait to be decided.", |lag| lag.records as f64),
        ("bellhop_lag_seconds", "Age of the first command that waits.", |lag| lag.age_seconds),
        ("bellhop_commands_decided", "Offset of the next command to decide.", |lag| {
            lag.next as f64
        }),
    ];
    for (name, help, value) in columns {
        family(&mut text, name, help);
        for lag in &lags {
            let _ = writeln!(text, "{name}{{partition=\"{}\"}} {}", lag.partition, value(lag));
        }
    }
    let topics = [
        ("bellhop_events_end", "Offset behind the last event.", Topic::Events),
        ("bellhop_parked_end", "Offset behind the last parked record.", Topic::Parked),
    ];
    for (name, help, topic) in topics {
        family(&mut text, name, help);
        for lag in &lags {
            let end = reader.end(topic, lag.partition)?;
            let _ = writeln!(text, "{name}{{partition=\"{}\"}} {end}", lag.partition);
        }
    }
    Ok(text)
}

fn count_spans(spans: &Counts, text: &mut String) {
    let counters = [
        ("bellhop_spans_exported_total", "Spans that the collector has taken.", spans.exported()),
        ("bellhop_spans_dropped_total", "Spans that nobody has taken.", spans.dropped()),
    ];
    for (name, help, value) in counters {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
    }
}

/// Says what the numbers that follow are.
///
/// # Source
/// Prometheus, exposition formats, text format 0.0.4.
fn family(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}
