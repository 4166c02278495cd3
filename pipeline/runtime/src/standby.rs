//! Standby: warm copies of the partitions that no worker of this process owns.
//!
//! A copy is a restore that goes on: newest snapshot, then the committed events as they come. When
//! a worker of the process is assigned the partition, it [takes](Standby::take) the copy, folds
//! what little has come since, and starts; when it gives the partition up in order, it
//! [leaves](Standby::leave) its state to be followed further. It costs the memory of the state and
//! the reading of its events.
//!
//! # Invariants
//! 1. A copy holds committed events only, and every event before its `events_end`.
//! 2. A partition that a worker of this process owns is not followed.
//! 3. A copy is never needed: without one the partition is restored.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bellhop_core::history::History;
use bellhop_core::topology::Topology;

use crate::log::{ErrorKind, Reader};
use crate::restore::{self, Restored};
use crate::snapshot::SnapshotStore;
use crate::wiring::{Resolve, Wiring};
use crate::worker;

/// How long the follower rests when it has seen all partitions: about what a take-over still has to
/// fold.
const REST: Duration = Duration::from_millis(100);
/// How long a copy that is being folded is waited for: its reader may wait for a broker.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nobody waits for a copy.
const NOBODY: u32 = u32::MAX;

/// What a follower is made of.
pub struct Parts {
    /// Reads the log.
    pub reader: Box<dyn Reader>,
    /// The wiring of all that is linked.
    pub topology: Arc<Topology>,
    /// Reads the schemas of others.
    pub resolve: Arc<dyn Resolve>,
    /// Where copies begin.
    pub snapshots: Option<Arc<dyn SnapshotStore>>,
}

/// The copies of a process.
pub struct Standby {
    places: Mutex<BTreeMap<u32, Place>>,
    put_back: Condvar,
    /// The partition whose copy somebody waits for while it is folded.
    wanted: AtomicU32,
    follower: Mutex<Follower>,
}

/// Where the copy of a partition is.
enum Place {
    /// Nobody here owns it; none that was not begun.
    Here(Option<Box<Restored>>),
    /// The follower has it.
    Folding,
    /// The worker of this process with that name owns the partition.
    Owned(String),
    /// It cannot be folded; whoever restores it says why.
    Refused,
}

/// Puts a copy back, also when an event makes a processor panic: somebody may wait for it.
struct Folding<'a> {
    standby: &'a Standby,
    partition: u32,
    ends_as: Place,
}

impl Drop for Folding<'_> {
    fn drop(&mut self) {
        let ends_as = std::mem::replace(&mut self.ends_as, Place::Refused);
        let mut places = self.standby.places();
        // Whoever took it may have waited long enough.
        if let Some(place @ Place::Folding) = places.get_mut(&self.partition) {
            *place = ends_as;
        }
        drop(places);
        self.standby.put_back.notify_all();
    }
}

struct Follower {
    reader: Box<dyn Reader>,
    wiring: Wiring,
    config: worker::Config,
    snapshots: Option<Arc<dyn SnapshotStore>>,
}

impl Standby {
    /// With nobody who follows but [`Standby::step`]: for tests that are to be the same every time.
    #[must_use]
    pub fn inline(config: &worker::Config, parts: Parts) -> Self {
        let Parts { reader, topology, resolve, snapshots } = parts;
        let all = 0..reader.identity().partitions;
        let places = all.map(|partition| (partition, Place::Here(None))).collect();
        let wiring = Wiring::to_read(topology, resolve);
        let follower = Follower { reader, wiring, config: config.clone(), snapshots };
        Self {
            places: Mutex::new(places),
            put_back: Condvar::new(),
            wanted: AtomicU32::new(NOBODY),
            follower: Mutex::new(follower),
        }
    }

