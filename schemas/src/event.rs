//! What was decided. Each event carries its whole change, so that a reader needs no memory.
//!
//! `meta.occurred_at` is `known_at`: the stream time at which bellhop knew.

use bellhop_core::message::Timestamp;
use bellhop_core::prelude::{Avro, Event};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::command::{Acceptance, ProductKind};
use crate::ids::{ExternalRef, ProductCode, PropertyId, ReservationId};
use crate::money::Currency;
use crate::night::Night;
use crate::reason::{Alternative, Reason, Rule};
use crate::stay::{Line, LineMove, OversoldNight, RequestedLine, SupplyChange};

/// A property exists.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.PropertyDefined")]
#[message(key = property_id, type = "property.defined")]
pub struct PropertyDefined {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The name that people know it by.
    pub code: CompactString,
    /// IANA time zone.
    pub time_zone: CompactString,
    /// Local hour at which the business date moves on.
    pub roll_hour: u8,
    /// ISO 4217 currency of all its prices.
    pub currency: Currency,
    /// Rooms of the house on every night.
    pub physical: Vec<SupplyChange>,
    /// Local hour of the day of arrival from which a guest who has not come is a no-show; null for
    /// the end of that business date.
    pub no_show_hour: Option<u8>,
    /// What is possible and odd.
    pub warnings: Vec<Reason>,
}

/// A product exists.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ProductDefined")]
#[message(key = property_id, type = "product.defined")]
pub struct ProductDefined {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// Its code within the property.
    pub product: ProductCode,
    /// What people call it.
    pub name: CompactString,
    /// What it is.
    pub kind: ProductKind,
    /// Whether its units count in the house's statistics and its physical count.
    pub statistics: bool,
    /// Units on every night.
    pub physical: Vec<SupplyChange>,
    /// People that one unit takes, children included; null where it is not stated.
    pub occupancy_max: Option<u16>,
    /// What is possible and odd.
    pub warnings: Vec<Reason>,
}

/// The physical count changed.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.PhysicalCountChanged")]
#[message(key = property_id, type = "inventory.physical_changed")]
pub struct PhysicalCountChanged {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The product; null for the house.
    pub product: Option<ProductCode>,
    /// What changed, as runs of nights.
    pub changes: Vec<SupplyChange>,
    /// Nights that now have more sold than their limit.
    pub oversold: Vec<OversoldNight>,
    /// What is possible and odd.
    pub warnings: Vec<Reason>,
}

/// The overbooking allowance changed.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.OverbookingLimitChanged")]
#[message(key = property_id, type = "overbooking.limit_changed")]
pub struct OverbookingLimitChanged {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The product; null for the house.
    pub product: Option<ProductCode>,
    /// What changed, as runs of nights.
    pub changes: Vec<SupplyChange>,
    /// Nights that now have more sold than their limit.
    pub oversold: Vec<OversoldNight>,
}

/// A stay is booked.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ReservationCreated")]
#[message(key = property_id, type = "reservation.created")]
pub struct ReservationCreated {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The reservation.
    pub reservation_id: ReservationId,
    /// Like `RSV-2025-001234`: unique per property and year of the business date.
    pub confirmation_number: CompactString,
    /// When the guest booked, as the source claims.
    #[serde(with = "crate::instant")]
    pub booked_at: Timestamp,
    /// Opaque reference to the guest's profile.
    pub guest_ref: Option<CompactString>,
    /// Where the guest comes from.
    pub country: Option<CompactString>,
    /// Numbers that other systems have for it.
    pub external_refs: Vec<ExternalRef>,
    /// What is booked.
    pub lines: Vec<Line>,
    /// What might have refused it.
    pub acceptance: Acceptance,
    /// Nights that a booking sold elsewhere took above their limit.
    pub oversold: Vec<OversoldNight>,
    /// What is possible and odd.
    pub warnings: Vec<Reason>,
}

/// A reservation is cancelled and its nights are free again.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ReservationCancelled")]
#[message(key = property_id, type = "reservation.cancelled")]
pub struct ReservationCancelled {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The reservation.
    pub reservation_id: ReservationId,
    /// Its confirmation number.
    pub confirmation_number: CompactString,
    /// When the guest booked, as the source claimed.
    #[serde(with = "crate::instant")]
    pub booked_at: Timestamp,
    /// Where the guest comes from.
    pub country: Option<CompactString>,
    /// Code of the cause.
    pub cause: Option<CompactString>,
    /// The lines that are given back.
    pub released: Vec<Line>,
    /// The numbers of other systems, free for another reservation.
    pub external_refs: Vec<ExternalRef>,
}

/// The guest has come.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ReservationCheckedIn")]
#[message(key = property_id, type = "reservation.checkin")]
pub struct ReservationCheckedIn {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The reservation.
    pub reservation_id: ReservationId,
    /// Its confirmation number.
    pub confirmation_number: CompactString,
    /// When the guest booked, as the source claimed.
    #[serde(with = "crate::instant")]
    pub booked_at: Timestamp,
    /// Where the guest comes from.
    pub country: Option<CompactString>,
    /// Lines that are given another product.
    pub moves: Vec<LineMove>,
    /// Nights before the day of arrival, of a guest who has come early; without a price.
    pub added: Vec<Line>,
    /// What is taken back of a no-show who has come after all: every line, with the nights from the
    /// business date on.
    pub reinstated: Vec<Line>,
    /// Nights that this took above their limit.
    pub oversold: Vec<OversoldNight>,
}

