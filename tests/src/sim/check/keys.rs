//! A memory of idempotency keys, written for the checks alone.

use std::collections::{BTreeMap, HashMap};

use bellhop_core::avro::{Avro, Reader as Datum};
use bellhop_core::message::{Meta, Timestamp};
use bellhop_core::record::unframe;
use bellhop_core::rules::Rules;
use uuid::Uuid;

use super::rows::Row;
use crate::sim::commands::{Delivered, NOTE, Plain};

/// What a record of the commands says in our own schema and encoding.
///
/// # Errors
/// Why it cannot be read: then it should have been parked.
pub(super) fn plain(
    row: &Row,
    sent: Option<&Delivered>,
    newer: &BTreeMap<u32, u32>,
) -> Result<Plain, String> {
    if let Some(plain) = sent.and_then(|sent| sent.plain.clone()) {
        return Ok(plain);
    }
    let (meta, rest) = opened(row)?;
    let idempotency_key = meta.idempotency_key.map_or(meta.message_id.to_string(), String::from);
    let (id, _) = row.value.as_deref().and_then(unframe).unwrap_or_default();
    // What a newer producer adds is not read, and so not another payload.
    let (schema_id, body) = match newer.iter().find(|(_, newer)| **newer == id) {
        None => (id, rest),
        Some((own, _)) => (*own, rest.split_at(rest.len() - NOTE.len()).0),
    };
    Ok(Plain { idempotency_key, schema_id, body: body.to_vec() })
}

/// The metadata of a command, and what follows it.
fn opened(row: &Row) -> Result<(Meta, &[u8]), String> {
    let undecodable = || format!("the command at {} was not parked", row.offset);
    let (_, datum) = row.value.as_deref().and_then(unframe).ok_or_else(undecodable)?;
    let mut reader = Datum::new(datum);
    let meta = Meta::decode(&mut reader).map_err(|_| undecodable())?;
    Ok((meta, reader.rest()))
}

/// A command as the memory of keys sees it.
pub(super) struct Keyed {
    key: (Vec<u8>, String),
    pub(super) payload: Plain,
}

impl Keyed {
    pub(super) fn of(
        row: &Row,
        sent: Option<&Delivered>,
        newer: &BTreeMap<u32, u32>,
    ) -> Result<Self, String> {
        let payload = plain(row, sent, newer)?;
        let own = payload.idempotency_key.clone();
        Ok(Self { key: (row.key.clone().unwrap_or_default(), own), payload })
    }
}

pub(super) struct First {
    pub(super) payload: Plain,
    pub(super) event: Uuid,
    hour: i64,
}

/// Keys and first outcomes, as a map.
pub(super) struct Memory {
    now: Timestamp,
    pub(super) rules: Rules,
    firsts: HashMap<(Vec<u8>, String), First>,
}

impl Memory {
    pub(super) fn of(rules: Rules) -> Self {
        Self { now: Timestamp::MIN, rules, firsts: HashMap::new() }
    }

    /// What is forgotten by now stays so.
    pub(super) fn follow(&mut self, rules: Rules) {
        let oldest = self.oldest();
        self.firsts.retain(|_, first| first.hour >= oldest);
        self.rules = rules;
    }

    fn oldest(&self) -> i64 {
        self.now.hour().saturating_sub(i64::from(self.rules.idempotency_hours))
    }

    pub(super) fn advance(&mut self, timestamp: Timestamp) -> Timestamp {
        self.now = self.now.max(timestamp);
        self.now
    }

    pub(super) fn recall(&self, asked: &Keyed) -> Option<&First> {
        let oldest = self.oldest();
        self.firsts.get(&asked.key).filter(|first| first.hour >= oldest)
    }

    pub(super) fn remember(&mut self, asked: Keyed, event: Uuid, now: Timestamp) {
        let Keyed { key, payload } = asked;
        self.firsts.insert(key, First { payload, event, hour: now.hour() });
    }
}
