//! Spans: what became of a command whose trace is recorded, and what a worker spends its life on,
//! for a collector that speaks OpenTelemetry's protocol (OTLP over HTTP).
//!
//! Start at [`Exporter`]; workers are given its [`Spans`]. Which spans there are is in
//! `worker/spans.rs`, their form in [`otlp`].
//!
//! # Invariants
//! 1. Nobody waits for a collector: what finds the queue full is dropped and counted, and so is what
//!    a collector does not take.
//! 2. A command that nobody records costs a look at its headers, one without headers nothing.

pub mod otlp;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prost::Message as _;
use ureq::Agent;

use self::otlp::{KeyValue, Request, Resource, ResourceSpans, Response, Scope, ScopeSpans, Span};
use crate::log::redpanda::Settings;
use crate::log::{Error, ErrorKind};
use crate::web;

/// Spans that wait at most, as OpenTelemetry's own processor has it.
const QUEUE_SPANS: usize = 2_048;
/// Spans of a request.
const REQUEST_SPANS: usize = 512;
/// How long a span waits for company.
const GATHER: Duration = Duration::from_secs(1);
/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// Pauses before a request is sent again.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// How often a collector that takes nothing is spoken of.
const SAY_AGAIN: Duration = Duration::from_secs(600);
/// Path of traces behind the address of a collector.
const PATH: &str = "/v1/traces";

/// Where spans go, and what they say of this process.
#[derive(Debug, Clone)]
pub struct Config {
    /// The collector, such as `http://localhost:4318`.
    pub endpoint: String,
    /// Headers of each request; never printed, since some are secrets.
    pub headers: Settings,
    /// Certificates of the authority (PEM); without, those of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// What this process is: `service.name` and others.
    pub resource: BTreeMap<String, String>,
    /// Where the commands are.
    pub source: Source,
}

/// Where the commands are, in words of the conventions for messaging.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// `kafka`, or another system.
    pub system: String,
    /// The topic.
    pub destination: String,
    /// The group of the workers.
    pub group: String,
}

