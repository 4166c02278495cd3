//! What is known of the brokers and of what waits, read by threads of their own: endpoints answer
//! from it at once, whatever the brokers do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bellhop_runtime::clock::{Clock as _, SystemClock};
use bellhop_runtime::log::redpanda::{Beat, Pulse};
use bellhop_runtime::log::{Error, Reader, Topic};
use bellhop_runtime::worker::{Assignments, Meter};

use crate::cli::lag::{self, Lag};
use crate::site::OpenLog;
use crate::workers::Workers;

/// How often the brokers are asked, and what waits is measured.
const EVERY: Duration = Duration::from_secs(1);
/// How long brokers may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How often brokers that do not answer are spoken of.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What is known; clones are the same.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Shared>);

struct Shared {
    known: Mutex<Known>,
    stop: AtomicBool,
    /// Threads that are waited for: they read a log that is to be closed.
    waited_for: Mutex<Vec<JoinHandle<()>>>,
}

impl Shared {
    fn new() -> Self {
        let (stop, waited_for) = (AtomicBool::new(false), Mutex::default());
        Self { known: Mutex::default(), stop, waited_for }
    }
}

/// What was read last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// How many brokers answered; none in a folder.
    pub(crate) brokers: Option<u32>,
    /// What is wrong with the brokers, and since when.
    pub(crate) trouble: Option<(String, Instant)>,
    /// By partition that this process owns.
    pub(crate) partitions: BTreeMap<u32, Measured>,
    /// When that was measured.
    pub(crate) measured: Option<Instant>,
}

/// What was measured of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) lag: Lag,
    pub(crate) events_end: u64,
    pub(crate) parked_end: u64,
}

