//! What goes wrong with files, and what is said about it.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::InMemoryBackend;
use redb::{ReadableTable, StorageBackend};
use uuid::Uuid;

use super::*;
use crate::clock::ManualClock;
use crate::log::ErrorKind;

fn options() -> Options {
    let log_id = LogId(Uuid::from_u128(1 << 100));
    Options { partitions: 2, timestamps: Timestamps::Append, log_id }
}

fn open(dir: &Path) -> Result<Embedded, Error> {
    Embedded::open_or_create(dir, &options(), Tuning::default(), Arc::new(ManualClock::default()))
}

fn refused<T>(result: Result<T, Error>, kind: ErrorKind, says: &[&str]) {
    let Err(error) = result else { panic!("nothing was refused") };
    let text = error.to_string();
    assert_eq!(error.kind, kind, "{text}");
    says.iter().for_each(|words| assert!(text.contains(words), "\"{text}\" lacks \"{words}\""));
    let source = error.source.map(|source| source.to_string());
    assert!(source.is_none_or(|source| !text.contains(&source)), "{text} prints its source");
}

fn append(log: &mut Embedded, value: &[u8], count: usize) -> Result<Vec<Position>, Error> {
    let command = Command { key: b"k", value, timestamp: Timestamp(0), headers: &[] };
    log.append(&vec![command; count], None)
}

fn count(log: &mut impl Reader, partition: u32) -> Result<u64, Error> {
    let mut count = 0;
    log.read(Topic::Commands, partition, 0, &mut |_| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(count)
}

#[test]
fn a_directory_that_is_open_elsewhere_names_the_likely_cause() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    refused(open(dir.path()), ErrorKind::FixInput, &["another bellhop", "another data directory"]);
    let read = ReadOnly::open(dir.path(), Tuning::default());
    refused(read, ErrorKind::FixInput, &["another bellhop"]);
    drop(log);
    open(dir.path()).unwrap();
}

#[test]
fn a_log_that_was_closed_is_read_without_writing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    let partition = append(&mut log, b"value", 10).unwrap()[0].partition;
    drop(log);
    let mut log = ReadOnly::open(dir.path(), Tuning::default()).unwrap();
    assert_eq!(count(&mut log, partition).unwrap(), 10);
    assert_eq!(log.end(Topic::Commands, partition).unwrap(), 10);
}

#[test]
fn a_log_of_other_partitions_or_times_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let clock = Arc::new(ManualClock::default());
    for other in [
        Options { partitions: 3, ..options() },
        Options { timestamps: Timestamps::Create, ..options() },
    ] {
        let log = Embedded::open_or_create(dir.path(), &other, Tuning::default(), clock.clone());
        refused(log, ErrorKind::FixInput, &["it has 2 partitions", "another data directory"]);
    }
    // The id is the file's own.
    let other = Options { log_id: LogId(Uuid::nil()), ..options() };
    let log = Embedded::open_or_create(dir.path(), &other, Tuning::default(), clock).unwrap();
    assert_eq!(log.identity().log_id, options().log_id);
}

#[test]
fn a_log_that_is_not_there_is_not_made_by_opening_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    let log = Embedded::open(dir.path(), Tuning::default(), clock);
    refused(log, ErrorKind::FixInput, &["there is none"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.redb");
    fs::write(&path, b"a shopping list, not a log".repeat(1_000)).unwrap();
    refused(open(dir.path()), ErrorKind::Corrupt, &["not a log of bellhop"]);
    fs::remove_file(&path).unwrap();
    let foreign = redb::Database::create(&path).unwrap();
    let writing = foreign.begin_write().unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("of somebody else");
    writing.open_table(table).unwrap().insert(1, 2).unwrap();
    writing.commit().unwrap();
    drop(foreign);
    refused(open(dir.path()), ErrorKind::FixInput, &["not a log of bellhop"]);
}

#[test]
fn a_log_of_a_newer_format_says_so() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let file = redb::Database::open(dir.path().join("log.redb")).unwrap();
    let writing = file.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    writing.open_table(meta).unwrap().insert("identity", &[3, 0, 0, 0, 9, 9][..]).unwrap();
    writing.commit().unwrap();
    drop(file);
    refused(open(dir.path()), ErrorKind::FixInput, &["format 3", "reads format 2", "newer"]);
}