    /// With a thread that follows until this is dropped.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn threaded(config: &worker::Config, parts: Parts) -> std::io::Result<Arc<Self>> {
        let standby = Arc::new(Self::inline(config, parts));
        let followed = Arc::downgrade(&standby);
        let follow = move || {
            while let Some(standby) = followed.upgrade() {
                standby.step();
                drop(standby);
                std::thread::sleep(REST);
            }
        };
        std::thread::Builder::new().name("bellhop-standby".to_owned()).spawn(follow)?;
        Ok(standby)
    }

    /// Folds what has come, partition by partition. What the log refuses for now is for the next
    /// step.
    pub fn step(&self) {
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in 0..follower.reader.identity().partitions {
            let Some(copy) = self.begin(partition) else { continue };
            let mut folding = Folding { standby: self, partition, ends_as: Place::Refused };
            let mut wanted = || self.wanted.load(Ordering::SeqCst) == partition;
            folding.ends_as = follower.follow(partition, copy, &mut wanted);
        }
    }

    /// The copy of a partition that a worker was assigned; it is not followed until it is left.
    #[must_use]
    pub fn take(&self, partition: u32, worker: &str) -> Option<Restored> {
        let mut places = self.places();
        if matches!(places.get(&partition), Some(Place::Folding)) {
            self.wanted.store(partition, Ordering::SeqCst);
            let folding = |places: &mut BTreeMap<u32, Place>| {
                matches!(places.get(&partition), Some(Place::Folding))
            };
            let waited = self.put_back.wait_timeout_while(places, PATIENCE, folding);
            (places, _) = waited.unwrap_or_else(PoisonError::into_inner);
            self.wanted.store(NOBODY, Ordering::SeqCst);
        }
        match places.insert(partition, Place::Owned(worker.to_owned())) {
            Some(Place::Here(copy)) => copy.map(|copy| *copy),
            Some(Place::Folding | Place::Owned(_) | Place::Refused) | None => None,
        }
    }

    /// Follows a partition that a worker owns no more, from its state if that holds what is
    /// committed and nothing else; unless another worker of the process has taken it by now.
    pub fn leave(&self, partition: u32, worker: &str, state: Option<Restored>) {
        let mut places = self.places();
        let owns = |place: &&mut Place| matches!(place, Place::Owned(owner) if owner == worker);
        if let Some(place) = places.get_mut(&partition).filter(owns) {
            *place = Place::Here(state.map(Box::new));
        }
    }

    /// The partitions whose copies hold some state, for tests.
    #[must_use]
    pub fn warm(&self) -> Vec<u32> {
        let places = self.places();
        let warm = places.iter().filter(|(_, place)| matches!(place, Place::Here(Some(_))));
        warm.map(|(partition, _)| *partition).collect()
    }

    /// Of each of those: the partition, the events that it holds, and where it says that they end;
    /// for tests.
    #[must_use]
    pub fn held(&self) -> Vec<(u32, History, u64)> {
        let places = self.places();
        let held = places.iter().filter_map(|(partition, place)| match place {
            Place::Here(Some(copy)) => Some((*partition, copy.task.history(), copy.events_end)),
            Place::Here(None) | Place::Folding | Place::Owned(_) | Place::Refused => None,
        });
        held.collect()
    }

    fn begin(&self, partition: u32) -> Option<Option<Box<Restored>>> {
        let mut places = self.places();
        let place = places.get_mut(&partition)?;
        match std::mem::replace(place, Place::Folding) {
            Place::Here(copy) => Some(copy),
            other @ (Place::Folding | Place::Owned(_) | Place::Refused) => {
                *place = other;
                None
            }
        }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<u32, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    fn follow(
        &mut self,
        partition: u32,
        copy: Option<Box<Restored>>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Place {
        let Self { reader, wiring, config, snapshots } = self;
        let snapshots = snapshots.as_deref();
        let mut copy = match copy {
            Some(copy) => copy,
            None => {
                let config = config.task(reader.identity(), partition);
                let begun = restore::expected(reader.as_mut(), partition).and_then(|expected| {
                    restore::begin(reader.as_mut(), wiring, &config, snapshots, expected)
                });
                match begun {
                    Ok(begun) => Box::new(begun),
                    Err(error) => return told(partition, None, &error),
                }
            }
        };
        match copy.go_on(reader.as_mut(), wiring, snapshots, stop) {
            Ok(_) => Place::Here(Some(copy)),
            // What was folded twice counts once.
            Err(error) => told(partition, Some(copy), &error),
        }
    }
}

fn told(partition: u32, copy: Option<Box<Restored>>, error: &restore::Error) -> Place {
    let passes =
        matches!(error, restore::Error::Log { source, .. } if source.kind == ErrorKind::Retry);
    let error: &dyn std::error::Error = error;
    if passes {
        tracing::debug!(partition, error, "a standby copy waits for the log");
        return Place::Here(copy);
    }
    tracing::warn!(
        partition,
        error,
        "a partition is not followed: it is restored when it is assigned"
    );
    Place::Refused
}
