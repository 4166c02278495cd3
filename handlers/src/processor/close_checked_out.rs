//! A guest has left: nights to come are given back, or become the use of a day.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCheckedOut;
use bellhop_schemas::ids::ReservationKey;

use crate::state::in_house::InHouse;
use crate::state::inventory::Inventory;
use crate::state::property::Property;
use crate::state::reservation::Reservation;

/// Settles the nights, keeps what answers later commands, and expects no departure.
#[processor]
pub fn close_checked_out(
    event: &ReservationCheckedOut,
    properties: &Store<Property>,
    inventories: &mut Store<Inventory>,
    reservations: &mut Store<Reservation>,
    in_house: &mut Store<InHouse>,
    timers: &mut Timers,
) {
    let ReservationCheckedOut { property_id, reservation_id, .. } = *event;
    let inventory = inventories.entry(property_id, Inventory::default);
    inventory.release(&event.released);
    inventory.take(&event.day_use);
    if let Some(reservation) = reservations.get_mut(&ReservationKey { property_id, reservation_id })
    {
        reservation.check_out(event.business_date);
    }
    if let (Some(guests), Some(property)) =
        (in_house.get_mut(&property_id), properties.get(&property_id))
    {
        guests.leave(reservation_id);
        guests.set_timer(property_id, property, timers);
    }
}
