//! Physical counts change.

use bellhop_core::prelude::*;
use bellhop_schemas::event::PhysicalCountChanged;

use crate::state::inventory::Inventory;

/// Sets the counts of the nights that changed.
#[processor]
pub fn change_physical(event: &PhysicalCountChanged, inventories: &mut Store<Inventory>) {
    let inventory = inventories.entry(event.property_id, Inventory::default);
    if let Some(calendar) = inventory.calendar_mut(event.product.as_ref()) {
        calendar.change_physical(&event.changes);
    }
}
