//! Snapshots: the state of a partition at a commit boundary, so that a restore reads only the tail
//! of its events.
//!
//! # Invariants
//! 1. A snapshot covers confirmed commits only; its events offset is a lower bound of where to go on.
//! 2. A file is whole or it is not there: written aside, synced, renamed.
//! 3. A snapshot is never needed: what is damaged or missing is folded anew.
//! 4. A snapshot that was written is kept, whatever else is there. One at a higher offset is removed
//!    only if the partition's owner has found it to be of a timeline that is no more (a log that was
//!    restored or lost its end): another may be of the next owner, who was faster.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bellhop_core::message::LogId;
use xxhash_rust::xxh3::Xxh3;

/// First bytes of a file: its kind and version.
const MAGIC: [u8; 8] = *b"bhsnap\0\x02";
/// Bytes before the state.
const HEADER: usize = 8 + 8 + 16 + 4 + 8 + 8;
/// Snapshots kept of a partition.
pub const KEPT: usize = 2;

/// The state of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The log it is of.
    pub log_id: LogId,
    /// The partition it is of.
    pub partition: u32,
    /// All events before this offset are in it.
    pub events_offset: u64,
    /// What `Task::snapshot` wrote.
    pub state: Vec<u8>,
}

/// Why a snapshot cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or file cannot be used.
    #[error("{tried} {}: check the folder's rights and the free space", path.display())]
    Io {
        /// What was tried.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("read the snapshot {}: it is damaged ({what})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

/// Where snapshots are kept.
pub trait SnapshotStore: Send + Sync {
    /// Keeps a snapshot and the one before it, and removes older ones and those that are `stale`:
    /// see [`outdated`].
    ///
    /// # Errors
    /// When it cannot be written.
    fn save(&self, snapshot: &Snapshot, stale: &[u64]) -> Result<(), Error>;

    /// The events offsets of the snapshots of a partition, newest first.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn list(&self, log_id: LogId, partition: u32) -> Result<Vec<u64>, Error>;

    /// A snapshot by its events offset.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    fn load(&self, log_id: LogId, partition: u32, events_offset: u64) -> Result<Snapshot, Error>;
}

/// Which of a partition's snapshots are not kept when one has been written: the `stale` ones, and
/// all but the newest [`KEPT`] of those that are not ahead of it. `offsets` come newest first.
pub fn outdated(offsets: Vec<u64>, written: u64, stale: &[u64]) -> impl Iterator<Item = u64> {
    let mut kept = 0;
    offsets.into_iter().filter(move |offset| {
        if *offset != written && stale.contains(offset) {
            return true;
        }
        let is_candidate = *offset <= written;
        let keeps = !is_candidate || kept < KEPT;
        kept += usize::from(is_candidate && keeps);
        !keeps
    })
}

/// Snapshots in a local folder: `<folder>/<log id>/<partition>-<events offset>.snapshot`.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// In a folder that is made when needed.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn of_log(&self, log_id: LogId) -> PathBuf {
        self.path.join(log_id.0.to_string())
    }

    /// The file of a snapshot.
    #[must_use]
    pub fn file(&self, log_id: LogId, partition: u32, events_offset: u64) -> PathBuf {
        self.of_log(log_id).join(Snapshot::name(partition, events_offset))
    }
}

