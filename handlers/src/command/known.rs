//! What is known of the reservations of a property on a business date.

use bellhop_core::prelude::*;
use bellhop_schemas::event::ReservationCreated;
use bellhop_schemas::ids::{ExternalRef, PropertyId, ReservationId, ReservationKey};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};

use super::limits::REFS_MAX;
use crate::rejection::{Findings, because};
use crate::state::external_ref::ExternalRefs;
use crate::state::reservation::{Reservation, ReservationState};
use crate::state::retention::{Keeping, Retained};

/// The reservations of a property, and how long each is known.
pub(super) struct Known<'a> {
    pub(super) property_id: PropertyId,
    pub(super) reservations: &'a Store<Reservation>,
    pub(super) external_refs: &'a Store<ExternalRefs>,
    pub(super) keeping: Keeping,
}

/// A reservation that is known.
pub(super) struct KnownReservation {
    pub(super) state: ReservationState,
    pub(super) booking: Option<ReservationCreated>,
    pub(super) retained: Retained,
}

impl Known<'_> {
    /// A reservation by its id.
    pub(super) fn find(&self, reservation_id: ReservationId) -> Option<KnownReservation> {
        let key = ReservationKey { property_id: self.property_id, reservation_id };
        let reservation = self.reservations.get(&key)?;
        let booking = reservation.booking();
        let retained = reservation.retained(booking.as_ref(), self.keeping);
        Some(KnownReservation { state: reservation.state(), booking, retained })
    }

    /// How much is known of a reservation.
    pub(super) fn retained(&self, reservation_id: ReservationId) -> Retained {
        self.find(reservation_id).map_or(Retained::Nothing, |found| found.retained)
    }

    /// The reservation that a number of another system means: one of which all is known.
    pub(super) fn holder(&self, external_ref: &ExternalRef) -> Option<ReservationId> {
        let holder = self.external_refs.get(&self.property_id)?.get(external_ref)?;
        (self.retained(holder) == Retained::Whole).then_some(holder)
    }

    /// Why a command about a reservation that is not kept whole is refused.
    ///
    /// # Rejections
    /// `Finished` or `UnknownReservation`.
    pub(super) fn not_kept(&self, path: &'static str, reservation_id: ReservationId) -> Reason {
        let path = Some(path.into());
        match self.retained(reservation_id) {
            Retained::Finished(last_day) => Reason { path, ..finished(last_day) },
            Retained::Whole | Retained::Nothing => {
                Reason { path, ..because(Rule::UnknownReservation) }
            }
        }
    }

    /// External references of a new reservation mean no other one, and differ among themselves.
    ///
    /// # Rejections
    /// `ExternalRefInUse`.
    pub(super) fn check_new(&self, refs: &[ExternalRef], faults: &mut Findings) {
        for (index, one) in refs.iter().take(REFS_MAX).enumerate() {
            let reservation_id = self.holder(one);
            if reservation_id.is_some() || refs[..index].contains(one) {
                let reason = Reason { reservation_id, ..because(Rule::ExternalRefInUse) };
                faults.add(format_args!("external_refs[{index}]"), reason);
            }
        }
    }
}

/// The reservation was over on a day, and is not kept any more.
pub(super) fn finished(last_day: Night) -> Reason {
    Reason { night: Some(last_day), ..because(Rule::Finished) }
}
