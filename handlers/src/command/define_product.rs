//! A product of a property.

use bellhop_core::prelude::*;
use bellhop_schemas::command::DefineProduct;
use bellhop_schemas::event::{CatalogRejected, ProductDefined};
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::SupplyChange;

use super::{limits, supply};
use crate::rejection::{Refused, Rejection, because, beyond};
use crate::state::inventory::Inventory;
use crate::state::property::Property;

/// Bytes of a product's code.
const CODE_BYTES_MAX: usize = 16;
/// People that one unit takes.
const OCCUPANCY_MAX: u16 = 10_000;

/// Adds a product to a property.
///
/// # Rejections, in order
/// `UnknownProperty`, `ProductExists`, `BadCode`, `TextTooLong` (the name), `BadCount`, `BadGuests`.
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
    limits::check_text(&command.name).map_err(refuse)?;
    supply::check_physical(command.physical).map_err(refuse)?;
    let occupancy_max = command.occupancy_max.map(check_occupancy).transpose().map_err(refuse)?;

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
    })
}

fn check_occupancy(asked: i32) -> Result<u16, Reason> {
    let people = u16::try_from(asked).ok().filter(|people| (1..=OCCUPANCY_MAX).contains(people));
    people.ok_or_else(|| beyond(Rule::BadGuests, asked, asked.clamp(1, OCCUPANCY_MAX.into())))
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
