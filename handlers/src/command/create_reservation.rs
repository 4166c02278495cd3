//! A stay is booked, or refused with every night that stands in its way.

use bellhop_core::prelude::*;
use bellhop_schemas::command::{Acceptance, CreateReservation};
use bellhop_schemas::country::{find_country, is_country};
use bellhop_schemas::event::{ReservationCreated, ReservationRejected};
use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::reason::{Alternative, Reason, Rule};
use bellhop_schemas::stay::{Line, LineNight, RequestedLine};

use super::known::{Known, finished};
use super::requested_lines::{Found, Terms};
use super::{limits, supply};
use crate::rejection::{Refused, Rejection, because, beyond, instead};
use crate::state::external_ref::ExternalRefs;
use crate::state::inventory::{Demand, Inventory, ProductIndex, Shortage, Sum, Tally};
use crate::state::property::Property;
use crate::state::reservation::Reservation;
use crate::state::retention::{Keeping, Retained};

/// Alternatives that one refusal offers.
const ALTERNATIVES_MAX: usize = 3;
/// Nights by which an alternative arrives earlier or later.
const SHIFT_NIGHTS_MAX: i32 = 14;
/// Other products that are tried.
const OTHER_PRODUCTS_MAX: usize = 100;

/// Books a stay if every night of every line can take it, in the product and in the house.
///
/// A day use (departure on the day of arrival) takes no night, but a unit that nobody occupies over
/// that day; a stay leaves the day uses of its days the units that they need. What was sold elsewhere
/// already is a fact: no lack of units refuses it, its nights may have passed for as long as nights are
/// counted, and those that it oversells are listed.
///
/// # Rejections, in order
/// `UnknownProperty` alone. Then every fault of the command, at most 100: `ReservationExists` or
/// `Finished` (of that id), `TextTooLong` (country, guest), `UnknownCountry`, `TooManyRefs`,
/// `TextTooLong` (external references), `ExternalRefInUse`, `BadLines`, `TooManyNights`; for each
/// line `BadUnits`, `BadGuests`, `TextTooLong` (dimensions), `DepartureBeforeArrival`,
/// `StayTooLong`, `NightInPast`, `BeyondHorizon`, `UnknownProduct`, `TooManyGuests`,
/// `WrongCurrency`, `NoRate`, `PricesMismatch`, `NegativePrice`, `PriceOverflow`. Where there is
/// none, `SoldOut` and `DayUseFull` for every night and day of every product, and `HouseFull` and
/// `DayUseFull` for every one of the house, that cannot take all lines together.
///
/// # Warnings
/// `NoAdults`; of what was sold elsewhere `UnknownCountry` and `TooManyGuests`.
#[handler]
pub fn create_reservation(
    command: CreateReservation,
    properties: &Store<Property>,
    inventories: &Store<Inventory>,
    reservations: &Store<Reservation>,
    external_refs: &Store<ExternalRefs>,
    cx: &Context,
) -> Result<ReservationCreated, Rejection> {
    let CreateReservation { property_id, reservation_id, external_refs: refs, lines, .. } = command;
    let property = properties.get(&property_id).ok_or_else(supply::unknown_property)?;
    let inventory = inventories.get(&property_id).ok_or_else(supply::unknown_property)?;
    let business_date = property.business_date(cx.now);
    let acceptance = command.acceptance;

    let mut found = Found::of(acceptance);
    let faults = &mut found.faults;
    let keeping = Keeping::on(business_date, cx.rules);
    let known = Known { property_id, reservations, external_refs, keeping };
    match known.retained(reservation_id) {
        Retained::Whole => faults.add("reservation_id", because(Rule::ReservationExists)),
        Retained::Finished(last_day) => faults.add("reservation_id", finished(last_day)),
        Retained::Nothing => {}
    }
    if let Some(country) = &command.country {
        limits::check_text("country", country, faults);
    }
    if let Some(guest_ref) = &command.guest_ref {
        limits::check_text("guest_ref", guest_ref, faults);
    }
    if let Some(country) = &command.country {
        check_country(country, &mut found);
    }
    limits::check_refs(&refs, &mut found.faults);
    known.check_new(&refs, &mut found.faults);
    let first_night = match acceptance {
        Acceptance::Request => business_date,
        Acceptance::AlreadySold => inventory.first_night(keeping),
    };
    let terms = Terms { property, inventory, business_date, first_night };
    let demands = terms.check(&lines, &mut found);
    found.faults.refuse(Some(business_date))?;

    let shortages = match acceptance {
        Acceptance::Request => inventory.shortages(&demands),
        Acceptance::AlreadySold => Vec::new(),
    };
    if !shortages.is_empty() {
        let alternatives = terms.alternatives(&demands, &lines);
        let reasons = shortages.iter().map(|short| reason(short, inventory));
        return Err(Rejection {
            business_date: Some(business_date),
            reservation_id: Some(reservation_id),
            country: command.country,
            reasons: reasons.collect(),
            alternatives,
        });
    }
    let lines: Vec<_> =
        lines.into_iter().zip(1..).map(|(line, number)| decided(number, line)).collect();
    let oversold = match acceptance {
        Acceptance::Request => Vec::new(),
        Acceptance::AlreadySold => {
            inventory.oversold_by(Tally::of(inventory, &lines), &Sum::default())
        }
    };
    Ok(ReservationCreated {
        property_id,
        business_date,
        reservation_id,
        confirmation_number: property.next_confirmation(business_date),
        booked_at: command.booked_at.unwrap_or(cx.now),
        guest_ref: command.guest_ref,
        country: command.country,
        external_refs: refs,
        lines,
        acceptance,
        oversold,
        warnings: found.warnings.into_reasons(),
    })
}

