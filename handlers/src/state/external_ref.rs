//! The numbers that other systems have for the reservations of a property.

use std::collections::HashMap;

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter};
use bellhop_core::prelude::{Avro, State};
use bellhop_schemas::ids::{ExternalRef, PropertyId, ReservationId};
use rustc_hash::FxBuildHasher;

/// Which reservation a foreign number means; a number is never used twice.
#[derive(Debug, Default)]
pub struct ExternalRefs {
    reservations: HashMap<ExternalRef, ReservationId, FxBuildHasher>,
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
    const VERSION: u32 = 1;
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
}

/// Sorted, so that equal maps have equal bytes.
impl Avro for ExternalRefs {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut entries: Vec<_> = self
            .reservations
            .iter()
            .map(|(external_ref, reservation_id)| Entry {
                external_ref: external_ref.clone(),
                reservation_id: *reservation_id,
            })
            .collect();
        entries.sort_unstable_by(|a, b| {
            let (a, b) = (&a.external_ref, &b.external_ref);
            (&a.system, &a.id).cmp(&(&b.system, &b.id))
        });
        entries.encode(out);
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
