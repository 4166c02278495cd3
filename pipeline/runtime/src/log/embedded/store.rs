//! The file of an embedded log: tables, stored batches, and what its errors mean.
//!
//! A batch is one logical value under (partition, first offset), cut into chunks that fill a page
//! of the store exactly: redb gives a large value the next power of two of bytes, so 130 KB in one
//! piece would take 256 KB.
//!
//! # Source
//! redb 4.4: `LeafBuilder::required_bytes` (24 bytes beside one value under a key of 16 bytes),
//! `insert_helper` (a large value is appended without rewriting its neighbour). redb checks its
//! own checksums only when it repairs, so each batch carries one of its own.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bellhop_core::avro::{DecodeError, Reader};
use bellhop_core::history::History;
use bellhop_core::message::{LogId, Timestamp};
use bellhop_core::task::Progress;
use redb::{
    Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable, Table,
    TableDefinition, WriteTransaction,
};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::Options;
use crate::log::{Batch, Error, ErrorKind, Identity, Mark, Schema, Timestamps, Topic};

/// Version of the tables and of the bytes in them.
const FORMAT: u32 = 2;
/// Name of the file in the data directory.
const FILE: &str = "log.redb";
/// Bytes of a chunk: with its key and the page's own bytes it fills 64 KiB.
const CHUNK: usize = (64 << 10) - 32;
/// Bytes before a packed batch: checksum, records, unused, time, bytes.
const HEADER: usize = 32;

/// Partition, first offset, chunk.
type BatchKey = (u32, u64, u32);
type Batches = TableDefinition<'static, BatchKey, &'static [u8]>;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Next offset, stream time and, unless none was given, the history.
type Committed = (u64, i64, &'static [u8]);
const PROGRESS: TableDefinition<'_, u32, Committed> = TableDefinition::new("progress");
const SCHEMAS: TableDefinition<'_, u32, (&str, &str)> = TableDefinition::new("schemas");
/// Next offset and note, by group of consumers and partition.
const MARKS: TableDefinition<'_, (&str, u32), (u64, &str)> = TableDefinition::new("marks");
const BOOKMARKS: TableDefinition<'_, &str, u64> = TableDefinition::new("bookmarks");

pub(super) fn batches(topic: Topic) -> Batches {
    match topic {
        Topic::Commands => TableDefinition::new("commands"),
        Topic::Events => TableDefinition::new("events"),
        Topic::Parked => TableDefinition::new("parked"),
    }
}

/// The open file.
pub(super) struct Store {
    file: File,
    path: String,
}

enum File {
    Writable(Database),
    ReadOnly(ReadOnlyDatabase),
}

/// All of a log but its records; small, so it is kept in memory.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// By partition: the end of each topic, in the order of [`Topic::ALL`].
    pub(super) ends: Vec<[u64; 3]>,
    /// By partition: the time of the last batch of commands.
    pub(super) times: Vec<Timestamp>,
    pub(super) progress: Vec<Option<Progress>>,
    pub(super) schemas: BTreeMap<u32, Schema>,
    pub(super) bookmarks: BTreeMap<String, u64>,
    /// By group of consumers and partition.
    pub(super) marks: BTreeMap<String, BTreeMap<u32, Mark>>,
}

/// A packed batch to store.
pub(super) struct Packed<'a> {
    pub(super) records: usize,
    pub(super) base_time: Timestamp,
    pub(super) bytes: &'a [u8],
}

impl Store {
    pub(super) fn open(
        dir: &Path,
        create: Option<&Options>,
        cache_bytes: usize,
    ) -> Result<(Self, Identity), Error> {
        let path = dir.join(FILE);
        let shown = path.display().to_string();
        let tried = format!("open the log {shown}");
        if create.is_some() {
            std::fs::create_dir_all(dir)
                .map_err(|error| failed(&format!("make the folder {}", dir.display()), error))?;
        }
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        let opened = guard(&tried, || match create {
            Some(_) => builder.create(&path),
            None => builder.open(&path),
        })?;
        let file = opened.map_err(|error| failed(&tried, error))?;
        let mut store = Self { file: File::Writable(file), path: shown };
        let checked = store.identity().and_then(|identity| match identity {
            Some(identity) => store.check(identity.partitions),
            None => Ok(()),
        });
        if let Err(error) = checked {
            // A panic on damaged bytes leaves a lock poisoned, and closing the file panics over it.
            drop(guard(&tried, || drop(store)));
            return Err(error);
        }
        let File::Writable(file) = store.file else { return Err(store.foreign()) };
        Self::with(file, store.path, create)
    }

