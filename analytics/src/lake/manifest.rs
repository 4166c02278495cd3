//! `lake.json`: which parts are in the lake.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bellhop_core::message::LogId;
use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, empty_file, failed, file_name, sync_folder};
use crate::error::Error;
use crate::table::Table;

/// Folder of the tables without rows: a pattern like `lake/*/refusals.parquet` always has a file.
pub(super) const SCHEMA: &str = "schema";
/// Held shared by those that read.
pub(super) const READERS: &str = "lake.readers";
const MANIFEST: &str = "lake.json";

/// A stretch of the events of a partition that is in the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Listed", into = "Listed")]
pub struct Part {
    /// Partition of the events topic.
    pub partition: u32,
    /// Offset of its first event.
    pub first: u64,
    /// Offset of its last event.
    pub last: u64,
    /// Its rows, over all tables.
    pub rows: u64,
}

/// A part as `lake.json` lists it.
#[derive(Serialize, Deserialize)]
struct Listed {
    folder: String,
    rows: u64,
}

impl From<Part> for Listed {
    fn from(part: Part) -> Self {
        Self { folder: part.name(), rows: part.rows }
    }
}

impl TryFrom<Listed> for Part {
    type Error = String;

    fn try_from(listed: Listed) -> Result<Self, String> {
        let Listed { folder, rows } = listed;
        Self::parse(&folder, rows).ok_or_else(|| format!("\"{folder}\" is not the name of a part"))
    }
}

impl Part {
    pub(super) fn name(self) -> String {
        format!("{:04}-{:020}-{:020}", self.partition, self.first, self.last)
    }

    fn parse(name: &str, rows: u64) -> Option<Self> {
        let (partition, offsets) = name.split_once('-')?;
        let (first, last) = offsets.split_once('-')?;
        let (partition, first) = (partition.parse().ok()?, first.parse().ok()?);
        let part = Self { partition, first, last: last.parse().ok()?, rows };
        (part.first <= part.last && part.name() == name).then_some(part)
    }
}

/// What `lake.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format_version: u16,
    log_id: LogId,
    #[serde(default)]
    pub(super) parts: Vec<Part>,
}

impl Manifest {
    /// That of a folder, or a new one.
    pub(super) fn open(folder: &Path, log_id: LogId) -> Result<Self, Error> {
        let new = Self { format_version: FORMAT_VERSION, log_id, parts: Vec::new() };
        match Self::read(folder)? {
            Some(Ok(found)) if (found.log_id, found.format_version) == (log_id, FORMAT_VERSION) => {
                Ok(found)
            }
            // Of this log in another format, or there is none: it is made anew from the events.
            Some(Ok(found)) if found.log_id == log_id => new.create(folder),
            None => new.create(folder),
            Some(found) => Err(Error::NotThisLog {
                path: folder.to_path_buf(),
                found: found.map_or_else(|_| "an unreadable lake.json".into(), |it| it.describe()),
                wanted: new.describe(),
            }),
        }
    }

    /// That of a folder; `None` when there is none, an error within when it is no manifest.
    fn read(folder: &Path) -> Result<Option<Result<Self, serde_json::Error>>, Error> {
        let path = folder.join(MANIFEST);
        match fs::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    fn create(self, folder: &Path) -> Result<Self, Error> {
        let tables = folder.join(SCHEMA);
        fs::create_dir_all(&tables).map_err(failed("create folder", &tables))?;
        for table in Table::ALL {
            empty_file(&tables.join(file_name(table)), table)?;
        }
        sync_folder(&tables)?;
        self.write(folder)?;
        Ok(self)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(MANIFEST);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| failed("write", &path)(io::Error::other(source)))?;
        let temporary = folder.join("lake.json.new");
        fs::write(&temporary, text).map_err(failed("write", &temporary))?;
        let synced = File::open(&temporary).and_then(|file| file.sync_all());
        synced.map_err(failed("sync", &temporary))?;
        fs::rename(&temporary, &path).map_err(failed("rename to", &path))?;
        sync_folder(folder)
    }

    fn describe(&self) -> String {
        format!("log {} in format {}", self.log_id.0, self.format_version)
    }
}

/// The parts of a lake as they were at one moment; their files stay while it is held.
#[derive(Debug)]
pub(crate) struct Held {
    folder: PathBuf,
    parts: Vec<Part>,
    _readers: Option<File>,
}

impl Held {
    /// Of a folder; one without a lake, or with one of another version, has none.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(READERS);
        let readers = match File::open(&path) {
            Ok(file) => {
                file.lock_shared().map_err(failed("lock", &path))?;
                Some(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(failed("open", &path)(source)),
        };
        let parts = match Manifest::read(folder)? {
            Some(Ok(found)) if found.format_version == FORMAT_VERSION => found.parts,
            Some(Ok(_)) | None => Vec::new(),
            Some(Err(source)) => {
                let path = folder.join(MANIFEST);
                return Err(failed("read", &path)(io::Error::other(source)));
            }
        };
        Ok(Self { folder: folder.to_path_buf(), parts, _readers: readers })
    }

    /// The parts, by partition and offset.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// The files of a table, in the order of their events.
pub(crate) fn files(held: &Held, table: Table) -> Vec<PathBuf> {
    let paths = held.parts.iter().map(|part| held.folder.join(part.name()).join(file_name(table)));
    paths.filter(|path| path.exists()).collect()
}
