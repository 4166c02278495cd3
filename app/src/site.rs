//! The log that a command works on: of a folder of this machine, or of a cluster.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bellhop_bucket::Bucket;
use bellhop_core::limits::Largest;
use bellhop_core::message::LogId;
use bellhop_runtime::log::embedded::Embedded;
use bellhop_runtime::log::redpanda::{self, Redpanda};
use bellhop_runtime::log::{Consumer, Error, Identity, Log, Producer, Reader, Timestamps};
use bellhop_runtime::snapshot::{Folder, SnapshotStore};

use crate::config::Config;
use crate::{embedded, wiring};

/// Name of the snapshots' folder within that of a site.
const SNAPSHOTS: &str = "snapshots";

/// Name of the schemas' folder, in that of a site or in the user's cache.
const SCHEMAS: &str = "schemas";

/// The folder for what can be had again, by the rules of XDG.
fn cache() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let cache = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?;
    Some(cache.join("bellhop"))
}

/// Which log a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct SiteArgs {
    /// Folder of the log; on a cluster, of snapshots and lake [default: `data` of the configuration]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Which cluster a command works on.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Brokers of a cluster that holds the log [default: `kafka.brokers` of the configuration]
    #[arg(long, value_name = "HOST:PORT,..")]
    broker: Option<String>,
    /// Its schema registry [default: `kafka.registry` of the configuration]
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// What its topics' names begin with [default: `kafka.prefix` of the configuration]
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
}

impl ClusterArgs {
    /// Whether a cluster is named.
    pub(crate) fn is_named(&self, config: &Config) -> bool {
        self.broker.is_some() || config.kafka.brokers.is_some()
    }

    /// The options that were given.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let options = [
            ("--broker", &self.broker),
            ("--registry", &self.registry),
            ("--prefix", &self.prefix),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// How it is reached.
    ///
    /// # Errors
    /// When the brokers or the registry are not named.
    pub(crate) fn connection(&self, config: &Config) -> Result<redpanda::Config> {
        let mut kafka = config.kafka.clone();
        kafka.brokers = self.broker.clone().or(kafka.brokers);
        kafka.registry = self.registry.clone().or(kafka.registry);
        kafka.prefix = self.prefix.clone().unwrap_or(kafka.prefix);
        let mut connection = kafka.connection(config.name())?;
        connection.schemas = cache().map(|cache| cache.join(SCHEMAS)).into_iter().collect();
        connection.rules = config.rules();
        Ok(connection)
    }
}

/// Where a log is.
#[derive(Debug)]
pub(crate) enum Site {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// On a cluster; what belongs to this machine is in the folder.
    Cluster(Box<redpanda::Config>, Option<PathBuf>),
}

impl SiteArgs {
    /// The options that were given.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&'static str, String)> {
        let data = self.data.iter().map(|folder| ("--data", folder.display().to_string()));
        data.chain(self.cluster.options().map(|(name, value)| (name, value.to_owned())))
    }

    /// The site: a cluster if one is named, else a folder.
    ///
    /// # Errors
    /// When neither is named.
    pub(crate) fn site(&self, config: &Config) -> Result<Site> {
        let folder = self.data.clone().or_else(|| config.data.clone());
        if self.cluster.is_named(config) {
            let mut connection = self.cluster.connection(config)?;
            if let Some(folder) = &folder {
                connection.schemas.insert(0, folder.join(SCHEMAS));
            }
            return Ok(Site::Cluster(Box::new(connection), folder));
        }
        folder.map(Site::Folder).context(
            "no folder is given: add --data DIR, or set data in bellhop.toml or BELLHOP_DATA; for a log on a cluster, --broker HOST:PORT",
        )
    }
}

/// Options that name a ClickHouse, a log and the configuration as they were given, for a shell.
pub(crate) fn given<'a>(
    clickhouse: Option<&str>,
    site: impl IntoIterator<Item = (&'a str, String)>,
) -> String {
    let clickhouse = clickhouse.map(|url| ("--clickhouse", url.to_owned()));
    let file = Config::file_given().map(|file| ("--config", file.display().to_string()));
    let options = site.into_iter().chain(clickhouse).chain(file);
    options.map(|(name, value)| format!("{name} {}", quoted(&value))).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.:,_-+=@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "in {}", folder.display()),
            Self::Cluster(connection, _) => {
                write!(f, "on {} ({}.*)", connection.brokers, connection.prefix)
            }
        }
    }
}

impl Site {
    /// The folder for what belongs to this machine.
    ///
    /// # Errors
    /// When none is named.
    pub(crate) fn folder(&self) -> Result<&Path> {
        match self {
            Self::Folder(folder) | Self::Cluster(_, Some(folder)) => Ok(folder),
            Self::Cluster(_, None) => anyhow::bail!(
                "no folder is given: add --data DIR for the lake and the snapshots of this machine, or set data in bellhop.toml"
            ),
        }
    }

