//! The business says no: reasons on their way into an event.

use bellhop_core::prelude::{Context, Message, Refusal};
use bellhop_schemas::ids::ReservationId;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Alternative, Reason, Rule};
use compact_str::CompactString;

/// Why a command is refused, with what its event has to say and the command does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The property's; `None` where the property is not known.
    pub business_date: Option<Night>,
    /// The reservation, where one was found.
    pub reservation_id: Option<ReservationId>,
    /// Its guest's country.
    pub country: Option<CompactString>,
    /// At least one; the first decides the code of the outcome.
    pub reasons: Vec<Reason>,
    /// What could be had instead.
    pub alternatives: Vec<Alternative>,
}

impl Rejection {
    /// For one reason, at a property on its business date.
    #[must_use]
    pub fn on(business_date: Night, reason: Reason) -> Self {
        Self { business_date: Some(business_date), ..Self::from(reason) }
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self {
            business_date: None,
            reservation_id: None,
            country: None,
            reasons: vec![reason],
            alternatives: Vec::new(),
        }
    }
}

/// A reason that needs no numbers; others fill in what they know.
#[must_use]
pub fn because(rule: Rule) -> Reason {
    Reason { rule, product: None, night: None, asked: None, allowed: None, reservation_id: None }
}

/// A reason with the number that was asked for and the one that would have been allowed.
#[must_use]
pub fn beyond(rule: Rule, asked: impl Into<i64>, allowed: impl Into<i64>) -> Reason {
    Reason { asked: Some(asked.into()), allowed: Some(allowed.into()), ..because(rule) }
}

/// A command that can be refused: says which event records that, in the command's own file.
pub trait Refused: Message {
    /// The event.
    type Rejected: Message;
    /// The event for this command.
    fn rejected(&self, rejection: Rejection) -> Self::Rejected;
}

impl<C: Refused> Refusal<C> for Rejection {
    type Event = C::Rejected;

    fn refuse(self, command: &C, _: &Context<'_>) -> C::Rejected {
        command.rejected(self)
    }
}
