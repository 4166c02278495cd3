//! What there is: properties and their products, a row each.

use bellhop_schemas::command::ProductKind;
use bellhop_schemas::event::{ProductDefined, PropertyDefined};

use crate::expand::Change;
use crate::row::{Day, Flag, Instant, Int, Take, Text, Uuid, table};

table! {
    /// A property.
    Property of Properties {
        /// The property.
        property_id: Uuid,
        /// The name that people know it by.
        code: Text,
        /// IANA time zone.
        time_zone: Text,
        /// Local hour at which the business date moves on.
        roll_hour: Int,
        /// ISO 4217 currency of all its prices.
        currency: Text,
        /// Business date on which it was defined.
        business_date: Day,
        /// When bellhop knew.
        known_at: Instant,

    }
}

table! {
    /// A product.
    Product of Products {
        /// The property.
        property_id: Uuid,
        /// Its code within the property.
        product: Text,
        /// What people call it.
        name: Text,
        /// What it is.
        kind: Text,
        /// Whether its units count in the house's statistics.
        statistics: Flag,
        /// Business date on which it was defined.
        business_date: Day,
        /// When bellhop knew.
        known_at: Instant,

    }
}

/// Gives a property.
pub(crate) fn property(to: &mut impl Take, change: &Change<'_>, event: &PropertyDefined) {
    to.row(&Property {
        property_id: change.property_id(),
        code: &event.code,
        time_zone: &event.time_zone,
        roll_hour: i32::from(event.roll_hour),
        currency: event.currency.as_str(),
        business_date: change.business_date,
        known_at: change.known_at,
    });
}

/// Gives a product.
pub(crate) fn product(to: &mut impl Take, change: &Change<'_>, event: &ProductDefined) {
    let kind = match event.kind {
        ProductKind::Room => "room",
    };
    to.row(&Product {
        property_id: change.property_id(),
        product: event.product.as_str(),
        name: &event.name,
        kind,
        statistics: event.statistics,
        business_date: change.business_date,
        known_at: change.known_at,
    });
}
