//! Reading a log: its events, decoded, and who is called what.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use anyhow::{Context as _, Result, bail};
use bellhop_core::message::{Meta, Position, Timestamp};
use bellhop_core::record::{Header, unframe};
use bellhop_runtime::log::{Reader, Topic};
use bellhop_schemas::ids::PropertyId;
use uuid::Uuid;

use crate::event::AnyEvent;

/// A record of the events topic, before it is decoded.
#[derive(Debug)]
pub(crate) struct Raw<'a> {
    pub(crate) position: Position,
    pub(crate) timestamp: Timestamp,
    /// The record key.
    pub(crate) key: &'a [u8],
    /// Avro name of its schema.
    pub(crate) name: &'a str,
    /// What stands behind the frame.
    pub(crate) datum: &'a [u8],
    pub(crate) headers: &'a [Header<'a>],
}

/// An event where it stands.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// In the events topic.
    pub(crate) position: Position,
    /// The record key.
    pub(crate) key: &'a [u8],
    /// What stands behind the frame.
    pub(crate) datum: &'a [u8],
    pub(crate) headers: &'a [Header<'a>],
    pub(crate) meta: Meta,
    pub(crate) event: AnyEvent,
}

/// Names of the schema ids of a log.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<u32, String>);

impl Names {
    /// Reads the records of a partition's events from an offset on; gives the offset to go on from.
    ///
    /// # Errors
    /// When the log cannot be read, or `each` fails.
    pub(crate) fn raw(
        &mut self,
        log: &mut dyn Reader,
        partition: u32,
        from: u64,
        each: &mut dyn FnMut(Raw<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<u64> {
        let mut next = from;
        loop {
            let (mut unknown, mut failed) = (None, None);
            next = log.read(Topic::Events, partition, next, &mut |record| {
                let position = Position { partition, offset: record.offset };
                let (id, datum) = record.value.and_then(unframe).unwrap_or_default();
                let Some(name) = self.0.get(&id) else {
                    unknown = Some((id, record.offset));
                    return ControlFlow::Break(());
                };
                let key = record.key.unwrap_or_default();
                let (timestamp, headers) = (record.timestamp, record.headers);
                let raw = Raw { position, timestamp, key, name, datum, headers };
                each(raw).unwrap_or_else(|error| {
                    failed = Some(error);
                    ControlFlow::Break(())
                })
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            let Some((id, offset)) = unknown else { return Ok(next) };
            let Some(schema) = log.schema_of(id)?.schema() else {
                bail!(
                    "the event at {partition}@{offset} has schema id {id}, which the log does not know: its files are damaged"
                )
            };
            self.0.insert(id, schema.name);
            next = offset;
        }
    }

    /// Reads events of a partition from an offset on; gives the offset to go on from.
    ///
    /// # Errors
    /// When the log cannot be read, or an event is not known here, or `each` fails.
    pub(crate) fn events(
        &mut self,
        log: &mut dyn Reader,
        partition: u32,
        from: u64,
        each: &mut dyn FnMut(Entry<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<u64> {
        self.raw(log, partition, from, &mut |raw| {
            let Raw { position, key, name, datum, headers, .. } = raw;
            let (meta, event) = AnyEvent::decode(name, datum)
                .with_context(|| format!("read the event at {position}"))?;
            each(Entry { position, key, datum, headers, meta, event })
        })
    }

    /// Reads all events, partition by partition.
    ///
    /// # Errors
    /// As [`Names::events`].
    pub(crate) fn all_events(
        &mut self,
        log: &mut dyn Reader,
        each: &mut dyn FnMut(Entry<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        for partition in 0..log.identity().partitions {
            self.events(log, partition, 0, each)?;
        }
        Ok(())
    }
}

/// Every schema id of the records of some topics.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn schema_ids(log: &mut dyn Reader, topics: &[Topic]) -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for topic in topics {
        for partition in 0..log.identity().partitions {
            log.read(*topic, partition, 0, &mut |record| {
                ids.extend(record.value.and_then(unframe).map(|(id, _)| id));
                ControlFlow::Continue(())
            })?;
        }
    }
    Ok(ids)
}

/// The offset behind the last record of a partition. The end that a broker tells lies further on
/// where the markers of transactions follow.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn end_of_records(log: &mut dyn Reader, topic: Topic, partition: u32) -> Result<u64> {
    let end = log.end(topic, partition)?;
    let mut back = 64;
    loop {
        let from = end.saturating_sub(back);
        let mut last = None;
        log.read(topic, partition, from, &mut |record| {
            last = Some(record.offset);
            ControlFlow::Continue(())
        })?;
        match last {
            Some(last) => return Ok(last + 1),
            None if from == 0 => return Ok(0),
            None => back *= 16,
        }
    }
}

/// A property as it was defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) id: PropertyId,
    pub(crate) code: String,
}

/// All properties of a log.
///
/// # Errors
/// As [`Names::events`].
pub(crate) fn properties(log: &mut dyn Reader) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    Names::default().all_events(log, &mut |entry| {
        if let AnyEvent::PropertyDefined(event) = &entry.event {
            properties.push(Property { id: event.property_id, code: event.code.to_string() });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(properties)
}

/// The property that a user names by its code or id.
///
/// # Errors
/// When there is none, with the names of those there are; when several have the code, with their
/// ids.
pub(crate) fn property<'p>(properties: &'p [Property], named: &str) -> Result<&'p Property> {
    let id = Uuid::parse_str(named).ok();
    let is = |property: &&Property| property.code == named || Some(property.id.0) == id;
    let found: Vec<_> = properties.iter().filter(is).collect();
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(|property| property.id.to_string()).collect();
        bail!(
            "several properties have the code \"{named}\"; name one by its id: {}",
            ids.join(", ")
        );
    }
    found.first().copied().with_context(|| {
        let known: Vec<_> = properties
            .iter()
            .map(|property| format!("\"{}\" ({})", property.code, property.id))
            .collect();
        if known.is_empty() {
            format!("there is no property \"{named}\": the log has none yet")
        } else {
            format!("there is no property \"{named}\"; there are {}", known.join(", "))
        }
    })
}
