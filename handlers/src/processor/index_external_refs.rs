//! A booking can be found by the numbers that other systems have for it.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCreated;

use crate::state::external_ref::ExternalRefs;

/// Remembers whose numbers they are, until it is cancelled.
#[processor]
pub fn index_external_refs(event: &ReservationCreated, external_refs: &mut Store<ExternalRefs>) {
    if event.external_refs.is_empty() {
        return;
    }
    let known = external_refs.entry(event.property_id, ExternalRefs::default);
    for external_ref in &event.external_refs {
        known.insert(external_ref.clone(), event.reservation_id);
    }
}
