//! A product of a property.

use bellhop_core::prelude::*;
use bellhop_schemas::command::DefineProduct;
use bellhop_schemas::event::{CatalogRejected, ProductDefined};
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::SupplyChange;

use super::{limits, supply};
use crate::rejection::{Findings, Refused, Rejection, because};
use crate::state::inventory::Inventory;
use crate::state::property::Property;

/// Bytes of a product's code.
const CODE_BYTES_MAX: usize = 16;
/// People that one unit takes.
const OCCUPANCY_MAX: u16 = 10_000;

/// Adds a product to a property.
///
/// # Rejections, in order
/// `UnknownProperty` alone; then all of `ProductExists`, `BadCode`, `TextTooLong` (the name),
/// `BadCount`, `BadGuests`.
///
/// # Warnings
/// `MoreThanHouse`.
#[handler]
pub fn define_product(
    command: DefineProduct,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    cx: &Context,
) -> Result<ProductDefined, Rejection> {
    let (business_date, inventory) =
        supply::of(command.property_id, properties, inventories, cx.now)?;
    let mut faults = Findings::default();
    if inventory.index_of(&command.product).is_some() {
        let product = Some(command.product.clone());
        faults.add("product", Reason { product, ..because(Rule::ProductExists) });
    }
    supply::check_code("product", command.product.as_str(), CODE_BYTES_MAX, &mut faults);
    limits::check_text("name", &command.name, &mut faults);
    supply::check_physical("physical", command.physical, &mut faults);
    let occupancy_max = command.occupancy_max.and_then(|people| {
        let range = (1, OCCUPANCY_MAX);
        supply::within("occupancy_max", people, range, Rule::BadGuests, &mut faults)
    });
    faults.refuse(Some(business_date))?;
    let mut warnings = Findings::default();
    if command.statistics {
        let (count, at) = (command.physical, (inventory, business_date));
        supply::wonder_at_product("physical", &command.product, count, at, &mut warnings);
    }

    Ok(ProductDefined {
        property_id: command.property_id,
        business_date,
        product: command.product,
        name: command.name,
        kind: command.kind,
        statistics: command.statistics,
        physical: vec![SupplyChange {
            first_night: None,
            last_night: None,
            before: 0,
            after: command.physical,
        }],
        occupancy_max,
        warnings: warnings.into_reasons(),
    })
}

impl Refused for DefineProduct {
    type Rejected = CatalogRejected;

    fn rejected(&self, rejection: Rejection) -> CatalogRejected {
        supply::rejected::<Self>(self.property_id, Some(&self.product), rejection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        let sent = hold_to_table(
            &mut driver,
            &define("SUI", 2, true),
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::ProductExists, |it| it.product = code("DBL")),
                (Rule::BadCode, |it| it.product = code("17 bytes, one off")),
                (Rule::TextTooLong, |it| it.name = "x".repeat(129).into()),
                (Rule::BadCount, |it| it.physical = -1),
                (Rule::BadGuests, |it| it.occupancy_max = Some(0)),
            ],
        );
        let defined: ProductDefined = sent.only();
        assert_eq!(defined.business_date, TODAY);
        assert_eq!(cell(&driver, Some("SUI"), 999).available(), 2);
    }

    #[test]
    fn every_fault_is_listed_with_its_field() {
        let mut driver = hotel();
        let name = "x".repeat(129).into();
        let wrong = DefineProduct { name, occupancy_max: Some(0), ..define("DBL", -1, true) };
        let found = reasons(&driver.send(&wrong));
        let paths: Vec<_> = found.iter().filter_map(|reason| reason.path.as_deref()).collect();
        assert_eq!(paths, ["product", "name", "physical", "occupancy_max"]);
        assert_eq!(found[0].product, Some(code("DBL")));
    }

    #[test]
    fn more_units_than_the_house_has_are_a_warning() {
        let mut driver = hotel();
        let warnings = |sent: bellhop_core::driver::Sent| {
            let defined: ProductDefined = sent.only();
            defined.warnings.iter().map(|it| (it.rule, it.asked, it.allowed)).collect::<Vec<_>>()
        };
        let large = accept(&mut driver, &define("AAA", 11, true));
        assert_eq!(warnings(large), [(Rule::MoreThanHouse, Some(11), Some(10))]);
        for fits in [define("BBB", 10, true), define("CCC", 11, false)] {
            assert_eq!(warnings(accept(&mut driver, &fits)), []);
        }
    }

    #[test]
    fn a_refusal_names_the_product() {
        let mut driver = hotel();
        let rejected: CatalogRejected = driver.send(&define("", 1, true)).only();
        assert_eq!((rejected.product, rejected.business_date), (Some(code("")), Some(TODAY)));
    }

    #[test]
    fn products_keep_the_order_of_their_definition() {
        let mut driver = hotel();
        accept(&mut driver, &define("AAA", 30_000, false));
        let inventory = driver.store::<Inventory>().get(&HOTEL).unwrap();
        let codes: Vec<_> = inventory.products().iter().map(|one| one.code.as_str()).collect();
        assert_eq!(codes, ["DBL", "TWN", "BED", "AAA"]);
    }
}
