//! A property, with the physical count of its house.

use bellhop_core::prelude::*;
use bellhop_schemas::command::DefineProperty;
use bellhop_schemas::event::{CatalogRejected, PropertyDefined};
use bellhop_schemas::reason::Rule;
use bellhop_schemas::stay::SupplyChange;

use super::supply;
use crate::rejection::{Findings, Refused, Rejection, because, instead};
use crate::state::property::{Property, Zone};

/// Bytes of a property's code.
const CODE_BYTES_MAX: usize = 64;
/// The last hour at which a business day may roll.
const ROLL_HOUR_MAX: u8 = 12;
/// The last hour from which a guest may be a no-show on the day of arrival.
const NO_SHOW_HOUR_MAX: u8 = 23;

/// Opens a property.
///
/// # Rejections, in order
/// All of `PropertyExists`, `BadCode`, `UnknownTimeZone`, `BadRollHour`, `UnknownCurrency`, `BadCount`,
/// `BadNoShowHour`.
///
/// # Warnings
/// `LargeHouse`.
#[handler]
pub fn define_property(
    command: DefineProperty,
    properties: &Store<Property>,
    cx: &Context,
) -> Result<PropertyDefined, Rejection> {
    let mut faults = Findings::default();
    let known = properties.get(&command.property_id);
    if known.is_some() {
        faults.add("property_id", because(Rule::PropertyExists));
    }
    supply::check_code("code", &command.code, CODE_BYTES_MAX, &mut faults);
    let zone = Zone::of(&command.time_zone);
    if zone.is_none() {
        faults.add("time_zone", instead(Rule::UnknownTimeZone, &command.time_zone, ""));
    }
    let hours = (0, ROLL_HOUR_MAX);
    let roll_hour =
        supply::within("roll_hour", command.roll_hour, hours, Rule::BadRollHour, &mut faults);
    if command.currency.exponent().is_none() {
        faults.add("currency", instead(Rule::UnknownCurrency, command.currency.as_str(), ""));
    }
    supply::check_physical("physical", command.physical, &mut faults);
    let no_show_hour = command.no_show_hour.and_then(|hour| {
        let hours = (0, NO_SHOW_HOUR_MAX);
        supply::within("no_show_hour", hour, hours, Rule::BadNoShowHour, &mut faults)
    });
    let (Some(zone), Some(roll_hour), true) = (zone, roll_hour, faults.is_empty()) else {
        return Err(faults.rejection(known.map(|property| property.business_date(cx.now))));
    };
    let mut warnings = Findings::default();
    supply::wonder_at_house("physical", command.physical, &mut warnings);

    let time_zone = zone.name().clone();
    let property = Property::new(command.code, zone, roll_hour, command.currency);
    Ok(PropertyDefined {
        property_id: command.property_id,
        business_date: property.business_date(cx.now),
        code: property.code,
        time_zone,
        roll_hour,
        currency: command.currency,
        physical: vec![SupplyChange {
            first_night: None,
            last_night: None,
            before: 0,
            after: command.physical,
        }],
        no_show_hour,
        warnings: warnings.into_reasons(),
    })
}

impl Refused for DefineProperty {
    type Rejected = CatalogRejected;

    fn rejected(&self, rejection: Rejection) -> CatalogRejected {
        supply::rejected::<Self>(self.property_id, None, rejection)
    }
}

#[cfg(test)]
mod tests {
    use bellhop_core::driver::Driver;
    use bellhop_core::message::HOUR_US;
    use bellhop_schemas::ids::PropertyId;
    use bellhop_schemas::night::Night;
    use uuid::Uuid;

    use super::*;
    use crate::fixtures::*;
    use crate::state::inventory::Inventory;

    #[test]
    fn the_checks_run_in_order() {
        let mut driver = hotel();
        let sent = hold_to_table(
            &mut driver,
            &DefineProperty { time_zone: "europe/lisbon".into(), ..define_hotel(NOWHERE) },
            &[
                (Rule::PropertyExists, |it| it.property_id = HOTEL),
                (Rule::BadCode, |it| it.code = "x".repeat(65).into()),
                (Rule::UnknownTimeZone, |it| it.time_zone = "Europe/Lisboa".into()),
                (Rule::BadRollHour, |it| it.roll_hour = 13),
                (Rule::UnknownCurrency, |it| it.currency = "XYZ".parse().unwrap()),
                (Rule::BadCount, |it| it.physical = 30_001),
                (Rule::BadNoShowHour, |it| it.no_show_hour = Some(24)),
            ],
        );
        let defined: PropertyDefined = sent.only();
        assert_eq!(defined.time_zone, "Europe/Lisbon", "as the database writes it");
        assert_eq!(defined.business_date, TODAY);
        let inventory = driver.store::<Inventory>().get(&NOWHERE).unwrap();
        let cell = inventory.house().cell(TODAY.plus(5_000));
        assert_eq!((cell.physical, cell.available()), (10, 10));
    }

