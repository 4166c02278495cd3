//! The part of OTLP that a trace needs, as protocol buffers.
//!
//! Written out here because the crates of OpenTelemetry turn on features of crates that the SQL
//! engine is built on as well, for everything that is said in these few messages.
//!
//! # Source
//! opentelemetry-proto 1.9, `trace/v1/trace.proto`, `common/v1/common.proto`,
//! `collector/trace/v1/trace_service.proto`; the tests read what is sent with the project's own
//! Python package.

use bellhop_core::message::Timestamp;

/// What is posted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// One for this process.
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<ResourceSpans>,
}

/// What is answered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Set when some were refused.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// How many were refused, and why.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartialSuccess {
    /// How many.
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// The spans of one process.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResourceSpans {
    /// The process.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// One, for this crate.
    #[prost(message, repeated, tag = "2")]
    pub scopes: Vec<ScopeSpans>,
}

/// What a process is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// In words of the semantic conventions.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// The spans of one instrumentation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScopeSpans {
    /// The instrumentation.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// Its spans.
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

/// An instrumentation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// Something that took time.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// Notes of other systems.
    #[prost(string, tag = "3")]
    pub trace_state: String,
    /// Empty for the first of a trace.
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    /// What was done.
    #[prost(string, tag = "5")]
    pub name: String,
    /// What it is among the spans of others.
    #[prost(enumeration = "SpanKind", tag = "6")]
    pub kind: i32,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    /// The same.
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    /// In words of the semantic conventions.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// Spans of other traces that it is about.
    #[prost(message, repeated, tag = "13")]
    pub links: Vec<Link>,
    /// Set when it failed.
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    /// Those of the trace, and whether the parent is another process's.
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

/// Another span.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Link {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
}

/// How a span ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// Why.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Unset, 1 for good, 2 for failed.
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// Whose part of a conversation a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum SpanKind {
    /// Nobody said.
    Unspecified = 0,
    /// Nobody else's.
    Internal = 1,
    /// Answers.
    Server = 2,
    /// Asks.
    Client = 3,
    /// Sends a message.
    Producer = 4,
    /// Handles one.
    Consumer = 5,
}

/// An attribute.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AnyValue {
    /// One of some kinds.
    #[prost(oneof = "Value", tags = "1, 3")]
    pub value: Option<Value>,
}

/// The kinds of values that are used here.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// A text.
    #[prost(string, tag = "1")]
    Text(String),
    /// A number.
    #[prost(int64, tag = "3")]
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number.cast_signed())
    }
}

impl KeyValue {
    /// An attribute of a name.
    pub fn new(key: &str, value: impl Into<Value>) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value.into()) }) }
    }
}

impl Span {
    /// The parent is known, and whether it is another process's.
    const PARENT_IS_TOLD: u32 = 0x100;
    const PARENT_IS_REMOTE: u32 = 0x200;
    const SAMPLED: u32 = 1;

    /// A span of a trace that is recorded, which ends when it begins.
    #[must_use]
    pub fn new(trace_id: u128, span_id: u64, name: String, start: Timestamp) -> Self {
        Self {
            trace_id: trace_id.to_be_bytes().to_vec(),
            span_id: span_id.to_be_bytes().to_vec(),
            name,
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanoseconds(start),
            end_time_unix_nano: nanoseconds(start),
            flags: Self::SAMPLED,
            ..Self::default()
        }
    }

    /// Puts it below another process's span.
    #[must_use]
    pub fn below_remote(mut self, parent: u64) -> Self {
        self.flags |= Self::PARENT_IS_TOLD | Self::PARENT_IS_REMOTE;
        self.parent_span_id = parent.to_be_bytes().to_vec();
        self
    }

    /// Puts it below a span of this process.
    #[must_use]
    pub fn below(mut self, parent: &Self) -> Self {
        self.flags |= Self::PARENT_IS_TOLD;
        self.trace_id.clone_from(&parent.trace_id);
        self.parent_span_id.clone_from(&parent.span_id);
        self.trace_state.clone_from(&parent.trace_state);
        self
    }

    /// Says what it is about.
    pub fn say(&mut self, key: &str, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(key, value));
    }

    /// Says that it failed.
    pub fn fail(&mut self, message: impl Into<String>) {
        self.status = Some(Status { message: message.into(), code: 2 });
    }

    /// Ends it; not before it began, whatever the clock says.
    pub fn end(&mut self, end: Timestamp) {
        self.end_time_unix_nano = nanoseconds(end).max(self.start_time_unix_nano);
    }

    /// Another's link to it.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { trace_id: self.trace_id.clone(), span_id: self.span_id.clone() }
    }
}

fn nanoseconds(time: Timestamp) -> u64 {
    time.0.max(0).cast_unsigned().saturating_mul(1_000)
}
