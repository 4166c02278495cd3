//! Columns of Arrow: a builder for each column of a table of [`bellhop_ledger`].

use std::sync::Arc;

use bellhop_core::message::Timestamp;
use bellhop_ledger::{Column, Id, Kind, Put, Row, Table};
use bellhop_schemas::night::Night;
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Int32Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::error::ArrowError;

/// The zone of every instant; an offset, since names of zones would need a database.
pub(crate) const UTC: &str = "+00:00";

/// Names and types of the columns of a table.
pub(crate) fn schema(table: Table) -> Schema {
    let field = |column: &Column| Field::new(column.name, data_type(column.kind), column.nullable);
    Schema::new(table.columns().iter().map(field).collect::<Vec<_>>())
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Uuid | Kind::Text => DataType::Utf8,
        Kind::Int => DataType::Int32,
        Kind::Long => DataType::Int64,
        Kind::Day => DataType::Date32,
        Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        Kind::Flag => DataType::Boolean,
    }
}

/// Rows of a table, column by column.
pub(crate) struct Columns {
    table: Table,
    count: usize,
    builders: Vec<Builder>,
}

enum Builder {
    Text(StringBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Day(Date32Builder),
    Instant(TimestampMicrosecondBuilder),
    Flag(BooleanBuilder),
}

impl Columns {
    pub(crate) fn of(table: Table) -> Self {
        let builders = table.columns().iter().map(|column| Builder::of(column.kind)).collect();
        Self { table, count: 0, builders }
    }

    /// Appends a row of its table.
    #[inline]
    pub(crate) fn push<R: Row>(&mut self, row: &R) {
        self.count += 1;
        row.put(&mut Cursor(self.builders.iter_mut()));
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The rows as a batch; none stay.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.count = 0;
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(Arc::new(schema(self.table)), columns)
    }
}

impl Builder {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Uuid | Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Int => Self::Int(Int32Builder::new()),
            Kind::Long => Self::Long(Int64Builder::new()),
            Kind::Day => Self::Day(Date32Builder::new()),
            Kind::Instant => Self::Instant(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            Kind::Flag => Self::Flag(BooleanBuilder::new()),
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Text(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Long(builder) => builder.append_null(),
            Self::Day(builder) => builder.append_null(),
            Self::Instant(builder) => builder.append_null(),
            Self::Flag(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Long(builder) => Arc::new(builder.finish()),
            Self::Day(builder) => Arc::new(builder.finish()),
            Self::Instant(builder) => Arc::new(builder.finish()),
            Self::Flag(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Gives each value of a row to the next builder. The kinds of both come from one declaration, so a
/// value never meets a builder of another kind.
struct Cursor<'a>(std::slice::IterMut<'a, Builder>);

macro_rules! push {
    ($self:ident, $kind:ident, $value:expr) => {
        match $self.0.next() {
            Some(Builder::$kind(builder)) => builder.append_value($value),
            _ => debug_assert!(false, "a value of another kind than its column"),
        }
    };
}

impl Put for Cursor<'_> {
    #[inline]
    fn id(&mut self, id: &Id) {
        push!(self, Text, id.as_str());
    }
    #[inline]
    fn text(&mut self, text: &str) {
        push!(self, Text, text);
    }
    #[inline]
    fn int(&mut self, count: i32) {
        push!(self, Int, count);
    }
    #[inline]
    fn long(&mut self, amount: i64) {
        push!(self, Long, amount);
    }
    #[inline]
    fn day(&mut self, day: Night) {
        push!(self, Day, day.0);
    }
    #[inline]
    fn instant(&mut self, instant: Timestamp) {
        push!(self, Instant, instant.0);
    }
    #[inline]
    fn flag(&mut self, flag: bool) {
        push!(self, Flag, flag);
    }
    #[inline]
    fn some(&mut self) {}
    #[inline]
    fn none(&mut self) {
        if let Some(builder) = self.0.next() {
            builder.push_null();
        }
    }
}
