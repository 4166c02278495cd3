//! Reading a log: its events, decoded, and who is called what.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use anyhow::{Context as _, Result, bail};
use bellhop_analytics::lake::{Decoder, Learnt};
use bellhop_core::message::{Meta, Position, Timestamp};
use bellhop_core::record::{Header, Record, unframe};
use bellhop_runtime::log::{Reader, Topic};
use bellhop_schemas::ids::PropertyId;
use uuid::Uuid;

use crate::event::AnyEvent;
use crate::words;

/// A record of the events topic, before it is decoded.
#[derive(Debug)]
pub(crate) struct Raw<'a> {
    pub(crate) position: Position,
    pub(crate) timestamp: Timestamp,
    /// The record key.
    pub(crate) key: &'a [u8],
    /// Avro name of its schema; empty where the log does not know it.
    pub(crate) name: &'a str,
    /// Its bytes as they were written: what stands behind the frame, or all where there is none.
    pub(crate) written: &'a [u8],
    /// What stands behind the frame in this program's schema, or why it cannot be read.
    pub(crate) datum: Result<&'a [u8], String>,
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

/// What the schema ids of a log stand for.
#[derive(Default)]
pub(crate) struct Names {
    decoder: Decoder,
    /// Events that could not be read, and the first of them.
    unread: u64,
    first_unread: Option<(Position, String)>,
}

impl Drop for Names {
    /// Says once what was left out.
    fn drop(&mut self) {
        if let Some((at, why)) = &self.first_unread {
            tracing::warn!(
                "{} cannot be read and left out here, the first at {at}: {why}",
                words::count(self.unread, "event")
            );
        }
    }
}

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
                if !self.decoder.knows(record) {
                    unknown = Some((record.offset, record.value.unwrap_or_default().to_vec()));
                    return ControlFlow::Break(());
                }
                let key = record.key.unwrap_or_default();
                let (timestamp, headers) = (record.timestamp, record.headers);
                let value = record.value.unwrap_or_default();
                let written = unframe(value).map_or(value, |(_, datum)| datum);
                let name = self.decoder.name(record);
                let datum = self.decoder.own(record);
                let raw = Raw { position, timestamp, key, name: &name, written, datum, headers };
                each(raw).unwrap_or_else(|error| {
                    failed = Some(error);
                    ControlFlow::Break(())
                })
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            let Some((offset, value)) = unknown else { return Ok(next) };
            let (timestamp, value) = (Timestamp(0), Some(value.as_slice()));
            let record = Record { offset, timestamp, key: None, value, headers: &[] };
            let learnt = self.decoder.learn(&record, |id| {
                let schema = log.schema_of(id)?.schema();
                anyhow::Ok(schema.map(|schema| (schema.name, schema.text)))
            })?;
            if let Learnt::Unknown(id) = learnt {
                self.decoder.give_up(id);
            }
            next = offset;
        }
    }

    /// Notes an event that is left out because it cannot be read.
    pub(crate) fn left_out(&mut self, at: Position, why: String) {
        self.unread += 1;
        self.first_unread.get_or_insert((at, why));
    }

    /// Reads events of a partition from an offset on; gives the offset to go on from. What cannot be
    /// read is left out, counted, and said in the end.
    ///
    /// # Errors
    /// When the log cannot be read, or `each` fails.
    pub(crate) fn events(
        &mut self,
        log: &mut dyn Reader,
        partition: u32,
        from: u64,
        each: &mut dyn FnMut(Entry<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<u64> {
        let mut left_out = Vec::new();
        let next = self.raw(log, partition, from, &mut |raw| {
            let Raw { position, key, name, datum, headers, .. } = raw;
            let decoded = datum.and_then(|datum| match AnyEvent::decode(name, datum) {
                Ok((meta, event)) => Ok(Entry { position, key, datum, headers, meta, event }),
                Err(error) => Err(format!("{error:#}")),
            });
            match decoded {
                Ok(entry) => each(entry),
                Err(why) => {
                    left_out.push((position, why));
                    Ok(ControlFlow::Continue(()))
                }
            }
        })?;
        for (position, why) in left_out {
            self.left_out(position, why);
        }
        Ok(next)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_log::{FakeLog, ID, PARTITIONS, event, value};

    #[test]
    fn junk_is_left_out_and_events_of_other_writers_are_read() {
        let later = ID + 1;
        let junk = [b"{}".to_vec(), Vec::new(), value(ID + 2, &[]), vec![0, 0, 0, 0, 29, 1]];
        let mut values = vec![value(ID, &[]), value(later, b"\x08fine")];
        values.splice(1..1, junk);
        let mut log = FakeLog::of(values);
        let text = &log.schemas[&ID];
        let mut schema: serde_json::Value = serde_json::from_str(text).expect("a schema");
        let mood = serde_json::json!({ "name": "mood", "type": "string", "default": "" });
        schema["fields"].as_array_mut().expect("its fields").push(mood);
        log.schemas.insert(later, schema.to_string());
        let (mut names, mut read) = (Names::default(), Vec::new());
        let each = &mut |entry: Entry<'_>| {
            assert!(matches!(&entry.event, AnyEvent::PhysicalCountChanged(it) if *it == event()));
            read.push(entry.position.offset);
            Ok(ControlFlow::Continue(()))
        };
        names.all_events(&mut log, each).expect("read the log");
        assert_eq!(read, [0, 5].repeat(PARTITIONS as usize));
        assert_eq!(names.unread, 4 * u64::from(PARTITIONS));
        let (at, why) = names.first_unread.clone().expect("the first");
        assert_eq!(
            (at, why.as_str()),
            (Position { partition: 0, offset: 1 }, "it has no frame of a schema")
        );
    }
}
