//! Snapshots of partitions that come due together: in turns, with rests between them.

use std::sync::atomic::AtomicU64;

use bellhop_runtime::snapshot::{self, Snapshot};

use super::*;

/// Remembers when which partition was saved.
struct Watched {
    folder: Folder,
    clock: Arc<dyn Clock>,
    saved: Arc<Mutex<Vec<(u32, Duration)>>>,
}

impl SnapshotStore for Watched {
    fn save(&self, snapshot: &Snapshot, stale: &[u64]) -> Result<(), snapshot::Error> {
        self.saved.lock().unwrap().push((snapshot.partition, self.clock.elapsed()));
        self.folder.save(snapshot, stale)
    }
    fn list(&self, log_id: LogId, partition: u32) -> Result<Vec<u64>, snapshot::Error> {
        self.folder.list(log_id, partition)
    }
    fn load(&self, log_id: LogId, partition: u32, at: u64) -> Result<Snapshot, snapshot::Error> {
        self.folder.load(log_id, partition, at)
    }
}

/// A clock on which a millisecond passes between any two looks at it.
#[derive(Default)]
struct Restless(AtomicU64);

impl Clock for Restless {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000)
    }
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// Which partition was saved, and when.
type Saved = Arc<Mutex<Vec<(u32, Duration)>>>;

impl House {
    /// Partitions with long tails and no snapshot, and a worker that is to take them over.
    fn behind(clock: &Arc<dyn Clock>) -> (Self, Worker, Saved) {
        let mut house = Self::new();
        house.config.snapshot_events = 10;
        house.config.batch_wait = Duration::from_secs(60);
        house.add_everywhere("first", 30);
        let parts = Parts { saver: None, ..house.parts(house.clock.clone()) };
        let mut worker = Worker::new(house.config.clone(), parts).unwrap();
        drain(&mut worker, &mut house.log);
        drop(worker);
        let saved = Arc::new(Mutex::new(Vec::new()));
        let store =
            Watched { folder: house.snapshots(), clock: clock.clone(), saved: saved.clone() };
        let saver = Some(Arc::new(Saver::inline(Arc::new(store))));
        let parts = Parts { saver, ..house.parts(clock.clone()) };
        let worker = Worker::new(house.config.clone(), parts).unwrap();
        (house, worker, saved)
    }

    fn add_everywhere(&mut self, key: &str, count: usize) {
        for n in 0..count {
            let commands: Vec<_> = (0..PARTITIONS)
                .map(|it| self.add(&format!("{key}-{n}-{it}"), counter_in(it, PARTITIONS, 0), 1))
                .collect();
            self.send(&commands);
        }
    }
}

#[test]
fn partitions_that_come_due_together_are_written_out_in_turns() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(1_000_000)));
    let (mut house, mut worker, saved) = House::behind(&clock);
    let mut written = Vec::new();
    for n in 0..PARTITIONS {
        house.add_everywhere(&format!("then-{n}"), 1);
        drain(&mut worker, &mut house.log);
        written.push(saved.lock().unwrap().len());
    }
    assert_eq!(written, [1, 2, 3, 4], "snapshots after each of four transactions");
    let mut partitions: Vec<u32> = saved.lock().unwrap().iter().map(|(it, _)| *it).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2, 3]);
    house.verify();
}

#[test]
fn a_worker_rests_fortynine_times_as_long_as_it_stood_still_for_a_snapshot() {
    let clock: Arc<dyn Clock> = Arc::new(Restless::default());
    let (mut house, mut worker, saved) = House::behind(&clock);
    for n in 0..60 {
        house.add_everywhere(&format!("then-{n}"), 1);
        drain(&mut worker, &mut house.log);
    }
    let times: Vec<Duration> = saved.lock().unwrap().iter().map(|(_, at)| *at).collect();
    assert!(times.len() >= PARTITIONS as usize, "{times:?}");
    for (one, next) in times.iter().zip(&times[1..]) {
        assert!(*next - *one >= Duration::from_millis(49), "{times:?}");
    }
}

