//! The lake: append-only Parquet files, from which every figure can be asked again.
//!
//! ```text
//! lake/
//!   lake.json                                            which log, which version of the tables
//!   lake.lock                                            held by the one process that writes
//!   0003-00000000000000000000-00000000000000012345/      a part: partition, first and last event
//!     room_nights.parquet  bookings.parquet  ...         the tables that have rows in it
//! ```
//!
//! Start at [`Lake::open`], [`Lake::appender`], [`Lake::commit`].
//!
//! # Invariants
//! 1. A part is one folder that one rename makes visible: all its tables, or nothing.
//! 2. Parts of a partition never overlap and only grow; [`Lake::next_offset`] says where to go on,
//!    and events before it are skipped, so feeding the same events twice changes nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bellhop_core::message::{LogId, Meta, Position};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::expand::Expander;
use crate::table::{Table, schema};

/// Version of the tables: another one is expanded anew from the events.
pub const FORMAT_VERSION: u16 = 1;

/// Rows that wait in memory before they go to the writers, over all tables.
const BATCH_ROWS: usize = 32 * 1024;
/// Rows of a row group: what a writer holds in memory, encoded and compressed.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// A stretch of the events of a partition that is in the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Partition of the events topic.
    pub partition: u32,
    /// Offset of its first event.
    pub first: u64,
    /// Offset of its last event.
    pub last: u64,
}

impl Part {
    fn name(self) -> String {
        format!("{:04}-{:020}-{:020}", self.partition, self.first, self.last)
    }

    fn parse(name: &str) -> Option<Self> {
        let (partition, offsets) = name.split_once('-')?;
        let (first, last) = offsets.split_once('-')?;
        let part = Self {
            partition: partition.parse().ok()?,
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        };
        (part.first <= part.last && part.name() == name).then_some(part)
    }
}

/// What `lake.json` says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format_version: u16,
    log_id: LogId,
}

impl Manifest {
    fn describe(&self) -> String {
        format!("log {} in format {}", self.log_id.0, self.format_version)
    }
}

/// A lake opened to be written; one process at a time.
#[derive(Debug)]
pub struct Lake {
    folder: PathBuf,
    parts: Vec<Part>,
    _lock: File,
}

impl Lake {
    /// Opens the lake of a log, or makes it; what a crash has left half done is swept away.
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
        check_manifest(&folder, Manifest { format_version: FORMAT_VERSION, log_id: log })?;
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let path = entry.map_err(failed("list", &folder))?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") && path.is_dir() {
                fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
            }
        }
        let parts = parts(&folder)?;
        Ok(Self { folder, parts, _lock: lock })
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The parts that it has, by partition and offset.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Offset of the first event of a partition that is not in the lake.
    #[must_use]
    pub fn next_offset(&self, partition: u32) -> u64 {
        let of_partition = self.parts.iter().filter(|part| part.partition == partition);
        of_partition.map(|part| part.last + 1).max().unwrap_or(0)
    }

    /// Starts the next part of a partition. Partitions can be appended side by side.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn appender(&self, partition: u32) -> Result<Appender, Error> {
        let next = self.next_offset(partition);
        let folder = self.folder.join(format!("{partition:04}-{next:020}.tmp"));
        fs::create_dir(&folder).map_err(failed("create folder", &folder))?;
        Ok(Appender {
            folder,
            partition,
            start: next,
            next,
            first: None,
            expander: Expander::default(),
            writers: Default::default(),
            committed: false,
        })
    }

    /// Makes what was appended visible and durable; `None` when there was no new event.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Parquet`]; the lake is then as before.
    ///
    /// # Panics
    /// When the partition has grown since the appender was made: one appender at a time.
    pub fn commit(&mut self, mut appender: Appender) -> Result<Option<Part>, Error> {
        let Some(first) = appender.first else {
            return Ok(None);
        };
        let part = Part { partition: appender.partition, first, last: appender.next - 1 };
        assert_eq!(
            appender.start,
            self.next_offset(part.partition),
            "partition {} of the lake has two appenders",
            part.partition
        );
        appender.finish()?;
        let folder = self.folder.join(part.name());
        fs::rename(&appender.folder, &folder).map_err(failed("rename to", &folder))?;
        appender.committed = true;
        sync_folder(&self.folder)?;
        self.parts.push(part);
        self.parts.sort_unstable();
        Ok(Some(part))
    }
}

