//! A log in memory whose every accident comes from a seed: for tests of all that runs on a log.
//!
//! Start at [`Simulated`]; [`Member`] is a worker's [`Log`], [`Faults`] lists what can go wrong.
//! Nothing waits: what a real log would wait for happens when the world is stepped.
//!
//! # Invariants
//! 1. Same seed, same calls: same results, same [`Simulated::trace_hash`].
//! 2. With [`Faults::NONE`] it is a log as any other, and passes the same conformance suite.
//! 3. It holds its callers to the seam: it panics, with the values, when one of them submits twice,
//!    submits before it recovers, releases what is undecided, or commits what does not follow on
//!    what is committed.
//!
//! # Source
//! KIP-98 and KIP-447 for transactions and groups; FoundationDB and TigerBeetle for the idea.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellhop_core::message::{LogId, Position, Timestamp};
use bellhop_core::record::Header;
use uuid::Uuid;

pub use self::consumers::Consumer;
pub use self::damage::Backup;
pub use self::faults::{Broken, Faults};
pub use self::member::{Crash, Member, Sender, Tool};
pub use self::random::Random;
pub use self::snapshots::Shelf;

use self::topics::Append;
use self::world::World;
use super::{Identity, Timestamps, Topic};
use crate::clock::ManualClock;

mod consumers;
mod damage;
mod faults;
mod group;
mod member;
mod random;
mod snapshots;
mod topics;
mod trace;
mod world;

/// What a simulated log is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Seed of every accident, and of the log's name.
    pub seed: u64,
    /// Partitions of each topic.
    pub partitions: u32,
    /// Where the timestamps of commands come from.
    pub timestamps: Timestamps,
    /// What goes wrong.
    pub faults: Faults,
    /// The world's clock.
    pub clock: Arc<ManualClock>,
}

/// A simulated log and its group of workers, as the test that owns them sees it.
#[derive(Debug, Clone)]
pub struct Simulated {
    world: Arc<Mutex<World>>,
}

impl Simulated {
    /// An empty log.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let name = (u128::from(random.bits()) << 64) | u128::from(random.bits());
        let identity = Identity {
            log_id: LogId(Uuid::from_u128(name)),
            partitions: setup.partitions,
            timestamps: setup.timestamps,
        };
        let world = World::new(identity, setup.faults, random, setup.clock);
        Self { world: Arc::new(Mutex::new(world)) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A crash unwinds through calls, never through a lock; a failed assertion may.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker joins the group.
    #[must_use]
    pub fn member(&self) -> Member {
        let id = self.world().join();
        Member::new(self.clone(), id)
    }

    /// A reader that is no member.
    #[must_use]
    pub fn reader(&self) -> Tool {
        Tool::new(self.clone())
    }

    /// A producer.
    #[must_use]
    pub fn producer(&self) -> Sender {
        Sender::new(self.clone())
    }

    /// Where its workers keep snapshots.
    #[must_use]
    pub fn shelf(&self) -> Shelf {
        Shelf::new(self.clone())
    }

    /// Lets the world have its accidents: sessions expire, partitions move, clocks jump.
    pub fn step(&self) {
        let mut world = self.world();
        world.step();
        world.step_consumers();
    }

    /// A worker is no more: it will not call again, and the group does not know it yet.
    pub fn crash(&self, member: usize) {
        self.world().crash(member);
    }

    /// A worker is shut out for good: all that it does from now on fails.
    pub fn fence(&self, member: usize) {
        self.world().fence(member);
    }

    /// Whether a worker was asked to give partitions up and has not released them.
    #[must_use]
    pub fn hands_over(&self, member: usize) -> bool {
        self.world().group.is_revoking(member)
    }

    /// A worker pauses for longer than its session: others get what it owned, and it learns that
    /// when it polls again.
    pub fn outlive_session(&self, member: usize) {
        self.world().lose_all(member);
    }

    /// From now on other things go wrong; what has gone wrong stays so.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Appends a record to any partition of the commands topic, as no well-behaved producer does.
    pub fn append_raw(
        &self,
        partition: u32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Position {
        let append = Append { timestamp, key, value, headers };
        self.world().append_command(partition, None, &append)
    }

    /// Leaves offsets of the commands topic to nobody, as compaction and old markers do.
    pub fn skip_offsets(&self, partition: u32, count: u64) {
        self.world().topics.skip(Topic::Commands, partition, count);
    }

    /// Adds a line of the test's own to the trace.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        self.world().trace.note(what);
    }

    /// A hash over everything that happened, in order.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.world().trace.hash()
    }

    /// Keeps the last lines of the trace from now on.
    pub fn keep_trace(&self) {
        self.world().trace.keep_lines();
    }

    /// The last lines of the trace.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.world().trace.lines().map(str::to_owned).collect()
    }

    /// How often each accident has happened.
    #[must_use]
    pub fn accidents(&self) -> BTreeMap<&'static str, u64> {
        self.world().accidents.clone()
    }
}
