//! Money: integers of minor units and an ISO 4217 code whose exponent is looked up.

use std::fmt;
use std::str::FromStr;

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter, write_bytes};
use bellhop_core::prelude::Avro;
use serde::{Deserialize, Serialize};

/// An amount in minor units of a currency that stands beside it (cents of EUR, yen of JPY).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Avro, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Minor(pub i64);

impl Minor {
    /// The sum; `None` when it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

/// Three upper-case letters; whether ISO 4217 knows them is another question.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The euro.
    pub const EUR: Self = Self(*b"EUR");

    fn of(letters: &[u8]) -> Option<Self> {
        let letters = <[u8; 3]>::try_from(letters).ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or("???")
    }

    /// Decimal places of the minor unit (EUR 2, JPY 0, KWD 3); `None` for an unknown currency.
    ///
    /// # Source
    /// ISO 4217, by the crate `iso_currency`.
    #[must_use]
    pub fn exponent(&self) -> Option<u16> {
        iso_currency::Currency::from_code(self.as_str())?.exponent()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that cannot be a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a currency; write its three ISO 4217 letters, like EUR")]
pub struct NotACurrency {
    text: String,
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        Self::of(text.as_bytes()).ok_or_else(|| NotACurrency { text: text.to_owned() })
    }
}

impl TryFrom<String> for Currency {
    type Error = NotACurrency;

    fn try_from(text: String) -> Result<Self, NotACurrency> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl Avro for Currency {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(&self.0, out);
    }
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let letters = Self::of(reader.bytes()?);
        letters.ok_or_else(|| reader.invalid("a currency that is not three upper-case letters"))
    }
    fn schema(out: &mut SchemaWriter) {
        out.push("\"string\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_is_looked_up() {
        let exponent = |text: &str| text.parse::<Currency>().unwrap().exponent();
        assert_eq!(Currency::EUR.exponent(), Some(2));
        assert_eq!(exponent("JPY"), Some(0));
        assert_eq!(exponent("KWD"), Some(3));
        assert_eq!(exponent("CLF"), Some(4));
        assert_eq!(exponent("QQQ"), None);
    }

    #[test]
    fn only_three_upper_case_letters_are_a_currency() {
        for text in ["", "EU", "EURO", "eur", "EU1", "ÄÖ", "E R"] {
            let error = text.parse::<Currency>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("\"{text}\" is not a currency")));
            let mut bytes = Vec::new();
            text.to_owned().encode(&mut bytes);
            assert!(Currency::decode(&mut Reader::new(&bytes)).is_err(), "{text}");
        }
        assert_eq!("EUR".parse(), Ok(Currency::EUR));
        assert_eq!(format!("{} {:?}", Currency::EUR, Currency::EUR), "EUR EUR");
    }

    #[test]
    fn a_sum_that_does_not_fit_is_none() {
        assert_eq!(Minor(2).checked_add(Minor(3)), Some(Minor(5)));
        assert_eq!(Minor(i64::MAX).checked_add(Minor(1)), None);
        assert_eq!(Minor(i64::MIN).checked_add(Minor(-1)), None);
    }
}
