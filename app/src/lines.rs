//! Commands as lines of JSON: what `run` and `send` read.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bellhop_core::message::{Meta, Timestamp};
use bellhop_schemas::instant;
use serde_json::Value;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::command::AnyCommand;
use crate::fields::{Envelope, Faults, sentences};

/// Lines that are read ahead, and that are taken together when they are there already.
const LINES_MAX: usize = 1_000;
/// The field of a line that holds its idempotency key.
const KEY: &str = "idempotency_key";
const OWN_KEY: &str = "give each command one of its own, so that sending it twice does it once";
/// Bytes of a line; more is refused.
const LINE_BYTES_MAX: usize = 4 << 20;

/// A line by its number: a command, or what is wrong with it.
pub(crate) type Line = (u64, Result<Parsed>);

/// Lines that are read ahead by a thread of its own.
pub(crate) struct Lines {
    /// With their numbers, or why one could not be read.
    read: Receiver<(u64, Result<Vec<u8>>)>,
    /// Whether they say when they were.
    timed: bool,
}

impl Lines {
    /// The next lines that are not blank, each as a command or what is wrong with it: those that
    /// are there already, none when none comes in time. `None` at the end of the input.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub(crate) fn batch(&self, wait: Duration) -> Result<Option<Vec<Line>>> {
        let first = match self.read.recv_timeout(wait) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(Some(Vec::new())),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        };
        let mut batch = Vec::new();
        let rest = std::iter::from_fn(|| self.read.try_recv().ok());
        for (number, line) in std::iter::once(first).chain(rest.take(LINES_MAX - 1)) {
            match line {
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => batch.push((number, parse(&line, self.timed))),
                Err(error) if error.is::<io::Error>() => {
                    return Err(error.context("read the commands"));
                }
                Err(error) => batch.push((number, Err(error))),
            }
        }
        Ok(Some(batch))
    }
}

/// A line that was read as a command.
pub(crate) struct Parsed {
    pub(crate) command: AnyCommand,
    pub(crate) meta: Meta,
    pub(crate) at: Timestamp,
}

/// Lines of a file, or of standard input for `None`; with `timed`, they say when they were.
///
/// # Errors
/// When the file is not there.
pub(crate) fn of(file: Option<&Path>, timed: bool) -> Result<Lines> {
    let read = match file {
        None => read_ahead(Box::new(io::stdin())),
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| {
                format!("read {}: check that the file is there and may be read", path.display())
            })?;
            read_ahead(Box::new(file))
        }
    }?;
    Ok(Lines { read, timed })
}

fn read_ahead(input: Box<dyn io::Read + Send>) -> Result<Receiver<(u64, Result<Vec<u8>>)>> {
    let (send, receive) = sync_channel(LINES_MAX);
    let read = move || {
        let mut input = BufReader::with_capacity(256 * 1024, input);
        for number in 1.. {
            let line = read_line(&mut input);
            let over = matches!(line, Ok(None));
            let failed = line.as_ref().is_err_and(|error| error.is::<io::Error>());
            let Some(line) = line.transpose() else { return };
            if over || send.send((number, line)).is_err() || failed {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("bellhop-input".to_owned())
        .spawn(read)
        .context("start the thread that reads the commands")?;
    Ok(receive)
}

/// One line without its end; `None` at the end of the input.
fn read_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut bytes = 0;
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            break;
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        bytes += part.len() + usize::from(end.is_some());
        if line.len() + part.len() <= LINE_BYTES_MAX {
            line.extend_from_slice(part);
        }
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    if bytes == 0 {
        return Ok(None);
    }
    if bytes > LINE_BYTES_MAX {
        bail!("the line has {bytes} bytes; at most {LINE_BYTES_MAX} are read");
    }
    Ok(Some(line))
}

/// Reads a line as a command; with `timed`, it says when it was.
///
/// # Errors
/// [`Faults`]: everything that is wrong with it, each with its path.
pub(crate) fn parse(line: &[u8], timed: bool) -> Result<Parsed> {
    let value: Value =
        serde_json::from_slice(line).map_err(|error| anyhow!("not JSON: {error}"))?;
    let Value::Object(mut fields) = value else {
        bail!("not a JSON object; write {{\"type\":\"..\",\"idempotency_key\":\"..\", ..}}")
    };
    let mut envelope = Envelope::of(&mut fields);
    let type_name = match (envelope.has("type"), envelope.text("type")) {
        (false, _) => {
            envelope.fault(format!(
                "the field \"type\" is missing; the types are {}",
                AnyCommand::TYPES.join(", ")
            ));
            None
        }
        (true, type_name) => type_name,
    };
    let key = match (envelope.has(KEY), envelope.text(KEY)) {
        (false, _) => {
            envelope.fault(format!("the field \"{KEY}\" is missing: {OWN_KEY}"));
            None
        }
        (true, Some(key)) if key.is_empty() => {
            envelope.fault(format!("{KEY}: the text is empty: {OWN_KEY}"));
            None
        }
        (true, key) => key,
    };
    let uuid = |text: &str| Uuid::parse_str(text).map_err(|_| format!("\"{text}\" is not a UUID"));
    let message_id = envelope.parsed("message_id", uuid);
    let correlation_id = envelope.parsed("correlation_id", uuid);
    let at = match (timed, envelope.has("at")) {
        (true, true) => envelope.parsed("at", instant::from_text),
        (true, false) => {
            envelope.fault("the field \"at\" is missing; with --timestamps create every command says when it was".to_owned());
            None
        }
        (false, true) => {
            envelope.text("at");
            envelope.fault(
                "the field \"at\" is for --timestamps create; this log takes the time of its clock"
                    .to_owned(),
            );
            None
        }
        (false, false) => Some(Timestamp(0)),
    };
    let mut faults = envelope.into_faults();
    let command = type_name.map(|type_name| AnyCommand::from_json(&type_name, fields));
    let command = match command.transpose() {
        Ok(command) => command,
        Err(error) => {
            faults.extend(sentences(&error));
            None
        }
    };
    let (Some(command), Some(key), Some(at), true) = (command, key, at, faults.is_empty()) else {
        return Err(Faults(faults).into());
    };
    let message_id = message_id.unwrap_or_else(|| {
        // Repeats of a message share its id.
        let name = format!("{}/{key}", command.property_id());
        let bits = xxh3_128(name.as_bytes()).to_be_bytes();
        uuid::Builder::from_custom_bytes(bits).into_uuid()
    });
    let mut meta = Meta::of_command(message_id, &key, at);
    meta.correlation_id = correlation_id;
    Ok(Parsed { command, meta, at })
}
