//! How a server is connected to: plain or with TLS, by its address.
//!
//! Certificates are checked against those that the machine trusts, and one that the configuration
//! names, as a company's own authority has them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// A connection that is not used for longer is closed: servers do so after 3 s.
const IDLE: Duration = Duration::from_secs(2);
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Whom to trust at an address.
///
/// # Errors
/// When the address is none, or certificates cannot be read.
pub(crate) fn trust(url: &str, ca: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    if url.starts_with("https://") {
        // Of a machine's many certificates some may be unreadable; the others are enough.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = ca {
            let unread = |error: &dyn std::fmt::Display| {
                Error::tables(
                    format!("read the certificate {}: {error}", file.display()),
                    "name a PEM file as `clickhouse.ca` of the configuration",
                )
            };
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| unread(&error))?;
            let before = roots.len();
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unread(&error))?;
                roots.add(certificate).map_err(|error| unread(&error))?;
            }
            if roots.len() == before {
                return Err(unread(&"there is none in it"));
            }
        }
        if roots.is_empty() {
            return Err(Error::tables(
                format!("use the ClickHouse at {url}: this machine trusts no certificate"),
                "install its certificates (package ca-certificates), or name a PEM file as `clickhouse.ca`",
            ));
        }
    } else if !url.starts_with("http://") {
        return Err(Error::tables(
            format!("use the ClickHouse at \"{url}\""),
            "give an address like http://host:8123 or https://host:8443",
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| {
        Error::tables(format!("use TLS: {error}"), "this is a bug; an http:// address works")
    })?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A client with connections of its own.
pub(crate) fn client(trust: &Arc<ClientConfig>) -> Client {
    let mut tcp = HttpConnector::new();
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(ClientConfig::clone(trust))
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .build(connector);
    Client::with_http_client(builder)
}
