//! The rooms of all properties counted again, by events alone and by other means than the engine's:
//! a list of counts by range, a sum by night.
//!
//! # Invariants checked
//! 1. A request ([`ReservationCreated`]) takes no night of a product, nor of the house, above its
//!    limit as it stands before that event; and no day above what nobody occupies over it, whether it
//!    uses the day or stays over it.
//! 2. Every night and day that a fact takes (further) above its limit is listed in the fact, with the
//!    number of units above it; nothing else is listed.
//! 3. A release gives back what was taken: no night is below zero.
//! 4. A change of supply starts from the count that was in force.
//! 5. A guest in house who is past the departure holds the night of the business date.
//! 6. The business date of an event is that of the property's zone and roll hour.
//! 7. What a command is refused for is so ([`refusal`]), and what it is offered can be had.
//! 8. A booking is what was asked for, in whatever schema and encoding that came.

pub mod refusal;
mod stays;

use std::collections::{BTreeMap, BTreeSet};

use bellhop_core::avro::{Avro, Reader};
use bellhop_core::engine::{EngineRecord, Genesis};
use bellhop_core::message::{Message, Meta, Timestamp};
use bellhop_core::rules::{Rules, RulesChanged};
use bellhop_schemas::command::Acceptance;
use bellhop_schemas::event::{
    CatalogRejected, OverbookingLimitChanged, PhysicalCountChanged, ProductDefined,
    PropertyDefined, ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut,
    ReservationCreated, ReservationExtended, ReservationMoved, ReservationNoShow,
    ReservationRejected,
};
use bellhop_schemas::ids::{ProductCode, PropertyId, ReservationId};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Alternative, Reason};
use bellhop_schemas::stay::{Line, LineMove, OversoldNight, SupplyChange};
use jiff::ToSpan as _;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use self::refusal::{Asked, Case};
use self::stays::{Stage, Stays};

/// Nights that a guest is extended by.
const OVERSTAY_NIGHTS_MAX: i32 = 400;

/// A product; `None` is the house as a whole.
type Unit = Option<ProductCode>;
/// A night of a unit, or the use of a day.
type Place = (Unit, Night, bool);
/// What an event touches.
type Touched = BTreeSet<Place>;

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
    day_uses: BTreeMap<Night, i32>,
}

impl Calendar {
    fn limit(&self, night: Night) -> i32 {
        self.physical.at(night) + self.allowance.at(night)
    }

    fn excess(&self, night: Night) -> i32 {
        // A limit below zero is one of zero: nothing sold is nothing oversold.
        self.sold(night) - self.limit(night).max(0)
    }

    fn sold(&self, night: Night) -> i32 {
        self.sold.get(&night).copied().unwrap_or(0)
    }

    /// Units that are left for the use of a day, with those that a request of nights may count on
    /// or without, and with what it adds to the nights before and after.
    fn day_left(&self, day: Night, allowed: bool, (before, after): (i64, i64)) -> i64 {
        let sold = |night| i64::from(self.sold(night));
        let stay = (sold(day.plus(-1)) + before).min(sold(day) + after);
        let allowance = if allowed { self.allowance.at(day).max(0) } else { 0 };
        let free = (i64::from(self.physical.at(day) + allowance) - stay).max(0);
        free - i64::from(self.day_uses.get(&day).copied().unwrap_or(0))
    }
}

/// One property.
#[derive(Debug, Default)]
pub struct House {
    units: BTreeMap<Unit, Calendar>,
    /// Products that do not count in the house.
    apart: BTreeSet<ProductCode>,
    departures: BTreeMap<ReservationId, Night>,
    /// Departure of each guest in house, and the first night that is not held.
    guests: BTreeMap<ReservationId, (Night, Night)>,
    stays: Stays,
    zone: Option<TimeZone>,
    roll_hour: i64,
    no_show_hour: Option<u8>,
    /// People that one unit takes, of products that state it.
    occupancy: BTreeMap<ProductCode, u16>,
}

