//! What reports split a line by.

use std::fmt;

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter};
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// Room for the dimensions of most lines.
const BYTES: usize = 36;

/// The dimensions of a line, which travel from the command to the ledger.
///
/// No decision looks at them, so they stay the Avro bytes that they came as, checked once.
#[derive(Clone, PartialEq, Eq)]
pub struct Dimensions(SmallVec<[u8; BYTES]>);

macro_rules! dimensions {
    ($($place:literal $name:ident $doc:literal),+) => {
        /// Dimensions as texts, to make [`Dimensions`] of.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Texts<T> {
            $(#[doc = $doc] pub $name: Option<T>,)+
        }

        impl<T> Default for Texts<T> {
            fn default() -> Self {
                Self { $($name: None),+ }
            }
        }

        impl<T: AsRef<str>> From<Texts<T>> for Dimensions {
            fn from(texts: Texts<T>) -> Self {
                let mut bytes = Vec::with_capacity(BYTES);
                $(write(texts.$name.as_ref().map(AsRef::as_ref), &mut bytes);)+
                Self(SmallVec::from_vec(bytes))
            }
        }

        impl Dimensions {
            $(
                #[doc = $doc]
                #[must_use]
                pub fn $name(&self) -> Option<&str> {
                    self.at($place)
                }
            )+

            /// All of them.
            #[must_use]
            pub fn texts(&self) -> Texts<&str> {
                Texts { $($name: self.$name()),+ }
            }
        }

        const FIELDS: &[&str] = &[$(stringify!($name)),+];
    };
}

dimensions! {
    0 rate_plan "Rate plan.",
    1 segment "Market segment.",
    2 channel "Channel of distribution.",
    3 source "Source of business.",
    4 company "Company that it is booked for.",
    5 agent "Agent that it is booked by.",
    6 block "Block that it picks up.",
    7 guarantee "How it is guaranteed."
}

impl Dimensions {
    /// The longest of its texts.
    #[must_use]
    pub fn longest(&self) -> Option<&str> {
        (0..FIELDS.len()).filter_map(|place| self.at(place)).max_by_key(|text| text.len())
    }

    /// Bytes that hold them: no text is longer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// # Panics
    /// Never: the bytes were checked when it was made.
    fn at(&self, place: usize) -> Option<&str> {
        let mut reader = Reader::new(&self.0);
        let mut read = || -> Result<_, DecodeError> {
            for _ in 0..place {
                next(&mut reader)?;
            }
            Ok(next(&mut reader)?.and_then(|text| str::from_utf8(text).ok()))
        };
        match read() {
            Ok(text) => text,
            Err(error) => panic!("dimensions were checked and cannot be read: {error}"),
        }
    }
}

/// The next text that may be null, unchecked.
#[inline(always)]
#[expect(clippy::inline_always, reason = "called out of line, its result goes through memory")]
fn next<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    match reader.long()? {
        0 => Ok(None),
        1 => reader.bytes().map(Some),
        _ => Err(reader.invalid("a union branch that does not exist")),
    }
}

fn write(text: Option<&str>, out: &mut Vec<u8>) {
    text.map(CompactString::new).encode(out);
}

impl Default for Dimensions {
    fn default() -> Self {
        Texts::<&str>::default().into()
    }
}

impl fmt::Debug for Dimensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.texts().fmt(f)
    }
}

impl Avro for Dimensions {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.rest();
        for _ in FIELDS {
            if let Some(text) = next(reader)?
                && !text.is_ascii()
                && str::from_utf8(text).is_err()
            {
                return Err(reader.invalid("a string that is not UTF-8"));
            }
        }
        let length = bytes.len() - reader.rest().len();
        let own = Self(SmallVec::from_slice(&bytes[..length]));
        // Equal dimensions have equal bytes.
        Ok(if reader.is_canonical() { own } else { own.texts().into() })
    }
    fn schema(out: &mut SchemaWriter) {
        if out.define("bellhop.Dimensions") {
            out.push(r#"{"type":"record","name":"bellhop.Dimensions","fields":["#);
            for (place, field) in FIELDS.iter().enumerate() {
                out.push(if place == 0 { r#"{"name":""# } else { r#",{"name":""# });
                out.push(field);
                out.push(r#"","type":"#);
                Option::<CompactString>::schema(out);
                out.push("}");
            }
            out.push("]}");
        }
    }
}

impl Serialize for Dimensions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Dimensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Texts::<CompactString>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimensions() -> Dimensions {
        Texts { rate_plan: Some("BAR"), agent: Some("Ä9"), ..Texts::default() }.into()
    }

    #[test]
    fn each_is_found_at_its_place() {
        let dimensions = dimensions();
        assert_eq!((dimensions.rate_plan(), dimensions.agent()), (Some("BAR"), Some("Ä9")));
        assert_eq!((dimensions.segment(), dimensions.guarantee()), (None, None));
        assert_eq!(Dimensions::default().texts(), Texts::default());
    }

    #[test]
    fn equal_ones_have_equal_bytes_however_they_were_written() {
        let mut bytes = vec![2, 6, b'B', b'A', b'R', 0, 0, 0, 0];
        let mut padded = vec![2, 0x86, 0, b'B', b'A', b'R', 0, 0, 0, 0];
        for bytes in [&mut bytes, &mut padded] {
            bytes.extend([2, 6, 0xc3, 0x84, b'9', 0, 0]);
            assert_eq!(Dimensions::decode(&mut Reader::new(bytes)), Ok(dimensions()));
        }
    }

    #[test]
    fn text_that_is_none_is_refused() {
        for bytes in [&[2, 2, 0xff, 0, 0, 0, 0, 0, 0, 0][..], &[4], &[2, 1], &[0, 0]] {
            assert!(Dimensions::decode(&mut Reader::new(bytes)).is_err(), "{bytes:?}");
        }
    }
}
