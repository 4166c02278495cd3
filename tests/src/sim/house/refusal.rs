//! Refusals, each held against the command and the property as they were: no command is refused for
//! what is not so.
//!
//! Every rule has its own arm in [`Case::holds`], so that a new rule does not compile without one.

use std::collections::{BTreeMap, BTreeSet};

use bellhop_core::avro::{Avro, Reader};
use bellhop_core::message::{Message, Timestamp};
use bellhop_schemas::command::{
    Acceptance, Assignment, CancelReservation, CheckIn, CheckOut, CreateReservation, DefineProduct,
    DefineProperty, MarkNoShow, MoveReservation, SetOverbooking, SetPhysicalCount,
};
use bellhop_schemas::country::is_country;
use bellhop_schemas::event::ReservationCreated;
use bellhop_schemas::ids::{ExternalRef, ProductCode, PropertyId, ReservationId};
use bellhop_schemas::money::Currency;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Alternative, Reason, Rule};
use bellhop_schemas::stay::{Line, PricedBy, RequestedLine};

use super::stays::{Memory, Stage};
use super::{House, Place, Unit, with_days};

/// What a command asked for, as far as refusals are about it.
#[derive(Debug)]
pub enum Asked {
    /// A property.
    Property(DefineProperty),
    /// A product.
    Product(DefineProduct),
    /// Another supply of some nights.
    Supply(Supply),
    /// A booking.
    Create(CreateReservation),
    /// A step of a reservation.
    Step(StepAsked),
}

/// A change of physical counts or allowances.
#[derive(Debug)]
pub struct Supply {
    property_id: PropertyId,
    product: Unit,
    nights: (Option<Night>, Option<Night>),
    count: i32,
    least: i32,
}

/// A command about a reservation.
#[derive(Debug)]
pub struct StepAsked {
    property_id: PropertyId,
    reservation_id: Option<ReservationId>,
    external_ref: Option<ExternalRef>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Cancel { cause: usize },
    CheckIn(Vec<Assignment>),
    CheckOut,
    Move(Vec<Assignment>),
    NoShow,
}

