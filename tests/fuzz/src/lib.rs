//! Fuzzing on the stable compiler: valid inputs are damaged and given to a target until its time is
//! over. A target fails by panicking.
//!
//! A target is a test whose name begins with `fuzz_`; `cargo xtask fuzz` runs them all.
//! `BELLHOP_FUZZ_SECONDS` says for how long each (default 1), `BELLHOP_FUZZ_SEED` runs one input
//! again.

mod damage;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime};

pub use damage::damaged;
pub use random::Random;

/// Inputs that are tried at least, however slow the target is.
const INPUTS_MIN: u64 = 200;

/// Gives damaged inputs to a target until its time is over.
///
/// # Panics
/// When the target does; the seed of the input is printed first.
pub fn fuzz(corpus: &[Vec<u8>], target: impl FnMut(&[u8])) {
    run(target, |random| damaged(corpus, random));
}

/// Gives inputs of a generator to a target until its time is over.
///
/// # Panics
/// When the target does; the seed of the input is printed first.
pub fn run<I: AsRef<[u8]>>(mut target: impl FnMut(&[u8]), mut input: impl FnMut(&mut Random) -> I) {
    let mut once = |seed: u64| {
        let input = input(&mut Random::new(seed));
        let input = input.as_ref();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            let head = input.get(..512).unwrap_or(input).escape_ascii();
            eprintln!("again: BELLHOP_FUZZ_SEED={seed}; {} bytes: {head}", input.len());
            resume_unwind(panic);
        }
    };
    if let Some(seed) = number("BELLHOP_FUZZ_SEED") {
        return once(seed);
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let until = Instant::now() + Duration::from_secs(number("BELLHOP_FUZZ_SECONDS").unwrap_or(1));
    let mut inputs = 0;
    while inputs < INPUTS_MIN || Instant::now() < until {
        once(now.wrapping_add(inputs));
        inputs += 1;
    }
    eprintln!("{inputs} inputs tried");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
