//! Which reservation a command means, and whether the step may be taken.

use bellhop_core::prelude::*;
use bellhop_schemas::event::{ReservationCreated, ReservationRejected};
use bellhop_schemas::ids::{ExternalRef, PropertyId, ReservationId, ReservationKey};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};

use crate::rejection::{Rejection, because};
use crate::state::external_ref::ExternalRefs;
use crate::state::property::Property;
use crate::state::reservation::{Reservation, ReservationState, Step};

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
}

impl Address<'_> {
    /// # Rejections, in order
    /// `UnknownProperty`, `UnknownReservation`, `WrongState`.
    pub(super) fn find<'s>(
        self,
        step: Step,
        properties: &'s Store<Property>,
        reservations: &Store<Reservation>,
        external_refs: &Store<ExternalRefs>,
        now: Timestamp,
    ) -> Result<Found<'s>, Rejection> {
        let property =
            properties.get(&self.property_id).ok_or_else(|| because(Rule::UnknownProperty))?;
        let business_date = property.business_date(now);
        let refuse = |reason| Rejection::on(business_date, reason);
        let found = self.reservation_id(external_refs).and_then(|reservation_id| {
            let key = ReservationKey { property_id: self.property_id, reservation_id };
            reservations.get(&key).map(|reservation| (reservation_id, reservation))
        });
        let (reservation_id, reservation) =
            found.ok_or_else(|| refuse(because(Rule::UnknownReservation)))?;
        let state = reservation.state();
        let booking = reservation.booking();
        if state.after(step).is_some()
            && let Some(booking) = booking
        {
            return Ok(Found { property, business_date, reservation_id, state, booking });
        }
        Err(Rejection {
            reservation_id: Some(reservation_id),
            country: booking.and_then(|booking| booking.country),
            ..refuse(because(Rule::WrongState))
        })
    }

    fn reservation_id(&self, external_refs: &Store<ExternalRefs>) -> Option<ReservationId> {
        let Some(external_ref) = self.external_ref else { return self.reservation_id };
        let meant = external_refs.get(&self.property_id)?.get(external_ref)?;
        self.reservation_id.is_none_or(|named| named == meant).then_some(meant)
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
