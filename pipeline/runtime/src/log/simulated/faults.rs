//! What goes wrong, and how often.

use super::random::Random;

/// How often each fault strikes, per 10,000 of its occasions. An occasion of the first part is a
/// call by a member; of the second, a step of the world ([`super::Simulated::step`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A call fails with [`super::super::ErrorKind::Retry`] and has done nothing.
    pub retry: u32,
    /// A call never returns: its member crashes before or after the call took effect.
    pub crash: u32,
    /// A commit crashes its member after some of its records were written.
    pub torn: u32,
    /// A commit ends as aborted.
    pub aborted: u32,
    /// A commit's end is not known; it may have happened.
    pub unknown: u32,
    /// A commit has not ended yet when it is asked for.
    pub slow_commit: u32,
    /// The request that ended a commit was sent twice, and its first copy arrives in the member's
    /// next transaction: under a new epoch, so that it is refused.
    pub late_end: u32,
    /// A poll gives nothing though there is something.
    pub idle: u32,
    /// A batch begins with records that were delivered before.
    pub duplicate: u32,
    /// A producer is told that its append failed.
    pub append: u32,
    /// A snapshot is not saved, torn, unreadable, damaged, or that of another time.
    pub snapshot: u32,

    /// Bytes of the largest record that a transaction may have, not a rate; 0 takes any.
    pub record_bytes_max: u32,

    /// Partitions are dealt out anew.
    pub rebalance: u32,
    /// A member loses what it owns and learns it by its next poll.
    pub lost: u32,
    /// A member is shut out for good and learns it by its next call.
    pub fenced: u32,
    /// A partition delivers nothing for a while: the others overtake it.
    pub stall: u32,
    /// The wall clock jumps, forward or back.
    pub clock_jump: u32,

    /// Breaks the promise of a transaction, to prove that the checks notice.
    pub broken: Option<Broken>,
}

/// Ways to break the promise of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Its records become visible; its progress does not.
    OutputWithoutProgress,
    /// Its progress is kept; its records never become visible.
    ProgressWithoutOutput,
    /// Of a transaction of unknown end either records or progress are kept when its member recovers.
    Split,
    /// A request that comes late finds the epoch that it was sent under: it ends the transaction
    /// that is under way, with what that has so far.
    SameEpoch,
    /// A member that holds a partition no more commits for it, as whoever it is by now.
    FreshMember,
}

impl Faults {
    /// What [`super::Simulated::accidents`] may name.
    pub const NAMES: [&'static str; 22] = [
        "retry",
        "crash",
        "torn",
        "aborted",
        "unknown",
        "slow_commit",
        "late_end",
        "idle",
        "duplicate",
        "append",
        "snapshot_not_saved",
        "snapshot_torn",
        "snapshot_unreadable",
        "snapshot_damaged",
        "snapshot_foreign",
        "rebalance",
        "lost",
        "fenced",
        "stall",
        "clock_jump",
        "zombie",
        "outlived",
    ];

    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        retry: 0,
        crash: 0,
        torn: 0,
        aborted: 0,
        unknown: 0,
        slow_commit: 0,
        late_end: 0,
        idle: 0,
        duplicate: 0,
        append: 0,
        snapshot: 0,
        record_bytes_max: 0,
        rebalance: 0,
        lost: 0,
        fenced: 0,
        stall: 0,
        clock_jump: 0,
        broken: None,
    };

    /// A mix of faults: each is absent, rare or frequent, so that some runs are shaped by one
    /// fault alone.
    ///
    /// # Source
    /// Groce et al., "Swarm testing" (ISSTA 2012).
    #[must_use]
    pub fn swarm(random: &mut Random) -> Self {
        let mut rate = |rare: u32| match random.below(4) {
            0 => 0,
            1 => rare / 4,
            2 => rare,
            _ => rare * 4,
        };
        Self {
            retry: rate(50),
            crash: rate(20),
            torn: rate(100),
            aborted: rate(300),
            unknown: rate(300),
            slow_commit: rate(2_000),
            idle: rate(1_000),
            duplicate: rate(500),
            append: rate(300),
            snapshot: rate(1_000),
            record_bytes_max: 0,
            rebalance: rate(400),
            lost: rate(300),
            fenced: rate(150),
            stall: rate(600),
            clock_jump: rate(300),
            late_end: rate(500),
            broken: None,
        }
    }
}
