//! What a contender took, told by its process to the one that started it.
#![allow(unsafe_code, reason = "the process's CPU clock is not in the standard library")]

use std::time::Duration;

/// What a contender took for all commands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Commands.
    pub(crate) count: f64,
    /// User and system time of the whole process, in microseconds.
    pub(crate) cpu_us: f64,
    /// From the first record to the last commit, in microseconds.
    pub(crate) wall_us: f64,
    /// The most memory that was resident, in KiB.
    pub(crate) peak_kb: f64,
    /// Transactions of a baseline; a worker does not tell, and says 0.
    pub(crate) transactions: f64,
    /// Hash of the state in the end; 0 where there is none.
    pub(crate) state: u64,
    /// User and system time of the broker meanwhile, in microseconds; of clock ticks.
    pub(crate) broker_cpu_us: f64,
}

impl Usage {
    /// Of this process, now.
    pub(crate) fn now(count: u64, wall: Duration, transactions: u64, state: u64) -> Self {
        Self {
            count: count as f64,
            cpu_us: process_cpu().as_secs_f64() * 1e6,
            wall_us: wall.as_secs_f64() * 1e6,
            peak_kb: peak_kb(),
            transactions: transactions as f64,
            state,
            broker_cpu_us: 0.0,
        }
    }

    /// As the line that [`Usage::parse`] reads.
    pub(crate) fn write(&self) -> String {
        let Self { count, cpu_us, wall_us, peak_kb, transactions, state, .. } = self;
        format!("usage {count} {cpu_us} {wall_us} {peak_kb} {transactions} {state}")
    }

    /// The usage in what a process printed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("usage "))?;
        let words: Vec<&str> = line.split(' ').collect();
        let [count, cpu, wall, peak, transactions, state] = words.as_slice() else { return None };
        Some(Self {
            count: count.parse().ok()?,
            cpu_us: cpu.parse().ok()?,
            wall_us: wall.parse().ok()?,
            peak_kb: peak.parse().ok()?,
            transactions: transactions.parse().ok()?,
            state: state.parse().ok()?,
            broker_cpu_us: 0.0,
        })
    }
}

/// User and system time of this process so far, all threads, also those that ended.
///
/// # Source
/// Linux, `clock_gettime(2)`: `CLOCK_PROCESS_CPUTIME_ID` is 2.
pub(crate) fn process_cpu() -> Duration {
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
    }
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the call fills the structure, which is laid out as on 64-bit Linux.
    let failed = unsafe { clock_gettime(2, &mut time) };
    assert_eq!(failed, 0, "read the process's CPU clock");
    Duration::new(time.seconds.unsigned_abs(), time.nanoseconds as u32)
}

/// User and system time of another process.
///
/// # Source
/// Linux, proc(5), `stat`: utime and stime are the 14th and 15th fields, in ticks of 10 ms; the
/// second, in brackets, may hold blanks.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks = rest.split(' ').skip(11).take(2).map(|word| word.parse::<u64>().expect("ticks"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// The high-water mark of this process's resident memory, in KiB.
fn peak_kb() -> f64 {
    memory_kb("self", "VmHWM:")
}

/// Resident memory of another process, in KiB.
pub(crate) fn resident_kb(pid: u32) -> f64 {
    memory_kb(&pid.to_string(), "VmRSS:")
}

/// # Source
/// Linux, proc(5): `VmHWM` and `VmRSS` of `status`.
fn memory_kb(process: &str, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("KiB")
}
