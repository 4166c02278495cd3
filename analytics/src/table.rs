//! The tables of the lake.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::{bookings, catalog, events, ledger, refusals, supply};

/// A table; `docs/kpis.md` describes the columns of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The signed ledger: a row per night (or day use) and change.
    RoomNights,
    /// A row per change of a reservation.
    Bookings,
    /// The signed ledger of supply: a row per change, product or house, and run of nights.
    Supply,
    /// A row per refused command and reason.
    Refusals,
    /// A row per property.
    Properties,
    /// A row per product.
    Products,
    /// Every event as it was, with its body as JSON.
    Events,
}

impl Table {
    /// All of them; the place of each is its number.
    pub const ALL: [Self; 7] = [
        Self::RoomNights,
        Self::Bookings,
        Self::Supply,
        Self::Refusals,
        Self::Properties,
        Self::Products,
        Self::Events,
    ];

    /// Its name in SQL and on disk.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoomNights => "room_nights",
            Self::Bookings => "bookings",
            Self::Supply => "supply",
            Self::Refusals => "refusals",
            Self::Properties => "properties",
            Self::Products => "products",
            Self::Events => "events",
        }
    }

    /// Its columns as they are written.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        Arc::new(match self {
            Self::RoomNights => ledger::schema(),
            Self::Bookings => bookings::schema(),
            Self::Supply => supply::schema(),
            Self::Refusals => refusals::schema(),
            Self::Properties => catalog::property::schema(),
            Self::Products => catalog::product::schema(),
            Self::Events => events::schema(),
        })
    }

    /// Its columns as they are queried: text as views, which group faster.
    pub(crate) fn view_schema(self) -> SchemaRef {
        let fields = self.schema().fields().iter().map(|field| as_view(field)).collect::<Vec<_>>();
        Arc::new(Schema::new(fields))
    }
}

fn as_view(field: &Field) -> Field {
    if *field.data_type() == DataType::Utf8 {
        field.clone().with_data_type(DataType::Utf8View)
    } else {
        field.clone()
    }
}
