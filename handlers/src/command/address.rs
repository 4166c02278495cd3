//! Which reservation a command means, and whether the step may be taken.

use bellhop_core::avro::Symbols as _;
use bellhop_core::prelude::*;
use bellhop_schemas::event::{ReservationCreated, ReservationRejected};
use bellhop_schemas::ids::{ExternalRef, PropertyId, ReservationId};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};

use super::known::{Known, KnownReservation};
use super::supply;
use crate::rejection::{Findings, Rejection, because, instead};
use crate::state::external_ref::ExternalRefs;
use crate::state::property::Property;
use crate::state::reservation::{Reservation, ReservationState, Step};
use crate::state::retention::{Keeping, Retained};

/// The field that holds our own id, and the one that holds another system's number.
const ID: &str = "reservation_id";
const EXTERNAL_REF: &str = "external_ref";

/// How a command names a reservation; where it gives both names, they must mean the same one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) property_id: PropertyId,
    pub(super) reservation_id: Option<ReservationId>,
    pub(super) external_ref: Option<&'a ExternalRef>,
}

/// A reservation that may take the step.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) property: &'a Property,
    pub(super) business_date: Night,
    pub(super) reservation_id: ReservationId,
    pub(super) state: ReservationState,
    pub(super) booking: ReservationCreated,
}

impl Found<'_> {
    /// A refusal that knows the reservation.
    pub(super) fn refuse(&self, reason: Reason) -> Rejection {
        Rejection {
            reservation_id: Some(self.reservation_id),
            country: self.booking.country.clone(),
            ..Rejection::on(self.business_date, reason)
        }
    }

    /// A refusal for all that is wrong with the command, if anything is.
    pub(super) fn check(&self, faults: Findings) -> Result<(), Rejection> {
        faults.refuse(Some(self.business_date)).map_err(|refusal| Rejection {
            reservation_id: Some(self.reservation_id),
            country: self.booking.country.clone(),
            ..refusal
        })
    }
}

impl Address<'_> {
    /// An external reference means a reservation for as long as all of it is kept.
    ///
    /// # Rejections, in order
    /// Each alone: `UnknownProperty`, `ReservationNotNamed`, `UnknownReservation`, `NamesDisagree`,
    /// `Finished`, `WrongState`.
    pub(super) fn find<'s>(
        self,
        step: Step,
        properties: &'s Store<Property>,
        reservations: &Store<Reservation>,
        external_refs: &Store<ExternalRefs>,
        cx: &Context<'_>,
    ) -> Result<Found<'s>, Rejection> {
        let property = properties.get(&self.property_id).ok_or_else(supply::unknown_property)?;
        let business_date = property.business_date(cx.now);
        let refuse = |reason| Rejection::on(business_date, reason);
        let keeping = Keeping::on(business_date, cx.rules);
        let known = Known { property_id: self.property_id, reservations, external_refs, keeping };
        let (path, reservation_id) = self
            .named(&known)
            .map_err(|it| Rejection { business_date: Some(business_date), ..it })?;
        let found = known.find(reservation_id);
        let whole = found.filter(|found| found.retained == Retained::Whole);
        let Some(KnownReservation { state, booking, .. }) = whole else {
            return Err(Rejection {
                reservation_id: Some(reservation_id),
                ..refuse(known.not_kept(path, reservation_id))
            });
        };
        if state.after(step).is_some()
            && let Some(booking) = booking
        {
            return Ok(Found { property, business_date, reservation_id, state, booking });
        }
        Err(Rejection {
            reservation_id: Some(reservation_id),
            country: booking.and_then(|booking| booking.country),
            ..refuse(wrong_state(state, step))
        })
    }

    /// The reservation that is meant, by the field that names it.
    fn named(&self, known: &Known<'_>) -> Result<(&'static str, ReservationId), Rejection> {
        let of = |path: &'static str, rule| Reason { path: Some(path.into()), ..because(rule) };
        let Some(external_ref) = self.external_ref else {
            let named = self.reservation_id.map(|id| (ID, id));
            return named.ok_or_else(|| of(ID, Rule::ReservationNotNamed).into());
        };
        let Some(meant) = known.holder(external_ref) else {
            // The references of what is finished are free; its id still says what it was.
            let reason = match self.reservation_id.map(|id| (id, known.retained(id))) {
                Some((id, Retained::Finished(_))) => known.not_kept(ID, id),
                Some((_, Retained::Whole | Retained::Nothing)) | None => {
                    of(EXTERNAL_REF, Rule::UnknownReservation)
                }
            };
            return Err(reason.into());
        };
        if self.reservation_id.is_some_and(|named| named != meant) {
            let reservation_id = Some(meant);
            let reason = Reason { reservation_id, ..of(EXTERNAL_REF, Rule::NamesDisagree) };
            return Err(reason.into());
        }
        Ok((EXTERNAL_REF, meant))
    }

    /// The event of a refusal that books nothing.
    pub(super) fn rejected<C: Message>(self, rejection: Rejection) -> ReservationRejected {
        ReservationRejected {
            property_id: self.property_id,
            business_date: rejection.business_date,
            command: C::TYPE.into(),
            reservation_id: rejection.reservation_id.or(self.reservation_id),
            country: rejection.country,
            asked: Vec::new(),
            reasons: rejection.reasons,
            alternatives: rejection.alternatives,
        }
    }
}

