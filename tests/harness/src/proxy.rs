//! A TCP proxy that can stand for a network: what it carries can be made to wait, and one request
//! can be made to come late.

mod frames;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::Context;

pub use self::frames::Request;

use self::frames::Frames;

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
    frames: Frames,
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

    /// The next request of that kind comes late: its client's connection is cut before a broker has
    /// it, and it is sent on in a later transaction of the same producer.
    pub fn delay(&self, request: Request) {
        self.line.frames.keep_next(request);
    }

    /// How many requests came late.
    #[must_use]
    pub fn late(&self) -> usize {
        self.line.frames.late()
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
    let is_kept = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if line.frames.carry(client, server, || line.wait()) {
                hang_up(client, server);
            } else {
                // The broker's side stays, with the request that is to come.
                is_kept.store(true, Ordering::SeqCst);
                let _ = client.shutdown(Shutdown::Both);
            }
        });
        copy(server, client, &|| line.wait());
        if is_kept.load(Ordering::SeqCst) {
            // Answers that nobody waits for.
            let mut server = server;
            let _ = std::io::copy(&mut server, &mut std::io::sink());
        }
        hang_up(client, server);
    });
}

/// Copies until either side ends.
fn copy(mut from: &TcpStream, mut to: &TcpStream, wait: &dyn Fn()) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes) {
        wait();
        if count == 0 || bytes.get(..count).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
}

fn hang_up(client: &TcpStream, server: &TcpStream) {
    // Either may be closed already.
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
