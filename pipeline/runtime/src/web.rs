//! Requests over HTTP that trust an authority of the operator's.

use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::log::{Error, ErrorKind};

/// A client whose requests take at most `timeout`; it trusts the certificates in a file (PEM), or
/// those of the public authorities.
pub(crate) fn agent(timeout: Duration, ca_file: Option<&Path>) -> Result<Agent, Error> {
    let mut builder =
        Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
    if let Some(file) = ca_file {
        let tried = || format!("read the certificates in {}", file.display());
        let bad = |source: Box<dyn std::error::Error + Send + Sync>| Error {
            kind: ErrorKind::FixInput,
            tried: tried(),
            hint: "give a file of PEM certificates".to_owned(),
            source: Some(source),
        };
        let text = std::fs::read(file).map_err(|error| bad(error.into()))?;
        let mut roots: Vec<Certificate<'static>> = Vec::new();
        for item in ureq::tls::parse_pem(&text) {
            if let ureq::tls::PemItem::Certificate(certificate) =
                item.map_err(|error| bad(error.into()))?
            {
                roots.push(certificate);
            }
        }
        if roots.is_empty() {
            return Err(bad("there is no certificate in it".into()));
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build();
        builder = builder.tls_config(tls);
    }
    Ok(builder.build().new_agent())
}
