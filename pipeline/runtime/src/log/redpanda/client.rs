//! What all clients share: where librdkafka's words go, and the bell that wakes a worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::error;
use super::native::Reports;
use crate::log::{Error, ErrorKind};

/// Hears what a client says of itself.
#[derive(Default)]
pub(super) struct Watch {
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// A record was not delivered.
    failed: AtomicBool,
    /// The brokers do not take a record, and would not take it again.
    refused: AtomicBool,
}

impl Watch {
    /// An error, with what the client said last as its cause if that says more: a refused user
    /// shows as a request that got no answer.
    pub(super) fn explain(&self, error: Error) -> Error {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((code, text)) if error.kind == ErrorKind::Retry => {
                error::of_code(error.tried, *code, text)
            }
            _ => error,
        }
    }

    /// Whether the brokers have refused a record since this was asked last.
    pub(super) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::SeqCst)
    }

    /// Whether a record was given up. Only a producer of no transactions need ask.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, said: KafkaError, reason: &str) {
        tracing::debug!(error = %said, reason, "librdkafka");
        let code = said.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A user that is refused, or TLS that fails, then shows as brokers that cannot be reached.
        let says_why = |(known, _): &(RDKafkaErrorCode, String)| {
            error::kind_of(*known) == ErrorKind::FixInput
                && error::kind_of(code) == ErrorKind::Retry
        };
        if !last.as_ref().is_some_and(says_why) {
            *last = Some((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Watch {}

impl Reports for Watch {
    fn report(&self, _: usize, written: Result<u64, RDKafkaErrorCode>) {
        if let Err(code) = written {
            tracing::debug!(%code, "a record was not delivered");
            if error::is_refusal(code) {
                self.refused.store(true, Ordering::SeqCst);
            }
            self.failed.store(true, Ordering::SeqCst);
        }
    }
}

/// librdkafka's own log: what matters of it also comes as an error.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
        | RDKafkaLogLevel::Notice
        | RDKafkaLogLevel::Info
        | RDKafkaLogLevel::Debug => tracing::debug!(facility, "librdkafka: {message}"),
    }
}

/// Wakes the one thread that waits for any of several things.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }

    /// Waits until it has rung since the last call; false when the time is over.
    pub(super) fn wait_until(&self, until: Instant) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = until.saturating_duration_since(Instant::now());
        let waited = self.heard.wait_timeout_while(rung, wait, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}

/// Partitions of one topic, as librdkafka lists them.
pub(super) fn list(topic: &str, partitions: impl IntoIterator<Item = u32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition.cast_signed());
    }
    list
}
