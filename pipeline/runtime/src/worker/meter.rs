//! What a worker counts, for whoever shows it: outcomes, commits, changes of ownership.
//!
//! Counted in plain numbers of a partition, and brought here once a transaction: nothing of it is
//! paid per record but an addition.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellhop_core::engine::ParkedKind;
use bellhop_core::message::{Position, Timestamp};
use bellhop_core::outcome::Outcome;
use bellhop_core::task::Progress;

use crate::clock::Clock;

/// How often, at most, a worker's log says that commands were parked.
const SAY_PARKED: Duration = Duration::from_secs(10);

/// Upper bounds of the buckets of a duration, in microseconds.
pub const BOUNDS_US: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// What became of commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Decided with code 0.
    pub accepted: u64,
    /// Decided with another code.
    pub refused: u64,
    /// The same key and payload as before.
    pub repeated: u64,
    /// The same key with another payload.
    pub conflicted: u64,
    /// Could not be decided.
    pub parked: u64,
}

impl Outcomes {
    #[inline]
    pub(super) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Decided { code: 0, .. } => self.accepted += 1,
            Outcome::Decided { .. } => self.refused += 1,
            Outcome::Repeated { .. } => self.repeated += 1,
            Outcome::Conflict { .. } => self.conflicted += 1,
            Outcome::Parked(_) => self.parked += 1,
            Outcome::Ticked => {}
        }
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.repeated += other.repeated;
        self.conflicted += other.conflicted;
        self.parked += other.parked;
    }
}

/// What one partition decided since its last transaction.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) outcomes: Outcomes,
    /// Time of its first record.
    first: Option<Timestamp>,
    /// The first that was parked.
    parked: Option<(u64, ParkedKind)>,
}

impl Tally {
    #[inline]
    pub(super) fn count(&mut self, offset: u64, at: Timestamp, outcome: Outcome) {
        self.first.get_or_insert(at);
        self.outcomes.count(outcome);
        if let Outcome::Parked(kind) = outcome {
            self.parked.get_or_insert((offset, kind));
        }
    }
}

/// How long something took, by buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Observations in each bucket, the last one without a bound, and the sum in microseconds.
    #[must_use]
    pub fn read(&self) -> ([u64; BOUNDS_US.len() + 1], u64) {
        let buckets = std::array::from_fn(|at| {
            self.buckets.get(at).map_or(0, |bucket| bucket.load(Ordering::Relaxed))
        });
        (buckets, self.sum_us.load(Ordering::Relaxed))
    }
}

/// What the workers of one process have counted.
#[derive(Debug, Default)]
pub struct Meter {
    committed: Mutex<BTreeMap<u32, Progress>>,
    outcomes: Mutex<BTreeMap<u32, Outcomes>>,
    /// From the append of the oldest command of a transaction, by partition, to its commit.
    pub outcome_time: Histogram,
    /// From the submission of a transaction to its end.
    pub commit_time: Histogram,
    transactions: AtomicU64,
    aborted: AtomicU64,
    rebalances: AtomicU64,
}

impl Meter {
    /// How far partitions are committed, as far as the workers of this process know; of those that
    /// they owned once, too.
    #[must_use]
    pub fn committed(&self) -> BTreeMap<u32, Progress> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Committed outcomes of this process, by partition.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<u32, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Transactions that were committed, and such as were aborted or ended unknown.
    #[must_use]
    pub fn transactions(&self) -> (u64, u64) {
        (self.transactions.load(Ordering::Relaxed), self.aborted.load(Ordering::Relaxed))
    }

    /// Changes of ownership: assignments, revocations and losses.
    #[must_use]
    pub fn rebalances(&self) -> u64 {
        self.rebalances.load(Ordering::Relaxed)
    }

