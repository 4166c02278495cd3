//! The KPIs once more, as a fold over the events in plain maps: slow, obvious, and written without
//! a look at the SQL. Tests and audits hold the engines against it.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a fold looks at the few events that change its figure"
)]

use std::collections::{BTreeMap, BTreeSet};

use bellhop_schemas::ids::{ProductCode, PropertyId};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, SupplyChange};

pub use bellhop_ledger::history::{DAY_US, Event, Known};

use crate::kpi::{AsOf, Dimension, Query};

/// Values of the dimensions, then the currency where it is money.
pub type Key = Vec<Option<String>>;

/// What a KPI should be.
///
/// # Panics
/// For a KPI that is not folded here, which a test rules out, and for events that no handler sends:
/// a booking without lines.
#[must_use]
pub fn answer(events: &[Known], query: &Query) -> BTreeMap<Key, Option<f64>> {
    let fold = Fold { events, query, codes: codes(events), apart: apart(events) };
    match query.kpi.name {
        "room_nights" => fold.nights(|sold, _| Some(sold.units)),
        "room_revenue" => fold.nights(|sold, _| Some(sold.room)),
        "adr" => fold.nights(|sold, _| ratio(sold.room, sold.units)),
        "occupancy" => fold.nights(|sold, supply| ratio(sold.units, supply)),
        "revpar" => fold.nights(|sold, supply| ratio(sold.room, supply)),
        "bookings" => fold.bookings(|it| Some(it.booked)),
        "cancellation_rate" => fold.bookings(|it| ratio(it.cancelled, it.booked)),
        "no_show_rate" => fold.bookings(|it| ratio(it.no_show, it.booked - it.cancelled)),
        "lead_time" => fold.bookings(|it| ratio(it.lead, it.booked)),
        "length_of_stay" => fold.bookings(|it| ratio(it.nights, it.booked)),
        "refusals" => fold.refusals(),
        other => panic!("nobody has folded {other}"),
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole != 0.0).then(|| part / whole)
}

#[derive(Default, Clone, Copy)]
struct Sold {
    units: f64,
    room: f64,
}

#[derive(Default, Clone, Copy)]
struct Booked {
    booked: f64,
    cancelled: f64,
    no_show: f64,
    lead: f64,
    nights: f64,
}

/// Where a fact belongs.
struct Place<'a> {
    property: PropertyId,
    day: Option<Night>,
    product: Option<&'a ProductCode>,
    segment: Option<&'a str>,
    channel: Option<&'a str>,
    country: Option<&'a str>,
}

struct Fold<'a> {
    events: &'a [Known],
    query: &'a Query,
    codes: BTreeMap<PropertyId, String>,
    apart: BTreeSet<(PropertyId, ProductCode)>,
}

