//! The lake of a folder while a process holds its log: that process feeds it.
//!
//! ```text
//! kpi, sql    write `ask`, wait for a `followed.json` that is younger than their question
//! run         sees `ask`, feeds the lake, writes `followed.json`
//! ```
//!
//! # Invariants
//! 1. `followed.json` names a time: every event committed before it is in the lake. So an answer has
//!    all that was decided before it was asked for.
//! 2. Whatever happens to the lake holds back no decision.

use std::fmt;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bellhop_analytics::error::ErrorKind;
use bellhop_analytics::lake::Lake;
use bellhop_core::message::Timestamp;
use bellhop_runtime::log::Reader;
use serde::{Deserialize, Serialize};

use super::{Feeder, now_us};
use crate::site::OpenLog;
use crate::{embedded, words};

const ASK: &str = "ask";
const FOLLOWED: &str = "followed.json";
const LOCK: &str = "lake.lock";
/// How often a follower looks for a question.
const GLANCE: Duration = Duration::from_millis(20);
/// How often it feeds the lake unasked, for those who read the files.
const UNASKED: Duration = Duration::from_secs(10);
/// How long a question waits while nobody feeds the lake.
const SILENT: Duration = Duration::from_secs(2);
/// How long a question waits while the lake is fed.
const FED_MAX: Duration = Duration::from_secs(60);

/// How far the lake is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Followed {
    /// Every event committed before this time is in the lake; microseconds since 1970.
    at_us: i64,
    /// Next offset of each partition.
    next: Vec<u64>,
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: u64 = self.next.iter().sum();
        let until = words::time(Timestamp(self.at_us));
        write!(f, "{} until {until} UTC", words::count(events, "event"))
    }
}

impl Followed {
    fn read(lake: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(lake.join(FOLLOWED)).ok()?).ok()
    }

    /// A reader sees all of it or the one before; it need not survive a power cut.
    fn write(&self, lake: &Path) -> Result<()> {
        let (path, new) = (lake.join(FOLLOWED), lake.join("followed.json.new"));
        fs::write(&new, serde_json::to_vec(self)?)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("write {}", path.display()))
    }
}

/// Feeds the lake of a folder in a thread of its own.
pub(crate) struct Follower {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(folder: &Path, log: &OpenLog) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (lake, reader, stopped) =
            (folder.join(embedded::LAKE), log.reader(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("bellhop-lake".to_owned());
        let thread = thread
            .spawn(move || follow(&lake, reader, &stopped))
            .context("start the thread that feeds the lake")?;
        Ok(Self { stop, thread })
    }

    /// Stops; what is not in the lake then is brought there by the next question.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the thread that feeds the lake panicked; the next question feeds it");
        }
    }
}

fn follow(lake: &Path, mut log: Box<dyn Reader>, stop: &AtomicBool) {
    let mut feeder = Feeder::default();
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        if lake.join(ASK).exists() || last.elapsed() >= UNASKED {
            last = Instant::now();
            if let Err(error) = round(lake, &mut feeder, &mut *log, stop) {
                tracing::warn!("the lake is not fed, nothing else is held back: {error:#}");
            }
        }
        std::thread::park_timeout(GLANCE);
    }
}

/// Brings the lake up to date and says so.
fn round(
    folder: &Path,
    feeder: &mut Feeder,
    log: &mut dyn Reader,
    stop: &AtomicBool,
) -> Result<()> {
    let mut lake = match Lake::open(folder, log.identity().log_id) {
        Ok(lake) => lake,
        // Somebody who had the log before still writes what it read then.
        Err(error) if error.kind() == ErrorKind::Busy => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Whoever asks from now on is younger than the time that is named, and asks again.
    if let Err(error) = fs::remove_file(folder.join(ASK))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("take the question in {}", folder.display()));
    }
    let at_us = now_us();
    feeder.feed(&mut lake, log, &mut || match stop.load(Ordering::SeqCst) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })?;
    if stop.load(Ordering::SeqCst) {
        return Ok(());
    }
    let next = (0..log.identity().partitions).map(|partition| lake.next_offset(partition));
    Followed { at_us, next: next.collect() }.write(folder)
}

/// What came of a question to the process that holds the log.
pub(crate) enum Answer {
    /// It fed the lake.
    Fed(Followed),
    /// The log became free.
    Free(Box<dyn Reader>),
    /// Nobody feeds the lake; it is as it was left then.
    Silent(Option<Followed>),
}

/// Asks the process that holds the log to feed the lake, and waits until it has.
///
/// # Errors
/// When the question cannot be written.
pub(crate) fn ask(lake: &Path, free: &dyn Fn() -> Option<Box<dyn Reader>>) -> Result<Answer> {
    let (asked, started) = (now_us(), Instant::now());
    fs::create_dir_all(lake).with_context(|| format!("make the folder {}", lake.display()))?;
    let question: PathBuf = lake.join(ASK);
    let mut tries = 0_u32;
    loop {
        if let Some(followed) = Followed::read(lake).filter(|followed| followed.at_us >= asked) {
            return Ok(Answer::Fed(followed));
        }
        if !question.exists() {
            fs::write(&question, [])
                .with_context(|| format!("write the question {}", question.display()))?;
        }
        tries += 1;
        if tries.is_multiple_of(10)
            && let Some(log) = free()
        {
            return Ok(Answer::Free(log));
        }
        let patience = if is_written(lake) { FED_MAX } else { SILENT };
        if started.elapsed() >= patience {
            return Ok(Answer::Silent(Followed::read(lake)));
        }
        std::thread::sleep(GLANCE);
    }
}

/// Whether somebody writes the lake at this moment.
fn is_written(lake: &Path) -> bool {
    let lock = File::open(lake.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}
