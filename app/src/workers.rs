//! The worker threads of this process, over one log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use bellhop_core::message::Position;
use bellhop_core::outcome::Outcome;
use bellhop_core::topology::Topology;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::snapshot::{Saver, SnapshotStore};
use bellhop_runtime::standby::{self, Standby};
use bellhop_runtime::telemetry::{Counts, Exporter, Source};
use bellhop_runtime::worker::{self, Assignments, Join, Meter, Observer, Parts, Trouble, Worker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::config::Config;
use crate::log::end_of_records;
use crate::site::OpenLog;

/// How often it is looked whether all is decided.
const GLANCE: Duration = Duration::from_millis(1);
/// How often somebody who waits for partitions looks at the stop flag.
const STOP_CHECK: Duration = Duration::from_millis(50);
/// A partition that has commands and decides none for so long has failed.
pub(crate) const STALLED: Duration = Duration::from_secs(20);

/// The plain name of the topic of replies.
pub(crate) const REPLIES: &str = "bellhop.replies";

/// Whether somebody asked to stop: Ctrl-C, or a signal to terminate.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Hears the signals from now on; a second one ends the process at once, with what is committed
    /// on disk.
    pub(crate) fn on_signals() -> Self {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // 128 and the number of the signal, as shells say it. The order makes the first signal
            // set the flag and only the second one find it set.
            let status = 128 + signal;
            let heard = register_conditional_shutdown(signal, status, Arc::clone(&stop.0))
                .and_then(|_| register(signal, Arc::clone(&stop.0)));
            if let Err(error) = heard {
                tracing::warn!("signal {signal} is not heard: {error}");
            }
        }
        stop
    }

    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Running workers.
pub(crate) struct Workers {
    assignments: Arc<Assignments>,
    partitions: u32,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
    meter: Arc<Meter>,
    /// Sends what the workers put there; the last to go, so that nothing of theirs is lost.
    exporter: Option<Exporter>,
}

/// Whether workers are well, for those who ask from other threads.
#[derive(Clone)]
pub(crate) struct Health(Arc<Mutex<Option<anyhow::Error>>>);

impl Health {
    /// What is wrong, if something is.
    ///
    /// # Errors
    /// What stopped a worker, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(format!("{error:#}")),
        }
    }
}

/// What a worker of a log is told, by the configuration.
fn worker_config_of(log: &OpenLog, config: &Config) -> worker::Config {
    let reply_topics = config.reply_topics.clone().unwrap_or_else(|| vec![log.named(REPLIES)]);
    let commands_kept = match log {
        OpenLog::Embedded(_) => None,
        OpenLog::Redpanda(redpanda) => redpanda.commands_kept(),
    };
    worker::Config { reply_topics, commands_kept, ..worker_config(config) }
}

/// What decides, by the configuration; for tools that answer nobody.
pub(crate) fn worker_config(config: &Config) -> worker::Config {
    worker::Config {
        version: crate::VERSION.to_owned(),
        rules: config.rules(),
        batch_records_max: config.commit_records,
        batch_bytes_max: config.commit_bytes,
        batch_wait: Duration::from_millis(config.commit_ms),
        snapshot_events: config.snapshot_events,
        headers: config.headers(),
        ..worker::Config::default()
    }
}

impl Workers {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// When a worker cannot join the log, or no thread can be started.
    pub(crate) fn start(
        log: &OpenLog,
        topology: &Arc<Topology>,
        snapshots: Option<Arc<dyn SnapshotStore>>,
        config: &Config,
        count: usize,
    ) -> Result<Self> {
        Self::spawn(log, topology, snapshots, config, count, || None)
    }

