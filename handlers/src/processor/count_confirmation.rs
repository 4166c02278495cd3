//! A booking uses up a confirmation number.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCreated;

use crate::state::property::Property;

/// Counts it in the year of the booking's business date.
#[processor]
pub fn count_confirmation(event: &ReservationCreated, properties: &mut Store<Property>) {
    if let Some(property) = properties.get_mut(&event.property_id) {
        property.count_confirmation(event.business_date);
    }
}
