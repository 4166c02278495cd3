//! Reasons, alternatives, stays and amounts in words that a human understands.

use bellhop_core::message::Timestamp;
use bellhop_schemas::instant;
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Alternative, Reason, Rule};
use bellhop_schemas::stay::{Line, OversoldNight, Price, RequestedLine};

/// `2016-08-31 14:00:00`, UTC, without the fraction.
pub(crate) fn time(at: Timestamp) -> String {
    let whole = Timestamp(at.0 - at.0.rem_euclid(1_000_000));
    let text = instant::to_text(whole).unwrap_or_else(|| format!("{} us", at.0));
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

/// An amount in its currency: `1,234.50 EUR`, `900 JPY`.
pub(crate) fn money(amount: i128, currency: Currency) -> String {
    format!("{} {currency}", decimal(amount, currency.exponent().unwrap_or(0)))
}

/// Minor units with `exponent` decimals.
pub(crate) fn decimal(amount: i128, exponent: u16) -> String {
    let one = 10_u128.pow(u32::from(exponent));
    let (whole, fraction) = (amount.unsigned_abs() / one, amount.unsigned_abs() % one);
    let sign = if amount < 0 { "-" } else { "" };
    let whole = crate::output::thousands(i128::try_from(whole).unwrap_or(i128::MAX));
    if exponent == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction:0width$}", width = usize::from(exponent))
    }
}

/// `1 room`, `3 rooms`.
pub(crate) fn count(number: impl Into<i128>, one: &str) -> String {
    let number = number.into();
    let hisses = ["s", "x", "ch", "sh"].iter().any(|end| one.ends_with(end));
    let plural = match (number, hisses) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {one}{plural}", crate::output::thousands(number))
}

/// One reason with its field, night and numbers.
pub(crate) fn reason(reason: &Reason) -> String {
    match &reason.path {
        Some(path) => format!("{path}: {}", rule(reason)),
        None => rule(reason),
    }
}

