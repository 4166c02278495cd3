//! Events as a partition would hold them, made by hand.

use bellhop_core::message::{LogId, Meta, Position, Source, Timestamp};
pub(crate) use bellhop_ledger::history::{DAY_US, Event, Known};
use bellhop_schemas::command::Acceptance;
use bellhop_schemas::dimensions::{Dimensions, Texts};
use bellhop_schemas::event::{
    PropertyDefined, ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut,
    ReservationCreated, ReservationExtended, ReservationMoved, ReservationNoShow,
};
use bellhop_schemas::ids::{ProductCode, PropertyId, ReservationId};
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineMove, LineNight, Price, PricedBy, SupplyChange};
use compact_str::CompactString;
use uuid::Uuid;

pub(crate) const LOG: LogId = LogId(Uuid::from_u128(0x1095));

/// What an event is in a log.
pub(crate) trait InLog {
    fn meta(&self, offset: u64) -> Meta;
}

impl InLog for Known {
    fn meta(&self, offset: u64) -> Meta {
        let position = Position { partition: 0, offset };
        Meta {
            message_id: LOG.message_id(position, 0),
            idempotency_key: None,
            correlation_id: None,
            causation_id: None,
            occurred_at: self.at,
            source: Some(Source {
                topic: "bellhop.commands".into(),
                partition: 0,
                offset: offset.cast_signed(),
                index: 0,
                depth: 0,
                idempotency_key: Some("key".into()),
                payload_hash: 0,
                decided_by: "test".into(),
            }),
        }
    }
}

pub(crate) fn night(text: &str) -> Night {
    text.parse().unwrap()
}

pub(crate) fn property_id(number: u128) -> PropertyId {
    PropertyId(Uuid::from_u128(number << 64 | 0xb0))
}

pub(crate) fn reservation_id(number: u128) -> ReservationId {
    ReservationId(Uuid::from_u128(number << 64 | 0x5e))
}

pub(crate) fn always(after: i32) -> Vec<SupplyChange> {
    vec![SupplyChange { first_night: None, last_night: None, before: 0, after }]
}

pub(crate) fn property(
    id: PropertyId,
    code: &str,
    currency: Currency,
    business_date: Night,
    physical: i32,
) -> PropertyDefined {
    PropertyDefined {
        property_id: id,
        business_date,
        code: code.into(),
        time_zone: "Europe/Lisbon".into(),
        roll_hour: 0,
        currency,
        physical: always(physical),
        no_show_hour: None,
        warnings: Vec::new(),
    }
}

/// The dimensions that the KPIs know.
pub(crate) fn dimensions(segment: Option<&str>, channel: Option<&str>) -> Dimensions {
    Texts { segment, channel, ..Texts::default() }.into()
}

/// A line of one price.
pub(crate) fn line(
    product: &str,
    units: u16,
    arrival: Night,
    departure: Night,
    room: i64,
    currency: Currency,
) -> Line {
    let price = Price { room: Minor(room), ..Price::default() };
    let nights: Vec<_> =
        arrival.nights_to(departure).map(|night| LineNight { night, held: None, price }).collect();
    Line {
        number: 1,
        product: ProductCode::new(product),
        units,
        arrival,
        departure,
        adults: 2,
        child_ages: Vec::new(),
        dimensions: Dimensions::default(),
        currency,
        priced_by: PricedBy::Client,
        day_use: nights.is_empty().then_some(price),
        nights,
    }
}

/// A stay through its life.
#[derive(Debug, Clone)]
pub(crate) struct Stay {
    pub(crate) property_id: PropertyId,
    pub(crate) reservation_id: ReservationId,
    pub(crate) booked_at: Timestamp,
    pub(crate) country: Option<CompactString>,
    pub(crate) lines: Vec<Line>,
}

impl Stay {
    pub(crate) fn created(&self, business_date: Night) -> ReservationCreated {
        ReservationCreated {
            property_id: self.property_id,
            business_date,
            reservation_id: self.reservation_id,
            confirmation_number: "RSV-2016-000001".into(),
            booked_at: self.booked_at,
            guest_ref: None,
            country: self.country.clone(),
            external_refs: Vec::new(),
            lines: self.lines.clone(),
            acceptance: Acceptance::Request,
            oversold: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn cancelled(&self, business_date: Night) -> ReservationCancelled {
        ReservationCancelled {
            property_id: self.property_id,
            business_date,
            reservation_id: self.reservation_id,
            confirmation_number: "RSV-2016-000001".into(),
            booked_at: self.booked_at,
            country: self.country.clone(),
            cause: None,
            released: self.lines.clone(),
            external_refs: Vec::new(),
        }
    }

    pub(crate) fn no_show(&self, business_date: Night) -> ReservationNoShow {
        ReservationNoShow {
            property_id: self.property_id,
            business_date,
            reservation_id: self.reservation_id,
            confirmation_number: "RSV-2016-000001".into(),
            booked_at: self.booked_at,
            country: self.country.clone(),
            released: self.lines.clone(),
        }
    }

    /// The guest comes; with another product, every line moves to it.
    pub(crate) fn checked_in(
        &self,
        business_date: Night,
        given: Option<&str>,
    ) -> ReservationCheckedIn {
        let moves = given.map_or_else(Vec::new, |given| self.moves(given));
        ReservationCheckedIn {
            property_id: self.property_id,
            business_date,
            reservation_id: self.reservation_id,
            confirmation_number: "RSV-2016-000001".into(),
            booked_at: self.booked_at,
            country: self.country.clone(),
            moves,
            added: Vec::new(),
            reinstated: Vec::new(),
            oversold: Vec::new(),
        }
    }

    fn moves(&self, given: &str) -> Vec<LineMove> {
        let held = ProductCode::new(given);
        let nights = self.lines.iter().filter(|line| !line.nights.is_empty());
        nights.map(|line| LineMove { line: line.clone(), held: held.clone() }).collect()
    }

    pub(crate) fn moved(&self, business_date: Night, given: &str) -> ReservationMoved {
        ReservationMoved {
            property_id: self.property_id,
            business_date,
            reservation_id: self.reservation_id,
            confirmation_number: "RSV-2016-000001".into(),
            booked_at: self.booked_at,
            country: self.country.clone(),
            moves: self.moves(given),
            oversold: Vec::new(),
        }
    }

    pub(crate) fn extended(
        &self,
        business_date: Night,
        extended: Vec<Line>,
    ) -> ReservationExtended {
        ReservationExtended {
            property_id: self.property_id,
            business_date,
            reservation_id: self.reservation_id,
            confirmation_number: "RSV-2016-000001".into(),
            booked_at: self.booked_at,
            country: self.country.clone(),
            extended,
            oversold: Vec::new(),
        }
    }

    pub(crate) fn checked_out(
        &self,
        business_date: Night,
        released: Vec<Line>,
        day_use: Vec<Line>,
    ) -> ReservationCheckedOut {
        ReservationCheckedOut {
            property_id: self.property_id,
            business_date,
            reservation_id: self.reservation_id,
            confirmation_number: "RSV-2016-000001".into(),
            booked_at: self.booked_at,
            country: self.country.clone(),
            released,
            day_use,
            oversold: Vec::new(),
        }
    }
}
