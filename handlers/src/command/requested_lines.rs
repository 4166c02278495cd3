//! The lines of a booking: what is wrong with them, and what they take.
//!
//! Start at [`Terms::check`].

use std::fmt;

use bellhop_schemas::command::Acceptance;
use bellhop_schemas::money::Minor;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{Price, PricedBy, RequestedLine};

use super::limits;
use crate::rejection::{Findings, because, beyond, instead};
use crate::state::inventory::{Demand, Inventory, ProductIndex};
use crate::state::property::Property;

/// Lines of a reservation.
const LINES_MAX: usize = 100;
/// Units of a line.
const UNITS_MAX: i32 = 1_000;
/// Adults of a line; children of a reservation likewise.
const GUESTS_MAX: i32 = 10_000;
/// Years of a child.
const AGE_MAX: i32 = 120;
/// Nights of a line.
const STAY_NIGHTS_MAX: i32 = 400;
/// Nights of all lines, each counted by itself: what one event can say of them.
pub(crate) const NIGHTS_MAX: usize = 3_000;
/// Minor units of all prices of a reservation, so that nine thousand of them add up to an `i64`.
pub(super) const AMOUNT_MAX: i64 = 1_000_000_000_000_000;
/// What was found about a command.
pub(super) struct Found {
    pub(super) faults: Findings,
    pub(super) warnings: Findings,
    /// Whether it is a fact.
    is_fact: bool,
}

impl Found {
    pub(super) fn of(acceptance: Acceptance) -> Self {
        let is_fact = acceptance == Acceptance::AlreadySold;
        Self { faults: Findings::default(), warnings: Findings::default(), is_fact }
    }

    /// Where a finding goes that refuses a request and not a fact.
    pub(super) fn of_requests(&mut self) -> &mut Findings {
        if self.is_fact { &mut self.warnings } else { &mut self.faults }
    }
}

/// What lines are held against.
pub(super) struct Terms<'a> {
    pub(super) property: &'a Property,
    pub(super) inventory: &'a Inventory,
    pub(super) business_date: Night,
    /// The first night that a line may have.
    pub(super) first_night: Night,
}

/// What the lines of one request have added up to so far.
#[derive(Debug, Default)]
struct Totals {
    amount: Option<i64>,
    children: i64,
}

/// A field of a line, as its path.
struct Field(usize, &'static str);

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lines[{}].{}", self.0, self.1)
    }
}

impl Terms<'_> {
    /// What the lines take; all of them, where no fault was found.
    pub(super) fn check(&self, lines: &[RequestedLine], found: &mut Found) -> Vec<Demand> {
        if !(1..=LINES_MAX).contains(&lines.len()) {
            let allowed = lines.len().clamp(1, LINES_MAX);
            found.faults.add("lines", beyond(Rule::BadLines, lines.len() as i64, allowed as i64));
        }
        let lines = lines.iter().take(LINES_MAX);
        // A line that is too long by itself is told so.
        let nights = lines.clone().map(|line| {
            line.arrival.until(line.departure).clamp(0, STAY_NIGHTS_MAX).unsigned_abs() as usize
        });
        let nights: usize = nights.sum();
        if nights > NIGHTS_MAX {
            let reason = beyond(Rule::TooManyNights, nights as i64, NIGHTS_MAX as i64);
            found.faults.add("lines", reason);
        }
        let mut totals = Totals { amount: Some(0), children: 0 };
        lines
            .enumerate()
            .filter_map(|(index, line)| self.check_line(index, line, &mut totals, found))
            .collect()
    }

    fn check_line(
        &self,
        index: usize,
        line: &RequestedLine,
        totals: &mut Totals,
        found: &mut Found,
    ) -> Option<Demand> {
        let RequestedLine { units, arrival, departure, .. } = *line;
        let at = |field| Field(index, field);
        if !(1..=UNITS_MAX).contains(&units) {
            let reason = beyond(Rule::BadUnits, units, units.clamp(1, UNITS_MAX));
            found.faults.add(at("units"), reason);
        }
        check_guests(index, line, &mut totals.children, &mut found.faults);
        if line.adults == 0 {
            found.warnings.add(at("adults"), because(Rule::NoAdults));
        }
        limits::check_dimensions(at("dimensions"), &line.dimensions, &mut found.faults);
        self.check_stay(index, arrival, departure, &mut found.faults);
        let of_product = |rule| Reason { product: Some(line.product.clone()), ..because(rule) };
        let product = self.inventory.index_of(&line.product);
        match product {
            Some(product) => self.check_occupancy(index, line, product, found),
            None => found.faults.add(at("product"), of_product(Rule::UnknownProduct)),
        }
        if line.currency != self.property.currency {
            let (asked, wanted) = (line.currency.as_str(), self.property.currency.as_str());
            found.faults.add(at("currency"), instead(Rule::WrongCurrency, asked, wanted));
        }
        match line.priced_by {
            PricedBy::Engine => found.faults.add(at("priced_by"), of_product(Rule::NoRate)),
            PricedBy::Client | PricedBy::Contract => {
                check_prices(index, line, &mut totals.amount, &mut found.faults);
            }
        }
        product.map(|product| Demand { product, units, arrival, departure })
    }

    /// The guests of a line must fit into its units, where the product says how many do.
    fn check_occupancy(
        &self,
        index: usize,
        line: &RequestedLine,
        product: ProductIndex,
        found: &mut Found,
    ) {
        let Some(most) = self.inventory.at(product).occupancy_max else { return };
        let people = i64::from(line.adults) + line.child_ages.len() as i64;
        let room = i64::from(most) * i64::from(line.units);
        // A line without units is refused for that.
        if people > room && room > 0 {
            let product = Some(line.product.clone());
            let reason = Reason { product, ..beyond(Rule::TooManyGuests, people, room) };
            found.of_requests().add(Field(index, "adults"), reason);
        }
    }

    /// A day use has no last night: its day counts as one.
    fn check_stay(&self, index: usize, arrival: Night, departure: Night, faults: &mut Findings) {
        let nights = arrival.until(departure);
        let of = |night, rule| Reason { night: Some(night), ..because(rule) };
        if nights < 0 {
            faults.add(Field(index, "departure"), of(arrival, Rule::DepartureBeforeArrival));
        }
        if nights > STAY_NIGHTS_MAX {
            let reason = beyond(Rule::StayTooLong, nights, STAY_NIGHTS_MAX);
            faults.add(Field(index, "departure"), reason);
        }
        if arrival < self.first_night {
            faults.add(Field(index, "arrival"), of(arrival, Rule::NightInPast));
        }
        let last = departure.plus(-1).max(arrival);
        limits::check_horizon(Field(index, "departure"), self.business_date, last, faults);
    }

    /// The last night that can be booked.
    pub(super) fn horizon(&self) -> Night {
        self.business_date.plus(limits::HORIZON_NIGHTS)
    }
}

