//! What there is: properties and their products, a row each.

/// Properties.
pub(crate) mod property {
    use bellhop_schemas::event::PropertyDefined;

    use crate::column::{Day, Instant, Int, Text, columns};
    use crate::expand::Change;

    columns! {
        /// The property.
        property_id: Text,
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

    impl Rows {
        pub(crate) fn defined(&mut self, change: &Change<'_>, event: &PropertyDefined) {
            self.push(Row {
                property_id: change.property_id(),
                code: &event.code,
                time_zone: &event.time_zone,
                roll_hour: i32::from(event.roll_hour),
                currency: event.currency.as_str(),
                business_date: change.business_date,
                known_at: change.known_at,
            });
        }
    }
}

/// Products.
pub(crate) mod product {
    use bellhop_schemas::command::ProductKind;
    use bellhop_schemas::event::ProductDefined;

    use crate::column::{Day, Flag, Instant, Text, columns};
    use crate::expand::Change;

    columns! {
        /// The property.
        property_id: Text,
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

    impl Rows {
        pub(crate) fn defined(&mut self, change: &Change<'_>, event: &ProductDefined) {
            let kind = match event.kind {
                ProductKind::Room => "room",
            };
            self.push(Row {
                property_id: change.property_id(),
                product: event.product.as_str(),
                name: &event.name,
                kind,
                statistics: event.statistics,
                business_date: change.business_date,
                known_at: change.known_at,
            });
        }
    }
}
