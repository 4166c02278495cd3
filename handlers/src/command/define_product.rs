//! A product of a property.

use bellhop_core::prelude::*;
use bellhop_schemas::command::DefineProduct;
use bellhop_schemas::event::{CatalogRejected, ProductDefined};
use bellhop_schemas::reason::Rule;
use bellhop_schemas::stay::SupplyChange;

use super::supply;
use crate::rejection::{Refused, Rejection, because};
use crate::state::inventory::Inventory;
use crate::state::property::Property;

/// Bytes of a product's code.
const CODE_BYTES_MAX: usize = 16;

/// Adds a product to a property.
///
/// # Rejections, in order
/// `UnknownProperty`, `ProductExists`, `BadCode`, `BadCount`.
#[handler]
pub fn define_product(
    command: DefineProduct,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    cx: &Context,
) -> Result<ProductDefined, Rejection> {
    let (business_date, inventory) =
        supply::of(command.property_id, properties, inventories, cx.now)?;
    let refuse = |reason| Rejection::on(business_date, reason);
    if inventory.index_of(&command.product).is_some() {
        return Err(refuse(because(Rule::ProductExists)));
    }
    supply::check_code(command.product.as_str(), CODE_BYTES_MAX).map_err(refuse)?;
    supply::check_physical(command.physical).map_err(refuse)?;

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
                (Rule::BadCount, |it| it.physical = -1),
            ],
        );
        let defined: ProductDefined = sent.only();
        assert_eq!(defined.business_date, TODAY);
        assert_eq!(cell(&driver, Some("SUI"), 999).available(), 2);
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