/// Zero adults are allowed: children may travel alone. `children` is their count so far.
fn check_guests(index: usize, line: &RequestedLine, children: &mut i64, faults: &mut Findings) {
    if !(0..=GUESTS_MAX).contains(&line.adults) {
        let reason = beyond(Rule::BadGuests, line.adults, line.adults.clamp(0, GUESTS_MAX));
        faults.add(Field(index, "adults"), reason);
    }
    let before = *children;
    *children += line.child_ages.len() as i64;
    let most = i64::from(GUESTS_MAX);
    if (before..*children).contains(&most) {
        faults.add(Field(index, "child_ages"), beyond(Rule::BadGuests, *children, most));
    }
    for (child, age) in line.child_ages.iter().enumerate() {
        let Some(age) = age.filter(|age| !(0..=AGE_MAX).contains(age)) else { continue };
        let reason = beyond(Rule::BadGuests, age, age.clamp(0, AGE_MAX));
        faults.add(format_args!("lines[{index}].child_ages[{child}]"), reason);
    }
}

/// One price a night, or at most one for a day use; none negative. `amount` is the sum so far, none
/// once it was too large.
fn check_prices(
    index: usize,
    line: &RequestedLine,
    amount: &mut Option<i64>,
    faults: &mut Findings,
) {
    let (asked, stay) = (line.nights.len() as i64, i64::from(line.arrival.until(line.departure)));
    // A stay that ends before it begins has no number of nights.
    if asked != stay && stay >= 0 {
        faults.add(Field(index, "nights"), beyond(Rule::PricesMismatch, asked, stay));
    }
    if stay > 0 && line.day_use.is_some() {
        faults.add(Field(index, "day_use"), beyond(Rule::PricesMismatch, 1, 0));
    }
    let mut night = line.arrival;
    for (at, price) in line.nights.iter().enumerate() {
        check_price(
            format_args!("lines[{index}].nights[{at}]"),
            night,
            price,
            line,
            amount,
            faults,
        );
        night = night.plus(1);
    }
    if let Some(price) = &line.day_use {
        let path = format_args!("lines[{index}].day_use");
        check_price(path, line.arrival, price, line, amount, faults);
    }
}

fn check_price(
    path: fmt::Arguments<'_>,
    night: Night,
    price: &Price,
    line: &RequestedLine,
    amount: &mut Option<i64>,
    faults: &mut Findings,
) {
    let Price { room, tax, extras } = *price;
    if room.min(tax).min(extras) < Minor(0) {
        for (part, minor) in [("room", room), ("tax", tax), ("extras", extras)] {
            if minor < Minor(0) {
                let reason = beyond(Rule::NegativePrice, minor.0, 0);
                faults.add(format_args!("{path}.{part}"), Reason { night: Some(night), ..reason });
            }
        }
        return;
    }
    let Some(before) = *amount else { return };
    let of_night = room.checked_add(tax).and_then(|sum| sum.checked_add(extras));
    let sum = of_night
        .and_then(|sum| sum.0.checked_mul(line.units.max(0).into()))
        .and_then(|sum| sum.checked_add(before));
    *amount = sum.filter(|sum| *sum <= AMOUNT_MAX);
    if amount.is_none() {
        let reason = Reason { allowed: Some(AMOUNT_MAX), ..because(Rule::PriceOverflow) };
        faults.add(path, Reason { night: Some(night), ..reason });
    }
}
