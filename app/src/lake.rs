//! The lake of a log: brought up to date, then asked.
//!
//! Whoever has the log feeds the lake. On a folder that is the process that holds it: a question
//! from another one goes to [`follow`].

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use bellhop_analytics::error::ErrorKind;
use bellhop_analytics::lake::{Decoder, Lake, Learnt, Waiting};
use bellhop_analytics::session::Session;
use bellhop_core::message::{LogId, Timestamp};
use bellhop_core::record::Record;
use bellhop_runtime::log::{Reader, Topic};

use crate::site::Site;
use crate::{embedded, output, words};

pub(crate) mod follow;

#[cfg(test)]
mod tests;

/// How long to wait for another process that writes the lake: longer than it takes to write all of
/// the booking data.
const BUSY_WAIT: Duration = Duration::from_secs(60);
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How long a partition waits for a schema that the registry does not know before the events of
/// that schema are parked: longer than a replica lags or a permission is being changed.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);

/// Writes the events that the lake does not have yet.
///
/// # Errors
/// When the log cannot be read or the lake not be written.
pub(crate) fn catch_up(folder: &Path, log: &mut dyn Reader) -> Result<()> {
    let mut lake = open(&folder.join(embedded::LAKE), log.identity().log_id)?;
    let mut missing = 0;
    for partition in 0..log.identity().partitions {
        missing += log.end(Topic::Events, partition)?.saturating_sub(lake.next_offset(partition));
    }
    let bar = output::progress("writing the lake", missing);
    Feeder::default().feed(&mut lake, log, &mut || {
        bar.inc(1);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Opens the lake, after another process that is writing it has ended: two questions at once are
/// both answered.
fn open(lake: &Path, log_id: LogId) -> Result<Lake> {
    let started = Instant::now();
    loop {
        match Lake::open(lake, log_id) {
            Err(error) if error.kind() == ErrorKind::Busy && started.elapsed() < BUSY_WAIT => {
                std::thread::sleep(BUSY_PAUSE);
            }
            opened => return Ok(opened?),
        }
    }
}

/// Takes events from a log to its lake.
#[derive(Default)]
struct Feeder {
    decoder: Decoder,
}

/// Why a read ended before the end.
enum Pause {
    /// The schema of this record is not known yet.
    Unknown(Vec<u8>),
    /// The part is as large as one may be.
    Full,
    /// Somebody asked to stop.
    Stop,
}

impl Feeder {
    /// Writes the events that the lake does not have yet; `each` is called before each of them and
    /// says whether to go on. What was taken until then is in the lake, by partition.
    fn feed(
        &mut self,
        lake: &mut Lake,
        log: &mut dyn Reader,
        each: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<()> {
        self.decoder.ask_again();
        for id in lake.unknown_schemas().clone() {
            self.decoder.give_up(id);
            // What was parked for want of this schema has rows now.
            if log.schema_of(id)?.schema().is_some() {
                tracing::info!(schema_id = id, "a schema is known now; the lake is made anew");
                lake.begin_anew()?;
                self.decoder.ask_again();
                break;
            }
        }
        for partition in 0..log.identity().partitions {
            if log.end(Topic::Events, partition)? > lake.next_offset(partition) {
                self.feed_partition(lake, log, partition, each)?;
            }
        }
        Ok(())
    }

    fn feed_partition(
        &mut self,
        lake: &mut Lake,
        log: &mut dyn Reader,
        partition: u32,
        each: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<()> {
        let mut appender = lake.appender(partition);
        let mut next = lake.next_offset(partition);
        loop {
            let mut pause = None;
            let end = log.read(Topic::Events, partition, next, &mut |record| {
                next = record.offset;
                pause = if !self.decoder.knows(record) {
                    Some(Pause::Unknown(record.value.unwrap_or_default().to_vec()))
                } else if appender.is_full() {
                    Some(Pause::Full)
                } else if each().is_break() {
                    Some(Pause::Stop)
                } else {
                    None
                };
                if pause.is_some() {
                    return ControlFlow::Break(());
                }
                if let Some(unreadable) = appender.record(record, &mut self.decoder) {
                    let (offset, cause) = (record.offset, unreadable.cause);
                    tracing::warn!(
                        partition,
                        offset,
                        cause,
                        "an event has no rows; its bytes are in the table parked"
                    );
                }
                ControlFlow::Continue(())
            })?;
            match pause {
                Some(Pause::Unknown(value)) => {
                    let record = Record {
                        offset: next,
                        timestamp: Timestamp(0),
                        key: None,
                        value: Some(&value),
                        headers: &[],
                    };
                    let learnt = self.decoder.learn(&record, |id| {
                        let schema = log.schema_of(id)?.schema();
                        anyhow::Ok(schema.map(|schema| (schema.name, schema.text)))
                    })?;
                    if let Learnt::Unknown(schema_id) = learnt {
                        let since_us = now_us();
                        let waiting = Waiting { partition, offset: next, schema_id, since_us };
                        let waited_us = since_us - lake.wait(waiting)?;
                        if waited_us < i64::try_from(UNKNOWN_FOR.as_micros())? {
                            lake.commit(appender)?;
                            return Ok(());
                        }
                        self.decoder.give_up(schema_id);
                    }
                }
                Some(Pause::Full) => {
                    lake.commit(appender)?;
                    appender = lake.appender(partition);
                }
                Some(Pause::Stop) | None => {
                    debug_assert!(end >= next, "a log is read forward");
                    lake.commit(appender)?;
                    return Ok(());
                }
            }
        }
    }
}

/// The lake of a site, caught up first: by this process where the log is free, else by the process
/// that holds it.
///
/// # Errors
/// When there is neither log nor lake, or they cannot be read.
pub(crate) fn session(site: &Site) -> Result<Session> {
    let folder = site.folder()?;
    let lake = folder.join(embedded::LAKE);
    match site.free_reader() {
        Ok(mut log) => catch_up(folder, &mut *log)?,
        Err(error)
            if lake.exists() || matches!(site, Site::Folder(_) if embedded::has_log(folder)) =>
        {
            let answer = match site {
                Site::Folder(_) => follow::ask(&lake, &|| site.free_reader().ok())?,
                // Nobody holds a cluster's log: it cannot be reached.
                Site::Cluster(..) => follow::Answer::Silent(None),
            };
            match answer {
                follow::Answer::Fed(followed) => {
                    output::note(&format!("answered from a running process, with {followed}"));
                }
                follow::Answer::Free(mut log) => catch_up(folder, &mut *log)?,
                follow::Answer::Silent(followed) if lake.exists() => {
                    let known = followed.map_or_else(
                        || "nobody says up to when".to_owned(),
                        |followed| format!("with {followed}"),
                    );
                    tracing::warn!(
                        "answering from the lake as it is, {known}, for the log is not free: {error:#}"
                    );
                }
                follow::Answer::Silent(_) => return Err(error),
            }
        }
        Err(error) => return Err(error),
    }
    let session = Session::open(&lake).context("open the lake")?;
    warn_of_gaps(&session);
    Ok(session)
}

/// Says which events the answers lack.
fn warn_of_gaps(session: &Session) {
    for Waiting { partition, offset, schema_id, since_us } in session.waiting() {
        let since = words::time(Timestamp(*since_us));
        tracing::warn!(
            "answers lack the events of partition {partition} from offset {offset} on: the log does not know their schema id {schema_id} since {since} UTC; see whether the registry has it and this user may read it. It is asked again with each question"
        );
    }
    if session.unread() > 0 {
        tracing::warn!(
            "answers lack {} that could not be read: `SELECT name, cause, count(*) FROM parked GROUP BY name, cause` says why; a program that can read them expands them anew",
            words::count(session.unread(), "event")
        );
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