    pub(super) fn rebalanced(&self) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, committed: bool, took: Duration) {
        let count = if committed { &self.transactions } else { &self.aborted };
        count.fetch_add(1, Ordering::Relaxed);
        self.commit_time.observe(took);
    }

    /// A partition begins with counters at 0: a counter whose first value is 1 shows no increase.
    pub(super) fn restored(&self, partition: u32, progress: Progress) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.entry(partition).or_default();
        drop(outcomes);
        self.is_at(partition, progress);
    }

    fn is_at(&self, partition: u32, progress: Progress) {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed.insert(partition, progress);
    }

    fn confirm(&self, partition: u32, tally: &Tally, after: Option<Progress>, now: Timestamp) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.entry(partition).or_default().add(tally.outcomes);
        drop(outcomes);
        if let Some(after) = after {
            self.is_at(partition, after);
        }
        if let Some(first) = tally.first {
            let us = u64::try_from(now.0.saturating_sub(first.0)).unwrap_or(0);
            self.outcome_time.observe(Duration::from_micros(us));
        }
    }
}

/// One worker's hand on the meter of its process.
pub(super) struct Hand {
    pub(super) meter: Arc<Meter>,
    submitted: Duration,
    /// When the log last said that commands were parked, and how many it has not named since.
    said: Option<Duration>,
    unsaid: u64,
}

impl Hand {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self { meter, submitted: Duration::ZERO, said: None, unsaid: 0 }
    }

    pub(super) fn submitted(&mut self, clock: &dyn Clock) {
        self.submitted = clock.elapsed();
    }

    pub(super) fn ended(&self, committed: bool, clock: &dyn Clock) {
        self.meter.ended(committed, clock.elapsed().saturating_sub(self.submitted));
    }

    /// Brings over what one partition decided, once it is committed; the log names what was parked.
    pub(super) fn confirm(
        &mut self,
        partition: u32,
        tally: &Tally,
        after: Option<Progress>,
        clock: &dyn Clock,
    ) {
        self.meter.confirm(partition, tally, after, clock.now());
        let Some((offset, kind)) = tally.parked else { return };
        self.unsaid += tally.outcomes.parked;
        let now = clock.elapsed();
        if self.said.is_some_and(|said| now.saturating_sub(said) < SAY_PARKED) {
            return;
        }
        let at = Position { partition, offset };
        tracing::warn!(
            partition,
            offset,
            ?kind,
            commands = self.unsaid,
            "could not be decided and is parked: `bellhop parked show {at}` names the cause, then release or skip it"
        );
        (self.said, self.unsaid) = (Some(now), 0);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_histogram_counts_each_observation_once_in_its_bucket() {
        let histogram = Histogram::default();
        for ms in [0, 1, 3, 7, 60_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let (buckets, sum) = histogram.read();
        assert_eq!(buckets, [1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(sum, 60_011_000);
    }

    #[test]
    fn outcomes_count_once_they_are_committed_and_the_log_names_what_is_parked_now_and_then() {
        let meter = Arc::new(Meter::default());
        let clock = ManualClock::at(Timestamp(5_000));
        let mut hand = Hand::new(meter.clone());
        let after = Progress { next_offset: 9, stream_time: Timestamp(1), history: None };
        for _ in 0..3 {
            let mut tally = Tally::default();
            let decided = |code| Outcome::Decided { code, first_event: Uuid::nil() };
            tally.count(0, Timestamp(1_000), decided(0));
            tally.count(1, Timestamp(2_000), decided(7));
            tally.count(2, Timestamp(3_000), Outcome::Parked(ParkedKind::Panicked));
            hand.confirm(2, &tally, Some(after), &clock);
        }
        let outcomes = meter.outcomes()[&2];
        meter.restored(3, after);
        assert_eq!(meter.outcomes()[&3], Outcomes::default());
        assert_eq!((outcomes.accepted, outcomes.refused, outcomes.parked), (3, 3, 3));
        assert_eq!(meter.committed()[&2], after);
        assert_eq!(meter.outcome_time.read().1, 3 * 4_000, "of the oldest record");
        assert_eq!(hand.unsaid, 2, "one line for the first, then none for a while");
    }
}