/// How many spans went where.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Those that a collector has taken.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Those that found the queue full, or that no collector took.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Takes the spans of workers; clones are the same.
#[derive(Clone)]
pub struct Spans {
    queue: SyncSender<Option<Span>>,
    counts: Arc<Counts>,
    source: Arc<Source>,
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Spans {
    /// Gives a span away, without waiting.
    pub(crate) fn send(&self, span: Span) {
        if self.queue.try_send(Some(span)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }
}

/// Sends spans to a collector from a thread of its own, until it is dropped.
pub struct Exporter {
    spans: Spans,
    stopping: Arc<Stopping>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes a thread out of a pause.
#[derive(Default)]
struct Stopping {
    asked: Mutex<bool>,
    wake: Condvar,
}

impl Stopping {
    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Waits so long, or until it is asked to stop; says whether it is.
    fn wait(&self, pause: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(asked, pause, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Exporter {
    /// Starts the thread; whether the collector is there shows only later.
    ///
    /// # Errors
    /// When the address, a header or the certificates cannot be used.
    pub fn start(config: Config) -> Result<Self, Error> {
        let poster = Poster::new(&config)?;
        let (queue, waiting) = sync_channel(QUEUE_SPANS);
        let spans = Spans { queue, counts: Arc::default(), source: Arc::new(config.source) };
        let stopping = Arc::<Stopping>::default();
        let mut sending = Sending {
            poster,
            resource: Resource {
                attributes: config
                    .resource
                    .iter()
                    .map(|(key, value)| KeyValue::new(key, value.as_str()))
                    .collect(),
            },
            counts: Arc::clone(&spans.counts),
            stopping: Arc::clone(&stopping),
            failing: None,
        };
        let thread = std::thread::Builder::new()
            .name("bellhop-spans".to_owned())
            .spawn(move || sending.run(&waiting))
            .map_err(|error| Error::no_thread("start the thread that exports spans", error))?;
        Ok(Self { spans, stopping, thread: Some(thread) })
    }

    /// Where workers put their spans.
    #[must_use]
    pub fn spans(&self) -> Spans {
        self.spans.clone()
    }

    /// How many spans went where.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.spans.counts)
    }
}

impl Drop for Exporter {
    /// Sends what waits, if the collector takes it at once.
    fn drop(&mut self) {
        self.stopping.ask();
        // A thread that is gone needs no word.
        let _ = self.spans.queue.send(None);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that exports spans panicked");
        }
    }
}

/// Why a request has failed.
struct Failed {
    why: String,
    /// Whether the same request may be taken later.
    passing: bool,
}

/// Posts requests to one collector.
struct Poster {
    agent: Agent,
    url: String,
    headers: ureq::http::HeaderMap,
}

fn bad(hint: String) -> Error {
    Error { kind: ErrorKind::FixInput, tried: "export spans".to_owned(), hint, source: None }
}

/// Where the spans for a collector at an address are posted.
///
/// # Errors
/// When it is no address.
pub fn url_of(endpoint: &str) -> Result<String, Error> {
    let base = endpoint.trim_end_matches('/');
    let url = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
    let uri = url.parse::<ureq::http::Uri>().ok();
    let scheme = uri.as_ref().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    match scheme.and_then(ureq::http::Uri::scheme_str) {
        Some("http" | "https") => Ok(url),
        _ => Err(bad(format!(
            "\"{endpoint}\" is no address of a collector; give one as http://localhost:4318"
        ))),
    }
}

impl Poster {
    fn new(config: &Config) -> Result<Self, Error> {
        let url = url_of(&config.endpoint)?;
        let mut headers = ureq::http::HeaderMap::new();
        headers.insert("content-type", ureq::http::HeaderValue::from_static(PROTOBUF));
        for (name, value) in &config.headers.0 {
            let header = name.parse::<ureq::http::HeaderName>().ok().zip(value.parse().ok());
            let (name, mut value): (_, ureq::http::HeaderValue) =
                header.ok_or_else(|| bad(format!("the header {name} cannot be sent")))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self { agent: web::agent(REQUEST, config.ca_file.as_deref())?, url, headers })
    }

    /// Posts once; gives what the collector refuses of it.
    ///
    /// # Source
    /// OTLP 1.9, "OTLP/HTTP Response" and "Retryable Response Codes".
    fn post(&self, body: &[u8]) -> Result<Response, Failed> {
        let passing = |error: ureq::Error| Failed { why: error.to_string(), passing: true };
        let mut request = self.agent.post(&self.url);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
        }
        let mut answer = request.send(body).map_err(passing)?;
        match answer.status().as_u16() {
            200..300 => {
                let body = answer.body_mut().read_to_vec().map_err(passing)?;
                // Whoever answers in JSON has taken all or says no more than a person can read.
                Ok(Response::decode(body.as_slice()).unwrap_or_default())
            }
            status => {
                let passing = matches!(status, 429 | 502..=504);
                Err(Failed { why: format!("it answers with status {status}"), passing })
            }
        }
    }
}

const PROTOBUF: &str = "application/x-protobuf";

/// The work of the thread.
struct Sending {
    poster: Poster,
    resource: Resource,
    counts: Arc<Counts>,
    stopping: Arc<Stopping>,
    /// Since when nothing is taken that was said of.
    failing: Option<Instant>,
}

impl Sending {
    fn run(&mut self, waiting: &Receiver<Option<Span>>) {
        let mut going_on = true;
        while going_on {
            let (spans, more) = gather(waiting);
            going_on = more;
            if !spans.is_empty() && !self.export(spans) && self.stopping.wait(Duration::ZERO) {
                // Whoever stops does not wait for a collector that is gone.
                let rest = waiting.try_iter().flatten().count();
                self.counts.dropped.fetch_add(rest as u64, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Says whether the collector has answered.
    fn export(&mut self, spans: Vec<Span>) -> bool {
        let count = spans.len() as u64;
        let scope = Scope { name: "bellhop".to_owned(), version: VERSION.to_owned() };
        let scopes = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource = Some(self.resource.clone());
        let body = Request { resources: vec![ResourceSpans { resource, scopes }] }.encode_to_vec();
        match self.post(&body) {
            Ok(Response { partial_success: refused }) => {
                let refused = refused.filter(|refused| refused.rejected_spans > 0);
                let lost = refused.as_ref().map_or(0, |it| it.rejected_spans.unsigned_abs());
                let lost = lost.min(count);
                self.counts.exported.fetch_add(count - lost, Ordering::Relaxed);
                match refused {
                    Some(refused) => self.lose(lost, &refused.error_message),
                    None if self.failing.take().is_some() => {
                        tracing::info!(url = self.poster.url, "spans are exported again");
                    }
                    None => {}
                }
                true
            }
            Err(failed) => {
                self.lose(count, &failed.why);
                false
            }
        }
    }

    /// Posts until it is taken, or refused for good, or tried often enough.
    fn post(&self, body: &[u8]) -> Result<Response, Failed> {
        let mut pauses = PAUSES.iter();
        loop {
            match self.poster.post(body) {
                Err(failed) if failed.passing => {
                    let pause = pauses.next().filter(|pause| !self.stopping.wait(**pause));
                    if pause.is_none() {
                        return Err(failed);
                    }
                }
                ended => return ended,
            }
        }
    }

    /// Says it once, and then now and again.
    fn lose(&mut self, count: u64, why: &str) {
        let dropped = self.counts.dropped.fetch_add(count, Ordering::Relaxed) + count;
        if self.failing.is_none_or(|since| since.elapsed() > SAY_AGAIN) {
            self.failing = Some(Instant::now());
            let url = &self.poster.url;
            tracing::warn!(url, why, dropped, "the collector takes no spans: they are dropped");
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Waits for a span and its company; says whether more may come.
fn gather(waiting: &Receiver<Option<Span>>) -> (Vec<Span>, bool) {
    let mut spans = Vec::new();
    let Ok(Some(first)) = waiting.recv() else { return (spans, false) };
    spans.push(first);
    let until = Instant::now() + GATHER;
    while spans.len() < REQUEST_SPANS {
        match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Some(span)) => spans.push(span),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => return (spans, false),
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    (spans, true)
}

#[cfg(test)]
mod tests;
