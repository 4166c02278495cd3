//! A server process.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// How long a process that is asked to end may take.
const ENDING: Duration = Duration::from_secs(30);

/// A running process, killed when dropped, and when this process ends in any way.
#[derive(Debug)]
pub struct Server {
    name: String,
    is_apart: bool,
    child: Child,
    watchdog: Child,
    log: std::path::PathBuf,
}

impl Server {
    /// Starts it; what it prints goes to `log`.
    ///
    /// # Errors
    /// When its program is not there.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Self::launch(name, command, log, false)
    }

    /// As [`Server::start`], for one that has to clear up before it ends: it is asked to (signal
    /// TERM), and what a terminal sends to its foreground does not reach it.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub(crate) fn start_apart(
        name: &str,
        command: &mut Command,
        log: &Path,
    ) -> anyhow::Result<Self> {
        set_apart(command);
        Self::launch(name, command, log, true)
    }

    fn launch(
        name: &str,
        command: &mut Command,
        log: &Path,
        is_apart: bool,
    ) -> anyhow::Result<Self> {
        let out = File::options().create(true).append(true).open(log);
        let out = out.with_context(|| format!("open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("share the log")?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {name}: {}", command.get_program().display()))?;
        let watchdog = match watchdog(child.id(), is_apart) {
            Ok(watchdog) => watchdog,
            Err(error) => {
                let mut child = child;
                // It has just been started, and nobody would look after it.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        Ok(Self { name: name.to_owned(), is_apart, child, watchdog, log: log.to_owned() })
    }

    /// Waits until it is ready, at most `most`.
    ///
    /// # Errors
    /// When it ends before, or takes longer; with the end of its log.
    pub fn wait_ready(
        &mut self,
        most: Duration,
        mut is_ready: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + most;
        while !is_ready() {
            if let Some(status) = self.child.try_wait().context("look at the process")? {
                bail!("{} ended with {status}:\n{}", self.name, self.log_tail());
            }
            if Instant::now() > until {
                bail!("{} was not ready in {most:?}:\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended; `None` while it runs, stopped or not.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("look at {}", self.name))
    }

    /// Kills it (signal 9; one that is apart is asked to end before) and waits for its end.
    pub fn kill(&mut self) {
        if self.is_apart {
            self.ask_to_end();
        }
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A word tells the watchdog that there is nothing left to kill.
        if let Some(mut told) = self.watchdog.stdin.take() {
            let _ = told.write_all(b"ended\n");
        }
        let _ = self.watchdog.wait();
    }

    fn ask_to_end(&mut self) {
        let until = Instant::now() + ENDING;
        let mut is_asked = false;
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            if !is_asked && signal(self.child.id(), "TERM").is_err() {
                break;
            }
            is_asked = true;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A shell that kills a process as soon as this one is gone: its input ends then. A test that is
/// killed, or keeps its services in a `static`, drops nothing.
fn watchdog(pid: u32, is_apart: bool) -> anyhow::Result<Child> {
    let mut shell = Command::new("sh");
    if is_apart {
        set_apart(&mut shell);
    }
    let signal = if is_apart { "TERM" } else { "KILL" };
    shell
        .args(["-c", &format!("read -r told || kill -s {signal} {pid}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start a watchdog")
}

/// Puts a program into a process group of its own.
#[cfg_attr(not(unix), expect(unused_variables, reason = "there are no process groups"))]
pub fn set_apart(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
}

/// Sends a signal to a process of the caller's.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    ensure!(sent.context("start kill")?.success(), "send {name} to process {pid}");
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr().context("read the port")?.port())
}
