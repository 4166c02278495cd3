//! The calendar of a product or of the house: what there is and what is sold, by night.
//!
//! Supply is a step function over all nights, so that "from now on" needs no end. Of the nights that
//! somebody has asked for, in pages of 32, one number is kept: the units that are left. A decision
//! reads nothing else, and what is sold follows from it: four bytes a night, since a busy partition
//! holds thousands of calendars.
//!
//! Day uses are counted apart, by day: few days have any.
//!
//! # Invariants
//! 1. What is left of a night is the limit that the step functions give it, less what is sold.
//! 2. Pages and days are sorted.

use std::ops::{Range, RangeInclusive};

use bellhop_core::prelude::Avro;
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::SupplyChange;

/// Nights of a page.
const PAGE_NIGHTS: usize = 32;
const PAGE_BITS: u32 = PAGE_NIGHTS.trailing_zeros();

/// A night of a calendar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// Units sold and not given back. It saturates: no night has two billion.
    pub sold: i32,
    /// Units held for pending requests.
    pub held: i32,
    /// Units that exist.
    pub physical: i16,
    /// Units of these that cannot be sold.
    pub out_of_order: i16,
    /// Units that may be sold above what exists; negative holds some back.
    pub allowance: i16,
    /// Units in use over the day before the night.
    pub day_use: i32,
}

impl Cell {
    /// Units that may be sold in all; negative where more is out of order or held back than exists.
    #[inline]
    #[must_use]
    pub fn limit(&self) -> i32 {
        i32::from(self.physical) - i32::from(self.out_of_order) + i32::from(self.allowance)
    }

    /// Units that may still be sold; negative on an oversold night.
    #[inline]
    #[must_use]
    pub fn available(&self) -> i32 {
        self.limit().saturating_sub(self.sold).saturating_sub(self.held)
    }

    /// Units sold or held above the limit; 0 where there are none.
    #[must_use]
    pub fn oversold(&self) -> i32 {
        self.oversold_without(0)
    }

    /// As [`Cell::oversold`], were there so many units less.
    #[must_use]
    pub(crate) fn oversold_without(&self, lost: i32) -> i32 {
        let limit = self.limit().saturating_sub(lost).max(0);
        self.sold.saturating_add(self.held).saturating_sub(limit).max(0)
    }
}

/// What a change adds around a day, before it is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DayChange {
    /// Units sold of the night before.
    pub(crate) night_before: i32,
    /// Units sold of the night after.
    pub(crate) night_after: i32,
    /// Units in use over the day.
    pub(crate) day_use: i32,
    /// Units that exist.
    pub(crate) supply: i32,
}

impl DayChange {
    /// Both changes.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            night_before: self.night_before.saturating_add(other.night_before),
            night_after: self.night_after.saturating_add(other.night_after),
            day_use: self.day_use.saturating_add(other.day_use),
            supply: self.supply.saturating_add(other.supply),
        }
    }
}

/// 32 nights.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.Page")]
struct Page {
    /// Its first night divided by 32, rounded down.
    number: i32,
    /// Units of each night that may still be sold; negative where it is oversold.
    left: [i32; PAGE_NIGHTS],
}

impl Page {
    fn nights(&self) -> impl Iterator<Item = Night> + use<> {
        let first = self.number << PAGE_BITS;
        (0..PAGE_NIGHTS as i32).map(move |place| Night(first + place))
    }
}

/// The supply and sales of a product or of the house.
#[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.Calendar")]
pub struct Calendar {
    physical: Steps,
    allowance: Steps,
    pages: Vec<Page>,
    day_uses: Vec<DayUse>,
}

/// Units in use over a day, apart from those of its nights.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.DayUse")]
struct DayUse {
    day: Night,
    units: i32,
}

impl Calendar {
    /// A night.
    #[inline]
    #[must_use]
    pub fn cell(&self, night: Night) -> Cell {
        let (number, place) = place(night);
        match self.find(number) {
            Ok(index) => self.touched(night, self.pages[index].left[place]),
            Err(_) => self.untouched(night),
        }
    }

    /// Units that may be sold for the use of a day; negative where more are in use than are free.
    ///
    /// A guest who stays over the day is in both counts, that of the night before and that of the
    /// night after: at most the smaller of the two stay. Every other unit that exists and is in
    /// order is free between a departure and an arrival.
    #[must_use]
    pub fn day_left(&self, day: Night) -> i32 {
        self.day_left_after(day, DayChange::default())
    }

