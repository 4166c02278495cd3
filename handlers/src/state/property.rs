//! A property: its zone, its business day, its currency and its confirmation numbers.

use std::cell::Cell;
use std::fmt;

use bellhop_core::avro::{Avro, DecodeError, Reader, SchemaWriter};
use bellhop_core::message::HOUR_US;
use bellhop_core::prelude::{Avro, State, Timestamp};
use bellhop_schemas::ids::PropertyId;
use bellhop_schemas::money::Currency;
use bellhop_schemas::night::Night;
use compact_str::{CompactString, format_compact};
use jiff::tz::{TimeZone, TimeZoneDatabase};

const DAY_US: i64 = 24 * HOUR_US;

/// What the engine knows of a property besides its inventory.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.Property")]
pub struct Property {
    /// The name that people know it by.
    pub code: CompactString,
    /// Its time zone.
    pub zone: Zone,
    /// Local hour at which the business date moves on, 0 to 12.
    pub roll_hour: u8,
    /// ISO 4217 currency of all its prices.
    pub currency: Currency,
    /// Local hour of the day of arrival from which a guest who has not come is a no-show; `None`
    /// for the end of that business date.
    pub no_show_hour: Option<u8>,
    /// Of the last two years with a booking, in the order of the first one.
    confirmations: Vec<Sequence>,
}

/// How many confirmation numbers a year has had.
#[derive(Debug, Clone, PartialEq, Eq, Avro)]
#[avro(name = "bellhop.state.ConfirmationSequence")]
struct Sequence {
    year: i32,
    last: u32,
}

impl State for Property {
    const NAME: &'static str = "property";
    type Key = PropertyId;
}

impl Property {
    /// A property without a booking.
    #[must_use]
    pub(crate) fn new(code: CompactString, zone: Zone, roll_hour: u8, currency: Currency) -> Self {
        Self { code, zone, roll_hour, currency, no_show_hour: None, confirmations: Vec::new() }
    }

    /// The local date of an instant, once the roll hour has struck; until then the day before.
    #[must_use]
    pub fn business_date(&self, now: Timestamp) -> Night {
        day(self.zone.local_us(now).saturating_sub(self.roll_us()))
    }

    /// The local date of an instant, by the calendar on the wall.
    #[must_use]
    pub fn local_date(&self, now: Timestamp) -> Night {
        day(self.zone.local_us(now))
    }

    /// The first instant of a business date.
    #[must_use]
    pub(crate) fn roll_at(&self, date: Night) -> Timestamp {
        self.zone.first_at(i64::from(date.0).saturating_mul(DAY_US).saturating_add(self.roll_us()))
    }

    /// Whether a guest who was to arrive on a day is a no-show by now.
    #[must_use]
    pub(crate) fn is_no_show(&self, arrival: Night, now: Timestamp) -> bool {
        let since_arrival =
            self.zone.local_us(now).saturating_sub(i64::from(arrival.0).saturating_mul(DAY_US));
        let stated =
            self.no_show_hour.is_some_and(|hour| since_arrival >= i64::from(hour) * HOUR_US);
        stated || self.business_date(now) > arrival
    }

    fn roll_us(&self) -> i64 {
        i64::from(self.roll_hour) * HOUR_US
    }

    /// The confirmation number of the next booking on a business date: `RSV-2025-001234`.
    #[must_use]
    pub(crate) fn next_confirmation(&self, business_date: Night) -> CompactString {
        let year = year_of(business_date);
        let last = self.confirmations.iter().rev().find(|sequence| sequence.year == year);
        let number = last.map_or(0, |sequence| sequence.last).saturating_add(1);
        if !(0..10_000).contains(&year) || number > 999_999 {
            return format_compact!("RSV-{year:04}-{number:06}");
        }
        // The same without the machinery of formatting, which would be a tenth of a booking.
        let mut text = *b"RSV-0000-000000";
        write_digits(year.unsigned_abs(), &mut text[4..8]);
        write_digits(number, &mut text[9..]);
        str::from_utf8(&text).unwrap_or_default().into()
    }

