//! A guest has come: moved lines give back the nights they held and take others.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCheckedIn;
use bellhop_schemas::ids::ReservationKey;

use crate::state::inventory::Inventory;
use crate::state::reservation::Reservation;

/// Moves the nights and checks the reservation in.
#[processor]
pub fn admit_guest(
    event: &ReservationCheckedIn,
    inventories: &mut Store<Inventory>,
    reservations: &mut Store<Reservation>,
) {
    let ReservationCheckedIn { property_id, reservation_id, .. } = *event;
    let inventory = inventories.entry(property_id, Inventory::default);
    for change in &event.moved {
        inventory.release(std::slice::from_ref(&change.before));
        inventory.take(std::slice::from_ref(&change.after));
    }
    if let Some(reservation) = reservations.get_mut(&ReservationKey { property_id, reservation_id })
    {
        reservation.check_in(&event.moved);
    }
}
