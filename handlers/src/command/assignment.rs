//! Lines that are given another product: which of their nights move.

use bellhop_schemas::command::Assignment;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{Line, LineMove};

use crate::rejection::because;
use crate::state::inventory::Inventory;

/// The nights from a date on that another product is to hold.
///
/// # Rejections, in order
/// For each assignment `UnknownLine`, `BadLines` (a line that has one already), `UnknownProduct`.
pub(super) fn moves(
    lines: &[Line],
    assignments: &[Assignment],
    from: Night,
    inventory: &Inventory,
) -> Result<Vec<LineMove>, Reason> {
    let mut moves = Vec::new();
    for (place, assignment) in assignments.iter().enumerate() {
        let Assignment { line, product } = assignment;
        let numbered = |rule| Reason { asked: Some((*line).into()), ..because(rule) };
        let line = lines
            .iter()
            .find(|known| known.number == *line)
            .ok_or_else(|| numbered(Rule::UnknownLine))?;
        if assignments[..place].iter().any(|earlier| earlier.line == assignment.line) {
            return Err(numbered(Rule::BadLines));
        }
        if inventory.index_of(product).is_none() {
            return Err(Reason {
                product: Some(product.clone()),
                ..numbered(Rule::UnknownProduct)
            });
        }
        let nights = line.nights.iter().filter(|at| at.night >= from && line.held(at) != product);
        let line = line.with_nights(nights.cloned().collect());
        if !line.nights.is_empty() {
            moves.push(LineMove { line, held: product.clone() });
        }
    }
    Ok(moves)
}
