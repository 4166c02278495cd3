//! The signed ledger of supply: how many units there are, product by product and for the house.
//!
//! # Invariants
//! The sum of a column over the rows of a property and product (or of the house, where it is null)
//! whose run of nights covers a night is that night's count.

use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::stay::SupplyChange;

use crate::expand::Change;
use crate::row::{Day, Flag, Instant, Int, Long, Null, Take, Text, Uuid, table};

table! {
    /// A change of a count over a run of nights.
    Supply of Supply {
        /// The property.
        property_id: Uuid,
        /// Business date of the change.
        business_date: Day,
        /// When bellhop knew.
        known_at: Instant,
        /// Id of the event.
        change_id: Uuid,
        /// The product; null for the house.
        product: Null<Text>,
        /// Whether the product counts in the statistics; null where the event does not say.
        statistics: Null<Flag>,
        /// First night; null for the beginning of time.
        first_night: Null<Day>,
        /// Last night; null for no end.
        last_night: Null<Day>,
        /// Units that exist, signed change.
        physical: Int,
        /// Units of them out of order, signed change.
        out_of_order: Int,
        /// Units that may be sold above the physical count, signed change.
        allowance: Int,
        /// Partition of the event.
        partition: Int,
        /// Its offset.
        offset: Long,
        /// Number of the row within the event, from 0.
        index: Int,
    }
}

/// Which count a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Physical,
    Allowance,
}

/// Gives the runs of one change.
pub(crate) fn runs(
    to: &mut impl Take,
    change: &Change<'_>,
    product: Option<&ProductCode>,
    statistics: Option<bool>,
    count: Count,
    runs: &[SupplyChange],
) {
    for (index, run) in (0..).zip(runs) {
        let units = run.after.saturating_sub(run.before);
        let of = |counted| if count == counted { units } else { 0 };
        to.row(&Supply {
            property_id: change.property_id(),
            business_date: change.business_date,
            known_at: change.known_at,
            change_id: change.change_id(),
            product: product.map(ProductCode::as_str),
            statistics,
            first_night: run.first_night,
            last_night: run.last_night,
            physical: of(Count::Physical),
            out_of_order: 0,
            allowance: of(Count::Allowance),
            partition: change.partition(),
            offset: change.offset(),
            index,
        });
    }
}
