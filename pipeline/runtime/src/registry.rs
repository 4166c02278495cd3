//! The schema registry: ids for schemas, and schemas for ids.
//!
//! The interface is Confluent's, as Redpanda has it built in, over plain HTTP: four requests, of
//! which `schema_registry_converter` knows two (it cannot set a compatibility, nor ask whether a
//! schema is compatible), and that crate would bring an asynchronous HTTP stack with it.
//!
//! What is asked about the ids of records, and what is remembered of it, is in `asking`.
//!
//! # Invariants
//! An id out of a record is anybody's: whatever the registry answers about it concerns that record.
//! An answer about our own schemas concerns this program, and its user.

mod asking;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

pub use self::asking::UNKNOWN_FOR;

use self::asking::{Asker, Known};
use crate::log::redpanda::Secret;
use crate::log::{Error, ErrorKind, Lookup, Schema};
use crate::web;

/// The largest id that a registry gives: both Redpanda and Confluent count in 32 bits with a sign.
const ID_MAX: u32 = i32::MAX.cast_unsigned();
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

    /// The schema of an id, or why there is none.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    fn schema_of(&self, id: u32) -> Result<Lookup, Error>;

    /// As [`Registry::schema_of`], and waits for no answer: one that has not come yet is
    /// [`ErrorKind::Retry`].
    ///
    /// # Errors
    /// As [`Registry::schema_of`].
    fn schema_at_once(&self, id: u32) -> Result<Lookup, Error> {
        self.schema_of(id)
    }
}

/// A registry of Confluent's interface.
pub struct Confluent {
    client: Arc<Client>,
    asker: Asker,
}

/// What asks it.
struct Client {
    config: Config,
    agent: Agent,
    /// Ids of our own schemas.
    ids: Mutex<HashMap<(String, String), u32>>,
    known: Mutex<Known>,
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
        let (ids, known) = (Mutex::default(), Mutex::default());
        let client = Arc::new(Client { config: config.clone(), agent, ids, known });
        let asking = Arc::clone(&client);
        Ok(Self { client, asker: Asker::new(Box::new(move |id| asking.look_up(id))) })
    }
}

