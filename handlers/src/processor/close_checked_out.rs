//! A guest has left: nights to come are given back, nights stayed on are taken.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCheckedOut;
use bellhop_schemas::ids::ReservationKey;

use crate::state::inventory::Inventory;
use crate::state::reservation::{Reservation, ReservationState};

/// Settles the nights and keeps the state alone.
#[processor]
pub fn close_checked_out(
    event: &ReservationCheckedOut,
    inventories: &mut Store<Inventory>,
    reservations: &mut Store<Reservation>,
) {
    let ReservationCheckedOut { property_id, reservation_id, .. } = *event;
    let inventory = inventories.entry(property_id, Inventory::default);
    inventory.release(&event.released);
    inventory.take(&event.overstayed);
    if let Some(reservation) = reservations.get_mut(&ReservationKey { property_id, reservation_id })
    {
        reservation.finish(ReservationState::CheckedOut);
    }
}
