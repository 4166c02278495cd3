//! Requests to a ClickHouse server, over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clickhouse::Client;
use rustls::ClientConfig;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::engine;
use crate::error::Error;
use crate::tls;

/// How long an answer to a question may take.
const ANSWER: Duration = Duration::from_secs(120);
/// How long one may take that reads whole tables: 8 s were measured at 40 M rows.
const WHOLE: Duration = Duration::from_secs(4 * 3_600);
/// Bytes handed to the connection at a time.
const CHUNK: usize = 1 << 20;

/// A server and a database on it.
#[derive(Clone)]
pub struct Server {
    client: Client,
    url: String,
    given: String,
    user: String,
    password: String,
    database: String,
    insert_timeout: Duration,
    lock_stale: Duration,
    answer: Duration,
    replicated: bool,
    /// What statements carry as `log_comment`.
    comment: Option<String>,
    trust: Arc<ClientConfig>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.database, self.url)
    }
}

/// An insert of one block into one table.
pub(crate) struct Insert<'a> {
    pub(crate) sql: &'a str,
    /// Names the block: another of the same name is dropped.
    pub(crate) token: &'a str,
    /// Seconds since 1970, by the server's clock, after which it is refused.
    pub(crate) until: u64,
    /// The block, in the Native format.
    pub(crate) block: Bytes,
}

