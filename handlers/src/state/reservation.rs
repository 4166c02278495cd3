//! A reservation: its state, and what it needs to be changed or given back.
//!
//! Millions of them are kept, so the booking is held as the Avro bytes of its event (a line with three
//! nights takes about 150) and decoded by the few commands that follow. A finished reservation
//! keeps its state and its external references, to answer with; the booking of a no-show is kept,
//! for the guest may yet come. All of it leaves memory by [`super::retention`].

use std::fmt;

use bellhop_core::avro::{Avro, Bytes, DecodeError, Reader, SchemaWriter, write_bytes};
use bellhop_core::prelude::{Avro, State};
use bellhop_schemas::event::{ReservationCheckedIn, ReservationCreated};
use bellhop_schemas::ids::{ExternalRef, ReservationKey};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineMove, LineNight};

use super::retention::{Keeping, Retained};

/// Where a reservation is in its life.
///
/// ```text
///                    ┌──────────▶ Expired
///  Requested ──▶ Pending ──▶ Confirmed ──▶ CheckedIn ──▶ CheckedOut
///    │   │                    ▲ │   │          ▲
///    │   └──▶ Waitlisted ─────┘ │   └─▶ NoShow ┘
///    ▼                          ▼
///  Rejected                 Cancelled
/// ```
///
/// Any of them ends as Finished, once it has been kept for long enough; no command leads there.
/// A confirmed reservation, and one in house, can be moved to another product; that is no step.
/// A request that passes is confirmed in the same decision, and one that does not leaves no
/// reservation: Requested, Pending, Waitlisted, Expired and Rejected wait for holds and the waitlist,
/// and no step leads there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.ReservationState")]
pub enum ReservationState {
    /// Asked for, and not decided.
    Requested,
    /// Held until it is confirmed or expires.
    Pending,
    /// Booked.
    Confirmed,
    /// The guest has come.
    CheckedIn,
    /// The guest has left.
    CheckedOut,
    /// Given up before the guest came.
    Cancelled,
    /// The guest has not come.
    NoShow,
    /// The hold ran out.
    Expired,
    /// Waits for room.
    Waitlisted,
    /// Refused.
    Rejected,
    /// Longer over than reservations are kept: its last day is all that is known.
    Finished,
}

/// What happens to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is given up.
    Cancel,
    /// The guest comes.
    CheckIn,
    /// The guest leaves.
    CheckOut,
    /// The guest does not come.
    NoShow,
    /// Lines are given another product.
    Move,
}

impl ReservationState {
    /// The state after a step; `None` where the step cannot be taken.
    #[must_use]
    pub fn after(self, step: Step) -> Option<Self> {
        use ReservationState::{
            Cancelled, CheckedIn, CheckedOut, Confirmed, Expired, Finished, NoShow, Pending,
            Rejected, Requested, Waitlisted,
        };
        match (self, step) {
            (Confirmed, Step::Cancel) => Some(Cancelled),
            (Confirmed, Step::CheckIn) => Some(CheckedIn),
            (Confirmed, Step::NoShow) => Some(NoShow),
            (NoShow, Step::CheckIn) => Some(CheckedIn),
            (CheckedIn, Step::CheckOut) => Some(CheckedOut),
            (Confirmed | CheckedIn, Step::Move) => Some(self),
            (Confirmed, Step::CheckOut)
            | (CheckedIn, Step::Cancel | Step::CheckIn | Step::NoShow)
            | (NoShow, Step::Cancel | Step::CheckOut | Step::NoShow | Step::Move)
            | (
                Requested | Pending | CheckedOut | Cancelled | Expired | Waitlisted | Rejected
                | Finished,
                Step::Cancel | Step::CheckIn | Step::CheckOut | Step::NoShow | Step::Move,
            ) => None,
        }
    }
}

/// What is kept of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.Reservation")]
pub struct Reservation {
    state: ReservationState,
    /// Business date of its last event; of its last day, once it is finished.
    changed: Night,
    booking: Packed,
}

impl State for Reservation {
    const NAME: &'static str = "reservation";
    type Key = ReservationKey;
}

