//! Whether there is an engine, by what was wished; one of our own where none listens.
//!
//! # Invariants
//! 1. Our own takes nothing from the machine's: data, state, socket, containerd's namespace are
//!    its own, and it leaves the packet filter alone. The default bridge it shares: without one
//!    (`--bridge=none`) it would delete the machine's.
//! 2. It ends with this process, however that ends, and its containers before it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use super::Engine;
use super::files::{archive, copy, put_libraries};
use crate::cache::cache;
use crate::server::Server;

/// What is wished: `auto` (default), `require`, `off`.
const WISH: &str = "BELLHOP_TEST_DOCKER";
const READY: Duration = Duration::from_secs(60);

/// What became of the search for an engine.
#[derive(Debug)]
pub enum Docker {
    /// It was there.
    Found(Engine),
    /// It was started here, and ends with this.
    Started(Engine, Daemon),
    /// There is none, and why.
    Absent(String),
}

impl Docker {
    /// Finds an engine or, as root on Linux, installs and starts one, unless `BELLHOP_TEST_DOCKER`
    /// is `off`.
    ///
    /// # Errors
    /// When it is `require` and there is none; when it is none of the three words.
    pub fn find() -> anyhow::Result<Self> {
        let wish = std::env::var(WISH).unwrap_or_default();
        let is_required = match wish.as_str() {
            "" | "auto" => false,
            "require" => true,
            "off" => return Ok(Self::Absent(format!("{WISH}=off"))),
            other => bail!("{WISH}={other}: say auto, require or off"),
        };
        match Self::find_or_start() {
            Ok(docker) => Ok(docker),
            Err(error) if is_required => Err(error.context(format!("{WISH}=require"))),
            Err(error) => Ok(Self::Absent(in_one_line(&error))),
        }
    }

    /// The engine, if there is one.
    #[must_use]
    pub fn engine(&self) -> Option<&Engine> {
        match self {
            Self::Found(engine) | Self::Started(engine, _) => Some(engine),
            Self::Absent(_) => None,
        }
    }

    fn find_or_start() -> anyhow::Result<Self> {
        let absent = match Engine::find() {
            Ok(engine) => return Ok(Self::Found(engine)),
            Err(error) => error,
        };
        ensure!(cfg!(target_os = "linux"), "{absent:#}");
        ensure!(is_root()?, "{absent:#}, and only root may start one");
        if !has("dockerd") {
            install()?;
            // Where services start when they are installed, it listens now.
            if let Ok(engine) = Engine::find() {
                return Ok(Self::Found(engine));
            }
        }
        let (engine, daemon) = Daemon::start()?;
        try_out(&engine).context("an engine of our own starts, but runs no container")?;
        Ok(Self::Started(engine, daemon))
    }
}

impl std::fmt::Display for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Found(engine) => write!(f, "the Docker engine at {engine}"),
            Self::Started(engine, daemon) => {
                write!(f, "a Docker engine of our own at {engine}, data in {}", daemon.data())
            }
            Self::Absent(why) => write!(f, "no Docker engine: {why}"),
        }
    }
}

/// An engine of our own, stopped when dropped.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    data: PathBuf,
    _server: Server,
    _folder: TempDir,
    _lock: Option<File>,
}

impl Daemon {
    fn start() -> anyhow::Result<(Engine, Self)> {
        // A socket's path has at most 107 bytes; the cache may lie deeper.
        let folder = TempDir::with_prefix("bellhop-docker-").context("make a folder")?;
        let kept = cache()?.join("docker");
        fs::create_dir_all(&kept).with_context(|| format!("make {}", kept.display()))?;
        let lock = File::create(kept.join("lock")).context("make the engine's lock")?;
        // Images stay for the next run; of two runs at once, one builds its own.
        let (data, lock) = match lock.try_lock() {
            Ok(()) => (kept.join("data"), Some(lock)),
            Err(_) => (folder.path().join("data"), None),
        };
        let at = |name: &str| folder.path().join(name);
        let host = format!("unix://{}", at("docker.sock").display());
        let mut command = Command::new("dockerd");
        command
            .args(["--host", &host, "--iptables=false", "--ip6tables=false", "--ip-forward=false"])
            .arg("--containerd-namespace=bellhop")
            .arg("--containerd-plugins-namespace=bellhop-plugins")
            .arg("--data-root")
            .arg(&data)
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"));
        let mut server = Server::start_apart("dockerd", &mut command, &at("log"))?;
        server.wait_ready(READY, || Engine::at(&host).is_ok())?;
        let engine = Engine::at(&host)?;
        // Of a run that was cut short.
        engine.remove_all()?;
        let daemon =
            Self { engine: engine.clone(), data, _server: server, _folder: folder, _lock: lock };
        Ok((engine, daemon))
    }

    fn data(&self) -> String {
        self.data.display().to_string()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // If it does not answer any more, there is nothing but to stop it, which its fields do.
        let _ = self.engine.remove_all();
    }
}

/// Whether this machine lets an engine run a container shows only when one runs.
fn try_out(engine: &Engine) -> anyhow::Result<()> {
    const NAME: &str = "bellhop-test/true";
    if !engine.has_image(&format!("{NAME}:local"))? {
        let folder = TempDir::new().context("make a folder for an image")?;
        let root = folder.path().join("root");
        let program = root.join("true");
        copy("/bin/true".as_ref(), &program)?;
        put_libraries(&root, &[program])?;
        engine.import(NAME, "local", archive(folder.path())?)?;
    }
    engine.run(&format!("{NAME}:local"), "/true")
}

fn is_root() -> anyhow::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // Its owner is the user that this process acts as.
        Ok(fs::metadata("/proc/self").context("look at this process")?.uid() == 0)
    }
    #[cfg(not(unix))]
    Ok(false)
}

fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn install() -> anyhow::Result<()> {
    ensure!(has("apt-get"), "dockerd is not installed");
    for arguments in [&["update"][..], &["install", "-y", "--no-install-recommends", "docker.io"]] {
        let mut command = Command::new("apt-get");
        let output = command.arg("-qq").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        let output = output.output().context("start apt-get")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "dockerd is not installed, and apt-get {} fails: {}",
            arguments.join(" "),
            said.trim_end()
        );
    }
    Ok(())
}

/// What failed, and what the failed program said of it: where it does not say that it failed, the
/// last.
fn in_one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let (first, said) = text.split_once('\n').unwrap_or((&text, ""));
    let tells = said.lines().rfind(|line| ["failed", "panic"].iter().any(|it| line.contains(it)));
    let last = tells.or_else(|| said.lines().next_back()).unwrap_or_default();
    format!("{first} {}", last.trim()).trim_end().to_owned()
}
