//! A schema registry in this process that answers as Redpanda's does, also where that differs from
//! others: for tests and soaks of what a record may make it say.
//!
//! # Source
//! Redpanda, `src/v/pandaproxy/schema_registry`: an id is read as `int32`, so that one from 2^31 on
//! is refused with 400 and 40002; one that nobody has is 404 and 40403, or 403 when authorisation
//! is on.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use serde_json::{Value, json};

/// A registry that listens until the process ends. Clones are the same.
#[derive(Debug, Clone)]
pub struct RedpandaRegistry {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Subject and text, by id less one.
    schemas: Vec<(String, String)>,
    authorized: bool,
    stranger: bool,
    away: bool,
    asked: BTreeMap<String, u64>,
}

/// A request as it came.
struct Request {
    method: String,
    path: String,
    body: Value,
}

type Answer = (u16, Value);

impl RedpandaRegistry {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen as a registry")?;
        let url = format!("http://{}", listener.local_addr()?);
        let registry = Self { url, state: Arc::default() };
        let told = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = told.clone();
                std::thread::spawn(move || told.serve(stream));
            }
        });
        Ok(registry)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on an id that nobody has is forbidden, not missing.
    pub fn authorize(&self) {
        self.state().authorized = true;
    }

    /// Whether the user who asks is known; one who is not may read nothing.
    pub fn set_stranger(&self, stranger: bool) {
        self.state().stranger = stranger;
    }

    /// Whether it has other things to do: 503 to everything.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// How often it was asked for a schema by an id.
    #[must_use]
    pub fn asked_for_ids(&self) -> u64 {
        let state = self.state();
        let ids = state.asked.iter().filter(|(path, _)| path.starts_with("/schemas/ids/"));
        ids.map(|(_, count)| count).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the requests of a connection, one after another.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(chunk.get(..read)?);
            while let Some((request, rest)) = whole(&bytes) {
                bytes = rest;
                let (status, body) = self.state().answer(&request);
                let body = body.to_string();
                let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
            }
        }
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let Request { method, path, body } = request;
        *self.asked.entry(path.clone()).or_default() += 1;
        if self.away {
            return error(503, 50302, "The server is not ready".to_owned());
        }
        if self.stranger {
            return forbidden();
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["schemas", "ids", id]) => self.schema(id),
            ("GET", ["subjects"]) => {
                let subjects = self.schemas.iter().map(|(subject, _)| subject.as_str());
                (200, json!(subjects.collect::<Vec<_>>()))
            }
            ("PUT", ["config", _]) => (200, body.clone()),
            ("POST", ["subjects", subject]) => match self.id_of(subject, text_of(body)) {
                Some(id) => (200, json!({ "subject": subject, "id": id })),
                None if self.schemas.iter().all(|(known, _)| known != subject) => {
                    error(404, 40401, format!("Subject '{subject}' not found."))
                }
                None => error(404, 40403, "Schema not found".to_owned()),
            },
            ("POST", ["subjects", subject, "versions"]) => {
                let text = text_of(body);
                let id = self.id_of(subject, text).unwrap_or_else(|| {
                    self.schemas.push(((*subject).to_owned(), text.to_owned()));
                    self.schemas.len()
                });
                (200, json!({ "id": id }))
            }
            ("POST", ["compatibility", ..]) => (200, json!({ "is_compatible": true })),
            _ => error(404, 404, "Not found".to_owned()),
        }
    }

    fn schema(&self, id: &str) -> Answer {
        let Ok(number) = id.parse::<i32>() else {
            return error(400, 40002, format!("Invalid parameter 'id' got '{id}'"));
        };
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match at.and_then(|at| self.schemas.get(at)) {
            Some((_, text)) => (200, json!({ "schema": text })),
            None if self.authorized => forbidden(),
            None => error(404, 40403, format!("Schema {number} not found")),
        }
    }

    fn id_of(&self, subject: &str, text: &str) -> Option<usize> {
        let found = self.schemas.iter().position(|(of, known)| of == subject && known == text);
        found.map(|at| at + 1)
    }
}

fn text_of(body: &Value) -> &str {
    body.get("schema").and_then(Value::as_str).unwrap_or_default()
}

fn error(status: u16, code: u32, message: String) -> Answer {
    (status, json!({ "error_code": code, "message": message }))
}

fn forbidden() -> Answer {
    (403, json!({ "code": 403, "message": "Forbidden (missing required ACLs)" }))
}

/// The first request, if all of it is there, and what follows.
fn whole(bytes: &[u8]) -> Option<(Request, Vec<u8>)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(bytes.get(..head)?);
    let mut first = text.lines().next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?);
    let path = path.split('?').next().unwrap_or(path).to_owned();
    let lower = text.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    let body = bytes.get(head + 4..head + 4 + length)?;
    let body = serde_json::from_slice(body).unwrap_or(Value::Null);
    Some((Request { method, path, body }, bytes.get(head + 4 + length..)?.to_vec()))
}
