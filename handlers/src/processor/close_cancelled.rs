//! A cancelled reservation gives back its nights.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCancelled;
use bellhop_schemas::ids::ReservationKey;

use crate::state::inventory::Inventory;
use crate::state::reservation::Reservation;

/// Releases the nights and keeps the state alone.
#[processor]
pub fn close_cancelled(
    event: &ReservationCancelled,
    inventories: &mut Store<Inventory>,
    reservations: &mut Store<Reservation>,
) {
    let ReservationCancelled { property_id, reservation_id, .. } = *event;
    inventories.entry(property_id, Inventory::default).release(&event.released);
    if let Some(reservation) = reservations.get_mut(&ReservationKey { property_id, reservation_id })
    {
        reservation.cancel(event.business_date);
    }
}
