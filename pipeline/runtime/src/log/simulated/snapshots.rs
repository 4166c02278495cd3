//! Snapshots in memory, some of them torn or damaged.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use bellhop_core::message::LogId;

use super::Simulated;
use super::world::World;
use crate::snapshot::{Error, Snapshot, SnapshotStore, outdated};

/// What lies where a snapshot was saved.
#[derive(Debug)]
pub(super) enum Saved {
    Whole(Snapshot),
    /// A checksum will tell.
    Damaged,
}

/// Saved snapshots, by partition and events offset.
pub(super) type Saves = BTreeMap<(u32, u64), Saved>;

/// The snapshots of a simulated log: they outlive its workers.
#[derive(Debug)]
pub struct Shelf {
    log: Simulated,
}

impl Shelf {
    pub(super) fn new(log: Simulated) -> Self {
        Self { log }
    }
}

fn path(partition: u32, events_offset: u64) -> PathBuf {
    PathBuf::from(format!("simulated/{partition}-{events_offset}"))
}

fn failed(tried: &'static str, partition: u32, events_offset: u64) -> Error {
    let source = io::Error::from(io::ErrorKind::StorageFull);
    Error::Io { tried, path: path(partition, events_offset), source }
}

impl SnapshotStore for Shelf {
    fn save(&self, snapshot: &Snapshot, stale: &[u64]) -> Result<(), Error> {
        let mut world = self.log.world();
        let Snapshot { partition, events_offset, .. } = *snapshot;
        world.trace.note(format_args!("snapshot of {partition} before event {events_offset}"));
        let rate = world.faults.snapshot;
        if world.strikes("snapshot_not_saved", rate) {
            return Err(failed("write the snapshot", partition, events_offset));
        }
        let torn = world.strikes("snapshot_torn", rate);
        let before = world.saves.range((partition, 0)..=(partition, u64::MAX)).next_back();
        let before = before.and_then(|(_, saved)| match saved {
            Saved::Whole(before) => Some(before.state.clone()),
            Saved::Damaged => None,
        });
        let saved = match before {
            _ if torn => Saved::Damaged,
            // Whole, of this log and partition, and not of these events.
            Some(state) if world.strikes("snapshot_foreign", rate) => {
                Saved::Whole(Snapshot { state, ..snapshot.clone() })
            }
            Some(_) | None => Saved::Whole(snapshot.clone()),
        };
        world.saves.insert((partition, events_offset), saved);
        for old in outdated(offsets(&world, partition), events_offset, stale) {
            world.saves.remove(&(partition, old));
        }
        Ok(())
    }

    fn list(&self, _: LogId, partition: u32) -> Result<Vec<u64>, Error> {
        Ok(offsets(&self.log.world(), partition))
    }

    fn load(&self, log_id: LogId, partition: u32, events_offset: u64) -> Result<Snapshot, Error> {
        let mut world = self.log.world();
        let rate = world.faults.snapshot;
        if world.strikes("snapshot_unreadable", rate) {
            return Err(failed("read the snapshot", partition, events_offset));
        }
        if world.strikes("snapshot_damaged", rate) {
            world.saves.insert((partition, events_offset), Saved::Damaged);
        }
        world.trace.note(format_args!("load the snapshot of {partition} before {events_offset}"));
        match world.saves.get(&(partition, events_offset)) {
            Some(Saved::Whole(snapshot)) if snapshot.log_id == log_id => Ok(snapshot.clone()),
            Some(Saved::Whole(_) | Saved::Damaged) | None => {
                let path = path(partition, events_offset);
                Err(Error::Damaged { path, what: "its checksum differs" })
            }
        }
    }
}

fn offsets(world: &World, partition: u32) -> Vec<u64> {
    let of = world.saves.range((partition, 0)..=(partition, u64::MAX));
    of.rev().map(|((_, offset), _)| *offset).collect()
}
