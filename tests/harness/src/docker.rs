//! A Docker engine: the one that answers, or one of our own; and what a broker in a container is
//! started with.
//!
//! Start at [`Docker::find`]. An engine is asked over HTTP/1.0, whose answers end with their
//! connection: its command-line client is not everywhere, and this is little.

mod daemon;
mod files;
mod image;
mod kafka_image;

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

pub use daemon::Docker;
pub use image::{BrokerImage, Start};

/// What our containers and networks are labelled with.
pub const LABEL: &str = "bellhop.tests";
/// An engine that is there answers at once.
const PING: Duration = Duration::from_secs(5);
/// Longer than an engine takes for anything but a pull.
const LONG: Duration = Duration::from_secs(120);
/// A pull that says nothing for so long has found no registry.
const SILENCE: Duration = Duration::from_secs(10);
/// Longer than a broker's image takes to come.
const PULL: Duration = Duration::from_secs(300);

/// A Docker engine that answers.
#[derive(Debug, Clone)]
pub struct Engine {
    address: Address,
}

#[derive(Debug, Clone)]
enum Address {
    Socket(PathBuf),
    Tcp(String),
}

/// Both ends of a connection, whatever carries it.
trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

/// What is sent with a request.
enum Body {
    None,
    Json(String),
    Archive(File),
}

struct Answer {
    status: u16,
    body: String,
}

impl Engine {
    /// The engine that `DOCKER_HOST` names, or the one at a socket where engines listen: in the
    /// order of testcontainers, which must come to the same.
    ///
    /// # Errors
    /// When none answers.
    pub fn find() -> anyhow::Result<Self> {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(host) = var("DOCKER_HOST") {
            return Self::at(&host).with_context(|| format!("DOCKER_HOST={host} does not answer"));
        }
        let mut sockets = vec!["/var/run/docker.sock".to_owned()];
        sockets.extend(var("XDG_RUNTIME_DIR").map(|it| format!("{it}/.docker/run/docker.sock")));
        for place in ["run", "desktop"] {
            sockets.extend(var("HOME").map(|home| format!("{home}/.docker/{place}/docker.sock")));
        }
        let there = sockets.iter().find(|socket| std::fs::exists(socket).unwrap_or(false));
        let socket = there.context("no engine listens")?;
        Self::at(&format!("unix://{socket}")).with_context(|| format!("{socket} does not answer"))
    }