    /// As [`Calendar::day_left`], after a change.
    #[must_use]
    pub(crate) fn day_left_after(&self, day: Night, change: DayChange) -> i32 {
        let (before, after) = (self.cell(day.plus(-1)), self.cell(day));
        let night_before = before.sold.saturating_add(change.night_before);
        let night_after = after.sold.saturating_add(change.night_after);
        let occupied = night_before.min(night_after).max(0);
        let there = i32::from(after.physical) - i32::from(after.out_of_order) + change.supply;
        let day_use = after.day_use.saturating_add(change.day_use);
        there.saturating_sub(occupied).max(0).saturating_sub(day_use)
    }

    /// Whether a stay of so many units leaves the day uses of its days the units that they need.
    #[inline]
    #[must_use]
    pub(crate) fn spares_days(&self, units: i32, arrival: Night, departure: Night) -> bool {
        let first = self.day_uses.partition_point(|at| at.day < arrival);
        let days = self.day_uses[first..].iter().take_while(|at| at.day <= departure);
        let mut days = days.map(|at| at.day);
        days.all(|day| {
            let change = DayChange {
                night_before: if day > arrival { units } else { 0 },
                night_after: if day < departure { units } else { 0 },
                ..DayChange::default()
            };
            self.day_lost(day, change).is_none()
        })
    }

    /// The units that are left for the use of a day before and after a request, where it asks for
    /// more than there are.
    ///
    /// An allowance counts for a request of nights, not for one of the day: who may be oversold is a
    /// guest who may not come.
    #[must_use]
    pub(crate) fn day_lost(&self, day: Night, change: DayChange) -> Option<(i32, i32)> {
        let allowance = if change.day_use > 0 { 0 } else { self.allowance.at(day).max(0) };
        let supply = i32::from(allowance);
        let before = self.day_left_after(day, DayChange { supply, ..DayChange::default() });
        let after = self.day_left_after(day, DayChange { supply, ..change });
        (after < 0 && after < before).then_some((before, after))
    }

    /// The days that have day uses, in order.
    pub fn days(&self) -> impl Iterator<Item = Night> {
        self.day_uses.iter().map(|at| at.day)
    }

    /// Sells units for the use of a day, or takes them back when negative.
    pub(crate) fn use_day(&mut self, day: Night, units: i32) {
        match self.day_uses.binary_search_by_key(&day, |at| at.day) {
            Ok(index) => {
                let at = &mut self.day_uses[index];
                at.units = at.units.saturating_add(units);
                if at.units == 0 {
                    self.day_uses.remove(index);
                }
            }
            Err(index) => self.day_uses.insert(index, DayUse { day, units }),
        }
    }

    /// Units in use over a day.
    #[inline]
    pub(crate) fn day_use(&self, day: Night) -> i32 {
        let found = self.day_uses.binary_search_by_key(&day, |at| at.day);
        found.map_or(0, |index| self.day_uses[index].units)
    }

    /// The nights that somebody has asked for, with their neighbours of the page, in order.
    pub fn nights(&self) -> impl Iterator<Item = (Night, Cell)> {
        let left = self.pages.iter().flat_map(|page| page.nights().zip(page.left));
        left.map(|(night, left)| (night, self.touched(night, left)))
    }

    /// Those of them from `first` to `last`; `None` is the beginning or end of time.
    pub(crate) fn within(
        &self,
        first: Option<Night>,
        last: Option<Night>,
    ) -> impl Iterator<Item = (Night, Cell)> {
        let nights = range(first, last);
        self.nights().filter(move |(night, _)| nights.contains(night))
    }

    /// Whether every night of a stay has so many units left.
    #[inline]
    #[must_use]
    pub(crate) fn has(&self, units: i32, arrival: Night, departure: Night) -> bool {
        let nights = usize::try_from(arrival.until(departure)).unwrap_or_default();
        runs(arrival, nights).all(|run| match self.find(run.page) {
            Ok(index) => self.pages[index].left[run.places()].iter().all(|left| *left >= units),
            Err(_) => run.nights().all(|night| self.untouched(night).available() >= units),
        })
    }

    /// Sells units of so many nights from `first` on, or takes them back when negative.
    #[inline]
    pub(crate) fn sell(&mut self, first: Night, nights: usize, units: i32) {
        for run in runs(first, nights) {
            let index = match self.find(run.page) {
                Ok(index) => index,
                Err(index) => {
                    self.add_page(index, run.page);
                    index
                }
            };
            for left in &mut self.pages[index].left[run.places()] {
                *left = left.saturating_sub(units);
            }
        }
    }

