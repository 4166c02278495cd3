//! Replies to the commands that ask for one by a `reply-to` header.
//!
//! A reply names the outcome and carries its event, so that every command is answered by all that
//! it led to. What it costs is paid by commands that ask.

use uuid::Uuid;

use super::{CORRELATION_ID, REPLY_TO, Task};
use crate::avro::{Avro, Bytes, Reader};
use crate::engine::{EngineRecord, Parked, ParkedKind, Reply, ReplyOutcome};
use crate::headers;
use crate::limits::{CORRELATION_ID_BYTES_MAX, KEY_BYTES_MAX};
use crate::message::{Meta, Position};
use crate::outcome::{Answer, Outcome, Unfit};
use crate::record::{Header, Record, frame, unframe};
use crate::topology::Target;

/// Stands for the reply among the messages that a record leads to: of events and commands none is
/// given it.
const REPLY_INDEX: u16 = u16::MAX;

impl Task {
    /// Answers a command that asks for it.
    pub(super) fn reply(&mut self, record: &Record<'_>, outcome: Outcome) {
        if record.headers.is_empty() {
            return;
        }
        let Some(topic) = self.reply_topic(record.headers).cloned() else { return };
        let at = Position { partition: self.config.partition, offset: record.offset };
        let Some(reply) = self.reply_of(record, outcome, at) else { return };
        // What is larger than any message's is of no use to whoever waits.
        let fits = |bytes: &&[u8]| bytes.len() <= KEY_BYTES_MAX;
        let key = record.key.filter(fits);
        let mut value = Vec::new();
        frame(self.wire.written_id(Reply::NAME), &mut value);
        reply.encode(&mut value);
        let mut headers = Vec::new();
        if let Some(outgoing) = self.header_writer.outgoing() {
            let id = self.config.log_id.message_id(at, REPLY_INDEX);
            outgoing.write(
                id,
                Reply::TYPE,
                key.unwrap_or_default(),
                self.progress.stream_time,
                &mut headers,
            );
        }
        self.output.replies.push(Answer {
            topic,
            correlation_id: correlation_id(record.headers)
                .filter(|id| id.len() <= CORRELATION_ID_BYTES_MAX)
                .map(<[u8]>::to_vec),
            key: key.map(<[u8]>::to_vec),
            value,
            headers,
        });
    }

    /// What is said of an outcome; nothing of a tick.
    fn reply_of(&self, record: &Record<'_>, outcome: Outcome, at: Position) -> Option<Reply> {
        let mut reply = Reply {
            partition: at.partition,
            offset: at.offset.cast_signed(),
            outcome: ReplyOutcome::Decided,
            code: 0,
            refusal: None,
            event_id: None,
            event: None,
            parked: None,
            cause: None,
        };
        match outcome {
            Outcome::Decided { code, first_event } => {
                reply.code = code;
                reply.refusal = self.refusal(record, code).map(Into::into);
                reply.event_id = Some(first_event);
                reply.event = self.written_event(first_event);
            }
            Outcome::Repeated { code, first_event } => {
                reply.outcome = ReplyOutcome::Repeated;
                reply.code = code;
                reply.refusal = self.refusal(record, code).map(Into::into);
                reply.event_id = Some(first_event);
            }
            Outcome::Conflict { event, .. } => {
                reply.outcome = ReplyOutcome::Conflict;
                reply.event_id = Some(event);
                reply.event = self.written_event(event);
            }
            Outcome::Parked(kind) => {
                reply.outcome = ReplyOutcome::Parked;
                reply.parked = Some(kind);
                reply.cause = self.written_cause(kind);
            }
            Outcome::Ticked => return None,
        }
        Some(reply)
    }

    /// What the code of a command's outcome is called.
    fn refusal(&self, record: &Record<'_>, code: u16) -> Option<&'static str> {
        let (schema_id, _) = unframe(record.value?)?;
        let Target::Request(index) = self.wire.read(schema_id)?.target else { return None };
        let outputs = &self.topology.requests.get(index)?.outputs;
        outputs.iter().find_map(|output| (output.refusal)(code))
    }

    /// An event of the output, which the record just handled has led to.
    fn written_event(&self, id: Uuid) -> Option<Bytes> {
        let events = &self.output.events;
        let found = (0..events.len()).rev().filter_map(|index| events.get(index)).find(|event| {
            let meta = unframe(event.value)
                .and_then(|(_, datum)| Meta::decode(&mut Reader::new(datum)).ok());
            meta.is_some_and(|meta| meta.message_id == id)
        });
        found.map(|event| Bytes(event.value.to_vec()))
    }

    /// Why the record just handled is parked.
    fn written_cause(&self, kind: ParkedKind) -> Option<String> {
        let (_, datum) = unframe(self.output.parked.last()?.value)?;
        let parked = Parked::decode(&mut Reader::new(datum)).ok()?;
        (parked.kind == kind).then_some(parked.cause)
    }

    /// Where a command asks to be answered, if the configuration allows it.
    fn reply_topic(&self, headers: &[Header<'_>]) -> Option<&compact_str::CompactString> {
        let to = headers.iter().find(|header| header.name == REPLY_TO)?;
        self.config.reply_topics.iter().find(|topic| topic.as_bytes() == to.value)
    }

    /// Holds the headers of a command against its message and the bounds of its reply.
    pub(super) fn check_headers(
        &self,
        headers: &[Header<'_>],
        names: [&str; 2],
    ) -> Result<(), Unfit> {
        let unfit = |cause| Unfit::new(ParkedKind::WrongHeaders, cause);
        headers::check(headers, names).map_err(unfit)?;
        let bytes = correlation_id(headers).map_or(0, <[u8]>::len);
        if bytes > CORRELATION_ID_BYTES_MAX && self.reply_topic(headers).is_some() {
            return Err(unfit(format!(
                "the correlation-id has {bytes} bytes, a reply takes at most {CORRELATION_ID_BYTES_MAX}"
            )));
        }
        Ok(())
    }
}

fn correlation_id<'r>(headers: &[Header<'r>]) -> Option<&'r [u8]> {
    headers.iter().find(|header| header.name == CORRELATION_ID).map(|header| header.value)
}
