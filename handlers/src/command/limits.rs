//! Bounds of texts and lists.
//!
//! With those of the lines they bound a booking to 400 KB, so that every later command about it can
//! be said in one event.

use bellhop_schemas::dimensions::Dimensions;
use bellhop_schemas::ids::ExternalRef;
use bellhop_schemas::reason::{Reason, Rule};

use crate::rejection::beyond;

/// Bytes of any text that a producer names.
const TEXT_BYTES_MAX: usize = 128;
/// External references of a reservation.
const REFS_MAX: usize = 20;

/// # Rejections
/// `TextTooLong`.
pub(super) fn check_text(text: &str) -> Result<(), Reason> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(beyond(Rule::TextTooLong, text.len() as i64, TEXT_BYTES_MAX as i64))
}

/// # Rejections
/// `TextTooLong`.
pub(super) fn check_dimensions(dimensions: &Dimensions) -> Result<(), Reason> {
    if dimensions.bytes() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    dimensions.longest().map_or(Ok(()), check_text)
}

/// # Rejections, in order
/// `TooManyRefs`, `TextTooLong`.
pub(super) fn check_refs(refs: &[ExternalRef]) -> Result<(), Reason> {
    if refs.len() > REFS_MAX {
        return Err(beyond(Rule::TooManyRefs, refs.len() as i64, REFS_MAX as i64));
    }
    refs.iter().flat_map(|one| [&one.system, &one.id]).try_for_each(|text| check_text(text))
}