    /// Looks through the whole file: what something else has changed since it was closed is found
    /// before anything is decided by it, or written over what only seems free.
    fn check(&mut self, partitions: u32) -> Result<(), Error> {
        let tried = format!("open the log {}", self.path);
        let before = self.contents(partitions)?;
        let File::Writable(file) = &mut self.file else { return Ok(()) };
        let checked = guard(&tried, || file.check_integrity())?;
        if checked.map_err(|error| failed(&tried, error))? {
            return Ok(());
        }
        // The store goes back to the transaction before the last if it has to.
        if self.contents(partitions)? != before {
            return Err(corrupt(
                &tried,
                "the file was damaged, and its last transaction is gone; opening it again goes on without that",
            ));
        }
        let path = &self.path;
        tracing::warn!(path, "the log's file was damaged where nothing was stored; it is mended");
        Ok(())
    }

    /// On bytes that are not a file, for tests of what fails.
    #[cfg(test)]
    pub(super) fn on(
        backend: impl redb::StorageBackend,
        options: &Options,
    ) -> Result<(Self, Identity), Error> {
        let file = Database::builder()
            .create_with_backend(backend)
            .map_err(|error| failed("open the log", error))?;
        Self::with(file, "of a test".to_owned(), Some(options))
    }

    fn with(
        file: Database,
        path: String,
        create: Option<&Options>,
    ) -> Result<(Self, Identity), Error> {
        let store = Self { file: File::Writable(file), path };
        let identity = match (store.identity()?, create) {
            (Some(identity), _) => identity,
            (None, Some(options)) => store.create(options)?,
            (None, None) => return Err(store.foreign()),
        };
        Ok((store, identity))
    }

    pub(super) fn open_read_only(
        dir: &Path,
        cache_bytes: usize,
    ) -> Result<(Self, Identity), Error> {
        let path = dir.join(FILE);
        let shown = path.display().to_string();
        let tried = format!("open the log {shown} to read");
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        let file = guard(&tried, || builder.open_read_only(&path))?
            .map_err(|error| failed(&tried, error))?;
        let store = Self { file: File::ReadOnly(file), path: shown };
        match store.identity()? {
            Some(identity) => Ok((store, identity)),
            None => Err(store.foreign()),
        }
    }

    fn foreign(&self) -> Error {
        Error {
            kind: ErrorKind::FixInput,
            tried: format!("open the log {}", self.path),
            hint: "it is not a log of bellhop; give another data directory".to_owned(),
            source: None,
        }
    }

    fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        match &self.file {
            File::Writable(file) => Ok(file.begin_read()?),
            File::ReadOnly(file) => Ok(file.begin_read()?),
        }
    }

    pub(super) fn begin_write(&self) -> Result<WriteTransaction, redb::Error> {
        match &self.file {
            File::Writable(file) => Ok(file.begin_write()?),
            File::ReadOnly(_) => Err(redb::Error::Unsupported),
        }
    }

    fn identity(&self) -> Result<Option<Identity>, Error> {
        let tried = format!("open the log {}", self.path);
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let reading = self.begin_read()?;
            match reading.open_table(META) {
                Ok(meta) => Ok(meta.get("identity")?.map(|bytes| bytes.value().to_vec())),
                Err(redb::TableError::TableDoesNotExist(_)) => {
                    match reading.list_tables()?.next() {
                        Some(_) => Ok(Some(Vec::new())),
                        None => Ok(None),
                    }
                }
                Err(error) => Err(error.into()),
            }
        };
        let Some(bytes) = guard(&tried, read)?.map_err(|error| failed(&tried, error))? else {
            return Ok(None);
        };
        let Some((format, rest)) = bytes.split_first_chunk() else { return Err(self.foreign()) };
        let format = u32::from_le_bytes(*format);
        let fields = || {
            let (log_id, rest) = rest.split_first_chunk()?;
            let (partitions, rest) = rest.split_first_chunk()?;
            let timestamps = match rest {
                [0] => Timestamps::Append,
                [1] => Timestamps::Create,
                _ => return None,
            };
            let log_id = LogId(Uuid::from_bytes(*log_id));
            Some(Identity { log_id, partitions: u32::from_le_bytes(*partitions), timestamps })
        };
        if format != FORMAT {
            return Err(Error {
                kind: ErrorKind::FixInput,
                tried,
                hint: format!(
                    "it is of format {format}, this bellhop reads format {FORMAT}; run the version that wrote it, or a newer one"
                ),
                source: None,
            });
        }
        fields().map(Some).ok_or_else(|| corrupt(&tried, "its identity is damaged"))
    }

    fn create(&self, options: &Options) -> Result<Identity, Error> {
        let tried = format!("make the log {}", self.path);
        if !(1..=4096).contains(&options.partitions) {
            return Err(Error {
                kind: ErrorKind::FixInput,
                tried,
                hint: format!("{} partitions; 1 to 4096 are possible", options.partitions),
                source: None,
            });
        }
        let Options { log_id, partitions, timestamps } = *options;
        let write = || -> Result<(), redb::Error> {
            let writing = self.begin_write()?;
            let mut bytes = FORMAT.to_le_bytes().to_vec();
            bytes.extend_from_slice(log_id.0.as_bytes());
            bytes.extend_from_slice(&partitions.to_le_bytes());
            bytes.push(match timestamps {
                Timestamps::Append => 0,
                Timestamps::Create => 1,
            });
            writing.open_table(META)?.insert("identity", bytes.as_slice())?;
            for topic in Topic::ALL {
                writing.open_table(batches(topic))?;
            }
            writing.open_table(PROGRESS)?;
            writing.open_table(SCHEMAS)?;
            writing.open_table(BOOKMARKS)?;
            writing.commit()?;
            Ok(())
        };
        write().map_err(|error| failed(&tried, error))?;
        Ok(Identity { log_id, partitions, timestamps })
    }

    pub(super) fn contents(&self, partitions: u32) -> Result<Contents, Error> {
        let tried = format!("read the log {}", self.path);
        let read = || -> Result<Result<Contents, Error>, redb::Error> {
            let reading = self.begin_read()?;
            let mut contents = Contents::default();
            let progress = reading.open_table(PROGRESS)?;
            for partition in 0..partitions {
                let mut ends = [0; 3];
                let mut time = Timestamp(0);
                for (end, topic) in ends.iter_mut().zip(Topic::ALL) {
                    let table = reading.open_table(batches(topic))?;
                    match last(&table, topic, partition)? {
                        Ok(Some(header)) => {
                            *end = header.end;
                            if topic == Topic::Commands {
                                time = header.base_time;
                            }
                        }
                        Ok(None) => {}
                        Err(error) => return Ok(Err(error)),
                    }
                }
                contents.ends.push(ends);
                contents.times.push(time);
                let stored = progress.get(partition)?;
                let committed = stored.map(|stored| progress_of(stored.value()));
                let Ok(committed) = committed.transpose() else {
                    let what = format!("the progress of partition {partition} is damaged");
                    return Ok(Err(corrupt(&tried, &what)));
                };
                contents.progress.push(committed);
            }
            for schema in reading.open_table(SCHEMAS)?.iter()? {
                let (id, schema) = schema?;
                let (name, text) = schema.value();
                let schema = Schema { name: name.to_owned(), text: text.to_owned() };
                contents.schemas.insert(id.value(), schema);
            }
            for bookmark in reading.open_table(BOOKMARKS)?.iter()? {
                let (name, next) = bookmark?;
                contents.bookmarks.insert(name.value().to_owned(), next.value());
            }
            match reading.open_table(MARKS) {
                Ok(marks) => {
                    for mark in marks.iter()? {
                        let (key, mark) = mark?;
                        let ((group, partition), (next_offset, note)) = (key.value(), mark.value());
                        let of_group = contents.marks.entry(group.to_owned()).or_default();
                        of_group.insert(partition, Mark { next_offset, note: note.to_owned() });
                    }
                }
                // Made by the first mark.
                Err(redb::TableError::TableDoesNotExist(_)) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(Ok(contents))
        };
        guard(&tried, read)?.map_err(|error| failed(&tried, error))?
    }

    /// The stored batch that holds an offset.
    pub(super) fn batch_at(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
    ) -> Result<Option<Batch>, Error> {
        let mut found = None;
        self.each_batch(topic, partition, offset, &mut |batch| {
            found = Some(batch);
            false
        })?;
        Ok(found)
    }

    /// Reads stored batches from the one that holds an offset on, until `each` says no.
    pub(super) fn each_batch(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut dyn FnMut(Batch) -> bool,
    ) -> Result<(), Error> {
        let tried = format!("read {topic}, partition {partition} from offset {from}");
        let mut read = || -> Result<Result<(), Error>, redb::Error> {
            let table = self.begin_read()?.open_table(batches(topic))?;
            let before = table.range((partition, 0, 0)..=(partition, from, u32::MAX))?.next_back();
            let first = match before {
                Some(entry) => entry?.0.value().1,
                None => from,
            };
            let mut chunks =
                table.range((partition, first, 0)..=(partition, u64::MAX, u32::MAX))?.peekable();
            while let Some(entry) = chunks.next() {
                let (key, value) = entry?;
                let (_, offset, chunk) = key.value();
                let header = (chunk == 0).then(|| Header::read(value.value(), offset)).flatten();
                let Some(header) = header else {
                    return Ok(Err(damaged(topic, partition, offset)));
                };
                let mut bytes = Vec::with_capacity(header.bytes);
                bytes.extend_from_slice(value.value().get(HEADER..).unwrap_or_default());
                let same = |entry: &Result<_, redb::StorageError>| match entry {
                    Ok((key, _)) => {
                        let key: &redb::AccessGuard<'_, BatchKey> = key;
                        key.value().1 == offset
                    }
                    Err(_) => true,
                };
                while let Some(entry) = chunks.next_if(same) {
                    let (_, value): (_, redb::AccessGuard<'_, &[u8]>) = entry?;
                    bytes.extend_from_slice(value.value());
                }
                if checksum(topic, partition, offset, &header.fields(), &bytes) != header.checksum {
                    return Ok(Err(damaged(topic, partition, offset)));
                }
                if header.end <= from {
                    continue;
                }
                let Header { records, base_time, .. } = header;
                let records = records as usize;
                let mut batch = Batch::new(partition, offset, base_time, records, Arc::new(bytes));
                if offset < from {
                    batch.skip_to(from);
                }
                if !each(batch) {
                    break;
                }
            }
            Ok(Ok(()))
        };
        guard(&tried, &mut read)?.map_err(|error| failed(&tried, error))?
    }
}

/// What stands before the bytes of a stored batch.
struct Header {
    checksum: u64,
    records: u32,
    base_time: Timestamp,
    bytes: usize,
    /// The offset behind its last record.
    end: u64,
}

impl Header {
    fn read(value: &[u8], first_offset: u64) -> Option<Self> {
        let word = |at: usize| {
            let bytes = value.get(at..at + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let records = u32::try_from(word(8)?).ok()?;
        Some(Self {
            checksum: word(0)?,
            records,
            base_time: Timestamp(word(16)?.cast_signed()),
            bytes: usize::try_from(word(24)?).ok().filter(|bytes| *bytes < 1 << 31)?,
            end: first_offset.checked_add(u64::from(records))?,
        })
    }

    /// All but the checksum.
    fn fields(&self) -> [u8; HEADER - 8] {
        fields(self.records, self.base_time, self.bytes)
    }
}

fn fields(records: u32, base_time: Timestamp, bytes: usize) -> [u8; HEADER - 8] {
    let mut fields = [0; HEADER - 8];
    let words = [u64::from(records), base_time.0.cast_unsigned(), bytes as u64];
    for (field, word) in fields.chunks_exact_mut(8).zip(words) {
        field.copy_from_slice(&word.to_le_bytes());
    }
    fields
}

/// Of a batch and its place, so that one that was moved is found out as well.
fn checksum(topic: Topic, partition: u32, first: u64, fields: &[u8], bytes: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(topic.name().as_bytes());
    hash.update(&partition.to_le_bytes());
    hash.update(&first.to_le_bytes());
    hash.update(fields);
    hash.update(bytes);
    hash.digest()
}

fn last(
    table: &impl ReadableTable<BatchKey, &'static [u8]>,
    topic: Topic,
    partition: u32,
) -> Result<Result<Option<Header>, Error>, redb::Error> {
    let mut all = table.range((partition, 0, 0)..=(partition, u64::MAX, u32::MAX))?;
    let Some(entry) = all.next_back() else { return Ok(Ok(None)) };
    let (_, offset, _) = entry?.0.value();
    let head = table.get((partition, offset, 0))?;
    let header = head.and_then(|head| Header::read(head.value(), offset));
    Ok(header.map(Some).ok_or_else(|| damaged(topic, partition, offset)))
}

fn progress_of(stored: (u64, i64, &[u8])) -> Result<Progress, DecodeError> {
    let (next_offset, stream_time, history) = stored;
    let mut reader = Reader::new(history);
    let history = match history {
        [] => None,
        _ => Some(History::decode(&mut reader)?),
    };
    reader.finish()?;
    Ok(Progress { next_offset, stream_time: Timestamp(stream_time), history })
}

/// The tables of a transaction that is being written.
pub(super) struct Writing<'t> {
    writing: &'t WriteTransaction,
    topics: [Table<'t, BatchKey, &'static [u8]>; 3],
    progress: Table<'t, u32, Committed>,
    schemas: Table<'t, u32, (&'static str, &'static str)>,
    bookmarks: Table<'t, &'static str, u64>,
}

impl<'t> Writing<'t> {
    pub(super) fn new(writing: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            writing,
            topics: [
                writing.open_table(batches(Topic::Commands))?,
                writing.open_table(batches(Topic::Events))?,
                writing.open_table(batches(Topic::Parked))?,
            ],
            progress: writing.open_table(PROGRESS)?,
            schemas: writing.open_table(SCHEMAS)?,
            bookmarks: writing.open_table(BOOKMARKS)?,
        })
    }

    pub(super) fn batch(
        &mut self,
        topic: Topic,
        partition: u32,
        first_offset: u64,
        batch: &Packed<'_>,
    ) -> Result<(), redb::Error> {
        let table = &mut self.topics[topic as usize];
        let fields = fields(batch.records as u32, batch.base_time, batch.bytes.len());
        let sum = checksum(topic, partition, first_offset, &fields, batch.bytes);
        let (head, rest) = batch.bytes.split_at(batch.bytes.len().min(CHUNK - HEADER));
        let mut place = table.insert_reserve((partition, first_offset, 0), HEADER + head.len())?;
        let (header, body) = place.as_mut().split_at_mut(HEADER);
        header[..8].copy_from_slice(&sum.to_le_bytes());
        header[8..].copy_from_slice(&fields);
        body.copy_from_slice(head);
        drop(place);
        for (chunk, bytes) in (1..).zip(rest.chunks(CHUNK)) {
            table.insert((partition, first_offset, chunk), bytes)?;
        }
        Ok(())
    }

    pub(super) fn progress(&mut self, partition: u32, to: Progress) -> Result<(), redb::Error> {
        let mut history = Vec::new();
        to.history.inspect(|events| events.encode(&mut history));
        let committed = (to.next_offset, to.stream_time.0, history.as_slice());
        self.progress.insert(partition, committed)?;
        Ok(())
    }

    pub(super) fn schema(&mut self, id: u32, schema: &Schema) -> Result<(), redb::Error> {
        self.schemas.insert(id, (schema.name.as_str(), schema.text.as_str()))?;
        Ok(())
    }

    pub(super) fn mark(
        &mut self,
        group: &str,
        partition: u32,
        mark: &Mark,
    ) -> Result<(), redb::Error> {
        let mut marks = self.writing.open_table(MARKS)?;
        marks.insert((group, partition), (mark.next_offset, mark.note.as_str()))?;
        Ok(())
    }

    pub(super) fn bookmark(&mut self, name: &str, next: u64) -> Result<(), redb::Error> {
        self.bookmarks.insert(name, next)?;
        Ok(())
    }
}

