//! From events to rows, one event at a time and with no memory of earlier ones.
//!
//! Start at [`Expander::event`].

use bellhop_core::avro::{Avro, Reader};
use bellhop_core::engine::{
    CommandAcknowledged, CommandConflicted, EngineRecord, Genesis, ParkedResolved, engine_schema,
};
use bellhop_core::message::{Message, Meta, Position, Timestamp, wire_schema};
use bellhop_core::rules::RulesChanged;
use bellhop_schemas::event::{
    CatalogRejected, OverbookingLimitChanged, PhysicalCountChanged, ProductDefined,
    PropertyDefined, ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut,
    ReservationCreated, ReservationExtended, ReservationMoved, ReservationNoShow,
    ReservationRejected,
};
use bellhop_schemas::ids::{PropertyId, ReservationId};
use bellhop_schemas::night::Night;
use serde::Serialize;

use crate::bookings::Step;
use crate::error::Error;
use crate::events::About;
use crate::room_nights::{Reason, Sign};
use crate::row::{Id, Take};
use crate::supply::Count;
use crate::{bookings, catalog, events, refusals, room_nights, supply};

const DAY_US: i64 = 86_400_000_000;

/// An event type that is known here.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Its Avro record name.
    pub name: &'static str,
    /// Its type, like `reservation.created`.
    pub type_name: &'static str,
    /// Its schema as it stands on the wire, `meta` in front.
    pub schema: fn() -> String,
}

macro_rules! known {
    ($($event:ident),* ; $($engine:ident),*) => {
        /// All event types that are known here.
        pub const KNOWN: &[Known] = &[
            $(Known {
                name: $event::NAME,
                type_name: $event::TYPE,
                schema: wire_schema::<$event>,
            },)*
            $(Known {
                name: $engine::NAME,
                type_name: $engine::TYPE,
                schema: engine_schema::<$engine>,
            },)*
        ];
    };
}
known!(
    PropertyDefined,
    ProductDefined,
    PhysicalCountChanged,
    OverbookingLimitChanged,
    ReservationCreated,
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationMoved,
    ReservationExtended,
    ReservationCheckedOut,
    ReservationNoShow,
    ReservationRejected,
    CatalogRejected;
    Genesis,
    CommandConflicted,
    CommandAcknowledged,
    RulesChanged,
    ParkedResolved
);

/// Expands events; keeps nothing but a buffer.
#[derive(Debug, Default)]
pub struct Expander {
    json: Vec<u8>,
}

impl Expander {
    /// Gives the rows of one event.
    ///
    /// `at` is the event's own place in the events topic, `name` its Avro record name, `datum` what
    /// follows `meta`. An event of an unknown name gives a row of `events` only, without a payload.
    ///
    /// # Errors
    /// [`Error`]; rows that the event has given before its error are to be dropped.
    pub fn event(
        &mut self,
        at: Position,
        name: &str,
        meta: &Meta,
        datum: &[u8],
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let of = Envelope { at, name, meta };
        match name {
            ReservationCreated::NAME => self.created(&of, &of.decode(datum)?, to),
            ReservationCancelled::NAME => self.cancelled(&of, &of.decode(datum)?, to),
            ReservationCheckedIn::NAME => self.checked_in(&of, &of.decode(datum)?, to),
            ReservationMoved::NAME => self.moved(&of, &of.decode(datum)?, to),
            ReservationExtended::NAME => self.extended(&of, &of.decode(datum)?, to),
            ReservationCheckedOut::NAME => self.checked_out(&of, &of.decode(datum)?, to),
            ReservationNoShow::NAME => self.no_show(&of, &of.decode(datum)?, to),
            ReservationRejected::NAME => self.rejected(&of, &of.decode(datum)?, to),
            PropertyDefined::NAME => self.property_defined(&of, &of.decode(datum)?, to),
            ProductDefined::NAME => self.product_defined(&of, &of.decode(datum)?, to),
            PhysicalCountChanged::NAME => self.physical_changed(&of, &of.decode(datum)?, to),
            OverbookingLimitChanged::NAME => self.allowance_changed(&of, &of.decode(datum)?, to),
            CatalogRejected::NAME => {
                let event: CatalogRejected = of.decode(datum)?;
                let day = event.business_date.unwrap_or_else(|| utc_day(meta.occurred_at));
                let change = of.change(event.property_id, day);
                self.log(&of, CatalogRejected::TYPE, Some(&change), &event, to)
            }
            Genesis::NAME => self.engine::<Genesis>(&of, datum, to),
            CommandConflicted::NAME => self.engine::<CommandConflicted>(&of, datum, to),
            RulesChanged::NAME => self.engine::<RulesChanged>(&of, datum, to),
            CommandAcknowledged::NAME => self.engine::<CommandAcknowledged>(&of, datum, to),
            ParkedResolved::NAME => self.engine::<ParkedResolved>(&of, datum, to),
            unknown => {
                events::event(to, at, unknown, meta, About::default());
                Ok(())
            }
        }
    }

