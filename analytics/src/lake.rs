//! The lake: Parquet files, from which every figure can be asked again.
//!
//! ```text
//! lake/
//!   lake.json                                            which log, which version, which parts, and
//!                                                        what could not be read
//!   lake.lock                                            held by the one process that writes
//!   lake.readers                                         shared by those that read
//!   schema/                                              every table without rows
//!   0003-00000000000000000000-00000000000000012345/      a part: partition, first and last event
//!     room_nights.parquet  bookings.parquet  ...         the tables that have rows in it
//! ```
//!
//! Start at [`Lake::open`], [`Lake::appender`], [`Lake::commit`].
//!
//! # Invariants
//! 1. What is in the lake are the parts that `lake.json` lists; one rename of that file makes a part
//!    visible and takes away those that it replaces: all tables, or nothing.
//! 2. Parts of a partition never overlap and only grow; [`Lake::next_offset`] says where to go on,
//!    and events before it are skipped, so feeding the same events twice changes nothing.
//! 3. A file never changes. A part that was replaced is deleted when nobody holds `lake.readers`.
//! 4. A table of a part has a file exactly if `lake.json` gives it rows; a missing one is an error.
//! 5. A part has more rows than all later ones of its partition together, or the two would be larger
//!    than a part may be: a lake that is fed often has few parts.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bellhop_core::message::{LogId, Position};
use bellhop_core::record::Record;
use bellhop_ledger::decode::{Decoded, Unreadable};
pub use bellhop_ledger::decode::{Decoder, Learnt};

use crate::error::Error;
use crate::expand::Expander;
use crate::table::Table;

mod manifest;
mod parquet;

pub use manifest::{Part, Waiting};

pub(crate) use manifest::{Held, files};
pub(crate) use parquet::empty_file;

use manifest::Manifest;

/// Version of the tables: another one is expanded anew from the events.
pub const FORMAT_VERSION: u16 = 3;

/// Rows of a part over all tables, as far as one event after another allows; they are held in
/// memory while a part is made.
const PART_ROWS_MAX: u64 = 256 * 1024;

/// A lake opened to be written; one process at a time.
#[derive(Debug)]
pub struct Lake {
    folder: PathBuf,
    manifest: Manifest,
    _lock: File,
}

impl Lake {
    /// Opens the lake of a log, or makes it; what a crash has left half done, and a lake of another
    /// version, is swept away.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotThisLog`] (delete the folder and feed all events again), and
    /// [`Error::File`].
    pub fn open(folder: &Path, log: LogId) -> Result<Self, Error> {
        let folder = folder.to_path_buf();
        fs::create_dir_all(&folder).map_err(failed("create folder", &folder))?;
        let lock_path = folder.join("lake.lock");
        let lock = File::create(&lock_path).map_err(failed("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::Locked { path: folder }),
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }
        let manifest = Manifest::open(&folder, log)?;
        let lake = Self { folder, manifest, _lock: lock };
        lake.sweep()?;
        Ok(lake)
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The parts that it has, by partition and offset.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.manifest.parts
    }

    /// Offset of the first event of a partition that is not in the lake.
    #[must_use]
    pub fn next_offset(&self, partition: u32) -> u64 {
        self.of(partition).last().map_or(0, |part| part.last + 1)
    }

    /// What a partition waits for.
    #[must_use]
    pub fn waiting(&self, partition: u32) -> Option<&Waiting> {
        self.manifest.waiting.iter().find(|waiting| waiting.partition == partition)
    }

    /// Notes that a partition waits for a schema; gives since when (microseconds since 1970). The
    /// note goes with the next part of the partition.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn wait(&mut self, waiting: Waiting) -> Result<i64, Error> {
        if let Some(noted) = self.waiting(waiting.partition)
            && (noted.offset, noted.schema_id) == (waiting.offset, waiting.schema_id)
        {
            return Ok(noted.since_us);
        }
        let mut manifest = self.manifest.clone();
        manifest.waiting.retain(|noted| noted.partition != waiting.partition);
        manifest.waiting.push(waiting);
        manifest.write(&self.folder)?;
        self.manifest = manifest;
        Ok(waiting.since_us)
    }

    /// Ids of schemas that the log did not know when their events were parked.
    #[must_use]
    pub fn unknown_schemas(&self) -> &BTreeSet<u32> {
        &self.manifest.unknown_schemas
    }

