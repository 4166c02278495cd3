//! How many units may be sold above what exists, from a night to a night.

use bellhop_core::prelude::*;
use bellhop_schemas::command::SetOverbooking;
use bellhop_schemas::event::{CatalogRejected, OverbookingLimitChanged};

use super::supply;
use crate::rejection::{Findings, Refused, Rejection};
use crate::state::inventory::Inventory;
use crate::state::property::Property;

/// Sets an overbooking allowance from the business date on, or from a later night. It is a fact:
/// nights that it leaves oversold are listed.
///
/// # Rejections, in order
/// `UnknownProperty` alone; then all of `UnknownProduct`, `BadRange`, `NightInPast`,
/// `BeyondHorizon`, `BadCount`.
#[handler]
pub fn set_overbooking(
    command: SetOverbooking,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    cx: &Context,
) -> Result<OverbookingLimitChanged, Rejection> {
    let SetOverbooking { property_id, product, first_night, last_night, allowance } = command;
    let (business_date, inventory) = supply::of(property_id, properties, inventories, cx.now)?;
    let mut faults = Findings::default();
    let calendar = supply::calendar(inventory, product.as_ref(), &mut faults);
    let first = supply::first_night(first_night, last_night, business_date, &mut faults);
    supply::check_allowance("allowance", allowance, &mut faults);
    let Some(calendar) = calendar.filter(|_| faults.is_empty()) else {
        return Err(faults.rejection(Some(business_date)));
    };

    let changes = calendar.allowance().changes(Some(first), last_night, allowance);
    let oversold = supply::oversold(product.as_ref(), calendar, &changes);
    Ok(OverbookingLimitChanged { property_id, business_date, product, changes, oversold })
}

impl Refused for SetOverbooking {
    type Rejected = CatalogRejected;

    fn rejected(&self, rejection: Rejection) -> CatalogRejected {
        supply::rejected::<Self>(self.property_id, self.product.as_ref(), rejection)
    }
}

#[cfg(test)]
mod tests {
    use bellhop_schemas::reason::Rule;

    use super::*;
    use crate::fixtures::*;

    fn set(product: Option<&str>, allowance: i32) -> SetOverbooking {
        SetOverbooking {
            property_id: HOTEL,
            product: product.map(code),
            first_night: Some(TODAY),
            last_night: Some(TODAY.plus(1)),
            allowance,
        }
    }

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        let sent = hold_to_table(
            &mut driver,
            &set(Some("TWN"), 2),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::UnknownProduct, |it| it.product = Some(code("SUI"))),
                (Rule::BadRange, |it| {
                    (it.first_night, it.last_night) = (Some(TODAY.plus(2)), Some(TODAY));
                }),
                (Rule::NightInPast, |it| it.first_night = Some(TODAY.plus(-1))),
                (Rule::BeyondHorizon, |it| it.last_night = Some(TODAY.plus(1_828))),
                (Rule::BadCount, |it| it.allowance = -30_001),
            ],
        );
        let changed: OverbookingLimitChanged = sent.only();
        let [run] = changed.changes.as_slice() else { panic!("one run: {changed:?}") };
        assert_eq!((run.before, run.after), (0, 2));
    }

    #[test]
    fn an_allowance_lets_requests_go_above_the_physical_count() {
        let mut driver = hotel();
        accept(&mut driver, &set(Some("TWN"), 2));
        accept(&mut driver, &create(1, vec![line("TWN", 6, 0, 2)]));
        assert_eq!(rules(&driver.send(&create(2, vec![line("TWN", 1, 0, 1)]))), [Rule::SoldOut]);
        assert_eq!(cell(&driver, Some("TWN"), 0).available(), 0);
        assert_eq!(cell(&driver, Some("TWN"), 2).available(), 4);
    }

    #[test]
    fn a_negative_allowance_holds_units_back_and_lists_what_it_oversells() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 4, 1, 1)]));
        let changed: OverbookingLimitChanged = accept(&mut driver, &set(HOUSE, -30_000)).only();
        assert_eq!(oversold(&changed.oversold), [(None, 1, 4)], "nobody is sold less than nothing");
        let refused = driver.send(&create(2, vec![line("DBL", 1, 0, 1)]));
        assert_eq!(rules(&refused), [Rule::HouseFull]);
    }
}