fn check_country(country: &str, found: &mut Found) {
    if !is_country(country) {
        let wanted = find_country(country).unwrap_or_default();
        let reason = instead(Rule::UnknownCountry, country, wanted);
        found.of_requests().add("country", reason);
    }
}

impl Terms<'_> {
    /// The nearest stays that could be had instead: other days of arrival, then other products of
    /// the same kind that take as many people and count alike in the house's statistics.
    ///
    /// Only where all lines ask for one product on the same nights: nobody knows which part of
    /// another request may be moved.
    fn alternatives(&self, demands: &[Demand], lines: &[RequestedLine]) -> Vec<Alternative> {
        let Some((first, others)) = demands.split_first() else { return Vec::new() };
        let Demand { product, arrival, departure, .. } = *first;
        let alike = |other: &Demand| {
            (other.product, other.arrival, other.departure) == (product, arrival, departure)
        };
        if !others.iter().all(alike) {
            return Vec::new();
        }
        let units = demands.iter().map(|demand| demand.units).sum();
        let wanted = Demand { units, ..*first };

        let shifts = (1..=SHIFT_NIGHTS_MAX).flat_map(|nights| [-nights, nights]);
        let dates = shifts.map(|nights| Demand {
            arrival: arrival.plus(nights),
            departure: departure.plus(nights),
            ..wanted
        });
        let bookable = |demand: &Demand| {
            demand.arrival >= self.business_date && demand.departure.plus(-1) <= self.horizon()
        };
        let asked = self.inventory.at(product);
        // In the fullest unit, where each line spreads its people evenly.
        let people = lines.iter().map(|line| {
            let people = line.adults.unsigned_abs() as usize + line.child_ages.len();
            people.div_ceil(line.units.unsigned_abs().max(1) as usize)
        });
        let people = people.max().unwrap_or_default();
        let fits = |index: &ProductIndex| {
            let other = self.inventory.at(*index);
            let room = other.occupancy_max.is_none_or(|most| usize::from(most) >= people);
            *index != product
                && room
                && (other.kind, other.statistics) == (asked.kind, asked.statistics)
        };
        let products = self.inventory.indices().filter(fits);
        let products = products.take(OTHER_PRODUCTS_MAX);
        let products = products.map(|product| Demand { product, ..wanted });
        let free = dates.filter(bookable).chain(products);
        let free = free.filter(|demand| self.inventory.can_take(demand));
        let free = free.map(|demand| Alternative {
            product: self.inventory.at(demand.product).code.clone(),
            arrival: demand.arrival,
            departure: demand.departure,
        });
        free.take(ALTERNATIVES_MAX).collect()
    }
}

fn reason(shortage: &Shortage, inventory: &Inventory) -> Reason {
    let Shortage { product, night, day_use, asked, allowed } = *shortage;
    let rule = match product {
        _ if day_use => Rule::DayUseFull,
        Some(_) => Rule::SoldOut,
        None => Rule::HouseFull,
    };
    let code = |index| -> ProductCode { inventory.at(index).code.clone() };
    Reason { product: product.map(code), night: Some(night), ..beyond(rule, asked, allowed) }
}

/// A line as it is booked: in the product sold.
fn decided(number: u16, line: RequestedLine) -> Line {
    let nights = line.arrival.nights_to(line.departure).zip(line.nights);
    let nights = nights.map(|(night, price)| LineNight { night, held: None, price });
    Line {
        number,
        nights: nights.collect(),
        product: line.product,
        // The checks let none through that does not fit.
        units: line.units as u16,
        adults: line.adults as u16,
        arrival: line.arrival,
        departure: line.departure,
        child_ages: line.child_ages,
        dimensions: line.dimensions,
        currency: line.currency,
        priced_by: line.priced_by,
        day_use: line.day_use,
    }
}

