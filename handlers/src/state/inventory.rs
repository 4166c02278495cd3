//! The inventory of a property: the calendars of the house and of its products.
//!
//! Availability is physical - out of order - sold - held + allowance, the same for each product and
//! for the house; a request needs both. The use of a day is held against what is free over that day
//! ([`Calendar::day_left`]), of the product and of the house as well.
//!
//! # Invariants
//! On every night that is kept the house has sold what its products with statistics have sold
//! together. Nights before are not counted: nothing that can still be asked concerns them.

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter};
use bellhop_core::prelude::{Avro, State};
use bellhop_schemas::command::ProductKind;
use bellhop_schemas::ids::{ProductCode, PropertyId};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineMove, LineNight, OversoldNight};

use super::calendar::{Calendar, page_start};
use super::retention::Keeping;
use super::tally::{Place, Row};
pub(crate) use super::tally::{Sum, Tally};

/// The calendars of a property.
#[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.Inventory")]
pub struct Inventory {
    house: Calendar,
    products: Products,
    /// The first night that is counted; `None` while all are.
    kept_from: Option<Night>,
}

/// A product and its calendar.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.Product")]
pub struct Product {
    /// Its code within the property.
    pub code: ProductCode,
    /// What it is.
    pub kind: ProductKind,
    /// Whether its units count in the house.
    pub statistics: bool,
    /// People that one unit takes; `None` where it is not stated.
    pub occupancy_max: Option<u16>,
    /// Its nights.
    pub calendar: Calendar,
}

/// Names a product within its inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProductIndex(u32);

/// Units of a product on the nights of a stay, or for the use of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The product.
    pub(crate) product: ProductIndex,
    /// Units on each night.
    pub(crate) units: i32,
    /// The first night.
    pub(crate) arrival: Night,
    /// The day after the last one; the arrival for a day use.
    pub(crate) departure: Night,
}

/// A night that cannot take what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// The product; `None` for the house.
    pub(crate) product: Option<ProductIndex>,
    /// The night.
    pub(crate) night: Night,
    /// Whether it is the use of the day.
    pub(crate) day_use: bool,
    /// Units asked for, by all demands together.
    pub(crate) asked: i32,
    /// Units that are left; never negative.
    pub(crate) allowed: i32,
}

impl State for Inventory {
    const NAME: &'static str = "inventory";
    type Key = PropertyId;
}

impl Inventory {
    /// The calendar of the house.
    #[must_use]
    pub fn house(&self) -> &Calendar {
        &self.house
    }

    /// The calendar of the house, to change.
    pub(crate) fn house_mut(&mut self) -> &mut Calendar {
        &mut self.house
    }

    /// All products in the order of their definition.
    #[must_use]
    pub fn products(&self) -> &[Product] {
        &self.products.list
    }

    /// The product of a code.
    #[must_use]
    pub fn product(&self, code: &ProductCode) -> Option<&Product> {
        self.index_of(code).map(|index| self.at(index))
    }

    /// The calendar of a product, or of the house for `None`; `None` when there is no such product.
    #[must_use]
    pub fn calendar(&self, product: Option<&ProductCode>) -> Option<&Calendar> {
        match product {
            None => Some(&self.house),
            Some(code) => self.product(code).map(|product| &product.calendar),
        }
    }

    /// As [`Inventory::calendar`], to change.
    pub(crate) fn calendar_mut(&mut self, product: Option<&ProductCode>) -> Option<&mut Calendar> {
        match product {
            None => Some(&mut self.house),
            Some(code) => {
                let index = self.index_of(code)?;
                Some(&mut self.at_mut(index).calendar)
            }
        }
    }

    /// Where the product of a code is.
    #[inline]
    #[must_use]
    pub(crate) fn index_of(&self, code: &ProductCode) -> Option<ProductIndex> {
        self.products.index_of(code)
    }

    /// The places of all products.
    pub(crate) fn indices(&self) -> impl Iterator<Item = ProductIndex> + use<> {
        (0..self.products.list.len() as u32).map(ProductIndex)
    }

    /// The product at a place.
    ///
    /// # Panics
    /// When the place is another inventory's.
    #[inline]
    #[must_use]
    pub(crate) fn at(&self, index: ProductIndex) -> &Product {
        &self.products.list[index.0 as usize]
    }

    fn at_mut(&mut self, index: ProductIndex) -> &mut Product {
        &mut self.products.list[index.0 as usize]
    }

    /// Adds a product.
    pub(crate) fn add(&mut self, product: Product) {
        self.products.add(product);
    }

