//! What comes due. Timers stay inside a partition: no topic has them.

use bellhop_core::prelude::{Avro, Timer};

use crate::ids::PropertyId;
use crate::night::Night;

/// The business date of a property moves on while a guest in house is past the departure.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Timer)]
#[avro(name = "bellhop.timer.BusinessDateRolled")]
#[message(key = property_id)]
pub struct BusinessDateRolled {
    /// The property.
    pub property_id: PropertyId,
    /// Its new business date.
    pub business_date: Night,
}
