//! Every event as it was, for SQL: its metadata in columns, its body as JSON.

use bellhop_core::message::{Meta, Position};
use bellhop_schemas::night::Night;

use crate::expand::signed;
use crate::row::{Day, Id, Instant, Int, Long, Null, Take, Text, Uuid, table};

table! {
    /// An event.
    Event of Events {
        /// Partition of the event.
        partition: Int,
        /// Its offset.
        offset: Long,
        /// Its type, like `reservation.created`; the Avro name where the type is not known.
        r#type: Text,
        /// Its Avro record name.
        name: Text,
        /// The property; null on events of the engine.
        property_id: Null<Uuid>,
        /// The reservation, where it is about one.
        reservation_id: Null<Uuid>,
        /// Business date of the property.
        business_date: Null<Day>,
        /// When bellhop knew.
        known_at: Instant,
        /// Id of the event.
        message_id: Uuid,
        /// The conversation that it belongs to.
        correlation_id: Null<Uuid>,
        /// The message that led to it.
        causation_id: Null<Uuid>,
        /// Offset of the command in its partition.
        source_offset: Null<Long>,
        /// Which of the messages that the command led to, from 0.
        source_index: Null<Int>,
        /// Idempotency key of the command.
        idempotency_key: Null<Text>,
        /// Version of the handlers that decided.
        decided_by: Null<Text>,
        /// The body as JSON; null where the type is not known.
        payload: Null<Text>,
    }
}

/// What the body of an event says about itself.
#[derive(Default)]
pub(crate) struct About<'a> {
    pub(crate) type_name: Option<&'a str>,
    pub(crate) property_id: Option<&'a Id>,
    pub(crate) reservation_id: Option<&'a Id>,
    pub(crate) business_date: Option<Night>,
    pub(crate) payload: Option<&'a str>,
}

/// Gives the row of an event.
pub(crate) fn event(to: &mut impl Take, at: Position, name: &str, meta: &Meta, about: About<'_>) {
    let source = meta.source.as_ref();
    to.row(&Event {
        partition: at.partition.cast_signed(),
        offset: signed(at.offset),
        r#type: about.type_name.unwrap_or(name),
        name,
        property_id: about.property_id,
        reservation_id: about.reservation_id,
        business_date: about.business_date,
        known_at: meta.occurred_at,
        message_id: &Id::of(meta.message_id),
        correlation_id: meta.correlation_id.map(Id::of).as_ref(),
        causation_id: meta.causation_id.map(Id::of).as_ref(),
        source_offset: source.map(|source| source.offset),
        source_index: source.map(|source| i32::from(source.index)),
        idempotency_key: source.and_then(|source| source.idempotency_key.as_deref()),
        decided_by: source.map(|source| source.decided_by.as_str()),
        payload: about.payload,
    });
}
