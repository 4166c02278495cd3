//! S3-like storage: moto, a server in Python that keeps objects in memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::cache::python_packages;
use crate::server::{Server, free_port};

const VERSION: &str = "5.1.9";
const READY: Duration = Duration::from_secs(60);

/// A running store, killed when dropped.
pub struct S3 {
    port: u16,
    _server: Server,
    _folder: TempDir,
}

impl S3 {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be fetched, or does not start.
    pub fn start() -> anyhow::Result<Self> {
        let packages =
            python_packages(&format!("moto-{VERSION}"), &[&format!("moto[s3,server]=={VERSION}")])?;
        let port = free_port()?;
        let temp = TempDir::new().context("make a folder for the store")?;
        let mut command = Command::new("python3");
        let run = "from moto.server import main; main()";
        command.env("PYTHONPATH", packages).args(["-c", run, "-H", "127.0.0.1", "-p"]);
        command.arg(port.to_string());
        let mut server = Server::start("S3 (moto)", &mut command, &temp.path().join("log"))?;
        server.wait_ready(READY, || request(port, "GET", "/").is_ok())?;
        Ok(Self { port, _server: server, _folder: temp })
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn make_bucket(&self, name: &str) -> anyhow::Result<()> {
        request(self.port, "PUT", &format!("/{name}"))
    }

    /// What a client is told, by the names of Amazon's variables.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

fn request(port: u16, method: &str, path: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connect")?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).context("set a timeout")?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).context("ask")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("hear the answer")?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
    Ok(())
}