    #[test]
    fn every_fault_is_listed_with_its_field() {
        let mut driver = hotel();
        let wrong = DefineProperty {
            code: "".into(),
            time_zone: "Lisbon".into(),
            roll_hour: 99,
            currency: "XYZ".parse().unwrap(),
            physical: -1,
            no_show_hour: Some(24),
            ..define_hotel(NOWHERE)
        };
        let found = reasons(&driver.send(&wrong));
        let paths: Vec<_> = found.iter().filter_map(|reason| reason.path.as_deref()).collect();
        assert_eq!(
            paths,
            ["code", "time_zone", "roll_hour", "currency", "physical", "no_show_hour"]
        );
        assert_eq!(found[1].found.as_deref(), Some("Lisbon"));
        assert_eq!(found[3].found.as_deref(), Some("XYZ"));
        let again = DefineProperty { roll_hour: 13, ..define_hotel(HOTEL) };
        assert_eq!(rules(&driver.send(&again)), [Rule::PropertyExists, Rule::BadRollHour]);
    }

    #[test]
    fn a_house_larger_than_any_is_a_warning() {
        let mut driver = hotel();
        for (physical, warns) in [(7_351, false), (7_352, true)] {
            let property_id = PropertyId(Uuid::from_u128(physical as u128));
            let command = DefineProperty { physical, ..define_hotel(property_id) };
            let defined: PropertyDefined = accept(&mut driver, &command).only();
            let rules: Vec<_> = defined.warnings.iter().map(|warning| warning.rule).collect();
            assert_eq!(rules, vec![Rule::LargeHouse; usize::from(warns)]);
        }
    }

    #[test]
    fn a_refusal_has_the_business_date_of_a_known_property_only() {
        let mut driver = hotel();
        let known: CatalogRejected = driver.send(&define_hotel(HOTEL)).only();
        assert_eq!((known.business_date, known.command.as_str()), (Some(TODAY), "DefineProperty"));
        let bad = DefineProperty { code: "".into(), ..define_hotel(NOWHERE) };
        let unknown: CatalogRejected = driver.send(&bad).only();
        assert_eq!(unknown.business_date, None);
        assert_eq!((unknown.reasons[0].asked, unknown.reasons[0].allowed), (Some(0), Some(64)));
    }

    #[test]
    fn negative_numbers_are_refused_and_the_edges_are_not() {
        let mut driver = hotel();
        let refused = DefineProperty { roll_hour: -1, ..define_hotel(NOWHERE) };
        assert_eq!(rules(&driver.send(&refused)), [Rule::BadRollHour]);
        let refused = DefineProperty { physical: -1, ..define_hotel(NOWHERE) };
        assert_eq!(rules(&driver.send(&refused)), [Rule::BadCount]);
        let edge = DefineProperty {
            code: "x".repeat(64).into(),
            roll_hour: 12,
            physical: 30_000,
            ..define_hotel(NOWHERE)
        };
        let defined: PropertyDefined = accept(&mut driver, &edge).only();
        // Noon UTC is noon in Lisbon in winter: the day has just rolled.
        assert_eq!(defined.business_date, TODAY);
    }

    #[test]
    fn the_business_date_is_the_local_date_less_the_roll_hour() {
        let mut driver = hotel();
        let rows = [
            ("Pacific/Auckland", 0, TODAY.plus(1)), // 01:00 of the next day
            ("Pacific/Auckland", 1, TODAY.plus(1)),
            ("Pacific/Auckland", 2, TODAY),
            ("Pacific/Honolulu", 2, TODAY), // 02:00
            ("Pacific/Honolulu", 3, TODAY.plus(-1)),
            ("UTC", 12, TODAY),
        ];
        for (number, (time_zone, roll_hour, business_date)) in (0_u128..).zip(rows) {
            let property_id = PropertyId(Uuid::from_u128(number));
            let time_zone = time_zone.into();
            let command = DefineProperty { time_zone, roll_hour, ..define_hotel(property_id) };
            let defined: PropertyDefined = accept(&mut driver, &command).only();
            assert_eq!(defined.business_date, business_date, "{command:?}");
        }
    }

    #[test]
    fn instants_that_no_calendar_has_are_no_trouble() {
        for now in [i64::MIN, -1, 0, i64::MAX] {
            let mut driver = Driver::new(Timestamp(now));
            let defined: PropertyDefined = accept(&mut driver, &define_hotel(HOTEL)).only();
            let wanted = Night((now.saturating_sub(3 * HOUR_US)).div_euclid(24 * HOUR_US) as i32);
            let apart = defined.business_date.until(wanted).abs();
            assert!(apart <= 1, "{:?} at {now}", defined.business_date);
        }
    }
}
