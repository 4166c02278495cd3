//! What a seed means: how many of everything, and what goes wrong.

use std::time::Duration;

use bellhop_core::headers::Written;
use bellhop_core::message::Timestamp;
use bellhop_core::rules::Rules;
use bellhop_runtime::log::Timestamps;
use bellhop_runtime::log::simulated::{Faults, Random};
use bellhop_runtime::worker::Config;

use super::commands::REPLIES;

/// What workers say that they are.
pub const VERSION: &str = "simulated";
/// What those of a newer version say.
pub const NEWER_VERSION: &str = "simulated-2";
/// Hours that keys may be remembered for.
pub const HOURS: [u64; 4] = [0, 1, 24, 168];
/// 2026-01-05, and days before clocks change: 2026-03-07 (America), 2026-03-28 (Europe), 2026-04-03
/// (Australia).
const STARTS: [Timestamp; 4] = [
    Timestamp(1_767_600_000_000_000),
    Timestamp(1_772_870_400_000_000),
    Timestamp(1_774_684_800_000_000),
    Timestamp(1_775_203_200_000_000),
];

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed it came from.
    pub seed: u64,
    /// Workers that there are at most at a time.
    pub workers: usize,
    /// Partitions of each topic.
    pub partitions: u32,
    /// Properties that commands are about.
    pub properties: usize,
    /// Commands that are sent, one way or another.
    pub commands: usize,
    /// All commands are sent before the first worker comes.
    pub preload: bool,
    /// When it begins.
    pub start: Timestamp,
    /// How many times faster than elsewhere it passes: guests stay on over the days.
    pub pace: u32,
    /// Where the time comes from.
    pub timestamps: Timestamps,
    /// What goes wrong in the log.
    pub faults: Faults,
    /// How often, per 10,000 steps, a worker is killed between two of its steps.
    pub kill: u32,
    /// How often, per 10,000 steps, a worker is told to stop in order.
    pub stop: u32,
    /// How often, per 10,000 steps, a worker stands still for a while, as in a long pause.
    pub freeze: u32,
    /// What each worker is told.
    pub config: Config,
    /// Whether counters are sent to as well: they cascade, and wait for timers.
    pub counters: bool,
    /// Whether snapshots are kept.
    pub snapshots: bool,
    /// Whether a newer version is rolled out while commands are sent, and rolled back.
    pub roll_out: bool,
    /// Whether workers keep copies of partitions that they do not own.
    pub standby: bool,
}

impl Plan {
    /// Of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x6265_6c6c_686f_7000);
        let timestamps = if random.chance(7_000) { Timestamps::Append } else { Timestamps::Create };
        let pick =
            |random: &mut Random, several: &[u64]| random.pick(several).copied().unwrap_or(0);
        let config = Config {
            version: VERSION.to_owned(),
            commands_kept: None,
            rules: Rules {
                idempotency_hours: pick(&mut random, &HOURS) as u32,
                value_bytes_max: 4_096,
                // The least there may be, so that a run outlives it.
                retention_days: 30,
            },
            reply_topics: vec![REPLIES.to_owned()],
            headers: Written {
                cloudevents: seed.is_multiple_of(3),
                traceparent: seed.is_multiple_of(2),
            },
            batch_records_max: pick(&mut random, &[1, 3, 10, 64]) as usize,
            batch_wait: Duration::from_millis(pick(&mut random, &[0, 1, 5])),
            snapshot_events: pick(&mut random, &[0, 3, 20]),
            tick_pause: Duration::from_millis(100),
            batch_bytes_max: if seed.is_multiple_of(7) { 2_000 } else { 1 << 20 },
            restore_slice: Duration::from_millis(50),
            // Event by event, in slices, or at once.
            restore_events_max: match seed % 5 {
                0 => 1,
                1 | 2 => 20,
                _ => u64::MAX,
            },
        };
        let rate = |random: &mut Random, rare: u32| match random.below(3) {
            0 => 0,
            1 => rare,
            _ => rare * 4,
        };
        Self {
            seed,
            workers: random.between(1, 4) as usize,
            partitions: random.between(1, 5) as u32,
            properties: random.between(1, 5) as usize,
            commands: random.between(100, 600) as usize,
            preload: false,
            start: STARTS[(seed % 4) as usize],
            pace: match seed % 6 {
                1 => 24,
                // Years: what is over is forgotten.
                4 => 240,
                _ => 1,
            },
            timestamps,
            // One run in ten has a calm log: what breaks there is no accident's fault.
            faults: if random.chance(1_000) { Faults::NONE } else { Faults::swarm(&mut random) },
            kill: rate(&mut random, 20),
            stop: rate(&mut random, 10),
            freeze: rate(&mut random, 75),
            config,
            counters: seed % 3 == 1,
            snapshots: random.chance(7_000),
            roll_out: seed % 4 == 2,
            standby: random.chance(3_000),
        }
    }
}
