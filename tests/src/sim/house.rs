//! The rooms of all properties counted again, by events alone and by other means than the engine's:
//! a list of counts by range, a sum by night.
//!
//! # Invariants checked
//! 1. A request ([`ReservationCreated`]) takes no night of a product, nor of the house, above its
//!    limit as it stands before that event.
//! 2. Every night that a fact takes (further) above its limit is listed in the fact, with the number
//!    of units above it; nothing else is listed.
//! 3. A release gives back what was taken: no night is below zero.
//! 4. A change of supply starts from the count that was in force.

use std::collections::{BTreeMap, BTreeSet};

use bellhop_core::avro::{Avro, Reader};
use bellhop_core::message::{Message, Meta};
use bellhop_schemas::event::{
    OverbookingLimitChanged, PhysicalCountChanged, ProductDefined, PropertyDefined,
    ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut, ReservationCreated,
    ReservationNoShow,
};
use bellhop_schemas::ids::{ProductCode, PropertyId};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, OversoldNight, SupplyChange};

/// A product; `None` is the house as a whole.
type Unit = Option<ProductCode>;
/// Nights that an event touches.
type Touched = BTreeSet<(Unit, Night)>;

/// A count by ranges of nights; the last range that has a night decides.
#[derive(Debug, Default)]
struct Count {
    ranges: Vec<(Option<Night>, Option<Night>, i32)>,
}

impl Count {
    fn at(&self, night: Night) -> i32 {
        let has = |(first, last, _): &&(Option<Night>, Option<Night>, i32)| {
            first.is_none_or(|first| first <= night) && last.is_none_or(|last| night <= last)
        };
        self.ranges.iter().rev().find(has).map_or(0, |(_, _, count)| *count)
    }