impl Asked {
    /// Of a command's name and body; `None` for one that is not of hotels.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn of(name: &str, body: &[u8]) -> Result<Option<Self>, String> {
        fn read<C: Message>(body: &[u8]) -> Result<C, String> {
            <C as Avro>::decode(&mut Reader::new(body))
                .map_err(|error| format!("{}: {error}", C::TYPE))
        }
        let step = |property_id, reservation_id, external_ref, step| {
            Self::Step(StepAsked { property_id, reservation_id, external_ref, step })
        };
        Ok(Some(match name {
            DefineProperty::NAME => Self::Property(read(body)?),
            DefineProduct::NAME => Self::Product(read(body)?),
            CreateReservation::NAME => Self::Create(read(body)?),
            SetPhysicalCount::NAME => {
                let it: SetPhysicalCount = read(body)?;
                let (nights, least) = ((it.first_night, it.last_night), 0);
                let (property_id, product, count) = (it.property_id, it.product, it.count);
                Self::Supply(Supply { property_id, product, nights, count, least })
            }
            SetOverbooking::NAME => {
                let it: SetOverbooking = read(body)?;
                let (nights, least) = ((it.first_night, it.last_night), -30_000);
                let (property_id, product, count) = (it.property_id, it.product, it.allowance);
                Self::Supply(Supply { property_id, product, nights, count, least })
            }
            CancelReservation::NAME => {
                let it: CancelReservation = read(body)?;
                let cause = it.cause.map_or(0, |cause| cause.len());
                step(it.property_id, it.reservation_id, it.external_ref, Step::Cancel { cause })
            }
            CheckIn::NAME => {
                let it: CheckIn = read(body)?;
                let asked = Step::CheckIn(it.assignments);
                step(it.property_id, it.reservation_id, it.external_ref, asked)
            }
            CheckOut::NAME => {
                let it: CheckOut = read(body)?;
                step(it.property_id, it.reservation_id, it.external_ref, Step::CheckOut)
            }
            MoveReservation::NAME => {
                let it: MoveReservation = read(body)?;
                let asked = Step::Move(it.assignments);
                step(it.property_id, it.reservation_id, it.external_ref, asked)
            }
            MarkNoShow::NAME => {
                let it: MarkNoShow = read(body)?;
                step(it.property_id, it.reservation_id, it.external_ref, Step::NoShow)
            }
            _ => return Ok(None),
        }))
    }

    /// The property that it is about.
    #[must_use]
    pub fn property_id(&self) -> PropertyId {
        match self {
            Self::Property(it) => it.property_id,
            Self::Product(it) => it.property_id,
            Self::Supply(it) => it.property_id,
            Self::Create(it) => it.property_id,
            Self::Step(it) => it.property_id,
        }
    }

    /// # Errors
    /// How a booking differs from this command.
    pub fn check_booked(&self, event: &ReservationCreated) -> Result<(), String> {
        let line = |line: &Line| {
            let Line { product, units, arrival, departure, adults, child_ages, .. } = line.clone();
            let (dimensions, currency, priced_by) =
                (line.dimensions.clone(), line.currency, line.priced_by);
            RequestedLine {
                product,
                units: units.into(),
                arrival,
                departure,
                adults: adults.into(),
                child_ages,
                dimensions,
                currency,
                priced_by,
                nights: line.nights.iter().map(|at| at.price).collect(),
                day_use: line.day_use,
            }
        };
        let booked = CreateReservation {
            property_id: event.property_id,
            reservation_id: event.reservation_id,
            // Null means now.
            booked_at: self.create().and_then(|it| it.booked_at).map(|_| event.booked_at),
            guest_ref: event.guest_ref.clone(),
            country: event.country.clone(),
            external_refs: event.external_refs.clone(),
            lines: event.lines.iter().map(line).collect(),
            acceptance: event.acceptance,
        };
        if self.create() == Some(&booked) {
            return Ok(());
        }
        Err(format!("{booked:?} is not what was asked for: {self:?}"))
    }

    fn lines(&self) -> &[RequestedLine] {
        match self {
            Self::Create(it) => &it.lines,
            Self::Property(_) | Self::Product(_) | Self::Supply(_) | Self::Step(_) => &[],
        }
    }

    fn assignments(&self) -> &[Assignment] {
        match self {
            Self::Step(StepAsked { step: Step::CheckIn(asked) | Step::Move(asked), .. }) => asked,
            Self::Step(StepAsked {
                step: Step::Cancel { .. } | Step::CheckOut | Step::NoShow,
                ..
            })
            | Self::Property(_)
            | Self::Product(_)
            | Self::Supply(_)
            | Self::Create(_) => &[],
        }
    }

    fn create(&self) -> Option<&CreateReservation> {
        match self {
            Self::Create(it) => Some(it),
            Self::Property(_) | Self::Product(_) | Self::Supply(_) | Self::Step(_) => None,
        }
    }

    fn step(&self) -> Option<&StepAsked> {
        match self {
            Self::Step(it) => Some(it),
            Self::Property(_) | Self::Product(_) | Self::Supply(_) | Self::Create(_) => None,
        }
    }

    fn supply(&self) -> Option<&Supply> {
        match self {
            Self::Supply(it) => Some(it),
            Self::Property(_) | Self::Product(_) | Self::Create(_) | Self::Step(_) => None,
        }
    }

    /// Bytes of each text that has a bound.
    fn texts(&self) -> Vec<usize> {
        match self {
            Self::Product(it) => vec![it.name.len()],
            Self::Create(it) => {
                let refs = it.external_refs.iter().flat_map(|it| [it.system.len(), it.id.len()]);
                let own = it.country.iter().chain(&it.guest_ref).map(|text| text.len());
                let dimensions = it.lines.iter().filter_map(|line| line.dimensions.longest());
                refs.chain(own).chain(dimensions.map(str::len)).collect()
            }
            Self::Step(StepAsked { step: Step::Cancel { cause }, .. }) => vec![*cause],
            Self::Step(StepAsked {
                step: Step::CheckIn(_) | Step::CheckOut | Step::Move(_) | Step::NoShow,
                ..
            })
            | Self::Property(_)
            | Self::Supply(_) => Vec::new(),
        }
    }

    /// The products that it names.
    fn products(&self) -> Vec<&ProductCode> {
        let lines = self.lines().iter().map(|line| &line.product);
        let assigned = self.assignments().iter().map(|it| &it.product);
        let supply = self.supply().and_then(|it| it.product.as_ref());
        lines.chain(assigned).chain(supply).collect()
    }
}

