//! The spans of a worker.
//!
//! ```text
//! the sender's span ─▶ decide CreateReservation        of each command whose trace is recorded
//!                        └▶ commit                     of the transaction; links where it has several
//! take over ─▶ restore                                 of each partition that is assigned
//! ```
//!
//! A command's span is told when its outcome is committed, so once. Its id follows from the
//! command's position: it is the one that stands in the `traceparent` of its events.
//!
//! # Source
//! OpenTelemetry, semantic conventions 1.37, messaging spans, Kafka, CloudEvents.

use std::sync::Arc;

use bellhop_core::headers::{TraceParent, collect_state};
use bellhop_core::message::{LogId, Position, Timestamp};
use bellhop_core::outcome::Outcome;
use bellhop_core::record::{Record, unframe};
use bellhop_core::topology::Topology;
use uuid::Uuid;

use super::partition::Partition;
use crate::clock::Clock;
use crate::log::{Ended, Transaction};
use crate::restore::{self, Restored};
use crate::telemetry::otlp::{Span, SpanKind};
use crate::telemetry::{Source, Spans};

/// Links of a span, as OpenTelemetry's own limit has it.
const LINKS_MAX: usize = 128;
const PARTITION: &str = "messaging.destination.partition.id";

/// Makes the spans of commands.
pub(super) struct Tracer<'a> {
    pub(super) spans: &'a Spans,
    pub(super) clock: &'a dyn Clock,
    pub(super) topology: &'a Topology,
    pub(super) log_id: LogId,
}

/// The decision of a command whose trace is recorded.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    trace: TraceParent,
    start: Timestamp,
}

impl Tracer<'_> {
    /// Begins the span of a record, if its trace is recorded.
    #[inline]
    pub(super) fn begin(&self, record: &Record<'_>) -> Option<Begun> {
        if record.headers.is_empty() {
            return None;
        }
        let trace = TraceParent::of(record.headers).filter(|trace| trace.is_sampled())?;
        Some(Begun { trace, start: self.clock.now() })
    }

    /// Ends it: the partition keeps it until the outcome is committed. What has no outcome is told
    /// at once, for nothing of it will be.
    pub(super) fn end(
        &self,
        begun: Begun,
        record: &Record<'_>,
        name: Option<&str>,
        partition: &mut Partition,
    ) {
        let at = Position { partition: partition.task().config().partition, offset: record.offset };
        let command = name.and_then(|name| self.type_of(name));
        let own = begun.trace.decided_at(self.log_id, at);
        let name = command.map_or_else(|| "decide".to_owned(), |it| format!("decide {it}"));
        let mut span = Span::new(own.trace_id, own.span_id, name, begun.start)
            .below_remote(begun.trace.span_id);
        span.end(self.clock.now());
        span.kind = SpanKind::Consumer.into();
        span.trace_state = state_of(record);
        describe(&mut span, record, at, self.spans.source());
        if let Some(command) = command {
            span.say("bellhop.command", command);
        }
        match (partition.outcome_of(record.offset), &partition.failure) {
            (Some(outcome), _) => {
                if let Outcome::Parked(kind) = outcome {
                    let trace_id = format!("{:032x}", begun.trace.trace_id);
                    tracing::info!(position = %at, ?kind, trace_id, "parked");
                }
                conclude(&mut span, outcome);
                partition.keep(span);
            }
            (None, Some(failure)) => {
                span.fail(failure.what.as_str());
                self.spans.send(span);
            }
            // It was decided before.
            (None, None) => {}
        }
    }

    fn type_of(&self, name: &str) -> Option<&'static str> {
        let mut messages = self.topology.requests().iter().map(|request| request.handler.message);
        messages.find(|message| message.name == name).map(|message| message.type_name)
    }
}

/// The schema id that a record's value names.
pub(super) fn schema_id(record: &Record<'_>) -> Option<u32> {
    record.value.and_then(unframe).map(|(id, _)| id)
}

fn text_of<'a>(record: &Record<'a>, name: &str) -> Option<&'a str> {
    let header = record.headers.iter().find(|header| header.name == name)?;
    str::from_utf8(header.value).ok()
}

fn state_of(record: &Record<'_>) -> String {
    let mut state = Vec::new();
    collect_state(record.headers, &mut state);
    String::from_utf8(state).unwrap_or_default()
}