impl Refused for CreateReservation {
    type Rejected = ReservationRejected;

    fn rejected(&self, rejection: Rejection) -> ReservationRejected {
        ReservationRejected {
            property_id: self.property_id,
            business_date: rejection.business_date,
            command: Self::TYPE.into(),
            reservation_id: Some(self.reservation_id),
            country: self.country.clone(),
            asked: self.lines.clone(),
            reasons: rejection.reasons,
            alternatives: rejection.alternatives,
        }
    }
}

#[cfg(test)]
mod tests {
    use bellhop_core::driver::Driver;
    use bellhop_core::outcome::Outcome;
    use bellhop_schemas::command::{DefineProduct, SetPhysicalCount};
    use bellhop_schemas::dimensions::Texts;
    use bellhop_schemas::money::Minor;
    use bellhop_schemas::night::Night;
    use bellhop_schemas::stay::{Price, PricedBy};

    use super::super::requested_lines::AMOUNT_MAX;
    use super::*;
    use crate::fixtures::*;

    /// What is left of the reasons when their rule goes without saying.
    fn nights_of(sent: &bellhop_core::driver::Sent) -> Vec<(Rule, i32, i64, i64)> {
        let numbers = |reason: Reason| {
            let night = reason.night.map_or(i32::MIN, |night| TODAY.until(night));
            (reason.rule, night, reason.asked.unwrap_or(-1), reason.allowed.unwrap_or(-1))
        };
        reasons(sent).into_iter().map(numbers).collect()
    }

