//! The tables of the lake, as Arrow and DataFusion see them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub use bellhop_ledger::Table;

use crate::column;

/// A table's columns as they are written: ids as 16 bytes.
#[must_use]
pub fn schema(table: Table) -> SchemaRef {
    Arc::new(column::schema(table))
}

/// A table's columns as they are read: text as views, which group faster.
pub(crate) fn view_schema(table: Table) -> SchemaRef {
    let fields = schema(table).fields().iter().map(|field| as_view(field)).collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

fn as_view(field: &Field) -> Field {
    if *field.data_type() == DataType::Utf8 {
        field.clone().with_data_type(DataType::Utf8View)
    } else {
        field.clone()
    }
}

/// The columns by which the rows of a part are sorted: those that questions mostly name. Events and
/// what is parked stay in the order of their offsets.
pub(crate) fn sort_keys(table: Table) -> Option<(&'static str, &'static str)> {
    match table {
        Table::RoomNights => Some(("property_id", "stay_night")),
        Table::Bookings | Table::Refusals => Some(("property_id", "arrival")),
        Table::Supply => Some(("property_id", "first_night")),
        Table::Properties | Table::Products | Table::Events | Table::Parked => None,
    }
}
