//! What stands beside a message in its headers: CloudEvents 1.0 in binary mode, and W3C Trace
//! Context.
//!
//! Read: [`check`] holds the CloudEvents headers of a command against its message, and
//! [`TraceParent::of`] finds the trace that it belongs to. Written: `Writer`, by option.
//!
//! # Invariants
//! 1. All that is written follows from the log's name, positions, stream time and the command's own
//!    headers, so the same commands give the same headers.
//! 2. A trace never decides anything: headers that say nonsense of it are ignored. Headers that
//!    name another message than the value holds park the record.
//!
//! # Source
//! CloudEvents 1.0.2, Kafka protocol binding 3.2; W3C Trace Context, level 2.

use compact_str::{CompactString, format_compact};
use jiff::SignedDuration;
use jiff::civil::DateTime;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::message::{LogId, Position, Timestamp};
use crate::record::{Header, Records, push_header};

/// Header of a record's trace.
pub const TRACEPARENT: &str = "traceparent";
/// Header that the systems of a trace leave notes in.
pub const TRACESTATE: &str = "tracestate";
/// Header that names the encoding of a value.
pub const CONTENT_TYPE: &str = "content-type";

/// What we write as [`CONTENT_TYPE`]: Avro, in Confluent framing as everything here.
const AVRO: &str = "application/avro";
/// What the content type of an event in structured mode begins with.
const STRUCTURED: &[u8] = b"application/cloudevents";
const VERSION: &str = "ce_specversion";
const ID: &str = "ce_id";
const SOURCE: &str = "ce_source";
const TYPE: &str = "ce_type";
const TIME: &str = "ce_time";
const SUBJECT: &str = "ce_subject";
/// The attributes that every CloudEvent has.
const REQUIRED: [&str; 4] = [VERSION, ID, SOURCE, TYPE];

/// Bytes of a `tracestate` that are passed on; a longer one is dropped, as the standard allows.
const TRACESTATE_BYTES_MAX: usize = 512;

/// Which headers are written with events, cascaded commands and replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// The attributes of CloudEvents, in binary mode.
    pub cloudevents: bool,
    /// `traceparent` and `tracestate`, for commands that came with a trace.
    pub traceparent: bool,
}

/// Holds the CloudEvents headers of a command against its message, which has these names; a record
/// with none of the required attributes is no CloudEvent, and well.
///
/// # Errors
/// What contradicts, in words.
pub fn check(headers: &[Header<'_>], names: [&str; 2]) -> Result<(), String> {
    let mut found = [None; REQUIRED.len()];
    for header in headers {
        let Some(nth) = REQUIRED.iter().position(|name| *name == header.name) else { continue };
        if found[nth].replace(header.value).is_some() {
            return Err(format!("the header {} stands twice", header.name));
        }
    }
    if found.iter().all(Option::is_none) {
        return Ok(());
    }
    let mut texts = [""; REQUIRED.len()];
    for ((text, value), name) in texts.iter_mut().zip(found).zip(REQUIRED) {
        let value = value.ok_or_else(|| {
            format!("the record has headers of CloudEvents and no {name}: send all or none")
        })?;
        *text = str::from_utf8(value)
            .ok()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("the header {name} is empty or no UTF-8"))?;
    }
    let [version, _, _, type_name] = texts;
    if !is_version_1(version) {
        return Err(format!("ce_specversion is \"{version}\", 1.0 is understood"));
    }
    if !names.contains(&type_name) {
        let [name, full] = names;
        return Err(format!("ce_type is \"{type_name}\", the value holds {name} ({full})"));
    }
    Ok(())
}

/// Minor versions only add attributes.
fn is_version_1(version: &str) -> bool {
    let minor = version.strip_prefix("1.");
    minor.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the value is a whole CloudEvent instead of its data.
#[must_use]
pub fn is_structured(headers: &[Header<'_>]) -> bool {
    headers.iter().any(|header| {
        let start = header.value.get(..STRUCTURED.len());
        header.name == CONTENT_TYPE && start.is_some_and(|it| it.eq_ignore_ascii_case(STRUCTURED))
    })
}

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// Whether it is recorded, and whether the trace's id is random.
    flags: u8,
}

impl TraceParent {
    const SAMPLED: u8 = 0b01;
    /// The flags that are defined; others are not passed on.
    const KNOWN: u8 = 0b11;

    /// The trace of a record: `None` when it has none, or two, or what nobody can read.
    #[must_use]
    pub fn of(headers: &[Header<'_>]) -> Option<Self> {
        let mut found = headers.iter().filter(|header| header.name == TRACEPARENT);
        let (first, second) = (found.next()?, found.next());
        second.is_none().then(|| Self::parse(first.value))?
    }

    /// Reads `version-trace-span-flags`; later versions may add to it.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(55)?;
        let version = hexadecimal(&known[..2])?;
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let trace_id = hexadecimal(&known[3..35]).filter(|id| *id != 0)?;
        let span_id = hexadecimal(&known[36..52]).filter(|id| *id != 0)? as u64;
        let flags = hexadecimal(&known[53..])? as u8 & Self::KNOWN;
        (ends && dashes).then_some(Self { trace_id, span_id, flags })
    }

    /// Whether whoever began the trace records it.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// The span in which the record at a position is decided.
    #[must_use]
    pub fn decided_at(self, log_id: LogId, position: Position) -> Self {
        Self { span_id: span_id(log_id, position), ..self }
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"00-");
        write_hexadecimal(&self.trace_id.to_be_bytes(), out);
        out.push(b'-');
        write_hexadecimal(&self.span_id.to_be_bytes(), out);
        out.push(b'-');
        write_hexadecimal(&[self.flags], out);
    }
}

