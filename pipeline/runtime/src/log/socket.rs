//! A log that a running process has open, read by others through a socket in its folder.
//!
//! The process that runs serves ([`serve`]); a tool connects ([`Remote`]) and has a [`Reader`] like
//! any other. Every answer is read from what is committed, by threads that decide nothing.
//!
//! ```text
//! request:  bytes (u32), operation (u8), fields in little endian
//! answer:   bytes (u32), 0 and the fields, or 1 and an error
//! ```
//!
//! # Invariants
//! 1. Nothing can be asked that changes anything.
//! 2. A client that is slow or silent holds up its own thread, until its time is over.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bellhop_core::avro::Reader as Datum;
use bellhop_core::history::History;
use bellhop_core::message::{LogId, Timestamp};
use bellhop_core::record::{Header, Record};
use bellhop_core::task::Progress;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::{Each, Error, ErrorKind, Identity, Lookup, Reader, Schema, Timestamps, Topic};

/// Name of the socket in the folder of the log.
const NAME: &str = "run.sock";
/// Bytes of a socket's path that every system takes.
const PATH_BYTES_MAX: usize = 100;
/// How long a request or an answer may take on its way.
const PROMPT: Duration = Duration::from_secs(10);
/// How long nobody is admitted after a client could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long a client may be silent before its connection is closed.
const SILENT: Duration = Duration::from_secs(60);
/// Clients that are served at once.
const CLIENTS_MAX: usize = 32;
/// Bytes of records in one answer, give or take one record.
const ANSWER_BYTES: usize = 1 << 20;
/// Bytes of a message that is read at all.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

const IDENTITY: u8 = 0;
const SCHEMA: u8 = 1;
const END: u8 = 2;
const READ: u8 = 3;
const COMMITTED: u8 = 4;
const FIRST: u8 = 5;

/// Where the socket of a folder is: in it, unless its path is too long for one.
fn path_of(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let path = folder.join(NAME);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return path;
    }
    let hash = xxh3_64(folder.as_os_str().as_encoded_bytes());
    std::env::temp_dir().join(format!("bellhop-{hash:016x}.sock"))
}

/// A socket that is served. Dropped, it is gone, and so is every reader that it made.
pub struct Served {
    path: PathBuf,
    open: Arc<Mutex<Open>>,
    accept: Option<JoinHandle<()>>,
}

/// The connections that are open.
#[derive(Default)]
struct Open {
    closing: bool,
    clients: Vec<(UnixStream, JoinHandle<()>)>,
}

impl Drop for Served {
    fn drop(&mut self) {
        let clients = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.closing = true;
            std::mem::take(&mut open.clients)
        };
        for (stream, thread) in clients {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
        // Wakes the thread that accepts.
        let _ = UnixStream::connect(&self.path);
        if let Some(accept) = self.accept.take() {
            let _ = accept.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves the log of a folder, which this process has open: each client by a thread and a reader of
/// its own.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(
    folder: &Path,
    reader: impl Fn() -> Box<dyn Reader> + Send + 'static,
) -> io::Result<Served> {
    let path = path_of(folder);
    // Whoever has the log open is alone in the folder: what lies there is of a process that is gone.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let open = Arc::new(Mutex::new(Open::default()));
    let shared = Arc::clone(&open);
    let accept = move || accept(listener.incoming(), &shared, reader);
    let accept = std::thread::Builder::new().name("bellhop-socket".to_owned()).spawn(accept)?;
    Ok(Served { path, open, accept: Some(accept) })
}

/// Admits clients until the socket is closed. One that cannot be accepted (the process has no file
/// descriptor left) ends nothing: the next may be.
fn accept(
    incoming: impl Iterator<Item = io::Result<UnixStream>>,
    shared: &Mutex<Open>,
    reader: impl Fn() -> Box<dyn Reader>,
) {
    for stream in incoming {
        let mut open = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if open.closing {
            return;
        }
        open.clients.retain(|(_, thread)| !thread.is_finished());
        let room = open.clients.len() < CLIENTS_MAX;
        let is_refused = stream.is_err();
        let admitted =
            stream.and_then(|stream| if room { open.admit(stream, reader()) } else { Ok(()) });
        drop(open);
        if let Err(error) = admitted {
            tracing::warn!(%error, "a tool cannot read the log");
        }
        if is_refused {
            std::thread::sleep(ACCEPT_PAUSE);
        }
    }
}

impl Open {
    fn admit(&mut self, stream: UnixStream, mut reader: Box<dyn Reader>) -> io::Result<()> {
        let client = stream.try_clone()?;
        let answer = move || {
            if let Err(error) = answer_all(stream, &mut *reader) {
                tracing::debug!(%error, "a tool that read the log is gone");
            }
        };
        let thread = std::thread::Builder::new().name("bellhop-tool".to_owned()).spawn(answer)?;
        self.clients.push((client, thread));
        Ok(())
    }
}

fn answer_all(mut stream: UnixStream, reader: &mut dyn Reader) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENT))?;
    stream.set_write_timeout(Some(PROMPT))?;
    loop {
        let request = match receive(&mut stream) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            request => request?,
        };
        let mut out = vec![0];
        if let Err(error) = answer(&mut Fields(&request), reader, &mut out) {
            out.clear();
            out.push(1);
            put_error(&error, &mut out);
        }
        send(&mut stream, &out)?;
    }
}