    /// Where snapshots lie: in a bucket, or on this machine; a cluster may be worked on without.
    ///
    /// # Errors
    /// When the bucket's address or a setting cannot be used.
    pub(crate) fn snapshots(&self, config: &Config) -> Result<Option<Arc<dyn SnapshotStore>>> {
        if let Some(url) = &config.snapshots {
            let bucket = Bucket::open(url, std::env::vars());
            return Ok(Some(Arc::new(bucket.context("keep snapshots")?)));
        }
        let folder = self.folder().ok();
        Ok(folder.map(|folder| Arc::new(Folder::at(&folder.join(SNAPSHOTS))) as _))
    }

    /// A reader of its log that asks no other process for it.
    ///
    /// # Errors
    /// As [`Site::reader`]; and in a folder, when a process runs on it.
    pub(crate) fn free_reader(&self) -> Result<Box<dyn Reader>> {
        match self {
            Self::Folder(folder) => embedded::free_reader(folder),
            Self::Cluster(..) => self.reader(),
        }
    }

    /// A reader of its log.
    ///
    /// # Errors
    /// When there is none, or it cannot be reached.
    pub(crate) fn reader(&self) -> Result<Box<dyn Reader>> {
        match self {
            Self::Folder(folder) => embedded::reader(folder),
            Self::Cluster(..) => Ok(self.open()?.reader()),
        }
    }

    /// Its log: made when there is none in the folder, `log_id` when there is no event on the topics
    /// of the cluster. Without `timestamps` a folder takes those of the clock, and a cluster those of
    /// the configuration.
    ///
    /// # Errors
    /// When it is another kind of log than asked for, or cannot be reached or written.
    pub(crate) fn open_or_create(
        &self,
        timestamps: Option<Timestamps>,
        log_id: LogId,
        config: &Config,
    ) -> Result<OpenLog> {
        match self {
            Self::Folder(folder) => {
                let timestamps = timestamps.unwrap_or(Timestamps::Append);
                Ok(OpenLog::Embedded(embedded::open_or_create(folder, timestamps, log_id, config)?))
            }
            Self::Cluster(connection, _) => {
                let remembered = Some(config.remembered());
                let largest = Some(Largest::of(config.value_bytes_max as usize));
                let connection = redpanda::Config { remembered, largest, ..(**connection).clone() };
                connect(&connection, timestamps.or(connection.timestamps), log_id)
            }
        }
    }

    /// Its log as it is, for a tool: live or a replay of the past.
    ///
    /// # Errors
    /// When there is none, or it cannot be reached.
    pub(crate) fn open(&self) -> Result<OpenLog> {
        match self {
            Self::Folder(folder) => Ok(OpenLog::Embedded(embedded::open(folder)?)),
            Self::Cluster(connection, _) => connect(connection, None, LogId(wiring::random_id())),
        }
    }
}

fn connect(
    connection: &redpanda::Config,
    timestamps: Option<Timestamps>,
    log_id: LogId,
) -> Result<OpenLog> {
    let connection = redpanda::Config { timestamps, ..connection.clone() };
    Ok(OpenLog::Redpanda(Redpanda::connect(&connection, log_id)?))
}

/// A log that this process works on; clones are the same.
#[derive(Clone)]
pub(crate) enum OpenLog {
    Embedded(Embedded),
    Redpanda(Redpanda),
}

impl OpenLog {
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Embedded(log) => Reader::identity(log),
            Self::Redpanda(log) => log.identity(),
        }
    }

    /// The name of a topic of bellhop (`bellhop.replies`) there.
    pub(crate) fn named(&self, plain: &str) -> String {
        match self {
            Self::Embedded(_) => plain.to_owned(),
            Self::Redpanda(log) => log.config().named(plain),
        }
    }

    /// Joins the group of workers.
    pub(crate) fn join(&self) -> Result<Box<dyn Log>, Error> {
        Ok(match self {
            Self::Embedded(log) => Box::new(log.join()),
            Self::Redpanda(log) => Box::new(log.join()?),
        })
    }

    pub(crate) fn reader(&self) -> Box<dyn Reader> {
        match self {
            Self::Embedded(log) => Box::new(log.clone()),
            Self::Redpanda(log) => Box::new(log.reader()),
        }
    }

    pub(crate) fn producer(&self) -> Box<dyn Producer> {
        match self {
            Self::Embedded(log) => Box::new(log.clone()),
            Self::Redpanda(log) => Box::new(log.sender()),
        }
    }

    /// Joins a group that reads the events.
    pub(crate) fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, Error> {
        Ok(match self {
            Self::Embedded(log) => Box::new(log.consume(group)),
            Self::Redpanda(log) => Box::new(log.consume(group)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_repeated_as_a_shell_takes_them() {
        let site = [("--data", "./my data".to_owned()), ("--broker", "a:1,b:2".to_owned())];
        assert_eq!(
            given(Some("http://ch:8123"), site),
            "--data './my data' --broker a:1,b:2 --clickhouse http://ch:8123"
        );
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(given(None, []), "");
    }
}
