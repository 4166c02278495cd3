//! How many units there are, from a night to a night.

use bellhop_core::prelude::*;
use bellhop_schemas::command::SetPhysicalCount;
use bellhop_schemas::event::{CatalogRejected, PhysicalCountChanged};

use super::supply;
use crate::rejection::{Findings, Refused, Rejection};
use crate::state::inventory::Inventory;
use crate::state::property::Property;

/// Sets a physical count from the business date on, or from a later night. It is a fact: nights and
/// days that it leaves oversold are listed, never refused. Nights that have passed keep their count.
///
/// # Rejections, in order
/// `UnknownProperty` alone; then all of `UnknownProduct`, `BadRange`, `NightInPast`,
/// `BeyondHorizon`, `BadCount`.
///
/// # Warnings
/// `LargeHouse`, `MoreThanHouse`.
#[handler]
pub fn set_physical_count(
    command: SetPhysicalCount,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    cx: &Context,
) -> Result<PhysicalCountChanged, Rejection> {
    let SetPhysicalCount { property_id, product, first_night, last_night, count } = command;
    let (business_date, inventory) = supply::of(property_id, properties, inventories, cx.now)?;
    let mut faults = Findings::default();
    let calendar = supply::calendar(inventory, product.as_ref(), &mut faults);
    let first = supply::first_night(first_night, last_night, business_date, &mut faults);
    supply::check_physical("count", count, &mut faults);
    let Some(calendar) = calendar.filter(|_| faults.is_empty()) else {
        return Err(faults.rejection(Some(business_date)));
    };

    let mut warnings = Findings::default();
    match product.as_ref().and_then(|product| inventory.product(product)) {
        None => supply::wonder_at_house("count", count, &mut warnings),
        Some(known) if known.statistics => {
            let at = (inventory, first);
            supply::wonder_at_product("count", &known.code, count, at, &mut warnings);
        }
        Some(_) => {}
    }
    let changes = calendar.physical().changes(Some(first), last_night, count);
    let mut oversold = supply::oversold(product.as_ref(), calendar, &changes);
    oversold.extend(supply::oversold_days(product.as_ref(), calendar, &changes));
    Ok(PhysicalCountChanged {
        property_id,
        business_date,
        product,
        changes,
        oversold,
        warnings: warnings.into_reasons(),
    })
}

impl Refused for SetPhysicalCount {
    type Rejected = CatalogRejected;

    fn rejected(&self, rejection: Rejection) -> CatalogRejected {
        supply::rejected::<Self>(self.property_id, self.product.as_ref(), rejection)
    }
}

#[cfg(test)]
mod tests {
    use bellhop_core::driver::Driver;
    use bellhop_schemas::reason::Rule;

    use super::*;
    use crate::fixtures::*;

    fn set(
        product: Option<&str>,
        nights: (Option<i32>, Option<i32>),
        count: i32,
    ) -> SetPhysicalCount {
        let night = |days: Option<i32>| days.map(|days| TODAY.plus(days));
        SetPhysicalCount {
            property_id: HOTEL,
            product: product.map(code),
            first_night: night(nights.0),
            last_night: night(nights.1),
            count,
        }
    }

    /// Runs in days after today, with the count before.
    fn changes(event: &PhysicalCountChanged) -> Vec<(Option<i32>, Option<i32>, i32)> {
        let runs = event.changes.iter().map(|run| {
            let days = |night: Option<_>| night.map(|night| TODAY.until(night));
            (days(run.first_night), days(run.last_night), run.before)
        });
        runs.collect()
    }