    /// Takes over a change; says where it does not start from what is in force.
    fn change(&mut self, changes: &[SupplyChange]) -> Result<(), String> {
        for change in changes {
            let SupplyChange { first_night, last_night, before, after } = *change;
            // The counts change only where a range begins or ends.
            let edges = self.ranges.iter().flat_map(|(first, last, _)| [*first, *last]);
            let edges = edges.chain([first_night, last_night]).flatten();
            let inside = |night: &Night| {
                first_night.is_none_or(|first| first <= *night)
                    && last_night.is_none_or(|last| *night <= last)
            };
            let nights = edges.flat_map(|night| [night.plus(-1), night, night.plus(1)]);
            for night in nights.chain([Night(0)]).filter(inside) {
                let found = self.at(night);
                if found != before {
                    return Err(format!("a change from {before} on {night}, in force is {found}"));
                }
            }
            self.ranges.push((first_night, last_night, after));
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Calendar {
    physical: Count,
    allowance: Count,
    sold: BTreeMap<Night, i32>,
}

impl Calendar {
    fn limit(&self, night: Night) -> i32 {
        self.physical.at(night) + self.allowance.at(night)
    }

    fn excess(&self, night: Night) -> i32 {
        let sold = self.sold.get(&night).copied().unwrap_or(0);
        // A limit below zero is one of zero: nothing sold is nothing oversold.
        sold - self.limit(night).max(0)
    }
}

/// One property.
#[derive(Debug, Default)]
pub struct House {
    units: BTreeMap<Unit, Calendar>,
    /// Products that do not count in the house.
    apart: BTreeSet<ProductCode>,
}

impl House {
    /// Applies the lines; `sign` is 1 to take and -1 to give back.
    fn take(&mut self, lines: &[Line], sign: i32, touched: &mut Touched) -> Result<(), String> {
        for line in lines {
            for night in &line.nights {
                let held = line.held(night);
                let mut units = vec![Some(held.clone())];
                if !self.apart.contains(held) {
                    units.push(None);
                }
                for unit in units {
                    let calendar = self.units.entry(unit.clone()).or_default();
                    let sold = calendar.sold.entry(night.night).or_default();
                    *sold += sign * i32::from(line.units);
                    if *sold < 0 {
                        return Err(format!("{sold} sold of {unit:?} on {}", night.night));
                    }
                    touched.insert((unit, night.night));
                }
            }
        }
        Ok(())
    }

    fn excess(&self, (unit, night): &(Unit, Night)) -> i32 {
        self.units.get(unit).map_or(0, |calendar| calendar.excess(*night))
    }

    /// All nights of a unit that anything is sold of.
    fn sold_nights(&self, unit: &Unit) -> Touched {
        let nights = self.units.get(unit).into_iter().flat_map(|calendar| calendar.sold.keys());
        nights.map(|night| (unit.clone(), *night)).collect()
    }

    /// A request oversells nothing.
    fn check_request(&self, touched: &Touched) -> Result<(), String> {
        let over = touched.iter().find(|at| self.excess(at) > 0);
        over.map_or(Ok(()), |at| {
            Err(format!("a request oversold {:?} on {} by {}", at.0, at.1, self.excess(at)))
        })
    }

    /// A fact lists what it oversells: the nights that `due` asks for, each with its number.
    fn check_fact(&self, due: &Touched, listed: &[OversoldNight]) -> Result<(), String> {
        let listed: BTreeMap<_, _> =
            listed.iter().map(|over| ((over.product.clone(), over.night), over.units)).collect();
        for at in due {
            let (found, excess) = (listed.get(at).copied(), self.excess(at));
            if excess > 0 && found != Some(excess) {
                return Err(format!("{at:?} is oversold by {excess}, listed is {found:?}"));
            }
        }
        match listed.iter().find(|(at, units)| self.excess(at) != **units || **units <= 0) {
            None => Ok(()),
            Some((at, units)) => {
                Err(format!("{at:?} is listed with {units}, oversold by {}", self.excess(at)))
            }
        }
    }
}

/// All properties of a log.
#[derive(Debug, Default)]
pub struct Houses {
    houses: BTreeMap<PropertyId, House>,
    /// Requests and facts that were counted, to know that there was something to check.
    pub requests: u64,
    /// Nights that facts have listed as oversold.
    pub oversold: u64,
}

impl Houses {
    /// Counts an event. Events that touch no room are none of its business.
    ///
    /// # Errors
    /// What is broken, in words.
    pub fn count(&mut self, name: &str, datum: &[u8]) -> Result<(), String> {
        let mut body = Reader::new(datum);
        Meta::decode(&mut body).map_err(|error| error.to_string())?;
        match name {
            PropertyDefined::NAME => {
                let event: PropertyDefined = read(&mut body)?;
                let house = self.houses.entry(event.property_id).or_default();
                house.units.entry(None).or_default().physical.change(&event.physical)
            }
            ProductDefined::NAME => {
                let event: ProductDefined = read(&mut body)?;
                let house = self.houses.entry(event.property_id).or_default();
                if !event.statistics {
                    house.apart.insert(event.product.clone());
                }
                let unit = house.units.entry(Some(event.product)).or_default();
                unit.physical.change(&event.physical)
            }
            PhysicalCountChanged::NAME => {
                let event: PhysicalCountChanged = read(&mut body)?;
                let change = |unit: &mut Calendar| unit.physical.change(&event.changes);
                self.supply(event.property_id, event.product, &event.oversold, change)
            }
            OverbookingLimitChanged::NAME => {
                let event: OverbookingLimitChanged = read(&mut body)?;
                let change = |unit: &mut Calendar| unit.allowance.change(&event.changes);
                self.supply(event.property_id, event.product, &event.oversold, change)
            }
            ReservationCreated::NAME => {
                let event: ReservationCreated = read(&mut body)?;
                self.requests += 1;
                let house = self.houses.entry(event.property_id).or_default();
                let mut touched = Touched::new();
                house.take(&event.lines, 1, &mut touched)?;
                house.check_request(&touched)
            }
            ReservationCancelled::NAME => {
                let event: ReservationCancelled = read(&mut body)?;
                let house = self.houses.entry(event.property_id).or_default();
                house.take(&event.released, -1, &mut Touched::new())
            }
            ReservationNoShow::NAME => {
                let event: ReservationNoShow = read(&mut body)?;
                let house = self.houses.entry(event.property_id).or_default();
                house.take(&event.released, -1, &mut Touched::new())
            }
            ReservationCheckedIn::NAME => {
                let event: ReservationCheckedIn = read(&mut body)?;
                let house = self.houses.entry(event.property_id).or_default();
                let mut touched = Touched::new();
                let before: Vec<_> = event.moved.iter().map(|moved| moved.before.clone()).collect();
                let after: Vec<_> = event.moved.iter().map(|moved| moved.after.clone()).collect();
                let excess = house.excesses(&before, &after);
                house.take(&before, -1, &mut touched)?;
                house.take(&after, 1, &mut touched)?;
                touched.retain(|at| house.excess(at) > excess.get(at).copied().unwrap_or(0));
                self.oversold += event.oversold.len() as u64;
                house.check_fact(&touched, &event.oversold)
            }
            ReservationCheckedOut::NAME => {
                let event: ReservationCheckedOut = read(&mut body)?;
                let house = self.houses.entry(event.property_id).or_default();
                house.take(&event.released, -1, &mut Touched::new())?;
                let mut touched = Touched::new();
                house.take(&event.overstayed, 1, &mut touched)?;
                self.oversold += event.oversold.len() as u64;
                house.check_fact(&touched, &event.oversold)
            }
            _ => Ok(()),
        }
    }

    fn supply(
        &mut self,
        property: PropertyId,
        product: Unit,
        listed: &[OversoldNight],
        change: impl FnOnce(&mut Calendar) -> Result<(), String>,
    ) -> Result<(), String> {
        let house = self.houses.entry(property).or_default();
        let before: BTreeMap<_, _> = house
            .sold_nights(&product)
            .into_iter()
            .map(|at| (at.clone(), house.excess(&at)))
            .collect();
        change(house.units.entry(product.clone()).or_default())?;
        let mut due = house.sold_nights(&product);
        due.retain(|at| house.excess(at) > before.get(at).copied().unwrap_or(0));
        self.oversold += listed.len() as u64;
        house.check_fact(&due, listed)
    }
}

impl House {
    /// How far the nights of lines are above their limits now.
    fn excesses(&self, before: &[Line], after: &[Line]) -> BTreeMap<(Unit, Night), i32> {
        let lines = before.iter().chain(after);
        let units = lines.flat_map(|line| {
            let of = |at| (Some(line.held(at).clone()), at.night);
            line.nights.iter().flat_map(move |at| [of(at), (None, at.night)])
        });
        units.map(|at| (at.clone(), self.excess(&at).max(0))).collect()
    }
}

fn read<E: Message>(body: &mut Reader<'_>) -> Result<E, String> {
    <E as Avro>::decode(body).map_err(|error| format!("{}: {error}", E::TYPE))
}
