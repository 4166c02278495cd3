//! A server behind TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellhop_clickhouse::{ErrorKind, Server};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, until_all};

/// Takes TLS off what goes to a server; ends with the process.
struct Endpoint {
    url: String,
    ca: PathBuf,
}

impl Endpoint {
    fn before(upstream: &str, folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let upstream = upstream.trim_start_matches("http://").to_owned();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((client, _)) = listener.accept().await {
                    let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                    tokio::spawn(async move {
                        // A client that does not trust it hangs up.
                        let Ok(mut client) = acceptor.accept(client).await else { return };
                        let mut server = TcpStream::connect(upstream).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    });
                }
            });
        });
        Self { url, ca }
    }
}

#[test]
fn events_land_through_tls_where_the_certificate_is_trusted_and_only_there() {
    let mut world = World::with_bookings(1, 1_000);
    let folder = TempDir::new().unwrap();
    let endpoint = Endpoint::before(&world.config.url, folder.path());
    let mut config = world.config.clone();
    config.url = endpoint.url.clone();
    let stranger = Server::new(&config).unwrap().run("ask", "SELECT 1").unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::FixInput, "{stranger}");
    assert!(stranger.to_string().contains("clickhouse.ca"), "{stranger}");
    config.ca = Some(endpoint.ca.clone());
    let mut sink = world.sink_with(config.clone());
    sink.run_until(until_all(&world.book.counts)).unwrap();
    drop(sink);
    world.assert_whole();
    // A certificate of another host.
    config.url = config.url.replace("localhost", "127.0.0.1");
    let other = Server::new(&config).unwrap().run("ask", "SELECT 1").unwrap_err();
    assert_eq!(other.kind(), ErrorKind::FixInput, "{other}");
    for (file, words) in [("nowhere.pem", "nowhere.pem"), ("empty.pem", "there is none in it")] {
        std::fs::write(folder.path().join("empty.pem"), "").unwrap();
        config.ca = Some(folder.path().join(file));
        let error = Server::new(&config).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
