//! Typed ids and codes.

use std::fmt;

use bellhop_core::message::MessageKey;
use bellhop_core::prelude::Avro;
use bellhop_core::store::StoreKey;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A property (a hotel, a venue); everything of one property is decided in one order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PropertyId(pub Uuid);

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl MessageKey for PropertyId {
    /// 36 lower-case ASCII characters.
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut text = [0; 36];
        self.0.hyphenated().encode_lower(&mut text);
        out.extend_from_slice(&text);
    }
}

impl StoreKey for PropertyId {
    type Partition = Self;
}

/// A reservation, named by whoever asks for it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ReservationId(pub Uuid);

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A reservation within its property: two properties never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Avro)]
#[avro(name = "bellhop.state.ReservationKey")]
pub struct ReservationKey {
    /// The property.
    pub property_id: PropertyId,
    /// The reservation.
    pub reservation_id: ReservationId,
}

impl StoreKey for ReservationKey {
    type Partition = PropertyId;
}

/// Code of a product within its property: a room type, a piece of equipment, a seat.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Avro, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProductCode(pub CompactString);

impl ProductCode {
    /// From text.
    #[must_use]
    pub fn new(code: &str) -> Self {
        Self(code.into())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProductCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number that another system has for a reservation; unique per property.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.ExternalRef")]
#[serde(deny_unknown_fields)]
pub struct ExternalRef {
    /// The system.
    pub system: CompactString,
    /// Its number.
    pub id: CompactString,
}