/// A part in the making. Dropped without [`Lake::commit`], it leaves nothing.
pub struct Appender {
    folder: PathBuf,
    partition: u32,
    start: u64,
    next: u64,
    first: Option<u64>,
    expander: Expander,
    writers: [Option<ArrowWriter<File>>; Table::ALL.len()],
    committed: bool,
}

impl Appender {
    /// Adds the event at an offset; one that the lake already holds is skipped. Offsets may have
    /// gaps (a broker's transaction markers take some).
    ///
    /// # Errors
    /// Those of [`Expander::event`], and [`Error::Parquet`]. Drop the appender then.
    pub fn event(
        &mut self,
        offset: u64,
        name: &str,
        meta: &Meta,
        datum: &[u8],
    ) -> Result<(), Error> {
        if offset < self.next {
            return Ok(());
        }
        let at = Position { partition: self.partition, offset };
        self.expander.event(at, name, meta, datum)?;
        self.first.get_or_insert(offset);
        self.next = offset + 1;
        if self.expander.rows() >= BATCH_ROWS { self.write() } else { Ok(()) }
    }

    fn path(&self, table: Table) -> PathBuf {
        self.folder.join(file_name(table))
    }

    fn write(&mut self) -> Result<(), Error> {
        for (table, batch) in self.expander.take()? {
            let path = self.path(table);
            let Some(slot) = self.writers.get_mut(table as usize) else { continue };
            let writer = match slot {
                Some(writer) => writer,
                None => {
                    let file = File::create_new(&path).map_err(failed("create", &path))?;
                    let made = ArrowWriter::try_new(file, schema(table), Some(properties()))
                        .map_err(|source| Error::Parquet { path: path.clone(), source })?;
                    slot.insert(made)
                }
            };
            writer.write(&batch).map_err(|source| Error::Parquet { path, source })?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.write()?;
        for table in Table::ALL {
            let path = self.path(table);
            let writer = self.writers.get_mut(table as usize).and_then(Option::take);
            let Some(writer) = writer else { continue };
            let file = writer
                .into_inner()
                .map_err(|source| Error::Parquet { path: path.clone(), source })?;
            file.sync_all().map_err(failed("sync", &path))?;
        }
        sync_folder(&self.folder)
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if !self.committed {
            // What stays behind, if this fails, is swept away by the next `Lake::open`.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The files of a table, in the order of their events. A folder without a lake has none.
pub(crate) fn files(folder: &Path, table: Table) -> Result<Vec<PathBuf>, Error> {
    let paths = parts(folder)?.into_iter().map(|part| folder.join(part.name()));
    Ok(paths.map(|part| part.join(file_name(table))).filter(|path| path.exists()).collect())
}

fn file_name(table: Table) -> String {
    format!("{}.parquet", table.name())
}

fn parts(folder: &Path) -> Result<Vec<Part>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("list", folder)(source)),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", folder))?;
        parts.extend(entry.file_name().to_str().and_then(Part::parse));
    }
    parts.sort_unstable();
    Ok(parts)
}

fn check_manifest(folder: &Path, wanted: Manifest) -> Result<(), Error> {
    let path = folder.join("lake.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return write_manifest(folder, &path, &wanted);
        }
        Err(source) => return Err(failed("read", &path)(source)),
    };
    match serde_json::from_slice::<Manifest>(&text) {
        Ok(found) if found == wanted => Ok(()),
        found => Err(Error::NotThisLog {
            path: folder.to_path_buf(),
            found: found.map_or_else(|_| "an unreadable lake.json".into(), |it| it.describe()),
            wanted: wanted.describe(),
        }),
    }
}

fn write_manifest(folder: &Path, path: &Path, manifest: &Manifest) -> Result<(), Error> {
    let text = serde_json::to_vec(manifest)
        .map_err(|source| failed("write", path)(io::Error::other(source)))?;
    let temporary = folder.join("lake.json.new");
    fs::write(&temporary, text).map_err(failed("write", &temporary))?;
    File::open(&temporary).and_then(|file| file.sync_all()).map_err(failed("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("rename to", path))?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(failed("sync", folder))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File { operation, path, source }
}

fn properties() -> WriterProperties {
    // A body is never repeated, so a dictionary of bodies would only cost.
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(ColumnPath::from("payload"), false)
        .set_column_statistics_enabled(ColumnPath::from("payload"), EnabledStatistics::None)
        .build()
}
