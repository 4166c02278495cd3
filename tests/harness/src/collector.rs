//! A collector of spans that keeps what it is sent.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

/// Takes every request over HTTP and keeps its body, until the process ends.
#[derive(Debug, Clone)]
pub struct Collector {
    url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen as a collector")?;
        let url = format!("http://{}", listener.local_addr()?);
        let collector = Self { url, bodies: Arc::default() };
        let told = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = told.clone();
                std::thread::spawn(move || told.serve(stream));
            }
        });
        Ok(collector)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was posted so far.
    #[must_use]
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers the requests of a connection, one after another.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(chunk.get(..read)?);
            while let Some((body, rest)) = whole(&bytes) {
                self.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
                bytes = rest;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
            }
        }
    }
}

/// The body of the first request, if all of it is there, and what follows.
fn whole(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(bytes.get(..head)?).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    let body = bytes.get(head + 4..head + 4 + length)?.to_vec();
    Some((body, bytes.get(head + 4 + length..)?.to_vec()))
}