fn rule(reason: &Reason) -> String {
    let product = reason.product.as_ref().map_or("the product", |product| product.as_str());
    let night = reason.night.map_or_else(String::new, |night| format!(" on {night}"));
    let number =
        |number: Option<i64>| number.map_or_else(|| "?".to_owned(), crate::output::thousands);
    let (asked, allowed) = (number(reason.asked), number(reason.allowed));
    let numbers = match (reason.asked, reason.allowed) {
        (Some(asked), Some(allowed)) => format!(" (asked {asked}, allowed {allowed})"),
        (Some(asked), None) => format!(" (asked {asked})"),
        (None, Some(allowed)) => format!(" (allowed {allowed})"),
        (None, None) => String::new(),
    };
    let left = match (reason.asked, reason.allowed) {
        (Some(asked), Some(left)) => format!(" (asked {asked}, left {})", left.max(0)),
        _ => String::new(),
    };
    let found = reason.found.as_deref().unwrap_or("?");
    let wanted = reason.wanted.as_deref();
    match reason.rule {
        Rule::UnknownProperty => "there is no such property; define it first".to_owned(),
        Rule::PropertyExists => "the property is defined already".to_owned(),
        Rule::BadCode => format!("a code has 1 to {allowed} bytes (asked {asked})"),
        Rule::UnknownTimeZone => {
            format!("\"{found}\" is not in the IANA database; write it like Europe/Lisbon")
        }
        Rule::BadRollHour => format!("the business day rolls at an hour from 0 to 12{numbers}"),
        Rule::UnknownCurrency => format!("ISO 4217 does not know the currency {found}"),
        Rule::BadCount => format!("the count of units is negative or too large{numbers}"),
        Rule::UnknownProduct => format!("the property has no product {product}"),
        Rule::ProductExists => format!("the product {product} is defined already"),
        Rule::BadRange => format!("the first night lies behind the last{night}"),
        Rule::NightInPast => format!("the night lies in the past{night}"),
        Rule::BeyondHorizon => format!("the night lies too far ahead{night}{numbers}"),
        Rule::ReservationExists => "the reservation id is in use already".to_owned(),
        Rule::ExternalRefInUse => match reason.reservation_id {
            Some(id) => format!("the external reference is that of reservation {id}"),
            None => "the external reference is given twice".to_owned(),
        },
        Rule::UnknownReservation => match reason.path.as_deref() {
            Some("external_ref") => "no reservation has this external reference".to_owned(),
            Some(_) | None => "no reservation has this id".to_owned(),
        },
        Rule::BadLines => format!("there are too few or too many lines{numbers}"),
        Rule::BadUnits => format!("a line has 1 to 1,000 units{numbers}"),
        Rule::BadGuests => format!("the numbers or ages of guests are negative or absurd{numbers}"),
        Rule::DepartureBeforeArrival => format!("the departure lies before the arrival{night}"),
        Rule::StayTooLong => format!("the stay is too long{numbers}"),
        Rule::PricesMismatch => {
            format!("there must be one price a night, or one for a day use{numbers}")
        }
        Rule::NegativePrice => format!("a price is negative{night} (asked {asked})"),
        Rule::PriceOverflow => "the prices add up to more than can be counted".to_owned(),
        Rule::WrongCurrency => {
            format!("the currency is {found}, the property's is {}", wanted.unwrap_or("another"))
        }
        Rule::NoRate => {
            "the engine has no rates; let the client or a contract set the price".to_owned()
        }
        Rule::SoldOut => format!("{product} is sold out{night}{left}"),
        Rule::HouseFull => format!("the house is full{night}{left}"),
        Rule::WrongState => {
            format!("the reservation is {found}; it has to be {}", wanted.unwrap_or("another"))
        }
        Rule::BeforeArrival => {
            format!("it is too early: the arrival{night} is more than 7 nights away")
        }
        Rule::UnknownLine => format!("the reservation has no such line (asked {asked})"),
        Rule::TooManyNights => format!("all lines together have too many nights{numbers}"),
        Rule::TextTooLong => format!("a text has too many bytes{numbers}"),
        Rule::TooManyRefs => format!("a reservation has too many external references{numbers}"),
        Rule::DayUseFull => {
            let what = reason.product.as_ref().map_or("the house", |product| product.as_str());
            format!("{what} has no unit free over the day{night}{left}")
        }
        Rule::AfterDeparture => format!("it is too late: the last departure{night} has come"),
        Rule::NoShowTooEarly => format!(
            "it is too early: the guest may come until the property's hour of no-shows, or the end of the business date{night}"
        ),
        Rule::Finished => {
            format!("the reservation was over{night}, longer ago than the log keeps it")
        }
        Rule::BadNoShowHour => format!("the hour of no-shows is from 0 to 23{numbers}"),
        Rule::ReservationNotNamed => {
            "neither reservation_id nor external_ref says which reservation is meant".to_owned()
        }
        Rule::NamesDisagree => match reason.reservation_id {
            Some(id) => {
                format!("the external reference is that of reservation {id}, not of reservation_id")
            }
            None => "the external reference is not that of reservation_id".to_owned(),
        },
        Rule::UnknownCountry => match wanted {
            Some(wanted) => {
                format!("\"{found}\" is no alpha-3 code of ISO 3166-1; write {wanted}")
            }
            None => format!("\"{found}\" is no alpha-3 code of ISO 3166-1, such as PRT"),
        },
        Rule::TooManyGuests => {
            format!("the units of {product} take {allowed} guests (asked {asked})")
        }
        Rule::NoAdults => "the line has no adult".to_owned(),
        Rule::LargeHouse => {
            format!("{asked} rooms are more than the largest hotel of the world has ({allowed})")
        }
        Rule::MoreThanHouse => {
            format!("{asked} units of {product} are more than the house has{night} ({allowed})")
        }
    }
}

/// A stay that could be had instead.
pub(crate) fn alternative(stay: &Alternative) -> String {
    format!("{} from {} to {}", stay.product, stay.arrival, stay.departure)
}

/// Nights above their limit.
pub(crate) fn oversold(nights: &[OversoldNight]) -> String {
    let one = |night: &OversoldNight| {
        let what = night.product.as_ref().map_or("house", |product| product.as_str());
        let use_of = if night.day_use { "the day use of " } else { "" };
        format!("{use_of}{what} on {} by {}", night.night, night.units)
    };
    let mut words: Vec<_> = nights.iter().take(4).map(one).collect();
    if nights.len() > 4 {
        words.push(format!("and {} more", nights.len() - 4));
    }
    words.join(", ")
}