    /// The physical counts.
    #[must_use]
    pub fn physical(&self) -> &Steps {
        &self.physical
    }

    /// The overbooking allowances.
    #[must_use]
    pub fn allowance(&self) -> &Steps {
        &self.allowance
    }

    /// Changes physical counts.
    pub(crate) fn change_physical(&mut self, changes: &[SupplyChange]) {
        change(&mut self.physical, &mut self.pages, changes);
    }

    /// Changes overbooking allowances.
    pub(crate) fn change_allowance(&mut self, changes: &[SupplyChange]) {
        change(&mut self.allowance, &mut self.pages, changes);
    }

    /// Drops the pages, the day uses and the supply of nights before one that a page begins with.
    pub(crate) fn forget(&mut self, before: Night) {
        let (number, _) = place(before);
        let pages = self.pages.partition_point(|page| page.number < number);
        self.pages.drain(..pages);
        let days = self.day_uses.partition_point(|at| at.day < before);
        self.day_uses.drain(..days);
        self.physical.forget(before);
        self.allowance.forget(before);
    }

    /// Where a page is, or belongs. Most calendars have no gap: the first guess is right.
    #[inline]
    fn find(&self, number: i32) -> Result<usize, usize> {
        if let Some(first) = self.pages.first()
            && let Some(guess) = number.checked_sub(first.number)
            && let Ok(guess) = usize::try_from(guess)
            && self.pages.get(guess).is_some_and(|page| page.number == number)
        {
            return Ok(guess);
        }
        self.pages.binary_search_by_key(&number, |page| page.number)
    }

    fn untouched(&self, night: Night) -> Cell {
        let (physical, allowance) = (self.physical.at(night), self.allowance.at(night));
        Cell { physical, allowance, day_use: self.day_use(night), ..Cell::default() }
    }

    fn touched(&self, night: Night, left: i32) -> Cell {
        let cell = self.untouched(night);
        Cell { sold: cell.limit().saturating_sub(left), ..cell }
    }

    #[cold]
    fn add_page(&mut self, index: usize, number: i32) {
        let mut page = Page { number, left: [0; PAGE_NIGHTS] };
        for (night, left) in page.nights().zip(&mut page.left) {
            *left = self.untouched(night).limit();
        }
        self.pages.insert(index, page);
    }
}

/// Changes the counts of supply, and with them what is left of the nights that were asked for.
fn change(steps: &mut Steps, pages: &mut [Page], changes: &[SupplyChange]) {
    for change in changes {
        let count = small(change.after);
        let nights = range(change.first_night, change.last_night);
        let cells = pages.iter_mut().flat_map(|page| page.nights().zip(&mut page.left));
        for (night, left) in cells.filter(|(night, _)| nights.contains(night)) {
            *left = left.saturating_add(i32::from(count) - i32::from(steps.at(night)));
        }
        steps.set(change.first_night, change.last_night, count);
    }
}

fn range(first: Option<Night>, last: Option<Night>) -> RangeInclusive<Night> {
    first.unwrap_or(Night(i32::MIN))..=last.unwrap_or(Night(i32::MAX))
}

/// Nights that follow each other on one page.
#[derive(Debug, Clone, Copy)]
struct Run {
    page: i32,
    place: usize,
    count: usize,
}

impl Run {
    #[inline]
    fn places(self) -> Range<usize> {
        self.place..self.place + self.count
    }

    fn nights(self) -> impl Iterator<Item = Night> {
        let first = self.page << PAGE_BITS;
        self.places().map(move |place| Night(first + place as i32))
    }
}

/// So many nights from `first` on, page by page.
#[inline]
fn runs(first: Night, nights: usize) -> impl Iterator<Item = Run> {
    let (mut next, mut left) = (first, nights);
    std::iter::from_fn(move || {
        let (page, place) = place(next);
        let count = left.min(PAGE_NIGHTS - place);
        next = next.plus(count as i32);
        left -= count;
        (count > 0).then_some(Run { page, place, count })
    })
}

/// The first night of the page that a night is on.
pub(crate) fn page_start(night: Night) -> Night {
    Night((night.0 >> PAGE_BITS) << PAGE_BITS)
}

/// The page of a night and its place there.
#[inline]
fn place(night: Night) -> (i32, usize) {
    (night.0 >> PAGE_BITS, night.0 as usize & (PAGE_NIGHTS - 1))
}

