//! Lines are given another product.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationMoved;
use bellhop_schemas::ids::ReservationKey;

use crate::state::inventory::Inventory;
use crate::state::reservation::Reservation;

/// Moves the nights.
#[processor]
pub fn move_stay(
    event: &ReservationMoved,
    inventories: &mut Store<Inventory>,
    reservations: &mut Store<Reservation>,
) {
    let ReservationMoved { property_id, reservation_id, .. } = *event;
    inventories.entry(property_id, Inventory::default).move_nights(&event.moves);
    if let Some(reservation) = reservations.get_mut(&ReservationKey { property_id, reservation_id })
    {
        reservation.move_nights(&event.moves, event.business_date);
    }
}