/// The id of the span in which the record at a position is decided: the same every time, so that
/// whoever decides it again, or only reads its events, finds the same span.
#[must_use]
pub fn span_id(log_id: LogId, position: Position) -> u64 {
    xxh3_64(log_id.message_id(position, 0).as_bytes()).max(1)
}

/// Lower-case digits only, as the standard wants them.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(digit))
    })
}

fn write_hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 0xf)]);
    }
}

/// Writes headers with the messages of a task.
pub(crate) struct Writer {
    /// What CloudEvents name as their source, if they are written.
    source: Option<CompactString>,
    traces: bool,
    /// Where the record under way is decided, if it belongs to a trace.
    trace: Option<TraceParent>,
    /// The notes that came with it.
    state: Vec<u8>,
}

/// What is written with the messages of one record.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    source: Option<&'a str>,
    trace: Option<TraceParent>,
    state: &'a [u8],
}

impl Writer {
    pub(crate) fn new(written: Written, log_id: LogId) -> Self {
        let source = written.cloudevents.then(|| format_compact!("/bellhop/{}", log_id.0));
        Self { source, traces: written.traceparent, trace: None, state: Vec::new() }
    }

    /// Hears which trace the record under way belongs to.
    #[inline]
    pub(crate) fn hear(&mut self, headers: &[Header<'_>], log_id: LogId, position: Position) {
        if self.traces {
            self.trace = TraceParent::of(headers).map(|it| it.decided_at(log_id, position));
            self.state.clear();
            if self.trace.is_some() {
                collect_state(headers, &mut self.state);
            }
        }
    }

    /// For what the record under way leads to; `None` when nothing is to be written.
    #[inline]
    pub(crate) fn outgoing(&self) -> Option<Outgoing<'_>> {
        let Self { source, trace, state, .. } = self;
        (source.is_some() || trace.is_some()).then_some(Outgoing {
            source: source.as_deref(),
            trace: *trace,
            state,
        })
    }

    /// For what a timer leads to: it fires before the record under way, and not in its trace.
    #[inline]
    pub(crate) fn untraced(&self) -> Option<Outgoing<'_>> {
        self.source.as_deref().map(|source| Outgoing {
            source: Some(source),
            trace: None,
            state: &[],
        })
    }
}

/// Appends the notes that came with a trace: several headers are one list; what is too long or no
/// text is dropped as a whole.
pub fn collect_state(headers: &[Header<'_>], out: &mut Vec<u8>) {
    for header in headers.iter().filter(|header| header.name == TRACESTATE) {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(header.value);
    }
    let printable = out.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if !printable || out.len() > TRACESTATE_BYTES_MAX {
        out.clear();
    }
}

impl Outgoing<'_> {
    /// Adds headers to the last record.
    #[inline(never)]
    pub(crate) fn add_to(&self, records: &mut Records, id: Uuid, type_name: &str, time: Timestamp) {
        records.add_headers(|key, out| self.write(id, type_name, key, time, out));
    }

    /// Appends the headers of a message, packed.
    pub(crate) fn write(
        &self,
        id: Uuid,
        type_name: &str,
        key: &[u8],
        time: Timestamp,
        out: &mut Vec<u8>,
    ) {
        if let Some(source) = self.source {
            let mut text = Uuid::encode_buffer();
            let id = id.hyphenated().encode_lower(&mut text);
            push_header(out, CONTENT_TYPE, |out| out.extend_from_slice(AVRO.as_bytes()));
            push_header(out, VERSION, |out| out.extend_from_slice(b"1.0"));
            push_header(out, ID, |out| out.extend_from_slice(id.as_bytes()));
            push_header(out, SOURCE, |out| out.extend_from_slice(source.as_bytes()));
            push_header(out, TYPE, |out| out.extend_from_slice(type_name.as_bytes()));
            if let Some(time) = rfc_3339(time) {
                push_header(out, TIME, |out| out.extend_from_slice(time.as_bytes()));
            }
            if !key.is_empty() {
                push_header(out, SUBJECT, |out| out.extend_from_slice(key));
            }
        }
        if let Some(trace) = self.trace {
            push_header(out, TRACEPARENT, |out| trace.write(out));
            if !self.state.is_empty() {
                push_header(out, TRACESTATE, |out| out.extend_from_slice(self.state));
            }
        }
    }
}

/// An instant as RFC 3339 writes it; `None` outside of the years 0 to 9999, which have no such form.
fn rfc_3339(time: Timestamp) -> Option<String> {
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let time = EPOCH.checked_add(SignedDuration::from_micros(time.0)).ok()?;
    (time.year() >= 0).then(|| format!("{time:.6}Z"))
}

#[cfg(test)]
mod tests;
