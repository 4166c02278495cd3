//! The business says no: reasons on their way into an event.
//!
//! What is wrong with a command's input is collected in [`Findings`], so that a refusal names every
//! fault with its field; what is possible and odd is collected in the same way, as warnings.

use std::fmt::Display;

use bellhop_core::prelude::{Context, Message, Refusal};
use bellhop_schemas::ids::ReservationId;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Alternative, Reason, Rule};
use compact_str::{CompactString, ToCompactString};

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
    Reason::of(rule)
}

/// A reason with the number that was asked for and the one that would have been allowed.
#[must_use]
pub fn beyond(rule: Rule, asked: impl Into<i64>, allowed: impl Into<i64>) -> Reason {
    Reason { asked: Some(asked.into()), allowed: Some(allowed.into()), ..because(rule) }
}

/// A reason with what was found, and what would have been taken.
#[must_use]
pub fn instead(rule: Rule, found: &str, wanted: &str) -> Reason {
    let some = |text: &str| (!text.is_empty()).then(|| quoted(text));
    Reason { found: some(found), wanted: some(wanted), ..because(rule) }
}

/// The first bytes of a text that a producer named.
fn quoted(text: &str) -> CompactString {
    const BYTES_MAX: usize = 64;
    text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or_default().into()
}

/// Reasons with their fields, in the order in which they were found. The first 100 are kept.
#[derive(Debug, Default)]
pub struct Findings(Vec<Reason>);

/// Findings of one command that are listed.
pub const FINDINGS_MAX: usize = 100;

impl Findings {
    /// Adds a reason about a field.
    pub fn add(&mut self, path: impl Display, reason: Reason) {
        if self.0.len() < FINDINGS_MAX {
            self.0.push(Reason { path: Some(path.to_compact_string()), ..reason });
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no more are kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= FINDINGS_MAX
    }

    /// All of them.
    #[must_use]
    pub fn into_reasons(self) -> Vec<Reason> {
        self.0
    }

    /// The refusal for all of them, if there are any.
    ///
    /// # Errors
    /// That refusal.
    pub fn refuse(self, business_date: Option<Night>) -> Result<(), Rejection> {
        if self.is_empty() {
            return Ok(());
        }
        Err(self.rejection(business_date))
    }

    /// The refusal for all of them; there has to be one.
    #[must_use]
    pub fn rejection(self, business_date: Option<Night>) -> Rejection {
        Rejection {
            business_date,
            reservation_id: None,
            country: None,
            reasons: self.0,
            alternatives: Vec::new(),
        }
    }
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