impl SnapshotStore for Folder {
    fn save(&self, snapshot: &Snapshot, stale: &[u64]) -> Result<(), Error> {
        let Snapshot { log_id, partition, events_offset, ref state } = *snapshot;
        let folder = self.of_log(log_id);
        let path = self.file(log_id, partition, events_offset);
        let aside = path.with_extension("tmp");
        let failed = |tried, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { tried, path, source }
        };
        fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
        let header = snapshot.header();
        let write = || -> io::Result<()> {
            let mut file = File::create(&aside)?;
            file.write_all(&header)?;
            file.write_all(state)?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            File::open(&folder)?.sync_all()
        };
        write().map_err(failed("write the snapshot", &path))?;
        for old in outdated(self.list(log_id, partition)?, events_offset, stale) {
            let path = self.file(log_id, partition, old);
            fs::remove_file(&path).map_err(failed("remove the old snapshot", &path))?;
        }
        Ok(())
    }

    fn list(&self, log_id: LogId, partition: u32) -> Result<Vec<u64>, Error> {
        let folder = self.of_log(log_id);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(Error::Io { tried: "list the snapshots in", path: folder, source });
            }
        };
        let offset_of =
            |entry: fs::DirEntry| Snapshot::offset_in(entry.file_name().to_str()?, partition);
        let mut offsets: Vec<u64> = entries.filter_map(|entry| offset_of(entry.ok()?)).collect();
        offsets.sort_unstable_by(|one, other| other.cmp(one));
        Ok(offsets)
    }

    fn load(&self, log_id: LogId, partition: u32, events_offset: u64) -> Result<Snapshot, Error> {
        let path = self.file(log_id, partition, events_offset);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(Error::Io { tried: "read the snapshot", path, source }),
        };
        Snapshot::read(log_id, partition, events_offset, bytes)
            .map_err(|what| Error::Damaged { path, what })
    }
}

impl Snapshot {
    /// What is written before the state: magic, checksum of all that follows, log id, partition,
    /// events offset, bytes of the state.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let Self { log_id, partition, events_offset, state } = self;
        let mut fields = log_id.0.as_bytes().to_vec();
        fields.extend_from_slice(&partition.to_le_bytes());
        fields.extend_from_slice(&events_offset.to_le_bytes());
        fields.extend_from_slice(&(state.len() as u64).to_le_bytes());
        let mut hash = Xxh3::new();
        hash.update(&fields);
        hash.update(state);
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&hash.digest().to_le_bytes());
        header.extend_from_slice(&fields);
        header
    }

    /// The snapshot that was written as these bytes: its header, then its state.
    ///
    /// # Errors
    /// When they are not that snapshot: what is wrong.
    pub fn read(
        log_id: LogId,
        partition: u32,
        events_offset: u64,
        mut bytes: Vec<u8>,
    ) -> Result<Self, &'static str> {
        if bytes.len() < HEADER {
            return Err("it is too short");
        }
        // In place: the state may be large.
        let header: Vec<u8> = bytes.drain(..HEADER).collect();
        let snapshot = Self { log_id, partition, events_offset, state: bytes };
        let expected = snapshot.header();
        if header.get(..8) != expected.get(..8) {
            return Err("it is no snapshot, or of another version");
        }
        if header != expected { Err("its checksum differs") } else { Ok(snapshot) }
    }

    /// The name under which it is kept, among those of its log.
    #[must_use]
    pub fn name(partition: u32, events_offset: u64) -> String {
        format!("{partition:04}-{events_offset:020}.snapshot")
    }

    /// The events offset in a name, if it is of that partition.
    #[must_use]
    pub fn offset_in(name: &str, partition: u32) -> Option<u64> {
        let (of, offset) = name.strip_suffix(".snapshot")?.split_once('-')?;
        (of.parse() == Ok(partition)).then(|| offset.parse().ok())?
    }
}

/// What became of a snapshot that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saving {
    /// It waits, or is being written.
    UnderWay,
    /// It is written.
    Written,
    /// The store has not taken it.
    Failed,
}

/// A snapshot that was offered.
#[derive(Debug)]
pub struct Offered(Arc<Mutex<Saving>>);