/// Lines are given another product than they held.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ReservationMoved")]
#[message(key = property_id, type = "reservation.moved")]
pub struct ReservationMoved {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The reservation.
    pub reservation_id: ReservationId,
    /// Its confirmation number.
    pub confirmation_number: CompactString,
    /// When the guest booked, as the source claimed.
    #[serde(with = "crate::instant")]
    pub booked_at: Timestamp,
    /// Where the guest comes from.
    pub country: Option<CompactString>,
    /// The nights that move.
    pub moves: Vec<LineMove>,
    /// Nights that the move took above their limit.
    pub oversold: Vec<OversoldNight>,
}

/// A guest in house is past the departure: the nights up to the business date are held as well.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ReservationExtended")]
#[message(key = property_id, type = "reservation.extended")]
pub struct ReservationExtended {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The reservation.
    pub reservation_id: ReservationId,
    /// Its confirmation number.
    pub confirmation_number: CompactString,
    /// When the guest booked, as the source claimed.
    #[serde(with = "crate::instant")]
    pub booked_at: Timestamp,
    /// Where the guest comes from.
    pub country: Option<CompactString>,
    /// The lines that were to leave last, with the nights added; without a price.
    pub extended: Vec<Line>,
    /// Nights that this took above their limit.
    pub oversold: Vec<OversoldNight>,
}

/// The guest has left.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ReservationCheckedOut")]
#[message(key = property_id, type = "reservation.checkout")]
pub struct ReservationCheckedOut {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The reservation.
    pub reservation_id: ReservationId,
    /// Its confirmation number.
    pub confirmation_number: CompactString,
    /// When the guest booked, as the source claimed.
    #[serde(with = "crate::instant")]
    pub booked_at: Timestamp,
    /// Where the guest comes from.
    pub country: Option<CompactString>,
    /// Nights given back: those from the local date of the departure on.
    pub released: Vec<Line>,
    /// Lines of which the guest has left on the day of arrival: a day use at the price of the first
    /// night, which is given back.
    pub day_use: Vec<Line>,
    /// Days that this took above their limit.
    pub oversold: Vec<OversoldNight>,
}

/// The guest has not come, and the nights are free again.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ReservationNoShow")]
#[message(key = property_id, type = "reservation.no_show")]
pub struct ReservationNoShow {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date.
    pub business_date: Night,
    /// The reservation.
    pub reservation_id: ReservationId,
    /// Its confirmation number.
    pub confirmation_number: CompactString,
    /// When the guest booked, as the source claimed.
    #[serde(with = "crate::instant")]
    pub booked_at: Timestamp,
    /// Where the guest comes from.
    pub country: Option<CompactString>,
    /// The lines that are given back.
    pub released: Vec<Line>,
}

/// A command about a reservation was refused.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.ReservationRejected")]
#[message(key = property_id, type = "reservation.rejected", code = code, codes = Rule)]
pub struct ReservationRejected {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date; null where the property is not known.
    pub business_date: Option<Night>,
    /// The command.
    pub command: CompactString,
    /// The reservation, as far as it was named.
    pub reservation_id: Option<ReservationId>,
    /// Where the guest comes from.
    pub country: Option<CompactString>,
    /// What was asked for; empty for a command that books nothing.
    pub asked: Vec<RequestedLine>,
    /// Every rule that refused, the first one first.
    pub reasons: Vec<Reason>,
    /// The nearest stays that could be had instead.
    pub alternatives: Vec<Alternative>,
}

/// A command about the catalog was refused.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Event, Serialize, Deserialize)]
#[avro(name = "bellhop.event.CatalogRejected")]
#[message(key = property_id, type = "catalog.rejected", code = code, codes = Rule)]
pub struct CatalogRejected {
    /// The property.
    pub property_id: PropertyId,
    /// Its business date; null where the property is not known.
    pub business_date: Option<Night>,
    /// The command.
    pub command: CompactString,
    /// The product that it is about; null for the house.
    pub product: Option<ProductCode>,
    /// Every rule that refused, the first one first.
    pub reasons: Vec<Reason>,
}

impl ReservationCreated {
    /// First day of arrival of its lines.
    #[must_use]
    pub fn arrival(&self) -> Option<Night> {
        self.lines.iter().map(|line| line.arrival).min()
    }

    /// The day after its last night, or its last departure where that is later.
    #[must_use]
    pub fn last_day(&self) -> Option<Night> {
        let nights = self.lines.iter().filter_map(|line| line.nights.last());
        let held = nights.map(|at| at.night.plus(1)).max();
        self.departure().max(held)
    }

    /// Last day of departure of its lines.
    #[must_use]
    pub fn departure(&self) -> Option<Night> {
        self.lines.iter().map(|line| line.departure).max()
    }
}

fn code(reasons: &[Reason]) -> u16 {
    reasons.first().map_or(u16::MAX, |reason| reason.rule.code())
}

impl ReservationRejected {
    fn code(&self) -> u16 {
        code(&self.reasons)
    }
}

impl CatalogRejected {
    fn code(&self) -> u16 {
        code(&self.reasons)
    }
}