    /// Makes it empty, so that all events are expanded anew.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin_anew(&mut self) -> Result<(), Error> {
        self.manifest = self.manifest.anew().create(&self.folder)?;
        self.sweep()
    }

    fn of(&self, partition: u32) -> impl DoubleEndedIterator<Item = &Part> {
        self.manifest.parts.iter().filter(move |part| part.partition == partition)
    }

    /// Starts the next part of a partition. Partitions can be appended side by side.
    #[must_use]
    pub fn appender(&self, partition: u32) -> Appender {
        let next = self.next_offset(partition);
        Appender {
            partition,
            start: next,
            next,
            first: None,
            unread: 0,
            unknown_schemas: BTreeSet::new(),
            expander: Expander::default(),
        }
    }

    /// Makes what was appended visible and durable, in one part with the small ones before it;
    /// `None` when there was no new event.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Parquet`], [`Error::Arrow`]; the lake is then as before.
    ///
    /// # Panics
    /// When the partition has grown since the appender was made: one appender at a time.
    pub fn commit(&mut self, mut appender: Appender) -> Result<Option<Part>, Error> {
        let Some(first) = appender.first else {
            return Ok(None);
        };
        let partition = appender.partition;
        assert_eq!(
            appender.start,
            self.next_offset(partition),
            "partition {partition} of the lake has two appenders"
        );
        let mut part = Part {
            partition,
            first,
            last: appender.next - 1,
            rows: appender.expander.rows() as u64,
            by_table: appender.expander.counts(),
            unread: appender.unread,
            generation: self.manifest.generation,
        };
        let replaced = self.small_before(&part);
        for before in &replaced {
            part.first = part.first.min(before.first);
            part.rows += before.rows;
            part.unread += before.unread;
            for (rows, more) in part.by_table.iter_mut().zip(before.by_table) {
                *rows += more;
            }
        }
        let temporary = self.folder.join(format!("{}.tmp", part.name()));
        let written = self.write(&temporary, &replaced, &mut appender);
        if let Err(error) = written {
            // What stays behind, if this fails, is swept away by the next `Lake::open`.
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        let visible = self.folder.join(part.name());
        fs::rename(&temporary, &visible).map_err(failed("rename to", &visible))?;
        sync_folder(&self.folder)?;
        let mut manifest = self.manifest.clone();
        manifest.parts.retain(|part| !replaced.contains(part));
        manifest.parts.push(part);
        manifest.parts.sort_unstable();
        manifest.waiting.retain(|it| it.partition != partition || it.offset > part.last);
        manifest.unknown_schemas.append(&mut appender.unknown_schemas);
        manifest.write(&self.folder)?;
        self.manifest = manifest;
        self.sweep()?;
        Ok(Some(part))
    }

    /// The parts that a new one takes in: from the first that would not be larger than all behind it
    /// together.
    fn small_before(&self, new: &Part) -> Vec<Part> {
        let (mut rows, mut count) = (new.rows, 0);
        let parts: Vec<Part> = self.of(new.partition).rev().copied().collect();
        for (number, part) in (1..).zip(&parts) {
            if part.rows + rows > PART_ROWS_MAX {
                break;
            }
            if part.rows <= rows {
                count = number;
            }
            rows += part.rows;
        }
        parts.into_iter().take(count).rev().collect()
    }

    fn write(
        &self,
        folder: &Path,
        replaced: &[Part],
        appender: &mut Appender,
    ) -> Result<(), Error> {
        fs::create_dir(folder).map_err(failed("create folder", folder))?;
        let mut new: Vec<_> = appender.expander.take()?;
        for table in Table::ALL {
            let mut batches = Vec::new();
            for path in manifest::paths(&self.folder, replaced, table)? {
                parquet::read(&path, &mut batches)?;
            }
            if let Some(at) = new.iter().position(|(of, _)| *of == table) {
                batches.push(new.swap_remove(at).1);
            }
            parquet::write(&folder.join(file_name(table)), table, &batches)?;
        }
        sync_folder(folder)
    }

    /// Deletes what is not in the lake, unless somebody reads it.
    fn sweep(&self) -> Result<(), Error> {
        let path = self.folder.join(manifest::READERS);
        let readers = File::create(&path).map_err(failed("create", &path))?;
        match readers.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(()),
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        for entry in fs::read_dir(&self.folder).map_err(failed("list", &self.folder))? {
            let path = entry.map_err(failed("list", &self.folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_listed = self.manifest.parts.iter().any(|part| part.name() == name);
            if path.is_dir() && name != manifest::SCHEMA && !is_listed {
                fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// A part in the making, in memory. Dropped without [`Lake::commit`], it leaves nothing.
pub struct Appender {
    partition: u32,
    start: u64,
    next: u64,
    first: Option<u64>,
    unread: u64,
    unknown_schemas: BTreeSet<u32>,
    expander: Expander,
}

impl Appender {
    /// Adds the event of a record; one that the lake already holds is skipped. Offsets may have gaps
    /// (a broker's transaction markers take some). Gives the reason where the event has no rows and
    /// went to `parked`, as one whose writer the decoder has not learnt.
    pub fn record(&mut self, record: &Record<'_>, decoder: &mut Decoder) -> Option<Unreadable> {
        if record.offset < self.next {
            return None;
        }
        let at = Position { partition: self.partition, offset: record.offset };
        let unreadable = match self.expander.record(at, record, decoder) {
            Decoded::Rows => None,
            Decoded::Foreign => {
                self.unread += 1;
                None
            }
            Decoded::Unreadable(unreadable) => {
                self.unread += 1;
                self.unknown_schemas.extend(unreadable.unknown_schema);
                Some(*unreadable)
            }
        };
        self.first.get_or_insert(record.offset);
        self.next = record.offset + 1;
        unreadable
    }

    /// Whether it is as large as a part may be: commit it and go on with the next one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.expander.rows() as u64 >= PART_ROWS_MAX
    }
}

fn file_name(table: Table) -> String {
    format!("{}.parquet", table.name())
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(failed("sync", folder))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File { operation, path, source }
}
