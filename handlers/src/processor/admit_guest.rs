//! A guest has come: nights of a no-show are taken back, moved nights change their product, nights
//! before the arrival are taken.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCheckedIn;
use bellhop_schemas::ids::ReservationKey;

use crate::state::in_house::InHouse;
use crate::state::inventory::Inventory;
use crate::state::property::Property;
use crate::state::reservation::Reservation;

/// Applies the nights, checks the reservation in, and expects the departure.
#[processor]
pub fn admit_guest(
    event: &ReservationCheckedIn,
    properties: &Store<Property>,
    inventories: &mut Store<Inventory>,
    reservations: &mut Store<Reservation>,
    in_house: &mut Store<InHouse>,
    timers: &mut Timers,
) {
    let ReservationCheckedIn { property_id, reservation_id, .. } = *event;
    let inventory = inventories.entry(property_id, Inventory::default);
    inventory.take(&event.reinstated);
    inventory.move_nights(&event.moves);
    inventory.take(&event.added);
    let key = ReservationKey { property_id, reservation_id };
    let Some(reservation) = reservations.get_mut(&key) else { return };
    reservation.check_in(event);
    let departure = reservation.booking().and_then(|booking| booking.departure());
    if let (Some(departure), Some(property)) = (departure, properties.get(&property_id)) {
        let guests = in_house.entry(property_id, InHouse::default);
        guests.expect(reservation_id, departure.plus(1));
        guests.set_timer(property_id, property, timers);
    }
}
