//! A registry of Confluent's interface in memory, that can be emptied and takes ids on restoring:
//! what the real one of the tests does not.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

#[derive(Default)]
struct State {
    /// Subject and text by id.
    schemas: BTreeMap<u64, (String, String)>,
    stubborn: bool,
    closing: bool,
}

/// Runs until it is stopped.
pub(crate) struct StubRegistry {
    port: u16,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl StubRegistry {
    pub(crate) fn start() -> Self {
        Self::start_on(0)
    }

    /// An empty one at a port.
    pub(crate) fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let serve = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.lock().expect("the state").closing {
                    return;
                }
                answer(stream, &shared);
            }
        };
        Self { port, state, thread: Some(std::thread::spawn(serve)) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many schemas it has.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().expect("the state").schemas.len()
    }

    /// From now on it knows no modes, as some registries do not.
    pub(crate) fn takes_no_ids(&self) {
        self.state.lock().expect("the state").stubborn = true;
    }

    /// Nobody listens at its port any more.
    pub(crate) fn stop(mut self) {
        self.state.lock().expect("the state").closing = true;
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.thread.take().expect("its thread").join().expect("stop");
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("the connection"));
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut parts = line.split(' ');
    let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("a header");
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, answer) = decide(method, path, &body, &mut state.lock().expect("the state"));
    let text = answer.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
}

fn decide(method: &str, path: &str, body: &Value, state: &mut State) -> (u16, Value) {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let text = body["schema"].as_str().unwrap_or_default();
    let known = |subject: &str, state: &State| {
        let is = |(_, held): &(&u64, &(String, String))| held.0 == subject && held.1 == text;
        state.schemas.iter().find(is).map(|(id, _)| *id)
    };
    let missing = (404, json!({"error_code": 40403, "message": "not found"}));
    match (method, parts.as_slice()) {
        ("PUT", ["config", _]) => (200, json!({})),
        ("PUT", ["mode", _]) if state.stubborn => missing,
        ("PUT", ["mode", _]) => (200, body.clone()),
        ("GET", ["schemas", "ids", id]) => {
            match id.parse().ok().and_then(|id: u64| state.schemas.get(&id)) {
                Some((_, text)) => (200, json!({ "schema": text })),
                None => missing,
            }
        }
        ("POST", ["subjects", subject]) => {
            known(subject, state).map_or(missing, |id| (200, json!({ "id": id })))
        }
        ("POST", ["subjects", subject, "versions"]) => {
            let next = state.schemas.keys().max().map_or(1, |id| id + 1);
            let id = body["id"].as_u64().or(known(subject, state)).unwrap_or(next);
            state.schemas.insert(id, ((*subject).to_owned(), text.to_owned()));
            (200, json!({ "id": id }))
        }
        ("POST", ["compatibility", ..]) => missing,
        _ => (405, json!({"error_code": 405, "message": "no such operation"})),
    }
}
