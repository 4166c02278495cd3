//! Random events: several properties, products in and out of the statistics, every kind of change.

use bellhop_core::message::Timestamp;
use bellhop_schemas::command::ProductKind;
use bellhop_schemas::dimensions::Dimensions;
use bellhop_schemas::event::{
    OverbookingLimitChanged, PhysicalCountChanged, ProductDefined, ReservationCheckedIn,
    ReservationRejected,
};
use bellhop_schemas::ids::{ProductCode, PropertyId};
use bellhop_schemas::money::Currency;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{Line, PricedBy, RequestedLine, SupplyChange};

use crate::stream::{
    DAY_US, Event, Known, Stay, always, dimensions, line, night, property, property_id,
};

const CODES: [&str; 3] = ["Seaside", "Old Town", "Shibuya"];
const CURRENCIES: [&str; 3] = ["EUR", "EUR", "JPY"];
const PRODUCTS: [&str; 3] = ["A", "B", "PARKING"];

/// SplitMix64: the same numbers for the same seed, for ever.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn days(&mut self, bound: u64) -> i32 {
        i32::try_from(self.below(bound)).unwrap()
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }

    fn pick_some<'a>(&mut self, items: &[&'a str]) -> Option<&'a str> {
        (!self.one_in(4)).then(|| self.pick(items))
    }
}

/// The first business date of every stream.
pub(crate) fn first_day() -> Night {
    night("2016-06-18")
}

/// Events of one seed.
pub(crate) fn events(seed: u64) -> Vec<Known> {
    let random = &mut Random(seed);
    let mut clock = i64::from(first_day().0) * DAY_US;
    let mut events = Vec::new();
    let houses = 1 + random.below(3);
    for number in 0..houses as usize {
        let id = property_id(number as u128);
        let currency = CURRENCIES[number].parse().unwrap();
        let physical = 5 + random.days(20);
        let defined = property(id, CODES[number], currency, first_day(), physical);
        events.push(Known { at: Timestamp(clock), event: defined.into() });
        for product in PRODUCTS {
            let physical = 1 + random.days(15);
            let defined = product_defined(id, product, physical);
            events.push(Known { at: Timestamp(clock), event: defined.into() });
        }
    }
    let mut stays: Vec<Stay> = Vec::new();
    for number in 0..random.below(120) {
        clock += i64::try_from(random.below(15 * 3_600_000_000)).unwrap();
        let day = Night(i32::try_from(clock / DAY_US).unwrap());
        let house = usize::try_from(random.below(houses)).unwrap();
        let event = match random.below(10) {
            0 => supply(random, property_id(house as u128), day),
            1 => refusal(random, house, day),
            2..=5 => {
                let stay = stay(random, house, day, clock, number);
                stays.push(stay.clone());
                stay.created(day).into()
            }
            _ if stays.is_empty() => continue,
            kind => {
                let at = usize::try_from(random.below(stays.len() as u64)).unwrap();
                let stay = stays.swap_remove(at);
                if random.one_in(4) {
                    // It goes on: any number of changes may follow one another.
                    stays.push(stay.clone());
                    midway(random, &stay, day)
                } else {
                    end(random, kind, &stay, day)
                }
            }
        };
        events.push(Known { at: Timestamp(clock), event });
    }
    events
}

fn product_defined(id: PropertyId, product: &str, physical: i32) -> ProductDefined {
    ProductDefined {
        property_id: id,
        business_date: first_day(),
        product: ProductCode::new(product),
        name: product.into(),
        kind: ProductKind::Room,
        statistics: product != "PARKING",
        physical: always(physical),
        occupancy_max: None,
        warnings: Vec::new(),
    }
}

fn stay(random: &mut Random, house: usize, day: Night, clock: i64, number: u64) -> Stay {
    let lines = (1..=1 + u16::from(random.one_in(5))).map(|number| {
        let arrival = day.plus(random.days(45));
        let departure = arrival.plus(random.days(5));
        let currency = CURRENCIES[house].parse().unwrap();
        let price = if random.one_in(6) { 0 } else { random.below(30_000).cast_signed() };
        let units = 1 + u16::try_from(random.below(3)).unwrap();
        let product = random.pick(&PRODUCTS);
        let mut line = line(product, units, arrival, departure, price, currency);
        line.number = number;
        line.dimensions = of_random(random);
        line
    });
    let lines = lines.collect();
    Stay {
        property_id: property_id(house as u128),
        reservation_id: crate::stream::reservation_id(u128::from(number)),
        booked_at: Timestamp(clock - random.below(1000).cast_signed()),
        country: random.pick_some(&["PRT", "JPN"]).map(Into::into),
        lines,
    }
}

