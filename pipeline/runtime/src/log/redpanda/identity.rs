//! What a set of topics is: its genesis is found, or made once.
//!
//! Several workers may meet an empty set of topics at once. Each tries to write the genesis of all
//! partitions in one transaction, under a transactional id that they share: whoever initialises it
//! ends the transaction of the one before and fences it, and then looks again. So one genesis is
//! written, and nobody goes on before it is decided which.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_core::engine::{EngineRecord, FORMAT_VERSION, Genesis, KEY_RULE, engine_schema};
use bellhop_core::history::History;
use bellhop_core::message::LogId;

use super::config::Config;
use super::error;
use super::native::TransactionError;
use super::source::Source;
use super::topics::{Admin, Effect, breaking, made_with};
use super::transactional::TransactionalProducer;
use crate::log::{Error, ErrorKind, Identity, Lookup, Topic};
use crate::registry::Registry;
use crate::schemas_on_disk::other_registry;

/// How long it may take until all agree.
const AGREED: Duration = Duration::from_secs(60);

/// The log that is on the topics.
pub(super) struct Adopted {
    pub(super) identity: Identity,
    /// Of its genesis, for [`check_registry`].
    pub(super) schema_id: u32,
    /// How long the topic of commands keeps them; `None` for ever.
    pub(super) commands_kept: Option<Duration>,
}

