//! Metrics for Prometheus, health and readiness, over HTTP.
//!
//! `/metrics` in the text format of Prometheus. `/livez` is 200 while the workers of this process
//! run; `/healthz` and `/readyz` are 200 while the brokers answer as well. All are answered from what
//! is known: nobody waits for a broker.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use bellhop_runtime::telemetry::Counts;
use bellhop_runtime::worker::{Assignments, Meter};

use crate::config::Config;
use crate::metrics::{self, Shown};
use crate::watch::Watch;
use crate::workers::{Health, Workers};

/// What is answered from.
#[derive(Clone)]
struct Site {
    health: Health,
    watch: Watch,
    assignments: Arc<Assignments>,
    meter: Arc<Meter>,
    worker: Arc<str>,
    partitions: u32,
    spans: Option<Arc<Counts>>,
}

/// An address that is listened on, and not answered on yet.
pub(crate) struct Listening(TcpListener, SocketAddr);

/// Takes the address that the configuration names, if it does: before anything else is begun, so
/// that a busy port stops nobody who works.
///
/// # Errors
/// When it cannot be listened on.
pub(crate) fn listen(config: &Config) -> Result<Option<Listening>> {
    config.http.map(Listening::on).transpose()
}

impl Listening {
    /// Takes an address.
    ///
    /// # Errors
    /// When it cannot be listened on.
    pub(crate) fn on(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| format!("listen on {address}: give another address as `http`"))?;
        Ok(Self(listener, address))
    }

    /// Answers for the workers until the process ends.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn serve(
        self,
        workers: &Workers,
        watch: &Watch,
        worker: &str,
        partitions: u32,
    ) -> Result<()> {
        let site = Site {
            health: workers.health(),
            watch: watch.clone(),
            assignments: workers.assignments(),
            meter: workers.meter(),
            worker: worker.into(),
            partitions,
            spans: workers.spans(),
        };
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(livez))
            .route("/healthz", get(readyz))
            .route("/readyz", get(readyz))
            .with_state(site);
        self.answer(routes)
    }

    /// Answers by routes until the process ends.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn answer(self, routes: Router) -> Result<()> {
        let Self(listener, address) = self;
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
}

fn told(address: SocketAddr) -> String {
    format!("http://{address}/metrics")
}

async fn livez(State(site): State<Site>) -> (StatusCode, String) {
    match site.health.check() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn readyz(State(site): State<Site>) -> (StatusCode, String) {
    let trouble = site.watch.known().trouble.map(|(why, since)| {
        format!(
            "{why}, for {} s; nothing is lost, and it goes on by itself",
            since.elapsed().as_secs()
        )
    });
    match site.health.check().err().or(trouble) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(site): State<Site>) -> String {
    metrics::text(&Shown {
        worker: &site.worker,
        partitions: site.partitions,
        up: site.health.check().is_ok(),
        owned: &site.assignments.owned(),
        meter: &site.meter,
        known: &site.watch.known(),
        spans: site.spans.as_deref(),
    })
}
