//! What the commands of the catalog share.

use bellhop_core::prelude::*;
use bellhop_schemas::event::CatalogRejected;
use bellhop_schemas::ids::{ProductCode, PropertyId};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{OversoldNight, SupplyChange};
use compact_str::CompactString;

use super::limits;
use crate::rejection::{Findings, Rejection, because, beyond};
use crate::state::calendar::{Calendar, DayChange};
use crate::state::inventory::Inventory;
use crate::state::property::Property;

/// Units of any product or house on a night.
const COUNT_MAX: i32 = 30_000;
/// Rooms of the largest hotel, First World in Pahang.
///
/// # Source
/// Guinness World Records, largest hotel by number of rooms (2015).
const LARGEST_HOUSE: i32 = 7_351;

/// The business date and inventory of a property.
pub(super) fn of<'a>(
    property_id: PropertyId,
    properties: &Store<Property>,
    inventories: &'a Store<Inventory>,
    now: Timestamp,
) -> Result<(Night, &'a Inventory), Rejection> {
    let property = properties.get(&property_id).ok_or_else(unknown_property)?;
    let inventory = inventories.get(&property_id).ok_or_else(unknown_property)?;
    Ok((property.business_date(now), inventory))
}

/// The property is not known, so that nothing else of the command can be checked.
pub(super) fn unknown_property() -> Reason {
    Reason { path: Some(CompactString::const_new("property_id")), ..because(Rule::UnknownProperty) }
}

/// The calendar of a product or of the house.
///
/// # Rejections
/// `UnknownProduct`.
pub(super) fn calendar<'a>(
    inventory: &'a Inventory,
    product: Option<&ProductCode>,
    faults: &mut Findings,
) -> Option<&'a Calendar> {
    let calendar = inventory.calendar(product);
    if calendar.is_none() {
        let product = product.cloned();
        faults.add("product", Reason { product, ..because(Rule::UnknownProduct) });
    }
    calendar
}

/// # Rejections
/// `BadCode`.
pub(super) fn check_code(path: &str, code: &str, bytes_max: usize, faults: &mut Findings) {
    if !(1..=bytes_max).contains(&code.len()) {
        faults.add(path, beyond(Rule::BadCode, code.len() as i64, bytes_max as i64));
    }
}

/// # Rejections
/// `BadCount`.
pub(super) fn check_physical(path: &str, count: i32, faults: &mut Findings) {
    check_count(path, count, 0, faults);
}

/// # Rejections
/// `BadCount`.
pub(super) fn check_allowance(path: &str, count: i32, faults: &mut Findings) {
    check_count(path, count, -COUNT_MAX, faults);
}

fn check_count(path: &str, count: i32, least: i32, faults: &mut Findings) {
    if !(least..=COUNT_MAX).contains(&count) {
        faults.add(path, beyond(Rule::BadCount, count, count.clamp(least, COUNT_MAX)));
    }
}

/// A number that has to lie in a range.
pub(super) fn within<T: TryFrom<i32> + PartialOrd + Into<i64>>(
    path: &str,
    asked: i32,
    (least, most): (T, T),
    rule: Rule,
    faults: &mut Findings,
) -> Option<T> {
    let number = T::try_from(asked).ok().filter(|number| (&least..=&most).contains(&number));
    if number.is_none() {
        let (least, most): (i64, i64) = (least.into(), most.into());
        faults.add(path, beyond(rule, asked, i64::from(asked).clamp(least, most)));
    }
    number
}

/// Warns of a house that is larger than any.
pub(super) fn wonder_at_house(path: &str, count: i32, warnings: &mut Findings) {
    if count > LARGEST_HOUSE {
        warnings.add(path, beyond(Rule::LargeHouse, count, LARGEST_HOUSE));
    }
}

/// Warns of a product with statistics that has more units than the house on a night.
pub(super) fn wonder_at_product(
    path: &str,
    product: &ProductCode,
    count: i32,
    (inventory, night): (&Inventory, Night),
    warnings: &mut Findings,
) {
    let house = i32::from(inventory.house().physical().at(night));
    if count > house {
        let reason = beyond(Rule::MoreThanHouse, count, house);
        let (product, night) = (Some(product.clone()), Some(night));
        warnings.add(path, Reason { product, night, ..reason });
    }
}

/// The first night of a change: the business date unless the command names a later one. What was
/// there on a night that has passed does not change. Nights that are named are those that can be
/// booked: without this bound each command could leave a step of the supply behind for ever.
///
/// # Rejections, in order
/// `BadRange`, `NightInPast`, `BeyondHorizon`.
pub(super) fn first_night(
    first: Option<Night>,
    last: Option<Night>,
    business_date: Night,
    faults: &mut Findings,
) -> Night {
    let from = first.unwrap_or(business_date);
    let of = |night, rule| Reason { night: Some(night), ..because(rule) };
    if let Some(last) = last {
        if first.is_some() && from > last {
            faults.add("first_night", of(from, Rule::BadRange));
        }
        if last < business_date {
            faults.add("last_night", of(last, Rule::NightInPast));
        }
    }
    if from < business_date {
        faults.add("first_night", of(from, Rule::NightInPast));
    }
    limits::check_horizon("first_night", business_date, from, faults);
    if let Some(last) = last {
        limits::check_horizon("last_night", business_date, last, faults);
    }
    from
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

/// The days that lose units which their day uses need.
pub(super) fn oversold_days(
    product: Option<&ProductCode>,
    calendar: &Calendar,
    changes: &[SupplyChange],
) -> Vec<OversoldNight> {
    let lost = calendar.days().filter_map(|day| {
        let inside = |change: &&SupplyChange| {
            change.first_night.is_none_or(|first| first <= day)
                && change.last_night.is_none_or(|last| day <= last)
        };
        let change = changes.iter().find(inside)?;
        let change = DayChange { supply: change.after - change.before, ..DayChange::default() };
        let (before, after) = (calendar.day_left(day), calendar.day_left_after(day, change));
        (after < 0 && after < before).then_some((day, -after))
    });
    let listed = lost.map(|(night, units)| {
        let product = product.cloned();
        OversoldNight { product, night, units, day_use: true }
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
