//! The schema registry: ids for schemas, and schemas for ids.
//!
//! The interface is Confluent's, as Redpanda has it built in, over plain HTTP: four requests, of
//! which `schema_registry_converter` knows two (it cannot set a compatibility, nor ask whether a
//! schema is compatible), and that crate would bring an asynchronous HTTP stack with it.
//!
//! # Invariants
//! 1. A known id is never asked for again, so that a registry that is down stops nothing but what
//!    is new.
//! 2. An id that the registry does not know is asked for again after [`UNKNOWN_FOR`], not before:
//!    a flood of bad records is no flood of requests.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use crate::log::redpanda::Secret;
use crate::log::{Error, ErrorKind, Schema};
use crate::web;

/// How long an id that is not known is not asked for again.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// What every subject is held to: readers of today read what was written ever.
pub const COMPATIBILITY: &str = "BACKWARD_TRANSITIVE";

/// Where the registry is, and who asks.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its address, such as `http://localhost:8081`.
    pub url: String,
    /// A user that signs in (basic authentication).
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Certificates of the authority (PEM); without, those of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// How long a request may take.
    pub timeout: Duration,
}

impl Config {
    /// At an address, with no user.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let timeout = Duration::from_secs(5);
        Self { url: url.to_owned(), user: None, password: None, ca_file: None, timeout }
    }
}

/// Gives ids for schemas, and schemas for ids.
pub trait Registry: Send + Sync {
    /// The id of a schema under its record name, registered when it is new.
    ///
    /// # Errors
    /// When the registry cannot be asked, or refuses the schema.
    fn id_of(&self, name: &str, text: &str) -> Result<u32, Error>;

    /// The schema of an id; `None` when nobody knows it.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    fn schema_of(&self, id: u32) -> Result<Option<Schema>, Error>;
}

/// A registry of Confluent's interface.
pub struct Confluent {
    config: Config,
    agent: Agent,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    ids: HashMap<(String, String), u32>,
    schemas: HashMap<u32, Schema>,
    unknown: HashMap<u32, Instant>,
}

/// What a registry answers.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn code(&self) -> u64 {
        self.body["error_code"].as_u64().unwrap_or(0)
    }

    fn words(&self) -> String {
        let message = self.body["message"].as_str().unwrap_or("no message");
        format!("status {}: {message}", self.status)
    }
}

/// Whether a schema may follow the ones that are registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Nothing is registered under the name.
    New,
    /// This very schema is.
    Registered,
    /// Another one is, and this one may follow it.
    Compatible,
    /// It may not, for these reasons.
    Refused(Vec<String>),
}

impl Confluent {
    /// At an address; nothing is asked yet.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let agent = web::agent(config.timeout, config.ca_file.as_deref())?;
        Ok(Self { config: config.clone(), agent, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let url = format!("{}{path}", self.config.url.trim_end_matches('/'));
        let tried = || format!("ask the schema registry, {method} {url}");
        let down = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error {
            kind: ErrorKind::Retry,
            tried: tried(),
            hint: "it cannot be asked: check that it is up and its address is right; schemas that are known go on to be read".to_owned(),
            source: Some(source),
        }
        };
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(user) = &self.config.user {
            let password = self.config.password.as_ref().map_or("", |secret| secret.0.as_str());
            let token = base64(format!("{user}:{password}").as_bytes());
            request = request.header("authorization", format!("Basic {token}"));
        }
        let request = request
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .header("accept", "application/vnd.schemaregistry.v1+json, application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .map_err(|error| Error {
                kind: ErrorKind::FixInput,
                tried: tried(),
                hint: "give the registry's address as http://host:port".to_owned(),
                source: Some(error.into()),
            })?;
        let mut response = match self.agent.run(request) {
            Ok(response) => response,
            Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Tls(_))) => {
                return Err(Error {
                    kind: ErrorKind::FixInput,
                    tried: tried(),
                    hint: "check the registry's address and its certificates".to_owned(),
                    source: Some(error.into()),
                });
            }
            Err(error) => return Err(down(error.into())),
        };
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|error| down(error.into()))?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        match status {
            401 | 403 => Err(Error {
                kind: ErrorKind::FixInput,
                tried: tried(),
                hint: "it refuses the user: check user and password".to_owned(),
                source: Some(format!("status {status}").into()),
            }),
            429 | 500.. => Err(down(Answer { status, body }.words().into())),
            _ => Ok(Answer { status, body }),
        }
    }

    fn refused(&self, tried: String, answer: &Answer) -> Error {
        Error {
            kind: ErrorKind::FixInput,
            tried,
            hint: format!("the registry at {} refuses it", self.config.url),
            source: Some(answer.words().into()),
        }
    }

    /// The id under which this very schema is registered, if it is.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub fn find(&self, name: &str, text: &str) -> Result<Option<u32>, Error> {
        let body = json!({ "schema": text });
        let answer = self.ask("POST", &format!("/subjects/{}", path(name)), Some(&body))?;
        match (answer.is_ok(), answer.status) {
            (true, _) => id_in(&answer.body["id"])
                .map(Some)
                .ok_or_else(|| self.refused(format!("look up the schema {name}"), &answer)),
            (false, 404) => Ok(None),
            (false, _) => Err(self.refused(format!("look up the schema {name}"), &answer)),
        }
    }

    /// Registers a schema and holds its subject to [`COMPATIBILITY`]; gives its id.
    ///
    /// # Errors
    /// When the registry cannot be asked, or refuses the schema.
    pub fn register(&self, name: &str, text: &str) -> Result<u32, Error> {
        let tried = || format!("register the schema {name}");
        let subject = path(name);
        let level = json!({ "compatibility": COMPATIBILITY });
        let hold = || self.ask("PUT", &format!("/config/{subject}"), Some(&level));
        let mut answer = hold()?;
        if answer.status == 409 {
            // Somebody else does the same at this moment.
            answer = hold()?;
        }
        if !answer.is_ok() {
            return Err(self.refused(format!("hold the schema {name} to {COMPATIBILITY}"), &answer));
        }
        let body = json!({ "schema": text });
        let answer = self.ask("POST", &format!("/subjects/{subject}/versions"), Some(&body))?;
        if let Some(id) = id_in(&answer.body["id"]).filter(|_| answer.is_ok()) {
            return Ok(id);
        }
        // Somebody else may have registered it at this moment.
        let found = if answer.status == 409 { self.find(name, text)? } else { None };
        found.ok_or_else(|| self.refused(tried(), &answer))
    }

    /// Whether a schema may follow the ones that are registered under its name.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub fn fits(&self, name: &str, text: &str) -> Result<Fit, Error> {
        if self.find(name, text)?.is_some() {
            return Ok(Fit::Registered);
        }
        let body = json!({ "schema": text });
        let asked = format!("/compatibility/subjects/{}/versions?verbose=true", path(name));
        let answer = self.ask("POST", &asked, Some(&body))?;
        if answer.status == 404 {
            return Ok(Fit::New);
        }
        match answer.body["is_compatible"].as_bool() {
            Some(true) => Ok(Fit::Compatible),
            Some(false) => {
                let messages = answer.body["messages"].as_array().cloned().unwrap_or_default();
                let words =
                    messages.iter().map(|it| it.as_str().map_or(it.to_string(), str::to_owned));
                Ok(Fit::Refused(words.collect()))
            }
            None => Err(self.refused(format!("compare the schema {name}"), &answer)),
        }
    }
}

