//! The fold: a task's state from the events of its partition.

use crate::avro::{Avro, DecodeError, Reader};
use crate::dedupe::{Dedupe, FirstOutcome};
use crate::engine::{
    CommandAcknowledged, CommandConflicted, EngineRecord, FORMAT_VERSION, Genesis, KEY_RULE,
    ParkedResolved,
};
use crate::hash::PayloadHash;
use crate::message::{LogId, Meta, Timestamp};
use crate::processor::Apply;
use crate::record::unframe;
use crate::rules::RulesChanged;
use crate::task::{Progress, Task};
use crate::timer::Timers;
use crate::topology::Target;

/// Why an event cannot be folded: the log is damaged, or it is of another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Not a framed record.
    #[error("fold an event of {position}: it has no schema id")]
    Unframed {
        /// Where.
        position: String,
    },
    /// An event type this program does not know.
    #[error(
        "fold an event of {position}: schema id {schema_id} is not an event known here; run the version that wrote it, or a newer one"
    )]
    Unknown {
        /// Where.
        position: String,
        /// The id.
        schema_id: u32,
    },
    /// Bytes that are not what their schema says.
    #[error("fold an event of {position}")]
    Undecodable {
        /// Where.
        position: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// The hash of a command is of a kind that this program cannot compare with.
    #[error(
        "fold an event of {position}: its command was hashed by a newer version; run the version that wrote it, or a newer one"
    )]
    NewerHash {
        /// Where.
        position: String,
    },
    /// The events are another log's.
    #[error(
        "the events begin with the genesis of {found}, expected {expected}: these files are of another log"
    )]
    ForeignGenesis {
        /// What they say.
        found: String,
        /// What was expected.
        expected: String,
    },
}

impl Task {
    /// Applies an event of the log; skips one whose source the state already holds.
    ///
    /// # Errors
    /// [`FoldError`] when the event is not of this log or this program.
    pub fn fold(&mut self, record_key: &[u8], value: &[u8]) -> Result<(), FoldError> {
        let partition = self.config.partition;
        let position = || format!("partition {partition}");
        let Some((schema_id, datum)) = unframe(value) else {
            return Err(FoldError::Unframed { position: position() });
        };
        let Some(readable) = self.wire.read(schema_id) else {
            return Err(FoldError::Unknown { position: position(), schema_id });
        };
        let undecodable = |source| FoldError::Undecodable { position: position(), source };
        let datum = match &readable.transcode {
            None => datum,
            Some(transcode) => {
                self.transcoded.clear();
                transcode.transcode(datum, &mut self.transcoded).map_err(undecodable)?;
                &self.transcoded
            }
        };
        let mut reader = Reader::new(datum);
        let meta = Meta::decode(&mut reader).map_err(undecodable)?;
        let Some(source) = &meta.source else {
            let genesis = Genesis::decode(&mut reader).map_err(undecodable)?;
            self.check_genesis(&genesis)?;
            // A snapshot may hold it, and later rules.
            if self.history.events == 0 {
                self.history.add(None, record_key, value);
                self.follow(genesis.rules);
            }
            return Ok(());
        };
        let at = source.position();
        let event = (at.offset, source.index);
        if event < self.held || at.offset >= self.folds_before {
            return Ok(());
        }
        if at.offset >= self.progress.next_offset {
            self.progress.next_offset = at.offset + 1;
            advance(&mut self.progress, &mut self.dedupe, &mut self.timers, meta.occurred_at);
        }
        let mut changed = None;
        let (code, remember) = match readable.target {
            Target::Event(index) => {
                let entry = &self.topology.events[index];
                let call = Apply {
                    entry,
                    stores: &mut self.stores,
                    timers: &mut self.timers,
                    meta: &meta,
                    position: at,
                    rules: self.rules,
                    body: reader.rest(),
                };
                ((entry.event.fold)(&mut reader, call).map_err(undecodable)?, true)
            }
            Target::Other if readable.name == CommandAcknowledged::NAME => (0, true),
            Target::Other if readable.name == RulesChanged::NAME => {
                changed = Some(RulesChanged::decode(&mut reader).map_err(undecodable)?.after);
                (0, false)
            }
            Target::Other if readable.name == CommandConflicted::NAME => (0, false),
            Target::Other if readable.name == ParkedResolved::NAME => {
                let event = ParkedResolved::decode(&mut reader).map_err(undecodable)?;
                self.resolved.insert(event.offset.cast_unsigned(), (at.offset, source.index));
                (0, false)
            }
            Target::Other
            | Target::Request(_)
            | Target::Tick
            | Target::ChangeRules
            | Target::ResolveParked => {
                return Err(FoldError::Unknown { position: position(), schema_id });
            }
        };
        if let Some(key) = source.idempotency_key.as_ref().filter(|_| remember) {
            let print = self.dedupe.fingerprint(record_key, key.as_bytes(), &mut self.scratch);
            if self.dedupe.get(print).is_none() {
                let payload_hash = PayloadHash::read(source.payload_hash.cast_unsigned());
                let Some(payload_hash) = payload_hash else {
                    return Err(FoldError::NewerHash { position: position() });
                };
                let first =
                    FirstOutcome { payload_hash, offset: at.offset, index: source.index, code };
                self.dedupe.insert(print, first, meta.occurred_at);
            }
        }
        self.held = (at.offset, source.index.saturating_add(1));
        self.history.add(Some(event), record_key, value);
        if let Some(rules) = changed {
            self.follow(rules);
        }
        Ok(())
    }

    /// Folds no events of records from an offset on: they are decided again, to the same events.
    pub fn fold_only_before(&mut self, offset: u64) {
        self.folds_before = offset;
    }

    fn check_genesis(&self, genesis: &Genesis) -> Result<(), FoldError> {
        let describe = |log_id: LogId, partitions: u32, rule: &str, version: u16| {
            format!("log {} with {partitions} partitions by {rule}, format {version}", log_id.0)
        };
        let found = describe(
            LogId(genesis.log_id),
            genesis.partitions,
            &genesis.key_rule,
            genesis.format_version,
        );
        let expected =
            describe(self.config.log_id, self.config.partitions, KEY_RULE, FORMAT_VERSION);
        if found == expected { Ok(()) } else { Err(FoldError::ForeignGenesis { found, expected }) }
    }

    /// Brings a folded state to the committed progress: time may have passed without an event. The
    /// history stays that of the events.
    pub fn resume(&mut self, committed: Progress) {
        self.progress.next_offset = self.progress.next_offset.max(committed.next_offset);
        self.held = self.held.max((self.progress.next_offset, 0));
        let to = committed.stream_time;
        advance(&mut self.progress, &mut self.dedupe, &mut self.timers, to);
    }
}

/// Moves a folded state's time: what was due has fired, and what it led to is folded for itself.
fn advance(progress: &mut Progress, dedupe: &mut Dedupe, timers: &mut Timers, to: Timestamp) {
    let now = progress.stream_time.max(to);
    progress.stream_time = now;
    dedupe.advance(now);
    while timers.pop_due(now).is_some() {}
}
