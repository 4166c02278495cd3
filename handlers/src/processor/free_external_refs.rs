//! The numbers of other systems for a cancelled reservation are free for another one.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCancelled;

use crate::state::external_ref::ExternalRefs;

/// Forgets them.
#[processor]
pub fn free_external_refs(event: &ReservationCancelled, external_refs: &mut Store<ExternalRefs>) {
    if let Some(known) = external_refs.get_mut(&event.property_id) {
        event.external_refs.iter().for_each(|external_ref| known.remove(external_ref));
    }
}
