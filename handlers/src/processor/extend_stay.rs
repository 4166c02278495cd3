//! A guest stays on.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationExtended;
use bellhop_schemas::ids::ReservationKey;

use crate::state::in_house::{InHouse, OVERSTAY_NIGHTS_MAX};
use crate::state::inventory::Inventory;
use crate::state::property::Property;
use crate::state::reservation::Reservation;

/// Takes the nights, and expects the next roll of the business date.
#[processor]
pub fn extend_stay(
    event: &ReservationExtended,
    properties: &Store<Property>,
    inventories: &mut Store<Inventory>,
    reservations: &mut Store<Reservation>,
    in_house: &mut Store<InHouse>,
    timers: &mut Timers,
) {
    let ReservationExtended { property_id, reservation_id, .. } = *event;
    inventories.entry(property_id, Inventory::default).take(&event.extended);
    if let Some(reservation) = reservations.get_mut(&ReservationKey { property_id, reservation_id })
    {
        reservation.extend(&event.extended, event.business_date);
    }
    let guests = in_house.entry(property_id, InHouse::default);
    let next = event.extended.iter().filter_map(|line| {
        let next = line.nights.last()?.night.plus(1);
        (line.departure.until(next) < OVERSTAY_NIGHTS_MAX).then_some(next)
    });
    match next.max() {
        Some(next) => guests.expect(reservation_id, next),
        None => guests.leave(reservation_id),
    }
    if let Some(property) = properties.get(&property_id) {
        guests.cancel_timer(timers);
        guests.set_timer(property_id, property, timers);
    }
}
