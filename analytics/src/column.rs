//! Columns and rows: one declaration gives a table's schema, its builder and the type of a row.

use std::sync::Arc;

use bellhop_core::message::Timestamp;
use bellhop_schemas::night::Night;
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// The zone of every instant; an offset, since names of zones would need a database.
pub(crate) const UTC: &str = "+00:00";

/// A kind of column.
pub(crate) trait Column: Default {
    /// What a row holds.
    type Value<'a>;
    const NULLABLE: bool = false;
    fn data_type() -> DataType;
    fn push(&mut self, value: Self::Value<'_>);
    fn push_null(&mut self);
    fn finish(&mut self) -> ArrayRef;
}

macro_rules! column {
    ($($(#[$doc:meta])* $name:ident($builder:ty) of $value:ty: $data_type:expr, $make:expr, $map:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name($builder);

        impl Default for $name {
            fn default() -> Self {
                Self($make)
            }
        }

        impl Column for $name {
            type Value<'a> = $value;
            fn data_type() -> DataType {
                $data_type
            }
            #[inline]
            fn push(&mut self, value: Self::Value<'_>) {
                self.0.append_value($map(value));
            }
            #[inline]
            fn push_null(&mut self) {
                self.0.append_null();
            }
            fn finish(&mut self) -> ArrayRef {
                Arc::new(self.0.finish())
            }
        }
    )*};
}

column! {
    /// Text.
    Text(StringBuilder) of &'a str: DataType::Utf8, StringBuilder::new(), |text| text;
    /// A count.
    Int(Int32Builder) of i32: DataType::Int32, Int32Builder::new(), |count| count;
    /// An offset or an amount in minor units.
    Long(Int64Builder) of i64: DataType::Int64, Int64Builder::new(), |amount| amount;
    /// A calendar day.
    Day(Date32Builder) of Night: DataType::Date32, Date32Builder::new(), |night: Night| night.0;
    /// An instant.
    Instant(TimestampMicrosecondBuilder) of Timestamp:
        DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        TimestampMicrosecondBuilder::new().with_timezone(UTC), |instant: Timestamp| instant.0;
    /// Yes or no.
    Flag(BooleanBuilder) of bool: DataType::Boolean, BooleanBuilder::new(), |flag| flag;
}

/// A column that may be null.
#[derive(Default)]
pub(crate) struct Null<C>(C);

impl<C: Column> Column for Null<C> {
    type Value<'a> = Option<C::Value<'a>>;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        C::data_type()
    }
    #[inline]
    fn push(&mut self, value: Self::Value<'_>) {
        match value {
            Some(value) => self.0.push(value),
            None => self.0.push_null(),
        }
    }
    fn push_null(&mut self) {
        self.0.push_null();
    }
    fn finish(&mut self) -> ArrayRef {
        self.0.finish()
    }
}

/// Declares `Row` (a row, borrowed), `Rows` (its builder) and `schema`.
macro_rules! columns {
    ($($(#[$doc:meta])* $column:ident: $kind:ty,)*) => {
        /// A row of the table.
        pub(crate) struct Row<'a> {
            $($(#[$doc])* pub(crate) $column: <$kind as $crate::column::Column>::Value<'a>,)*
        }

        /// Rows of the table, column by column.
        #[derive(Default)]
        pub(crate) struct Rows {
            count: usize,
            $($column: $kind,)*
        }

        impl Rows {
            /// Appends a row.
            #[inline]
            pub(crate) fn push(&mut self, row: Row<'_>) {
                use $crate::column::Column as _;
                self.count += 1;
                $(self.$column.push(row.$column);)*
            }

            /// How many rows.
            pub(crate) fn len(&self) -> usize {
                self.count
            }

            /// The rows as a batch; none stay.
            pub(crate) fn take(
                &mut self,
            ) -> Result<datafusion::arrow::array::RecordBatch, datafusion::arrow::error::ArrowError>
            {
                use $crate::column::Column as _;
                self.count = 0;
                datafusion::arrow::array::RecordBatch::try_new(
                    std::sync::Arc::new(schema()),
                    vec![$(self.$column.finish(),)*],
                )
            }
        }

        /// Names and types of the columns.
        pub(crate) fn schema() -> datafusion::arrow::datatypes::Schema {
            use $crate::column::Column as _;
            datafusion::arrow::datatypes::Schema::new(vec![$(
                datafusion::arrow::datatypes::Field::new(
                    stringify!($column).trim_start_matches("r#"),
                    <$kind>::data_type(),
                    <$kind as $crate::column::Column>::NULLABLE,
                ),
            )*])
        }
    };
}
pub(crate) use columns;