fn describe(span: &mut Span, record: &Record<'_>, at: Position, source: &Source) {
    span.say("messaging.system", source.system.as_str());
    span.say("messaging.operation.name", "decide");
    span.say("messaging.operation.type", "process");
    span.say("messaging.destination.name", source.destination.as_str());
    span.say("messaging.consumer.group.name", source.group.as_str());
    span.say(PARTITION, at.partition.to_string());
    span.say("messaging.kafka.offset", at.offset);
    span.say("messaging.message.body.size", record.value.map_or(0, |value| value.len() as u64));
    if let Some(key) = record.key.and_then(|key| str::from_utf8(key).ok()) {
        span.say("messaging.kafka.message.key", key);
    }
    let cloud_event = [
        ("ce_id", "cloudevents.event_id"),
        ("ce_source", "cloudevents.event_source"),
        ("ce_type", "cloudevents.event_type"),
        ("ce_subject", "cloudevents.event_subject"),
    ];
    for (header, attribute) in cloud_event {
        if let Some(text) = text_of(record, header) {
            span.say(attribute, text);
        }
    }
}

fn conclude(span: &mut Span, outcome: Outcome) {
    let (word, event, code) = match outcome {
        Outcome::Decided { code, first_event } => {
            (if code == 0 { "accepted" } else { "refused" }, Some(first_event), code)
        }
        Outcome::Repeated { code, first_event } => ("repeated", Some(first_event), code),
        Outcome::Conflict { event, .. } => ("conflict", Some(event), 0),
        Outcome::Parked(kind) => {
            let kind = format!("{kind:?}");
            span.say("error.type", kind.as_str());
            span.fail(format!("parked: {kind}"));
            ("parked", None, 0)
        }
        Outcome::Ticked => ("ticked", None, 0),
    };
    span.say("bellhop.outcome", word);
    if let Some(event) = event {
        span.say("bellhop.event_id", event.hyphenated().to_string());
    }
    if code != 0 {
        span.say("bellhop.refusal_code", u64::from(code));
    }
}

/// The span of a transaction that carries spans of commands: below the only one, or with a link to
/// each of several.
pub(super) fn of_transaction<'a>(
    transaction: &Transaction,
    mut decided: impl Iterator<Item = &'a Span>,
    clock: &dyn Clock,
) -> Option<Span> {
    let first = decided.next()?;
    let mut span = begin("commit", clock);
    match decided.next() {
        None => span = span.below(first),
        Some(second) => {
            let all = [first, second].into_iter().chain(decided);
            span.links = all.take(LINKS_MAX).map(Span::link).collect();
        }
    }
    let events = transaction.parts.iter().map(|part| part.output.events.len() as u64);
    span.say("bellhop.partitions", transaction.parts.len() as u64);
    span.say("bellhop.events", events.sum::<u64>());
    Some(span)
}

pub(super) fn end_transaction(mut span: Span, how: Ended, spans: &Spans, clock: &dyn Clock) {
    match how {
        Ended::Committed => {}
        Ended::Aborted => span.fail("aborted: it is submitted again"),
        Ended::Refused => span.fail("refused: it is taken apart"),
        Ended::Unknown => span.fail("nobody knows how it ended: it is found out"),
    }
    span.end(clock.now());
    spans.send(span);
}

/// A partition that is taken over, and the restore of its state.
pub(super) struct Takeover {
    spans: Spans,
    clock: Arc<dyn Clock>,
    span: Span,
    restore: Option<Span>,
}

impl Takeover {
    pub(super) fn begin(spans: Spans, clock: Arc<dyn Clock>, partition: u32) -> Self {
        let mut span = begin("take over", clock.as_ref());
        span.say(PARTITION, partition.to_string());
        Self { spans, clock, span, restore: None }
    }

    /// The restore begins, in a span of its own.
    pub(super) fn begin_restore(&mut self) {
        self.restore = Some(begin("restore", self.clock.as_ref()).below(&self.span));
    }

    /// The restore has ended.
    pub(super) fn end_restore(&mut self, restored: Result<&Restored, &restore::Error>) {
        let Some(mut span) = self.restore.take() else { return };
        span.end(self.clock.now());
        match restored {
            Ok(Restored { events_end, snapshot, .. }) => {
                span.say("bellhop.events_end", *events_end);
                if let Some(snapshot) = snapshot {
                    span.say("bellhop.snapshot_events_end", *snapshot);
                }
            }
            Err(error) => span.fail(error.to_string()),
        }
        self.spans.send(span);
    }

    pub(super) fn end(mut self) {
        self.span.end(self.clock.now());
        self.spans.send(self.span);
    }
}

/// A span of a trace that begins here, if it is not put below another.
fn begin(name: &str, clock: &dyn Clock) -> Span {
    let (trace, span) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128() as u64);
    Span::new(trace, span, name.to_owned(), clock.now())
}
