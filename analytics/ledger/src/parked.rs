//! Events that have no rows, with their bytes and the cause.

use bellhop_core::message::Position;
use bellhop_core::record::Record;

use crate::decode::Unreadable;
use crate::events::Event;
use crate::row::{Bytes, Id, Instant, Int, Long, Take, Text, table};

/// The type of an event that could not be read.
pub const TYPE: &str = "sink.parked";

table! {
    /// An event that could not be read.
    Parked of Parked {
        /// Partition of the event.
        partition: Int,
        /// Its offset.
        offset: Long,
        /// Its Avro record name; empty where it is not known.
        name: Text,
        /// Why it has no rows.
        cause: Text,
        /// When bellhop knew.
        known_at: Instant,
        /// Key of the record.
        key: Bytes,
        /// Value of the record.
        value: Bytes,
    }
}

/// Gives the two rows of an event that could not be read: its bytes, and its place in `events`.
pub fn park(to: &mut impl Take, at: Position, record: &Record<'_>, unreadable: &Unreadable) {
    to.row(&Parked {
        partition: at.partition.cast_signed(),
        offset: at.offset.cast_signed(),
        name: &unreadable.name,
        cause: &unreadable.cause,
        known_at: unreadable.meta.occurred_at,
        key: record.key.unwrap_or_default(),
        value: record.value.unwrap_or_default(),
    });
    to.row(&Event {
        partition: at.partition.cast_signed(),
        offset: at.offset.cast_signed(),
        r#type: TYPE,
        name: &unreadable.name,
        property_id: None,
        reservation_id: None,
        business_date: None,
        known_at: unreadable.meta.occurred_at,
        message_id: &Id::of(unreadable.meta.message_id),
        correlation_id: None,
        causation_id: None,
        source_offset: None,
        source_index: None,
        idempotency_key: None,
        decided_by: None,
        payload: None,
    });
}