/// A command that was refused, and what there was.
pub(super) struct Case<'a> {
    pub(super) asked: &'a Asked,
    /// `None` for a property that is not defined.
    pub(super) house: Option<&'a House>,
    pub(super) business_date: Option<Night>,
    pub(super) now: Timestamp,
    pub(super) retention_days: i32,
}

impl Case<'_> {
    /// # Errors
    /// Which reason does not hold, or which alternative cannot be had.
    pub(super) fn check(
        &self,
        reasons: &[Reason],
        alternatives: &[Alternative],
    ) -> Result<(), String> {
        if reasons.is_empty() {
            return Err(format!("{:?} was refused without a reason", self.asked));
        }
        for reason in reasons {
            if !self.holds(reason) {
                let asked = self.asked;
                return Err(format!("{asked:?} was refused, but {reason:?} is not so"));
            }
        }
        let of_room = |rule| matches!(rule, Rule::SoldOut | Rule::HouseFull | Rule::DayUseFull);
        let (found, wanted) = (reasons.len(), self.short().len());
        if reasons.iter().any(|reason| of_room(reason.rule)) && found != wanted {
            return Err(format!("{wanted} nights are short, named are {found}: {reasons:?}"));
        }
        alternatives.iter().try_for_each(|offered| self.check_offer(offered))
    }

    fn holds(&self, reason: &Reason) -> bool {
        let (asked, lines) = (self.asked, self.asked.lines());
        let step = asked.step();
        match reason.rule {
            Rule::UnknownProperty => self.house.is_none(),
            Rule::PropertyExists => self.house.is_some() && matches!(asked, Asked::Property(_)),
            Rule::BadCode => match asked {
                Asked::Property(it) => !(1..=64).contains(&it.code.len()),
                Asked::Product(it) => !(1..=16).contains(&it.product.as_str().len()),
                Asked::Supply(_) | Asked::Create(_) | Asked::Step(_) => false,
            },
            Rule::UnknownTimeZone => self.property(|it| super::zone(&it.time_zone).is_none()),
            Rule::BadRollHour => self.property(|it| !(0..=12).contains(&it.roll_hour)),
            Rule::UnknownCurrency => self.property(|it| it.currency != Currency::EUR),
            Rule::BadNoShowHour => {
                self.property(|it| it.no_show_hour.is_some_and(|hour| !(0..24).contains(&hour)))
            }
            Rule::BadCount => match asked {
                Asked::Property(it) => !(0..=30_000).contains(&it.physical),
                Asked::Product(it) => !(0..=30_000).contains(&it.physical),
                Asked::Supply(it) => !(it.least..=30_000).contains(&it.count),
                Asked::Create(_) | Asked::Step(_) => false,
            },
            Rule::UnknownProduct => {
                let missing = |code: &&ProductCode| !self.has(code);
                asked.products().iter().any(missing)
            }
            Rule::ProductExists => match asked {
                Asked::Product(it) => self.has(&it.product),
                Asked::Property(_) | Asked::Supply(_) | Asked::Create(_) | Asked::Step(_) => false,
            },
            Rule::BadRange => {
                let range = asked.supply().map(|it| it.nights);
                matches!(range, Some((Some(first), Some(last))) if first > last)
            }
            Rule::NightInPast => self.nights().into_iter().any(|night| night < self.first_night()),
            Rule::BeyondHorizon => {
                self.nights().into_iter().any(|night| self.today().until(night) > 1_827)
            }
            Rule::ReservationExists => {
                asked.create().is_some_and(|it| self.memory(it.reservation_id) == Memory::Whole)
            }
            Rule::ExternalRefInUse => asked.create().is_some_and(|it| {
                let refs = &it.external_refs;
                let holder = refs.iter().find_map(|one| self.by_ref(one));
                let twice = (1..refs.len()).any(|at| refs[..at].contains(&refs[at]));
                reason.reservation_id == holder && (holder.is_some() || twice)
            }),
            Rule::UnknownReservation => step.is_some_and(|it| {
                let named = it.reservation_id.map(|id| self.memory(id));
                let is_named = it.reservation_id.is_some() || it.external_ref.is_some();
                is_named
                    && self.meant(it).is_none()
                    && !self.disagrees(it)
                    && !matches!(named, Some(Memory::LastDay(_)))
            }),
            Rule::ReservationNotNamed => {
                step.is_some_and(|it| it.reservation_id.is_none() && it.external_ref.is_none())
            }
            Rule::NamesDisagree => step.is_some_and(|it| {
                let holder = it.external_ref.as_ref().and_then(|one| self.by_ref(one));
                self.disagrees(it) && reason.reservation_id == holder
            }),
            Rule::UnknownCountry => {
                self.is_request()
                    && asked.create().is_some_and(|it| {
                        it.country.as_ref().is_some_and(|country| !is_country(country))
                    })
            }
            Rule::TooManyGuests => {
                let crowded = |line: &RequestedLine| {
                    let most = self.house.and_then(|it| it.occupancy.get(&line.product).copied());
                    let people = i64::from(line.adults) + line.child_ages.len() as i64;
                    most.is_some_and(|most| people > i64::from(most) * i64::from(line.units))
                };
                self.is_request() && lines.iter().any(crowded)
            }
            // They only warn.
            Rule::NoAdults | Rule::LargeHouse | Rule::MoreThanHouse => false,
            Rule::Finished => {
                let created = asked.create().map(|it| it.reservation_id);
                let id = step.map_or(created, |it| it.reservation_id);
                id.is_some_and(|id| reason.night.map(Memory::LastDay) == Some(self.memory(id)))
            }
            Rule::BadLines => match asked {
                Asked::Create(it) => !(1..=100).contains(&it.lines.len()),
                Asked::Step(it) => {
                    let given = asked.assignments();
                    let twice = |at: usize| given[..at].iter().any(|it| it.line == given[at].line);
                    given.is_empty() && matches!(it.step, Step::Move(_))
                        || (0..given.len()).any(twice)
                }
                Asked::Property(_) | Asked::Product(_) | Asked::Supply(_) => false,
            },
            Rule::UnknownLine => {
                let known = |number: u16| {
                    let lines = self.meant_lines();
                    lines.into_iter().any(|line| line == number)
                };
                asked.assignments().iter().any(|it| !known(it.line))
            }
            Rule::BadUnits => lines.iter().any(|line| !(1..=1_000).contains(&line.units)),
            Rule::BadGuests => match asked {
                Asked::Product(it) => {
                    it.occupancy_max.is_some_and(|most| !(1..=10_000).contains(&most))
                }
                Asked::Create(it) => {
                    let ages = it.lines.iter().flat_map(|line| line.child_ages.iter().flatten());
                    it.lines.iter().any(|line| !(0..=10_000).contains(&line.adults))
                        || ages.clone().any(|age| !(0..=120).contains(age))
                        || it.lines.iter().map(|line| line.child_ages.len()).sum::<usize>() > 10_000
                }
                Asked::Property(_) | Asked::Supply(_) | Asked::Step(_) => false,
            },
            Rule::DepartureBeforeArrival => lines.iter().any(|line| line.departure < line.arrival),
            Rule::StayTooLong => lines.iter().any(|line| line.arrival.until(line.departure) > 400),
            Rule::TooManyNights => {
                let nights = lines.iter().map(|line| line.arrival.until(line.departure));
                nights.map(|nights| nights.clamp(0, 400)).sum::<i32>() > 3_000
            }
            Rule::TextTooLong => asked.texts().into_iter().any(|bytes| bytes > 128),
            Rule::TooManyRefs => asked.create().is_some_and(|it| it.external_refs.len() > 20),
            Rule::PricesMismatch => lines.iter().any(|line| {
                let nights = line.arrival.until(line.departure);
                line.nights.len() as i64 != i64::from(nights)
                    || nights > 0 && line.day_use.is_some()
            }),
            Rule::NegativePrice => prices(lines).any(|(_, amount)| amount < 0),
            Rule::PriceOverflow => {
                let total = prices(lines).map(|(units, amount)| units * amount).sum::<i128>();
                total > 1_000_000_000_000_000
            }
            Rule::WrongCurrency => lines.iter().any(|line| line.currency != Currency::EUR),
            Rule::NoRate => lines.iter().any(|line| line.priced_by == PricedBy::Engine),
            Rule::SoldOut | Rule::HouseFull | Rule::DayUseFull => {
                let of_rule = reason.rule == Rule::DayUseFull
                    || reason.product.is_some() == (reason.rule == Rule::SoldOut);
                let Some(night) = reason.night else { return false };
                let place = (reason.product.clone(), night, reason.rule == Rule::DayUseFull);
                let numbers = reason.asked.zip(reason.allowed);
                of_rule && numbers.is_some() && self.short().get(&place).copied() == numbers
            }
            Rule::WrongState => step.is_some_and(|it| {
                let stage = self.meant(it).map(|(_, stage)| stage);
                stage.is_some_and(|stage| !can_take(stage, &it.step))
            }),
            Rule::BeforeArrival => self.stay(|arrival, _| self.today().until(arrival) > 7),
            Rule::AfterDeparture => {
                self.stay(|arrival, departure| self.today() > arrival && self.today() >= departure)
            }
            Rule::NoShowTooEarly => self.stay(|arrival, _| {
                let hour = self.house.and_then(|house| house.no_show_hour);
                let hours = self.house.map_or(0, |house| house.hours_since(arrival, self.now));
                self.today() <= arrival && hour.is_none_or(|hour| hours < i64::from(hour))
            }),
        }
    }

    fn today(&self) -> Night {
        self.business_date.unwrap_or(Night(i32::MIN))
    }

    fn property(&self, holds: impl FnOnce(&DefineProperty) -> bool) -> bool {
        match self.asked {
            Asked::Property(it) => holds(it),
            Asked::Product(_) | Asked::Supply(_) | Asked::Create(_) | Asked::Step(_) => false,
        }
    }

    fn has(&self, product: &ProductCode) -> bool {
        self.house.is_some_and(|house| house.units.contains_key(&Some(product.clone())))
    }

    /// The nights that decide whether it is too early or too late for them.
    fn nights(&self) -> Vec<Night> {
        let lines = self.asked.lines().iter();
        let lines = lines.flat_map(|it| [it.arrival, it.departure.plus(-1).max(it.arrival)]);
        let (first, last) = self.asked.supply().map_or((None, None), |it| it.nights);
        lines.chain(first).chain(last).collect()
    }

    /// The first night that can be asked for.
    fn first_night(&self) -> Night {
        let is_fact = |it: &CreateReservation| it.acceptance == Acceptance::AlreadySold;
        if self.asked.create().is_some_and(is_fact) {
            return self.today().plus(-self.retention_days);
        }
        self.today()
    }

    fn memory(&self, id: ReservationId) -> Memory {
        let house = self.house.map(|house| &house.stays);
        house.map_or(Memory::Nothing, |it| it.memory(id, self.today(), self.retention_days))
    }

    fn by_ref(&self, wanted: &ExternalRef) -> Option<ReservationId> {
        self.house?.stays.by_ref(wanted, self.today(), self.retention_days)
    }

    fn is_request(&self) -> bool {
        self.asked.create().is_some_and(|it| it.acceptance == Acceptance::Request)
    }

    /// Whether the two names of a command are those of two reservations.
    fn disagrees(&self, asked: &StepAsked) -> bool {
        let holder = asked.external_ref.as_ref().and_then(|one| self.by_ref(one));
        holder.zip(asked.reservation_id).is_some_and(|(holder, named)| holder != named)
    }

    /// The reservation that is meant, if all of it is known.
    fn meant(&self, asked: &StepAsked) -> Option<(ReservationId, Stage)> {
        let id = match &asked.external_ref {
            None => asked.reservation_id?,
            Some(one) => {
                let meant = self.by_ref(one)?;
                asked.reservation_id.is_none_or(|id| id == meant).then_some(meant)?
            }
        };
        let stay = self.house?.stays.get(id)?;
        (self.memory(id) == Memory::Whole).then_some((id, stay.stage))
    }

    fn meant_lines(&self) -> Vec<u16> {
        let meant = self.asked.step().and_then(|it| self.meant(it));
        let stay = meant.and_then(|(id, _)| self.house?.stays.get(id));
        stay.map(|stay| stay.lines.iter().map(|line| line.number).collect()).unwrap_or_default()
    }

    fn stay(&self, holds: impl FnOnce(Night, Night) -> bool) -> bool {
        let meant = self.asked.step().and_then(|it| self.meant(it));
        let stay = meant.and_then(|(id, _)| self.house?.stays.get(id));
        stay.is_some_and(|stay| holds(stay.arrival, stay.departure))
    }

    fn short(&self) -> BTreeMap<Place, (i64, i64)> {
        self.house.map_or_else(BTreeMap::new, |house| short(house, self.asked.lines()))
    }

    /// What is offered instead can be had.
    fn check_offer(&self, offered: &Alternative) -> Result<(), String> {
        let Alternative { product, arrival, departure } = offered;
        let units = self.asked.lines().iter().map(|line| line.units).sum::<i32>();
        let Some(house) = self.house.filter(|_| self.has(product)) else {
            return Err(format!("{offered:?} is of no product"));
        };
        let mut line = self.asked.lines().first().cloned().ok_or("an offer of nothing")?;
        (line.product, line.arrival, line.departure) = (product.clone(), *arrival, *departure);
        line.units = units;
        let short = short(house, &[line]);
        if *arrival < self.today() || !short.is_empty() {
            return Err(format!("{offered:?} is offered for {units}, short are {short:?}"));
        }
        Ok(())
    }
}

