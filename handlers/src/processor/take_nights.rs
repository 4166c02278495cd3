//! A booking takes its nights.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCreated;

use crate::state::inventory::Inventory;

/// Sells the nights, in the products and in the house.
#[processor]
pub fn take_nights(event: &ReservationCreated, inventories: &mut Store<Inventory>) {
    inventories.entry(event.property_id, Inventory::default).take(&event.lines);
}
