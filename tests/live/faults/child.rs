//! A worker in a process of its own, which logs as `bellhop run` does, stops in order at SIGTERM, and
//! can be told to stop where it stands inside a revocation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bellhop_core::message::LogId;
use bellhop_core::task::Progress;
use bellhop_harness::signal;
use bellhop_runtime::log::redpanda::{Config, Member, Redpanda};
use bellhop_runtime::log::{
    Each, Ended, Error, ErrorKind, Identity, Log, Lookup, Polled, Reader, Topic, Transaction,
};
use bellhop_runtime::worker::Worker;
use signal_hook::consts::SIGTERM;
use uuid::Uuid;

use crate::house::{parts, worker_config};

/// What a process that is a worker is told: brokers, registry, prefix, folder.
pub(super) const CHILD: &str = "BELLHOP_TEST_FAULTS_WORKER";
/// Printed from when on SIGTERM is a request to leave.
pub(super) const HEARS: &str = "worker: hears SIGTERM";
/// Printed before it stops inside a revocation.
pub(super) const WITHIN: &str = "worker: stops inside a revocation";
/// While this file is there, workers stop inside revocations; it names the moment.
pub(super) const STOP_WITHIN: &str = "stop-within";
/// How it ends when its last transaction did not end in time after SIGTERM.
pub(super) const LATE: i32 = 3;

/// When a worker stops inside a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// It has been asked for partitions; its transactions are open.
    Asked,
    /// All is committed; it is about to give them up.
    Answering,
}

impl Moment {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Answering => "answering",
        }
    }
}

/// If this process was started as a worker: works until it is asked to stop.
pub(super) fn work_if_child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, asked.clone()).unwrap();
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    eprintln!("{HEARS}");
    let words: Vec<&str> = told.split('|').collect();
    let [brokers, registry, prefix, folder] = words.as_slice() else { panic!("{told}") };
    let mut config = Config::new(brokers, registry);
    config.prefix = (*prefix).to_owned();
    config.group.clone_from(&config.prefix);
    config.schemas = vec![Path::new(folder).join("schemas")];
    let stop_within = Path::new(folder).join(STOP_WITHIN);
    let worked = retrying(&asked, || Redpanda::connect(&config, LogId(Uuid::from_u128(0xbad))))
        .and_then(|log| {
            retrying(&asked, || {
                let (log, stop_within) = (log.clone(), stop_within.clone());
                let join = move || -> Result<Box<dyn Log>, Error> {
                    let (member, stop_within) = (log.join()?, stop_within.clone());
                    Ok(Box::new(Stoppable { member, stop_within }))
                };
                Worker::new(worker_config(), parts(Box::new(join), None))
            })
        })
        .and_then(|mut worker| worker.run_until(&asked));
    match worked {
        Ok(()) => exit(0),
        Err(error) if error.kind == ErrorKind::Retry && asked.load(Ordering::Relaxed) => {
            eprintln!("worker: asked to stop, and did not in time: {error:?}");
            exit(LATE);
        }
        Err(error) => panic!("the worker has ended: {error:?}"),
    }
}

/// What brokers or the registry do not do now is tried again, as by whoever starts a process anew.
fn retrying<T>(
    asked: &AtomicBool,
    mut start: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    loop {
        match start() {
            Err(error) if error.kind == ErrorKind::Retry && !asked.load(Ordering::Relaxed) => {
                eprintln!("worker: starts again: {error:?}");
                std::thread::sleep(Duration::from_millis(200));
            }
            other => return other,
        }
    }
}

/// A membership whose worker stops where it stands when it is told to.
struct Stoppable {
    member: Member,
    stop_within: PathBuf,
}

impl Stoppable {
    fn stop_if_told(&self, moment: Moment) {
        if fs::read_to_string(&self.stop_within).is_ok_and(|told| told == moment.word()) {
            eprintln!("{WITHIN}");
            signal(std::process::id(), "STOP").unwrap();
        }
    }
}

impl Reader for Stoppable {
    fn identity(&self) -> &Identity {
        self.member.identity()
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.member.schema_of(id)
    }

    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.member.first(topic, partition)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.member.end(topic, partition)
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        self.member.read(topic, partition, from, each)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        self.member.committed(partition)
    }
}

impl Log for Stoppable {
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        Log::schema_id(&mut self.member, name, schema)
    }

    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        let polled = self.member.poll(records_max, wait)?;
        if matches!(polled, Polled::Revoked(_)) {
            self.stop_if_told(Moment::Asked);
        }
        Ok(polled)
    }

    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        self.member.start(partition, next_offset)
    }

    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.member.pause(partition)
    }

    fn submit(&mut self, transaction: Transaction) -> Result<(), Error> {
        self.member.submit(transaction)
    }

    fn ended(&mut self, wait: Duration) -> Result<Option<(Transaction, Ended)>, Error> {
        self.member.ended(wait)
    }

    fn recover(&mut self) -> Result<(), Error> {
        self.member.recover()
    }

    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.stop_if_told(Moment::Answering);
        self.member.release(partitions)
    }

    fn events_run_ahead(&self) -> bool {
        self.member.events_run_ahead()
    }

    fn append_tick(&mut self, partition: u32, value: &[u8]) -> Result<(), Error> {
        self.member.append_tick(partition, value)
    }
}
