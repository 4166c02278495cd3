//! Who is in house past which date: what the roll of the business date has to extend.
//!
//! A guest holds the booked nights. From the business date after the departure on, a guest who has
//! not left holds the night of the business date as well, until he leaves: the room is not free.
//! One timer a property, at the next roll that finds somebody overdue; processors keep it.
//!
//! # Invariants
//! While there is a guest, the timer stands at the earliest date due, or that date is being handled.

use std::collections::{BTreeMap, BTreeSet};

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter};
use bellhop_core::prelude::{Avro, State, Timers};
use bellhop_core::timer::TimerId;
use bellhop_schemas::ids::{PropertyId, ReservationId};
use bellhop_schemas::night::Night;
use bellhop_schemas::timer::BusinessDateRolled;

use super::property::Property;

/// Nights that a guest is extended by; who stays longer is to be booked anew.
pub(crate) const OVERSTAY_NIGHTS_MAX: i32 = 400;

/// Guests in house, by the business date that extends them.
#[derive(Debug, Default)]
pub struct InHouse {
    due: BTreeMap<ReservationId, Night>,
    /// The same, by date.
    by_date: BTreeSet<(Night, ReservationId)>,
    timer: Option<Roll>,
}

/// The timer, and the date that it stands at.
#[derive(Debug, Clone, Copy, Avro)]
#[avro(name = "bellhop.state.Roll")]
struct Roll {
    business_date: Night,
    timer: TimerId,
}

/// As a snapshot holds it.
#[derive(Avro)]
#[avro(name = "bellhop.state.InHouse")]
struct Kept {
    guests: Vec<Guest>,
    timer: Option<Roll>,
}

#[derive(Avro)]
#[avro(name = "bellhop.state.GuestInHouse")]
struct Guest {
    reservation_id: ReservationId,
    due: Night,
}

impl State for InHouse {
    const NAME: &'static str = "in_house";
    type Key = PropertyId;
}

impl InHouse {
    /// Those whom a business date finds overdue, the longest first.
    pub(crate) fn overdue(&self, date: Night) -> impl Iterator<Item = ReservationId> {
        let due = self.by_date.iter().take_while(move |(due, _)| *due <= date);
        due.map(|(_, reservation_id)| *reservation_id)
    }

    /// A guest is in house; the roll to a business date extends him.
    pub(crate) fn expect(&mut self, reservation_id: ReservationId, due: Night) {
        self.leave(reservation_id);
        self.due.insert(reservation_id, due);
        self.by_date.insert((due, reservation_id));
    }

    /// A guest has left, or is extended no longer.
    pub(crate) fn leave(&mut self, reservation_id: ReservationId) {
        if let Some(due) = self.due.remove(&reservation_id) {
            self.by_date.remove(&(due, reservation_id));
        }
    }

    /// Sets the timer to the earliest date due.
    pub(crate) fn set_timer(
        &mut self,
        property_id: PropertyId,
        property: &Property,
        timers: &mut Timers,
    ) {
        let first = self.by_date.first().map(|(due, _)| *due);
        if self.timer.map(|roll| roll.business_date) == first {
            return;
        }
        self.cancel_timer(timers);
        self.timer = first.map(|business_date| Roll {
            business_date,
            timer: timers.set(
                property.roll_at(business_date),
                &BusinessDateRolled { property_id, business_date },
            ),
        });
    }

    /// Takes the timer back; it may have fired.
    pub(crate) fn cancel_timer(&mut self, timers: &mut Timers) {
        if let Some(roll) = self.timer.take() {
            timers.cancel(&roll.timer);
        }
    }
}

/// In the order of the reservations.
impl Avro for InHouse {
    fn encode(&self, out: &mut Vec<u8>) {
        let guests = self.due.iter();
        let guests = guests.map(|(id, due)| Guest { reservation_id: *id, due: *due });
        Kept { guests: guests.collect(), timer: self.timer }.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Kept { guests, timer } = Kept::decode(reader)?;
        let mut in_house = Self { timer, ..Self::default() };
        guests.iter().for_each(|guest| in_house.expect(guest.reservation_id, guest.due));
        Ok(in_house)
    }
    fn schema(out: &mut SchemaWriter) {
        Kept::schema(out);
    }
}