fn answer(
    fields: &mut Fields<'_>,
    reader: &mut dyn Reader,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    match fields.u8()? {
        IDENTITY => {
            let Identity { log_id, partitions, timestamps } = *reader.identity();
            put_bytes(log_id.0.as_bytes(), out);
            put_u64(u64::from(partitions), out);
            out.push(u8::from(timestamps == Timestamps::Create));
        }
        SCHEMA => match reader.schema_of(fields.u32()?)? {
            Lookup::Unknown(why) => {
                out.push(0);
                put_bytes(why.as_bytes(), out);
            }
            Lookup::Known(Schema { name, text }) => {
                out.push(1);
                put_bytes(name.as_bytes(), out);
                put_bytes(text.as_bytes(), out);
            }
        },
        FIRST => {
            let (topic, partition) = (fields.topic()?, fields.u32()?);
            put_u64(reader.first(topic, partition)?, out);
        }
        END => {
            let (topic, partition) = (fields.topic()?, fields.u32()?);
            put_u64(reader.end(topic, partition)?, out);
        }
        READ => {
            let (topic, partition, from) = (fields.topic()?, fields.u32()?, fields.u64()?);
            let mut records = Vec::new();
            let next = reader.read(topic, partition, from, &mut |record| {
                put_record(record, &mut records);
                if records.len() >= ANSWER_BYTES {
                    return std::ops::ControlFlow::Break(());
                }
                std::ops::ControlFlow::Continue(())
            })?;
            put_u64(next, out);
            out.extend_from_slice(&records);
        }
        COMMITTED => match reader.committed(fields.u32()?)? {
            None => out.push(0),
            Some(Progress { next_offset, stream_time, history }) => {
                out.push(1);
                put_u64(next_offset, out);
                put_u64(stream_time.0.cast_unsigned(), out);
                out.push(u8::from(history.is_some()));
                if let Some(history) = history {
                    history.encode(out);
                }
            }
        },
        other => return Err(garbled(format!("operation {other}"))),
    }
    Ok(())
}

/// A log that another process has open.
pub struct Remote {
    stream: UnixStream,
    identity: Identity,
    path: PathBuf,
}

