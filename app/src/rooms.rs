//! Every room-night counted from the events alone, by other code than the processors'.
//!
//! Maps and runs instead of pages and steps: slow, plain, and wrong in other ways than what it
//! checks.

use std::collections::{BTreeMap, HashMap};

use bellhop_core::store::Store;
use bellhop_handlers::state::calendar::Calendar;
use bellhop_handlers::state::inventory::Inventory;
use bellhop_schemas::command::Acceptance;
use bellhop_schemas::ids::{ProductCode, PropertyId};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineMove, SupplyChange};

use crate::event::AnyEvent;

/// A difference and the offset of the last event that touched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) offset: u64,
    pub(crate) what: String,
}

/// The rooms of all properties of a partition.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    properties: HashMap<PropertyId, House>,
    /// Days that nights are counted for at least, by the rules that the log has had.
    retention_days: Option<u32>,
    /// Room-nights that were counted.
    pub(crate) changes: u64,
}

#[derive(Debug, Default)]
struct House {
    /// By product; `None` is the house.
    counts: BTreeMap<Option<ProductCode>, Counts>,
    /// The business date of its last booking.
    booked_on: Option<Night>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Whether its units count in the house's.
    statistics: bool,
    sold: BTreeMap<Night, Sold>,
    /// The same for the uses of days.
    day_uses: BTreeMap<Night, Sold>,
    /// In the order of the events: the last one that covers a night holds.
    physical: Vec<SupplyChange>,
    allowance: Vec<SupplyChange>,
    supply_offset: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sold {
    units: i64,
    offset: u64,
}

fn holds(runs: &[SupplyChange], night: Night) -> i64 {
    let covers = |run: &&SupplyChange| {
        run.first_night.is_none_or(|first| first <= night)
            && run.last_night.is_none_or(|last| night <= last)
    };
    runs.iter().rev().find(covers).map_or(0, |run| i64::from(run.after))
}

impl Counts {
    fn limit(&self, night: Night) -> i64 {
        holds(&self.physical, night) + holds(&self.allowance, night)
    }
}

fn name(product: Option<&ProductCode>) -> String {
    product.map_or_else(|| "the house".to_owned(), |product| format!("product {product}"))
}

impl Rooms {
    /// Counts an event; gives a night that a request oversold.
    pub(crate) fn apply(&mut self, offset: u64, event: &AnyEvent) -> Option<Difference> {
        match event {
            AnyEvent::PropertyDefined(event) => {
                let house = self.counts(event.property_id, None);
                (house.physical, house.supply_offset) = (event.physical.clone(), offset);
            }
            AnyEvent::ProductDefined(event) => {
                let counts = self.counts(event.property_id, Some(&event.product));
                (counts.physical, counts.supply_offset) = (event.physical.clone(), offset);
                counts.statistics = event.statistics;
            }
            AnyEvent::PhysicalCountChanged(event) => {
                let counts = self.counts(event.property_id, event.product.as_ref());
                counts.physical.extend_from_slice(&event.changes);
                counts.supply_offset = offset;
            }
            AnyEvent::OverbookingLimitChanged(event) => {
                let counts = self.counts(event.property_id, event.product.as_ref());
                counts.allowance.extend_from_slice(&event.changes);
                counts.supply_offset = offset;
            }
            AnyEvent::ReservationCreated(event) => {
                let house = self.properties.entry(event.property_id).or_default();
                house.booked_on = house.booked_on.max(Some(event.business_date));
                self.add(event.property_id, offset, &event.lines, 1);
                if event.acceptance == Acceptance::Request {
                    return self.oversold(event.property_id, offset, &event.lines);
                }
            }
            AnyEvent::ReservationCancelled(event) => {
                self.add(event.property_id, offset, &event.released, -1);
            }
            AnyEvent::ReservationNoShow(event) => {
                self.add(event.property_id, offset, &event.released, -1);
            }
            AnyEvent::ReservationCheckedIn(event) => {
                self.add(event.property_id, offset, &event.reinstated, 1);
                self.shift(event.property_id, offset, &event.moves);
                self.add(event.property_id, offset, &event.added, 1);
            }
            AnyEvent::ReservationMoved(event) => {
                self.shift(event.property_id, offset, &event.moves);
            }
            AnyEvent::ReservationExtended(event) => {
                self.add(event.property_id, offset, &event.extended, 1);
            }
            AnyEvent::ReservationCheckedOut(event) => {
                self.add(event.property_id, offset, &event.released, -1);
                self.add(event.property_id, offset, &event.day_use, 1);
            }
            AnyEvent::Genesis(event) => self.keep_for(event.rules.retention_days),
            AnyEvent::RulesChanged(event) => self.keep_for(event.after.retention_days),
            AnyEvent::ReservationRejected(_)
            | AnyEvent::CatalogRejected(_)
            | AnyEvent::CommandConflicted(_)
            | AnyEvent::CommandAcknowledged(_)
            | AnyEvent::ParkedResolved(_) => {}
        }
        None
    }

    fn keep_for(&mut self, days: u32) {
        self.retention_days = Some(self.retention_days.map_or(days, |shorter| shorter.min(days)));
    }

    /// The first night that the stores have to count, by the business date of the last booking.
    fn kept_from(&self, house: &House) -> Option<Night> {
        let days = i32::try_from(self.retention_days?).ok()?;
        Some(house.booked_on?.plus(-days))
    }

