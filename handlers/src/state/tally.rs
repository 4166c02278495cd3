//! What a change adds to the nights and days of products and of the house, before it is applied.
//!
//! A stay also takes part of the days of its nights: the day before each night and the day after it.
//! Those of them that have day uses get a row, with no unit where the change uses no day itself.

use std::collections::BTreeMap;

use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineMove};

use super::calendar::DayChange;
use super::inventory::{Demand, Inventory, ProductIndex, no_product};

/// Units by product and night, and by night for the house, added up; the uses of days likewise.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    rows: Vec<Row>,
}

/// A night, or the use of a day, of a product or of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// `None` is the house.
    pub(super) product: Option<ProductIndex>,
    pub(super) night: Night,
    pub(super) day_use: bool,
}

impl Place {
    /// What a change adds around the day of this place.
    fn around(self, units: impl Fn(Self) -> i32) -> DayChange {
        let night = |night| units(Self { night, day_use: false, ..self });
        DayChange {
            night_before: night(self.night.plus(-1)),
            night_after: night(self.night),
            day_use: units(Self { day_use: true, ..self }),
            supply: 0,
        }
    }

    /// The house comes last.
    fn rank(self) -> (bool, Self) {
        (self.product.is_none(), self)
    }
}

/// Units of a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) units: i32,
}

/// What several changes add to each place, before they are applied. They take nights alone.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    units: BTreeMap<Place, i32>,
}

impl Sum {
    pub(super) fn of(&self, place: Place) -> i32 {
        self.units.get(&place).copied().unwrap_or_default()
    }

    pub(super) fn around(&self, place: Place) -> DayChange {
        place.around(|place| self.of(place))
    }

    /// Adds a change.
    pub(crate) fn add(&mut self, tally: &Tally) {
        for row in &tally.rows {
            let units = self.units.entry(row.place).or_default();
            *units = units.saturating_add(row.units);
        }
    }
}

/// One row for each place, in order of products, nights before the use of their day; the house last.
#[derive(Debug)]
pub(super) struct Sums {
    rows: Vec<Row>,
}

impl Sums {
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn around(&self, place: Place) -> DayChange {
        place.around(|place| {
            let found = self.rows.binary_search_by_key(&place.rank(), |row| row.place.rank());
            found.map_or(0, |index| self.rows[index].units)
        })
    }
}

impl Tally {
    /// Of the nights of decided lines.
    ///
    /// # Panics
    /// As [`Inventory::take`].
    pub(crate) fn of(inventory: &Inventory, lines: &[Line]) -> Self {
        let mut tally = Self::default();
        tally.add_lines(inventory, lines);
        tally
    }

    fn add(
        &mut self,
        inventory: &Inventory,
        product: ProductIndex,
        (night, day_use): (Night, bool),
        units: i32,
    ) {
        let house = inventory.at(product).statistics.then_some(None);
        for product in [Some(product)].into_iter().chain(house) {
            self.rows.push(Row { place: Place { product, night, day_use }, units });
            if day_use {
                continue;
            }
            let calendar = inventory.calendar_at(product);
            let days = [night, night.plus(1)].into_iter();
            let used = days.filter(|day| calendar.day_use(*day) != 0);
            let place = |night| Place { product, night, day_use: true };
            self.rows.extend(used.map(|day| Row { place: place(day), units: 0 }));
        }
    }

    pub(super) fn add_demand(&mut self, inventory: &Inventory, demand: &Demand) {
        let Demand { product, units, arrival, departure } = *demand;
        if arrival == departure {
            self.add(inventory, product, (arrival, true), units);
        }
        for night in arrival.nights_to(departure) {
            self.add(inventory, product, (night, false), units);
        }
    }

    /// Adds the nights of decided lines.
    ///
    /// # Panics
    /// As [`Inventory::take`].
    pub(crate) fn add_lines(&mut self, inventory: &Inventory, lines: &[Line]) {
        self.count_lines(inventory, lines, 1);
    }

    /// Takes off the nights of lines that are given back.
    ///
    /// # Panics
    /// As [`Inventory::take`].
    pub(crate) fn take_off_lines(&mut self, inventory: &Inventory, lines: &[Line]) {
        self.count_lines(inventory, lines, -1);
    }

    fn count_lines(&mut self, inventory: &Inventory, lines: &[Line], sign: i32) {
        let index_of = |held| inventory.index_of(held).unwrap_or_else(|| no_product(held));
        for line in lines {
            let units = i32::from(line.units) * sign;
            for at in &line.nights {
                self.add(inventory, index_of(line.held(at)), (at.night, false), units);
            }
            if line.is_day_use() {
                self.add(inventory, index_of(&line.product), (line.arrival, true), units);
            }
        }
    }

    /// Adds nights that other products hold.
    ///
    /// # Panics
    /// As [`Inventory::take`].
    pub(crate) fn add_moves(&mut self, inventory: &Inventory, moves: &[LineMove]) {
        let index_of = |held| inventory.index_of(held).unwrap_or_else(|| no_product(held));
        for LineMove { line, held } in moves {
            let (units, to) = (i32::from(line.units), index_of(held));
            for at in &line.nights {
                self.add(inventory, index_of(line.held(at)), (at.night, false), -units);
                self.add(inventory, to, (at.night, false), units);
            }
        }
    }

    pub(super) fn into_sums(mut self) -> Sums {
        self.rows.sort_unstable_by_key(|row| row.place.rank());
        self.rows.dedup_by(|next, row| {
            let same = next.place == row.place;
            if same {
                row.units = row.units.saturating_add(next.units);
            }
            same
        });
        Sums { rows: self.rows }
    }
}