/// What a line asks for.
pub(crate) fn requested(line: &RequestedLine) -> String {
    let price = total(line.units, line.nights.iter().chain(&line.day_use));
    stay(line.units, line.product.as_str(), line.arrival, line.departure, price, line.currency)
}

/// What a line is.
pub(crate) fn line(line: &Line) -> String {
    let prices = line.nights.iter().map(|night| &night.price).chain(&line.day_use);
    let units = i32::from(line.units);
    let price = total(units, prices);
    let text =
        stay(units, line.product.as_str(), line.arrival, line.departure, price, line.currency);
    let mut held: Vec<_> = line.nights.iter().filter_map(|at| at.held.as_ref()).collect();
    held.dedup();
    match held.as_slice() {
        [] => text,
        held => {
            let held: Vec<_> = held.iter().map(|product| product.as_str()).collect();
            format!("{text}, in {}", held.join(", "))
        }
    }
}

fn total<'a>(units: i32, prices: impl Iterator<Item = &'a Price>) -> i128 {
    let of = |minor: Minor| i128::from(minor.0);
    let each: i128 = prices.map(|price| of(price.room) + of(price.tax) + of(price.extras)).sum();
    each * i128::from(units)
}

fn stay(
    units: i32,
    product: &str,
    arrival: Night,
    departure: Night,
    price: i128,
    currency: Currency,
) -> String {
    let units = if units == 1 { String::new() } else { format!("{units} x ") };
    let price = money(price, currency);
    if arrival == departure {
        format!("{units}{product}, day use on {arrival}, {price}")
    } else {
        let nights = count(arrival.until(departure), "night");
        format!("{units}{product}, {nights} from {arrival} to {departure}, {price}")
    }
}

#[cfg(test)]
mod tests {
    use bellhop_core::avro::Symbols as _;
    use bellhop_schemas::ids::{ProductCode, ReservationId};

    use super::*;

    #[test]
    fn every_rule_says_what_it_knows_and_nothing_it_does_not() {
        let full = |rule| Reason {
            product: Some(ProductCode::new("DBL")),
            night: Night::ymd(2030, 7, 1),
            asked: Some(2),
            allowed: Some(1),
            reservation_id: Some(ReservationId(uuid::Uuid::nil())),
            path: Some("a.field".into()),
            found: Some("Found".into()),
            wanted: Some("Wanted".into()),
            ..Reason::of(rule)
        };
        for rule in Rule::ALL {
            let words = reason(&full(*rule));
            assert!(words.starts_with("a.field: "), "{words}");
            assert!(!words.contains('?'), "{words}");
        }
        let words = |rule| reason(&full(rule));
        assert!(words(Rule::WrongState).ends_with("the reservation is Found; it has to be Wanted"));
        assert!(
            words(Rule::WrongCurrency).ends_with("the currency is Found, the property's is Wanted")
        );
        assert!(words(Rule::ProductExists).ends_with("the product DBL is defined already"));
        assert!(
            words(Rule::UnknownCountry)
                .ends_with("\"Found\" is no alpha-3 code of ISO 3166-1; write Wanted")
        );
    }

    #[test]
    fn a_count_has_the_plural_of_its_noun() {
        let said = [("row", 1), ("row", 0), ("batch", 1), ("batch", 8)].map(|(of, n)| count(n, of));
        assert_eq!(said, ["1 row", "0 rows", "1 batch", "8 batches"]);
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        let jpy: Currency = "JPY".parse().unwrap_or(Currency::EUR);
        let kwd: Currency = "KWD".parse().unwrap_or(Currency::EUR);
        assert_eq!(money(123_450, Currency::EUR), "1,234.50 EUR");
        assert_eq!(money(-7, Currency::EUR), "-0.07 EUR");
        assert_eq!(money(900, jpy), "900 JPY");
        assert_eq!(money(1_500, kwd), "1.500 KWD");
    }
}