    fn counts(&mut self, property: PropertyId, product: Option<&ProductCode>) -> &mut Counts {
        self.properties.entry(property).or_default().counts.entry(product.cloned()).or_default()
    }

    fn add(&mut self, property: PropertyId, offset: u64, lines: &[Line], sign: i64) {
        for line in lines {
            let units = sign * i64::from(line.units);
            for night in &line.nights {
                self.change(property, line.held(night), units, offset, |counts| {
                    counts.sold.entry(night.night).or_default()
                });
            }
            if line.is_day_use() {
                self.change(property, &line.product, units, offset, |counts| {
                    counts.day_uses.entry(line.arrival).or_default()
                });
            }
        }
    }

    fn shift(&mut self, property: PropertyId, offset: u64, moves: &[LineMove]) {
        for LineMove { line, held } in moves {
            for night in &line.nights {
                let units = i64::from(line.units);
                for (product, units) in [(line.held(night), -units), (held, units)] {
                    self.change(property, product, units, offset, |counts| {
                        counts.sold.entry(night.night).or_default()
                    });
                }
            }
        }
    }

    fn change(
        &mut self,
        property: PropertyId,
        product: &ProductCode,
        units: i64,
        offset: u64,
        sold: impl Fn(&mut Counts) -> &mut Sold,
    ) {
        self.changes += 1;
        let change = |counts: &mut Counts| {
            let sold = sold(counts);
            *sold = Sold { units: sold.units + units, offset };
        };
        let counts = self.counts(property, Some(product));
        change(counts);
        if counts.statistics {
            change(self.counts(property, None));
        }
    }

    /// A night of a request that has more sold than may be.
    fn oversold(&self, property: PropertyId, offset: u64, lines: &[Line]) -> Option<Difference> {
        let house = self.properties.get(&property)?;
        let nights = lines.iter().flat_map(|line| line.nights.iter().map(move |at| (line, at)));
        nights
            .flat_map(|(line, at)| [(None, at.night), (Some(line.held(at).clone()), at.night)])
            .find_map(|(product, night)| {
                let counts = house.counts.get(&product)?;
                let (sold, limit) = (counts.sold.get(&night)?.units, counts.limit(night));
                let apart = product.as_ref().is_none_or(|_| counts.statistics);
                (apart && sold > limit.max(0)).then(|| Difference {
                    offset,
                    what: format!(
                        "a request took {} on {night} to {sold} sold of at most {limit}",
                        name(product.as_ref())
                    ),
                })
            })
    }

    /// The first room-night that the stores hold otherwise.
    pub(crate) fn compare(&self, inventories: &Store<Inventory>) -> Option<Difference> {
        let mut properties: Vec<_> = self.properties.iter().collect();
        properties.sort_unstable_by_key(|(id, _)| **id);
        properties.into_iter().find_map(|(id, house)| {
            let Some(inventory) = inventories.get(id) else {
                let what = format!("property {id} is not in the stores");
                return Some(Difference { offset: 0, what });
            };
            let (first, wanted) = (inventory.kept_from(), self.kept_from(house));
            if first > wanted {
                let night = |night: Option<Night>| night.map_or("any".to_owned(), |it| it.to_string());
                let (first, wanted) = (night(first), night(wanted));
                let what = format!(
                    "property {id} has forgotten the nights before {first}; its rules forget those before {wanted}"
                );
                return Some(Difference { offset: 0, what });
            }
            house.counts.iter().find_map(|(product, counts)| {
                let whose = format!("{} of property {id}", name(product.as_ref()));
                match inventory.calendar(product.as_ref()) {
                    Some(calendar) => counts.compare(&whose, calendar, first),
                    None => Some(Difference {
                        offset: counts.supply_offset,
                        what: format!("{whose} is not in the stores"),
                    }),
                }
            })
        })
    }
}

impl Counts {
    /// Nights before `first` are counted no longer.
    fn compare(
        &self,
        whose: &str,
        calendar: &Calendar,
        first: Option<Night>,
    ) -> Option<Difference> {
        let mut nights: Vec<_> = self.sold.keys().chain(self.day_uses.keys()).copied().collect();
        nights.extend(calendar.nights().map(|(night, _)| night).chain(calendar.days()));
        nights.retain(|night| Some(*night) >= first);
        nights.sort_unstable();
        nights.dedup();
        nights.into_iter().find_map(|night| {
            let cell = calendar.cell(night);
            let sold = self.sold.get(&night).copied().unwrap_or_default();
            let day_use = self.day_uses.get(&night).copied().unwrap_or_default();
            let pairs = [
                ("sold", i64::from(cell.sold), sold.units, sold.offset),
                ("sold for the day", i64::from(cell.day_use), day_use.units, day_use.offset),
                (
                    "there",
                    i64::from(cell.physical),
                    holds(&self.physical, night),
                    self.supply_offset,
                ),
                (
                    "allowed above",
                    i64::from(cell.allowance),
                    holds(&self.allowance, night),
                    self.supply_offset,
                ),
            ];
            pairs.into_iter().find(|(_, found, expected, _)| found != expected).map(
                |(what, found, expected, offset)| Difference {
                    offset,
                    what: format!(
                        "{whose} on {night}: the stores say {found} {what}, the events add up to {expected}"
                    ),
                },
            )
        })
    }
}
