//! A TCP proxy that can stand for a network: what it carries can be made to wait.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::Context;

/// Carries connections from a port of its own to another; ends with the process.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    line: Arc<Line>,
}

/// Whether bytes pass.
#[derive(Debug, Default)]
struct Line {
    is_cut: Mutex<bool>,
    mended: Condvar,
}

impl Proxy {
    /// A proxy to a port of this machine.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub fn start() -> anyhow::Result<(Self, ProxyTarget)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("listen for a proxy")?;
        let port = listener.local_addr().context("read the proxy's port")?.port();
        let line = Arc::new(Line::default());
        let target = ProxyTarget { listener, line: line.clone() };
        Ok((Self { port, line }, target))
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing passes, in either direction, and nobody is told: connections stay, new
    /// ones are not answered. What is on its way waits, as it does in a network.
    pub fn cut(&self) {
        *self.line.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Everything passes, what waited first.
    pub fn mend(&self) {
        *self.line.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.line.mended.notify_all();
    }
}

/// The other half: a port is often known only after the proxy's own.
#[derive(Debug)]
pub struct ProxyTarget {
    listener: TcpListener,
    line: Arc<Line>,
}

impl ProxyTarget {
    /// Carries everything there.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn carry_to(self, port: u16) -> anyhow::Result<()> {
        let Self { listener, line } = self;
        let serve = move || {
            for client in listener.incoming().flatten() {
                let line = line.clone();
                std::thread::spawn(move || {
                    line.wait();
                    // A server that is down looks like one that hangs up.
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                        carry(&client, &server, &line);
                    }
                });
            }
        };
        std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(serve)
            .context("start a proxy")?;
        Ok(())
    }
}

impl Line {
    fn wait(&self) {
        let is_cut = self.is_cut.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.mended.wait_while(is_cut, |is_cut| *is_cut));
    }
}

fn carry(client: &TcpStream, server: &TcpStream, line: &Line) {
    std::thread::scope(|scope| {
        scope.spawn(|| pump(client, server, line));
        pump(server, client, line);
    });
}

/// Copies until either side ends.
fn pump(mut from: &TcpStream, mut to: &TcpStream, line: &Line) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes) {
        line.wait();
        if count == 0 || bytes.get(..count).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
