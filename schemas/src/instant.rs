//! Instants in JSON: RFC 3339 text in UTC, to the microsecond; microseconds where no calendar
//! reaches, so that every instant comes back as it was.

use bellhop_core::message::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de};

/// As text; `None` outside of the years -9999 to 9999.
#[must_use]
pub fn to_text(instant: Timestamp) -> Option<String> {
    jiff::Timestamp::from_microsecond(instant.0).ok().map(|instant| instant.to_string())
}

/// How an instant stands in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Micros(i64),
}

impl Form {
    fn read(self) -> Result<Timestamp, String> {
        match self {
            Self::Text(text) => from_text(&text),
            Self::Micros(micros) => Ok(Timestamp(micros)),
        }
    }
}

/// From text.
///
/// # Errors
/// A sentence for the user when it is not RFC 3339.
pub fn from_text(text: &str) -> Result<Timestamp, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed
        .map(|instant| Timestamp(instant.as_microsecond()))
        .map_err(|_| format!("\"{text}\" is not an instant; write it like 2016-08-31T14:00:00Z"))
}

/// Writes an instant.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(instant: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    match to_text(*instant) {
        Some(text) => serializer.serialize_str(&text),
        None => serializer.serialize_i64(instant.0),
    }
}

/// Reads an instant.
///
/// # Errors
/// Those of the deserializer, and text that is not RFC 3339.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    Form::deserialize(deserializer)?.read().map_err(de::Error::custom)
}

/// The same for a field that may be null.
pub mod option {
    use super::{Deserialize, Deserializer, Form, Serializer, Timestamp, de};

    /// Writes an instant or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(
        instant: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match instant {
            Some(instant) => super::serialize(instant, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads an instant or null.
    ///
    /// # Errors
    /// As [`super::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let form = Option::<Form>::deserialize(deserializer)?;
        form.map(|form| form.read().map_err(de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Both {
        #[serde(with = "crate::instant")]
        plain: Timestamp,
        #[serde(default, with = "crate::instant::option")]
        nullable: Option<Timestamp>,
    }

    #[test]
    fn microseconds_are_kept() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_472_652_000_000_001, "2016-08-31T14:00:00.000001Z"),
        ] {
            assert_eq!(to_text(Timestamp(micros)).as_deref(), Some(text));
            assert_eq!(from_text(text), Ok(Timestamp(micros)));
        }
        assert_eq!(from_text("2016-08-31T15:00:00+01:00"), from_text("2016-08-31T14:00:00Z"));
    }

    #[test]
    fn an_instant_without_a_zone_is_refused() {
        for text in ["", "2016-08-31", "2016-08-31T14:00:00", "now"] {
            assert_eq!(
                from_text(text),
                Err(format!("\"{text}\" is not an instant; write it like 2016-08-31T14:00:00Z"))
            );
        }
    }

    #[test]
    fn json_keeps_instants_and_nulls() {
        for nullable in [None, Some(Timestamp(7))] {
            let both = Both { plain: Timestamp(-5), nullable };
            let json = serde_json::to_string(&both).unwrap();
            assert_eq!(serde_json::from_str::<Both>(&json).unwrap(), both);
        }
        let json = r#"{"plain":"2016-08-31T14:00:00Z"}"#;
        assert_eq!(serde_json::from_str::<Both>(json).unwrap().nullable, None);
    }

    #[test]
    fn an_instant_beyond_the_calendar_is_kept_in_json_as_well() {
        for micros in [i64::MIN, i64::MAX] {
            assert_eq!(to_text(Timestamp(micros)), None);
            let both = Both { plain: Timestamp(micros), nullable: Some(Timestamp(micros)) };
            let json = serde_json::to_string(&both).unwrap();
            assert_eq!(serde_json::from_str::<Both>(&json).unwrap(), both);
        }
    }
}
