//! Files of the lake: sorted, with statistics, ids as 16 bytes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use ::parquet::basic::{Compression, LogicalType, Type as Physical};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::schema::types::{ColumnPath, SchemaDescriptor, Type};
use datafusion::arrow::array::{
    Array as _, AsArray as _, FixedSizeBinaryArray, RecordBatch, UInt32Array,
};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::Date32Type;

use super::failed;
use crate::column::ID_BYTES;
use crate::error::Error;
use crate::table::{Table, schema, sort_keys};

/// Rows of a row group.
const ROW_GROUP_ROWS: usize = 64 * 1024;

/// Writes the rows of a table, sorted; no file when there is none.
pub(super) fn write(path: &Path, table: Table, batches: &[RecordBatch]) -> Result<(), Error> {
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(());
    }
    let rows = sorted(table, &concat_batches(&schema(table), batches)?)?;
    write_file(path, table, &rows)
}

/// Writes a table without rows.
pub(crate) fn empty_file(path: &Path, table: Table) -> Result<(), Error> {
    write_file(path, table, &RecordBatch::new_empty(schema(table)))
}

/// Adds the rows of a file.
pub(super) fn read(path: &Path, batches: &mut Vec<RecordBatch>) -> Result<(), Error> {
    let file = File::open(path).map_err(failed("open", path))?;
    let damaged = |source: ParquetError| Error::Parquet { path: path.to_path_buf(), source };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    for batch in reader.with_batch_size(ROW_GROUP_ROWS).build().map_err(damaged)? {
        batches.push(batch?);
    }
    Ok(())
}

fn write_file(path: &Path, table: Table, rows: &RecordBatch) -> Result<(), Error> {
    let failed_to_write = |source| Error::Parquet { path: path.to_path_buf(), source };
    let file = File::create(path).map_err(failed("create", path))?;
    let options = ArrowWriterOptions::new()
        .with_properties(properties(table))
        .with_parquet_schema(descriptor(table).map_err(failed_to_write)?);
    let mut writer =
        ArrowWriter::try_new_with_options(file, schema(table), options).map_err(failed_to_write)?;
    writer.write(rows).map_err(failed_to_write)?;
    let file = writer.into_inner().map_err(failed_to_write)?;
    file.sync_all().map_err(failed("sync", path))
}

/// Rows by property and day, then as they came.
fn sorted(table: Table, rows: &RecordBatch) -> Result<RecordBatch, Error> {
    let columns =
        sort_keys(table).map(|(id, day)| (rows.column_by_name(id), rows.column_by_name(day)));
    let Some((Some(ids), Some(days))) = columns else { return Ok(rows.clone()) };
    let (ids, days) = (ids.as_fixed_size_binary(), days.as_primitive::<Date32Type>());
    let mut order: Vec<(u128, Option<i32>, u32)> = (0..)
        .zip(0..rows.num_rows())
        .map(|(number, row)| (id(ids, row), days.is_valid(row).then(|| days.value(row)), number))
        .collect();
    order.sort_unstable();
    let order = UInt32Array::from_iter_values(order.into_iter().map(|(.., number)| number));
    Ok(take_record_batch(rows, &order)?)
}

fn id(ids: &FixedSizeBinaryArray, row: usize) -> u128 {
    ids.value(row).try_into().map_or(0, u128::from_be_bytes)
}

/// The schema of a file: ids are UUIDs to whoever reads it.
fn descriptor(table: Table) -> Result<SchemaDescriptor, ParquetError> {
    let converted = ArrowSchemaConverter::new().convert(&schema(table))?;
    let mut fields = Vec::new();
    for field in converted.root_schema().get_fields() {
        let is_id = field.get_physical_type() == Physical::FIXED_LEN_BYTE_ARRAY;
        fields.push(if is_id {
            let uuid = Type::primitive_type_builder(field.name(), Physical::FIXED_LEN_BYTE_ARRAY)
                .with_length(ID_BYTES)
                .with_repetition(field.get_basic_info().repetition())
                .with_logical_type(Some(LogicalType::Uuid));
            Arc::new(uuid.build()?)
        } else {
            Arc::clone(field)
        });
    }
    let root = Type::group_type_builder(converted.root_schema().name()).with_fields(fields);
    Ok(SchemaDescriptor::new(Arc::new(root.build()?)))
}

fn properties(table: Table) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    // A body is never repeated, so a dictionary of bodies would only cost.
    for body in ["payload", "key", "value"] {
        let body = ColumnPath::from(body);
        properties = properties
            .set_column_dictionary_enabled(body.clone(), false)
            .set_column_statistics_enabled(body, EnabledStatistics::None);
    }
    // Within a row group, too, a question for some nights of a property skips what it does not need.
    if let Some((id, day)) = sort_keys(table) {
        for key in [id, day] {
            properties = properties
                .set_column_statistics_enabled(ColumnPath::from(key), EnabledStatistics::Page);
        }
    }
    properties.build()
}
