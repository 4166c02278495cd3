//! Events as values: of any type that has rows, with the time at which each was known.
//!
//! For folds over a whole history, by tests and audits; the expansion needs none of it.

use bellhop_core::avro::{Avro as _, DecodeError, Reader};
use bellhop_core::message::{Message as _, Timestamp};
use bellhop_schemas::event::{
    OverbookingLimitChanged, PhysicalCountChanged, ProductDefined, PropertyDefined,
    ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut, ReservationCreated,
    ReservationExtended, ReservationMoved, ReservationNoShow, ReservationRejected,
};
use bellhop_schemas::ids::PropertyId;

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;

macro_rules! events {
    ($($name:ident),*) => {
        /// Any event that has rows.
        #[derive(Debug, Clone)]
        pub enum Event {
            $(#[doc = stringify!($name)] $name($name),)*
        }

        impl Event {
            /// Decodes what stands behind the metadata; `None` for an event without rows.
            ///
            /// # Errors
            /// [`DecodeError`] when it is not what its name says.
            pub fn decode(name: &str, datum: &[u8]) -> Result<Option<Self>, DecodeError> {
                let mut reader = Reader::new(datum);
                Ok(match name {
                    $($name::NAME => Some(Self::$name($name::decode(&mut reader)?)),)*
                    _ => None,
                })
            }

            /// The property that it belongs to.
            #[must_use]
            pub fn property_id(&self) -> PropertyId {
                match self {
                    $(Self::$name(event) => event.property_id,)*
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $name::NAME,)*
                }
            }

            fn datum(&self) -> Vec<u8> {
                let mut datum = Vec::new();
                match self {
                    $(Self::$name(event) => event.encode(&mut datum),)*
                }
                datum
            }
        }

        $(impl From<$name> for Event {
            fn from(event: $name) -> Self {
                Self::$name(event)
            }
        })*
    };
}
events!(
    PropertyDefined,
    ProductDefined,
    PhysicalCountChanged,
    OverbookingLimitChanged,
    ReservationCreated,
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationMoved,
    ReservationExtended,
    ReservationCheckedOut,
    ReservationNoShow,
    ReservationRejected
);

/// An event and when it was known.
#[derive(Debug, Clone)]
pub struct Known {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}

impl Known {
    /// Full Avro name of the event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.event.name()
    }

    /// The event encoded, without its metadata.
    #[must_use]
    pub fn datum(&self) -> Vec<u8> {
        self.event.datum()
    }
}
