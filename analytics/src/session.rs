//! Queries over the tables: of a lake's files, or of rows in memory.
//!
//! A session sees the tables as they were when it was made. It has threads of its own and blocks
//! its caller, so it must not be used from asynchronous code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bellhop_schemas::night::Night;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Date32Type, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::{Builder, Runtime};

use crate::column;
use crate::error::Error;
use crate::function;
use crate::kpi::{Facts, Plan, Query};
use crate::lake::{self, Held, Part, Waiting};
use crate::sql::{Answer, Rows};
use crate::table::{Table, view_schema};
use crate::view;
use crate::warm::Warm;

/// More threads than this cost more in handing over than they win, at the size of some hotels.
const THREADS_MAX: usize = 4;
/// What sorts, joins and groups of a query may hold in memory; sorts and groups go to disk beyond.
const QUERY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Tables, and what answers questions about them.
pub struct Session {
    runtime: Runtime,
    context: SessionContext,
    /// What KPIs read, in memory.
    warm: Option<Warm>,
    facts: OnceLock<Facts>,
    /// Keeps the files of a lake while they are asked.
    held: Option<Held>,
}

impl Session {
    /// Over the files of a lake; a folder without one has empty tables.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Missing`], [`Error::Query`], [`Error::Runtime`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let held = Held::open(folder)?;
        let mut tables = Vec::with_capacity(Table::ALL.len());
        for table in Table::ALL {
            tables.push(provider(table, &lake::files(&held, table)?)?);
        }
        Self::over(tables, Some(held))
    }

    /// Over rows that an [`crate::expand::Expander`] gave.
    ///
    /// # Errors
    /// [`Error::Query`], [`Error::Runtime`].
    pub fn of_batches(batches: &[(Table, RecordBatch)]) -> Result<Self, Error> {
        let mut tables = Vec::with_capacity(Table::ALL.len());
        for table in Table::ALL {
            let of_table = batches.iter().filter(|(of, _)| *of == table);
            let of_table = of_table.map(|(_, batch)| as_views(table, batch));
            tables.push(in_memory(&view_schema(table), of_table.collect::<Result<_, _>>()?)?);
        }
        Self::over(tables, None)
    }

    /// Over a provider for each table, in the order of [`Table::ALL`].
    fn over(tables: Vec<Arc<dyn TableProvider>>, held: Option<Held>) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads())
            .thread_name("bellhop-query")
            .build()
            .map_err(|source| Error::Runtime { source })?;
        let context = context()?;
        for (table, rows) in Table::ALL.into_iter().zip(tables) {
            view::register(&context, table, rows)?;
        }
        runtime.block_on(view::register_views(&context))?;
        Ok(Self { runtime, context, warm: None, facts: OnceLock::new(), held })
    }

    /// The parts of the lake that are asked, by partition and offset; none of rows in memory.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        self.held.as_ref().map_or(&[], Held::parts)
    }

    /// How many events of the lake have no rows: answers lack them.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.parts().iter().map(|part| part.unread).sum()
    }

    /// The partitions of the lake that wait for a schema: answers lack what is behind.
    #[must_use]
    pub fn waiting(&self) -> &[Waiting] {
        self.held.as_ref().map_or(&[], Held::waiting)
    }

    /// Takes into memory what KPIs read, for many of them in a row; SQL goes on reading the files.
    ///
    /// # Errors
    /// [`Error::Query`] when a file cannot be read.
    pub fn load(mut self) -> Result<Self, Error> {
        self.warm = Some(self.runtime.block_on(Warm::load(&self.context, context()?))?);
        Ok(self)
    }

    /// Answers a question in SQL; it can read the tables and change nothing. All rows are held in
    /// memory: [`Session::rows`] gives them as they come.
    ///
    /// # Errors
    /// [`Error::Query`].
    pub fn sql(&self, text: &str) -> Result<Answer, Error> {
        self.ask(&self.context, text)
    }

    /// Answers a question in SQL, row by row; it can read the tables and change nothing.
    ///
    /// # Errors
    /// [`Error::Query`], here and while the rows come.
    pub fn rows(&self, text: &str) -> Result<Rows<'_>, Error> {
        let (schema, stream) = self.runtime.block_on(async {
            let frame = self.context.sql_with_options(text, read_only()).await?;
            let schema = Arc::clone(frame.schema().inner());
            Ok::<_, Error>((schema, frame.execute_stream().await?))
        })?;
        Ok(Rows::new(&self.runtime, schema, stream))
    }

    /// Answers a KPI: its dimensions in the order asked, then the value under the KPI's name, then
    /// `currency` where it is money (in minor units); a row a group, in the order of the dimensions.
    ///
    /// # Errors
    /// [`Error::BadPeriod`], [`Error::Query`].
    pub fn kpi(&self, query: &Query) -> Result<Answer, Error> {
        let Some(warm) = &self.warm else {
            return self.sql(&self.explain(query)?);
        };
        let plan = self.plan(query, Some(warm))?;
        warm.codes().decode(query, &self.ask(warm.context(), &plan.sql()?)?)
    }

    /// The SQL that answers a KPI.
    ///
    /// # Errors
    /// As [`Session::kpi`].
    pub fn explain(&self, query: &Query) -> Result<String, Error> {
        self.plan(query, None)?.sql()
    }

    /// The nights over which a KPI divides by what there was to sell: of each property that has
    /// some, from the first to the last night on the books as it was known then, as far as the query
    /// leaves it open.
    ///
    /// # Errors
    /// As [`Session::kpi`].
    pub fn periods(&self, query: &Query) -> Result<Vec<Period>, Error> {
        let plan = Plan { query, facts: self.facts()?, codes: None };
        let names = self.properties()?;
        let answer = self.sql(&plan.period_sql()?)?;
        let periods =
            answer.texts()?.into_iter().zip(edges(&answer)?).map(|(row, (first, last))| {
                let id = row.into_iter().next().unwrap_or_default();
                let named = names.iter().find(|property| property.id == id);
                let property = named.map_or(id, |property| property.label.clone());
                Period { property, first, last }
            });
        Ok(periods.collect())
    }

    /// The id of the property that somebody names by its code or id.
    ///
    /// # Errors
    /// [`Error::UnknownProperty`], [`Error::AmbiguousProperty`], [`Error::Query`].
    pub fn property(&self, named: &str) -> Result<String, Error> {
        let properties = self.properties()?;
        let id = named.to_ascii_lowercase();
        let found = properties.iter().filter(|it| it.code == named || it.id == id);
        let ids: Vec<_> = found.map(|property| property.id.clone()).collect();
        match ids.as_slice() {
            [id] => Ok(id.clone()),
            [] => {
                let known = properties.iter().map(|it| format!("\"{}\" ({})", it.code, it.id));
                let known = known.collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "none yet".to_owned() } else { known };
                Err(Error::UnknownProperty { named: named.to_owned(), known })
            }
            ids => Err(Error::AmbiguousProperty { code: named.to_owned(), ids: ids.join(", ") }),
        }
    }

    /// Whether any room was ever out of order.
    ///
    /// # Errors
    /// [`Error::Query`].
    pub fn has_out_of_order(&self) -> Result<bool, Error> {
        Ok(!self.sql("SELECT 1 FROM supply WHERE out_of_order <> 0 LIMIT 1")?.is_empty())
    }

    fn plan<'a>(&self, query: &'a Query, warm: Option<&'a Warm>) -> Result<Plan<'a>, Error> {
        let codes = warm.map(Warm::codes);
        let mut plan = Plan { query, facts: self.facts()?, codes };
        if query.kpi.divides_by_supply() && (query.from.is_none() || query.to.is_none()) {
            let context = warm.map_or(&self.context, Warm::context);
            let edges = edges(&self.ask(context, &plan.period_sql()?)?)?;
            plan.facts.hull = edges
                .into_iter()
                .filter(|(first, last)| first <= last)
                .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        }
        Ok(plan)
    }

    /// What the plans of KPIs need to know beforehand; asked once.
    fn facts(&self) -> Result<Facts, Error> {
        if let Some(facts) = self.facts.get() {
            return Ok(*facts);
        }
        let apart = !self.sql("SELECT 1 FROM products WHERE NOT statistics LIMIT 1")?.is_empty();
        Ok(*self.facts.get_or_init(|| Facts { apart, hull: None }))
    }

    fn properties(&self) -> Result<Vec<Property>, Error> {
        let rows =
            self.sql("SELECT property_id, code FROM properties ORDER BY code, property_id")?;
        let pairs = rows.texts()?.into_iter().filter_map(|row| {
            let [id, code] = row.try_into().ok()?;
            Some((id, code))
        });
        let pairs: Vec<(String, String)> = pairs.collect();
        Ok(label(&pairs))
    }

    fn ask(&self, context: &SessionContext, text: &str) -> Result<Answer, Error> {
        self.runtime.block_on(async {
            let frame = context.sql_with_options(text, read_only()).await?;
            let schema = Arc::clone(frame.schema().inner());
            Ok(Answer::new(schema, frame.collect().await?))
        })
    }
}

