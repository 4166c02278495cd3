//! A change of the rules, as a record of the partition's own order.

use crate::avro::{Avro, DecodeError, Reader};
use crate::engine::{EngineRecord, ParkedKind, encode_with_meta};
use crate::message::{Meta, Position, Source};
use crate::outcome::{Outcome, Unfit};
use crate::record::frame;
use crate::rules::{ChangeRules, Rules, RulesChanged};
use crate::task::Task;

impl Task {
    /// Follows other rules from here on, and says so by an event.
    pub(super) fn change_rules(
        &mut self,
        offset: u64,
        datum: &[u8],
        next_index: &mut u16,
    ) -> Result<Outcome, Unfit> {
        let (asked, ChangeRules { partition, rules }) = read(datum).map_err(|error| {
            let cause = format!("{} is not decodable: {error}", ChangeRules::TYPE);
            Unfit::new(ParkedKind::Undecodable, cause)
        })?;
        let own = self.config.partition;
        if partition != own {
            let cause = format!("it changes the rules of partition {partition}, this is {own}");
            return Err(Unfit::new(ParkedKind::WrongKey, cause));
        }
        rules.check().map_err(|cause| Unfit::new(ParkedKind::Undecodable, cause))?;

        let at = Position { partition, offset };
        let index = *next_index;
        *next_index += 1;
        let first_event = self.config.log_id.message_id(at, index);
        let now = self.progress.stream_time;
        let meta = Meta {
            message_id: first_event,
            idempotency_key: None,
            correlation_id: Some(asked.correlation_id.unwrap_or(asked.message_id)),
            causation_id: Some(asked.message_id),
            occurred_at: now,
            source: Some(Source {
                topic: self.config.commands_topic.clone(),
                partition,
                offset: offset.cast_signed(),
                index,
                depth: 0,
                idempotency_key: None,
                payload_hash: 0,
                decided_by: self.config.version.clone(),
            }),
        };
        let event = RulesChanged { before: self.rules, after: rules };
        let schema_id = self.wire.written_id(RulesChanged::NAME);
        self.output.events.push(
            now,
            |_| {},
            |out| {
                frame(schema_id, out);
                encode_with_meta(&meta, &event, out);
            },
        );
        if let Some(event) = self.output.events.last() {
            self.history.add(Some((offset, index)), event.key, event.value);
        }
        if let Some(headers) = self.header_writer.outgoing() {
            headers.add_to(&mut self.output.events, first_event, RulesChanged::TYPE, now);
        }
        self.follow(rules);
        Ok(Outcome::Decided { code: 0, first_event })
    }

    /// Decides by these rules; what they remember no longer is forgotten at once, so that the state
    /// does not depend on what comes next.
    pub(super) fn follow(&mut self, rules: Rules) {
        self.rules = rules;
        self.dedupe.set_retention(rules.idempotency_hours);
        self.dedupe.advance(self.progress.stream_time);
    }
}

fn read(datum: &[u8]) -> Result<(Meta, ChangeRules), DecodeError> {
    let mut reader = Reader::new(datum);
    let read = (Meta::decode(&mut reader)?, ChangeRules::decode(&mut reader)?);
    reader.finish()?;
    Ok(read)
}