impl Reservation {
    /// One that was just booked, by the Avro bytes of a [`ReservationCreated`].
    #[must_use]
    pub(crate) fn confirmed(created: &[u8], business_date: Night) -> Self {
        let booking = Packed(created.into());
        Self { state: ReservationState::Confirmed, changed: business_date, booking }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> ReservationState {
        self.state
    }

    /// What is booked, as its lines stand now: the nights that they hold, or held before a no-show.
    /// `None` once it is checked out, cancelled or finished.
    #[must_use]
    pub fn booking(&self) -> Option<ReservationCreated> {
        self.booking.open().filter(|_| self.is_open())
    }

    /// How much of it is known on a business date. `booking` is its own.
    #[must_use]
    pub(crate) fn retained(
        &self,
        booking: Option<&ReservationCreated>,
        keeping: Keeping,
    ) -> Retained {
        let last_day = self.last_day(booking);
        let retained = keeping.retains(last_day);
        if retained == Retained::Whole && self.state == ReservationState::Finished {
            return Retained::Finished(last_day);
        }
        retained
    }

    /// Its last night has passed on this day, and so has its last event.
    #[must_use]
    pub(crate) fn last_day(&self, booking: Option<&ReservationCreated>) -> Night {
        booking.and_then(ReservationCreated::last_day).unwrap_or(self.changed).max(self.changed)
    }

    /// The numbers that other systems have for it.
    pub(crate) fn external_refs(&self) -> Vec<ExternalRef> {
        self.booking.open().map(|booking| booking.external_refs).unwrap_or_default()
    }

    fn is_open(&self) -> bool {
        match self.state {
            ReservationState::Requested
            | ReservationState::Pending
            | ReservationState::Waitlisted
            | ReservationState::Confirmed
            | ReservationState::CheckedIn
            | ReservationState::NoShow => true,
            ReservationState::CheckedOut
            | ReservationState::Cancelled
            | ReservationState::Expired
            | ReservationState::Rejected
            | ReservationState::Finished => false,
        }
    }

    /// The guest has come.
    pub(crate) fn check_in(&mut self, event: &ReservationCheckedIn) {
        (self.state, self.changed) = (ReservationState::CheckedIn, event.business_date);
        let ReservationCheckedIn { moves, added, reinstated, .. } = event;
        if moves.is_empty() && added.is_empty() && reinstated.is_empty() {
            return;
        }
        self.change(|lines| {
            if !reinstated.is_empty() {
                lines.clone_from(reinstated);
            }
            hold(lines, moves);
            for (line, nights) in with_nights(lines, added) {
                line.nights.splice(0..0, nights);
            }
        });
    }

    /// The guest has not come: nothing is held, and everything is remembered.
    pub(crate) fn no_show(&mut self, business_date: Night) {
        (self.state, self.changed) = (ReservationState::NoShow, business_date);
    }

    /// Other products hold these nights.
    pub(crate) fn move_nights(&mut self, moves: &[LineMove], business_date: Night) {
        self.changed = business_date;
        if !moves.is_empty() {
            self.change(|lines| hold(lines, moves));
        }
    }

    /// The guest stays on.
    pub(crate) fn extend(&mut self, extended: &[Line], business_date: Night) {
        self.changed = business_date;
        self.change(|lines| {
            for (line, nights) in with_nights(lines, extended) {
                line.nights.extend(nights);
            }
        });
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<Line>)) {
        if let Some(mut booking) = self.booking.open() {
            change(&mut booking.lines);
            self.booking = Packed::of(&booking);
        }
    }

    /// It is cancelled: its external references mean it no longer.
    pub(crate) fn cancel(&mut self, business_date: Night) {
        let (state, booking) = (ReservationState::Cancelled, Packed::default());
        *self = Self { state, changed: business_date, booking };
    }

    /// The guest has left: of the booking, the external references go on to mean it.
    pub(crate) fn check_out(&mut self, business_date: Night) {
        let booking = match self.booking.open() {
            Some(booking) if !booking.external_refs.is_empty() => Packed::of(&ReservationCreated {
                guest_ref: None,
                country: None,
                lines: Vec::new(),
                oversold: Vec::new(),
                ..booking
            }),
            Some(_) | None => Packed::default(),
        };
        let state = ReservationState::CheckedOut;
        *self = Self { state, changed: business_date, booking };
    }

