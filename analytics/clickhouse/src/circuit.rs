//! When to try again: a ladder of pauses for each batch, and one circuit for the server.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// The pauses of one batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ladder {
    step: usize,
}

impl Ladder {
    /// The pause before the next try, with jitter; `None` at the end of the ladder.
    pub(crate) fn next(&mut self, steps: &[Duration]) -> Option<Duration> {
        let pause = steps.get(self.step).copied()?;
        self.step += 1;
        Some(jittered(pause))
    }

    /// Back to its foot.
    pub(crate) fn reset(&mut self) {
        self.step = 0;
    }
}

/// Between a half more and a half less, so that partitions do not try in step.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1_000;
    pause.mul_f64(0.5 + random as f64 / 1_000.0)
}

/// Nothing is sent to the server while it is open.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    open_until: Option<Instant>,
}

impl Circuit {
    pub(crate) fn open(&mut self, now: Instant, how_long: Duration) {
        if !self.is_open(now) {
            tracing::warn!(
                ?how_long,
                "ClickHouse fails; nothing is tried for a while, events wait"
            );
            self.open_until = Some(now + how_long);
        }
    }

    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_ends_and_begins_anew() {
        let steps = [100, 200].map(Duration::from_millis);
        let mut ladder = Ladder::default();
        for pause in steps {
            let given = ladder.next(&steps).unwrap();
            assert!(given >= pause / 2 && given <= pause * 3 / 2, "{given:?}");
        }
        assert_eq!(ladder.next(&steps), None);
        ladder.reset();
        assert!(ladder.next(&steps).is_some());
    }

    #[test]
    fn an_open_circuit_closes_by_itself() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        assert!(!circuit.is_open(now));
        circuit.open(now, Duration::from_secs(30));
        assert!(circuit.is_open(now + Duration::from_secs(29)));
        assert!(!circuit.is_open(now + Duration::from_secs(30)));
    }
}
