//! Events as records of a topic, written with the schemas of this version or with others.

use std::convert::Infallible;

use bellhop_analytics::lake::{Appender, Lake, Part};
use bellhop_core::avro::Avro as _;
use bellhop_core::message::Timestamp;
use bellhop_core::record::{Record, frame};
use bellhop_ledger::KNOWN;
use bellhop_ledger::decode::{Decoder, Unreadable};

use crate::stream::{InLog as _, Known};

/// Schemas that are not of this version: name and text; their ids begin behind those of [`KNOWN`].
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) foreign: Vec<(String, String)>,
}

impl Registry {
    /// The id of a foreign schema.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> u32 {
        self.foreign.push((name.to_owned(), text.to_owned()));
        u32::try_from(KNOWN.len() + self.foreign.len() - 1).unwrap()
    }

    fn schema_of(&self, id: u32) -> Option<(String, String)> {
        let id = id as usize;
        match KNOWN.get(id) {
            Some(known) => Some((known.name.to_owned(), (known.schema)())),
            None => self.foreign.get(id - KNOWN.len()).cloned(),
        }
    }

    /// Gives a record to an appender.
    pub(crate) fn feed(
        &self,
        appender: &mut Appender,
        decoder: &mut Decoder,
        offset: u64,
        value: &[u8],
    ) -> Option<Unreadable> {
        let record = Record {
            offset,
            timestamp: Timestamp(0),
            key: Some(b"key"),
            value: Some(value),
            headers: &[],
        };
        decoder.learn(&record, |id| Ok::<_, Infallible>(self.schema_of(id))).unwrap();
        appender.record(&record, decoder)
    }
}

/// The value of a record.
pub(crate) fn value(known: &Known, offset: u64) -> Vec<u8> {
    let id = KNOWN.iter().position(|it| it.name == known.name()).unwrap();
    framed(u32::try_from(id).unwrap(), known, offset, &[])
}

/// The value of a record that a schema wrote which has more at its end.
pub(crate) fn framed(id: u32, known: &Known, offset: u64, more: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    frame(id, &mut value);
    known.meta(offset).encode(&mut value);
    value.extend_from_slice(&known.datum());
    value.extend_from_slice(more);
    value
}

/// Appends the events from an offset up to another; events before the lake's own offset, too.
pub(crate) fn append(
    lake: &mut Lake,
    decoder: &mut Decoder,
    events: &[Known],
    from: usize,
    to: usize,
) -> Option<Part> {
    let registry = Registry::default();
    let mut appender = lake.appender(0);
    for (offset, known) in (from as u64..).zip(&events[from..to]) {
        let parked = registry.feed(&mut appender, decoder, offset, &value(known, offset));
        assert!(parked.is_none(), "{parked:?}");
    }
    lake.commit(appender).unwrap()
}