    fn apply(driver: &mut Driver, command: &SetPhysicalCount) -> PhysicalCountChanged {
        accept(driver, command).only()
    }

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        let sent = hold_to_table(
            &mut driver,
            &set(Some("DBL"), (Some(1), Some(2)), 5),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::UnknownProduct, |it| it.product = Some(code("SUI"))),
                (Rule::BadRange, |it| {
                    (it.first_night, it.last_night) = (Some(TODAY.plus(1)), Some(TODAY));
                }),
                (Rule::NightInPast, |it| {
                    (it.first_night, it.last_night) = (Some(TODAY.plus(-1)), None);
                }),
                (Rule::BeyondHorizon, |it| it.last_night = Some(TODAY.plus(1_828))),
                (Rule::BadCount, |it| it.count = 30_001),
            ],
        );
        assert_eq!(changes(&sent.only()), [(Some(1), Some(2), 8)]);
        let physical = [0, 1, 2, 3].map(|night| cell(&driver, Some("DBL"), night).physical);
        assert_eq!(physical, [8, 5, 5, 8]);
        assert_eq!(cell(&driver, HOUSE, 1).physical, 10);
    }

    #[test]
    fn every_fault_is_listed_with_its_field() {
        let mut driver = hotel();
        let found = reasons(&driver.send(&set(Some("SUI"), (Some(-1), Some(-2)), -1)));
        let found: Vec<_> = found.iter().map(|it| (it.rule, it.path.as_deref().unwrap())).collect();
        let wanted = [
            (Rule::UnknownProduct, "product"),
            (Rule::BadRange, "first_night"),
            (Rule::NightInPast, "last_night"),
            (Rule::NightInPast, "first_night"),
            (Rule::BadCount, "count"),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn odd_counts_are_warnings() {
        let mut driver = hotel();
        let mut warnings = |product: Option<&str>, count| {
            let event = apply(&mut driver, &set(product, (Some(3), None), count));
            event.warnings.iter().map(|it| (it.rule, it.night)).collect::<Vec<_>>()
        };
        assert_eq!(warnings(HOUSE, 7_352), [(Rule::LargeHouse, None)]);
        assert_eq!(warnings(HOUSE, 9), []);
        assert_eq!(warnings(Some("DBL"), 9), []);
        assert_eq!(warnings(Some("DBL"), 10), [(Rule::MoreThanHouse, Some(TODAY.plus(3)))]);
        assert_eq!(warnings(Some("BED"), 10), [], "it does not count in the house");
    }

    #[test]
    fn a_change_is_told_in_runs_of_what_was_before() {
        let mut driver = hotel();
        let first = apply(&mut driver, &set(HOUSE, (Some(2), Some(3)), 4));
        assert_eq!(changes(&first), [(Some(2), Some(3), 10)]);
        let all = apply(&mut driver, &set(HOUSE, (None, None), 7));
        let runs = [(Some(0), Some(1), 10), (Some(2), Some(3), 4), (Some(4), None, 10)];
        assert_eq!(changes(&all), runs);
        let none = apply(&mut driver, &set(HOUSE, (Some(5), None), 7));
        assert_eq!(changes(&none), [], "nothing changes");
    }

    #[test]
    fn nights_that_have_passed_keep_their_count() {
        let mut driver = hotel();
        driver.set_time(noon(TODAY.plus(3)));
        let now_on = apply(&mut driver, &set(HOUSE, (None, None), 7));
        assert_eq!(changes(&now_on), [(Some(3), None, 10)]);
        assert_eq!([2, 3].map(|night| cell(&driver, HOUSE, night).physical), [10, 7]);
        for (range, faults) in
            [((Some(2), Some(5)), 1), ((None, Some(2)), 1), ((Some(1), Some(2)), 2)]
        {
            let refused = driver.send(&set(HOUSE, range, 5));
            assert_eq!(rules(&refused), vec![Rule::NightInPast; faults], "{range:?}");
        }
    }

    #[test]
    fn a_range_ends_within_the_horizon_or_never() {
        let mut driver = hotel();
        let far = 1_827;
        apply(&mut driver, &set(HOUSE, (Some(far), Some(far)), 5));
        apply(&mut driver, &set(HOUSE, (Some(far), None), 6));
        for range in [(Some(far + 1), None), (Some(far), Some(far + 1)), (None, Some(i32::MAX))] {
            let refused = driver.send(&set(HOUSE, range, 5));
            assert_eq!(rules(&refused)[..], [Rule::BeyondHorizon], "{range:?}");
        }
    }

    #[test]
    fn nights_touched_later_have_the_count_of_an_open_range() {
        let mut driver = hotel();
        apply(&mut driver, &set(Some("DBL"), (Some(100), None), 1));
        let refused = driver.send(&create(1, vec![line("DBL", 2, 99, 2)]));
        assert_eq!(rules(&refused), [Rule::SoldOut]);
        accept(&mut driver, &create(1, vec![line("DBL", 2, 98, 2)]));
        assert_eq!(cell(&driver, Some("DBL"), 100).available(), 1);
    }

    #[test]
    fn a_lowered_count_lists_the_nights_that_it_oversells() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 6, 1, 3)]));
        accept(&mut driver, &create(2, vec![line("DBL", 1, 2, 1)]));
        let house = apply(&mut driver, &set(HOUSE, (None, Some(2)), 6));
        assert_eq!(oversold(&house.oversold), [(None, 2, 1)]);
        let product = apply(&mut driver, &set(Some("DBL"), (None, None), 5));
        let listed = [(Some("DBL"), 1, 1), (Some("DBL"), 2, 2), (Some("DBL"), 3, 1)];
        assert_eq!(oversold(&product.oversold), listed);
        assert_eq!(cell(&driver, Some("DBL"), 2).available(), -2);
        let raised = apply(&mut driver, &set(Some("DBL"), (Some(2), Some(2)), 6));
        assert_eq!(oversold(&raised.oversold), [], "it was oversold before, and less so now");
    }
}
