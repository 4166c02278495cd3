//! A schema registry of Confluent's interface: Apicurio 2.6, in memory. (3.x needs Java 21 and now
//! and then leaves a request unanswered.)

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::cache::fetched;
use crate::kafka::maven;
use crate::server::{Server, free_port};

const VERSION: &str = "2.6.13.Final";
/// Where Confluent's interface is.
const PATH: &str = "/apis/ccompat/v7";
const READY: Duration = Duration::from_secs(90);

/// A running registry, killed when dropped.
pub struct Registry {
    port: u16,
    _server: Server,
    _folder: TempDir,
}

impl Registry {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be fetched, or does not start.
    pub fn start() -> anyhow::Result<Self> {
        let folder = fetched(&format!("apicurio-{VERSION}"), fetch)?;
        let port = free_port()?;
        let temp = TempDir::new().context("make a folder for the registry")?;
        let mut command = Command::new("java");
        command
            .args(["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-Dquarkus.http.host=127.0.0.1")
            .arg(format!("-Dquarkus.http.port={port}"))
            .arg("-jar")
            .arg(folder.join(format!("apicurio-registry-app-{VERSION}-runner.jar")));
        let log = temp.path().join("log");
        let mut server = Server::start("schema registry", &mut command, &log)?;
        server.wait_ready(READY, || answers(&format!("127.0.0.1:{port}"), PATH))?;
        Ok(Self { port, _server: server, _folder: temp })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }
}

/// Whether a registry at `host:port` gives its subjects.
pub(crate) fn answers(at: &str, path: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(
            stream,
            "GET {path}/subjects HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn fetch(folder: &Path) -> anyhow::Result<()> {
    maven(&[
        "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
        &format!("-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"),
        &format!("-DoutputDirectory={}", folder.display()),
        "-Dmdep.useBaseVersion=true",
    ])?;
    let archive = folder.join(format!("apicurio-registry-app-{VERSION}-all.tar.gz"));
    let unpacked = Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(folder).status();
    ensure!(unpacked.context("start tar")?.success(), "unpack {}", archive.display());
    fs::remove_file(&archive).with_context(|| format!("remove {}", archive.display()))
}
