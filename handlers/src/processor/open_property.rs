//! A property opens: its calendar of the house, and no product yet.

use bellhop_core::prelude::*;
use bellhop_schemas::event::PropertyDefined;

use crate::state::inventory::Inventory;
use crate::state::property::{Property, Zone};

/// Makes the property and its inventory.
///
/// # Panics
/// When the time zone is not compiled in: another version of the program decided.
#[processor]
pub fn open_property(
    event: &PropertyDefined,
    properties: &mut Store<Property>,
    inventories: &mut Store<Inventory>,
) {
    let Some(zone) = Zone::of(&event.time_zone) else {
        panic!("the time zone {} of {} is not compiled in", event.time_zone, event.property_id)
    };
    let mut property = Property::new(event.code.clone(), zone, event.roll_hour, event.currency);
    property.no_show_hour = event.no_show_hour;
    properties.insert(event.property_id, property);
    let mut inventory = Inventory::default();
    inventory.house_mut().change_physical(&event.physical);
    inventories.insert(event.property_id, inventory);
}