    /// It has been kept for long enough: only its last day is.
    pub(crate) fn finish(&mut self) {
        let changed = self.last_day(self.booking().as_ref());
        let (state, booking) = (ReservationState::Finished, Packed::default());
        *self = Self { state, changed, booking };
    }
}

/// Gives nights of lines to other products.
pub(crate) fn hold(lines: &mut [Line], moves: &[LineMove]) {
    for LineMove { line: moved, held } in moves {
        for line in lines.iter_mut().filter(|line| line.number == moved.number) {
            let product = line.holding(held);
            for at in &moved.nights {
                if let Ok(found) = line.nights.binary_search_by_key(&at.night, |at| at.night) {
                    line.nights[found].held = product.clone();
                }
            }
        }
    }
}

/// The lines that are given nights, with these.
fn with_nights<'a>(
    lines: &'a mut [Line],
    given: &'a [Line],
) -> impl Iterator<Item = (&'a mut Line, Vec<LineNight>)> {
    lines.iter_mut().filter_map(|line| {
        let given = given.iter().find(|given| given.number == line.number)?;
        Some((line, given.nights.clone()))
    })
}

/// A [`ReservationCreated`] as its Avro bytes; none where nothing of it is needed.
#[derive(Clone, Default, PartialEq, Eq)]
struct Packed(Box<[u8]>);

impl Packed {
    fn of(booking: &ReservationCreated) -> Self {
        let mut bytes = Vec::new();
        booking.encode(&mut bytes);
        Self(bytes.into())
    }

    fn open(&self) -> Option<ReservationCreated> {
        if self.0.is_empty() {
            return None;
        }
        match ReservationCreated::decode(&mut Reader::new(&self.0)) {
            Ok(booking) => Some(booking),
            Err(error) => panic!("a reservation of the store cannot be read: {error}"),
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.open().fmt(f)
    }
}

impl Avro for Packed {
    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(&self.0, out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Bytes::decode(reader).map(|bytes| Self(bytes.0.into_boxed_slice()))
    }
    fn schema(out: &mut SchemaWriter) {
        out.packed::<ReservationCreated>();
    }
}

#[cfg(test)]
mod tests {
    use bellhop_core::driver::Driver;

    use super::*;
    use crate::fixtures::*;

    #[test]
    fn every_step_leads_where_the_picture_says() {
        use ReservationState::{
            Cancelled, CheckedIn, CheckedOut, Confirmed, Expired, Finished, NoShow, Pending,
            Rejected, Requested, Waitlisted,
        };
        let steps = [Step::Cancel, Step::CheckIn, Step::CheckOut, Step::NoShow, Step::Move];
        let rows = [
            (Confirmed, [Some(Cancelled), Some(CheckedIn), None, Some(NoShow), Some(Confirmed)]),
            (CheckedIn, [None, None, Some(CheckedOut), None, Some(CheckedIn)]),
            (NoShow, [None, Some(CheckedIn), None, None, None]),
        ];
        for (state, after) in rows {
            assert_eq!(steps.map(|step| state.after(step)), after, "{state:?}");
        }
        let dead_ends =
            [Requested, Pending, CheckedOut, Cancelled, Expired, Waitlisted, Rejected, Finished];
        for state in dead_ends {
            assert_eq!(steps.map(|step| state.after(step)), [None; 5], "{state:?}");
        }
    }

    #[test]
    fn a_booking_is_kept_as_it_was_created() {
        let mut driver = hotel();
        let lines = vec![line("DBL", 2, 0, 3), line("BED", 1, 0, 0)];
        let created: ReservationCreated = accept(&mut driver, &create(1, lines)).only();
        let kept = |driver: &Driver| {
            let key = ReservationKey { property_id: HOTEL, reservation_id: id(1) };
            driver.store::<Reservation>().get(&key).expect("a reservation").clone()
        };
        let reservation = kept(&driver);
        assert_eq!(reservation.booking(), Some(created));
        assert!(format!("{reservation:?}").contains("RSV-2025-000001"), "a difference can be read");
        accept(&mut driver, &cancel(1));
        assert_eq!(kept(&driver).booking(), None);
    }
}
