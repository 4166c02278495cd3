//! The numbers that other systems have for the reservations of a property.

use std::collections::BTreeMap;

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter};
use bellhop_core::prelude::{Avro, State};
use bellhop_schemas::ids::{ExternalRef, PropertyId, ReservationId};

/// Which reservation a foreign number means; a number means one at a time.
///
/// Sorted: the numbers come from outside, and whoever chose them could make the keys of a hashed
/// map collide.
#[derive(Debug, Default)]
pub struct ExternalRefs {
    reservations: BTreeMap<ExternalRef, ReservationId>,
}

/// One of them, as a snapshot holds it.
#[derive(Avro)]
#[avro(name = "bellhop.state.ExternalRefEntry")]
struct Entry {
    external_ref: ExternalRef,
    reservation_id: ReservationId,
}

impl State for ExternalRefs {
    const NAME: &'static str = "external_refs";
    type Key = PropertyId;
}

impl ExternalRefs {
    /// The reservation that a number means.
    #[must_use]
    pub fn get(&self, external_ref: &ExternalRef) -> Option<ReservationId> {
        self.reservations.get(external_ref).copied()
    }

    /// Gives a number to a reservation.
    pub(crate) fn insert(&mut self, external_ref: ExternalRef, reservation_id: ReservationId) {
        self.reservations.insert(external_ref, reservation_id);
    }

    /// Takes a number from a reservation.
    pub(crate) fn remove(&mut self, external_ref: &ExternalRef) {
        self.reservations.remove(external_ref);
    }

    /// Takes a number from a reservation, unless it means another one by now.
    pub(crate) fn remove_of(&mut self, reservation_id: ReservationId, external_ref: &ExternalRef) {
        if self.get(external_ref) == Some(reservation_id) {
            self.remove(external_ref);
        }
    }
}

impl Avro for ExternalRefs {
    fn encode(&self, out: &mut Vec<u8>) {
        let entries = self.reservations.iter().map(|(external_ref, reservation_id)| Entry {
            external_ref: external_ref.clone(),
            reservation_id: *reservation_id,
        });
        entries.collect::<Vec<_>>().encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let entries = Vec::<Entry>::decode(reader)?.into_iter();
        let pairs = entries.map(|entry| (entry.external_ref, entry.reservation_id));
        Ok(Self { reservations: pairs.collect() })
    }
    fn schema(out: &mut SchemaWriter) {
        Vec::<Entry>::schema(out);
    }
}