impl Registry for Confluent {
    fn id_of(&self, name: &str, text: &str) -> Result<u32, Error> {
        let key = (name.to_owned(), text.to_owned());
        if let Some(id) = self.known().ids.get(&key) {
            return Ok(*id);
        }
        // A worker may have no right to register; then the deployment has.
        let id = match self.find(name, text)? {
            Some(id) => id,
            None => self.register(name, text)?,
        };
        let mut known = self.known();
        known.schemas.insert(id, Schema { name: name.to_owned(), text: text.to_owned() });
        known.ids.insert(key, id);
        Ok(id)
    }

    fn schema_of(&self, id: u32) -> Result<Option<Schema>, Error> {
        {
            let mut known = self.known();
            if let Some(schema) = known.schemas.get(&id) {
                return Ok(Some(schema.clone()));
            }
            match known.unknown.get(&id) {
                Some(since) if since.elapsed() < UNKNOWN_FOR => return Ok(None),
                Some(_) => drop(known.unknown.remove(&id)),
                None => {}
            }
        }
        let answer = self.ask("GET", &format!("/schemas/ids/{id}"), None)?;
        let text = answer.body["schema"].as_str().filter(|_| answer.is_ok());
        let mut known = self.known();
        let Some(text) = text else {
            if answer.status == 404 || answer.code() / 100 == 404 {
                // As many as a flood of bad records can name in the time, and no more.
                known.unknown.retain(|_, since| since.elapsed() < UNKNOWN_FOR);
                known.unknown.insert(id, Instant::now());
                return Ok(None);
            }
            return Err(self.refused(format!("ask for the schema id {id}"), &answer));
        };
        // What is no record (another team's, of another kind) has no name and is nobody's.
        let name = record_name(text).unwrap_or_default();
        let schema = Schema { name, text: text.to_owned() };
        known.schemas.insert(id, schema.clone());
        Ok(Some(schema))
    }
}

fn id_in(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// The full name of a record's schema.
fn record_name(text: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(text).ok()?;
    let name = schema["name"].as_str()?;
    match schema["namespace"].as_str() {
        Some(space) if !name.contains('.') && !space.is_empty() => Some(format!("{space}.{name}")),
        _ => Some(name.to_owned()),
    }
}

/// A subject in a path.
fn path(subject: &str) -> String {
    let mut out = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_usize, |word, byte| (word << 8) | usize::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let at = (word >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { DIGITS[at].into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_in_full() {
        for (text, name) in [
            (r#"{"type":"record","name":"a.B","fields":[]}"#, Some("a.B")),
            (r#"{"type":"record","name":"B","namespace":"a","fields":[]}"#, Some("a.B")),
            (r#"{"type":"record","name":"c.B","namespace":"a","fields":[]}"#, Some("c.B")),
            (r#"{"type":"record","name":"B","fields":[]}"#, Some("B")),
            (r#""string""#, None),
            ("no json", None),
        ] {
            assert_eq!(record_name(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn users_and_subjects_are_written_as_http_wants_them() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo:b", "Zm9vOmI=")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(path("a.B-c_1"), "a.B-c_1");
        assert_eq!(path("a/b ü"), "a%2Fb%20%C3%BC");
    }

    #[test]
    fn a_registry_that_is_down_is_tried_again() {
        // Port 9 is for discarding; nobody listens.
        let registry = Confluent::new(&Config::new("http://127.0.0.1:9")).unwrap();
        let error = registry.schema_of(1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Retry);
        assert!(error.to_string().contains("GET http://127.0.0.1:9/schemas/ids/1"), "{error}");
        let registry = Confluent::new(&Config::new("not an address")).unwrap();
        assert_eq!(registry.schema_of(1).unwrap_err().kind, ErrorKind::FixInput);
    }
}