#[test]
fn a_damaged_or_truncated_batch_is_named_by_partition_and_offset() {
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 4] = [
        |bytes| bytes[40] ^= 1,
        |bytes| bytes[8] += 1,
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.truncate(20),
    ];
    for change in changes {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        append(&mut log, b"first", 3).unwrap();
        let partition = append(&mut log, b"second", 3).unwrap()[0].partition;
        append(&mut log, b"third", 3).unwrap();
        drop(log);
        let file = redb::Database::open(dir.path().join("log.redb")).unwrap();
        let writing = file.begin_write().unwrap();
        {
            let mut table = writing.open_table(store::batches(Topic::Commands)).unwrap();
            let key = (partition, 3, 0);
            let mut bytes = table.get(key).unwrap().unwrap().value().to_vec();
            change(&mut bytes);
            table.insert(key, bytes.as_slice()).unwrap();
        }
        writing.commit().unwrap();
        drop(file);
        let mut log = open(dir.path()).unwrap();
        let place = format!("partition {partition} at offset 3");
        refused(count(&mut log, partition), ErrorKind::Corrupt, &[&place]);
        // What lies behind it can still be read.
        let third =
            log.read(Topic::Commands, partition, 6, &mut |_| std::ops::ControlFlow::Continue(()));
        assert_eq!(third.unwrap(), 9);
    }
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    for _ in 0..20 {
        append(&mut log, &[7; 3_000], 20).unwrap();
    }
    drop(log);
    let path = dir.path().join("log.redb");
    let whole = fs::read(&path).unwrap();
    let mut noticed = 0;
    for nth in 0..60 {
        let mut damaged = whole.clone();
        let at = nth * whole.len() / 60 + 11 * nth % 4_000;
        damaged[at..(at + 64).min(whole.len())].fill(0xA5);
        fs::write(&path, &damaged).unwrap();
        let read =
            open(dir.path()).and_then(|mut log| Ok(count(&mut log, 0)? + count(&mut log, 1)?));
        match read {
            Ok(records) => assert_eq!(records, 400, "byte {at}"),
            Err(error) => {
                assert!(matches!(error.kind, ErrorKind::Corrupt | ErrorKind::FixInput), "{error}");
                noticed += 1;
            }
        }
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let read = open(dir.path()).and_then(|mut log| Ok(count(&mut log, 0)? + count(&mut log, 1)?));
    refused(read, ErrorKind::Corrupt, &["damaged"]);
    assert!(noticed > 5, "{noticed} of 60 damages were noticed");
}

#[test]
fn large_and_small_values_come_back_and_waste_little() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    let mut bytes = 0;
    for size in [0, 1, 65_439, 65_440, 65_472, 65_473, 200_000, 1_000_000, 3_000_000] {
        let value: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
        let position = append(&mut log, &value, 1).unwrap()[0];
        let mut found = Vec::new();
        log.read(Topic::Commands, position.partition, position.offset, &mut |record| {
            found = record.value.unwrap_or_default().to_vec();
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
        assert!(found == value, "{size} bytes");
        bytes += size as u64;
    }
    for _ in 0..8 {
        append(&mut log, &[1; 130], 10_000).unwrap();
        bytes += 1_300_000;
    }
    drop(log);
    let file = fs::metadata(dir.path().join("log.redb")).unwrap().len();
    assert!(file < bytes * 3 / 2, "{file} bytes of file for {bytes}");
}

/// A disk with so many bytes left, which are counted down by growth.
#[derive(Debug)]
struct SmallDisk {
    disk: InMemoryBackend,
    most: Arc<AtomicU64>,
}

impl StorageBackend for SmallDisk {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.most.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.disk.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

#[test]
fn a_full_disk_is_said_to_everybody_who_writes_and_reading_goes_on() {
    let most = Arc::new(AtomicU64::new(u64::MAX));
    let disk = SmallDisk { disk: InMemoryBackend::new(), most: Arc::clone(&most) };
    let (store, identity) = Store::on(disk, &options()).unwrap();
    let clock = Arc::new(ManualClock::default());
    let mut log = Embedded::start(store, identity, Tuning::default(), clock).unwrap();
    let partition = append(&mut log, b"before", 5).unwrap()[0].partition;
    most.store(0, Ordering::SeqCst);
    let full = append(&mut log, &[0; 50_000_000], 1);
    refused(full, ErrorKind::FixInput, &["disk is full", "start again"]);
    refused(append(&mut log, b"after", 1), ErrorKind::FixInput, &["disk is full"]);
    let mut member = log.join();
    let polled = super::super::Log::poll(&mut member, 1, std::time::Duration::ZERO);
    refused(polled, ErrorKind::FixInput, &["disk is full"]);
    assert_eq!(count(&mut log, partition).unwrap(), 5);
}

/// Root may write everywhere, so the test runs itself as somebody else.
#[cfg(unix)]
#[test]
fn a_folder_without_the_right_to_write_is_said_to_be_one() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const CHILD: &str = "BELLHOP_TEST_READ_ONLY";
    if let Some(dir) = std::env::var_os(CHILD) {
        let dir = Path::new(&dir);
        refused(open(&dir.join("new")), ErrorKind::FixInput, &["cannot be written", "new"]);
        refused(open(dir), ErrorKind::FixInput, &["cannot be written", "log.redb"]);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let rights = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    rights(&dir.path().join("log.redb"), 0o444);
    rights(dir.path(), 0o555);
    // A copy, for the folder of the build may be closed to others.
    let program = tempfile::tempdir().unwrap();
    rights(program.path(), 0o755);
    let copy = program.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut child = std::process::Command::new(&copy);
    child.env(CHILD, dir.path()).args(["--exact", "--nocapture"]).current_dir("/");
    child.arg("log::embedded::tests::a_folder_without_the_right_to_write_is_said_to_be_one");
    let root = fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me));
    if root.is_ok_and(|uid| uid == 0) {
        child.uid(65_534).gid(65_534);
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    rights(dir.path(), 0o755);
}

#[test]
fn a_folder_that_cannot_be_written_is_said_to_be_one() {
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
        let error = store::failed("open the log", io::Error::from(kind));
        refused::<()>(Err(error), ErrorKind::FixInput, &["cannot be written", "right"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    refused(open(&file.join("data")), ErrorKind::FixInput, &["make the folder"]);
}