impl House {
    /// What the clock on the wall says.
    fn local(&self, now: Timestamp) -> Option<DateTime> {
        let now = jiff::Timestamp::from_microsecond(now.0).ok()?;
        Some(now.to_zoned(self.zone.clone()?).datetime())
    }

    fn business_date(&self, now: Timestamp) -> Option<Night> {
        Some(Night::of(self.local(now)?.saturating_sub(self.roll_hour.hours()).date()))
    }

    /// Whole hours of the clock on the wall since a day began.
    fn hours_since(&self, day: Night, now: Timestamp) -> i64 {
        let local = self.local(now).map(|local| (Night::of(local.date()), local.hour()));
        local.map_or(0, |(today, hour)| i64::from(day.until(today)) * 24 + i64::from(hour))
    }

    /// Units of a place that may still be sold; negative where facts sold more.
    fn left(&self, (unit, night, day_use): &Place) -> i32 {
        let Some(calendar) = self.units.get(unit) else { return 0 };
        if *day_use {
            return calendar.day_left(*night, false, (0, 0)) as i32;
        }
        calendar.limit(*night) - calendar.sold(*night)
    }

    /// Units left for the use of a day before and after a request that adds to the nights around it
    /// and to its uses.
    fn day_left(&self, unit: &Unit, day: Night, nights: (i64, i64), used: i64) -> (i64, i64) {
        let Some(calendar) = self.units.get(unit) else { return (0, -used) };
        let left = |nights| calendar.day_left(day, used == 0, nights);
        (left((0, 0)), left(nights) - used)
    }

    /// The units that a product counts in.
    fn units_of(&self, product: &ProductCode) -> Vec<Unit> {
        let mut units = vec![Some(product.clone())];
        if !self.apart.contains(product) {
            units.push(None);
        }
        units
    }

    /// Every place of some lines, with its units.
    fn places(&self, lines: &[Line]) -> Vec<(Place, i32)> {
        let mut places = Vec::new();
        for line in lines {
            let units = i32::from(line.units);
            for night in &line.nights {
                let of = |unit| ((unit, night.night, false), units);
                places.extend(self.units_of(line.held(night)).into_iter().map(of));
            }
            if line.is_day_use() {
                let of = |unit| ((unit, line.arrival, true), units);
                places.extend(self.units_of(&line.product).into_iter().map(of));
            }
        }
        places
    }

    /// Applies the lines; `sign` is 1 to take and -1 to give back.
    fn take(&mut self, lines: &[Line], sign: i32, touched: &mut Touched) -> Result<(), String> {
        for (place, units) in self.places(lines) {
            let (unit, night, day_use) = place.clone();
            let calendar = self.units.entry(unit).or_default();
            let counts = if day_use { &mut calendar.day_uses } else { &mut calendar.sold };
            let count = counts.entry(night).or_default();
            *count += sign * units;
            if *count < 0 {
                return Err(format!("{count} sold of {place:?}"));
            }
            touched.extend(with_days(place));
        }
        Ok(())
    }

    /// How far the nights and days of some lines are above their limits; `allowed` as in
    /// [`House::excess_of`].
    fn before(&self, lines: &[Line], allowed: bool) -> BTreeMap<Place, i32> {
        let places = self.places(lines).into_iter().flat_map(|(place, _)| with_days(place));
        let excess = |place: Place| {
            let excess = self.excess_of(&place, allowed).max(0);
            (place, excess)
        };
        places.map(excess).collect()
    }

    fn excess(&self, place: &Place) -> i32 {
        self.excess_of(place, false)
    }

    /// Units above the limit; over a day with or without those that a request of nights may count
    /// on.
    fn excess_of(&self, (unit, night, day_use): &Place, allowed: bool) -> i32 {
        let Some(calendar) = self.units.get(unit) else { return 0 };
        if *day_use {
            return -calendar.day_left(*night, allowed, (0, 0)) as i32;
        }
        calendar.excess(*night)
    }

