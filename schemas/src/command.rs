//! What can be asked.

use bellhop_core::prelude::{Avro, Command};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::{ExternalRef, ProductCode, PropertyId, ReservationId};
use crate::money::Currency;
use crate::night::Night;
use crate::stay::RequestedLine;

/// Defines a property with the physical count of its house.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.DefineProperty")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct DefineProperty {
    /// The property.
    pub property_id: PropertyId,
    /// The name that people know it by.
    pub code: CompactString,
    /// IANA time zone.
    pub time_zone: CompactString,
    /// Local hour at which the business date moves on, 0 to 12.
    pub roll_hour: i32,
    /// ISO 4217 currency of all its prices.
    pub currency: Currency,
    /// Rooms of the house on every night.
    pub physical: i32,
    /// Local hour of the day of arrival from which a guest who has not come is a no-show, 0 to 23;
    /// null for the end of that business date.
    pub no_show_hour: Option<i32>,
}

/// What a product is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.ProductKind")]
pub enum ProductKind {
    /// A room type.
    Room,
}

/// Defines a product of a property.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.DefineProduct")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct DefineProduct {
    /// The property.
    pub property_id: PropertyId,
    /// Its code within the property.
    pub product: ProductCode,
    /// What people call it.
    pub name: CompactString,
    /// What it is.
    pub kind: ProductKind,
    /// Whether its units count in the house's statistics and its physical count.
    pub statistics: bool,
    /// Units on every night.
    pub physical: i32,
    /// People that one unit takes, children included; null where it is not stated.
    pub occupancy_max: Option<i32>,
}

/// Sets the physical count of the house or of a product on a range of nights.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.SetPhysicalCount")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct SetPhysicalCount {
    /// The property.
    pub property_id: PropertyId,
    /// The product; null for the house.
    pub product: Option<ProductCode>,
    /// First night, from the business date on; null for the business date.
    pub first_night: Option<Night>,
    /// Last night; null for no end.
    pub last_night: Option<Night>,
    /// Units on each of these nights.
    pub count: i32,
}

/// Sets the overbooking allowance of the house or of a product on a range of nights.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.SetOverbooking")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct SetOverbooking {
    /// The property.
    pub property_id: PropertyId,
    /// The product; null for the house.
    pub product: Option<ProductCode>,
    /// First night, from the business date on; null for the business date.
    pub first_night: Option<Night>,
    /// Last night; null for no end.
    pub last_night: Option<Night>,
    /// Units that may be sold above the physical count; negative holds some back.
    pub allowance: i32,
}

/// What may refuse a booking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.Acceptance")]
pub enum Acceptance {
    /// A request: it needs a unit on every night.
    #[default]
    Request,
    /// A fact: it was sold elsewhere. No limit refuses it; what it oversells is listed.
    AlreadySold,
}

/// Books a stay.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.CreateReservation")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct CreateReservation {
    /// The property.
    pub property_id: PropertyId,
    /// The new reservation.
    pub reservation_id: ReservationId,
    /// When the guest booked, as the source claims; null for now.
    #[serde(default, with = "crate::instant::option")]
    pub booked_at: Option<bellhop_core::message::Timestamp>,
    /// Opaque reference to the guest's profile; never a name or an address.
    pub guest_ref: Option<CompactString>,
    /// Where the guest comes from: the alpha-3 code of ISO 3166-1, such as PRT.
    pub country: Option<CompactString>,
    /// Numbers that other systems have for it.
    #[serde(default)]
    pub external_refs: Vec<ExternalRef>,
    /// What is booked: all of it, or nothing.
    #[serde(default)]
    pub lines: Vec<RequestedLine>,
    /// What may refuse it.
    #[serde(default)]
    pub acceptance: Acceptance,
}

/// Cancels a reservation before the guest has come.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.CancelReservation")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct CancelReservation {
    /// The property.
    pub property_id: PropertyId,
    /// The reservation, unless `external_ref` names it.
    pub reservation_id: Option<ReservationId>,
    /// The number that another system has for it.
    pub external_ref: Option<ExternalRef>,
    /// Code of the cause.
    pub cause: Option<CompactString>,
}

/// The product that a guest is given for a line.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Serialize, Deserialize)]
#[avro(name = "bellhop.Assignment")]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Number of the line, from 1.
    pub line: u16,
    /// The product.
    pub product: ProductCode,
}

/// Records that the guest has come.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.CheckIn")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct CheckIn {
    /// The property.
    pub property_id: PropertyId,
    /// The reservation, unless `external_ref` names it.
    pub reservation_id: Option<ReservationId>,
    /// The number that another system has for it.
    pub external_ref: Option<ExternalRef>,
    /// Lines that are given another product than they hold.
    #[serde(default)]
    pub assignments: Vec<Assignment>,
}

/// Gives lines another product, from the business date on.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.MoveReservation")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct MoveReservation {
    /// The property.
    pub property_id: PropertyId,
    /// The reservation, unless `external_ref` names it.
    pub reservation_id: Option<ReservationId>,
    /// The number that another system has for it.
    pub external_ref: Option<ExternalRef>,
    /// Lines that are given another product than they hold.
    #[serde(default)]
    pub assignments: Vec<Assignment>,
}

/// Records that the guest has left.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.CheckOut")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct CheckOut {
    /// The property.
    pub property_id: PropertyId,
    /// The reservation, unless `external_ref` names it.
    pub reservation_id: Option<ReservationId>,
    /// The number that another system has for it.
    pub external_ref: Option<ExternalRef>,
}

/// Records that the guest has not come.
#[derive(Debug, Clone, PartialEq, Eq, Avro, Command, Serialize, Deserialize)]
#[avro(name = "bellhop.command.MarkNoShow")]
#[message(key = property_id)]
#[serde(deny_unknown_fields)]
pub struct MarkNoShow {
    /// The property.
    pub property_id: PropertyId,
    /// The reservation, unless `external_ref` names it.
    pub reservation_id: Option<ReservationId>,
    /// The number that another system has for it.
    pub external_ref: Option<ExternalRef>,
}
