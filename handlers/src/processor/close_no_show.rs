//! A reservation whose guest has not come gives back its nights.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationNoShow;
use bellhop_schemas::ids::ReservationKey;

use crate::state::inventory::Inventory;
use crate::state::reservation::Reservation;

/// Releases the nights; the booking is kept, for the guest may yet come.
#[processor]
pub fn close_no_show(
    event: &ReservationNoShow,
    inventories: &mut Store<Inventory>,
    reservations: &mut Store<Reservation>,
) {
    let ReservationNoShow { property_id, reservation_id, .. } = *event;
    inventories.entry(property_id, Inventory::default).release(&event.released);
    if let Some(reservation) = reservations.get_mut(&ReservationKey { property_id, reservation_id })
    {
        reservation.no_show(event.business_date);
    }
}
