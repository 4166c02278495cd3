//! What a log is decided by, besides the handlers: the same for every worker, whatever each was
//! configured with.
//!
//! The rules of a partition stand in its genesis; a [`ChangeRules`] in its commands changes them from
//! that position on, for the live task as for every fold.

use std::time::Duration;

use bellhop_macros::Avro;
use serde::{Deserialize, Serialize};

use crate::engine::EngineRecord;
use crate::limits::Largest;

/// What a partition is decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.Rules")]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Hours of stream time that idempotency keys are remembered for at least.
    pub idempotency_hours: u32,
    /// Values of more bytes are parked.
    pub value_bytes_max: u32,
    /// Days that what is over is kept in memory for.
    pub retention_days: u32,
}

/// A year; the store of keys is in memory.
const IDEMPOTENCY_HOURS_MAX: u32 = 366 * 24;
const VALUE_BYTES: std::ops::RangeInclusive<u32> = 1_024..=16 << 20;
/// A month, so that what is late still finds it; ten years, which are all in memory.
const RETENTION_DAYS: std::ops::RangeInclusive<u32> = 30..=3_660;

impl Default for Rules {
    /// A week; a mebibyte; a year and a month, so that the same season can be looked at again.
    fn default() -> Self {
        Self { idempotency_hours: 168, value_bytes_max: 1 << 20, retention_days: 400 }
    }
}

impl Rules {
    /// Bytes of the largest record that a task writes to each topic under these rules.
    #[must_use]
    pub const fn largest(&self) -> Largest {
        Largest::of(self.value_bytes_max as usize)
    }

    /// How long idempotency keys are remembered for at least.
    #[must_use]
    pub const fn idempotency_time(&self) -> Duration {
        Duration::from_secs(self.idempotency_hours as u64 * 3_600)
    }

    /// # Errors
    /// What cannot be followed, in words.
    pub fn check(&self) -> Result<(), String> {
        let Self { idempotency_hours, value_bytes_max, retention_days } = *self;
        if idempotency_hours > IDEMPOTENCY_HOURS_MAX {
            return Err(format!(
                "idempotency_hours = {idempotency_hours}: set at most {IDEMPOTENCY_HOURS_MAX}"
            ));
        }
        if !VALUE_BYTES.contains(&value_bytes_max) {
            let (least, most) = (VALUE_BYTES.start(), VALUE_BYTES.end());
            return Err(format!("value_bytes_max = {value_bytes_max}: set {least} to {most}"));
        }
        if !RETENTION_DAYS.contains(&retention_days) {
            let (least, most) = (RETENTION_DAYS.start(), RETENTION_DAYS.end());
            return Err(format!("retention_days = {retention_days}: set {least} to {most}"));
        }
        Ok(())
    }
}

/// Changes the rules of a partition; an operator appends it to the commands topic.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.ChangeRules")]
pub struct ChangeRules {
    /// The partition it is for; any key would do, so it is exempt from the key rule.
    pub partition: u32,
    /// The rules from here on.
    pub rules: Rules,
}

impl EngineRecord for ChangeRules {
    const NAME: &'static str = "bellhop.engine.ChangeRules";
    const TYPE: &'static str = "ChangeRules";
}

/// The rules of a partition changed.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.engine.RulesChanged")]
pub struct RulesChanged {
    /// The rules before.
    pub before: Rules,
    /// The rules from here on.
    pub after: Rules,
}

impl EngineRecord for RulesChanged {
    const NAME: &'static str = "bellhop.engine.RulesChanged";
    const TYPE: &'static str = "log.rules_changed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_cannot_be_followed_are_named() {
        assert_eq!(Rules::default().check(), Ok(()));
        let rules = |idempotency_hours, value_bytes_max, retention_days| Rules {
            idempotency_hours,
            value_bytes_max,
            retention_days,
        };
        assert_eq!(rules(0, 1_024, 30).check(), Ok(()));
        assert_eq!(rules(8_784, 16 << 20, 3_660).check(), Ok(()));
        for (rules, word) in [
            (rules(8_785, 4_096, 400), "idempotency_hours = 8785: set at most 8784"),
            (rules(1, 1_023, 400), "value_bytes_max = 1023: set 1024 to 16777216"),
            (rules(1, (16 << 20) + 1, 400), "value_bytes_max = 16777217: set 1024 to 16777216"),
            (rules(1, 4_096, 29), "retention_days = 29: set 30 to 3660"),
            (rules(1, 4_096, 3_661), "retention_days = 3661: set 30 to 3660"),
        ] {
            assert_eq!(rules.check(), Err(word.to_owned()));
        }
    }
}