/// The places that cannot take a request, each with the units asked for and those left.
fn short(house: &House, lines: &[RequestedLine]) -> BTreeMap<Place, (i64, i64)> {
    let mut asked = BTreeMap::<Place, i64>::new();
    for line in lines {
        let units = i64::from(line.units);
        for unit in house.units_of(&line.product) {
            if line.arrival == line.departure {
                *asked.entry((unit.clone(), line.arrival, true)).or_default() += units;
            }
            for night in line.arrival.nights_to(line.departure) {
                *asked.entry((unit.clone(), night, false)).or_default() += units;
            }
        }
    }
    let places: BTreeSet<_> = asked.keys().cloned().flat_map(with_days).collect();
    let counted = places.into_iter().filter_map(|place| {
        let units =
            |night, day_use| asked.get(&(place.0.clone(), night, day_use)).copied().unwrap_or(0);
        let (_, night, day_use) = place;
        if !day_use {
            let left = i64::from(house.left(&place)).max(0);
            return (units(night, false) > left)
                .then_some((place.clone(), (units(night, false), left)));
        }
        let nights = (units(night.plus(-1), false), units(night, false));
        let used = units(night, true);
        let (before, after) = house.day_left(&place.0, night, nights, used);
        (after < 0 && after < before).then_some((place, (before - after, before.max(0))))
    });
    counted.collect()
}

/// Whether a step can be taken at a stage.
fn can_take(stage: Stage, step: &Step) -> bool {
    match step {
        Step::Cancel { .. } | Step::NoShow => stage == Stage::Booked,
        Step::CheckIn(_) => matches!(stage, Stage::Booked | Stage::NoShow),
        Step::CheckOut => stage == Stage::InHouse,
        Step::Move(_) => matches!(stage, Stage::Booked | Stage::InHouse),
    }
}

/// Units and amount of every price.
fn prices(lines: &[RequestedLine]) -> impl Iterator<Item = (i128, i128)> {
    lines.iter().flat_map(|line| {
        let units = i128::from(line.units);
        let prices = line.nights.iter().chain(&line.day_use);
        let amounts = prices.flat_map(|price| [price.room, price.tax, price.extras]);
        amounts.map(move |amount| (units, i128::from(amount.0)))
    })
}