    /// The engine at an address as `DOCKER_HOST` names it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn at(host: &str) -> anyhow::Result<Self> {
        let address = match host.split_once("://") {
            Some(("unix", path)) => Address::Socket(path.into()),
            Some(("tcp" | "http", at)) => Address::Tcp(at.trim_end_matches('/').to_owned()),
            _ => bail!("{host} is no address of an engine: unix://PATH or tcp://HOST:PORT"),
        };
        let engine = Self { address };
        let answer = engine.ask("GET /_ping", Body::None, PING)?;
        ensure!(answer.status == 200, "it answers {}", answer.status);
        Ok(engine)
    }

    /// Where its containers' ports are.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.address {
            Address::Socket(_) => "127.0.0.1",
            Address::Tcp(at) => at.rsplit_once(':').map_or(at.as_str(), |(host, _)| host),
        }
    }

    /// Whether it has an image.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn has_image(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.ask(&format!("GET /images/{name}/json"), Body::None, LONG)?.status == 200)
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// When it does not come, or nothing does for ten seconds.
    pub(crate) fn pull(&self, name: &str, tag: &str) -> anyhow::Result<()> {
        let request = format!("POST /images/create?fromImage={name}&tag={tag}");
        let mut line = self.send(&request, Body::None, SILENCE)?;
        let (until, mut said) = (Instant::now() + PULL, Vec::new());
        let mut bytes = [0; 4096];
        // Each line of the answer is a step; each read waits no longer than the silence.
        loop {
            ensure!(Instant::now() < until, "not pulled in {PULL:?}");
            let count = line.read(&mut bytes);
            let count = count.with_context(|| format!("no answer for {SILENCE:?}"))?;
            if count == 0 {
                break;
            }
            said.extend(bytes.get(..count).unwrap_or_default());
        }
        if !self.has_image(&format!("{name}:{tag}"))? {
            let said = String::from_utf8_lossy(&said);
            bail!("{}", said.trim_end().lines().last().unwrap_or("no answer"));
        }
        Ok(())
    }

    /// Makes an image of the files in an archive.
    pub(crate) fn import(&self, name: &str, tag: &str, archive: File) -> anyhow::Result<()> {
        let request = format!("POST /images/create?fromSrc=-&repo={name}&tag={tag}");
        let answer = self.ask(&request, Body::Archive(archive), LONG)?;
        ensure!(
            answer.status == 200 && self.has_image(&format!("{name}:{tag}"))?,
            "make the image {name}:{tag}: {}",
            answer.body
        );
        Ok(())
    }

    /// Runs a program of an image in a container, to its end.
    pub(crate) fn run(&self, image: &str, program: &str) -> anyhow::Result<()> {
        let body = format!("{{\"Image\":\"{image}\",\"Cmd\":[\"{program}\"]}}");
        let made = self.ask("POST /containers/create", Body::Json(body), LONG)?.body;
        let id = made.split("\"Id\":\"").nth(1).and_then(|it| it.split('"').next());
        let id = id.with_context(|| format!("make a container: {made}"))?;
        let started = self.ask(&format!("POST /containers/{id}/start"), Body::None, LONG)?;
        let ended = self.ask(&format!("POST /containers/{id}/wait"), Body::None, LONG)?;
        self.ask(&format!("DELETE /containers/{id}?force=1"), Body::None, LONG)?;
        ensure!(started.status < 300, "start a container: {}", started.body.trim_end());
        ensure!(ended.body.contains("\"StatusCode\":0"), "run a container: {}", ended.body);
        Ok(())
    }

    /// Kills the process of a container (signal 9) and waits until it has ended.
    ///
    /// # Errors
    /// When there is no such container, or it does not run.
    pub fn kill9(&self, container: &str) -> anyhow::Result<()> {
        for request in ["kill?signal=KILL", "wait"] {
            let request = format!("POST /containers/{container}/{request}");
            let answer = self.ask(&request, Body::None, LONG)?;
            ensure!(answer.status < 300, "kill {container}: {}", answer.body);
        }
        Ok(())
    }

    /// Whether there is such a container.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn has_container(&self, container: &str) -> anyhow::Result<bool> {
        Ok(self.ask(&format!("GET /containers/{container}/json"), Body::None, LONG)?.status == 200)
    }

    /// Removes a container with its data, and then a network, if they are there.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn remove(&self, container: &str, network: &str) -> anyhow::Result<()> {
        self.ask(&format!("DELETE /containers/{container}?force=1&v=1"), Body::None, LONG)?;
        self.ask(&format!("DELETE /networks/{network}"), Body::None, LONG)?;
        Ok(())
    }

    /// Removes all containers of tests, and networks that nobody uses.
    fn remove_all(&self) -> anyhow::Result<()> {
        // {"label":["bellhop.tests"]}
        let ours = format!("%7B%22label%22%3A%5B%22{LABEL}%22%5D%7D");
        let request = format!("GET /containers/json?all=1&filters={ours}");
        let found = self.ask(&request, Body::None, LONG)?.body;
        for container in found.split("\"Id\":\"").skip(1).filter_map(|it| it.split('"').next()) {
            self.ask(&format!("DELETE /containers/{container}?force=1&v=1"), Body::None, LONG)?;
        }
        self.ask("POST /networks/prune", Body::None, LONG)?;
        Ok(())
    }

    fn ask(&self, request: &str, body: Body, most: Duration) -> anyhow::Result<Answer> {
        let mut line = self.send(request, body, most)?;
        let mut answer = Vec::new();
        line.read_to_end(&mut answer).with_context(|| format!("{request}: read the answer"))?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("{request}: no answer of an engine"))?;
        Ok(Answer { status, body: body.to_owned() })
    }

    fn send(&self, request: &str, body: Body, most: Duration) -> anyhow::Result<Box<dyn Line>> {
        let (kind, length) = match &body {
            Body::None => ("text/plain", 0),
            Body::Json(text) => ("application/json", text.len() as u64),
            Body::Archive(file) => {
                ("application/x-tar", file.metadata().context("look at the archive")?.len())
            }
        };
        let mut line = self.connect(most)?;
        write!(
            line,
            "{request} HTTP/1.0\r\nhost: docker\r\ncontent-type: {kind}\r\n\
             content-length: {length}\r\n\r\n"
        )
        .with_context(|| format!("ask for {request}"))?;
        let sent = match body {
            Body::None => Ok(0),
            Body::Json(text) => std::io::copy(&mut text.as_bytes(), &mut line),
            Body::Archive(mut file) => std::io::copy(&mut file, &mut line),
        };
        sent.with_context(|| format!("send {request}"))?;
        Ok(line)
    }

    #[cfg(unix)]
    fn connect(&self, most: Duration) -> anyhow::Result<Box<dyn Line>> {
        match &self.address {
            Address::Socket(path) => {
                let line = std::os::unix::net::UnixStream::connect(path).context("connect")?;
                line.set_read_timeout(Some(most)).context("set a timeout")?;
                Ok(Box::new(line))
            }
            Address::Tcp(at) => connect(at, most),
        }
    }

    #[cfg(not(unix))]
    fn connect(&self, most: Duration) -> anyhow::Result<Box<dyn Line>> {
        match &self.address {
            Address::Socket(_) => bail!("there are no such sockets here"),
            Address::Tcp(at) => connect(at, most),
        }
    }
}

fn connect(at: &str, most: Duration) -> anyhow::Result<Box<dyn Line>> {
    let line = TcpStream::connect(at).context("connect")?;
    line.set_read_timeout(Some(most)).context("set a timeout")?;
    Ok(Box::new(line))
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Socket(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(at) => write!(f, "tcp://{at}"),
        }
    }
}

/// Says what was chosen: past libtest, which keeps what a test that passes prints.
fn say(text: &str) {
    // There is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}