impl Watch {
    /// Watches a log that this process works on. What waits is measured where `measures`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(log: &OpenLog, workers: &Workers, measures: bool) -> Result<Self> {
        let watch = Self(Arc::new(Shared::new()));
        if let OpenLog::Redpanda(log) = log {
            let pulse = log.pulse()?;
            // It may wait for a broker that is gone; nobody waits for it.
            drop(watch.spawn("bellhop-pulse", move |watch: &Self| watch.beat(&pulse))?);
        }
        if measures {
            let (mut reader, owned, meter) = (log.reader(), workers.assignments(), workers.meter());
            let thread = watch.spawn("bellhop-lag", move |watch: &Self| {
                watch.measure(&mut *reader, &owned, &meter)
            })?;
            if matches!(log, OpenLog::Embedded(_)) {
                watch.0.waited_for.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            }
        }
        Ok(watch)
    }

    fn spawn(
        &self,
        name: &str,
        mut step: impl FnMut(&Self) + Send + 'static,
    ) -> Result<JoinHandle<()>> {
        let watch = self.clone();
        let run = move || {
            while !watch.0.stop.load(Ordering::Relaxed) {
                step(&watch);
                std::thread::park_timeout(EVERY);
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(run).with_context(|| format!("start the thread {name}"))
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends its threads; one that waits for a broker ends later.
    pub(crate) fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
        let threads =
            std::mem::take(&mut *self.0.waited_for.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }

    fn beat(&self, pulse: &Pulse) {
        let answer = pulse.beat(ANSWER);
        if !self.0.stop.load(Ordering::Relaxed) {
            self.hear(answer);
        }
    }

    fn hear(&self, answer: Result<Beat, Error>) {
        let mut known = self.lock();
        match answer {
            Ok(Beat { brokers }) => {
                known.brokers = Some(brokers);
                if let Some((_, since)) = known.trouble.take() {
                    let seconds = since.elapsed().as_secs();
                    tracing::warn!(brokers, seconds, "the brokers answer again");
                }
            }
            Err(error) => {
                let since = known.trouble.as_ref().map(|(_, since)| *since);
                let words = format!("{:#}", anyhow::Error::new(error));
                let silent = since.map_or(Duration::ZERO, |since| since.elapsed());
                // At once, and each minute that it lasts.
                let steps = |at: Duration| at.as_secs() / SAY_AGAIN.as_secs();
                if since.is_none() || steps(silent) > steps(silent.saturating_sub(EVERY + ANSWER)) {
                    tracing::warn!(
                        error = words,
                        seconds = silent.as_secs(),
                        "the brokers do not answer as they should: what is on them waits, nothing is lost; asking again each second"
                    );
                }
                known.trouble = Some((words, since.unwrap_or_else(Instant::now)));
            }
        }
    }

    fn measure(&self, reader: &mut dyn Reader, owned: &Assignments, meter: &Meter) {
        let now = SystemClock::default().now();
        let mut partitions = BTreeMap::new();
        let committed = meter.committed();
        for partition in owned.owned().into_keys() {
            let next = committed.get(&partition).map_or(0, |progress| progress.next_offset);
            let measured =
                lag::behind(reader, Topic::Commands, partition, next, now).and_then(|lag| {
                    let events_end = reader.end(Topic::Events, partition)?;
                    let parked_end = reader.end(Topic::Parked, partition)?;
                    Ok(Measured { lag, events_end, parked_end })
                });
            match measured {
                Ok(measured) => drop(partitions.insert(partition, measured)),
                Err(error) => {
                    // What was measured before is told with its age.
                    tracing::debug!(partition, "what waits is not measured: {error:#}");
                    return;
                }
            }
        }
        let mut known = self.lock();
        if partitions.is_empty() && known.trouble.is_some() {
            // No broker was asked: what is owned was lost with their answers.
            return;
        }
        known.partitions = partitions;
        known.measured = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use bellhop_core::message::LogId;
    use bellhop_core::task::Progress;
    use bellhop_runtime::log::{Each, ErrorKind, Identity, Lookup, Timestamps};

    use super::*;

    struct Unasked(Identity);

    impl Reader for Unasked {
        fn identity(&self) -> &Identity {
            &self.0
        }

        fn schema_of(&mut self, _: u32) -> Result<Lookup, Error> {
            unreachable!("no partition is owned")
        }

        fn first(&mut self, _: Topic, _: u32) -> Result<u64, Error> {
            unreachable!("no partition is owned")
        }

        fn end(&mut self, _: Topic, _: u32) -> Result<u64, Error> {
            unreachable!("no partition is owned")
        }

        fn read(&mut self, _: Topic, _: u32, _: u64, _: &mut Each<'_>) -> Result<u64, Error> {
            unreachable!("no partition is owned")
        }

        fn committed(&mut self, _: u32) -> Result<Option<Progress>, Error> {
            unreachable!("no partition is owned")
        }
    }

    #[test]
    fn a_measurement_grows_old_while_the_brokers_are_silent() {
        let watch = Watch(Arc::new(Shared::new()));
        let log_id = LogId(uuid::Uuid::nil());
        let identity = Identity { log_id, partitions: 1, timestamps: Timestamps::Append };
        let measure = || {
            let (owned, meter) = (Assignments::default(), Meter::default());
            watch.measure(&mut Unasked(identity.clone()), &owned, &meter);
            watch.known().measured
        };
        let first = measure();
        assert!(first.is_some(), "nothing is owned, and the brokers answer");
        watch.hear(Err(Error {
            kind: ErrorKind::Retry,
            tried: "ask the brokers".to_owned(),
            hint: "no broker can be reached".to_owned(),
            source: None,
        }));
        assert_eq!(measure(), first);
        watch.hear(Ok(Beat { brokers: 1 }));
        assert_ne!(measure(), first);
    }

    #[test]
    fn trouble_begins_with_the_first_silence_and_ends_with_an_answer() {
        let watch = Watch(Arc::new(Shared::new()));
        let silence = || Error {
            kind: ErrorKind::Retry,
            tried: "ask the brokers at a:1".to_owned(),
            hint: "no broker can be reached".to_owned(),
            source: None,
        };
        watch.hear(Err(silence()));
        let first = watch.known().trouble.expect("trouble");
        assert!(first.0.contains("ask the brokers at a:1: no broker can be reached"), "{first:?}");
        watch.hear(Err(silence()));
        assert_eq!(watch.known().trouble.map(|it| it.1), Some(first.1), "since the first");
        watch.hear(Ok(Beat { brokers: 3 }));
        assert!(watch.known().trouble.is_none());
        assert_eq!(watch.known().brokers, Some(3));
    }
}
