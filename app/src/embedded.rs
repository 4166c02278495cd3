//! The embedded log of a folder: to read, and to run.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bellhop_core::message::LogId;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::embedded::{Embedded, Options, ReadOnly, Tuning};
use bellhop_runtime::log::socket::Remote;
use bellhop_runtime::log::{Reader, Timestamps};

use crate::config::Config;

/// Name of the lake within the folder.
pub(crate) const LAKE: &str = "lake";
/// Name of the log's file, as the runtime gives it.
const LOG: &str = "log.redb";

/// Opens the log of a folder to read; while a process runs on it, that process is asked.
///
/// # Errors
/// When there is none, another process has it open and does not answer, or it is damaged.
pub(crate) fn reader(folder: &Path) -> Result<Box<dyn Reader>> {
    expect_log(folder)?;
    if let Ok(log) = ReadOnly::open(folder, Tuning::default()) {
        return Ok(Box::new(log));
    }
    match Remote::connect(folder)? {
        Some(log) => Ok(Box::new(log)),
        None => free_reader(folder),
    }
}

/// Opens the log of a folder to read, if no process runs on it.
///
/// # Errors
/// As [`reader`].
pub(crate) fn free_reader(folder: &Path) -> Result<Box<dyn Reader>> {
    expect_log(folder)?;
    match ReadOnly::open(folder, Tuning::default()) {
        Ok(log) => Ok(Box::new(log)),
        // It was not closed in order: opening it to write mends that.
        Err(_) => Ok(Box::new(open(folder)?)),
    }
}

/// Opens the log of a folder.
///
/// # Errors
/// As [`reader`].
pub(crate) fn open(folder: &Path) -> Result<Embedded> {
    expect_log(folder)?;
    Ok(Embedded::open(folder, Tuning::default(), Arc::new(SystemClock::default()))?)
}

/// Opens the log of a folder, or makes it.
///
/// # Errors
/// When it is another kind of log than asked for, locked, damaged, or cannot be written.
pub(crate) fn open_or_create(
    folder: &Path,
    timestamps: Timestamps,
    log_id: LogId,
    config: &Config,
) -> Result<Embedded> {
    if has_log(folder) {
        let log = open(folder)?;
        let found = log.identity().timestamps;
        if found != timestamps {
            bail!(
                "the log in {} takes its times from {}, this wants them from {}; give another folder",
                folder.display(),
                whence(found),
                whence(timestamps),
            );
        }
        return Ok(log);
    }
    create(folder, &Options { partitions: config.partitions, timestamps, log_id })?;
    open(folder)
}

/// Makes a log aside and puts it into the folder when it is whole: killed in between, the next run
/// finds no log instead of half of one.
fn create(folder: &Path, options: &Options) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| {
        format!("make the folder {}: check the path, and that it may be written", folder.display())
    })?;
    let aside = folder.join(format!("log.making-{}", std::process::id()));
    let clock = Arc::new(SystemClock::default());
    drop(Embedded::open_or_create(&aside, options, Tuning::default(), clock)?);
    let file = folder.join(LOG);
    // Unlike a rename, a link never replaces the log that another process has made meanwhile.
    let linked = match std::fs::hard_link(aside.join(LOG), &file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    linked.with_context(|| format!("make the log {}", file.display()))?;
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("write the folder {}", folder.display()))?;
    sweep(folder);
    Ok(())
}

/// Removes what this process, or one that was killed, has left aside.
fn sweep(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("log.making-"))
    {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::debug!("{} stays behind: {error}", entry.path().display());
        }
    }
}

/// Whether a folder holds a log.
pub(crate) fn has_log(folder: &Path) -> bool {
    folder.join(LOG).exists()
}

fn expect_log(folder: &Path) -> Result<()> {
    if !has_log(folder) {
        bail!(
            "there is no log in {}: give the --data of a `bellhop replay`, `run` or `demo`",
            folder.display()
        );
    }
    Ok(())
}

fn whence(timestamps: Timestamps) -> &'static str {
    match timestamps {
        Timestamps::Append => "the clock (a live log)",
        Timestamps::Create => "its commands (a replay)",
    }
}
