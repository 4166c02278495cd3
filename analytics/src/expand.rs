//! From events to rows, one event at a time and with no memory of earlier ones.
//!
//! Start at [`Expander::event`].

use bellhop_core::avro::{Avro, Reader};
use bellhop_core::engine::{CommandAcknowledged, CommandConflicted, EngineRecord, Genesis};
use bellhop_core::message::{Message, Meta, Position, Timestamp};
use bellhop_schemas::event::{
    CatalogRejected, OverbookingLimitChanged, PhysicalCountChanged, ProductDefined,
    PropertyDefined, ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut,
    ReservationCreated, ReservationNoShow, ReservationRejected,
};
use bellhop_schemas::ids::{PropertyId, ReservationId};
use bellhop_schemas::night::Night;
use datafusion::arrow::array::RecordBatch;
use serde::Serialize;
use uuid::Uuid;

use crate::bookings::Step;
use crate::error::Error;
use crate::events::About;
use crate::ledger::{Reason, Sign};
use crate::supply::Count;
use crate::table::Table;
use crate::{bookings, catalog, events, ledger, refusals, supply};

const DAY_US: i64 = 86_400_000_000;

/// Collects the rows of events until they are taken as batches.
#[derive(Default)]
pub struct Expander {
    ledger: ledger::Rows,
    bookings: bookings::Rows,
    supply: supply::Rows,
    refusals: refusals::Rows,
    properties: catalog::property::Rows,
    products: catalog::product::Rows,
    events: events::Rows,
    json: Vec<u8>,
}

impl Expander {
    /// Adds the rows of one event.
    ///
    /// `at` is the event's own place in the events topic, `name` its Avro record name, `datum` what
    /// follows `meta`. An event of an unknown name lands in `events` only, without a payload.
    ///
    /// # Errors
    /// [`Error::Decode`] for bytes that are not of the type, [`Error::AmountOverflow`]. Rows that
    /// the event has given before its error stay; do not take them.
    pub fn event(
        &mut self,
        at: Position,
        name: &str,
        meta: &Meta,
        datum: &[u8],
    ) -> Result<(), Error> {
        let of = Envelope { at, name, meta };
        match name {
            ReservationCreated::NAME => self.created(&of, &of.decode(datum)?),
            ReservationCancelled::NAME => self.cancelled(&of, &of.decode(datum)?),
            ReservationCheckedIn::NAME => self.checked_in(&of, &of.decode(datum)?),
            ReservationCheckedOut::NAME => self.checked_out(&of, &of.decode(datum)?),
            ReservationNoShow::NAME => self.no_show(&of, &of.decode(datum)?),
            ReservationRejected::NAME => self.rejected(&of, &of.decode(datum)?),
            PropertyDefined::NAME => self.property_defined(&of, &of.decode(datum)?),
            ProductDefined::NAME => self.product_defined(&of, &of.decode(datum)?),
            PhysicalCountChanged::NAME => self.physical_changed(&of, &of.decode(datum)?),
            OverbookingLimitChanged::NAME => self.allowance_changed(&of, &of.decode(datum)?),
            CatalogRejected::NAME => {
                let event: CatalogRejected = of.decode(datum)?;
                let day = event.business_date.unwrap_or_else(|| utc_day(meta.occurred_at));
                let change = of.change(event.property_id, day);
                self.log(&of, CatalogRejected::TYPE, Some(&change), &event)
            }
            Genesis::NAME => self.engine::<Genesis>(&of, datum),
            CommandConflicted::NAME => self.engine::<CommandConflicted>(&of, datum),
            CommandAcknowledged::NAME => self.engine::<CommandAcknowledged>(&of, datum),
            unknown => {
                self.events.event(at, unknown, meta, About::default());
                Ok(())
            }
        }
    }

