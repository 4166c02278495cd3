//! Rows for other programs: CSV, JSON, Parquet; written as they come.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::properties::WriterProperties;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::json::writer::{JsonArray, WriterBuilder};

use crate::error::Error;

/// Writes rows as CSV with a header; null as nothing, instants in UTC, bytes as hexadecimal.
///
/// # Errors
/// Those of the rows; [`Error::Arrow`] when they cannot be written.
pub fn csv(
    schema: &SchemaRef,
    rows: impl Iterator<Item = Result<RecordBatch, Error>>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut writer =
        csv::WriterBuilder::new().with_header(true).with_null(String::new()).build(out);
    // The header is written with the first batch, also where there is no row.
    writer.write(&RecordBatch::new_empty(Arc::clone(schema)))?;
    for batch in rows {
        writer.write(&batch?)?;
    }
    Ok(())
}

/// Writes rows as a JSON array of objects; null as null.
///
/// # Errors
/// As [`csv`].
pub fn json(
    rows: impl Iterator<Item = Result<RecordBatch, Error>>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(out);
    for batch in rows {
        writer.write(&batch?)?;
    }
    Ok(writer.finish()?)
}

/// Writes rows to a Parquet file, which is there when it is whole; gives how many. Instants are in
/// UTC and without a zone, which spreadsheets cannot hold.
///
/// # Errors
/// Those of the rows, [`Error::File`], [`Error::Parquet`].
pub fn parquet(
    schema: &SchemaRef,
    rows: impl Iterator<Item = Result<RecordBatch, Error>>,
    path: &Path,
) -> Result<u64, Error> {
    let temporary = temporary(path);
    let written = write_parquet(schema, rows, &temporary).and_then(|count| {
        let moved = fs::rename(&temporary, path);
        moved.map(|()| count).map_err(|source| file("rename to", path)(source))
    });
    if written.is_err() {
        // It may not have been made.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_parquet(
    schema: &SchemaRef,
    rows: impl Iterator<Item = Result<RecordBatch, Error>>,
    path: &Path,
) -> Result<u64, Error> {
    let failed = |source| Error::Parquet { path: path.to_path_buf(), source };
    let schema = without_zones(schema);
    let made = File::create(path).map_err(file("create", path))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer =
        ArrowWriter::try_new(made, Arc::clone(&schema), Some(properties)).map_err(failed)?;
    let mut count = 0;
    for batch in rows {
        let batch = batch?;
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type()));
        let columns = columns.collect::<Result<_, _>>()?;
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?).map_err(failed)?;
        count += batch.num_rows() as u64;
    }
    let made = writer.into_inner().map_err(failed)?;
    made.sync_all().map_err(file("sync", path))?;
    Ok(count)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

fn without_zones(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let mut data_type = field.data_type().clone();
        if let DataType::Timestamp(unit, Some(_)) = data_type {
            data_type = DataType::Timestamp(unit, None);
        }
        // What a query promises never to be null may be so behind an outer join.
        Field::new(field.name(), data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn file(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File { operation, path, source }
}