    /// Uses up the confirmation number of a booking on a business date.
    pub(crate) fn count_confirmation(&mut self, business_date: Night) {
        let year = year_of(business_date);
        match self.confirmations.iter_mut().rev().find(|sequence| sequence.year == year) {
            Some(sequence) => sequence.last = sequence.last.saturating_add(1),
            None => {
                // A clock that goes back may lead into the year before, and no further.
                if self.confirmations.len() == 2 {
                    self.confirmations.remove(0);
                }
                self.confirmations.push(Sequence { year, last: 1 });
            }
        }
    }
}

/// The day of an instant that stands in microseconds since 1970 began.
fn day(local_us: i64) -> Night {
    // An i64 of microseconds has 106 million days.
    Night(local_us.div_euclid(DAY_US) as i32)
}

/// Fills `text` from its end; what stands before the number stays.
fn write_digits(mut number: u32, text: &mut [u8]) {
    for place in text.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The year of a night, of which a calendar library need not have heard.
///
/// # Source
/// H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn year_of(night: Night) -> i32 {
    // Days since 0000-03-01, in eras of 400 years.
    let days = i64::from(night.0) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // January and February, from day 306 on, belong to the year that follows.
    (era * 400 + year + i64::from(day_of_year >= 306)) as i32
}

/// A time zone of the IANA database that is compiled in; encoded as its name.
#[derive(Clone)]
pub struct Zone {
    name: CompactString,
    rules: TimeZone,
    /// The last answer: stream time asks for the same offset for months.
    last: Cell<Span>,
}

/// Instants, in microseconds, in which the offset does not change.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: i64,
    /// The first that is not one of them.
    until: i64,
    offset_us: i64,
}

