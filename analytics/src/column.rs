//! Columns of Arrow: a builder for each column of a table of [`bellhop_ledger`].

use std::ops::Range;
use std::sync::Arc;

use bellhop_core::message::Timestamp;
use bellhop_ledger::{Column, Id, Kind, Put, Row, Table};
use bellhop_schemas::night::Night;
use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder,
    Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::error::ArrowError;

/// The zone of every instant; an offset, since names of zones would need a database.
pub(crate) const UTC: &str = "+00:00";
/// Bytes of an id.
pub(crate) const ID_BYTES: i32 = 16;

/// Names and types of the columns of a table.
pub(crate) fn schema(table: Table) -> Schema {
    let field =
        |column: &Column| Field::new(name(table, column), data_type(column.kind), column.nullable);
    Schema::new(table.columns().iter().map(field).collect::<Vec<_>>())
}

/// The name of a column in the lake. When something was defined has a name of its own, so that a
/// join with the catalog leaves `business_date` and `known_at` to the other table.
fn name(table: Table, column: &Column) -> &'static str {
    match (table, column.name) {
        (Table::Properties | Table::Products, "business_date") => "defined_on",
        (Table::Properties | Table::Products, "known_at") => "defined_at",
        (
            Table::RoomNights
            | Table::Bookings
            | Table::Supply
            | Table::Refusals
            | Table::Properties
            | Table::Products
            | Table::Events
            | Table::Parked,
            name,
        ) => name,
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Uuid => DataType::FixedSizeBinary(ID_BYTES),
        Kind::Text => DataType::Utf8,
        Kind::Int => DataType::Int32,
        Kind::Long => DataType::Int64,
        Kind::Day => DataType::Date32,
        Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        Kind::Flag => DataType::Boolean,
        Kind::Bytes => DataType::Binary,
    }
}

/// Rows of a table, column by column.
pub(crate) struct Columns {
    table: Table,
    count: usize,
    builders: Vec<Builder>,
    /// Rows before the event that is being expanded.
    before: usize,
    /// Rows that are not to be taken.
    dropped: Vec<Range<usize>>,
}

enum Builder {
    Id(FixedSizeBinaryBuilder),
    Text(StringBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Day(Date32Builder),
    Instant(TimestampMicrosecondBuilder),
    Flag(BooleanBuilder),
    Bytes(BinaryBuilder),
}

impl Columns {
    pub(crate) fn of(table: Table) -> Self {
        let builders = table.columns().iter().map(|column| Builder::of(column.kind)).collect();
        Self { table, count: 0, builders, before: 0, dropped: Vec::new() }
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

    /// The next event begins.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.before = self.count;
    }

    /// Drops the rows that came since [`Columns::begin`].
    pub(crate) fn undo(&mut self) {
        if self.before < self.count {
            self.dropped.push(self.before..self.count);
            self.before = self.count;
        }
    }

    /// The rows as a batch; none stay.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let count = std::mem::take(&mut self.count);
        self.before = 0;
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(Arc::new(schema(self.table)), columns)?;
        let dropped = std::mem::take(&mut self.dropped);
        if dropped.is_empty() {
            return Ok(batch);
        }
        let mut kept = vec![true; count];
        for range in dropped {
            kept.get_mut(range).unwrap_or_default().fill(false);
        }
        filter_record_batch(&batch, &BooleanArray::from(kept))
    }
}

impl Builder {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Uuid => Self::Id(FixedSizeBinaryBuilder::new(ID_BYTES)),
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Int => Self::Int(Int32Builder::new()),
            Kind::Long => Self::Long(Int64Builder::new()),
            Kind::Day => Self::Day(Date32Builder::new()),
            Kind::Instant => Self::Instant(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            Kind::Flag => Self::Flag(BooleanBuilder::new()),
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Id(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Long(builder) => builder.append_null(),
            Self::Day(builder) => builder.append_null(),
            Self::Instant(builder) => builder.append_null(),
            Self::Flag(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Id(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Long(builder) => Arc::new(builder.finish()),
            Self::Day(builder) => Arc::new(builder.finish()),
            Self::Instant(builder) => Arc::new(builder.finish()),
            Self::Flag(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
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
        match self.0.next() {
            // Its length is that of the column.
            Some(Builder::Id(builder)) => drop(builder.append_value(id.uuid().as_bytes())),
            _ => debug_assert!(false, "a value of another kind than its column"),
        }
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
    fn bytes(&mut self, bytes: &[u8]) {
        push!(self, Bytes, bytes);
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