impl Fold<'_> {
    fn known(&self) -> impl Iterator<Item = &Known> {
        let as_of = |known: &&Known| match self.query.as_of {
            None => true,
            Some(AsOf::Instant(instant)) => known.at <= instant,
            Some(AsOf::Day(day)) => business_date(known) <= day,
        };
        let named = |known: &&Known| match &self.query.properties {
            None => true,
            Some(ids) => ids.contains(&known.event.property_id().to_string()),
        };
        self.events.iter().filter(as_of).filter(named)
    }

    fn asks(&self, day: Night) -> bool {
        self.query.from.is_none_or(|from| from <= day) && self.query.to.is_none_or(|to| day <= to)
    }

    /// The same for a fact that may have no day.
    fn asks_about(&self, day: Option<Night>) -> bool {
        match day {
            Some(day) => self.asks(day),
            None => self.query.from.is_none() && self.query.to.is_none(),
        }
    }

    fn key(&self, place: &Place<'_>, currency: Option<&str>) -> Key {
        let mut key: Key = Vec::new();
        let mut seen = BTreeSet::new();
        for dimension in &self.query.by {
            if !seen.insert(dimension.name()) {
                continue;
            }
            key.push(match dimension {
                Dimension::Property => Some(self.code(place.property)),
                Dimension::Day => place.day.map(|day| day.to_string()),
                Dimension::Month => place.day.map(|day| day.to_string()[..7].to_owned()),
                Dimension::Product => place.product.map(|it| it.to_string()),
                Dimension::Segment => place.segment.map(str::to_owned),
                Dimension::Channel => place.channel.map(str::to_owned),
                Dimension::Country => place.country.map(str::to_owned),
            });
        }
        if self.query.kpi.unit.is_money() {
            key.push(currency.map(str::to_owned));
        }
        key
    }

    fn code(&self, property: PropertyId) -> String {
        self.codes.get(&property).cloned().unwrap_or_else(|| property.to_string())
    }

    fn nights(&self, value: impl Fn(Sold, f64) -> Option<f64>) -> BTreeMap<Key, Option<f64>> {
        let mut sold: BTreeMap<Key, (Sold, Key)> = BTreeMap::new();
        for known in self.known() {
            for (sign, line, property, country) in changes(&known.event) {
                if self.apart.contains(&(property, line.product.clone())) {
                    continue;
                }
                for night in line.nights.iter().filter(|night| self.asks(night.night)) {
                    let place = Place {
                        property,
                        day: Some(night.night),
                        product: Some(&line.product),
                        segment: line.dimensions.segment(),
                        channel: line.dimensions.channel(),
                        country,
                    };
                    let currency = Some(line.currency.as_str());
                    let units = sign * f64::from(line.units);
                    let supply_key = self.supply_key(&place, currency);
                    let (cell, _) = sold
                        .entry(self.key(&place, currency))
                        .or_insert_with(|| (Sold::default(), supply_key));
                    cell.units += units;
                    cell.room += units * night.price.room.0 as f64;
                }
            }
        }
        sold.retain(|key, (cell, _)| key.is_empty() || cell.units != 0.0 || cell.room != 0.0);
        let divides = matches!(self.query.kpi.name, "occupancy" | "revpar");
        let supply = if divides { self.supply() } else { BTreeMap::new() };
        let mut answer = BTreeMap::new();
        for (key, (cell, supply_key)) in &sold {
            let supply = supply.get(supply_key).copied().unwrap_or_default();
            answer.insert(key.clone(), value(*cell, supply));
        }
        let whole = self.query.by.iter().all(|dimension| splits_supply(*dimension));
        if whole {
            for (key, supply) in supply {
                answer.entry(key).or_insert_with(|| value(Sold::default(), supply));
            }
        }
        if answer.is_empty() && self.query.by.is_empty() && !self.query.kpi.unit.is_money() {
            answer.insert(Vec::new(), value(Sold::default(), 0.0));
        }
        answer
    }

    /// The key without the dimensions that supply does not have.
    fn supply_key(&self, place: &Place<'_>, currency: Option<&str>) -> Key {
        let by = self.query.by.iter().copied().filter(|it| splits_supply(*it)).collect();
        let query = Query { by, ..self.query.clone() };
        let fold =
            Fold { query: &query, events: &[], codes: self.codes.clone(), apart: BTreeSet::new() };
        fold.key(place, currency)
    }

    fn supply(&self) -> BTreeMap<Key, f64> {
        let by_product = self.query.by.contains(&Dimension::Product);
        let periods = self.periods();
        let mut supply = BTreeMap::new();
        for known in self.known() {
            let (property, product, changes): (_, _, &[SupplyChange]) = match &known.event {
                Event::PropertyDefined(it) => (it.property_id, None, &it.physical),
                Event::ProductDefined(it) => (it.property_id, Some(&it.product), &it.physical),
                Event::PhysicalCountChanged(it) => {
                    (it.property_id, it.product.as_ref(), &it.changes)
                }
                _ => continue,
            };
            let apart = |it: &ProductCode| self.apart.contains(&(property, it.clone()));
            if product.is_some() != by_product || product.is_some_and(apart) {
                continue;
            }
            let Some((first, last)) = periods.get(&property) else { continue };
            let currency = self.currency(property);
            for day in first.nights_to(last.plus(1)) {
                for change in changes {
                    let covers = change.first_night.is_none_or(|it| it <= day)
                        && change.last_night.is_none_or(|it| day <= it);
                    if !covers || change.before == change.after {
                        continue;
                    }
                    let place = Place {
                        property,
                        day: Some(day),
                        product,
                        segment: None,
                        channel: None,
                        country: None,
                    };
                    *supply.entry(self.supply_key(&place, Some(&currency))).or_default() +=
                        f64::from(change.after - change.before);
                }
            }
        }
        supply
    }

    fn currency(&self, property: PropertyId) -> String {
        let mut events = self.events.iter();
        let found = events.find_map(|known| match &known.event {
            Event::PropertyDefined(it) if it.property_id == property => Some(it.currency),
            _ => None,
        });
        found.map_or_else(String::new, |currency| currency.to_string())
    }

    /// First and last night of each property: what was asked, else those that are on the books.
    fn periods(&self) -> BTreeMap<PropertyId, (Night, Night)> {
        if let (Some(from), Some(to)) = (self.query.from, self.query.to) {
            return self.codes.keys().map(|property| (*property, (from, to))).collect();
        }
        let mut nights: BTreeMap<(PropertyId, Night), f64> = BTreeMap::new();
        for known in self.known() {
            for (sign, line, property, _) in changes(&known.event) {
                if self.apart.contains(&(property, line.product.clone())) {
                    continue;
                }
                for night in &line.nights {
                    *nights.entry((property, night.night)).or_default() +=
                        sign * f64::from(line.units);
                }
            }
        }
        let mut periods: BTreeMap<PropertyId, (Night, Night)> = BTreeMap::new();
        for ((property, night), units) in nights {
            if units > 0.0 {
                let period = periods.entry(property).or_insert((night, night));
                *period = (period.0.min(night), period.1.max(night));
            }
        }
        for period in periods.values_mut() {
            period.0 = self.query.from.unwrap_or(period.0);
            period.1 = self.query.to.unwrap_or(period.1);
        }
        periods
    }

    fn bookings(&self, value: impl Fn(Booked) -> Option<f64>) -> BTreeMap<Key, Option<f64>> {
        let mut cells: BTreeMap<Key, Booked> = BTreeMap::new();
        if self.query.by.is_empty() {
            cells.insert(Vec::new(), Booked::default());
        }
        for known in self.known() {
            let (property, country, lines): (_, _, &[Line]) = match &known.event {
                Event::ReservationCreated(it) => (it.property_id, &it.country, &it.lines),
                Event::ReservationCancelled(it) => (it.property_id, &it.country, &it.released),
                Event::ReservationNoShow(it) => (it.property_id, &it.country, &it.released),
                Event::ReservationCheckedIn(it) if !it.reinstated.is_empty() => {
                    (it.property_id, &it.country, &it.reinstated)
                }
                _ => continue,
            };
            let arrival = lines.iter().map(|line| line.arrival).min();
            let departure = lines.iter().map(|line| line.departure).max();
            let Some((arrival, departure)) = arrival.zip(departure) else {
                panic!("a booking of no line: {known:?}")
            };
            if !self.asks(arrival) {
                continue;
            }
            let place = Place {
                property,
                day: Some(arrival),
                product: Some(&lines[0].product),
                segment: lines[0].dimensions.segment(),
                channel: lines[0].dimensions.channel(),
                country: country.as_deref(),
            };
            let cell = cells.entry(self.key(&place, None)).or_default();
            match &known.event {
                Event::ReservationCreated(it) => {
                    cell.booked += 1.0;
                    cell.lead += f64::from(arrival.0 - it.business_date.0);
                    cell.nights += f64::from(departure.0 - arrival.0);
                }
                Event::ReservationCancelled(_) => cell.cancelled += 1.0,
                Event::ReservationCheckedIn(_) => cell.no_show -= 1.0,
                _ => cell.no_show += 1.0,
            }
        }
        cells.retain(|key, cell| key.is_empty() || cell.booked != 0.0);
        cells.into_iter().map(|(key, cell)| (key, value(cell))).collect()
    }

    fn refusals(&self) -> BTreeMap<Key, Option<f64>> {
        let mut cells: BTreeMap<Key, Option<f64>> = BTreeMap::new();
        if self.query.by.is_empty() {
            cells.insert(Vec::new(), Some(0.0));
        }
        for known in self.known() {
            let Event::ReservationRejected(it) = &known.event else { continue };
            if it.command != "CreateReservation" {
                continue;
            }
            // What could not be read of a booking has no line; it was refused all the same.
            let (first, arrival) =
                (it.asked.first(), it.asked.iter().map(|line| line.arrival).min());
            if self.asks_about(arrival) {
                let place = Place {
                    property: it.property_id,
                    day: arrival,
                    product: first.map(|line| &line.product),
                    segment: first.and_then(|line| line.dimensions.segment()),
                    channel: first.and_then(|line| line.dimensions.channel()),
                    country: it.country.as_deref(),
                };
                let cell = cells.entry(self.key(&place, None)).or_insert(Some(0.0));
                *cell = cell.map(|count| count + 1.0);
            }
        }
        cells
    }
}

