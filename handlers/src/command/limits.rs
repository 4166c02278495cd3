//! Bounds of texts, lists and nights.
//!
//! With those of the lines they bound a booking to 400 KB, so that every later command about it can
//! be said in one event.

use std::fmt::Display;

use bellhop_schemas::dimensions::Dimensions;
use bellhop_schemas::ids::ExternalRef;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};

use crate::rejection::{Findings, beyond};

/// Bytes of any text that a producer names.
const TEXT_BYTES_MAX: usize = 128;
/// External references of a reservation.
pub(super) const REFS_MAX: usize = 20;
/// Nights from the business date to the last one that a booking or a change of supply may name: five
/// years.
pub(super) const HORIZON_NIGHTS: i32 = 1_827;

/// # Rejections
/// `BeyondHorizon`.
pub(super) fn check_horizon(
    path: impl Display,
    business_date: Night,
    night: Night,
    faults: &mut Findings,
) {
    let ahead = business_date.until(night);
    if ahead > HORIZON_NIGHTS {
        let reason = beyond(Rule::BeyondHorizon, ahead, HORIZON_NIGHTS);
        faults.add(path, Reason { night: Some(night), ..reason });
    }
}

/// # Rejections
/// `TextTooLong`.
pub(super) fn check_text(path: impl Display, text: &str, faults: &mut Findings) {
    if text.len() > TEXT_BYTES_MAX {
        faults.add(path, beyond(Rule::TextTooLong, text.len() as i64, TEXT_BYTES_MAX as i64));
    }
}

/// # Rejections
/// `TextTooLong`.
pub(super) fn check_dimensions(path: impl Display, dimensions: &Dimensions, faults: &mut Findings) {
    if dimensions.bytes() <= TEXT_BYTES_MAX {
        return;
    }
    if let Some(text) = dimensions.longest() {
        check_text(path, text, faults);
    }
}

/// # Rejections, in order
/// `TooManyRefs`; then of the first 20 `TextTooLong`.
pub(super) fn check_refs(refs: &[ExternalRef], faults: &mut Findings) {
    if refs.len() > REFS_MAX {
        let reason = beyond(Rule::TooManyRefs, refs.len() as i64, REFS_MAX as i64);
        faults.add("external_refs", reason);
    }
    for (index, one) in refs.iter().take(REFS_MAX).enumerate() {
        check_text(format_args!("external_refs[{index}].system"), &one.system, faults);
        check_text(format_args!("external_refs[{index}].id"), &one.id, faults);
    }
}
