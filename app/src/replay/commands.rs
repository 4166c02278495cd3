//! The commands of a replay, by number: first the catalog, then the steps.

use bellhop_core::message::{Meta, Timestamp};
use bellhop_schemas::command::{
    Acceptance, Assignment, CancelReservation, CheckIn, CheckOut, CreateReservation, DefineProduct,
    DefineProperty, MarkNoShow, ProductKind, SetOverbooking,
};
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::ids::{PropertyId, ReservationId};
use bellhop_schemas::money::Currency;
use bellhop_schemas::stay::{Price, PricedBy, RequestedLine};
use compact_str::{CompactString, format_compact};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::capacity::{Limit, Supply};
use super::import::Import;
use super::row::Row;
use super::schedule::{Phase, Step, midnight};
use crate::command::AnyCommand;

/// Both hotels of the data set are in Portugal.
const TIME_ZONE: &str = "Europe/Lisbon";
/// The data mark most no-shows on the day of arrival; the replay does at this hour of UTC.
const NO_SHOW_HOUR: i32 = Phase::NoShow as i32;

/// A command with its time.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) at: Timestamp,
    pub(crate) meta: Meta,
    pub(crate) command: AnyCommand,
}

/// All commands of a replay.
pub(crate) struct Commands {
    import: Import,
    steps: Vec<Step>,
    properties: Vec<PropertyId>,
    catalog: Vec<AnyCommand>,
    start: Timestamp,
}

/// The id of a hotel: the same for the same name, always.
pub(crate) fn property_id(hotel: &str) -> PropertyId {
    let mut name = b"bellhop.property/".to_vec();
    name.extend_from_slice(hotel.as_bytes());
    PropertyId(version_8(xxh3_128(&name)))
}

/// The id of the reservation of a data row (from 0).
pub(crate) fn reservation_id(property: PropertyId, row: u32) -> ReservationId {
    ReservationId(numbered(property, u64::from(row)))
}

/// An id of a property: its upper half, then a number.
fn numbered(property: PropertyId, number: u64) -> Uuid {
    let upper = property.0.as_u128() >> 64 << 64;
    version_8(upper | u128::from(number))
}

fn version_8(bits: u128) -> Uuid {
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
}

impl Commands {
    /// Of a file and the supplies of its hotels.
    pub(crate) fn new(import: Import, steps: Vec<Step>, supplies: &[Supply]) -> Self {
        let properties: Vec<_> = import.hotels.iter().map(|name| property_id(name)).collect();
        let hotels = properties.iter().zip(&import.hotels).zip(supplies);
        let catalog = hotels.flat_map(|((id, name), supply)| catalog(*id, name, supply)).collect();
        let first = steps.first().map(|step| &import.rows[step.row]);
        let start = first.map_or(Timestamp(0), |row| midnight(row.booked));
        Self { import, steps, properties, catalog, start }
    }

    /// What was read.
    pub(crate) fn import(&self) -> &Import {
        &self.import
    }

    /// The hotels' ids, in the order of [`Import::hotels`].
    pub(crate) fn properties(&self) -> &[PropertyId] {
        &self.properties
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.catalog.len() + self.steps.len()
    }

    /// One of them.
    ///
    /// # Panics
    /// When there are not so many.
    pub(crate) fn get(&self, number: usize) -> Timed {
        match self.catalog.get(number) {
            Some(command) => {
                // The catalog stands at the beginning of the first day, before every booking.
                let at = Timestamp(self.start.0 + number as i64);
                let id = numbered(command.property_id(), (0xff << 40) | number as u64);
                let meta = Meta::of_command(id, &format_compact!("catalog-{number}"), at);
                Timed { at, meta, command: command.clone() }
            }
            None => self.step(&self.steps[number - self.catalog.len()]),
        }
    }

