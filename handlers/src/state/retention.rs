//! What is over leaves memory, by the business date of its property.
//!
//! A reservation is over on its last day: that of its last departure or of its last event, whichever
//! is later. `retention_days` (a rule of the log) later it is finished, whatever its state: its
//! booking is dropped, its external references are free, and commands about it are refused with its
//! last day. As many days later again, nothing is left of it, and its id is free.
//!
//! Whether a reservation is finished follows from its last day and the business date alone
//! ([`Keeping::retains`]). When its memory is given back is another matter: a booking is what makes
//! state grow, so the fold of each booking drops what it finds due, a bounded number at a time.
//!
//! # Invariants
//! 1. Every reservation in memory is listed, and stays so until it is dropped: one whose last day
//!    has moved is listed again under the new one when the old one is due.
//! 2. The fold of a booking lists one reservation and drops up to [`DROPPED_MAX`], so the list of
//!    what is due empties faster than it fills.

use std::collections::BTreeMap;

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter};
use bellhop_core::prelude::{Avro, State};
use bellhop_core::rules::Rules;
use bellhop_schemas::ids::{PropertyId, ReservationId};
use bellhop_schemas::night::Night;

/// Reservations that one booking looks at: a long one would make its command wait.
const DROPPED_MAX: usize = 64;

/// A business date, and how long what is over is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeping {
    business_date: Night,
    days: i32,
}

/// How much is known of something that was over on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retained {
    /// All of it.
    Whole,
    /// When it was over.
    Finished(Night),
    /// Nothing.
    Nothing,
}

impl Keeping {
    /// By the rules of a log.
    #[must_use]
    pub(crate) fn on(business_date: Night, rules: Rules) -> Self {
        Self { business_date, days: i32::try_from(rules.retention_days).unwrap_or(i32::MAX) }
    }

    /// How much is known of what was over on a day.
    #[must_use]
    pub(crate) fn retains(self, last_day: Night) -> Retained {
        let age = last_day.until(self.business_date);
        if age <= self.days {
            Retained::Whole
        } else if age <= self.days.saturating_mul(2) {
            Retained::Finished(last_day)
        } else {
            Retained::Nothing
        }
    }

    /// The first night that is counted: a booking may begin on it.
    #[must_use]
    pub(crate) fn first_night(self) -> Night {
        self.business_date.plus(self.days.saturating_neg())
    }
}

/// The reservations of a property by the day that they may be over on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retention {
    whole: ByDay,
    finished: ByDay,
}

type ByDay = BTreeMap<Night, Vec<ReservationId>>;

/// One day of them, as a snapshot holds it.
#[derive(Avro)]
#[avro(name = "bellhop.state.RetentionDay")]
struct Day {
    last_day: Night,
    reservations: Vec<ReservationId>,
}

/// All of them, as a snapshot holds them.
#[derive(Avro)]
#[avro(name = "bellhop.state.Retention")]
struct Kept {
    whole: Vec<Day>,
    finished: Vec<Day>,
}

impl State for Retention {
    const NAME: &'static str = "retention";
    type Key = PropertyId;
}

/// What is to become of a reservation that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// It was whole.
    Finish(ReservationId),
    /// It was finished.
    Drop(ReservationId),
}

impl Retention {
    /// A reservation is there; it is looked at once this day is long enough ago.
    pub(crate) fn list(&mut self, last_day: Night, reservation_id: ReservationId) {
        self.whole.entry(last_day).or_default().push(reservation_id);
    }

    /// Goes through what is due. `settle` gives the day under which the reservation is to be looked
    /// at again, or `None` when it is not: for [`Due::Finish`] a day on which it is still whole, or
    /// its last day once it is finished.
    pub(crate) fn settle(
        &mut self,
        keeping: Keeping,
        mut settle: impl FnMut(Due) -> Option<Night>,
    ) {
        for _ in 0..DROPPED_MAX {
            if let Some(id) =
                pop(&mut self.finished, |day| keeping.retains(day) == Retained::Nothing)
            {
                settle(Due::Drop(id));
            } else if let Some(id) =
                pop(&mut self.whole, |day| keeping.retains(day) != Retained::Whole)
            {
                let Some(day) = settle(Due::Finish(id)) else { continue };
                let list = match keeping.retains(day) {
                    Retained::Whole => &mut self.whole,
                    Retained::Finished(_) | Retained::Nothing => &mut self.finished,
                };
                list.entry(day).or_default().push(id);
            } else {
                return;
            }
        }
    }

    /// How many are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.whole.values().chain(self.finished.values()).map(Vec::len).sum()
    }

    /// Whether none is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.finished.is_empty()
    }
}

/// The last one of the first day, if that day is due.
fn pop(by_day: &mut ByDay, is_due: impl FnOnce(Night) -> bool) -> Option<ReservationId> {
    let mut first = by_day.first_entry().filter(|first| is_due(*first.key()))?;
    let id = first.get_mut().pop();
    if first.get().is_empty() {
        first.remove();
    }
    id
}

/// Days in order, and of each the reservations in the order in which they were listed: what is
/// dropped next follows from it.
impl Avro for Retention {
    fn encode(&self, out: &mut Vec<u8>) {
        let days = |by_day: &ByDay| {
            let days = by_day.iter();
            days.map(|(day, ids)| Day { last_day: *day, reservations: ids.clone() }).collect()
        };
        Kept { whole: days(&self.whole), finished: days(&self.finished) }.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Kept { whole, finished } = Kept::decode(reader)?;
        let by_day =
            |days: Vec<Day>| days.into_iter().map(|day| (day.last_day, day.reservations)).collect();
        Ok(Self { whole: by_day(whole), finished: by_day(finished) })
    }
    fn schema(out: &mut SchemaWriter) {
        Kept::schema(out);
    }
}