impl Remote {
    /// Connects to the process that runs on the log of a folder; `None` when none does.
    ///
    /// # Errors
    /// When one does and gives no answer.
    pub fn connect(folder: &Path) -> Result<Option<Self>, Error> {
        let path = path_of(folder);
        let Ok(stream) = UnixStream::connect(&path) else { return Ok(None) };
        let ready = stream
            .set_read_timeout(Some(PROMPT))
            .and_then(|()| stream.set_write_timeout(Some(PROMPT)));
        ready.map_err(|error| silent(&path, error))?;
        let partitions = 0;
        let identity =
            Identity { log_id: LogId(Uuid::nil()), partitions, timestamps: Timestamps::Append };
        let mut remote = Self { stream, identity, path };
        let answer = remote.ask(&[IDENTITY])?;
        let mut fields = Fields(&answer);
        let id = Uuid::from_slice(fields.bytes()?).map_err(|_| garbled("a log's id".to_owned()))?;
        let partitions = fields.u64()? as u32;
        let timestamps = if fields.u8()? == 0 { Timestamps::Append } else { Timestamps::Create };
        remote.identity = Identity { log_id: LogId(id), partitions, timestamps };
        Ok(Some(remote))
    }

    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Error> {
        let asked = send(&mut self.stream, request).and_then(|()| receive(&mut self.stream));
        let mut answer = asked.map_err(|error| silent(&self.path, error))?;
        match answer.first() {
            Some(0) => {
                answer.remove(0);
                Ok(answer)
            }
            Some(_) => Err(take_error(&mut Fields(answer.get(1..).unwrap_or_default()))?),
            None => Err(garbled("an empty answer".to_owned())),
        }
    }
}

impl Remote {
    fn ask_offset(&mut self, what: u8, topic: Topic, partition: u32) -> Result<u64, Error> {
        let mut request = vec![what, topic as u8];
        put_u32(partition, &mut request);
        Fields(&self.ask(&request)?).u64()
    }
}

impl Reader for Remote {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        let mut request = vec![SCHEMA];
        put_u32(id, &mut request);
        let answer = self.ask(&request)?;
        let mut fields = Fields(&answer);
        if fields.u8()? == 0 {
            return Ok(Lookup::Unknown(fields.text()?));
        }
        Ok(Lookup::Known(Schema { name: fields.text()?, text: fields.text()? }))
    }

    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.ask_offset(FIRST, topic, partition)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.ask_offset(END, topic, partition)
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        let end = self.end(topic, partition)?;
        let mut next = from;
        while next < end {
            let asked_from = next;
            let mut request = vec![READ, topic as u8];
            put_u32(partition, &mut request);
            put_u64(next, &mut request);
            let answer = self.ask(&request)?;
            let mut fields = Fields(&answer);
            let behind = fields.u64()?;
            while !fields.0.is_empty() {
                let read = fields.record(|record| {
                    if record.offset >= end {
                        return None;
                    }
                    Some((record.offset + 1, each(record)))
                })?;
                match read {
                    Some((after, std::ops::ControlFlow::Continue(()))) => next = after,
                    Some((after, std::ops::ControlFlow::Break(()))) => return Ok(after),
                    None => return Ok(end),
                }
            }
            next = next.max(behind);
            if next == asked_from {
                break;
            }
        }
        Ok(next.max(from))
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        let mut request = vec![COMMITTED];
        put_u32(partition, &mut request);
        let answer = self.ask(&request)?;
        let mut fields = Fields(&answer);
        if fields.u8()? == 0 {
            return Ok(None);
        }
        let next_offset = fields.u64()?;
        let stream_time = Timestamp(fields.u64()?.cast_signed());
        let history = match fields.u8()? {
            0 => None,
            _ => {
                let history = History::decode(&mut Datum::new(fields.0));
                Some(history.map_err(|error| garbled(error.to_string()))?)
            }
        };
        Ok(Some(Progress { next_offset, stream_time, history }))
    }
}

fn send(stream: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let bytes = u32::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&bytes.to_le_bytes())?;
    stream.write_all(message)
}

fn receive(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    let bytes = u32::from_le_bytes(bytes) as usize;
    if bytes > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {bytes} bytes")));
    }
    let mut message = vec![0; bytes];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn silent(path: &Path, source: io::Error) -> Error {
    Error {
        kind: ErrorKind::Retry,
        tried: format!("ask the process that runs on the log, through {}", path.display()),
        hint: "it gives no answer: try again, or stop it".to_owned(),
        source: Some(source.into()),
    }
}