    /// Whether product and house can take a demand.
    #[inline]
    #[must_use]
    pub(crate) fn can_take(&self, demand: &Demand) -> bool {
        let Demand { product, units, arrival, departure } = *demand;
        let product = self.at(product);
        if arrival == departure {
            let free = |calendar: &Calendar| calendar.day_left(arrival) >= units;
            return free(&product.calendar) && (!product.statistics || free(&self.house));
        }
        let free = |calendar: &Calendar| {
            calendar.has(units, arrival, departure)
                && calendar.spares_days(units, arrival, departure)
        };
        free(&product.calendar) && (!product.statistics || free(&self.house))
    }

    /// Every night that cannot take all demands together, and every day over which they leave too
    /// few units: of each product, then of the house.
    #[must_use]
    pub(crate) fn shortages(&self, demands: &[Demand]) -> Vec<Shortage> {
        if let [only] = demands
            && self.can_take(only)
        {
            return Vec::new();
        }
        let mut tally = Tally::default();
        for demand in demands {
            tally.add_demand(self, demand);
        }
        let sums = tally.into_sums();
        let short = sums.rows().iter().filter_map(|row| {
            let Row { place, units: asked } = *row;
            let calendar = self.calendar_at(place.product);
            let (left, asked) = if place.day_use {
                let (before, after) = calendar.day_lost(place.night, sums.around(place))?;
                (before, before.saturating_sub(after))
            } else {
                (calendar.cell(place.night).available(), asked)
            };
            let Place { product, night, day_use } = place;
            let allowed = left.max(0);
            (asked > allowed).then_some(Shortage { product, night, day_use, asked, allowed })
        });
        short.collect()
    }

    /// The nights and days that a change takes above their limit, or further above it; `earlier` is
    /// what changes before it.
    #[must_use]
    pub(crate) fn oversold_by(&self, tally: Tally, earlier: &Sum) -> Vec<OversoldNight> {
        let sums = tally.into_sums();
        let over = sums.rows().iter().filter_map(|row| {
            let place = row.place;
            let calendar = self.calendar_at(place.product);
            let units = if place.day_use {
                let first = earlier.around(place);
                let before = calendar.day_left_after(place.night, first);
                let after = calendar.day_left_after(place.night, first.and(sums.around(place)));
                // The night before it is counted, too.
                (after < before && self.is_kept(place.night.plus(-1))).then_some(-after)?
            } else {
                (row.units > 0 && self.is_kept(place.night)).then_some(())?;
                let mut cell = calendar.cell(place.night);
                let more = row.units.saturating_add(earlier.of(place));
                cell.sold = cell.sold.saturating_add(more);
                cell.oversold()
            };
            let Place { night, day_use, .. } = place;
            let product = place.product.map(|index| self.at(index).code.clone());
            (units > 0).then_some(OversoldNight { product, night, units, day_use })
        });
        over.collect()
    }

    /// The first night that a fact may take: what a longer retention wants counted may be forgotten
    /// already, and the use of a day looks at the night before it.
    #[must_use]
    pub(crate) fn first_night(&self, keeping: Keeping) -> Night {
        let first = keeping.first_night();
        self.kept_from.map_or(first, |kept| first.max(kept.plus(1)))
    }

    /// The first night that is counted; `None` while all are.
    #[must_use]
    pub fn kept_from(&self) -> Option<Night> {
        self.kept_from
    }

    fn is_kept(&self, night: Night) -> bool {
        self.kept_from.is_none_or(|first| night >= first)
    }

    /// Counts the nights before one no longer, in whole pages of all calendars.
    pub(crate) fn forget_before(&mut self, night: Night) {
        let first = Some(page_start(night));
        if self.kept_from >= first {
            return;
        }
        self.kept_from = first;
        self.house.forget(page_start(night));
        for product in &mut self.products.list {
            product.calendar.forget(page_start(night));
        }
    }

    /// The calendar of a product at a place, or of the house for `None`.
    pub(super) fn calendar_at(&self, product: Option<ProductIndex>) -> &Calendar {
        product.map_or(&self.house, |index| &self.at(index).calendar)
    }

    /// Sells the nights of decided lines.
    ///
    /// # Panics
    /// When a product is not of this property: no handler lets that through.
    pub(crate) fn take(&mut self, lines: &[Line]) {
        self.sell(lines, 1);
    }

    /// Takes the nights of decided lines back.
    ///
    /// # Panics
    /// As [`Inventory::take`].
    pub(crate) fn release(&mut self, lines: &[Line]) {
        self.sell(lines, -1);
    }

