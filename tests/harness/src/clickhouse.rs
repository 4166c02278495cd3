//! A ClickHouse server: one that the user names, a container, or the engine behind an HTTP shim.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::{Server, free_port, python_packages};

/// The engine's package, and what the shim needs beside it; all under Apache-2.0, BSD or MIT.
const PACKAGES: [&str; 4] =
    ["chdb-core==26.9.0", "lz4==4.4.5", "zstandard==0.25.0", "clickhouse-cityhash==1.0.2.6"];
const ENGINE: &str = "chdb-26.9.0";
const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/clickhouse_http.py");
/// Who logs in to a server that is ours.
const USER: &str = "default";
const PASSWORD: &str = "bellhop";
const START: Duration = Duration::from_secs(60);

/// A running ClickHouse.
#[derive(Debug)]
pub struct ClickHouse {
    url: String,
    user: String,
    password: String,
    runs: Runs,
}

#[derive(Debug)]
enum Runs {
    /// Somebody else's; it is not stopped.
    Elsewhere,
    Container(String),
    Engine {
        server: Server,
        folder: TempDir,
        site: PathBuf,
        port: u16,
    },
}

impl ClickHouse {
    /// Starts one, or takes the one at `BELLHOP_TEST_CLICKHOUSE`
    /// (`http://user:password@host:8123`); says which.
    ///
    /// # Errors
    /// When none can be had; a test is then to fail, not to be skipped.
    pub fn start() -> anyhow::Result<Self> {
        if let Ok(address) = std::env::var("BELLHOP_TEST_CLICKHOUSE") {
            eprintln!("clickhouse: the server named by BELLHOP_TEST_CLICKHOUSE");
            return Self::elsewhere(&address);
        }
        match container_image() {
            Some(image) => {
                eprintln!("clickhouse: a container of {image}");
                Self::container(&image)
            }
            None => {
                eprintln!("clickhouse: the embedded engine {ENGINE} behind an HTTP interface");
                Self::engine()
            }
        }
    }

    /// The embedded engine, whatever else there is: for tests that kill it.
    ///
    /// # Errors
    /// When it cannot be fetched or does not start.
    pub fn engine() -> anyhow::Result<Self> {
        let site = python_packages(ENGINE, &[&["--no-deps"], PACKAGES.as_slice()].concat())?;
        let folder = tempfile::tempdir().context("make a folder for the data")?;
        let port = free_port()?;
        let server = run_engine(&site, folder.path(), port)?;
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            runs: Runs::Engine { server, folder, site, port },
        })
    }

    fn elsewhere(address: &str) -> anyhow::Result<Self> {
        let rest = address
            .strip_prefix("http://")
            .context("BELLHOP_TEST_CLICKHOUSE has to begin with http://")?;
        let (login, host) = rest.rsplit_once('@').unwrap_or(("default", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let url = format!("http://{}", host.trim_end_matches('/'));
        ensure!(is_up(&url), "nothing answers at {url}; see BELLHOP_TEST_CLICKHOUSE");
        let (user, password) = (user.to_owned(), password.to_owned());
        Ok(Self { url, user, password, runs: Runs::Elsewhere })
    }

    fn container(image: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let started = Command::new("docker")
            .args(["run", "--detach", "--env", &format!("CLICKHOUSE_PASSWORD={PASSWORD}")])
            .args(["--publish", &format!("127.0.0.1:{port}:8123"), image])
            .output()
            .context("run docker")?;
        ensure!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let id = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        let url = format!("http://127.0.0.1:{port}");
        let this = Self {
            url,
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            runs: Runs::Container(id),
        };
        this.wait_up()?;
        Ok(this)
    }

    /// Its HTTP address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The user to log in as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Its password; may be empty.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The process to measure; `None` where it is not ours.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.runs {
            Runs::Engine { server, .. } => Some(server.pid()),
            Runs::Elsewhere | Runs::Container(_) => None,
        }
    }

    /// Kills it (signal 9), as a crash would.
    ///
    /// # Errors
    /// When it is somebody else's, or docker fails.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        match &mut self.runs {
            Runs::Elsewhere => bail!("the ClickHouse at {} is not ours to kill", self.url),
            Runs::Container(id) => docker(&["kill", "--signal", "KILL", id]),
            Runs::Engine { server, .. } => {
                server.kill();
                Ok(())
            }
        }
    }

    /// Starts it again on the same data and the same port.
    ///
    /// # Errors
    /// As [`ClickHouse::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        match &mut self.runs {
            Runs::Elsewhere => bail!("the ClickHouse at {} is not ours to start", self.url),
            Runs::Container(id) => docker(&["start", id])?,
            Runs::Engine { server, folder, site, port } => {
                *server = run_engine(site, folder.path(), *port)?;
            }
        }
        self.wait_up()
    }

    fn wait_up(&self) -> anyhow::Result<()> {
        for _ in 0..START.as_millis() / 50 {
            if is_up(&self.url) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("ClickHouse at {} did not answer within {START:?}", self.url)
    }

    /// Runs a statement; gives what the server answers, as text.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses: with its words.
    pub fn query(&self, sql: &str) -> anyhow::Result<String> {
        let (status, body) = post(&self.url, &self.user, &self.password, sql)?;
        ensure!(status == 200, "{sql}: {body}");
        Ok(body)
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        if let Runs::Container(id) = &self.runs {
            // What docker cannot remove any more is gone already.
            let _ = docker(&["rm", "--force", id]);
        }
    }
}

fn run_engine(site: &Path, folder: &Path, port: u16) -> anyhow::Result<Server> {
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new("python3");
    command
        .arg(SHIM)
        .arg("--path")
        .arg(folder.join("data"))
        .args(["--port", &port.to_string()])
        .args(["--user", USER, "--password", PASSWORD])
        .args(["--parent", &std::process::id().to_string()])
        .env("PYTHONPATH", site)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let mut server = Server::start("clickhouse", &mut command, &folder.join("server.log"))?;
    server.wait_ready(START, || is_up(&url))?;
    Ok(server)
}

/// An image of the server that is here already; nothing is pulled.
fn container_image() -> Option<String> {
    let listed = Command::new("docker")
        .args([
            "image",
            "ls",
            "--format",
            "{{.Repository}}:{{.Tag}}",
            "clickhouse/clickhouse-server",
        ])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let listed = String::from_utf8(listed.stdout).ok()?;
    listed.lines().find(|image| !image.is_empty() && !image.ends_with("<none>")).map(str::to_owned)
}

fn docker(arguments: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("docker").args(arguments).output().context("run docker")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn is_up(url: &str) -> bool {
    let answered = || -> anyhow::Result<bool> {
        let address = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET /ping HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.contains("Ok."))
    };
    answered().unwrap_or(false)
}

/// A request by hand, so that the harness needs no client.
fn post(url: &str, user: &str, password: &str, sql: &str) -> anyhow::Result<(u16, String)> {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {url}"))?;
    write!(
        stream,
        "POST /?wait_end_of_query=1 HTTP/1.0\r\nHost: {address}\r\nX-ClickHouse-User: {user}\r\n\
         X-ClickHouse-Key: {password}\r\nContent-Length: {}\r\n\r\n{sql}",
        sql.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("read from {url}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("an answer without a status: {head}"))?;
    Ok((status, body.to_owned()))
}