    /// How many rows wait to be taken, over all tables.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ledger.len()
            + self.bookings.len()
            + self.supply.len()
            + self.refusals.len()
            + self.properties.len()
            + self.products.len()
            + self.events.len()
    }

    /// The rows as a batch per table that has any; none stay.
    ///
    /// # Errors
    /// [`Error::Arrow`] when they are more than a batch can hold.
    pub fn take(&mut self) -> Result<Vec<(Table, RecordBatch)>, Error> {
        let batches = [
            (Table::RoomNights, self.ledger.take()?),
            (Table::Bookings, self.bookings.take()?),
            (Table::Supply, self.supply.take()?),
            (Table::Refusals, self.refusals.take()?),
            (Table::Properties, self.properties.take()?),
            (Table::Products, self.products.take()?),
            (Table::Events, self.events.take()?),
        ];
        Ok(batches.into_iter().filter(|(_, batch)| batch.num_rows() > 0).collect())
    }

    fn created(&mut self, of: &Envelope<'_>, event: &ReservationCreated) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        self.ledger.lines(&change, &event.lines, Sign::Plus, Reason::Book, 0)?;
        self.bookings.step(&change, &event.lines, Step::Book);
        self.log(of, ReservationCreated::TYPE, Some(&change), event)
    }

    fn cancelled(&mut self, of: &Envelope<'_>, event: &ReservationCancelled) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        self.ledger.lines(&change, &event.released, Sign::Minus, Reason::Cancel, 0)?;
        self.bookings.step(&change, &event.released, Step::Cancel);
        self.log(of, ReservationCancelled::TYPE, Some(&change), event)
    }

    fn no_show(&mut self, of: &Envelope<'_>, event: &ReservationNoShow) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        self.ledger.lines(&change, &event.released, Sign::Minus, Reason::NoShow, 0)?;
        self.bookings.step(&change, &event.released, Step::NoShow);
        self.log(of, ReservationNoShow::TYPE, Some(&change), event)
    }

    fn checked_in(&mut self, of: &Envelope<'_>, event: &ReservationCheckedIn) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        let mut index = 0;
        for moved in &event.moved {
            let before = std::slice::from_ref(&moved.before);
            index = self.ledger.lines(&change, before, Sign::Minus, Reason::Modify, index)?;
            let after = std::slice::from_ref(&moved.after);
            index = self.ledger.lines(&change, after, Sign::Plus, Reason::Modify, index)?;
        }
        let first = event.moved.first().map(|moved| std::slice::from_ref(&moved.after));
        self.bookings.step(&change, first.unwrap_or_default(), Step::CheckIn);
        self.log(of, ReservationCheckedIn::TYPE, Some(&change), event)
    }

    fn checked_out(
        &mut self,
        of: &Envelope<'_>,
        event: &ReservationCheckedOut,
    ) -> Result<(), Error> {
        let change = of
            .change(event.property_id, event.business_date)
            .reservation(event.reservation_id, event.booked_at)
            .country(event.country.as_deref());
        let early = Reason::EarlyDeparture;
        let index = self.ledger.lines(&change, &event.released, Sign::Minus, early, 0)?;
        self.ledger.lines(&change, &event.overstayed, Sign::Plus, Reason::Overstay, index)?;
        let lines = if event.released.is_empty() { &event.overstayed } else { &event.released };
        self.bookings.step(&change, lines, Step::CheckOut);
        self.log(of, ReservationCheckedOut::TYPE, Some(&change), event)
    }

    fn rejected(&mut self, of: &Envelope<'_>, event: &ReservationRejected) -> Result<(), Error> {
        let day = event.business_date.unwrap_or_else(|| utc_day(of.meta.occurred_at));
        let mut change = of.change(event.property_id, day);
        if let Some(id) = event.reservation_id {
            change = change.reservation(id, of.meta.occurred_at);
        }
        self.refusals.refused(&change, event);
        self.log(of, ReservationRejected::TYPE, Some(&change), event)
    }

    fn property_defined(
        &mut self,
        of: &Envelope<'_>,
        event: &PropertyDefined,
    ) -> Result<(), Error> {
        let change = of.change(event.property_id, event.business_date);
        self.properties.defined(&change, event);
        self.supply.runs(&change, None, Some(true), Count::Physical, &event.physical);
        self.log(of, PropertyDefined::TYPE, Some(&change), event)
    }

    fn product_defined(&mut self, of: &Envelope<'_>, event: &ProductDefined) -> Result<(), Error> {
        let change = of.change(event.property_id, event.business_date);
        self.products.defined(&change, event);
        let (product, statistics) = (Some(&event.product), Some(event.statistics));
        self.supply.runs(&change, product, statistics, Count::Physical, &event.physical);
        self.log(of, ProductDefined::TYPE, Some(&change), event)
    }

    fn physical_changed(
        &mut self,
        of: &Envelope<'_>,
        event: &PhysicalCountChanged,
    ) -> Result<(), Error> {
        let change = of.change(event.property_id, event.business_date);
        let product = event.product.as_ref();
        let house = product.is_none().then_some(true);
        self.supply.runs(&change, product, house, Count::Physical, &event.changes);
        self.log(of, PhysicalCountChanged::TYPE, Some(&change), event)
    }

    fn allowance_changed(
        &mut self,
        of: &Envelope<'_>,
        event: &OverbookingLimitChanged,
    ) -> Result<(), Error> {
        let change = of.change(event.property_id, event.business_date);
        let product = event.product.as_ref();
        let house = product.is_none().then_some(true);
        self.supply.runs(&change, product, house, Count::Allowance, &event.changes);
        self.log(of, OverbookingLimitChanged::TYPE, Some(&change), event)
    }

    fn engine<T: EngineRecord + Serialize>(
        &mut self,
        of: &Envelope<'_>,
        datum: &[u8],
    ) -> Result<(), Error> {
        let event: T = of.decode(datum)?;
        self.log(of, T::TYPE, None, &event)
    }

    /// Adds the event as it was.
    fn log(
        &mut self,
        of: &Envelope<'_>,
        type_name: &str,
        change: Option<&Change<'_>>,
        body: &impl Serialize,
    ) -> Result<(), Error> {
        self.json.clear();
        serde_json::to_writer(&mut self.json, body)
            .map_err(|source| Error::Json { at: of.at, source })?;
        let about = About {
            type_name: Some(type_name),
            property_id: change.map(Change::property_id),
            reservation_id: change.map(Change::reservation_id).filter(|id| !id.is_empty()),
            business_date: change.map(|change| change.business_date),
            payload: str::from_utf8(&self.json).ok(),
        };
        self.events.event(of.at, of.name, of.meta, about);
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
            reservation_id: None,
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
    change_id: Id,
    property_id: Id,
    reservation_id: Option<Id>,
}

impl<'a> Change<'a> {
    fn reservation(self, id: ReservationId, booked_at: Timestamp) -> Self {
        Self { reservation_id: Some(Id::of(id.0)), booked_at, ..self }
    }

    fn country(self, country: Option<&'a str>) -> Self {
        Self { country, ..self }
    }

    pub(crate) fn change_id(&self) -> &str {
        self.change_id.as_str()
    }

    pub(crate) fn property_id(&self) -> &str {
        self.property_id.as_str()
    }

    /// Empty where the change is about no reservation.
    pub(crate) fn reservation_id(&self) -> &str {
        self.reservation_id.as_ref().map_or("", Id::as_str)
    }

    pub(crate) fn partition(&self) -> i32 {
        self.at.partition.cast_signed()
    }

    pub(crate) fn offset(&self) -> i64 {
        signed(self.at.offset)
    }
}

/// A UUID as text, written once per event and not once per row.
pub(crate) struct Id([u8; 36]);

impl Id {
    pub(crate) fn of(id: Uuid) -> Self {
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
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
