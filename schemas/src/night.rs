//! Nights: calendar days of a property, as ISO dates.

use std::fmt;
use std::str::FromStr;

use bellhop_core::prelude::Avro;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// The night that begins on a calendar day: days since 1970-01-01 (Avro `date`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro, Serialize, Deserialize)]
#[avro(schema = r#"{"type":"int","logicalType":"date"}"#)]
#[serde(try_from = "String", into = "String")]
pub struct Night(pub i32);

const EPOCH: Date = Date::constant(1970, 1, 1);

impl Night {
    /// The night of a calendar day.
    #[must_use]
    pub fn of(date: Date) -> Self {
        // Dates of years -9999 to 9999 are within 4 million days of 1970.
        Self((date - EPOCH).get_days())
    }

    /// The night of year, month and day; `None` when there is no such day.
    #[must_use]
    pub fn ymd(year: i16, month: i8, day: i8) -> Option<Self> {
        Date::new(year, month, day).ok().map(Self::of)
    }

    /// The calendar day; `None` outside of the years -9999 to 9999.
    #[must_use]
    pub fn date(self) -> Option<Date> {
        EPOCH.checked_add(jiff::Span::new().try_days(self.0).ok()?).ok()
    }

    /// The night `days` later (or earlier); saturates.
    #[must_use]
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Nights from this one to another; negative when that is earlier.
    #[must_use]
    pub fn until(self, other: Self) -> i32 {
        other.0.saturating_sub(self.0)
    }

    /// The nights from this one up to `end`, which is not one of them.
    pub fn nights_to(self, end: Self) -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        (self.0..end.0.max(self.0)).map(Self)
    }
}

impl fmt::Display for Night {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Some(date) => date.fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl fmt::Debug for Night {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no calendar day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a day; write it like 2016-08-31")]
pub struct NotADay {
    text: String,
}

impl FromStr for Night {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        // What `Display` writes for a day beyond the calendar comes back, and no other spelling.
        let beyond = || text.strip_prefix("day ")?.parse().ok().map(Self);
        let beyond = || beyond().filter(|night| night.date().is_none());
        let night = text.parse().map(Self::of).ok().or_else(beyond);
        night.ok_or_else(|| NotADay { text: text.to_owned() })
    }
}

impl TryFrom<String> for Night {
    type Error = NotADay;

    fn try_from(text: String) -> Result<Self, NotADay> {
        text.parse()
    }
}

impl From<Night> for String {
    fn from(night: Night) -> Self {
        night.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_1970() {
        assert_eq!(Night::ymd(1970, 1, 1), Some(Night(0)));
        assert_eq!(Night::ymd(1969, 12, 31), Some(Night(-1)));
        assert_eq!(Night::ymd(2016, 2, 29), Some(Night(16_860)));
        assert_eq!(Night::ymd(2015, 2, 29), None);
        assert_eq!(Night(16_860).to_string(), "2016-02-29");
    }

    #[test]
    fn the_first_and_last_day_of_the_calendar_are_its_ends() {
        let (first, last) = (Night(-4_371_587), Night(2_932_896));
        assert_eq!(Night::ymd(-9999, 1, 1), Some(first));
        assert_eq!(Night::ymd(9999, 12, 31), Some(last));
        for night in [first, last] {
            assert_eq!(night.to_string().parse(), Ok(night));
            assert_eq!(night.date().map(Night::of), Some(night));
        }
        for beyond in [first.plus(-1), last.plus(1), Night(i32::MIN), Night(i32::MAX)] {
            assert_eq!(beyond.date(), None);
            assert_eq!(beyond.to_string(), format!("day {}", beyond.0));
            assert_eq!(beyond.to_string().parse(), Ok(beyond));
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Night(i32::MAX).plus(1), Night(i32::MAX));
        assert_eq!(Night(i32::MIN).plus(-1), Night(i32::MIN));
        assert_eq!(Night(i32::MIN).until(Night(i32::MAX)), i32::MAX);
        assert_eq!(Night(i32::MAX).until(Night(i32::MIN)), i32::MIN);
        assert_eq!(Night(5).until(Night(2)), -3);
    }

    #[test]
    fn the_end_is_no_night_of_a_stay() {
        let nights: Vec<_> = Night(3).nights_to(Night(5)).collect();
        assert_eq!(nights, [Night(3), Night(4)]);
        assert_eq!(Night(3).nights_to(Night(3)).len(), 0);
        assert_eq!(Night(3).nights_to(Night(1)).len(), 0);
        assert_eq!(Night(i32::MAX - 1).nights_to(Night(i32::MAX)).len(), 1);
    }

    #[test]
    fn text_that_is_no_day_says_how_to_write_one() {
        for text in ["", "2016-02-30", "31.08.2016", "2016-8-31", "day 3"] {
            let error = text.parse::<Night>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("\"{text}\" is not a day; write it like 2016-08-31")
            );
        }
    }
}
