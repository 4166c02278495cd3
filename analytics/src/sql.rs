//! Answers: the rows of a query, as Arrow batches, as text, as JSON.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json::writer::{JsonArray, WriterBuilder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::Error;

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
        let options = FormatOptions::default().with_null("");
        let mut rows = Vec::with_capacity(self.len());
        for batch in &self.batches {
            let columns = batch.columns().iter();
            let columns = columns
                .map(|column| ArrayFormatter::try_new(column, &options))
                .collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                let texts = columns.iter().map(|column| column.value(row).try_to_string());
                rows.push(texts.collect::<Result<_, _>>()?);
            }
        }
        Ok(rows)
    }

    /// Its rows as a JSON array of objects, null as null.
    ///
    /// # Errors
    /// [`Error::Arrow`] for a type that has no JSON.
    pub fn json(&self) -> Result<String, Error> {
        if self.is_empty() {
            return Ok("[]".into());
        }
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, JsonArray>(Vec::new());
        for batch in &self.batches {
            writer.write(batch)?;
        }
        writer.finish()?;
        Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned())
    }
}
