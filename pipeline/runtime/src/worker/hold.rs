//! What cannot go on for now: one partition waits, and is tried again after a pause of its own, while
//! the others go on.

use std::time::Duration;

use crate::log::{Error, ErrorKind};

/// How long a partition waits at most before it is tried again when somebody has to act.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Of the worker's time, a try that blocks takes at most one part in so many.
const SHARE: u32 = 5;
/// What passes within this time is not worth a warning.
const QUIET: Duration = Duration::from_secs(1);
/// How often a partition that waits is spoken of.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Why a partition waits, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What was tried, what to do next, and the causes below.
    pub why: String,
    /// What it asks of the operator.
    pub kind: ErrorKind,
    /// How often it was tried in vain.
    pub tries: u32,
    /// Since when, in time of the worker's clock since its start.
    pub since: Duration,
    /// When it is tried again.
    pub until: Duration,
    /// When it was last spoken of.
    said: Option<Duration>,
}

impl Held {
    /// After a try that failed, the first or one more, which took `spent`.
    pub(super) fn again(
        before: Option<Self>,
        partition: u32,
        error: &Error,
        (now, spent): (Duration, Duration),
    ) -> Self {
        let (tries, since, said) =
            before.map_or((0, now, None), |held| (held.tries, held.since, held.said));
        let pause = pause(error.kind, tries).max(spent * (SHARE - 1));
        let until = now.saturating_add(pause);
        let mut held =
            Self { why: chain(error), kind: error.kind, tries: tries + 1, since, until, said };
        held.say(partition, now);
        held
    }

    /// For a thing that is under way elsewhere: looked for again after `pause`.
    pub(super) fn for_answer(
        before: Option<Self>,
        partition: u32,
        error: &Error,
        now: Duration,
        pause: Duration,
    ) -> Self {
        Self {
            until: now.saturating_add(pause),
            ..Self::again(before, partition, error, (now, Duration::ZERO))
        }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.until <= now
    }

    /// Whether it is worth a word: it does not pass by itself, or not soon.
    pub(super) fn is_long(&self, now: Duration) -> bool {
        match self.kind {
            ErrorKind::Retry | ErrorKind::Fenced => now.saturating_sub(self.since) >= QUIET,
            ErrorKind::Corrupt | ErrorKind::FixInput => true,
        }
    }

    fn say(&mut self, partition: u32, now: Duration) {
        let due = self.said.is_none_or(|said| now.saturating_sub(said) >= SAY_AGAIN);
        if !self.is_long(now) || !due {
            return;
        }
        self.said = Some(now);
        tracing::warn!(
            partition,
            why = self.why,
            tries = self.tries,
            "this partition waits and is tried again, the others go on"
        );
    }
}

/// The retry ladder; what somebody has to act on is tried more seldom.
fn pause(kind: ErrorKind, tries: u32) -> Duration {
    match kind {
        ErrorKind::Retry | ErrorKind::Fenced => super::commit::pause(tries),
        ErrorKind::Corrupt | ErrorKind::FixInput => {
            Duration::from_secs(1 << tries.min(5)).min(PAUSE_MAX)
        }
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        text.push_str(": ");
        text.push_str(&below.to_string());
        cause = below.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        let (tried, hint) = ("read".to_owned(), "wait".to_owned());
        Error { kind, tried, hint, source: Some("the cause".into()) }
    }

    #[test]
    fn pauses_grow_and_a_try_that_blocks_takes_a_fifth_of_the_time_at_most() {
        let (mut held, mut now) = (None, Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let again = Held::again(held, 1, &error(ErrorKind::Retry), (now, Duration::ZERO));
            pauses.push((again.until - now).as_millis());
            now = again.until;
            held = Some(again);
        }
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1_600, 1_600, 1_600]);
        let blocked = Held::again(None, 1, &error(ErrorKind::Retry), (now, Duration::from_secs(2)));
        assert_eq!(blocked.until - now, Duration::from_secs(8));
        let held = held.unwrap_or(blocked);
        assert_eq!(
            (held.tries, held.since, held.why.as_str()),
            (8, Duration::ZERO, "read: wait: the cause")
        );
    }

    #[test]
    fn what_somebody_has_to_act_on_is_tried_every_half_minute() {
        let (mut held, mut now) = (None, Duration::ZERO);
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            let again = Held::again(held, 1, &error(ErrorKind::FixInput), (now, Duration::ZERO));
            assert_eq!((again.until - now).as_secs(), expected);
            now = again.until;
            held = Some(again);
        }
    }
}
