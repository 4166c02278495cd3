//! The clock seam: everything of this crate that asks for the time asks here.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bellhop_core::message::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Time of day; it may be set back.
    fn now(&self) -> Timestamp;
    /// Time since some instant; it never falls.
    fn elapsed(&self) -> Duration;
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that is set by hand.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_us: AtomicI64,
    elapsed_us: AtomicI64,
}

impl ManualClock {
    /// At the given time of day.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now_us: AtomicI64::new(now.0), elapsed_us: AtomicI64::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.now_us.fetch_add(by, Ordering::SeqCst);
        self.elapsed_us.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the time of day, perhaps back.
    pub fn set(&self, now: Timestamp) {
        self.now_us.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_us.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        let elapsed = self.elapsed_us.load(Ordering::SeqCst);
        Duration::from_micros(u64::try_from(elapsed).unwrap_or(0))
    }
}