impl Offered {
    /// What became of it.
    #[must_use]
    pub fn state(&self) -> Saving {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A snapshot on its way to the thread that writes.
struct Waiting {
    snapshot: Snapshot,
    stale: Vec<u64>,
    state: Arc<Mutex<Saving>>,
}

impl Waiting {
    fn save(&self, store: &dyn SnapshotStore) {
        let saved = save(store, &self.snapshot, &self.stale);
        let state = if saved { Saving::Written } else { Saving::Failed };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Writes snapshots on a thread of its own.
pub struct Saver {
    store: Arc<dyn SnapshotStore>,
    queue: Option<SyncSender<Waiting>>,
    /// Snapshots that wait or are being written.
    pending: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Saver {
    /// With a thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn threaded(store: Arc<dyn SnapshotStore>) -> io::Result<Self> {
        // One is being written, one waits: what waits is memory.
        let (queue, waiting) = sync_channel::<Waiting>(1);
        let saving = Arc::clone(&store);
        let pending = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&pending);
        let run = move || {
            for offered in waiting {
                offered.save(saving.as_ref());
                drop(offered);
                written.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let thread = std::thread::Builder::new().name("bellhop-snapshots".to_owned()).spawn(run)?;
        Ok(Self { store, queue: Some(queue), pending, thread: Some(thread) })
    }

    /// Without: for tests that are to be the same every time.
    #[must_use]
    pub fn inline(store: Arc<dyn SnapshotStore>) -> Self {
        Self { store, queue: None, pending: Arc::default(), thread: None }
    }

    /// Where the snapshots are.
    #[must_use]
    pub fn store(&self) -> &dyn SnapshotStore {
        self.store.as_ref()
    }

    /// Whether no snapshot waits or is being written.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.pending.load(Ordering::SeqCst) == 0
    }

    /// Has a snapshot written, and those removed that are stale; `None` when another waits already.
    #[must_use]
    pub fn offer(&self, snapshot: Snapshot, stale: Vec<u64>) -> Option<Offered> {
        let state = Arc::new(Mutex::new(Saving::UnderWay));
        let offered = Offered(Arc::clone(&state));
        let waiting = Waiting { snapshot, stale, state };
        let Some(queue) = &self.queue else {
            waiting.save(self.store.as_ref());
            return Some(offered);
        };
        self.pending.fetch_add(1, Ordering::SeqCst);
        match queue.try_send(waiting) {
            Ok(()) => Some(offered),
            Err(TrySendError::Full(waiting) | TrySendError::Disconnected(waiting)) => {
                self.pending.fetch_sub(1, Ordering::SeqCst);
                let Snapshot { partition, events_offset, .. } = waiting.snapshot;
                tracing::debug!(partition, events_offset, "a snapshot is put off: another waits");
                None
            }
        }
    }

    /// Writes a snapshot now.
    pub fn save(&self, snapshot: &Snapshot, stale: &[u64]) {
        save(self.store.as_ref(), snapshot, stale);
    }
}

/// A snapshot that cannot be written costs time at the next start, nothing else.
fn save(store: &dyn SnapshotStore, snapshot: &Snapshot, stale: &[u64]) -> bool {
    let saved = store.save(snapshot, stale);
    if let Err(error) = &saved {
        let error: &dyn std::error::Error = error;
        tracing::warn!(partition = snapshot.partition, error, "a snapshot is not written");
    }
    saved.is_ok()
}

impl Drop for Saver {
    fn drop(&mut self) {
        drop(self.queue.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes snapshots panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;
    use uuid::Uuid;

    const LOG: LogId = LogId(Uuid::from_u128(7));

    fn snapshot(events_offset: u64) -> Snapshot {
        Snapshot { log_id: LOG, partition: 3, events_offset, state: vec![events_offset as u8; 100] }
    }

    #[test]
    fn the_newest_two_snapshots_of_a_partition_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        for offset in [5, 20, 1_000] {
            folder.save(&snapshot(offset), &[]).unwrap();
        }
        assert_eq!(folder.list(LOG, 3).unwrap(), [1_000, 20]);
        assert_eq!(folder.list(LOG, 4).unwrap(), Vec::<u64>::new());
        assert_eq!(folder.list(LogId(Uuid::from_u128(8)), 3).unwrap(), Vec::<u64>::new());
        assert_eq!(folder.load(LOG, 3, 20).unwrap(), snapshot(20));
    }

    /// Saves nothing before it is let.
    struct Gate(Mutex<Receiver<()>>);

    impl SnapshotStore for Gate {
        fn save(&self, _: &Snapshot, _: &[u64]) -> Result<(), Error> {
            self.0.lock().unwrap().recv().unwrap();
            Ok(())
        }
        fn list(&self, _: LogId, _: u32) -> Result<Vec<u64>, Error> {
            Ok(Vec::new())
        }
        fn load(&self, _: LogId, _: u32, at: u64) -> Result<Snapshot, Error> {
            Ok(snapshot(at))
        }
    }

    #[test]
    fn a_snapshot_that_is_put_off_is_told_and_a_saver_that_writes_is_not_free() {
        let (open, gate) = sync_channel(9);
        let saver = Saver::threaded(Arc::new(Gate(Mutex::new(gate)))).unwrap();
        assert!(saver.is_free());
        assert!(saver.offer(snapshot(1), Vec::new()).is_some());
        assert!(!saver.is_free());
        // Until the thread has the first one: then that is being written, and this one waits.
        while saver.offer(snapshot(2), Vec::new()).is_none() {
            std::thread::yield_now();
        }
        assert!(saver.offer(snapshot(3), Vec::new()).is_none());
        (0..2).for_each(|_| open.send(()).unwrap());
        while !saver.is_free() {
            std::thread::yield_now();
        }
        assert!(saver.offer(snapshot(4), Vec::new()).is_some());
        open.send(()).unwrap();
    }

    #[test]
    fn a_snapshot_is_kept_though_stale_ones_are_ahead_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        for offset in [5, 900, 1_000] {
            folder.save(&snapshot(offset), &[]).unwrap();
        }
        for offset in [20, 30] {
            folder.save(&snapshot(offset), &[1_000, 900]).unwrap();
            assert_eq!(folder.list(LOG, 3).unwrap().first(), Some(&offset));
        }
        assert_eq!(folder.list(LOG, 3).unwrap(), [30, 20]);
    }

    #[test]
    fn a_former_owner_that_is_late_removes_no_snapshot_of_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        for offset in [500, 2_000, 3_000, 1_000] {
            folder.save(&snapshot(offset), &[]).unwrap();
        }
        assert_eq!(folder.list(LOG, 3).unwrap()[..2], [3_000, 2_000]);
        folder.save(&snapshot(4_000), &[]).unwrap();
        assert_eq!(folder.list(LOG, 3).unwrap(), [4_000, 3_000]);
    }

    /// Takes nothing.
    struct Full;

    impl SnapshotStore for Full {
        fn save(&self, _: &Snapshot, _: &[u64]) -> Result<(), Error> {
            let source = io::Error::from(io::ErrorKind::StorageFull);
            Err(Error::Io { tried: "write the snapshot", path: PathBuf::from("full"), source })
        }
        fn list(&self, _: LogId, _: u32) -> Result<Vec<u64>, Error> {
            Ok(Vec::new())
        }
        fn load(&self, _: LogId, _: u32, at: u64) -> Result<Snapshot, Error> {
            Ok(snapshot(at))
        }
    }

    #[test]
    fn a_snapshot_that_the_store_does_not_take_is_known_to_have_failed() {
        let saver = Saver::threaded(Arc::new(Full)).unwrap();
        let offered = saver.offer(snapshot(1), Vec::new()).unwrap();
        while offered.state() == Saving::UnderWay {
            std::thread::yield_now();
        }
        assert_eq!(offered.state(), Saving::Failed);
    }

    #[test]
    fn every_changed_or_missing_byte_of_a_snapshot_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        folder.save(&snapshot(5), &[]).unwrap();
        let path = folder.file(LOG, 3, 5);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, &damaged).unwrap();
            let error = folder.load(LOG, 3, 5).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "byte {at}: {error}");
            fs::write(&path, &whole[..at]).unwrap();
            folder.load(LOG, 3, 5).unwrap_err();
        }
        fs::write(&path, &whole).unwrap();
        folder.load(LOG, 3, 5).unwrap();
    }
}