/// A count as a cell holds it; the handlers let none through that does not fit.
fn small(count: i32) -> i16 {
    count.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// A count for every night from the beginning of time to its end.
///
/// # Invariants
/// Steps are sorted by night, none at the beginning of time, and each changes the count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.Steps")]
pub struct Steps {
    /// Before the first step.
    first: i16,
    steps: Vec<Step>,
}

/// The night from which another count holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.Step")]
struct Step {
    from: Night,
    count: i16,
}

impl Steps {
    /// The count of a night.
    #[must_use]
    pub fn at(&self, night: Night) -> i16 {
        let after = self.steps.partition_point(|step| step.from <= night);
        after.checked_sub(1).map_or(self.first, |last| self.steps[last].count)
    }

    /// Nights before one have the count that it has.
    fn forget(&mut self, before: Night) {
        self.first = self.at(before);
        self.steps.retain(|step| step.from > before);
    }

    /// Sets the count of the nights from `first` to `last`; `None` is the beginning or end of time.
    fn set(&mut self, first: Option<Night>, last: Option<Night>, count: i16) {
        let first = first.filter(|first| first.0 > i32::MIN);
        let end = last.and_then(|last| last.0.checked_add(1)).map(Night);
        let resumed = end.map(|end| Step { from: end, count: self.at(end) });
        let from = first.map_or(0, |first| self.steps.partition_point(|step| step.from < first));
        let to =
            end.map_or(self.steps.len(), |end| self.steps.partition_point(|step| step.from <= end));
        let set = first.map(|from| Step { from, count });
        if first.is_none() {
            self.first = count;
        }
        self.steps.splice(from..to.max(from), set.into_iter().chain(resumed));
        let mut before = self.first;
        self.steps.retain(|step| std::mem::replace(&mut before, step.count) != step.count);
    }

    /// What setting the nights from `first` to `last` to `after` would change: a run for each count
    /// that differs.
    #[must_use]
    pub(crate) fn changes(
        &self,
        first: Option<Night>,
        last: Option<Night>,
        after: i32,
    ) -> Vec<SupplyChange> {
        let before = first.map_or(self.first, |first| self.at(first));
        let inside = self.steps.iter().filter(|step| {
            first.is_none_or(|first| step.from > first) && last.is_none_or(|last| step.from <= last)
        });
        let mut changes = vec![SupplyChange {
            first_night: first,
            last_night: last,
            before: before.into(),
            after,
        }];
        for step in inside {
            if let Some(run) = changes.last_mut() {
                run.last_night = Some(step.from.plus(-1));
            }
            let first_night = Some(step.from);
            let before = step.count.into();
            changes.push(SupplyChange { first_night, last_night: last, before, after });
        }
        changes.retain(|change| change.before != change.after);
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bellhop_core::avro::{Avro, Reader};
    use proptest::prelude::*;

    use super::*;

    const NIGHTS: std::ops::Range<i32> = -80..120;

    #[derive(Debug, Clone)]
    enum Change {
        Sell(i32, i32, i32),
        Physical(Option<i32>, Option<i32>, i32),
        Allowance(Option<i32>, Option<i32>, i32),
    }

    fn change() -> impl Strategy<Value = Change> {
        let end =
            || prop::option::weighted(0.8, prop_oneof![NIGHTS, Just(i32::MIN), Just(i32::MAX)]);
        prop_oneof![
            (NIGHTS, 0..70, -3..4)
                .prop_map(|(night, nights, units)| Change::Sell(night, nights, units)),
            (end(), end(), 0..9).prop_map(|(first, last, to)| Change::Physical(first, last, to)),
            (end(), end(), -4..5).prop_map(|(first, last, to)| Change::Allowance(first, last, to)),
        ]
    }

    /// Every night by itself.
    type Model = BTreeMap<i32, Cell>;

    fn in_range(first: Option<i32>, last: Option<i32>) -> impl Fn(i32) -> bool {
        move |night| {
            first.is_none_or(|first| night >= first) && last.is_none_or(|last| night <= last)
        }
    }

    /// Sets the nights of the model and checks the told runs against what they had.
    fn set(
        model: &mut Model,
        (first, last, after): (Option<i32>, Option<i32>, i32),
        runs: &[SupplyChange],
        count: fn(&mut Cell) -> &mut i16,
    ) -> Result<(), TestCaseError> {
        let inside = in_range(first, last);
        for (night, cell) in model.iter_mut().filter(|(night, _)| inside(**night)) {
            let told = runs.iter().filter(|run| {
                in_range(run.first_night.map(|at| at.0), run.last_night.map(|at| at.0))(*night)
            });
            let told: Vec<_> = told.map(|run| (run.before, run.after)).collect();
            let before = i32::from(*count(cell));
            let wanted = if before == after { vec![] } else { vec![(before, after)] };
            prop_assert_eq!(told, wanted, "night {}", night);
            *count(cell) = small(after);
        }
        prop_assert!(runs.windows(2).all(|pair| pair[0].last_night < pair[1].first_night));
        Ok(())
    }

    proptest! {
        #[test]
        fn a_calendar_is_a_map_by_night(changes in prop::collection::vec(change(), 1..40)) {
            let mut calendar = Calendar::default();
            let mut model: Model = NIGHTS.map(|night| (night, Cell::default())).collect();
            for change in changes {
                match change {
                    Change::Sell(first, nights, units) => {
                        calendar.sell(Night(first), nights as usize, units);
                        let stay = first..first + nights;
                        let has = stay.clone().all(|night| {
                            calendar.cell(Night(night)).available() >= units
                        });
                        prop_assert_eq!(calendar.has(units, Night(first), Night(stay.end)), has);
                        for (_, cell) in model.range_mut(stay) {
                            cell.sold += units;
                        }
                    }
                    Change::Physical(first, last, _) | Change::Allowance(first, last, _)
                        if first.zip(last).is_some_and(|(first, last)| first > last) => {}
                    Change::Physical(first, last, to) => {
                        let (from, until) = (first.map(Night), last.map(Night));
                        let runs = calendar.physical().changes(from, until, to);
                        set(&mut model, (first, last, to), &runs, |cell| &mut cell.physical)?;
                        calendar.change_physical(&runs);
                    }
                    Change::Allowance(first, last, to) => {
                        let (from, until) = (first.map(Night), last.map(Night));
                        let runs = calendar.allowance().changes(from, until, to);
                        set(&mut model, (first, last, to), &runs, |cell| &mut cell.allowance)?;
                        calendar.change_allowance(&runs);
                    }
                }
                for (night, cell) in &model {
                    prop_assert_eq!(calendar.cell(Night(*night)), *cell, "night {}", night);
                }
            }
            let touched: Vec<_> = calendar.nights().map(|(night, _)| night).collect();
            prop_assert!(touched.is_sorted_by(|a, b| a < b));
            let mut bytes = Vec::new();
            calendar.encode(&mut bytes);
            prop_assert_eq!(Calendar::decode(&mut Reader::new(&bytes)), Ok(calendar));
        }
    }

    #[test]
    fn the_first_and_the_last_night_of_time_can_be_sold() {
        let mut calendar = Calendar::default();
        for night in [i32::MIN, i32::MAX, 0, i32::MIN + 31] {
            calendar.sell(Night(night), 1, 1);
            assert_eq!(calendar.cell(Night(night)).sold, 1);
        }
        assert_eq!(calendar.nights().map(|(_, cell)| cell.sold).sum::<i32>(), 4);
        assert_eq!(calendar.nights().count(), 3 * PAGE_NIGHTS);
    }

    #[test]
    fn a_stay_fits_when_every_night_has_the_units() {
        let mut calendar = Calendar::default();
        let all = SupplyChange { first_night: None, last_night: None, before: 0, after: 3 };
        calendar.change_physical(&[all]);
        calendar.sell(Night(5), 1, 2);
        assert!(calendar.has(3, Night(2), Night(5)));
        assert!(!calendar.has(2, Night(2), Night(6)));
        assert!(calendar.has(1, Night(2), Night(6)));
        assert!(calendar.has(99, Night(5), Night(5)), "no night, no limit");
    }

    #[test]
    fn availability_is_what_exists_less_what_is_out_sold_and_held_plus_the_allowance() {
        let cell =
            Cell { physical: 10, out_of_order: 1, sold: 5, held: 2, allowance: 3, day_use: 7 };
        assert_eq!((cell.limit(), cell.available(), cell.oversold()), (12, 5, 0));
        let over = Cell { sold: 12, ..cell };
        assert_eq!((over.available(), over.oversold()), (-2, 2));
        let held_back = Cell { allowance: -30, sold: 0, held: 0, ..cell };
        assert_eq!((held_back.available(), held_back.oversold()), (-21, 0));
        let absurd = Cell { sold: i32::MAX, held: i32::MAX, ..cell };
        assert!(absurd.available() < 0 && absurd.oversold() > 0);
    }
}