/// Checks the topics and finds out what they are; makes their genesis with `log_id` if they have
/// none.
pub(super) fn find_or_make(
    config: &Arc<Config>,
    registry: &dyn Registry,
    log_id: LogId,
) -> Result<Adopted, Error> {
    let tried = || format!("use the topics of \"{}\" on {}", config.prefix, config.brokers);
    let found = Admin::new(config.clone())?.find()?;
    let made_with = made_with(config, &found)?;
    let (breaking, astray): (Vec<_>, Vec<_>) =
        breaking(config, &found, config.timestamps, made_with.as_ref())
            .into_iter()
            .partition(|mismatch| mismatch.effect == Effect::Refused);
    for mismatch in astray {
        tracing::error!(
            topic = mismatch.topic,
            partitions = mismatch.found,
            wanted = mismatch.wanted,
            "a topic has grown: what lands in its new partitions is not decided, the others go on; `bellhop topics check` says what to do"
        );
    }
    if !breaking.is_empty() {
        let named: Vec<_> = breaking.iter().map(ToString::to_string).collect();
        let missing = breaking.iter().all(|mismatch| mismatch.what == "missing");
        let next = match (missing, &config.security.sasl) {
            (false, _) => "these break a promise; `bellhop topics check` says what to do",
            (true, None) => "run `bellhop topics create`",
            (true, Some(_)) => {
                "run `bellhop topics create`, or give the user the right to see them (docs/operations.md lists the rights)"
            }
        };
        return Err(error::fix(tried(), format!("{}: {next}", named.join("; "))));
    }
    let Some(commands) = found.get(Topic::Commands.name()) else {
        return Err(error::fix(tried(), "the topic of commands is missing"));
    };
    let partitions = made_with.map_or(commands.partitions, |genesis| genesis.partitions);
    let timestamps = commands.timestamps();
    let commands_kept = commands.retention();
    let adopted = |log_id, schema_id| Adopted {
        identity: Identity { log_id, partitions, timestamps },
        schema_id,
        commands_kept,
    };
    let mut source = Source::new(config.clone(), &config.group);
    let finder = Finder { config, registry, partitions };
    let until = Instant::now() + AGREED;
    loop {
        if let Some((log_id, schema_id)) = finder.find(&mut source)? {
            return Ok(adopted(log_id, schema_id));
        }
        if let Some((partition, history)) = finder.history(&mut source)? {
            // Somebody may have made the genesis and committed meanwhile.
            if let Some((log_id, schema_id)) = finder.find(&mut source)? {
                return Ok(adopted(log_id, schema_id));
            }
            return Err(error::fix(
                finder.tried(partition),
                format!(
                    "it is empty, and the group {} has committed {history}: the events were deleted, or the topic was made anew; restore it from a backup, or delete the group to begin with nothing: docs/operations.md, \"A partition is refused\"",
                    config.group
                ),
            ));
        }
        match finder.make(&mut source, log_id) {
            Ok(()) => {}
            // Another one writes it at this moment.
            Err(error)
                if matches!(error.kind, ErrorKind::Fenced | ErrorKind::Retry)
                    && Instant::now() < until =>
            {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(error, "look for the genesis again");
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Refuses a registry that is not the log's; one that is away may be, and is asked later.
pub(super) fn check_registry(registry: &dyn Registry, schema_id: u32) -> Result<(), Error> {
    match registry.schema_of(schema_id) {
        Ok(Lookup::Known(schema)) if schema.name == Genesis::NAME => Ok(()),
        Ok(Lookup::Known(schema)) => {
            Err(other_registry(schema_id, Genesis::NAME, Ok(&schema.name), None))
        }
        Ok(Lookup::Unknown(why)) => Err(other_registry(schema_id, Genesis::NAME, Err(&why), None)),
        Err(error) if error.kind == ErrorKind::Retry => {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "the registry is not held against the log");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The log that is on the topics, if there is one, and the schema id of its genesis.
pub(super) fn peek(
    config: &Arc<Config>,
    registry: &dyn Registry,
) -> Result<Option<(LogId, u32)>, Error> {
    let found = Admin::new(config.clone())?.find()?;
    let Some(events) = found.get(Topic::Events.name()) else { return Ok(None) };
    let mut source = Source::new(config.clone(), &config.group);
    let finder = Finder { config, registry, partitions: events.partitions };
    let first = finder.first(&mut source, 0)?;
    Ok(first.map(|(schema_id, genesis)| (LogId(genesis.log_id), schema_id)))
}

struct Finder<'a> {
    config: &'a Config,
    registry: &'a dyn Registry,
    partitions: u32,
}

impl Finder<'_> {
    /// The name that all partitions agree on; none when all are empty.
    fn find(&self, source: &mut Source) -> Result<Option<(LogId, u32)>, Error> {
        let mut agreed: Option<(u32, LogId)> = None;
        let mut first_schema = 0;
        let mut empty = None;
        for partition in 0..self.partitions {
            let Some((schema_id, genesis)) = self.first(source, partition)? else {
                empty = Some(partition);
                continue;
            };
            if agreed.is_none() {
                first_schema = schema_id;
            }
            let tried = || self.tried(partition);
            let rules = (genesis.key_rule.as_str(), genesis.format_version);
            if rules != (KEY_RULE, FORMAT_VERSION) {
                return Err(error::fix(
                    tried(),
                    format!(
                        "it was made by {} format {}, this program knows {KEY_RULE} format {FORMAT_VERSION}; run the version that made it",
                        rules.0, rules.1
                    ),
                ));
            }
            if genesis.partitions != self.partitions {
                return Err(error::fix(
                    tried(),
                    format!(
                        "it was made with {} partitions, the others with {}: these are not one log's",
                        genesis.partitions, self.partitions
                    ),
                ));
            }
            let log_id = LogId(genesis.log_id);
            match agreed {
                Some((first, other)) if other != log_id => {
                    return Err(error::fix(
                        tried(),
                        format!(
                            "partition {first} is of log {}, partition {partition} of {}: these are not one log's",
                            other.0, log_id.0
                        ),
                    ));
                }
                Some(_) => {}
                None => agreed = Some((partition, log_id)),
            }
        }
        match (agreed, empty) {
            (Some(_), Some(partition)) => Err(error::fix(
                self.tried(partition),
                "it is empty while others are not: its events were deleted; restore it",
            )),
            (agreed, _) => Ok(agreed.map(|(_, log_id)| (log_id, first_schema))),
        }
    }

    /// Events that workers have committed before, and of which partition.
    fn history(&self, source: &mut Source) -> Result<Option<(u32, History)>, Error> {
        for partition in 0..self.partitions {
            let committed = source.last_committed(partition)?;
            if let Some(history) = committed.and_then(|committed| committed.note().history) {
                return Ok(Some((partition, history)));
            }
        }
        Ok(None)
    }

    fn tried(&self, partition: u32) -> String {
        format!("use {}, partition {partition}", self.config.topic(Topic::Events))
    }

    /// The genesis that a partition of events begins with; none when it has no event.
    fn first(&self, source: &mut Source, partition: u32) -> Result<Option<(u32, Genesis)>, Error> {
        let (low, end) = source.bounds(Topic::Events, partition)?;
        if low >= end {
            return Ok(None);
        }
        let mut first = None;
        source.read(Topic::Events, partition, low, &mut |event| {
            first = Some(event.value.map(<[u8]>::to_vec));
            ControlFlow::Break(())
        })?;
        let Some(value) = first else { return Ok(None) };
        let foreign = || {
            error::fix(
                self.tried(partition),
                "it does not begin with a genesis: it is not bellhop's, or its first events were deleted",
            )
        };
        // Read by what it says: its bytes are whole even where the registry has lost its schema.
        Genesis::read(&value.unwrap_or_default()).map(Some).ok_or_else(foreign)
    }

    fn make(&self, source: &mut Source, log_id: LogId) -> Result<(), Error> {
        let name = self.config.topic(Topic::Events);
        let id = format!("{name}.genesis");
        let mut producer = TransactionalProducer::open(self.config, &id)?;
        // From here on nobody else's can be committed; one that was is visible, or waited for.
        for partition in 0..self.partitions {
            source.wait_stable(partition)?;
        }
        if self.find(source)?.is_some() {
            return Ok(());
        }
        let schema = engine_schema::<Genesis>();
        let genesis = Genesis {
            log_id: log_id.0,
            partitions: self.partitions,
            key_rule: KEY_RULE.into(),
            format_version: FORMAT_VERSION,
            rules: self.config.rules,
        };
        let mut value = Vec::new();
        genesis.write(self.registry.id_of(Genesis::NAME, &schema)?, &mut value);
        let tried = || format!("write the genesis of {name}");
        let failed = |e: TransactionError| error::of_code(tried(), e.code, &e.text);
        let until = Instant::now() + self.config.request_timeout;
        producer.producer().begin_transaction().map_err(failed)?;
        let all = (0..self.partitions).map(|partition| (partition, &[][..], &value[..]));
        producer.produce(Topic::Events, all).map_err(|(e, _)| error::of_code(tried(), e, ""))?;
        if !producer.drain(until) {
            return Err(error::retry(tried(), "the brokers did not take it in time"));
        }
        producer.commit(until).map_err(failed)?;
        for partition in 0..self.partitions {
            source.wait_stable(partition)?;
        }
        tracing::info!(topic = name, log_id = %log_id.0, "a new log: its genesis is written");
        Ok(())
    }
}