impl Zone {
    /// The zone of a name, whatever its case; `None` when the database has none.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let rules = TimeZoneDatabase::bundled().get(name).ok()?;
        let name = rules.iana_name()?.into();
        Some(Self { name, rules, last: Cell::default() })
    }

    /// Its name as the database writes it.
    #[must_use]
    pub fn name(&self) -> &CompactString {
        &self.name
    }

    /// Microseconds from 1970-01-01T00:00 to an instant, both as the zone's clocks show them.
    fn local_us(&self, now: Timestamp) -> i64 {
        let mut span = self.last.get();
        if !(span.from..span.until).contains(&now.0) {
            span = self.span(now);
            self.last.set(span);
        }
        now.0.saturating_add(span.offset_us)
    }

    /// The first instant at which the zone's clocks show a local time, or a later one where they
    /// skip it; outside of the years -9999 to 9999 the nearest offset inside speaks for it.
    fn first_at(&self, local_us: i64) -> Timestamp {
        // No zone is a day and a half from UTC, and the clocks of none go back by more.
        const MARGIN_US: i64 = 36 * HOUR_US;
        let shows = |at: i64| self.local_us(Timestamp(at)) >= local_us;
        let (mut before, mut after) =
            (local_us.saturating_sub(MARGIN_US), local_us.saturating_add(MARGIN_US));
        let inside = |at: i64| jiff::Timestamp::from_microsecond(at).ok();
        if let (Some(first), Some(last)) = (inside(before), inside(after)) {
            // Between two transitions the clocks run with the instants.
            let changes = self.rules.following(first).map(|change| change.timestamp());
            for change in changes.take_while(|change| *change <= last) {
                let change = change.as_microsecond();
                if shows(change - 1) {
                    after = change - 1;
                    break;
                }
                before = change;
                if shows(change) {
                    return Timestamp(change);
                }
            }
        }
        let offset_us = self.local_us(Timestamp(after)).saturating_sub(after);
        Timestamp(local_us.saturating_sub(offset_us).clamp(before, after))
    }

    /// From an instant to the next transition; outside of the years -9999 to 9999 the nearest one
    /// inside speaks for it.
    fn span(&self, now: Timestamp) -> Span {
        let outside = if now.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let instant = jiff::Timestamp::from_microsecond(now.0).unwrap_or(outside);
        let offset_s = self.rules.to_offset(instant).seconds();
        let next = self.rules.following(instant).next();
        let until = next.map_or(i64::MAX, |next| next.timestamp().as_microsecond());
        Span { from: now.0, until, offset_us: i64::from(offset_s) * 1_000_000 }
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Avro for Zone {
    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = reader.str()?;
        Self::of(name).ok_or_else(|| reader.invalid("a time zone that is not compiled in"))
    }
    fn schema(out: &mut SchemaWriter) {
        CompactString::schema(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zone: &str, roll_hour: u8) -> Property {
        Property::new("X".into(), Zone::of(zone).unwrap(), roll_hour, Currency::EUR)
    }

    fn instant(text: &str) -> Timestamp {
        bellhop_schemas::instant::from_text(text).unwrap()
    }

    #[test]
    fn the_business_date_follows_summer_time() {
        let lisbon = at("Europe/Lisbon", 3);
        let rows = [
            ("2025-03-30T02:59:59.999999Z", "2025-03-30"), // UTC+0 until 01:00, then UTC+1
            ("2025-03-30T01:59:59.999999Z", "2025-03-29"),
            ("2025-03-30T02:00:00Z", "2025-03-30"),
            ("2025-10-26T02:59:59.999999Z", "2025-10-25"),
            ("2025-10-26T03:00:00Z", "2025-10-26"),
        ];
        for (now, date) in rows {
            assert_eq!(lisbon.business_date(instant(now)).to_string(), date, "{now}");
        }
    }

    #[test]
    fn names_that_are_no_zone_are_refused() {
        for name in ["", "Lisbon", "Etc/Unknown", "+01:00", "EST5EDT,M3.2.0,M11.1.0"] {
            assert_eq!(Zone::of(name), None, "{name}");
        }
        assert_eq!(Zone::of("america/SAO_PAULO").unwrap().name(), "America/Sao_Paulo");
        assert_eq!(Zone::of("UTC").unwrap().name(), "UTC");
    }

    #[test]
    fn confirmation_numbers_grow_beyond_six_digits() {
        let mut property = at("UTC", 0);
        let day = Night::ymd(2025, 12, 31).unwrap();
        property.confirmations = vec![Sequence { year: 2025, last: 999_998 }];
        assert_eq!(property.next_confirmation(day), "RSV-2025-999999");
        property.count_confirmation(day);
        assert_eq!(property.next_confirmation(day), "RSV-2025-1000000");
        assert_eq!(property.next_confirmation(day.plus(1)), "RSV-2026-000001");
        assert_eq!(property.next_confirmation(Night(i32::MAX)), "RSV-5881580-000001");
        assert_eq!(property.next_confirmation(Night(i32::MIN)), "RSV--5877641-000001");
    }

    #[test]
    fn the_year_of_a_night_is_the_one_of_its_date() {
        let first = Night::ymd(-9999, 1, 1).unwrap();
        for night in first.nights_to(Night::ymd(9999, 12, 31).unwrap()).step_by(13) {
            assert_eq!(Some(year_of(night)), night.date().map(|date| date.year().into()));
        }
        for year in 1_890..2_110 {
            let first = Night::ymd(year, 1, 1).unwrap();
            assert_eq!((year_of(first), year_of(first.plus(-1))), (year.into(), (year - 1).into()));
        }
    }

    #[test]
    fn an_offset_is_remembered_until_it_changes_and_no_longer() {
        for zone in ["Europe/Lisbon", "America/Sao_Paulo", "Asia/Kathmandu", "Africa/Casablanca"] {
            let remembers = at(zone, 3);
            let hours = (0..20_000).map(|hours| Timestamp(hours * 97 * HOUR_US - 1));
            for now in hours.clone().chain(hours.rev()) {
                let (once, again) = (at(zone, 3), remembers.business_date(now));
                assert_eq!(again, once.business_date(now), "{zone} at {}", now.0);
            }
        }
    }

    #[test]
    fn a_snapshot_knows_the_zone_by_name_alone() {
        let property = at("Asia/Kathmandu", 5);
        let mut bytes = Vec::new();
        property.encode(&mut bytes);
        assert_eq!(Property::decode(&mut Reader::new(&bytes)), Ok(property));
        let mut bytes = Vec::new();
        "Asia/Nowhere".to_owned().encode(&mut bytes);
        assert!(Zone::decode(&mut Reader::new(&bytes)).is_err());
    }
}