/// Does not take the first snapshot.
struct Refusing {
    folder: Folder,
    refused: AtomicBool,
}

impl SnapshotStore for Refusing {
    fn save(&self, snapshot: &Snapshot, stale: &[u64]) -> Result<(), snapshot::Error> {
        if self.refused.swap(true, Ordering::SeqCst) {
            return self.folder.save(snapshot, stale);
        }
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        Err(snapshot::Error::Io { tried: "write the snapshot", path: "full".into(), source })
    }
    fn list(&self, log_id: LogId, partition: u32) -> Result<Vec<u64>, snapshot::Error> {
        self.folder.list(log_id, partition)
    }
    fn load(&self, log_id: LogId, partition: u32, at: u64) -> Result<Snapshot, snapshot::Error> {
        self.folder.load(log_id, partition, at)
    }
}

#[test]
fn a_snapshot_that_the_store_does_not_take_is_written_soon_and_not_a_million_events_later() {
    let mut house = House::new();
    house.config.snapshot_events = 10;
    let store = Refusing { folder: house.snapshots(), refused: AtomicBool::new(false) };
    let saver = Some(Arc::new(Saver::inline(Arc::new(store))));
    let parts = Parts { saver, ..house.parts(house.clock.clone()) };
    let mut worker = Worker::new(house.config.clone(), parts).unwrap();
    let (counter, clock) = (counter_in(0, PARTITIONS, 0), house.clock.clone());
    let mut send = |worker: &mut Worker, key: String, count: usize| {
        let commands: Vec<_> =
            (0..count).map(|n| house.add(&format!("{key}-{n}"), counter, 1)).collect();
        house.send(&commands);
        drain(worker, &mut house.log);
        house.snapshots().list(house.log.identity().log_id, 0).unwrap().len()
    };
    assert_eq!(send(&mut worker, "first".to_owned(), 12), 0, "refused");
    assert_eq!(send(&mut worker, "then".to_owned(), 1), 0, "the store is left alone for a while");
    clock.advance(Duration::from_secs(31));
    assert_eq!(send(&mut worker, "late".to_owned(), 1), 1);
}

/// Takes six seconds for a snapshot.
struct Slow {
    folder: Folder,
    clock: Arc<ManualClock>,
}

impl SnapshotStore for Slow {
    fn save(&self, snapshot: &Snapshot, stale: &[u64]) -> Result<(), snapshot::Error> {
        self.clock.advance(Duration::from_secs(6));
        self.folder.save(snapshot, stale)
    }
    fn list(&self, log_id: LogId, partition: u32) -> Result<Vec<u64>, snapshot::Error> {
        self.folder.list(log_id, partition)
    }
    fn load(&self, log_id: LogId, partition: u32, at: u64) -> Result<Snapshot, snapshot::Error> {
        self.folder.load(log_id, partition, at)
    }
}

#[test]
fn a_worker_that_stops_writes_the_snapshots_that_its_time_allows_the_largest_tails_first() {
    let mut house = House::new();
    let store = Slow { folder: house.snapshots(), clock: house.clock.clone() };
    let saver = Some(Arc::new(Saver::inline(Arc::new(store))));
    let parts = Parts { saver, ..house.parts(house.clock.clone()) };
    let mut worker = Worker::new(house.config.clone(), parts).unwrap();
    for partition in 0..PARTITIONS {
        for n in 0..=partition {
            let counter = counter_in(partition, PARTITIONS, 0);
            let add = house.add(&format!("{partition}-{n}"), counter, 1);
            house.send(&[add]);
        }
    }
    drain(&mut worker, &mut house.log);
    worker.finish().unwrap();
    let log_id = house.log.identity().log_id;
    let written: Vec<u32> = (0..PARTITIONS)
        .filter(|it| !house.snapshots().list(log_id, *it).unwrap().is_empty())
        .collect();
    assert_eq!(written, [2, 3]);
}