    /// Starts `count` workers that tell every committed outcome.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub(crate) fn observed(
        log: &OpenLog,
        topology: &Arc<Topology>,
        snapshots: Option<Arc<dyn SnapshotStore>>,
        config: &Config,
        count: usize,
        outcomes: SyncSender<(Position, Outcome)>,
    ) -> Result<Self> {
        Self::spawn(log, topology, snapshots, config, count, || {
            let outcomes = outcomes.clone();
            let observer: Observer = Box::new(move |partition, offset, outcome| {
                let mut told = (Position { partition, offset }, outcome);
                // Nobody listens any more while the program stops; that must not hold us up.
                while let Err(TrySendError::Full(again)) = outcomes.try_send(told) {
                    told = again;
                    std::thread::sleep(GLANCE);
                }
            });
            Some(observer)
        })
    }

    fn spawn(
        log: &OpenLog,
        topology: &Arc<Topology>,
        snapshots: Option<Arc<dyn SnapshotStore>>,
        config: &Config,
        count: usize,
        mut observer: impl FnMut() -> Option<Observer>,
    ) -> Result<Self> {
        let resolve = crate::wiring::resolve(topology)?;
        let saver = match &snapshots {
            Some(store) => {
                let saver = Saver::threaded(store.clone()).context("start the snapshots")?;
                Some(Arc::new(saver))
            }
            None => None,
        };
        let standby = match log {
            OpenLog::Redpanda(_) if config.standby => {
                let parts = standby::Parts {
                    reader: log.reader(),
                    topology: Arc::clone(topology),
                    resolve: resolve.clone(),
                    snapshots,
                };
                let standby = Standby::threaded(&worker_config_of(log, config), parts);
                let standby = standby.context("start the standby copies")?;
                // Warm before it joins, so that what it is assigned at once is taken over quickly.
                standby.step();
                Some(standby)
            }
            // Workers of a folder are all in one process, which owns everything.
            OpenLog::Redpanda(_) | OpenLog::Embedded(_) => None,
        };
        let mut workers = Self {
            assignments: Arc::default(),
            partitions: log.identity().partitions,
            threads: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
            failure: Arc::default(),
            meter: Arc::default(),
            exporter: config.telemetry.exporter(source_of(log), config.kafka.instance())?,
        };
        for number in 0..count.clamp(1, workers.partitions as usize) {
            let member = log.clone();
            let join: Join = Box::new(move || member.join());
            let parts = Parts {
                name: format!("{}-{number}", config.name()),
                assignments: Arc::clone(&workers.assignments),
                join,
                topology: Arc::clone(topology),
                resolve: resolve.clone(),
                clock: Arc::new(SystemClock::default()),
                saver: saver.clone(),
                standby: standby.clone(),
                observer: observer(),
                meter: Arc::clone(&workers.meter),
                spans: workers.exporter.as_ref().map(Exporter::spans),
            };
            let worker = Worker::new(worker_config_of(log, config), parts)?;
            workers.run(number, worker)?;
        }
        Ok(workers)
    }

    fn run(&mut self, number: usize, mut worker: Worker) -> Result<()> {
        let (stop, failure) = (Arc::clone(&self.stop), Arc::clone(&self.failure));
        let run = move || {
            let failed = match worker.run_until(&stop) {
                Err(error) => Some(anyhow::Error::new(error)),
                Ok(()) => first_failure(&worker),
            };
            if let Some(error) = failed {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        };
        let thread = std::thread::Builder::new().name(format!("bellhop-worker-{number}"));
        self.threads.push(thread.spawn(run).context("start a worker")?);
        Ok(())
    }

    /// How they are doing.
    pub(crate) fn health(&self) -> Health {
        Health(Arc::clone(&self.failure))
    }

    /// What they own.
    pub(crate) fn assignments(&self) -> Arc<Assignments> {
        Arc::clone(&self.assignments)
    }

    /// What they have counted.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// How many spans went where, if any are sent.
    pub(crate) fn spans(&self) -> Option<Arc<Counts>> {
        self.exporter.as_ref().map(Exporter::counts)
    }

    /// Waits until every partition of the log is restored, or stands still, or somebody asks to
    /// stop: for logs whose partitions are all owned by this process.
    ///
    /// # Errors
    /// What stopped a worker meanwhile.
    pub(crate) fn wait_open(&self, stop: &Stop) -> Result<()> {
        while !stop.is_asked() && !self.assignments.wait_open(self.partitions, STOP_CHECK) {
            self.check()?;
        }
        Ok(())
    }

    /// Whether all is well.
    ///
    /// # Errors
    /// What stopped a worker.
    pub(crate) fn check(&self) -> Result<()> {
        self.health().check().map_err(|words| anyhow!(words))?;
        if self.threads.iter().any(JoinHandle::is_finished) && !self.stop.load(Ordering::SeqCst) {
            bail!("a worker has stopped; start again, nothing is lost");
        }
        Ok(())
    }

    /// Stops in order: what is decided is committed, and snapshots are written.
    ///
    /// # Errors
    /// What went wrong meanwhile.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.join()?;
        self.check()
    }

    fn join(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        if ended.iter().any(Result::is_err) {
            bail!("a worker panicked; start again, nothing is lost");
        }
        Ok(())
    }
}

impl Drop for Workers {
    /// Whatever ends the process, its other workers commit what they decided and leave the group.
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::error!("{error:#}");
        }
    }
}

/// Waits until everything that was appended is decided, or somebody asks to stop, or a partition
/// decides nothing for long.
///
/// # Errors
/// When the log cannot be read, or `check` fails.
pub(crate) fn wait_until_decided(
    log: &mut dyn Reader,
    stop: &Stop,
    check: &dyn Fn() -> Result<()>,
) -> Result<()> {
    for partition in 0..log.identity().partitions {
        let end = end_of_records(log, Topic::Commands, partition)?;
        let (mut last, mut since) = (None, Instant::now());
        while end > 0 && !stop.is_asked() {
            let committed = log.committed(partition)?.map(|progress| progress.next_offset);
            if committed.is_some_and(|next| next >= end) {
                break;
            }
            check()?;
            if committed != last {
                (last, since) = (committed, Instant::now());
            } else if since.elapsed() > STALLED {
                // A partition that failed stands still; `stop` says why.
                return Ok(());
            }
            std::thread::sleep(GLANCE);
        }
    }
    Ok(())
}

/// Where the commands are, as spans say it.
fn source_of(log: &OpenLog) -> Source {
    match log {
        OpenLog::Embedded(_) => Source {
            system: "bellhop".to_owned(),
            destination: Topic::Commands.name().to_owned(),
            group: "bellhop".to_owned(),
        },
        OpenLog::Redpanda(log) => Source {
            // Redpanda has no name of its own among the systems of the conventions.
            system: "kafka".to_owned(),
            destination: log.config().topic(Topic::Commands),
            group: log.config().group.clone(),
        },
    }
}

/// A partition that decides nothing until somebody acts, while the others go on.
fn first_failure(worker: &Worker) -> Option<anyhow::Error> {
    let status = worker.status();
    let trouble = status.troubles().find(|trouble| !trouble.passes)?;
    let Trouble { partition, what, .. } = trouble;
    Some(anyhow!(
        "partition {partition} {what}; `bellhop verify` says whether its events are whole"
    ))
}