/// The step cannot be taken: the state that was found, and those that it can be taken from.
fn wrong_state(found: ReservationState, step: Step) -> Reason {
    let from = ReservationState::ALL.iter().filter(|state| state.after(step).is_some());
    let wanted: Vec<_> = from.map(|state| state.symbol().name).collect();
    instead(Rule::WrongState, found.symbol().name, &wanted.join(" or "))
}

/// For a command with `property_id`, `reservation_id` and `external_ref`: what it names, and the
/// event of its refusal.
macro_rules! addressed {
    ($command:ty) => {
        impl<'a> From<&'a $command> for Address<'a> {
            fn from(command: &'a $command) -> Self {
                Self {
                    property_id: command.property_id,
                    reservation_id: command.reservation_id,
                    external_ref: command.external_ref.as_ref(),
                }
            }
        }

        impl Refused for $command {
            type Rejected = ReservationRejected;

            fn rejected(&self, rejection: Rejection) -> ReservationRejected {
                Address::from(self).rejected::<Self>(rejection)
            }
        }
    };
}
pub(super) use addressed;

#[cfg(test)]
mod tests {
    use bellhop_schemas::command::CancelReservation;

    use super::*;
    use crate::fixtures::*;

    #[test]
    fn a_reservation_is_not_named_or_not_known_or_named_twice_differently() {
        let mut driver = hotel();
        for number in 1..=2 {
            accept(&mut driver, &create(number, vec![line("DBL", 1, 0, 1)]));
        }
        let mut refused = |reservation_id, external_ref: Option<&str>| {
            let external_ref = external_ref.map(pms);
            let command = CancelReservation { reservation_id, external_ref, ..cancel(1) };
            let [reason] = &reasons(&driver.send(&command))[..] else { panic!("one reason") };
            (reason.rule, reason.path.as_deref().unwrap().to_owned(), reason.reservation_id)
        };
        let of = |rule, path: &str, id| (rule, path.to_owned(), id);
        assert_eq!(refused(None, None), of(Rule::ReservationNotNamed, "reservation_id", None));
        let unknown = |path| of(Rule::UnknownReservation, path, None);
        assert_eq!(refused(Some(id(3)), None), unknown("reservation_id"));
        assert_eq!(refused(None, Some("3")), unknown("external_ref"));
        assert_eq!(refused(Some(id(1)), Some("3")), unknown("external_ref"));
        let disagree = of(Rule::NamesDisagree, "external_ref", Some(id(2)));
        assert_eq!(refused(Some(id(1)), Some("2")), disagree);
        assert_eq!(refused(Some(id(3)), Some("2")), disagree);
    }

    #[test]
    fn a_step_that_cannot_be_taken_names_the_state_and_those_that_it_needs() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        let states = |sent: &bellhop_core::driver::Sent| {
            let [reason] = &reasons(sent)[..] else { panic!("{sent:?}") };
            assert_eq!(reason.rule, Rule::WrongState);
            let text =
                |text: &Option<compact_str::CompactString>| text.as_deref().unwrap().to_owned();
            (text(&reason.found), text(&reason.wanted))
        };
        let of = |found: &str, wanted: &str| (found.to_owned(), wanted.to_owned());
        assert_eq!(states(&driver.send(&leave(1))), of("Confirmed", "CheckedIn"));
        accept(&mut driver, &cancel(1));
        assert_eq!(states(&driver.send(&arrive(1, &[]))), of("Cancelled", "Confirmed or NoShow"));
        assert_eq!(
            states(&driver.send(&relocate(1, &[]))),
            of("Cancelled", "Confirmed or CheckedIn")
        );
    }
}