fn damaged(topic: Topic, partition: u32, offset: u64) -> Error {
    corrupt(
        &format!("read the batch of {topic}, partition {partition} at offset {offset}"),
        "its bytes are not what was written",
    )
}

fn corrupt(tried: &str, what: &str) -> Error {
    Error {
        kind: ErrorKind::Corrupt,
        tried: tried.to_owned(),
        hint: format!("{what}; restore the data directory from a copy, or begin a new one"),
        source: None,
    }
}

/// Runs what redb does to bytes that may be damaged; it asserts on some.
fn guard<T>(tried: &str, run: impl FnOnce() -> T) -> Result<T, Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .map_err(|_| corrupt(tried, "the file is damaged"))
}

/// What a failure of the store means.
pub(super) fn failed(tried: &str, error: impl Into<redb::Error>) -> Error {
    use redb::Error as Cause;
    let error = error.into();
    #[expect(clippy::wildcard_enum_match_arm, reason = "of another crate, and not exhaustive")]
    let (kind, hint) = match &error {
        Cause::DatabaseAlreadyOpen => (
            ErrorKind::FixInput,
            "another process has it open, most likely another bellhop; stop that one, or give this one another data directory",
        ),
        Cause::RepairAborted => (
            ErrorKind::FixInput,
            "it was not closed, and reading alone cannot recover it; open it for writing once (bellhop run)",
        ),
        Cause::UpgradeRequired(_) => (
            ErrorKind::FixInput,
            "its file is of an older or newer format; run the version that wrote it",
        ),
        Cause::Corrupted(_) => (
            ErrorKind::Corrupt,
            "the file is damaged; restore the data directory from a copy, or begin a new one",
        ),
        Cause::TableDoesNotExist(_) | Cause::TableTypeMismatch { .. } => {
            (ErrorKind::FixInput, "it is not a log of bellhop; give another data directory")
        }
        Cause::PreviousIo => {
            (ErrorKind::FixInput, "an earlier write failed; mend its cause and start again")
        }
        Cause::Io(cause) => of_io(cause),
        other => unforeseen(other),
    };
    let source = Some(Box::new(error) as _);
    Error { kind, tried: tried.to_owned(), hint: hint.to_owned(), source }
}

/// What cannot happen as this crate uses the store.
fn unforeseen(_: &redb::Error) -> (ErrorKind, &'static str) {
    (ErrorKind::FixInput, "the store refuses; start again, and report it if it stays")
}

fn of_io(error: &io::Error) -> (ErrorKind, &'static str) {
    use io::ErrorKind as Cause;
    if matches!(error.kind(), Cause::StorageFull | Cause::QuotaExceeded | Cause::FileTooLarge) {
        return (
            ErrorKind::FixInput,
            "the disk is full; free some space and start again, nothing committed is lost",
        );
    }
    if matches!(error.kind(), Cause::PermissionDenied | Cause::ReadOnlyFilesystem) {
        return (
            ErrorKind::FixInput,
            "the folder cannot be written; give this user the right to, or another data directory",
        );
    }
    if error.kind() == Cause::NotFound {
        return (ErrorKind::FixInput, "there is none; make one first, or name its directory");
    }
    if matches!(error.kind(), Cause::InvalidData | Cause::UnexpectedEof) {
        return (
            ErrorKind::Corrupt,
            "the file is damaged, or not a log of bellhop; restore the data directory from a copy, or begin a new one",
        );
    }
    (ErrorKind::FixInput, "the disk reports an error; mend its cause and start again")
}