/// The nights over which a property is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// Its code, with its id where two have the same.
    pub property: String,
    /// First night.
    pub first: Night,
    /// Last night.
    pub last: Night,
}

/// A property and what it is called.
pub(crate) struct Property {
    pub(crate) id: String,
    pub(crate) code: String,
    /// The code, with the id where two have the same.
    pub(crate) label: String,
}

/// Labels for ids and codes.
pub(crate) fn label(properties: &[(String, String)]) -> Vec<Property> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, code) in properties {
        *counts.entry(code).or_default() += 1;
    }
    let labels = properties.iter().map(|(id, code)| {
        let is_one = counts.get(code.as_str()) == Some(&1);
        let label = if is_one { code.clone() } else { format!("{code} ({id})") };
        Property { id: id.clone(), code: code.clone(), label }
    });
    labels.collect()
}

/// Rows of [`Plan::period_sql`]: first and last night.
fn edges(answer: &Answer) -> Result<Vec<(Night, Night)>, Error> {
    let mut edges = Vec::new();
    for batch in answer.batches() {
        let [first, last] = [1, 2].map(|column| cast(batch.column(column), &DataType::Date32));
        let (first, last) = (first?, last?);
        let (first, last) = (first.as_primitive::<Date32Type>(), last.as_primitive::<Date32Type>());
        for (first, last) in first.iter().zip(last) {
            // A property without a night has no row, so both are there.
            edges.extend(first.zip(last).map(|(first, last)| (Night(first), Night(last))));
        }
    }
    Ok(edges)
}

fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// The files of a table; no rows where there is none.
fn provider(table: Table, files: &[PathBuf]) -> Result<Arc<dyn TableProvider>, Error> {
    if files.is_empty() {
        return in_memory(&view_schema(table), Vec::new());
    }
    let urls = files.iter().map(|path| ListingTableUrl::parse(path.to_string_lossy()));
    let options =
        ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config = ListingTableConfig::new_with_multi_paths(urls.collect::<Result<Vec<_>, _>>()?)
        .with_listing_options(options)
        .with_schema(view_schema(table));
    Ok(Arc::new(ListingTable::try_new(config)?))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

fn context() -> Result<SessionContext, Error> {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads())
        .with_collect_statistics(false)
        .with_information_schema(true);
    config.options_mut().execution.time_zone = Some(column::UTC.to_owned());
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(QUERY_BYTES_MAX)))
        .build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    for function in function::all() {
        let function: ScalarUDF = function;
        context.register_udf(function);
    }
    Ok(context)
}

/// Rows in memory, dealt out to as many partitions as there are threads.
pub(crate) fn in_memory(
    schema: &SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<Arc<dyn TableProvider>, Error> {
    let mut partitions = vec![Vec::new(); threads()];
    for (number, batch) in batches.into_iter().enumerate() {
        let slot = number % partitions.len();
        partitions[slot].push(batch);
    }
    Ok(Arc::new(MemTable::try_new(Arc::clone(schema), partitions)?))
}

/// Registers rows in memory.
pub(crate) fn keep(
    context: &SessionContext,
    name: &str,
    schema: &SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<(), Error> {
    context.register_table(name, in_memory(schema, batches)?)?;
    Ok(())
}

fn as_views(table: Table, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let schema = view_schema(table);
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_, _>>()?)?)
}