    fn sell(&mut self, lines: &[Line], sign: i32) {
        for line in lines {
            let units = i32::from(line.units) * sign;
            let follows = |a: &LineNight, b: &LineNight| {
                a.night.0.checked_add(1) == Some(b.night.0) && a.held == b.held
            };
            let kept = line.nights.partition_point(|at| !self.is_kept(at.night));
            for nights in line.nights[kept..].chunk_by(follows) {
                let Some(first) = nights.first() else { continue };
                let held = line.held(first);
                let index = self.index_of(held).unwrap_or_else(|| no_product(held));
                let product = self.at_mut(index);
                let statistics = product.statistics;
                product.calendar.sell(first.night, nights.len(), units);
                if statistics {
                    self.house.sell(first.night, nights.len(), units);
                }
            }
            if line.is_day_use() && self.is_kept(line.arrival) {
                let index = self.index_of(&line.product);
                let product = self.at_mut(index.unwrap_or_else(|| no_product(&line.product)));
                let statistics = product.statistics;
                product.calendar.use_day(line.arrival, units);
                if statistics {
                    self.house.use_day(line.arrival, units);
                }
            }
        }
    }

    /// Gives nights to other products.
    ///
    /// # Panics
    /// As [`Inventory::take`].
    pub(crate) fn move_nights(&mut self, moves: &[LineMove]) {
        for LineMove { line, held } in moves {
            self.release(std::slice::from_ref(line));
            let mut line = line.clone();
            let product = line.holding(held);
            line.nights.iter_mut().for_each(|at| at.held = product.clone());
            self.take(&[line]);
        }
    }
}

#[cold]
pub(super) fn no_product(code: &ProductCode) -> ! {
    panic!("an event holds nights of {code}, which is no product of its property")
}

/// Products in the order of their definition, and how to find them by code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Products {
    list: Vec<Product>,
    /// Places in the list, each with the rank of its code, in the order of the ranks.
    by_code: Vec<(u64, ProductIndex)>,
}

impl Products {
    #[inline]
    fn index_of(&self, code: &ProductCode) -> Option<ProductIndex> {
        let wanted = rank(code);
        let first = self.by_code.partition_point(|(rank, _)| *rank < wanted);
        let alike = self.by_code[first..].iter().take_while(|(rank, _)| *rank == wanted);
        let mut indices = alike.map(|(_, index)| *index);
        indices.find(|index| same_of_one_rank(&self.list[index.0 as usize].code, code))
    }

    fn add(&mut self, product: Product) {
        if self.index_of(&product.code).is_none() {
            let (rank, index) = (rank(&product.code), ProductIndex(self.list.len() as u32));
            let at = self.by_code.partition_point(|(other, _)| *other <= rank);
            self.by_code.insert(at, (rank, index));
            self.list.push(product);
        }
    }
}

/// Codes of one rank and at most eight bytes are the same but for zeros at their ends.
#[inline]
fn same_of_one_rank(a: &ProductCode, b: &ProductCode) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    a.len() == b.len() && (a.len() <= 8 || a == b)
}

/// The first eight bytes of a code as a number: codes are in its order, and few share one.
#[inline]
fn rank(code: &ProductCode) -> u64 {
    let bytes = code.as_str().as_bytes();
    match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let rank = bytes.iter().fold(0, |rank, byte| (rank << 8) | u64::from(*byte));
            rank.checked_shl(64 - 8 * bytes.len() as u32).unwrap_or_default()
        }
    }
}

/// Only the list: the order of the ranks follows from it.
impl Avro for Products {
    fn encode(&self, out: &mut Vec<u8>) {
        self.list.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut products = Self::default();
        Vec::decode(reader)?.into_iter().for_each(|product| products.add(product));
        Ok(products)
    }
    fn schema(out: &mut SchemaWriter) {
        Vec::<Product>::schema(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_like_codes_are_told_apart() {
        let codes = ["", "A", "A\0", "AA", "STANDARD", "STANDARD\0", "STANDARDS", "STANDARDT", "Ä"];
        let mut inventory = Inventory::default();
        for code in codes.iter().rev() {
            inventory.add(Product {
                code: ProductCode::new(code),
                kind: ProductKind::Room,
                statistics: true,
                occupancy_max: None,
                calendar: Calendar::default(),
            });
        }
        for code in codes {
            let found = inventory.product(&ProductCode::new(code)).expect("the product");
            assert_eq!(found.code.as_str(), code);
        }
        for unknown in ["A\0\0", "B", "STANDAR", "STANDARD\0\0"] {
            assert_eq!(inventory.index_of(&ProductCode::new(unknown)), None, "{unknown:?}");
        }
    }
}
