//! What becomes of parked records: somebody releases or skips them, in order like any decision.
//!
//! # Invariants
//! 1. A parked record is resolved once, whoever asks how often: the offsets that were are part of
//!    the state.
//! 2. The event, its copy in the parked topic and the released command are of one transaction.

use std::collections::BTreeMap;

use compact_str::format_compact;

use crate::avro::{Avro, DecodeError, Reader, write_long};
use crate::call::Stamp;
use crate::engine::{
    EngineRecord, ParkedKind, ParkedResolved, Release, Resolution, ResolveParked, encode_with_meta,
};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::message::{Meta, Position};
use crate::outcome::{Outcome, Unfit};
use crate::record::{Record, frame, push_header};
use crate::task::Task;

/// Bytes of the name of who resolves a parked record.
pub const BY_BYTES_MAX: usize = 256;
/// Bytes of the reason.
pub const WHY_BYTES_MAX: usize = 1_024;
/// Header of a released command: partition and offset of the record that was parked.
pub const RELEASED_FROM: &str = "bellhop-released-from";

/// The parked records that were resolved: the source (offset, index) of the event that says so, by
/// their offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Resolved(BTreeMap<u64, (u64, u16)>);

impl Resolved {
    pub(super) fn insert(&mut self, parked: u64, event: (u64, u16)) {
        self.0.entry(parked).or_insert(event);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        write_long(self.0.len() as i64, out);
        for (parked, (offset, index)) in &self.0 {
            write_long(parked.cast_signed(), out);
            write_long(offset.cast_signed(), out);
            index.encode(out);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut resolved = Self::default();
        for _ in 0..reader.long()? {
            let parked = reader.long()?.cast_unsigned();
            let event = (reader.long()?.cast_unsigned(), u16::decode(reader)?);
            resolved.insert(parked, event);
        }
        Ok(resolved)
    }
}

impl Task {
    /// Whether a parked record was released or skipped, by its offset in the commands topic.
    #[must_use]
    pub fn is_resolved(&self, offset: u64) -> bool {
        self.resolved.0.contains_key(&offset)
    }

    /// Releases or skips a parked record; one that was resolved before stays as it was.
    pub(super) fn resolve_parked(
        &mut self,
        record: &Record<'_>,
        datum: &[u8],
        next_index: &mut u16,
    ) -> Result<Outcome, Unfit> {
        let (meta, asked) = self.read_resolution(record, datum)?;
        let offset = asked.offset.cast_unsigned();
        let partition = self.config.partition;
        let log_id = self.config.log_id;
        if let Some((at, index)) = self.resolved.0.get(&offset) {
            let first_event = log_id.message_id(Position { partition, offset: *at }, *index);
            return Ok(Outcome::Repeated { code: 0, first_event });
        }
        let position = Position { partition, offset: record.offset };
        let now = self.progress.stream_time;
        let index = *next_index;
        *next_index += 1;
        let stamp = Stamp {
            position,
            now,
            commands_topic: &self.config.commands_topic,
            version: &self.config.version,
        };
        // Not the one that it came with, which may be of any size.
        let key = format_compact!("parked/{partition}@{offset}");
        let mut stamped = stamp.of(&meta, Some(key), 0, 0);
        stamped.message_id = log_id.message_id(position, index);
        if let Some(source) = &mut stamped.source {
            source.index = index;
        }
        let resolution = match &asked.release {
            None => Resolution::Skipped,
            Some(release) if release.edited => Resolution::Edited,
            Some(_) => Resolution::Released,
        };
        let event =
            ParkedResolved { offset: asked.offset, resolution, by: asked.by, why: asked.why };
        let schema_id = self.wire.written_id(ParkedResolved::NAME);
        for records in [&mut self.output.events, &mut self.output.parked] {
            records.push(
                now,
                |_| {},
                |out| {
                    frame(schema_id, out);
                    encode_with_meta(&stamped, &event, out);
                },
            );
        }
        if let Some(written) = self.output.events.last() {
            self.history.add(Some((record.offset, index)), written.key, written.value);
        }
        if let Some(headers) = self.header_writer.outgoing() {
            let events = &mut self.output.events;
            headers.add_to(events, stamped.message_id, ParkedResolved::TYPE, now);
        }
        if let Some(release) = asked.release {
            let commands = &mut self.output.commands;
            commands.push(
                now,
                |out| out.extend_from_slice(&release.key.0),
                |out| out.extend_from_slice(&release.value.0),
            );
            commands.add_headers(|_, out| {
                for header in release.headers.iter().filter(|it| it.name != RELEASED_FROM) {
                    push_header(out, &header.name, |out| out.extend_from_slice(&header.value.0));
                }
                let from = Position { partition, offset };
                push_header(out, RELEASED_FROM, |out| {
                    out.extend_from_slice(from.to_string().as_bytes());
                });
            });
        }
        self.resolved.insert(offset, (record.offset, index));
        Ok(Outcome::Decided { code: 0, first_event: stamped.message_id })
    }

    fn read_resolution(
        &self,
        record: &Record<'_>,
        datum: &[u8],
    ) -> Result<(Meta, ResolveParked), Unfit> {
        let undecodable = |error: DecodeError| {
            let cause = format!("{} is not decodable: {error}", ResolveParked::TYPE);
            Unfit::new(ParkedKind::Undecodable, cause)
        };
        let mut reader = Reader::new(datum);
        let meta = Meta::decode(&mut reader).map_err(undecodable)?;
        let asked = ResolveParked::decode(&mut reader).map_err(undecodable)?;
        reader.finish().map_err(undecodable)?;
        let wrong = |kind, cause| Err(Unfit::new(kind, cause));
        let here = self.config.partition;
        if asked.partition != here {
            let cause = format!("it is for partition {}, the record is in {here}", asked.partition);
            return wrong(ParkedKind::WrongKey, cause);
        }
        let before = u64::try_from(asked.offset).is_ok_and(|offset| offset < record.offset);
        let texts = (1..=BY_BYTES_MAX).contains(&asked.by.len())
            && (1..=WHY_BYTES_MAX).contains(&asked.why.len());
        if !before || !texts {
            let cause = format!(
                "{} of offset {}: it names an earlier offset, who asks (1 to {BY_BYTES_MAX} bytes) and why (1 to {WHY_BYTES_MAX} bytes)",
                ResolveParked::TYPE,
                asked.offset
            );
            return wrong(ParkedKind::Undecodable, cause);
        }
        let bytes = asked.release.as_ref().map_or(0, Release::bytes);
        if bytes > MESSAGE_BYTES_MAX {
            let cause =
                format!("the released record has {bytes} bytes, at most {MESSAGE_BYTES_MAX}");
            return wrong(ParkedKind::TooLarge, cause);
        }
        Ok((meta, asked))
    }
}
