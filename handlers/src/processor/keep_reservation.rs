//! A booking is remembered, so that it can be changed or given back.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCreated;
use bellhop_schemas::ids::ReservationKey;

use crate::state::reservation::Reservation;

/// Keeps the reservation.
#[processor]
pub fn keep_reservation(
    event: &ReservationCreated,
    reservations: &mut Store<Reservation>,
    cx: &Context,
) {
    let ReservationCreated { property_id, reservation_id, .. } = *event;
    let key = ReservationKey { property_id, reservation_id };
    reservations.insert(key, Reservation::confirmed(cx.body, event.business_date));
}
