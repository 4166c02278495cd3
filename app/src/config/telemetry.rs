//! The table `telemetry` of the configuration: where spans go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use bellhop_runtime::log::redpanda::Settings;
use bellhop_runtime::telemetry::{self, Exporter, Source};
use serde::{Deserialize, Serialize};

use super::hidden::Hidden;
use crate::wiring;

/// Where spans go, and what they say of this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    /// Address of a collector that takes OTLP over HTTP, as `http://localhost:4318`; without, no
    /// span is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    otlp: Option<String>,
    /// Certificates of the authority of the collector (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    /// Name of the service in traces.
    service: String,
    /// Name of this process among those of the service [default: `kafka.instance`, or one that
    /// nobody had before]
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Headers of each request, such as those that sign in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, Hidden>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp: None,
            ca_file: None,
            service: "bellhop".to_owned(),
            instance: None,
            headers: BTreeMap::new(),
        }
    }
}

impl Telemetry {
    /// # Errors
    /// When the address cannot be one, or there is none for what is set beside it.
    pub(super) fn check(&self) -> Result<()> {
        let unused = [("ca_file", self.ca_file.is_some()), ("headers", !self.headers.is_empty())];
        if let (None, Some((name, _))) = (&self.otlp, unused.iter().find(|(_, is_set)| *is_set)) {
            bail!("telemetry.{name} is of no use without telemetry.otlp: set both, or neither");
        }
        let url = self.otlp.as_deref().map(telemetry::url_of);
        url.transpose().context("telemetry.otlp")?;
        Ok(())
    }

    /// What sends spans, if a collector is named. `member` is the name of this process among the
    /// workers of a cluster.
    ///
    /// # Errors
    /// When the address, a header or the certificates cannot be used.
    pub(crate) fn exporter(
        &self,
        source: Source,
        member: Option<&str>,
    ) -> Result<Option<Exporter>> {
        let Some(endpoint) = self.otlp.clone() else { return Ok(None) };
        let instance = self.instance.clone().or_else(|| member.map(str::to_owned));
        let instance = instance.unwrap_or_else(|| wiring::random_id().hyphenated().to_string());
        let resource = [
            ("service.name", self.service.clone()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", instance),
        ];
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.0.clone()));
        let exporter = Exporter::start(telemetry::Config {
            endpoint,
            headers: Settings(headers.collect()),
            ca_file: self.ca_file.clone(),
            resource: resource.map(|(key, value)| (key.to_owned(), value)).into(),
            source,
        });
        Ok(Some(exporter.context("start the export of spans; see [telemetry]")?))
    }
}