fn splits_supply(dimension: Dimension) -> bool {
    !matches!(dimension, Dimension::Segment | Dimension::Channel | Dimension::Country)
}

/// Lines that an event takes (+1) or gives back (-1).
fn changes(event: &Event) -> Vec<(f64, &Line, PropertyId, Option<&str>)> {
    match event {
        Event::ReservationCreated(it) => {
            it.lines.iter().map(|l| (1.0, l, it.property_id, it.country.as_deref())).collect()
        }
        Event::ReservationCancelled(it) => {
            it.released.iter().map(|l| (-1.0, l, it.property_id, it.country.as_deref())).collect()
        }
        Event::ReservationNoShow(it) => {
            it.released.iter().map(|l| (-1.0, l, it.property_id, it.country.as_deref())).collect()
        }
        Event::ReservationCheckedIn(it) => {
            let taken = it.reinstated.iter().chain(&it.added);
            taken.map(|line| (1.0, line, it.property_id, it.country.as_deref())).collect()
        }
        Event::ReservationExtended(it) => {
            it.extended.iter().map(|l| (1.0, l, it.property_id, it.country.as_deref())).collect()
        }
        Event::ReservationCheckedOut(it) => {
            it.released.iter().map(|l| (-1.0, l, it.property_id, it.country.as_deref())).collect()
        }
        // A move changes the product that is held, never the one that was sold.
        _ => Vec::new(),
    }
}

