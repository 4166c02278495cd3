//! The table `kafka` of the configuration: how the cluster is reached.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bellhop_runtime::log::Timestamps;
use bellhop_runtime::log::redpanda::{self, Guarantee, Sasl, Secret, Security, Settings};
use bellhop_runtime::registry;
use serde::{Deserialize, Serialize};

use super::hidden::Hidden;

/// How the cluster is reached, and what its topics and groups are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kafka {
    /// `host:port` of brokers, by commas; with it, the log is on the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) brokers: Option<String>,
    /// Address of the schema registry, such as `http://localhost:8081`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registry: Option<String>,
    /// A user of the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry_user: Option<String>,
    /// Its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry_password: Option<Hidden>,
    /// What topic names begin with.
    pub(crate) prefix: String,
    /// Whether the topic of commands takes the time of the brokers (live), or that of the
    /// producers (replays of the past).
    timestamps: Times,
    /// What is promised of a batch: `exactly_once`, a transaction; or `at_least_once`, whose events
    /// may come twice after a worker was lost.
    processing_guarantee: Processing,
    /// Group of the workers.
    group: String,
    /// Name of this process among the workers, for static membership.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// TLS.
    tls: bool,
    /// Certificates of the authority, for brokers and registry (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    /// Our certificate (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_file: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
    /// Password of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_password: Option<Hidden>,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    #[serde(skip_serializing_if = "Option::is_none")]
    sasl_mechanism: Option<String>,
    /// A user of the brokers.
    #[serde(skip_serializing_if = "Option::is_none")]
    sasl_user: Option<String>,
    /// Its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    sasl_password: Option<Hidden>,
    /// Milliseconds after which a silent worker loses its partitions.
    session_timeout_ms: u64,
    /// Milliseconds after which brokers abort an open transaction.
    transaction_timeout_ms: u64,
    /// More settings of librdkafka, by its names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    client: BTreeMap<String, Hidden>,
}

/// Where the times of commands come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Times {
    /// The clock, when a command is appended
    Append,
    /// The field "at" of the command
    Create,
}

impl From<Times> for Timestamps {
    fn from(times: Times) -> Self {
        match times {
            Times::Append => Self::Append,
            Times::Create => Self::Create,
        }
    }
}

/// What is promised of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Processing {
    ExactlyOnce,
    AtLeastOnce,
}

impl From<Processing> for Guarantee {
    fn from(processing: Processing) -> Self {
        match processing {
            Processing::ExactlyOnce => Self::ExactlyOnce,
            Processing::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: None,
            registry: None,
            registry_user: None,
            registry_password: None,
            prefix: "bellhop".to_owned(),
            timestamps: Times::Append,
            processing_guarantee: Processing::ExactlyOnce,
            group: "bellhop".to_owned(),
            instance: None,
            tls: false,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            key_password: None,
            sasl_mechanism: None,
            sasl_user: None,
            sasl_password: None,
            session_timeout_ms: 6_000,
            transaction_timeout_ms: 10_000,
            client: BTreeMap::new(),
        }
    }
}

impl Kafka {
    /// Refuses settings of security that nothing would use: the connection would be less secure
    /// than whoever wrote them believes.
    ///
    /// # Errors
    /// Which setting lacks which other.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |set: &str, lacks: &str, what: &str| {
            bail!("kafka.{set} is set and kafka.{lacks} is not: {what}")
        };
        let registry = self.registry.as_deref().unwrap_or_default();
        let https = registry.starts_with("https://");
        if !self.tls {
            let files =
                [("certificate_file", &self.certificate_file), ("key_file", &self.key_file)];
            if let Some((name, _)) = files.iter().find(|(_, file)| file.is_some()) {
                return refuse(name, "tls", "connections would be plain text; set tls = true");
            }
            if self.ca_file.is_some() && !https {
                let what = "connections would be plain text; set tls = true (or give the registry as https://..)";
                return refuse("ca_file", "tls", what);
            }
        }
        let pairs = [
            (
                "certificate_file",
                self.certificate_file.is_some(),
                "key_file",
                self.key_file.is_some(),
            ),
            (
                "key_file",
                self.key_file.is_some(),
                "certificate_file",
                self.certificate_file.is_some(),
            ),
            ("key_password", self.key_password.is_some(), "key_file", self.key_file.is_some()),
            (
                "registry_password",
                self.registry_password.is_some(),
                "registry_user",
                self.registry_user.is_some(),
            ),
        ];
        if let Some((set, _, lacks, _)) = pairs.iter().find(|(_, set, _, needed)| *set && !needed) {
            return refuse(set, lacks, "one is of no use without the other; set both, or neither");
        }
        self.sasl().map(drop)
    }

    /// As the log wants it, for a process of that name.
    ///
    /// # Errors
    /// When something is missing.
    pub(crate) fn connection(&self, name: String) -> Result<redpanda::Config> {
        let brokers = self.brokers.as_deref().context(
            "no brokers are named: add --broker HOST:PORT, or set brokers in [kafka] of bellhop.toml",
        )?;
        let registry = self.registry.as_deref().context(
            "no schema registry is named: add --registry URL, or set registry in [kafka] of bellhop.toml",
        )?;
        let mut connection = redpanda::Config::new(brokers, registry);
        connection.registry = registry::Config {
            user: self.registry_user.clone(),
            password: secret(self.registry_password.as_ref()),
            ca_file: self.ca_file.clone(),
            ..registry::Config::new(registry)
        };
        connection.name = name;
        connection.prefix.clone_from(&self.prefix);
        connection.timestamps = Some(self.timestamps.into());
        connection.guarantee = self.processing_guarantee.into();
        connection.group.clone_from(&self.group);
        connection.instance.clone_from(&self.instance);
        connection.security = Security {
            tls: self.tls,
            ca_file: self.ca_file.clone(),
            certificate_file: self.certificate_file.clone(),
            key_file: self.key_file.clone(),
            key_password: secret(self.key_password.as_ref()),
            sasl: self.sasl()?,
        };
        connection.session_timeout = Duration::from_millis(self.session_timeout_ms);
        connection.transaction_timeout = Duration::from_millis(self.transaction_timeout_ms);
        let client = self.client.iter().map(|(name, value)| (name.clone(), value.0.clone()));
        connection.client = Settings(client.collect());
        Ok(connection)
    }

    /// Name of this process among the workers.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    fn sasl(&self) -> Result<Option<Sasl>> {
        let Some(mechanism) = self.sasl_mechanism.clone() else {
            if self.sasl_user.is_some() || self.sasl_password.is_some() {
                bail!(
                    "kafka.sasl_user or kafka.sasl_password is set and kafka.sasl_mechanism is not: nobody would sign in; set PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
                );
            }
            return Ok(None);
        };
        if !["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&mechanism.as_str()) {
            bail!("sasl_mechanism = \"{mechanism}\": set PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
        }
        let user = self.sasl_user.clone();
        let user = user.context("sasl_mechanism is set and sasl_user is not")?;
        let password = secret(self.sasl_password.as_ref());
        let password = password.context("sasl_mechanism is set and sasl_password is not")?;
        Ok(Some(Sasl { mechanism, user, password }))
    }
}

fn secret(hidden: Option<&Hidden>) -> Option<Secret> {
    hidden.map(|hidden| Secret(hidden.0.clone()))
}
