//! A log in memory, for tests of what reads events.

use std::collections::BTreeMap;

use bellhop_core::avro::Avro as _;
use bellhop_core::message::{LogId, Message as _, Meta, Timestamp, wire_schema};
use bellhop_core::record::{Record, frame};
use bellhop_core::task::Progress;
use bellhop_runtime::log::{Each, Error, Identity, Lookup, Reader, Schema, Timestamps, Topic};
use bellhop_schemas::event::PhysicalCountChanged;
use bellhop_schemas::ids::PropertyId;
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::SupplyChange;
use uuid::Uuid;

/// Id of the schema of [`event`].
pub(crate) const ID: u32 = 29;

/// Partitions of a log.
pub(crate) const PARTITIONS: u32 = 2;

/// A log of the same events in each partition.
pub(crate) struct FakeLog {
    pub(crate) identity: Identity,
    /// What its registry knows; by id.
    pub(crate) schemas: BTreeMap<u32, String>,
    /// Values of the records.
    pub(crate) values: Vec<Vec<u8>>,
}

/// The event that stands in it.
pub(crate) fn event() -> PhysicalCountChanged {
    let change = SupplyChange { first_night: None, last_night: None, before: 0, after: 9 };
    PhysicalCountChanged {
        property_id: PropertyId(Uuid::from_u128(1)),
        business_date: Night(20_000),
        product: None,
        changes: vec![change],
        oversold: Vec::new(),
        warnings: Vec::new(),
    }
}

/// Its record's value, by a writer whose schema has more at its end.
pub(crate) fn value(id: u32, more: &[u8]) -> Vec<u8> {
    let meta = Meta {
        message_id: Uuid::nil(),
        idempotency_key: None,
        correlation_id: None,
        causation_id: None,
        occurred_at: Timestamp(0),
        source: None,
    };
    let mut value = Vec::new();
    frame(id, &mut value);
    meta.encode(&mut value);
    event().encode(&mut value);
    value.extend_from_slice(more);
    value
}

impl FakeLog {
    /// Of some values, whose registry knows the schema of [`event`].
    pub(crate) fn of(values: Vec<Vec<u8>>) -> Self {
        let log_id = LogId(Uuid::from_u128(7));
        let identity = Identity { log_id, partitions: PARTITIONS, timestamps: Timestamps::Create };
        let schemas = BTreeMap::from([(ID, wire_schema::<PhysicalCountChanged>())]);
        Self { identity, schemas, values }
    }
}

impl Reader for FakeLog {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        let text = self.schemas.get(&id).cloned();
        let name = PhysicalCountChanged::NAME.to_owned();
        Ok(text.map(|text| Schema { name, text }).into())
    }

    fn first(&mut self, _: Topic, _: u32) -> Result<u64, Error> {
        Ok(0)
    }

    fn end(&mut self, _: Topic, _: u32) -> Result<u64, Error> {
        Ok(self.values.len() as u64)
    }

    fn read(&mut self, _: Topic, _: u32, from: u64, each: &mut Each<'_>) -> Result<u64, Error> {
        for (offset, value) in (0..).zip(&self.values).skip(from as usize) {
            let value = Some(value.as_slice());
            let record = Record { offset, timestamp: Timestamp(0), key: None, value, headers: &[] };
            if each(&record).is_break() {
                return Ok(offset);
            }
        }
        Ok(self.values.len() as u64)
    }

    fn committed(&mut self, _: u32) -> Result<Option<Progress>, Error> {
        Ok(None)
    }
}