fn end(random: &mut Random, kind: u64, stay: &Stay, day: Night) -> Event {
    match kind {
        6 => stay.cancelled(day).into(),
        7 => stay.no_show(day).into(),
        8 => stay.checked_in(day, random.one_in(2).then_some("B")).into(),
        _ => {
            let released = if random.one_in(2) { last_nights(random, stay) } else { Vec::new() };
            let day_use = if random.one_in(3) { as_day_use(stay) } else { Vec::new() };
            stay.checked_out(day, released, day_use).into()
        }
    }
}

/// What happens to a stay that does not end with it.
fn midway(random: &mut Random, stay: &Stay, day: Night) -> Event {
    match random.below(4) {
        0 => stay.moved(day, "A").into(),
        1 => stay.extended(day, next_night(stay)).into(),
        2 => {
            let reinstated = stay.lines.clone();
            ReservationCheckedIn { reinstated, ..stay.checked_in(day, Some("B")) }.into()
        }
        _ => {
            let added = next_night(stay);
            ReservationCheckedIn { added, ..stay.checked_in(day, None) }.into()
        }
    }
}

/// The first line, of which the guest left on the day of arrival.
fn as_day_use(stay: &Stay) -> Vec<Line> {
    let first = &stay.lines[0];
    let price = first.nights.first().map(|at| at.price).or(first.day_use);
    vec![Line { nights: Vec::new(), day_use: price, ..first.clone() }]
}

/// Nights of the first line that the guest did not stay for.
fn last_nights(random: &mut Random, stay: &Stay) -> Vec<Line> {
    let mut line = stay.lines[0].clone();
    let kept = usize::try_from(random.below(line.nights.len() as u64 + 1)).unwrap();
    line.nights.drain(..kept);
    if line.nights.is_empty() { Vec::new() } else { vec![line] }
}

/// A night more than was booked, without a price.
fn next_night(stay: &Stay) -> Vec<Line> {
    let first = &stay.lines[0];
    let mut line = line(
        first.product.as_str(),
        first.units,
        first.departure,
        first.departure.plus(1),
        0,
        first.currency,
    );
    line.dimensions.clone_from(&first.dimensions);
    vec![line]
}

fn supply(random: &mut Random, id: PropertyId, day: Night) -> Event {
    let product = random.one_in(2).then(|| ProductCode::new(random.pick(&PRODUCTS)));
    let runs = (0..=random.below(2)).map(|_| {
        let first = (!random.one_in(3)).then(|| day.plus(random.days(40) - 10));
        let last = (!random.one_in(3)).then(|| first.unwrap_or(day).plus(random.days(20)));
        let before = random.days(10);
        SupplyChange { first_night: first, last_night: last, before, after: random.days(12) }
    });
    let changes = runs.collect();
    if random.one_in(4) {
        return OverbookingLimitChanged {
            property_id: id,
            business_date: day,
            product,
            changes,
            oversold: Vec::new(),
        }
        .into();
    }
    PhysicalCountChanged {
        property_id: id,
        business_date: day,
        product,
        changes,
        oversold: vec![],
        warnings: Vec::new(),
    }
    .into()
}

fn of_random(random: &mut Random) -> Dimensions {
    let segment = random.pick_some(&["Leisure", "O'Hare \"Group\""]);
    dimensions(segment, random.pick_some(&["Web", "Agent"]))
}

fn refusal(random: &mut Random, house: usize, day: Night) -> Event {
    let arrival = day.plus(random.days(45));
    let unknown = random.one_in(8);
    // None where the command could not be read that far; the first line need not arrive first.
    let asked = (0..random.below(4)).map(|_| {
        let arrival = arrival.plus(random.days(40) - 20);
        RequestedLine {
            product: ProductCode::new(random.pick(&PRODUCTS)),
            units: 1 + random.days(3),
            arrival,
            departure: arrival.plus(random.days(5)),
            adults: 2,
            child_ages: Vec::new(),
            dimensions: of_random(random),
            currency: Currency::EUR,
            priced_by: PricedBy::Client,
            nights: Vec::new(),
            day_use: None,
        }
    });
    let asked = asked.collect();
    let reasons = (0..random.below(3)).map(|_| Reason {
        night: Some(arrival),
        asked: Some(1),
        allowed: Some(0),
        ..Reason::of(random.pick(&[Rule::SoldOut, Rule::HouseFull]))
    });
    let reasons = reasons.collect();
    let create = !random.one_in(4);
    ReservationRejected {
        property_id: property_id(if unknown { 99 } else { house as u128 }),
        business_date: (!unknown).then_some(day),
        command: if create { "CreateReservation" } else { "CancelReservation" }.into(),
        reservation_id: None,
        country: random.pick_some(&["PRT", "JPN"]).map(Into::into),
        asked: if create { asked } else { Vec::new() },
        reasons,
        alternatives: Vec::new(),
    }
    .into()
}