fn codes(events: &[Known]) -> BTreeMap<PropertyId, String> {
    let defined = events.iter().filter_map(|known| match &known.event {
        Event::PropertyDefined(it) => Some((it.property_id, it.code.to_string())),
        _ => None,
    });
    let codes: BTreeMap<PropertyId, String> = defined.collect();
    let label = |(id, code): (&PropertyId, &String)| {
        let is_one = codes.values().filter(|other| *other == code).count() == 1;
        (*id, if is_one { code.clone() } else { format!("{code} ({id})") })
    };
    codes.iter().map(label).collect()
}

fn apart(events: &[Known]) -> BTreeSet<(PropertyId, ProductCode)> {
    let apart = events.iter().filter_map(|known| match &known.event {
        Event::ProductDefined(it) if !it.statistics => Some((it.property_id, it.product.clone())),
        _ => None,
    });
    apart.collect()
}

fn business_date(known: &Known) -> Night {
    let utc = Night(known.at.0.div_euclid(DAY_US) as i32);
    match &known.event {
        Event::PropertyDefined(it) => it.business_date,
        Event::ProductDefined(it) => it.business_date,
        Event::PhysicalCountChanged(it) => it.business_date,
        Event::OverbookingLimitChanged(it) => it.business_date,
        Event::ReservationCreated(it) => it.business_date,
        Event::ReservationCancelled(it) => it.business_date,
        Event::ReservationCheckedIn(it) => it.business_date,
        Event::ReservationMoved(it) => it.business_date,
        Event::ReservationExtended(it) => it.business_date,
        Event::ReservationCheckedOut(it) => it.business_date,
        Event::ReservationNoShow(it) => it.business_date,
        Event::ReservationRejected(it) => it.business_date.unwrap_or(utc),
    }
}