impl Client {
    fn ids(&self) -> MutexGuard<'_, HashMap<(String, String), u32>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks about our own: a user that is refused has to be told.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let answer = self.ask_any(method, path, body)?;
        match answer.status {
            401 | 403 => Err(Error {
                kind: ErrorKind::FixInput,
                tried: format!("ask the schema registry, {method} {}", self.url(path)),
                hint: "it refuses the user: check user and password, and the rights that docs/operations.md lists".to_owned(),
                source: Some(answer.words().into()),
            }),
            _ => Ok(answer),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config.url.trim_end_matches('/'))
    }

    /// Gives any answer but those that pass.
    fn ask_any(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let url = self.url(path);
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
            // It has not understood us, or has no time: another one may.
            408 | 425 | 429 | 500.. => Err(down(Answer { status, body }.words().into())),
            _ => Ok(Answer { status, body }),
        }
    }

    /// Asks for the schema of an id out of a record, and remembers the answer.
    ///
    /// # Source
    /// Redpanda, `src/v/pandaproxy/schema_registry`: ids are read as `int32` and refused with 400
    /// and 40002 when they are none; with authorisation, an id that nobody has is 403, so that
    /// nobody learns which ids there are.
    fn look_up(&self, id: u32) -> Result<Lookup, Error> {
        let path = format!("/schemas/ids/{id}");
        let answer = self.ask_any("GET", &path, None)?;
        let text = answer.body["schema"].as_str().filter(|_| answer.is_ok());
        let found = match (text, answer.status) {
            (Some(text), _) => {
                // What is no record (another team's, of another kind) has no name and is nobody's.
                let name = record_name(text).unwrap_or_default();
                Lookup::Known(Schema { name, text: text.to_owned() })
            }
            (None, 401 | 403) => {
                self.check_access()?;
                Lookup::Unknown(answer.words())
            }
            (None, 400..500) => Lookup::Unknown(answer.words()),
            (None, _) => {
                return Err(Error {
                    kind: ErrorKind::Retry,
                    tried: format!("ask the schema registry, GET {}", self.url(&path)),
                    hint: "this is no answer of a schema registry: check its address".to_owned(),
                    source: Some(answer.words().into()),
                });
            }
        };
        self.known().insert(id, found.clone());
        Ok(found)
    }

    /// Whether this user may read the registry at all: one of our own schemas, or what there is.
    fn check_access(&self) -> Result<(), Error> {
        let own = self.ids().values().next().copied();
        let path = own.map_or("/subjects".to_owned(), |id| format!("/schemas/ids/{id}"));
        self.ask("GET", &path, None).map(drop)
    }

    fn refused(&self, tried: String, answer: &Answer) -> Error {
        Error {
            kind: ErrorKind::FixInput,
            tried,
            hint: format!("the registry at {} refuses it", self.config.url),
            source: Some(answer.words().into()),
        }
    }

    fn find(&self, name: &str, text: &str) -> Result<Option<u32>, Error> {
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

    fn register(&self, name: &str, text: &str) -> Result<u32, Error> {
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

    fn fits(&self, name: &str, text: &str) -> Result<Fit, Error> {
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

    /// Registers a schema under the id that it had, in a registry that lost it.
    ///
    /// # Errors
    /// When the registry cannot be asked, has another schema under the id, or takes no ids.
    ///
    /// # Source
    /// Confluent's interface: a subject in mode `IMPORT` takes the id that it is given.
    fn restore(&self, id: u32, name: &str, text: &str) -> Result<(), Error> {
        let subject = path(name);
        let tried = || format!("restore the schema {name} under the id {id}");
        let mode = |mode: &str| {
            let body = json!({ "mode": mode });
            self.ask("PUT", &format!("/mode/{subject}?force=true"), Some(&body))
        };
        let answer = mode("IMPORT")?;
        if !answer.is_ok() {
            let mut error = self.refused(tried(), &answer);
            error.hint = format!(
                "the registry at {} does not take ids (mode IMPORT); `bellhop schemas restore --here` keeps them on this machine instead",
                self.config.url
            );
            return Err(error);
        }
        let body = json!({ "schema": text, "id": id });
        let answer = self.ask("POST", &format!("/subjects/{subject}/versions"), Some(&body));
        // Whatever came of it, the subject is to be written as usual again.
        let reset = mode("READWRITE");
        let answer = answer?;
        if !answer.is_ok() || id_in(&answer.body["id"]) != Some(id) {
            return Err(self.refused(tried(), &answer));
        }
        reset.map(drop)
    }
}

impl Confluent {
    /// The id under which this very schema is registered, if it is.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub fn find(&self, name: &str, text: &str) -> Result<Option<u32>, Error> {
        self.client.find(name, text)
    }

    /// Registers a schema and holds its subject to [`COMPATIBILITY`]; gives its id.
    ///
    /// # Errors
    /// When the registry cannot be asked, or refuses the schema.
    pub fn register(&self, name: &str, text: &str) -> Result<u32, Error> {
        self.client.register(name, text)
    }

    /// Whether a schema may follow the ones that are registered under its name.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub fn fits(&self, name: &str, text: &str) -> Result<Fit, Error> {
        self.client.fits(name, text)
    }

    /// Registers a schema under the id that it had, in a registry that lost it.
    ///
    /// # Errors
    /// As for [`Confluent::register`], and when the registry takes no ids.
    pub fn restore(&self, id: u32, name: &str, text: &str) -> Result<(), Error> {
        self.client.restore(id, name, text)
    }

    fn known(&self, id: u32) -> Option<Lookup> {
        if id > ID_MAX {
            return Some(Lookup::Unknown(format!("no registry gives ids above {ID_MAX}")));
        }
        self.client.known().get(id)
    }
}

impl Registry for Confluent {
    fn id_of(&self, name: &str, text: &str) -> Result<u32, Error> {
        let key = (name.to_owned(), text.to_owned());
        if let Some(id) = self.client.ids().get(&key) {
            return Ok(*id);
        }
        // A worker may have no right to register; then the deployment has.
        let id = match self.find(name, text)? {
            Some(id) => id,
            None => self.register(name, text)?,
        };
        let schema = Schema { name: name.to_owned(), text: text.to_owned() };
        self.client.known().insert(id, Lookup::Known(schema));
        self.client.ids().insert(key, id);
        Ok(id)
    }

    fn schema_of(&self, id: u32) -> Result<Lookup, Error> {
        self.known(id).map_or_else(|| self.client.look_up(id), Ok)
    }

    fn schema_at_once(&self, id: u32) -> Result<Lookup, Error> {
        let tried = || format!("ask the schema registry for the schema id {id}");
        self.known(id).ok_or_else(|| self.asker.want(id, tried()))
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