    fn offered(sent: &bellhop_core::driver::Sent) -> Vec<(String, i32, i32)> {
        let rejected: ReservationRejected = sent.only();
        let alternative = |one: &Alternative| {
            let nights = one.arrival.until(one.departure);
            (one.product.to_string(), TODAY.until(one.arrival), nights)
        };
        rejected.alternatives.iter().map(alternative).collect()
    }

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 5, 1)]));
        accept(
            &mut driver,
            &SetPhysicalCount {
                property_id: HOTEL,
                product: None,
                first_night: Some(TODAY),
                last_night: Some(TODAY.plus(3)),
                count: 7,
            },
        );
        let occupancy_max = Some(1);
        accept(&mut driver, &DefineProduct { occupancy_max, ..define("ONE", 2, true) });
        let sound = create(2, vec![line("DBL", 2, 1, 2)]);
        let sent = hold_to_table(
            &mut driver,
            &sound,
            &[
                (Rule::UnknownProperty, |it| it.property_id = NOWHERE),
                (Rule::ReservationExists, |it| it.reservation_id = id(1)),
                (Rule::TextTooLong, |it| it.guest_ref = Some("x".repeat(129).into())),
                (Rule::UnknownCountry, |it| it.country = Some("Japan".into())),
                (Rule::TooManyRefs, |it| it.external_refs = vec![pms("1"); 21]),
                (Rule::TextTooLong, |it| it.external_refs = vec![pms(&"x".repeat(129))]),
                (Rule::ExternalRefInUse, |it| it.external_refs = vec![pms("3"), pms("1")]),
                (Rule::BadLines, |it| it.lines.clear()),
                (Rule::TooManyNights, |it| {
                    it.lines[0].departure = it.lines[0].arrival.plus(401);
                    it.lines = vec![it.lines[0].clone(); 8];
                }),
                (Rule::BadUnits, |it| it.lines[0].units = 0),
                (Rule::BadGuests, |it| it.lines[0].adults = -1),
                (Rule::TextTooLong, |it| {
                    let segment = Some("x".repeat(129));
                    it.lines[0].dimensions = Texts { segment, ..Texts::default() }.into();
                }),
                (Rule::DepartureBeforeArrival, |it| {
                    it.lines[0].departure = it.lines[0].arrival.plus(-1);
                }),
                (Rule::StayTooLong, |it| it.lines[0].departure = it.lines[0].arrival.plus(401)),
                (Rule::NightInPast, |it| {
                    it.lines[0].arrival = TODAY.plus(-1);
                    it.lines[0].departure = TODAY.plus(1);
                }),
                (Rule::BeyondHorizon, |it| {
                    it.lines[0].arrival = TODAY.plus(1_827);
                    it.lines[0].departure = TODAY.plus(1_829);
                }),
                (Rule::UnknownProduct, |it| it.lines[0].product = code("SUI")),
                (Rule::TooManyGuests, |it| {
                    (it.lines[0].product, it.lines[0].adults) = (code("ONE"), 20);
                }),
                (Rule::WrongCurrency, |it| it.lines[0].currency = "JPY".parse().unwrap()),
                (Rule::NoRate, |it| it.lines[0].priced_by = PricedBy::Engine),
                (Rule::PricesMismatch, |it| it.lines[0].nights.push(Price::default())),
                (Rule::NegativePrice, |it| it.lines[0].nights[0].tax = Minor(-1)),
                (Rule::PriceOverflow, |it| it.lines[0].nights[1].room = Minor(i64::MAX)),
                (Rule::SoldOut, |it| it.lines[0].units = 9),
                (Rule::HouseFull, |it| it.lines[0].units = 8),
            ],
        );
        let created: ReservationCreated = sent.only();
        assert_eq!(created.business_date, TODAY);
        assert_eq!(created.confirmation_number, "RSV-2025-000002");
        assert_eq!(created.booked_at, noon(TODAY.plus(-30)));
        assert_eq!(nights(&created.lines[0]), [(1, "DBL"), (2, "DBL")]);
        assert_eq!(created.lines[0].child_ages, [Some(7), None]);
        assert_eq!(sold(&driver, Some("DBL")), [0, 2, 2, 0]);
        assert_eq!(sold(&driver, HOUSE), [0, 2, 2, 0]);
    }

    /// The rules with the fields that they are about.
    fn faults(sent: &bellhop_core::driver::Sent) -> Vec<(Rule, String)> {
        let path = |reason: &Reason| reason.path.as_deref().unwrap_or_default().to_owned();
        reasons(sent).iter().map(|reason| (reason.rule, path(reason))).collect()
    }

    #[test]
    fn every_fault_of_a_command_is_listed_with_its_field() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1)]));
        let mut command = create(1, vec![line("DBL", 1, 0, 1), line("SUI", 0, -1, 2)]);
        command.country = Some("Japan".into());
        command.external_refs = vec![pms("2"), pms("1"), pms("2"), pms(&"x".repeat(129))];
        let spoiled = &mut command.lines[1];
        spoiled.adults = -3;
        spoiled.child_ages = vec![Some(7), Some(121), None, Some(-1)];
        spoiled.currency = "JPY".parse().unwrap();
        spoiled.nights.push(Price { room: Minor(-1), tax: Minor(0), extras: Minor(-2) });
        let sent = driver.send(&command);
        let wanted = [
            (Rule::ReservationExists, "reservation_id"),
            (Rule::UnknownCountry, "country"),
            (Rule::TextTooLong, "external_refs[3].id"),
            (Rule::ExternalRefInUse, "external_refs[1]"),
            (Rule::ExternalRefInUse, "external_refs[2]"),
            (Rule::BadUnits, "lines[1].units"),
            (Rule::BadGuests, "lines[1].adults"),
            (Rule::BadGuests, "lines[1].child_ages[1]"),
            (Rule::BadGuests, "lines[1].child_ages[3]"),
            (Rule::NightInPast, "lines[1].arrival"),
            (Rule::UnknownProduct, "lines[1].product"),
            (Rule::WrongCurrency, "lines[1].currency"),
            (Rule::PricesMismatch, "lines[1].nights"),
            (Rule::NegativePrice, "lines[1].nights[2].room"),
            (Rule::NegativePrice, "lines[1].nights[2].extras"),
        ];
        assert_eq!(faults(&sent), wanted.map(|(rule, path)| (rule, path.to_owned())));
        let found = reasons(&sent).into_iter().map(|it| it.found.zip(it.wanted));
        let found: Vec<_> = found.flatten().collect();
        assert_eq!(found, [("JPY".into(), "EUR".into())]);
        let rejected: ReservationRejected = sent.only();
        assert_eq!(rejected.business_date, Some(TODAY));
        assert_eq!(rejected.command, "CreateReservation");
        assert_eq!(rejected.reservation_id, Some(id(1)));
        assert_eq!(rejected.asked.len(), 2);
    }

    #[test]
    fn a_stay_that_ends_before_it_begins_is_not_held_against_its_prices() {
        let mut driver = hotel();
        let mut backwards = line("DBL", 1, 3, 1);
        backwards.departure = backwards.arrival.plus(-2);
        let sent = driver.send(&create(1, vec![backwards]));
        assert_eq!(rules(&sent), [Rule::DepartureBeforeArrival]);
    }

    #[test]
    fn without_rates_the_engine_is_refused_and_its_prices_are_not_counted() {
        let mut driver = hotel();
        let asked = RequestedLine {
            priced_by: PricedBy::Engine,
            nights: Vec::new(),
            ..line("DBL", 1, 0, 2)
        };
        let sent = driver.send(&create(1, vec![asked]));
        assert_eq!(faults(&sent), [(Rule::NoRate, "lines[0].priced_by".to_owned())]);
    }

    #[test]
    fn a_hundred_faults_are_listed_and_no_more() {
        let mut driver = hotel();
        let ages = RequestedLine { child_ages: vec![Some(-1); 1_000], ..line("SUI", 0, 0, 1) };
        let sent = driver.send(&create(1, vec![ages; 101]));
        let rules = rules(&sent);
        assert_eq!((rules.len(), rules[0]), (100, Rule::BadLines));
    }

    #[test]
    fn what_is_odd_is_a_warning_and_does_not_refuse() {
        let mut driver = hotel();
        let children = RequestedLine { adults: 0, ..line("DBL", 1, 0, 1) };
        let sent = accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 1), children]));
        let created: ReservationCreated = sent.only();
        let [warning] = created.warnings.as_slice() else { panic!("one warning: {created:?}") };
        assert_eq!(warning.rule, Rule::NoAdults);
        assert_eq!(warning.path.as_deref(), Some("lines[1].adults"));
    }

    #[test]
    fn guests_fit_into_their_units_or_are_refused() {
        let mut driver = hotel();
        let occupancy_max = Some(3);
        accept(&mut driver, &DefineProduct { occupancy_max, ..define("TRP", 8, true) });
        let family = |units, adults, children| RequestedLine {
            adults,
            child_ages: vec![None; children],
            ..line("TRP", units, 0, 1)
        };
        let sent = driver.send(&create(1, vec![family(1, 3, 0), family(2, 4, 3)]));
        let [reason] = &reasons(&sent)[..] else { panic!("{sent:?}") };
        assert_eq!(
            (reason.rule, reason.asked, reason.allowed),
            (Rule::TooManyGuests, Some(7), Some(6))
        );
        assert_eq!(reason.path.as_deref(), Some("lines[1].adults"));
        accept(&mut driver, &create(1, vec![family(1, 3, 0), family(2, 4, 2)]));
        // A product that does not say takes any number.
        accept(&mut driver, &create(2, vec![RequestedLine { adults: 99, ..line("DBL", 1, 0, 1) }]));
    }

    #[test]
    fn what_was_sold_elsewhere_is_recorded_with_its_country_and_guests_as_warnings() {
        let mut driver = hotel();
        let occupancy_max = Some(2);
        accept(&mut driver, &DefineProduct { occupancy_max, ..define("TWO", 8, true) });
        let asked = CreateReservation {
            acceptance: Acceptance::AlreadySold,
            country: Some("CN".into()),
            ..create(1, vec![line("TWO", 1, 0, 1)])
        };
        let created: ReservationCreated = accept(&mut driver, &asked).only();
        assert_eq!(created.country.as_deref(), Some("CN"), "as it was said");
        let rules: Vec<_> = created.warnings.iter().map(|warning| warning.rule).collect();
        assert_eq!(rules, [Rule::UnknownCountry, Rule::TooManyGuests]);
        assert_eq!(created.warnings[0].wanted.as_deref(), Some("CHN"));
        let request =
            CreateReservation { acceptance: Acceptance::Request, ..create(2, asked.lines) };
        assert_eq!(self::rules(&driver.send(&request)), [Rule::TooManyGuests]);
    }

    #[test]
    fn every_night_that_refuses_is_listed_with_its_numbers() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 6, 1, 2)]));
        let sent = driver.send(&create(2, vec![line("DBL", 5, 0, 4)]));
        assert_eq!(
            nights_of(&sent),
            [
                (Rule::SoldOut, 1, 5, 2),
                (Rule::SoldOut, 2, 5, 2),
                (Rule::HouseFull, 1, 5, 4),
                (Rule::HouseFull, 2, 5, 4),
            ]
        );
        assert_eq!(sold(&driver, HOUSE), [0, 6, 6, 0], "all or nothing");
    }

    #[test]
    fn the_largest_request_is_refused_with_every_night() {
        let mut driver = hotel();
        let stretches = (0..100).map(|at| line("DBL", 11, (at % 60) * 30, 30));
        let sent = driver.send(&create(1, stretches.collect()));
        assert_eq!(reasons(&sent).len(), 2 * 1_800, "of the product and of the house");
    }

    #[test]
    fn what_was_sold_elsewhere_is_recorded_and_lists_what_it_oversells() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 7, 0, 2)]));
        let mut day_use = line("BED", 4, 1, 0);
        day_use.day_use = Some(Price::default());
        let sold_elsewhere = |number, lines| CreateReservation {
            acceptance: Acceptance::AlreadySold,
            ..create(number, lines)
        };
        let lines = vec![line("DBL", 4, -1, 3), day_use];
        let created: ReservationCreated = accept(&mut driver, &sold_elsewhere(2, lines)).only();
        assert_eq!(created.acceptance, Acceptance::AlreadySold);
        let mut listed = oversold(&created.oversold);
        assert_eq!(listed.pop(), Some((None, 1, 1)), "{created:?}");
        assert_eq!(
            listed,
            [(Some("DBL"), 0, 3), (Some("DBL"), 1, 3), (Some("BED"), 1, 1), (None, 0, 1)]
        );
        let days: Vec<_> = created.oversold.iter().map(|at| at.day_use).collect();
        assert_eq!(days, [false, false, true, false, false]);
        assert_eq!(sold(&driver, Some("DBL")), [11, 11, 0]);

        let far = sold_elsewhere(3, vec![line("DBL", 1, -401, 1)]);
        assert_eq!(rules(&driver.send(&far)), [Rule::NightInPast]);
        let unknown = sold_elsewhere(3, vec![line("SUI", 1, 0, 1)]);
        assert_eq!(rules(&driver.send(&unknown)), [Rule::UnknownProduct]);
    }

    #[test]
    fn the_lines_of_a_request_add_up() {
        let mut driver = hotel();
        let both = |units| create(1, vec![line("DBL", units, 0, 2), line("DBL", 4, 1, 2)]);
        let sent = driver.send(&both(5));
        assert_eq!(nights_of(&sent), [(Rule::SoldOut, 1, 9, 8)]);
        assert_eq!(offered(&sent), [], "which of the two lines would move?");
        accept(&mut driver, &both(4));
        assert_eq!(sold(&driver, Some("DBL")), [4, 8, 4]);
    }

    #[test]
    fn the_house_limits_products_that_add_up_to_more() {
        let mut driver = hotel();
        let lines = vec![line("DBL", 8, 0, 1), line("TWN", 4, 0, 1)];
        let sent = driver.send(&create(1, lines));
        assert_eq!(nights_of(&sent), [(Rule::HouseFull, 0, 12, 10)]);
    }

    #[test]
    fn a_product_without_statistics_takes_nothing_of_the_house() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 8, 0, 1), line("TWN", 2, 0, 1)]));
        accept(&mut driver, &create(2, vec![line("BED", 3, 0, 1)]));
        assert_eq!(sold(&driver, HOUSE), [10]);
        let sent = driver.send(&create(3, vec![line("BED", 1, 0, 1)]));
        assert_eq!(nights_of(&sent), [(Rule::SoldOut, 0, 1, 0)]);
    }

    #[test]
    fn the_nearest_dates_are_offered_then_other_products() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 8, 2, 3)]));
        let sent = driver.send(&create(2, vec![line("DBL", 1, 3, 1)]));
        let shifted = [(1, 1), (5, 1), (0, 1)];
        assert_eq!(offered(&sent), shifted.map(|(day, nights)| ("DBL".to_owned(), day, nights)));

        accept(&mut driver, &create(3, vec![line("DBL", 8, 0, 2)]));
        accept(&mut driver, &create(4, vec![line("DBL", 8, 5, 30)]));
        let sent = driver.send(&create(5, vec![line("DBL", 1, 3, 1), line("DBL", 1, 3, 1)]));
        let others = ["TWN"].map(|product| (product.to_owned(), 3, 1));
        assert_eq!(
            offered(&sent),
            others,
            "lines that are alike are moved together, BED is no room"
        );
    }

    #[test]
    fn only_products_that_take_the_guests_are_offered() {
        let mut driver = hotel();
        for (product, people) in [("ONE", 1), ("TRP", 3), ("FAM", 4)] {
            let occupancy_max = Some(people);
            accept(&mut driver, &DefineProduct { occupancy_max, ..define(product, 8, true) });
        }
        accept(&mut driver, &create(1, vec![line("DBL", 8, 0, 60)]));
        let two_units = || line("DBL", 2, 30, 1);
        let family = RequestedLine { adults: 5, child_ages: vec![None], ..two_units() };
        let offers = |driver: &mut Driver, line| offered(&driver.send(&create(2, vec![line])));
        let names = |offers: Vec<(String, i32, i32)>| -> Vec<_> {
            offers.into_iter().map(|(product, ..)| product).collect()
        };
        assert_eq!(names(offers(&mut driver, family)), ["TWN", "TRP", "FAM"], "three in a unit");
        let many = RequestedLine { adults: 7, child_ages: vec![], ..two_units() };
        assert_eq!(names(offers(&mut driver, many)), ["TWN", "FAM"], "four in one of them");
    }

    #[test]
    fn a_day_use_takes_what_nobody_occupies_over_the_day() {
        let mut driver = hotel();
        let day_use = |units, day| RequestedLine {
            day_use: Some(Price::default()),
            ..line("DBL", units, day, 0)
        };
        // Of six units before and four after the day, four at most stay over it.
        accept(&mut driver, &create(1, vec![line("DBL", 3, 0, 2)]));
        accept(&mut driver, &create(2, vec![line("DBL", 3, 0, 1), line("DBL", 1, 1, 1)]));
        let sent = driver.send(&create(3, vec![day_use(3, 1), day_use(2, 1)]));
        assert_eq!(nights_of(&sent), [(Rule::DayUseFull, 1, 5, 4)]);
        accept(&mut driver, &create(3, vec![day_use(3, 1), day_use(1, 1)]));
        let at = cell(&driver, Some("DBL"), 1);
        assert_eq!((at.day_use, at.sold, at.available()), (4, 4, 4), "nights are as before");
        let sent = driver.send(&create(4, vec![day_use(1, 1)]));
        assert_eq!(nights_of(&sent), [(Rule::DayUseFull, 1, 1, 0)]);
        assert_eq!(offered(&sent)[..2], [("DBL".to_owned(), 0, 0), ("DBL".to_owned(), 2, 0)]);
        accept(&mut driver, &cancel(3));
        accept(&mut driver, &create(4, vec![day_use(4, 1)]));
    }

    #[test]
    fn the_house_limits_day_uses_of_all_products_with_statistics() {
        let mut driver = hotel();
        let day_use = |product, units| line(product, units, 0, 0);
        accept(&mut driver, &create(1, vec![day_use("DBL", 8)]));
        let sent = driver.send(&create(2, vec![day_use("TWN", 3)]));
        assert_eq!(nights_of(&sent), [(Rule::DayUseFull, 0, 3, 2)]);
        accept(&mut driver, &create(2, vec![day_use("TWN", 2), day_use("BED", 3)]));
    }

    #[test]
    fn a_day_use_takes_no_night() {
        let mut driver = hotel();
        let mut day_use = line("DBL", 2, 0, 0);
        day_use.day_use = Some(Price { room: Minor(5_000), ..Price::default() });
        for number in 1..4 {
            let sent = accept(&mut driver, &create(number, vec![day_use.clone()]));
            let created: ReservationCreated = sent.only();
            assert_eq!(created.lines[0].nights, []);
            assert_eq!(created.lines[0].day_use, day_use.day_use);
        }
        assert_eq!(sold(&driver, HOUSE), [0]);
        day_use.day_use = None;
        accept(&mut driver, &create(4, vec![day_use]));
        let mut night_and_day = line("DBL", 1, 0, 1);
        night_and_day.day_use = Some(Price::default());
        let sent = driver.send(&create(5, vec![night_and_day]));
        assert_eq!(rules(&sent), [Rule::PricesMismatch]);
    }

    #[test]
    fn free_nights_and_children_alone_are_allowed() {
        let mut driver = hotel();
        let mut free = line("DBL", 1, 0, 2);
        free.adults = 0;
        free.nights.fill(Price::default());
        accept(&mut driver, &create(1, vec![free]));
    }

    #[test]
    fn the_edges_of_each_number_are_allowed_and_no_more() {
        let day = |arrival, nights| {
            move |line: &mut RequestedLine| {
                line.arrival = TODAY.plus(arrival);
                line.departure = TODAY.plus(arrival + nights);
                line.nights = vec![Price::default(); usize::try_from(nights).unwrap()];
            }
        };
        type Change = Box<dyn Fn(&mut RequestedLine)>;
        let rows: Vec<(Option<Rule>, Change)> = vec![
            (None, Box::new(day(0, 400))),
            (Some(Rule::StayTooLong), Box::new(day(0, 401))),
            (None, Box::new(day(1_827, 1))),
            (Some(Rule::BeyondHorizon), Box::new(day(1_828, 1))),
            (Some(Rule::BeyondHorizon), Box::new(day(1_828, 0))),
            (Some(Rule::NightInPast), Box::new(day(-1, 0))),
            (None, Box::new(|line| line.adults = 10_000)),
            (Some(Rule::BadGuests), Box::new(|line| line.adults = 10_001)),
            (None, Box::new(|line| line.child_ages = vec![None; 10_000])),
            (Some(Rule::BadGuests), Box::new(|line| line.child_ages = vec![None; 10_001])),
            (None, Box::new(|line| line.child_ages = vec![Some(0), Some(120)])),
            (Some(Rule::BadGuests), Box::new(|line| line.child_ages = vec![Some(121)])),
            (Some(Rule::BadGuests), Box::new(|line| line.child_ages = vec![Some(-1)])),
            (Some(Rule::BadUnits), Box::new(|line| line.units = 1_001)),
            (Some(Rule::SoldOut), Box::new(|line| line.units = 1_000)),
            (None, Box::new(|line| line.nights[0].room = Minor(AMOUNT_MAX - 600))),
            (Some(Rule::PriceOverflow), Box::new(|line| line.nights[0].room = Minor(AMOUNT_MAX))),
        ];
        for (row, (rule, change)) in rows.into_iter().enumerate() {
            let mut driver = hotel();
            let mut line = line("DBL", 1, 0, 1);
            change(&mut line);
            let sent = driver.send(&create(1, vec![line]));
            assert_eq!(rules(&sent).first().copied(), rule, "row {row}");
        }
    }

    #[test]
    fn the_amounts_of_all_lines_and_units_add_up() {
        let mut driver = hotel();
        let mut half = line("DBL", 2, 0, 1);
        half.nights[0] = Price { room: Minor(AMOUNT_MAX / 4), ..Price::default() };
        let mut cent = line("DBL", 1, 0, 1);
        cent.nights[0] = Price { extras: Minor(1), ..Price::default() };
        let sent = driver.send(&create(1, vec![half.clone(), half.clone(), cent]));
        assert_eq!(rules(&sent), [Rule::PriceOverflow]);
        accept(&mut driver, &create(1, vec![half.clone(), half]));
    }

    #[test]
    fn a_hundred_lines_are_the_most() {
        let mut driver = hotel();
        accept(&mut driver, &define("BIG", 100, false));
        let lines = |count| vec![line("BIG", 1, 0, 0); count];
        let sent = driver.send(&create(1, lines(101)));
        assert_eq!(rules(&sent), [Rule::BadLines]);
        let sent = accept(&mut driver, &create(1, lines(100)));
        let created: ReservationCreated = sent.only();
        assert!(created.lines.iter().map(|line| line.number).eq(1..=100));
    }

    #[test]
    fn external_references_of_one_request_differ() {
        let mut driver = hotel();
        let mut twice = create(1, vec![line("DBL", 1, 0, 1)]);
        twice.external_refs = vec![pms("a"), pms("b"), pms("a")];
        assert_eq!(rules(&driver.send(&twice)), [Rule::ExternalRefInUse]);
        twice.external_refs.pop();
        accept(&mut driver, &twice);
    }

    #[test]
    fn a_booking_without_its_instant_is_booked_now() {
        let mut driver = hotel();
        let mut command = create(1, vec![line("DBL", 1, 0, 1)]);
        command.booked_at = None;
        let created: ReservationCreated = accept(&mut driver, &command).only();
        assert_eq!(created.booked_at, noon(TODAY));
    }

    #[test]
    fn confirmation_numbers_count_by_year_of_the_business_date_and_refusals_use_none() {
        let mut driver = hotel();
        let mut number = |day: Night, id| {
            driver.set_time(noon(day));
            driver.send(&create(id, vec![line("BED", 99, 900, 1)]));
            let sent = accept(&mut driver, &create(id, vec![line("DBL", 1, 900, 1)]));
            sent.only::<ReservationCreated>().confirmation_number
        };
        assert_eq!(number(TODAY, 1), "RSV-2025-000001");
        assert_eq!(number(TODAY.plus(1), 2), "RSV-2025-000002");
        assert_eq!(number(Night::ymd(2026, 1, 1).unwrap(), 3), "RSV-2026-000001");
        // Until 03:00 in Lisbon it is still the old year.
        let new_year = Night::ymd(2027, 1, 1).unwrap();
        driver.set_time(Timestamp(noon(new_year).0 - 9 * bellhop_core::message::HOUR_US - 1));
        let sent = accept(&mut driver, &create(4, vec![line("DBL", 1, 900, 1)]));
        assert_eq!(sent.only::<ReservationCreated>().confirmation_number, "RSV-2026-000002");
    }

    #[test]
    fn two_properties_share_nothing() {
        let mut driver = hotel();
        accept(&mut driver, &define_hotel(NOWHERE));
        let mut double = define("DBL", 8, true);
        double.property_id = NOWHERE;
        accept(&mut driver, &double);
        let here = create(1, vec![line("DBL", 8, 0, 1)]);
        let there = CreateReservation { property_id: NOWHERE, ..here.clone() };
        let first: ReservationCreated = accept(&mut driver, &here).only();
        let second: ReservationCreated = accept(&mut driver, &there).only();
        assert_eq!(first.confirmation_number, second.confirmation_number);
    }

    #[test]
    fn the_same_key_gets_its_refusal_again_although_there_is_room_now() {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 8, 0, 1)]));
        let late = create(2, vec![line("DBL", 1, 0, 1)]);
        let refused = driver.send_as("late", &late);
        let Outcome::Decided { code, first_event } = refused.outcome else { panic!("{refused:?}") };
        assert_eq!(code, Rule::SoldOut.code());
        accept(&mut driver, &cancel(1));
        let again = driver.send_as("late", &late);
        assert_eq!(again.outcome, Outcome::Repeated { code, first_event });
        accept(&mut driver, &late);
    }
}