    /// Gives the row of an event of a type that is not known here, with what is known of its body.
    pub fn unknown(
        &mut self,
        at: Position,
        name: &str,
        meta: &Meta,
        payload: Option<&str>,
        to: &mut impl Take,
    ) {
        events::event(to, at, name, meta, About { payload, ..About::default() });
    }

    fn created(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationCreated,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        room_nights::lines(to, &change, &event.lines, Sign::Plus, Reason::Book, 0)?;
        bookings::step(to, &change, &event.lines, Step::Book);
        self.log(of, ReservationCreated::TYPE, Some(&change), event, to)
    }

    fn cancelled(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationCancelled,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        room_nights::lines(to, &change, &event.released, Sign::Minus, Reason::Cancel, 0)?;
        bookings::step(to, &change, &event.released, Step::Cancel);
        self.log(of, ReservationCancelled::TYPE, Some(&change), event, to)
    }

    fn no_show(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationNoShow,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        room_nights::lines(to, &change, &event.released, Sign::Minus, Reason::NoShow, 0)?;
        bookings::step(to, &change, &event.released, Step::NoShow);
        self.log(of, ReservationNoShow::TYPE, Some(&change), event, to)
    }

    fn checked_in(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationCheckedIn,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        let ReservationCheckedIn { moves, added, reinstated, .. } = event;
        let index = room_nights::lines(to, &change, reinstated, Sign::Plus, Reason::Reinstate, 0)?;
        let index = room_nights::moves(to, &change, moves, index)?;
        room_nights::lines(to, &change, added, Sign::Plus, Reason::EarlyArrival, index)?;
        let first = moves.first().map(|moved| std::slice::from_ref(&moved.line));
        let (step, lines) = if reinstated.is_empty() {
            (Step::CheckIn, first.unwrap_or_default())
        } else {
            (Step::Reinstate, reinstated.as_slice())
        };
        bookings::step(to, &change, lines, step);
        self.log(of, ReservationCheckedIn::TYPE, Some(&change), event, to)
    }

    fn moved(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationMoved,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        room_nights::moves(to, &change, &event.moves, 0)?;
        self.log(of, ReservationMoved::TYPE, Some(&change), event, to)
    }

    fn extended(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationExtended,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        room_nights::lines(to, &change, &event.extended, Sign::Plus, Reason::Overstay, 0)?;
        self.log(of, ReservationExtended::TYPE, Some(&change), event, to)
    }

    fn checked_out(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationCheckedOut,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        let index = room_nights::left(to, &change, &event.released, 0)?;
        let early = Reason::EarlyDeparture;
        room_nights::lines(to, &change, &event.day_use, Sign::Plus, early, index)?;
        bookings::step(to, &change, &event.released, Step::CheckOut);
        self.log(of, ReservationCheckedOut::TYPE, Some(&change), event, to)
    }

    fn rejected(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationRejected,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let day = event.business_date.unwrap_or_else(|| utc_day(of.meta.occurred_at));
        let mut change = of.change(event.property_id, day);
        if let Some(id) = event.reservation_id {
            change = change.reservation(id, of.meta.occurred_at);
        }
        refusals::refused(to, &change, event);
        self.log(of, ReservationRejected::TYPE, Some(&change), event, to)
    }

    fn property_defined(
        &mut self,
        of: &Envelope<'_>,
        event: &PropertyDefined,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of.change(event.property_id, event.business_date);
        catalog::property(to, &change, event);
        supply::runs(to, &change, None, Some(true), Count::Physical, &event.physical);
        self.log(of, PropertyDefined::TYPE, Some(&change), event, to)
    }

    fn product_defined(
        &mut self,
        of: &Envelope<'_>,
        event: &ProductDefined,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of.change(event.property_id, event.business_date);
        catalog::product(to, &change, event);
        let (product, statistics) = (Some(&event.product), Some(event.statistics));
        supply::runs(to, &change, product, statistics, Count::Physical, &event.physical);
        self.log(of, ProductDefined::TYPE, Some(&change), event, to)
    }

