//! Lines that are given another product: which of their nights move.

use bellhop_schemas::command::Assignment;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{Line, LineMove};

use crate::rejection::{Findings, because};
use crate::state::inventory::Inventory;

/// The nights from a date on that another product is to hold.
///
/// # Rejections, in order
/// For each assignment `UnknownLine` or `BadLines` (a line that has one already), and
/// `UnknownProduct`.
pub(super) fn moves(
    lines: &[Line],
    assignments: &[Assignment],
    from: Night,
    inventory: &Inventory,
    faults: &mut Findings,
) -> Vec<LineMove> {
    let mut moves = Vec::new();
    for (place, Assignment { line: number, product }) in assignments.iter().enumerate() {
        if faults.is_full() {
            break;
        }
        let numbered = |rule| Reason { asked: Some((*number).into()), ..because(rule) };
        let mut wrong = |field: &str, reason| {
            faults.add(format_args!("assignments[{place}].{field}"), reason);
        };
        let line = lines.iter().find(|known| known.number == *number);
        if line.is_none() {
            wrong("line", numbered(Rule::UnknownLine));
        } else if assignments[..place].iter().any(|earlier| earlier.line == *number) {
            wrong("line", numbered(Rule::BadLines));
        }
        if inventory.index_of(product).is_none() {
            let product = Some(product.clone());
            wrong("product", Reason { product, ..numbered(Rule::UnknownProduct) });
        }
        let Some(line) = line else { continue };
        let nights = line.nights.iter().filter(|at| at.night >= from && line.held(at) != product);
        let line = line.with_nights(nights.cloned().collect());
        if !line.nights.is_empty() {
            moves.push(LineMove { line, held: product.clone() });
        }
    }
    moves
}
