//! How the answers of `kpi` and `sql` are given: a table for people, files for programs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use bellhop_analytics::{Error, export, sql};
use comfy_table::CellAlignment;

use crate::{output, words};

/// Rows of a table: a person reads no more, and a table is laid out in memory.
const TABLE_ROWS_MAX: usize = 1_000;

/// What an answer is written as.
#[derive(Debug, clap::Args)]
pub(crate) struct Shape {
    /// Print CSV with a header
    #[arg(long, conflicts_with_all = ["json", "parquet"])]
    csv: bool,
    /// Print a JSON array of objects
    #[arg(long, conflicts_with = "parquet")]
    json: bool,
    /// Write a Parquet file
    #[arg(long, value_name = "FILE")]
    parquet: Option<PathBuf>,
}

/// Names and types of the columns of an answer, and its rows as they come.
pub(crate) struct Rows<I> {
    pub(crate) schema: sql::Schema,
    pub(crate) rows: I,
}

impl Shape {
    /// Whether a person reads it.
    pub(crate) fn is_table(&self) -> bool {
        !self.csv && !self.json && self.parquet.is_none()
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// Those of its rows, and when it cannot be written.
    pub(crate) fn write<I>(&self, answer: Rows<I>, out: &mut impl Write) -> Result<()>
    where
        I: Iterator<Item = Result<sql::Batch, Error>>,
    {
        let Rows { schema, mut rows } = answer;
        if let Some(path) = &self.parquet {
            let count = export::parquet(&schema, rows, path)?;
            writeln!(out, "{} in {}", words::count(count, "row"), path.display())?;
            return Ok(());
        }
        if self.csv {
            return Ok(export::csv(&schema, rows, out)?);
        }
        if self.json {
            export::json(rows, out)?;
            writeln!(out)?;
            return Ok(());
        }
        let (mut shown, mut left) = (Vec::new(), 0_u64);
        for batch in &mut rows {
            let batch = batch?;
            let room = TABLE_ROWS_MAX - shown.len();
            sql::texts(&batch.slice(0, room.min(batch.num_rows())), &mut shown)?;
            left += batch.num_rows().saturating_sub(room) as u64;
        }
        table(&schema, shown, left, out)
    }
}

/// Prints rows under the names of their columns, no more than a person reads, and says how many are
/// left; `left` are those that the rows lack already.
///
/// # Errors
/// When nobody reads.
pub(crate) fn table(
    schema: &sql::Schema,
    mut rows: Vec<Vec<String>>,
    left: u64,
    out: &mut impl Write,
) -> Result<()> {
    let left = left + rows.len().saturating_sub(TABLE_ROWS_MAX) as u64;
    rows.truncate(TABLE_ROWS_MAX);
    let header: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut table = output::table(&header, header.len());
    for (column, field) in table.column_iter_mut().zip(schema.fields()) {
        if field.data_type().is_numeric() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.add_rows(rows);
    writeln!(out, "{table}")?;
    if left > 0 {
        writeln!(
            out,
            "{} more: --csv, --json or --parquet FILE give all of them",
            words::count(left, "row")
        )?;
    }
    Ok(())
}
