//! The lake of a log: brought up to date, then asked.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bellhop_analytics::error::ErrorKind;
use bellhop_analytics::lake::Lake;
use bellhop_analytics::session::Session;
use bellhop_core::avro::{Avro as _, Reader as Avro};
use bellhop_core::message::{LogId, Meta};
use bellhop_runtime::log::{Reader, Topic};

use crate::embedded;
use crate::log::{Names, Raw};
use crate::output;
use crate::site::Site;

/// How long to wait for another process that writes the lake: longer than it takes to write all of
/// the booking data.
const BUSY_WAIT: Duration = Duration::from_secs(60);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Writes the events that the lake does not have yet; gives how many there were.
///
/// # Errors
/// When the log cannot be read or the lake not be written.
pub(crate) fn catch_up(folder: &Path, log: &mut dyn Reader) -> Result<u64> {
    let mut lake = open(&folder.join(embedded::LAKE), log.identity().log_id)?;
    let mut missing = 0;
    for partition in 0..log.identity().partitions {
        missing += log.end(Topic::Events, partition)?.saturating_sub(lake.next_offset(partition));
    }
    let bar = output::progress("writing the lake", missing);
    let mut names = Names::default();
    for partition in 0..log.identity().partitions {
        let from = lake.next_offset(partition);
        if log.end(Topic::Events, partition)? <= from {
            continue;
        }
        let mut appender = lake.appender(partition)?;
        let mut count = 0_u64;
        names.raw(log, partition, from, &mut |Raw { position, name, datum, .. }| {
            let mut reader = Avro::new(datum);
            let meta = Meta::decode(&mut reader)
                .with_context(|| format!("decode the event at {position}"))?;
            appender.event(position.offset, name, &meta, reader.rest())?;
            count += 1;
            if count.is_multiple_of(1_024) {
                bar.inc(1_024);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        lake.commit(appender)?;
    }
    bar.finish_and_clear();
    Ok(missing)
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

/// The lake of a folder, caught up first unless a running process has the log open.
///
/// # Errors
/// When there is neither log nor lake, or they cannot be read.
pub(crate) fn session(site: &Site) -> Result<Session> {
    let folder = site.folder()?;
    let lake = folder.join(embedded::LAKE);
    match site.reader() {
        Ok(mut log) => {
            catch_up(folder, &mut *log)?;
        }
        Err(error) if lake.exists() => {
            tracing::warn!("answering from the lake as it is, for the log is not free: {error:#}");
        }
        Err(error) => return Err(error),
    }
    Ok(Session::open(&lake)?)
}
