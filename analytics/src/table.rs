//! The tables of the lake, as Arrow and DataFusion see them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub use bellhop_ledger::Table;

use crate::column;

/// A table's columns as they are written.
#[must_use]
pub fn schema(table: Table) -> SchemaRef {
    Arc::new(column::schema(table))
}

/// A table's columns as they are queried: text as views, which group faster.
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
