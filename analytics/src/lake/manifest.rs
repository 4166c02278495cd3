//! `lake.json`: which parts are in the lake, and which events it could not read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bellhop_core::message::LogId;
use bellhop_ledger::KNOWN;
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
    /// Its rows in each table, in the order of [`Table::ALL`].
    pub by_table: [u64; Table::ALL.len()],
    /// Its events that have no rows but that in `events`: they were unreadable, or of a type that
    /// was not known.
    pub unread: u64,
    /// How often the lake had been begun anew.
    pub(super) generation: u32,
}

/// A partition that waits for a schema which the log does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The partition.
    pub partition: u32,
    /// Offset of the first event that is not in the lake.
    pub offset: u64,
    /// Id of its schema.
    pub schema_id: u32,
    /// When the log did not know it first, in microseconds since 1970.
    pub since_us: i64,
}

/// A part as `lake.json` lists it.
#[derive(Serialize, Deserialize)]
struct Listed {
    folder: String,
    rows: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    unread: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<Part> for Listed {
    fn from(part: Part) -> Self {
        let rows = Table::ALL.into_iter().zip(part.by_table).filter(|(_, rows)| *rows > 0);
        let rows = rows.map(|(table, rows)| (table.name().to_owned(), rows)).collect();
        Self { folder: part.name(), rows, unread: part.unread }
    }
}

impl TryFrom<Listed> for Part {
    type Error = String;

    fn try_from(listed: Listed) -> Result<Self, String> {
        let Listed { folder, rows, unread } = listed;
        let by_table = Table::ALL.map(|table| rows.get(table.name()).copied().unwrap_or(0));
        let part = Self::parse(&folder);
        let part = part.ok_or_else(|| format!("\"{folder}\" is not the name of a part"))?;
        Ok(Self { rows: by_table.iter().sum(), by_table, unread, ..part })
    }
}

impl Part {
    /// A lake that was begun anew never gives the name of a former part again: somebody may still
    /// read that one.
    pub(super) fn name(self) -> String {
        let name = format!("{:04}-{:020}-{:020}", self.partition, self.first, self.last);
        match self.generation {
            0 => name,
            generation => format!("{name}-{generation:04}"),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.split('-');
        let part = Self {
            partition: numbers.next()?.parse().ok()?,
            first: numbers.next()?.parse().ok()?,
            last: numbers.next()?.parse().ok()?,
            generation: numbers.next().map_or(Ok(0), str::parse).ok()?,
            rows: 0,
            by_table: [0; Table::ALL.len()],
            unread: 0,
        };
        (part.first <= part.last && part.name() == name).then_some(part)
    }
}

/// What `lake.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format_version: u16,
    log_id: LogId,
    /// How often it was begun anew.
    #[serde(default)]
    pub(super) generation: u32,
    /// How much the program could read that wrote it last: see [`readable`].
    #[serde(default)]
    readable: usize,
    /// Ids that the log did not know when their events were parked.
    #[serde(default)]
    pub(super) unknown_schemas: BTreeSet<u32>,
    #[serde(default)]
    pub(super) waiting: Vec<Waiting>,
    #[serde(default)]
    pub(super) parts: Vec<Part>,
}

/// What can be read of a manifest in any format.
#[derive(Deserialize)]
struct Header {
    format_version: u16,
    log_id: LogId,
    #[serde(default)]
    generation: u32,
}

/// How much this program can read: the names in the schemas of its events. Types and fields are
/// only ever added, so a later program has more.
fn readable() -> usize {
    KNOWN.iter().map(|known| (known.schema)().matches("\"name\"").count()).sum()
}

impl Manifest {
    /// That of a folder, or a new one.
    pub(super) fn open(folder: &Path, log_id: LogId) -> Result<Self, Error> {
        let new = Self::of(log_id, 0);
        match Self::read(folder)? {
            // In another format, or with events that this program may read and the last could not.
            Some(Ok(found)) if found.log_id == log_id => {
                let readable = readable();
                let is_unread = found.parts.iter().any(|part| part.unread > 0);
                if found.format_version != FORMAT_VERSION
                    || (is_unread && found.readable < readable)
                {
                    return found.anew().create(folder);
                }
                Ok(Self { readable: readable.max(found.readable), ..found })
            }
            None => new.create(folder),
            Some(found) => Err(Error::NotThisLog {
                path: folder.to_path_buf(),
                found: found.map_or_else(|_| "an unreadable lake.json".into(), |it| it.describe()),
                wanted: new.describe(),
            }),
        }
    }

    fn of(log_id: LogId, generation: u32) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            log_id,
            generation,
            readable: readable(),
            unknown_schemas: BTreeSet::new(),
            waiting: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// That of the same lake without any part.
    pub(super) fn anew(&self) -> Self {
        Self::of(self.log_id, self.generation + 1)
    }

    /// That of a folder, without parts when it is in another format; `None` when there is none, an
    /// error within when it is no manifest.
    fn read(folder: &Path) -> Result<Option<Result<Self, serde_json::Error>>, Error> {
        let path = folder.join(MANIFEST);
        match fs::read(&path) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let Header { format_version, log_id, generation } = serde_json::from_slice(text)?;
        if format_version != FORMAT_VERSION {
            return Ok(Self { format_version, ..Self::of(log_id, generation) });
        }
        serde_json::from_slice(text)
    }

    pub(super) fn create(self, folder: &Path) -> Result<Self, Error> {
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
    waiting: Vec<Waiting>,
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
        let (parts, waiting) = match Manifest::read(folder)? {
            Some(Ok(found)) => (found.parts, found.waiting),
            None => (Vec::new(), Vec::new()),
            Some(Err(source)) => {
                let path = folder.join(MANIFEST);
                return Err(failed("read", &path)(io::Error::other(source)));
            }
        };
        Ok(Self { folder: folder.to_path_buf(), parts, waiting, _readers: readers })
    }

    /// The parts, by partition and offset.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The partitions that wait for a schema.
    pub(crate) fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }
}

/// The files of a table, in the order of their events.
///
/// # Errors
/// [`Error::Missing`].
pub(crate) fn files(held: &Held, table: Table) -> Result<Vec<PathBuf>, Error> {
    paths(&held.folder, &held.parts, table)
}

/// The files of a table in some parts.
pub(super) fn paths(lake: &Path, parts: &[Part], table: Table) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for part in parts {
        let rows = part.by_table.get(table as usize).copied().unwrap_or(0);
        if rows == 0 {
            continue;
        }
        let path = lake.join(part.name()).join(file_name(table));
        if !path.exists() {
            return Err(Error::Missing { path, rows, lake: lake.to_path_buf() });
        }
        paths.push(path);
    }
    Ok(paths)
}