    fn step(&self, step: &Step) -> Timed {
        let row = &self.import.rows[step.row];
        let property = self.properties[row.hotel];
        let phase = step.phase as u64;
        let id = numbered(property, ((phase + 1) << 40) | u64::from(row.number));
        let key = format_compact!("row-{}-{phase}", row.number);
        let mut meta = Meta::of_command(id, &key, step.at);
        let reservation_id = reservation_id(property, row.number);
        meta.correlation_id = Some(reservation_id.0);
        let reservation = Some(reservation_id);
        let command = match step.phase {
            Phase::Book => create(property, reservation_id, row, step.at).into(),
            Phase::Cancel | Phase::CancelSameDay => CancelReservation {
                property_id: property,
                reservation_id: reservation,
                external_ref: None,
                cause: None,
            }
            .into(),
            Phase::CheckIn => {
                let assignment = Assignment { line: 1, product: row.given.clone() };
                let moved = row.given != row.sold;
                CheckIn {
                    property_id: property,
                    reservation_id: reservation,
                    external_ref: None,
                    assignments: if moved { vec![assignment] } else { Vec::new() },
                }
                .into()
            }
            Phase::CheckOut | Phase::CheckOutDayUse => {
                CheckOut { property_id: property, reservation_id: reservation, external_ref: None }
                    .into()
            }
            Phase::NoShow => MarkNoShow {
                property_id: property,
                reservation_id: reservation,
                external_ref: None,
            }
            .into(),
        };
        Timed { at: step.at, meta, command }
    }
}

fn catalog(property_id: PropertyId, name: &str, supply: &Supply) -> Vec<AnyCommand> {
    let mut commands = vec![AnyCommand::from(DefineProperty {
        property_id,
        code: name.into(),
        time_zone: CompactString::const_new(TIME_ZONE),
        roll_hour: 0,
        currency: Currency::EUR,
        physical: supply.house.physical,
        no_show_hour: Some(NO_SHOW_HOUR),
    })];
    for (product, limit) in &supply.products {
        commands.push(AnyCommand::from(DefineProduct {
            property_id,
            product: product.clone(),
            name: format_compact!("Room type {product}"),
            kind: ProductKind::Room,
            statistics: true,
            physical: limit.physical,
            occupancy_max: None,
        }));
    }
    let products = supply.products.iter().map(|(product, limit)| (Some(product), *limit));
    let limits = std::iter::once((None, supply.house)).chain(products);
    for (product, Limit { allowance, .. }) in limits {
        if allowance != 0 {
            commands.push(AnyCommand::from(SetOverbooking {
                property_id,
                product: product.cloned(),
                first_night: None,
                last_night: None,
                allowance,
            }));
        }
    }
    commands
}

fn create(
    property_id: PropertyId,
    reservation_id: ReservationId,
    row: &Row,
    booked_at: Timestamp,
) -> CreateReservation {
    let price = Price { room: row.adr, ..Price::default() };
    let day_use = row.arrival == row.departure;
    let nights = usize::try_from(row.arrival.until(row.departure)).unwrap_or_default();
    let ages = std::iter::repeat_n(None, usize::try_from(row.children).unwrap_or_default());
    let babies = std::iter::repeat_n(Some(0), usize::try_from(row.babies).unwrap_or_default());
    CreateReservation {
        property_id,
        reservation_id,
        booked_at: Some(booked_at),
        guest_ref: None,
        country: row.country.clone(),
        external_refs: Vec::new(),
        // The capacity that the hotels must have had is one of nights.
        acceptance: if day_use { Acceptance::AlreadySold } else { Acceptance::Request },
        lines: vec![RequestedLine {
            product: row.sold.clone(),
            units: 1,
            arrival: row.arrival,
            departure: row.departure,
            adults: row.adults,
            child_ages: ages.chain(babies).collect(),
            dimensions: Texts {
                segment: row.segment.clone(),
                channel: row.channel.clone(),
                company: row.company.clone(),
                agent: row.agent.clone(),
                guarantee: row.guarantee.clone(),
                ..Texts::default()
            }
            .into(),
            currency: Currency::EUR,
            priced_by: PricedBy::Client,
            nights: vec![price; nights],
            day_use: day_use.then_some(price),
        }],
    }
}
