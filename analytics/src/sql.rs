//! Answers: the rows of a query, as Arrow batches: all of them, or as they come.

pub use datafusion::arrow::array::RecordBatch as Batch;
use datafusion::arrow::array::RecordBatch;
pub use datafusion::arrow::datatypes::SchemaRef as Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt as _;
use tokio::runtime::Runtime;

use crate::error::Error;
use crate::export;

/// The rows of a query as they come; only those under way are in memory.
pub struct Rows<'s> {
    runtime: &'s Runtime,
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
}

impl<'s> Rows<'s> {
    pub(crate) fn new(
        runtime: &'s Runtime,
        schema: SchemaRef,
        stream: SendableRecordBatchStream,
    ) -> Self {
        Self { runtime, schema, stream }
    }

    /// Names and types of its columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.runtime.block_on(self.stream.next());
        next.map(|batch| batch.map_err(Error::from))
    }
}

/// The rows that a query gave.
#[derive(Debug, Clone)]
pub struct Answer {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Answer {
    pub(crate) fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }

    /// Names and types of its columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Its rows.
    #[must_use]
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Its rows one batch after another, as those of a query that streams.
    pub fn into_rows(self) -> impl Iterator<Item = Result<RecordBatch, Error>> {
        self.batches.into_iter().map(Ok)
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of its columns.
    #[must_use]
    pub fn header(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Its rows as text, null as nothing.
    ///
    /// # Errors
    /// [`Error::Arrow`] for a value that has no text.
    pub fn texts(&self) -> Result<Vec<Vec<String>>, Error> {
        let mut rows = Vec::with_capacity(self.len());
        for batch in &self.batches {
            texts(batch, &mut rows)?;
        }
        Ok(rows)
    }

    /// Its rows as a JSON array of objects, null as null.
    ///
    /// # Errors
    /// [`Error::Arrow`] for a type that has no JSON.
    pub fn json(&self) -> Result<String, Error> {
        let mut text = Vec::new();
        export::json(self.batches.iter().cloned().map(Ok), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Adds the rows of a batch as text, null as nothing.
///
/// # Errors
/// [`Error::Arrow`] for a value that has no text.
pub fn texts(batch: &RecordBatch, rows: &mut Vec<Vec<String>>) -> Result<(), Error> {
    let options = FormatOptions::default().with_null("");
    let columns = batch.columns().iter();
    let columns = columns
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let texts = columns.iter().map(|column| column.value(row).try_to_string());
        rows.push(texts.collect::<Result<_, _>>()?);
    }
    Ok(())
}