    fn physical_changed(
        &mut self,
        of: &Envelope<'_>,
        event: &PhysicalCountChanged,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of.change(event.property_id, event.business_date);
        let product = event.product.as_ref();
        let house = product.is_none().then_some(true);
        supply::runs(to, &change, product, house, Count::Physical, &event.changes);
        self.log(of, PhysicalCountChanged::TYPE, Some(&change), event, to)
    }

    fn allowance_changed(
        &mut self,
        of: &Envelope<'_>,
        event: &OverbookingLimitChanged,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let change = of.change(event.property_id, event.business_date);
        let product = event.product.as_ref();
        let house = product.is_none().then_some(true);
        supply::runs(to, &change, product, house, Count::Allowance, &event.changes);
        self.log(of, OverbookingLimitChanged::TYPE, Some(&change), event, to)
    }

    fn engine<T: EngineRecord + Serialize>(
        &mut self,
        of: &Envelope<'_>,
        datum: &[u8],
        to: &mut impl Take,
    ) -> Result<(), Error> {
        let event: T = of.decode(datum)?;
        self.log(of, T::TYPE, None, &event, to)
    }

    /// Gives the event as it was.
    fn log(
        &mut self,
        of: &Envelope<'_>,
        type_name: &str,
        change: Option<&Change<'_>>,
        body: &impl Serialize,
        to: &mut impl Take,
    ) -> Result<(), Error> {
        self.json.clear();
        serde_json::to_writer(&mut self.json, body)
            .map_err(|source| Error::Json { at: of.at, source })?;
        let about = About {
            type_name: Some(type_name),
            property_id: change.map(Change::property_id),
            reservation_id: change.and_then(|change| change.reservation.as_ref()),
            business_date: change.map(|change| change.business_date),
            payload: str::from_utf8(&self.json).ok(),
        };
        events::event(to, of.at, of.name, of.meta, about);
        Ok(())
    }
}

/// An event before its body is read.
struct Envelope<'a> {
    at: Position,
    name: &'a str,
    meta: &'a Meta,
}

impl<'a> Envelope<'a> {
    fn decode<T: Avro>(&self, datum: &[u8]) -> Result<T, Error> {
        let mut reader = Reader::new(datum);
        let body = T::decode(&mut reader).and_then(|body| reader.finish().map(|()| body));
        body.map_err(|source| Error::Decode { at: self.at, name: self.name.to_owned(), source })
    }

    fn change(&self, property: PropertyId, business_date: Night) -> Change<'a> {
        Change {
            at: self.at,
            known_at: self.meta.occurred_at,
            booked_at: self.meta.occurred_at,
            business_date,
            country: None,
            change_id: Id::of(self.meta.message_id),
            property_id: Id::of(property.0),
            reservation: None,
        }
    }
}

/// What all rows of one event share.
pub(crate) struct Change<'a> {
    pub(crate) at: Position,
    pub(crate) known_at: Timestamp,
    pub(crate) booked_at: Timestamp,
    pub(crate) business_date: Night,
    pub(crate) country: Option<&'a str>,
    pub(crate) reservation: Option<Id>,
    change_id: Id,
    property_id: Id,
}

impl<'a> Change<'a> {
    fn reservation(self, id: ReservationId, booked_at: Timestamp) -> Self {
        Self { reservation: Some(Id::of(id.0)), booked_at, ..self }
    }

    fn country(self, country: Option<&'a str>) -> Self {
        Self { country, ..self }
    }

    pub(crate) fn change_id(&self) -> &Id {
        &self.change_id
    }

    pub(crate) fn property_id(&self) -> &Id {
        &self.property_id
    }

    /// Nil where the change is about no reservation.
    pub(crate) fn reservation_id(&self) -> &Id {
        self.reservation.as_ref().unwrap_or(&Id::NIL)
    }

    pub(crate) fn partition(&self) -> i32 {
        self.at.partition.cast_signed()
    }

    pub(crate) fn offset(&self) -> i64 {
        signed(self.at.offset)
    }
}

/// Offsets are below 2^46 (see `LogId::message_id`), so nothing is lost.
pub(crate) fn signed(offset: u64) -> i64 {
    offset.cast_signed()
}

fn utc_day(instant: Timestamp) -> Night {
    let day = instant.0.div_euclid(DAY_US);
    Night(i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX }))
}
