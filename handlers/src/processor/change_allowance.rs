//! Overbooking allowances change.

use bellhop_core::prelude::*;
use bellhop_schemas::event::OverbookingLimitChanged;

use crate::state::inventory::Inventory;

/// Sets the allowances of the nights that changed.
#[processor]
pub fn change_allowance(event: &OverbookingLimitChanged, inventories: &mut Store<Inventory>) {
    let inventory = inventories.entry(event.property_id, Inventory::default);
    if let Some(calendar) = inventory.calendar_mut(event.product.as_ref()) {
        calendar.change_allowance(&event.changes);
    }
}
