//! Queries over the tables: of a lake's files, or of rows in memory.
//!
//! A session sees the tables as they were when it was made. It has threads of its own and blocks
//! its caller, so it must not be used from asynchronous code.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Date32Type, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::{Builder, Runtime};

use crate::error::Error;
use crate::kpi::{Facts, Period, Plan, Query};
use crate::lake;
use crate::sql::Answer;
use crate::table::{Table, view_schema};
use crate::warm::Warm;

/// More threads than this cost more in handing over than they win, at the size of some hotels.
const THREADS_MAX: usize = 4;

/// Tables, and what answers questions about them.
pub struct Session {
    runtime: Runtime,
    context: SessionContext,
    /// What KPIs read, in memory.
    warm: Option<Warm>,
    facts: OnceLock<Facts>,
}

impl Session {
    /// Over the files of a lake; a folder without one has empty tables.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Query`], [`Error::Runtime`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let session = Self::empty()?;
        for table in Table::ALL {
            let files = lake::files(folder, table)?;
            let urls = files.iter().map(|path| ListingTableUrl::parse(path.to_string_lossy()));
            let urls = urls.collect::<Result<Vec<_>, _>>()?;
            let provider: Arc<dyn TableProvider> = if urls.is_empty() {
                Arc::new(MemTable::try_new(view_schema(table), vec![Vec::new()])?)
            } else {
                let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
                    .with_file_extension(".parquet");
                let config = ListingTableConfig::new_with_multi_paths(urls)
                    .with_listing_options(options)
                    .with_schema(view_schema(table));
                Arc::new(ListingTable::try_new(config)?)
            };
            session.context.register_table(table.name(), provider)?;
        }
        Ok(session)
    }

    /// Over rows that an [`crate::expand::Expander`] gave.
    ///
    /// # Errors
    /// [`Error::Query`], [`Error::Runtime`].
    pub fn of_batches(batches: &[(Table, RecordBatch)]) -> Result<Self, Error> {
        let session = Self::empty()?;
        for table in Table::ALL {
            let of_table = batches.iter().filter(|(of, _)| *of == table);
            let of_table =
                of_table.map(|(_, batch)| as_views(table, batch)).collect::<Result<_, _>>()?;
            keep(&session.context, table.name(), &view_schema(table), of_table)?;
        }
        Ok(session)
    }

    /// Takes into memory what KPIs read, for many of them in a row; SQL goes on reading the files.
    ///
    /// # Errors
    /// [`Error::Query`] when a file cannot be read.
    pub fn load(mut self) -> Result<Self, Error> {
        self.warm = Some(self.runtime.block_on(Warm::load(&self.context, context()))?);
        Ok(self)
    }

    /// Answers a question in SQL; it can read the tables and change nothing.
    ///
    /// # Errors
    /// [`Error::Query`].
    pub fn sql(&self, text: &str) -> Result<Answer, Error> {
        self.ask(&self.context, text)
    }

    /// Answers a KPI: its dimensions in the order asked, then the value under the KPI's name, then
    /// `currency` where it is money; a row a group, in the order of the dimensions.
    ///
    /// # Errors
    /// [`Error::BadPeriod`], [`Error::Query`].
    pub fn kpi(&self, query: &Query) -> Result<Answer, Error> {
        let Some(warm) = &self.warm else {
            return self.sql(&self.explain(query)?);
        };
        let plan = Plan { query, facts: self.facts()?, codes: Some(warm.codes()) };
        warm.codes().decode(query, &self.ask(warm.context(), &plan.sql()?)?)
    }

    /// The SQL that answers a KPI.
    ///
    /// # Errors
    /// As [`Session::kpi`].
    pub fn explain(&self, query: &Query) -> Result<String, Error> {
        Plan { query, facts: self.facts()?, codes: None }.sql()
    }

    fn ask(&self, context: &SessionContext, text: &str) -> Result<Answer, Error> {
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
        self.runtime.block_on(async {
            let frame = context.sql_with_options(text, options).await?;
            let schema = Arc::clone(frame.schema().inner());
            Ok(Answer::new(schema, frame.collect().await?))
        })
    }

    fn empty() -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads())
            .thread_name("bellhop-query")
            .build()
            .map_err(|source| Error::Runtime { source })?;
        Ok(Self { runtime, context: context(), warm: None, facts: OnceLock::new() })
    }

    /// What the plans of KPIs need to know beforehand; asked once.
    pub(crate) fn facts(&self) -> Result<&Facts, Error> {
        if let Some(facts) = self.facts.get() {
            return Ok(facts);
        }
        let mut facts = Facts::default();
        let nights = self.sql(
            "SELECT property_id, min(stay_night), max(stay_night) FROM room_nights \
             WHERE kind = 'room' GROUP BY property_id ORDER BY property_id",
        )?;
        for batch in nights.batches() {
            let first = batch.column(1).as_primitive::<Date32Type>();
            let last = batch.column(2).as_primitive::<Date32Type>();
            for row in 0..batch.num_rows() {
                facts.periods.push(Period::of_months(
                    text(batch, 0, row),
                    first.value(row),
                    last.value(row),
                ));
            }
        }
        let products = self.sql(
            "SELECT property_id, product FROM products WHERE NOT statistics \
             ORDER BY property_id, product",
        )?;
        for batch in products.batches() {
            let rows = 0..batch.num_rows();
            facts.apart.extend(rows.map(|row| (text(batch, 0, row), text(batch, 1, row))));
        }
        Ok(self.facts.get_or_init(|| facts))
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

fn context() -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(threads())
        .with_collect_statistics(false)
        .with_information_schema(true);
    SessionContext::new_with_config(config)
}

/// Registers rows in memory, dealt out to as many partitions as there are threads.
pub(crate) fn keep(
    context: &SessionContext,
    name: &str,
    schema: &SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<(), Error> {
    let mut partitions = vec![Vec::new(); threads()];
    for (number, batch) in batches.into_iter().enumerate() {
        let slot = number % partitions.len();
        partitions[slot].push(batch);
    }
    let kept = MemTable::try_new(Arc::clone(schema), partitions)?;
    context.register_table(name, Arc::new(kept))?;
    Ok(())
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    batch.column(column).as_string_view().value(row).to_owned()
}

fn as_views(table: Table, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let schema = view_schema(table);
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_, _>>()?)?)
}
