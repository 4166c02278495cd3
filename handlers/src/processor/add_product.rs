//! A product joins the inventory of its property.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ProductDefined;

use crate::state::calendar::Calendar;
use crate::state::inventory::{Inventory, Product};

/// Adds the product with its physical counts.
#[processor]
pub fn add_product(event: &ProductDefined, inventories: &mut Store<Inventory>) {
    let mut calendar = Calendar::default();
    calendar.change_physical(&event.physical);
    inventories.entry(event.property_id, Inventory::default).add(Product {
        code: event.product.clone(),
        kind: event.kind,
        statistics: event.statistics,
        occupancy_max: event.occupancy_max,
        calendar,
    });
}
