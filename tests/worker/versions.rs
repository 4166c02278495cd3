//! Events that a newer version wrote.

use std::ops::ControlFlow;
use std::sync::Arc;

use bellhop_core::avro::Avro;
use bellhop_core::message::{LogId, Message, Meta, Source, Timestamp};
use bellhop_core::record::{Record, frame};
use bellhop_core::task::Progress;
use bellhop_core::topology::Topology;
use bellhop_handlers as _;
use bellhop_runtime::log::{Each, Error, Identity, Lookup, Reader, Schema, Timestamps, Topic};
use bellhop_runtime::restore::{self, restore};
use bellhop_runtime::wiring::{OwnSchemas, Wiring};
use bellhop_runtime::worker::Config;
use bellhop_schemas::contract;
use bellhop_schemas::event::ReservationNoShow;
use bellhop_schemas::resolve::{Resolution, resolve};
use uuid::Uuid;

/// The id of the newer schema.
const NEWER: u32 = 99;

/// A log with one event, of a schema that has a field more.
struct OneEvent {
    identity: Identity,
    schema: Schema,
    value: Vec<u8>,
}

impl Reader for OneEvent {
    fn identity(&self) -> &Identity {
        &self.identity
    }
    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        assert_eq!(id, NEWER);
        Ok(Lookup::Known(self.schema.clone()))
    }
    fn first(&mut self, _: Topic, _: u32) -> Result<u64, Error> {
        Ok(0)
    }
    fn end(&mut self, topic: Topic, _: u32) -> Result<u64, Error> {
        Ok(u64::from(topic == Topic::Events))
    }
    fn read(&mut self, _: Topic, _: u32, from: u64, each: &mut Each<'_>) -> Result<u64, Error> {
        if from == 0 {
            let _: ControlFlow<()> = each(&Record {
                offset: 0,
                timestamp: Timestamp(0),
                key: None,
                value: Some(&self.value),
                headers: &[],
            });
        }
        Ok(1)
    }
    fn committed(&mut self, _: u32) -> Result<Option<Progress>, Error> {
        Ok(None)
    }
}

#[test]
fn a_fold_refuses_an_event_with_a_field_that_it_does_not_know() {
    let topology = Arc::new(Topology::discover().unwrap());
    let schemas = contract::schemas().unwrap();
    let name = ReservationNoShow::NAME;
    let own = schemas.get(name).unwrap();
    let fields = own.strip_suffix("]}").unwrap();
    let added = r#"{"name":"surcharge","type":["null","long"],"default":null}"#;
    let text = format!("{fields},{added}]}}");

    let meta = Meta {
        message_id: Uuid::nil(),
        idempotency_key: None,
        correlation_id: None,
        causation_id: None,
        occurred_at: Timestamp(5),
        source: Some(Source {
            topic: "bellhop.commands".into(),
            partition: 0,
            offset: 0,
            index: 0,
            depth: 0,
            idempotency_key: None,
            payload_hash: 0,
            decided_by: "9.9".into(),
        }),
    };
    let mut value = Vec::new();
    frame(NEWER, &mut value);
    meta.encode(&mut value);

    let resolve = OwnSchemas::new(schemas, |writer, own, unknown| {
        let resolved = resolve(writer, own, unknown).map(Resolution::into_transcode);
        resolved.map_err(|error| error.to_string())
    });
    let mut wiring = Wiring::to_read(topology, Arc::new(resolve));
    let identity = Identity {
        log_id: LogId(Uuid::from_u128(9)),
        partitions: 1,
        timestamps: Timestamps::Append,
    };
    let config = Config::default().task(&identity, 0);
    let mut log = OneEvent { identity, schema: Schema { name: name.to_owned(), text }, value };
    let error = restore(&mut log, &mut wiring, &config, None).map(|_| ()).unwrap_err();
    let restore::Error::Fold { why, .. } = &error else { panic!("{error}") };
    assert_eq!(
        *why,
        format!(
            ": schema id 99 of {name} cannot be read: resolve surcharge: this program does not know the field; run the version that wrote it, or a newer one"
        )
    );
}