impl Server {
    /// Of a configuration; nothing is connected yet.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let trust = tls::trust(&config.url, config.ca.as_deref())?;
        let server = Self {
            client: tls::client(&trust),
            url: config.url.clone(),
            given: config.given.clone(),
            user: config.user.clone(),
            password: config.password.clone(),
            database: config.database.clone(),
            insert_timeout: config.insert_timeout,
            lock_stale: config.lock_stale,
            answer: ANSWER,
            replicated: config.replicated,
            comment: None,
            trust,
        };
        Ok(server.fresh())
    }

    /// The same with connections of its own: they belong to the runtime that uses them.
    pub(crate) fn fresh(&self) -> Self {
        let mut client = tls::client(&self.trust)
            .with_url(&self.url)
            .with_user(&self.user)
            .with_password(&self.password)
            .with_database(&self.database);
        if let Some(comment) = &self.comment {
            client = client.with_setting("log_comment", comment);
        }
        Self { client, ..self.clone() }
    }

    /// The same server, waited for as long as a look at all rows may take.
    pub(crate) fn patient(&self) -> Self {
        Self { answer: WHOLE, ..self.clone() }.fresh()
    }

    /// The same server, for statements that carry a comment.
    pub(crate) fn marked(&self, comment: String) -> Self {
        Self { comment: Some(comment), ..self.clone() }.fresh()
    }

    /// The same server, another database.
    pub(crate) fn in_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }.fresh()
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Options that name it and its log, for commands that messages offer.
    pub(crate) fn given(&self) -> &str {
        &self.given
    }

    /// How long a lock is respected whose holder gives no sign of life.
    pub(crate) fn lock_stale(&self) -> Duration {
        self.lock_stale
    }

    /// Whether its tables are replicated.
    pub(crate) fn replicated(&self) -> bool {
        self.replicated
    }

    fn failed(&self, tried: &str, error: &clickhouse::error::Error) -> Error {
        Error::of(&format!("{tried} in {} at {}", self.database, self.url), error)
    }

    /// Rows of an answer. Big integers come as numbers.
    pub(crate) async fn ask_async<T: DeserializeOwned>(
        &self,
        tried: &str,
        sql: &str,
        parameters: &[(&str, String)],
    ) -> Result<Vec<T>, Error> {
        let mut query = self
            .client
            .query(&sql.replace('?', "??"))
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("wait_end_of_query", "1");
        for (name, value) in engine::ASK_SETTINGS.iter().filter(|_| self.replicated) {
            query = query.with_setting(*name, *value);
        }
        for (name, value) in parameters {
            query = query.param(name, value);
        }
        let answer = async {
            let mut cursor = query.fetch_bytes("JSONEachRow")?;
            cursor.collect().await
        };
        let answer = tokio::time::timeout(self.answer, answer)
            .await
            .unwrap_or(Err(clickhouse::error::Error::TimedOut))
            .map_err(|error| self.failed(tried, &error))?;
        let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows = lines.map(serde_json::from_slice).collect::<Result<Vec<T>, _>>();
        rows.map_err(|error| {
            let answer = String::from_utf8_lossy(&answer);
            let answer: String = answer.chars().take(200).collect();
            Error::tables(
                format!("{tried} in {} at {}: {error} in {answer}", self.database, self.url),
                "see whether that address is a ClickHouse; version 26.9 is what this is tested on",
            )
        })
    }

    /// Runs a statement.
    pub(crate) async fn run_async(
        &self,
        tried: &str,
        sql: &str,
        settings: &[(&str, String)],
    ) -> Result<(), Error> {
        let mut query =
            self.client.query(&sql.replace('?', "??")).with_setting("wait_end_of_query", "1");
        // Some statements insert what they select.
        let replicated = engine::INSERT_SETTINGS.iter().chain(engine::ASK_SETTINGS);
        for (name, value) in replicated.filter(|_| self.replicated) {
            query = query.with_setting(*name, *value);
        }
        for (name, value) in settings {
            query = query.with_setting(*name, value);
        }
        tokio::time::timeout(self.answer, query.execute())
            .await
            .unwrap_or(Err(clickhouse::error::Error::TimedOut))
            .map_err(|error| self.failed(tried, &error))
    }

    /// Inserts one block. An error leaves open whether it is in, save one that the server gave.
    pub(crate) async fn insert(&self, tried: &str, insert: &Insert<'_>) -> Result<(), Error> {
        let mut request = self
            .client
            .insert_formatted_with(insert.sql)
            .with_timeouts(Some(self.insert_timeout), Some(self.insert_timeout));
        let replicated = engine::INSERT_SETTINGS.iter().filter(|_| self.replicated);
        for (name, value) in BLOCK_SETTINGS.iter().chain(replicated) {
            request = request.with_setting(*name, *value);
        }
        let comment = self.comment.as_deref().unwrap_or("bellhop");
        request = request.with_setting("log_comment", format!("{comment} until={}", insert.until));
        request = request.with_setting("insert_deduplication_token", insert.token);
        let sent = async {
            let mut at = 0;
            while at < insert.block.len() {
                let end = (at + CHUNK).min(insert.block.len());
                request.send(insert.block.slice(at..end)).await?;
                at = end;
            }
            request.end().await
        };
        sent.await.map_err(|error| self.failed(tried, &error))
    }

    /// How far the server's clock is ahead of ours, in seconds.
    pub(crate) async fn clock_ahead(&self) -> Result<f64, Error> {
        #[derive(serde::Deserialize)]
        struct Row {
            now: f64,
        }
        let sql = "SELECT toFloat64(toUnixTimestamp64Milli(now64(3))) / 1000 AS now";
        let rows: Vec<Row> = self.ask_async("ask the time", sql, &[]).await?;
        Ok(rows.first().map_or(0.0, |row| row.now - now()))
    }

    /// Rows of an answer.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub fn ask<T: DeserializeOwned>(
        &self,
        tried: &str,
        sql: &str,
        parameters: &[(&str, String)],
    ) -> Result<Vec<T>, Error> {
        blocking(self.fresh().ask_async(tried, sql, parameters))
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub fn run(&self, tried: &str, sql: &str) -> Result<(), Error> {
        blocking(self.fresh().run_async(tried, sql, &[]))
    }
}

/// What makes one insert one block, checked by its token in the table and in every view, and
/// refused where a column is of another type than it was sent as.
const BLOCK_SETTINGS: &[(&str, &str)] = &[
    ("async_insert", "0"),
    ("input_format_native_allow_types_conversion", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("materialized_views_ignore_errors", "0"),
    ("max_insert_threads", "1"),
    ("max_insert_block_size", "4000000"),
    ("min_insert_block_size_rows", "4000000"),
    ("min_insert_block_size_bytes", "1073741824"),
    ("wait_end_of_query", "1"),
];

/// Seconds since 1970, by our clock.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A token that nobody has used: without one, a block of the same content would be dropped.
pub(crate) fn new_token() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}/{:.9}/{count}", std::process::id(), now())
}

/// Runs one request where there is no runtime.
pub(crate) fn blocking<T>(run: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Thread)?.block_on(run)
}