fn garbled(what: String) -> Error {
    Error {
        kind: ErrorKind::FixInput,
        tried: "read what the process that runs on the log says".to_owned(),
        hint: "it is of another version: use the same, or stop it".to_owned(),
        source: Some(what.into()),
    }
}

fn put_u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_u32(bytes.len() as u32, out);
    out.extend_from_slice(bytes);
}

fn put_option(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(bytes, out);
    }
}

fn put_record(record: &Record<'_>, out: &mut Vec<u8>) {
    put_u64(record.offset, out);
    put_u64(record.timestamp.0.cast_unsigned(), out);
    put_option(record.key, out);
    put_option(record.value, out);
    put_u32(record.headers.len() as u32, out);
    for header in record.headers {
        put_bytes(header.name.as_bytes(), out);
        put_bytes(header.value, out);
    }
}

fn put_error(error: &Error, out: &mut Vec<u8>) {
    out.push(match error.kind {
        ErrorKind::Retry => 0,
        ErrorKind::Fenced => 1,
        ErrorKind::Corrupt => 2,
        ErrorKind::FixInput => 3,
    });
    put_bytes(error.tried.as_bytes(), out);
    put_bytes(error.hint.as_bytes(), out);
    put_option(error.source.as_ref().map(ToString::to_string).as_deref().map(str::as_bytes), out);
}

fn take_error(fields: &mut Fields<'_>) -> Result<Error, Error> {
    let kind = match fields.u8()? {
        0 => ErrorKind::Retry,
        1 => ErrorKind::Fenced,
        2 => ErrorKind::Corrupt,
        _ => ErrorKind::FixInput,
    };
    let (tried, hint) = (fields.text()?, fields.text()?);
    let source = fields.option()?.map(|it| String::from_utf8_lossy(it).into_owned().into());
    Ok(Error { kind, tried, hint, source })
}

/// The fields of a message, one behind another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) =
            self.0.split_first_chunk().ok_or_else(|| garbled("a cut message".to_owned()))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let count = self.u32()? as usize;
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| garbled("a cut message".to_owned()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<String, Error> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| garbled("a text".to_owned()))
    }

    fn option(&mut self) -> Result<Option<&'a [u8]>, Error> {
        Ok(if self.u8()? == 0 { None } else { Some(self.bytes()?) })
    }

    fn topic(&mut self) -> Result<Topic, Error> {
        let number = self.u8()?;
        let topic = Topic::ALL.into_iter().find(|topic| *topic as u8 == number);
        topic.ok_or_else(|| garbled(format!("topic {number}")))
    }

    fn record<T>(&mut self, each: impl FnOnce(&Record<'_>) -> T) -> Result<T, Error> {
        let (offset, timestamp) = (self.u64()?, Timestamp(self.u64()?.cast_signed()));
        let (key, value) = (self.option()?, self.option()?);
        let mut headers = Vec::new();
        for _ in 0..self.u32()? {
            let name = str::from_utf8(self.bytes()?).map_err(|_| garbled("a header".to_owned()))?;
            headers.push(Header { name, value: self.bytes()? });
        }
        Ok(each(&Record { offset, timestamp, key, value, headers: &headers }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::log::simulated::{Faults, Setup, Simulated};

    #[test]
    fn a_client_that_cannot_be_accepted_keeps_no_later_one_out() {
        let (mut client, server) = UnixStream::pair().unwrap();
        // EMFILE: no file descriptor is left.
        let incoming = [Err(io::Error::from_raw_os_error(24)), Ok(server)];
        let open = Mutex::new(Open::default());
        let reader = || -> Box<dyn Reader> {
            let setup = Setup {
                seed: 1,
                partitions: 1,
                timestamps: Timestamps::Append,
                faults: Faults::default(),
                clock: Arc::new(ManualClock::at(Timestamp(0))),
            };
            Box::new(Simulated::new(setup).reader())
        };
        accept(incoming.into_iter(), &open, reader);
        assert_eq!(open.lock().unwrap().clients.len(), 1);
        send(&mut client, &[IDENTITY]).unwrap();
        let answer = receive(&mut client).unwrap();
        assert_eq!(answer.first(), Some(&0));
    }
}