    /// A fact takes lines and gives others back, and lists what it oversells.
    fn fact(
        &mut self,
        taken: &[Line],
        back: &[Line],
        listed: &[OversoldNight],
    ) -> Result<(), String> {
        let before = self.before(&[back, taken].concat(), false);
        let mut touched = Touched::new();
        self.take(taken, 1, &mut touched)?;
        self.take(back, -1, &mut touched)?;
        touched.retain(|at| self.excess(at) > before.get(at).copied().unwrap_or(0));
        self.check_fact(&touched, listed)
    }

    fn check_date(&self, business_date: Night, now: Timestamp) -> Result<(), String> {
        match self.business_date(now) {
            Some(date) if date != business_date => {
                Err(format!("the business date is {date}, the event says {business_date}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Nobody is in house past the departure without the night of the business date.
    fn check_guests(&self, business_date: Night) -> Result<(), String> {
        let overdue = |(_, (departure, held)): &(&ReservationId, &(Night, Night))| {
            *departure < business_date
                && *held <= business_date
                && departure.until(*held) < OVERSTAY_NIGHTS_MAX
        };
        self.guests.iter().find(overdue).map_or(Ok(()), |(id, (departure, held))| {
            Err(format!(
                "{id} was to leave on {departure}, and on {business_date} holds until {held}"
            ))
        })
    }

    /// All nights and days of a unit that anything is sold of.
    fn sold_places(&self, unit: &Unit) -> Touched {
        let calendars = self.units.get(unit).into_iter();
        let places = calendars.flat_map(|calendar| {
            let nights = calendar.sold.keys().map(|night| (unit.clone(), *night, false));
            nights.chain(calendar.day_uses.keys().map(|day| (unit.clone(), *day, true)))
        });
        places.collect()
    }

    /// A request oversells nothing: no night of it is above its limit, no day that it uses is, and
    /// no other day is further above it.
    fn check_request(
        &self,
        lines: &[Line],
        touched: &Touched,
        before: &BTreeMap<Place, i32>,
    ) -> Result<(), String> {
        let taken: BTreeSet<_> = self.places(lines).into_iter().map(|(place, _)| place).collect();
        let over = touched.iter().find(|at| {
            let (limit, allowed) = match taken.contains(at) {
                true => (0, false),
                false => (before.get(at).copied().unwrap_or(0), true),
            };
            self.excess_of(at, allowed) > limit
        });
        over.map_or(Ok(()), |at| Err(format!("a request oversold {at:?} by {}", self.excess(at))))
    }

    /// A fact lists what it oversells: the nights that `due` asks for, each with its number.
    fn check_fact(&self, due: &Touched, listed: &[OversoldNight]) -> Result<(), String> {
        let place = |over: &OversoldNight| (over.product.clone(), over.night, over.day_use);
        let listed: BTreeMap<_, _> = listed.iter().map(|over| (place(over), over.units)).collect();
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

/// A place, and the days that a night of it is about.
fn with_days(place: Place) -> Vec<Place> {
    let (unit, night, day_use) = place.clone();
    if day_use {
        return vec![place];
    }
    vec![place, (unit.clone(), night, true), (unit, night.plus(1), true)]
}

/// All properties of a log.
#[derive(Debug)]
pub struct Houses {
    houses: BTreeMap<PropertyId, House>,
    /// Requests and facts that were counted, to know that there was something to check.
    pub requests: u64,
    /// Nights that facts have listed as oversold.
    pub oversold: u64,
    /// Stays that were extended.
    pub extended: u64,
    /// Refusals, by the code of their first reason.
    pub refused: BTreeMap<u16, u64>,
    /// Stays that were offered instead.
    pub offered: u64,
    rules: Rules,
    now: Timestamp,
}

/// A time zone by its name.
fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

impl Default for Houses {
    fn default() -> Self {
        Self {
            houses: BTreeMap::new(),
            requests: 0,
            oversold: 0,
            extended: 0,
            refused: BTreeMap::new(),
            offered: 0,
            rules: Rules::default(),
            now: Timestamp::MIN,
        }
    }
}

impl Houses {
    /// Counts an event, and holds a refusal or a booking against its command. Events that touch no
    /// room are none of its business.
    ///
    /// # Errors
    /// What is broken, in words.
    pub fn count(
        &mut self,
        name: &str,
        datum: &[u8],
        asked: impl FnOnce(&Meta) -> Result<Option<Asked>, String>,
    ) -> Result<(), String> {
        let mut body = Reader::new(datum);
        let meta = Meta::decode(&mut body).map_err(|error| error.to_string())?;
        self.now = meta.occurred_at;
        match name {
            Genesis::NAME => {
                let genesis = Genesis::decode(&mut body).map_err(|error| error.to_string())?;
                self.rules = genesis.rules;
                Ok(())
            }
            RulesChanged::NAME => {
                let event = RulesChanged::decode(&mut body).map_err(|error| error.to_string())?;
                self.rules = event.after;
                Ok(())
            }
            CatalogRejected::NAME => {
                let event: CatalogRejected = read(&mut body)?;
                self.refused(
                    event.property_id,
                    event.business_date,
                    &event.reasons,
                    &[],
                    asked(&meta)?,
                )
            }
            ReservationRejected::NAME => {
                let event: ReservationRejected = read(&mut body)?;
                let ReservationRejected { reasons, alternatives, .. } = &event;
                let (property, date) = (event.property_id, event.business_date);
                self.refused(property, date, reasons, alternatives, asked(&meta)?)
            }
            PropertyDefined::NAME => {
                let event: PropertyDefined = read(&mut body)?;
                let house = self.houses.entry(event.property_id).or_default();
                house.zone = zone(&event.time_zone);
                house.roll_hour = event.roll_hour.into();
                house.no_show_hour = event.no_show_hour;
                house.check_date(event.business_date, self.now)?;
                house.units.entry(None).or_default().physical.change(&event.physical)
            }
            ProductDefined::NAME => {
                let event: ProductDefined = read(&mut body)?;
                let house = self.houses.entry(event.property_id).or_default();
                if !event.statistics {
                    house.apart.insert(event.product.clone());
                }
                let most = event.occupancy_max.map(|most| (event.product.clone(), most));
                house.occupancy.extend(most);
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
                if let Some(asked) = asked(&meta)? {
                    asked.check_booked(&event)?;
                }
                let house = self.at(event.property_id, event.business_date)?;
                house.stays.create(&event);
                let departure = event.lines.iter().map(|line| line.departure).max();
                house.departures.extend(departure.map(|day| (event.reservation_id, day)));
                match event.acceptance {
                    Acceptance::AlreadySold => {
                        house.fact(&event.lines, &[], &event.oversold)?;
                        self.oversold += event.oversold.len() as u64;
                        Ok(())
                    }
                    Acceptance::Request => {
                        let before = house.before(&event.lines, true);
                        let mut touched = Touched::new();
                        house.take(&event.lines, 1, &mut touched)?;
                        house.check_request(&event.lines, &touched, &before)?;
                        self.requests += 1;
                        Ok(())
                    }
                }
            }
            ReservationCancelled::NAME => {
                let event: ReservationCancelled = read(&mut body)?;
                let house = self.at(event.property_id, event.business_date)?;
                house.stays.step(event.reservation_id, Stage::Cancelled, event.business_date);
                house.take(&event.released, -1, &mut Touched::new())
            }
            ReservationNoShow::NAME => {
                let event: ReservationNoShow = read(&mut body)?;
                let house = self.at(event.property_id, event.business_date)?;
                house.stays.step(event.reservation_id, Stage::NoShow, event.business_date);
                house.take(&event.released, -1, &mut Touched::new())
            }
            ReservationCheckedIn::NAME => {
                let event: ReservationCheckedIn = read(&mut body)?;
                let house = self.at(event.property_id, event.business_date)?;
                house.stays.check_in(&event);
                let (before, after) = both(&event.moves);
                let taken = [event.reinstated, after, event.added].concat();
                // What is taken back may move at once.
                house.fact(&taken, &before, &event.oversold)?;
                let departure = house.departures.get(&event.reservation_id).copied();
                let departure = departure.ok_or("a guest without a booking")?;
                house.guests.insert(event.reservation_id, (departure, departure));
                self.oversold += event.oversold.len() as u64;
                Ok(())
            }
            ReservationMoved::NAME => {
                let event: ReservationMoved = read(&mut body)?;
                let house = self.at(event.property_id, event.business_date)?;
                house.stays.shift(event.reservation_id, &event.moves, event.business_date);
                let (before, after) = both(&event.moves);
                house.fact(&after, &before, &event.oversold)?;
                self.oversold += event.oversold.len() as u64;
                Ok(())
            }
            ReservationExtended::NAME => {
                let event: ReservationExtended = read(&mut body)?;
                // It is what makes the rule hold.
                let house = self.houses.entry(event.property_id).or_default();
                house.stays.extend(event.reservation_id, &event.extended, event.business_date);
                house.fact(&event.extended, &[], &event.oversold)?;
                let nights = event.extended.iter().flat_map(|line| &line.nights);
                let held = nights.map(|at| at.night.plus(1)).max();
                let guest = house.guests.get_mut(&event.reservation_id);
                let (guest, held) = guest.zip(held).ok_or("nobody is extended by nothing")?;
                guest.1 = held;
                self.oversold += event.oversold.len() as u64;
                self.extended += 1;
                Ok(())
            }
            ReservationCheckedOut::NAME => {
                let event: ReservationCheckedOut = read(&mut body)?;
                let house = self.at(event.property_id, event.business_date)?;
                house.stays.step(event.reservation_id, Stage::Left, event.business_date);
                house.fact(&event.day_use, &event.released, &event.oversold)?;
                house.guests.remove(&event.reservation_id);
                self.oversold += event.oversold.len() as u64;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Holds a refusal against what there was.
    fn refused(
        &mut self,
        property: PropertyId,
        business_date: Option<Night>,
        reasons: &[Reason],
        alternatives: &[Alternative],
        asked: Option<Asked>,
    ) -> Result<(), String> {
        let Some(asked) = asked else { return Err("a refusal of no command".to_owned()) };
        if asked.property_id() != property {
            return Err(format!("{asked:?} is refused for another property, {property}"));
        }
        let house = self.houses.get(&property);
        if let Some((house, date)) = house.zip(business_date) {
            house.check_date(date, self.now)?;
            house.check_guests(date)?;
        }
        let retention_days = self.rules.retention_days as i32;
        let case = Case { asked: &asked, house, business_date, now: self.now, retention_days };
        case.check(reasons, alternatives)?;
        self.offered += alternatives.len() as u64;
        if let Some(first) = reasons.first() {
            *self.refused.entry(first.rule.code()).or_default() += 1;
        }
        Ok(())
    }

    /// A property on a business date, where nobody is forgotten.
    fn at(&mut self, property: PropertyId, business_date: Night) -> Result<&mut House, String> {
        let now = self.now;
        let house = self.houses.entry(property).or_default();
        house.check_date(business_date, now)?;
        house.check_guests(business_date)?;
        Ok(house)
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
            .sold_places(&product)
            .into_iter()
            .map(|at| (at.clone(), house.excess(&at)))
            .collect();
        change(house.units.entry(product.clone()).or_default())?;
        let mut due = house.sold_places(&product);
        due.retain(|at| house.excess(at) > before.get(at).copied().unwrap_or(0));
        self.oversold += listed.len() as u64;
        house.check_fact(&due, listed)
    }
}

/// The nights of moves, as they were held and as they are.
fn both(moves: &[LineMove]) -> (Vec<Line>, Vec<Line>) {
    let after = moves.iter().map(|LineMove { line, held }| {
        let mut after = line.clone();
        after.nights.iter_mut().for_each(|at| at.held = Some(held.clone()));
        after
    });
    (moves.iter().map(|moved| moved.line.clone()).collect(), after.collect())
}

fn read<E: Message>(body: &mut Reader<'_>) -> Result<E, String> {
    <E as Avro>::decode(body).map_err(|error| format!("{}: {error}", E::TYPE))
}
