//! A proxy between sink and server that swallows, drops or holds what it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// The server gets the request, and its answer is lost: a time-out whose insert did happen.
    SwallowAnswers,
    /// The request is lost: a time-out whose insert did not happen.
    DropRequests,
    /// Requests wait, as those of a zombie do, until they may pass.
    Hold,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    /// Only connections that carry these bytes are touched; of all others everything passes.
    of: &'static str,
    /// How often a mode other than `Pass` did something.
    struck: u64,
}

impl Proxy {
    pub(crate) fn to(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Mutex::new(State { mode: Mode::Pass, of: "", struck: 0 });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (upstream, shared) = (upstream.clone(), Arc::clone(&serving));
                std::thread::spawn(move || {
                    // A server that is down looks like one that hangs up.
                    if let Ok(server) = TcpStream::connect(&upstream) {
                        carry(&client, &server, &shared);
                    }
                });
            }
        });
        Self { url, shared }
    }

    /// From now on, for requests that contain `of`.
    pub(crate) fn set(&self, mode: Mode, of: &'static str) {
        let mut state = self.shared.state.lock().unwrap();
        (state.mode, state.of) = (mode, of);
        self.shared.changed.notify_all();
    }

    pub(crate) fn struck(&self) -> u64 {
        self.shared.state.lock().unwrap().struck
    }

    /// Waits until something was struck.
    pub(crate) fn wait_struck(&self, times: u64) {
        let state = self.shared.state.lock().unwrap();
        let wait = |state: &mut State| state.struck < times;
        let (state, late) =
            self.shared.changed.wait_timeout_while(state, crate::world::LONG, wait).unwrap();
        assert!(!late.timed_out(), "struck {} of {times} times", state.struck);
    }
}

impl Shared {
    /// What becomes of a request, or of the answer to it.
    fn mode(&self, request: &[u8], is_answer: bool) -> Mode {
        let mut state = self.state.lock().unwrap();
        let of = state.of.as_bytes();
        let is_meant = of.is_empty() || request.windows(of.len()).any(|window| window == of);
        let mode = if is_meant { state.mode } else { Mode::Pass };
        if mode == Mode::Pass || is_answer != (mode == Mode::SwallowAnswers) {
            return Mode::Pass;
        }
        state.struck += 1;
        self.changed.notify_all();
        if mode == Mode::Hold {
            while state.mode == Mode::Hold {
                state = self.changed.wait(state).unwrap();
            }
        }
        mode
    }
}

/// Carries requests one way and answers the other, a connection's worth.
fn carry(client: &TcpStream, server: &TcpStream, shared: &Arc<Shared>) {
    let last_request = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pump(client, server, |bytes| {
                if bytes.starts_with(b"POST") || bytes.starts_with(b"GET") {
                    *last_request.lock().unwrap() = bytes[..bytes.len().min(4_096)].to_vec();
                    let request = last_request.lock().unwrap().clone();
                    return shared.mode(&request, false) != Mode::DropRequests;
                }
                true
            });
            let _ = server.shutdown(Shutdown::Both);
            let _ = client.shutdown(Shutdown::Both);
        });
        pump(server, client, |_| {
            let request = last_request.lock().unwrap().clone();
            shared.mode(&request, true) != Mode::SwallowAnswers
        });
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    });
}

/// Copies until either side ends or `passes` says no.
fn pump(mut from: &TcpStream, mut to: &TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || !passes(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

/// Runs a statement with settings in its address; waits until it has ended.
pub(crate) fn post(url: &str, (user, password): &(String, String), sql: &str) {
    let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /{path} HTTP/1.0\r\nHost: {address}\r\nX-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\nContent-Length: {}\r\n\r\n{sql}",
        sql.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
}
