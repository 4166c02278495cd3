//! What was refused, and why: a row per reason.
//!
//! A refused command has exactly one row with `reason_index` 0, so counting those counts commands.

use bellhop_schemas::event::ReservationRejected;
use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::reason::Reason;

use crate::expand::Change;
use crate::row::{Day, Instant, Int, Long, Null, Take, Text, Uuid, table};

table! {
    /// A reason of a refusal.
    Refusal of Refusals {
        /// The property.
        property_id: Uuid,
        /// Its business date; the day in UTC where the property is not known.
        business_date: Day,
        /// When bellhop knew.
        known_at: Instant,
        /// Id of the event.
        change_id: Uuid,
        /// The command that was refused.
        command: Text,
        /// The reservation, as far as it was named.
        reservation_id: Null<Uuid>,
        /// Number of the reason, from 0: the first rule that refused.
        reason_index: Int,
        /// The rule.
        rule: Null<Text>,
        /// The product that the reason is about.
        rule_product: Null<Text>,
        /// The night that the reason is about.
        night: Null<Day>,
        /// What was asked for.
        asked: Null<Long>,
        /// What the rule would have allowed.
        allowed: Null<Long>,
        /// First day of arrival asked for.
        arrival: Null<Day>,
        /// Last day of departure asked for.
        departure: Null<Day>,
        /// Units asked for over all lines.
        units: Long,
        /// The product.
        product: Null<Text>,
        /// Rate plan.
        rate_plan: Null<Text>,
        /// Market segment.
        segment: Null<Text>,
        /// Channel of distribution.
        channel: Null<Text>,
        /// Source of business.
        source: Null<Text>,
        /// Company that it is booked for.
        company: Null<Text>,
        /// Agent that it is booked by.
        agent: Null<Text>,
        /// Where the guest comes from.
        country: Null<Text>,
        /// Partition of the event.
        partition: Int,
        /// Its offset.
        offset: Long,
    }
}

/// Gives a refusal; one without a reason keeps its row, so that it is counted.
pub(crate) fn refused(to: &mut impl Take, change: &Change<'_>, event: &ReservationRejected) {
    if event.reasons.is_empty() {
        refusal(to, change, event, 0, None);
    }
    for (index, reason) in (0..).zip(&event.reasons) {
        refusal(to, change, event, index, Some(reason));
    }
}

fn refusal(
    to: &mut impl Take,
    change: &Change<'_>,
    event: &ReservationRejected,
    index: i32,
    reason: Option<&Reason>,
) {
    let first = event.asked.first();
    let rule = reason.map(|reason| format!("{:?}", reason.rule));
    to.row(&Refusal {
        property_id: change.property_id(),
        business_date: change.business_date,
        known_at: change.known_at,
        change_id: change.change_id(),
        command: &event.command,
        reservation_id: change.reservation.as_ref(),
        reason_index: index,
        rule: rule.as_deref(),
        rule_product: reason.and_then(|reason| reason.product.as_ref()).map(ProductCode::as_str),
        night: reason.and_then(|reason| reason.night),
        asked: reason.and_then(|reason| reason.asked),
        allowed: reason.and_then(|reason| reason.allowed),
        arrival: event.asked.iter().map(|line| line.arrival).min(),
        departure: event.asked.iter().map(|line| line.departure).max(),
        units: event.asked.iter().map(|line| i64::from(line.units)).sum(),
        product: first.map(|line| line.product.as_str()),
        rate_plan: first.and_then(|line| line.dimensions.rate_plan()),
        segment: first.and_then(|line| line.dimensions.segment()),
        channel: first.and_then(|line| line.dimensions.channel()),
        source: first.and_then(|line| line.dimensions.source()),
        company: first.and_then(|line| line.dimensions.company()),
        agent: first.and_then(|line| line.dimensions.agent()),
        country: event.country.as_deref(),
        partition: change.partition(),
        offset: change.offset(),
    });
}
