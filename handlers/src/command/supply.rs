//! What the commands of the catalog share.

use bellhop_core::prelude::*;
use bellhop_schemas::event::CatalogRejected;
use bellhop_schemas::ids::{ProductCode, PropertyId};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{OversoldNight, SupplyChange};

use crate::rejection::{Rejection, because, beyond};
use crate::state::calendar::Calendar;
use crate::state::inventory::Inventory;
use crate::state::property::Property;

/// Units of any product or house on a night.
const COUNT_MAX: i32 = 30_000;

/// The business date and inventory of a property.
pub(super) fn of<'a>(
    property_id: PropertyId,
    properties: &Store<Property>,
    inventories: &'a Store<Inventory>,
    now: Timestamp,
) -> Result<(Night, &'a Inventory), Reason> {
    let unknown = || because(Rule::UnknownProperty);
    let property = properties.get(&property_id).ok_or_else(unknown)?;
    let inventory = inventories.get(&property_id).ok_or_else(unknown)?;
    Ok((property.business_date(now), inventory))
}

/// The calendar of a product or of the house.
pub(super) fn calendar<'a>(
    inventory: &'a Inventory,
    product: Option<&ProductCode>,
) -> Result<&'a Calendar, Reason> {
    inventory
        .calendar(product)
        .ok_or_else(|| Reason { product: product.cloned(), ..because(Rule::UnknownProduct) })
}

pub(super) fn check_code(code: &str, bytes_max: usize) -> Result<(), Reason> {
    if (1..=bytes_max).contains(&code.len()) {
        return Ok(());
    }
    Err(beyond(Rule::BadCode, code.len() as i64, bytes_max as i64))
}

pub(super) fn check_physical(count: i32) -> Result<(), Reason> {
    if (0..=COUNT_MAX).contains(&count) {
        return Ok(());
    }
    Err(beyond(Rule::BadCount, count, count.clamp(0, COUNT_MAX)))
}

pub(super) fn check_allowance(count: i32) -> Result<(), Reason> {
    if (-COUNT_MAX..=COUNT_MAX).contains(&count) {
        return Ok(());
    }
    Err(beyond(Rule::BadCount, count, count.clamp(-COUNT_MAX, COUNT_MAX)))
}

/// The first night of a change: the business date unless the command names a later one. What was
/// there on a night that has passed does not change.
///
/// # Rejections, in order
/// `BadRange`, `NightInPast`.
pub(super) fn first_night(
    first: Option<Night>,
    last: Option<Night>,
    business_date: Night,
) -> Result<Night, Reason> {
    let from = first.unwrap_or(business_date);
    let of = |night, rule| Err(Reason { night: Some(night), ..because(rule) });
    match last {
        Some(last) if first.is_some() && from > last => of(from, Rule::BadRange),
        Some(last) if last < business_date => of(last, Rule::NightInPast),
        Some(_) | None if from < business_date => of(from, Rule::NightInPast),
        Some(_) | None => Ok(from),
    }
}

/// The nights that lose supply and have more sold than is left.
pub(super) fn oversold(
    product: Option<&ProductCode>,
    calendar: &Calendar,
    changes: &[SupplyChange],
) -> Vec<OversoldNight> {
    let lowered = changes.iter().filter(|change| change.after < change.before);
    let over = lowered.flat_map(|change| {
        let nights = calendar.within(change.first_night, change.last_night);
        nights.map(|(night, cell)| (night, cell.oversold_without(change.before - change.after)))
    });
    let over = over.filter(|(_, units)| *units > 0);
    let listed = over.map(|(night, units)| {
        let product = product.cloned();
        OversoldNight { product, night, units, day_use: false }
    });
    listed.collect()
}

/// The event of a refusal.
pub(super) fn rejected<C: Message>(
    property_id: PropertyId,
    product: Option<&ProductCode>,
    rejection: Rejection,
) -> CatalogRejected {
    let Rejection { business_date, reasons, .. } = rejection;
    let command = C::TYPE.into();
    CatalogRejected { property_id, business_date, command, product: product.cloned(), reasons }
}
