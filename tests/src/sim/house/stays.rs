//! What is known of each reservation of a property, by its events alone.

use std::collections::BTreeMap;

use bellhop_schemas::event::{ReservationCheckedIn, ReservationCreated};
use bellhop_schemas::ids::{ExternalRef, ReservationId};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineMove};

/// Where a stay is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Booked,
    InHouse,
    Left,
    Cancelled,
    NoShow,
}

/// A reservation.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) stage: Stage,
    pub(super) lines: Vec<Line>,
    pub(super) arrival: Night,
    pub(super) departure: Night,
    refs: Vec<ExternalRef>,
    /// Business date of its last event.
    changed: Night,
}

/// How much of a reservation may still be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    Whole,
    /// Its last day alone.
    LastDay(Night),
    Nothing,
}

impl Stay {
    /// The later of its last event and, while it is open, its last departure or night.
    pub(super) fn last_day(&self) -> Night {
        match self.stage {
            Stage::Left | Stage::Cancelled => self.changed,
            Stage::Booked | Stage::InHouse | Stage::NoShow => {
                let nights = self.lines.iter().flat_map(|line| &line.nights);
                let nights = nights.map(|at| at.night.plus(1)).max();
                self.changed.max(self.departure).max(nights.unwrap_or(self.departure))
            }
        }
    }

    /// What is known on a date under a retention.
    pub(super) fn memory(&self, today: Night, retention_days: i32) -> Memory {
        let last_day = self.last_day();
        match last_day.until(today) {
            age if age > 2 * retention_days => Memory::Nothing,
            age if age > retention_days => Memory::LastDay(last_day),
            _ => Memory::Whole,
        }
    }
}

/// The reservations of a property.
#[derive(Debug, Default)]
pub(super) struct Stays {
    stays: BTreeMap<ReservationId, Stay>,
}

impl Stays {
    pub(super) fn get(&self, id: ReservationId) -> Option<&Stay> {
        self.stays.get(&id)
    }

    /// What is known of a reservation.
    pub(super) fn memory(&self, id: ReservationId, today: Night, retention_days: i32) -> Memory {
        self.get(id).map_or(Memory::Nothing, |stay| stay.memory(today, retention_days))
    }

    /// The reservation that a number of another system means: one that is whole and not cancelled.
    pub(super) fn by_ref(
        &self,
        wanted: &ExternalRef,
        today: Night,
        retention_days: i32,
    ) -> Option<ReservationId> {
        let means = |(_, stay): &(&ReservationId, &Stay)| {
            stay.refs.contains(wanted)
                && stay.stage != Stage::Cancelled
                && stay.memory(today, retention_days) == Memory::Whole
        };
        self.stays.iter().find(means).map(|(id, _)| *id)
    }

    pub(super) fn create(&mut self, event: &ReservationCreated) {
        let days = event.lines.iter().map(|line| (line.arrival, line.departure));
        let (arrivals, departures): (Vec<_>, Vec<_>) = days.unzip();
        let stay = Stay {
            stage: Stage::Booked,
            arrival: arrivals.into_iter().min().unwrap_or(event.business_date),
            departure: departures.into_iter().max().unwrap_or(event.business_date),
            lines: event.lines.clone(),
            refs: event.external_refs.clone(),
            changed: event.business_date,
        };
        self.stays.insert(event.reservation_id, stay);
    }

    pub(super) fn check_in(&mut self, event: &ReservationCheckedIn) {
        let Some(stay) = self.step(event.reservation_id, Stage::InHouse, event.business_date)
        else {
            return;
        };
        if !event.reinstated.is_empty() {
            stay.lines.clone_from(&event.reinstated);
            let days = stay.lines.iter().map(|line| line.departure);
            stay.departure = days.max().unwrap_or(stay.departure);
        }
        hold(&mut stay.lines, &event.moves);
        give(&mut stay.lines, &event.added);
    }

    pub(super) fn shift(&mut self, id: ReservationId, moves: &[LineMove], today: Night) {
        if let Some(stay) = self.stays.get_mut(&id) {
            stay.changed = today;
            hold(&mut stay.lines, moves);
        }
    }

    pub(super) fn extend(&mut self, id: ReservationId, extended: &[Line], today: Night) {
        if let Some(stay) = self.stays.get_mut(&id) {
            stay.changed = today;
            give(&mut stay.lines, extended);
        }
    }

    /// Takes a step that changes no line.
    pub(super) fn step(
        &mut self,
        id: ReservationId,
        stage: Stage,
        today: Night,
    ) -> Option<&mut Stay> {
        let stay = self.stays.get_mut(&id)?;
        (stay.stage, stay.changed) = (stage, today);
        Some(stay)
    }
}

fn hold(lines: &mut [Line], moves: &[LineMove]) {
    for LineMove { line: moved, held } in moves {
        for line in lines.iter_mut().filter(|line| line.number == moved.number) {
            for night in &mut line.nights {
                if moved.nights.iter().any(|at| at.night == night.night) {
                    night.held = Some(held.clone());
                }
            }
        }
    }
}

fn give(lines: &mut [Line], given: &[Line]) {
    for more in given {
        for line in lines.iter_mut().filter(|line| line.number == more.number) {
            line.nights.extend(more.nights.iter().cloned());
            line.nights.sort_by_key(|at| at.night);
        }
    }
}
