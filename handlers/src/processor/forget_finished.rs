//! A booking makes room: what is over for long enough leaves memory.
//!
//! It runs before the processors that keep the booking (processors of one event run in the order of
//! their names).

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCreated;
use bellhop_schemas::ids::{ExternalRef, PropertyId, ReservationId, ReservationKey};
use bellhop_schemas::night::Night;

use crate::state::external_ref::ExternalRefs;
use crate::state::inventory::Inventory;
use crate::state::reservation::{Reservation, ReservationState};
use crate::state::retention::{Due, Keeping, Retained, Retention};

/// Drops what is due by the business date of the booking, and lists the booking.
#[processor]
pub fn forget_finished(
    event: &ReservationCreated,
    retentions: &mut Store<Retention>,
    reservations: &mut Store<Reservation>,
    external_refs: &mut Store<ExternalRefs>,
    inventories: &mut Store<Inventory>,
    cx: &Context,
) {
    let ReservationCreated { property_id, reservation_id, business_date, .. } = *event;
    let keeping = Keeping::on(business_date, cx.rules);
    let mut room = Room { property_id, reservations, external_refs };
    // Its id may be that of a reservation of which nothing is known any more.
    room.drop(reservation_id);
    let retention = retentions.entry(property_id, Retention::default);
    retention.settle(keeping, |due| match due {
        Due::Finish(id) => room.finish(id, keeping),
        Due::Drop(id) => {
            room.drop_finished(id, keeping);
            None
        }
    });
    let last_day = event.last_day().map_or(business_date, |day| day.max(business_date));
    retention.list(last_day, reservation_id);
    // The use of a day looks at the night before it.
    let first = keeping.first_night().plus(-1);
    inventories.entry(property_id, Inventory::default).forget_before(first);
}

/// What a property remembers of its reservations.
struct Room<'a> {
    property_id: PropertyId,
    reservations: &'a mut Store<Reservation>,
    external_refs: &'a mut Store<ExternalRefs>,
}

impl Room<'_> {
    fn key(&self, reservation_id: ReservationId) -> ReservationKey {
        ReservationKey { property_id: self.property_id, reservation_id }
    }

    /// Keeps the last day alone, if it is long enough ago; gives it.
    fn finish(&mut self, id: ReservationId, keeping: Keeping) -> Option<Night> {
        let key = self.key(id);
        let reservation = self.reservations.get_mut(&key)?;
        if reservation.state() == ReservationState::Finished {
            // It is listed as that already.
            return None;
        }
        let last_day = reservation.last_day(reservation.booking().as_ref());
        if keeping.retains(last_day) != Retained::Whole {
            let external_refs = reservation.external_refs();
            reservation.finish();
            self.free(id, &external_refs);
        }
        Some(last_day)
    }

    /// Drops what is finished, unless its id was given to another one.
    fn drop_finished(&mut self, id: ReservationId, keeping: Keeping) {
        let key = self.key(id);
        let found = self.reservations.get(&key);
        let is_due = found.is_some_and(|it| {
            it.state() == ReservationState::Finished
                && keeping.retains(it.last_day(None)) == Retained::Nothing
        });
        if is_due {
            self.drop(id);
        }
    }

    fn drop(&mut self, id: ReservationId) {
        let key = self.key(id);
        if let Some(reservation) = self.reservations.remove(&key) {
            self.free(id, &reservation.external_refs());
        }
    }

    fn free(&mut self, id: ReservationId, external_refs: &[ExternalRef]) {
        if external_refs.is_empty() {
            return;
        }
        if let Some(known) = self.external_refs.get_mut(&self.property_id) {
            external_refs.iter().for_each(|external_ref| known.remove_of(id, external_ref));
        }
    }
}
