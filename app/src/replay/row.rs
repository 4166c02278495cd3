//! One row of the file: what it says, whether it makes sense, and what is odd about it.

use std::fmt;

use bellhop_schemas::country::find_country;
use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::money::Minor;
use bellhop_schemas::night::Night;
use compact_str::CompactString;
use csv::StringRecord;

/// The columns that are read, in the order of [`Columns`].
const NAMES: [&str; 21] = [
    "hotel",
    "arrival_date_year",
    "arrival_date_month",
    "arrival_date_day_of_month",
    "stays_in_weekend_nights",
    "stays_in_week_nights",
    "lead_time",
    "adults",
    "children",
    "babies",
    "country",
    "market_segment",
    "distribution_channel",
    "reserved_room_type",
    "assigned_room_type",
    "deposit_type",
    "agent",
    "company",
    "adr",
    "reservation_status",
    "reservation_status_date",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Years that a booking can be of; others are typing errors.
const YEARS: std::ops::RangeInclusive<i16> = 1990..=2100;
/// Days that a booking can be made ahead.
const LEAD_DAYS_MAX: i32 = 3_660;
/// Guests of one kind in one booking.
const GUESTS_MAX: i32 = 1_000;
/// A price a night from which a row is listed, in minor units.
const HIGH_PRICE: Minor = Minor(100_000);

/// How a booking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The guest came and left.
    Stayed,
    /// Cancelled on a day.
    Cancelled(Night),
    /// Marked as a no-show on a day, never before the arrival.
    NoShow(Night),
}

/// A row that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Which data row, from 0: it tells bookings apart.
    pub(crate) number: u32,
    /// Index of its hotel in [`super::import::Import::hotels`].
    pub(crate) hotel: usize,
    pub(crate) booked: Night,
    pub(crate) arrival: Night,
    pub(crate) departure: Night,
    pub(crate) adults: i32,
    pub(crate) children: i32,
    pub(crate) babies: i32,
    pub(crate) country: Option<CompactString>,
    pub(crate) segment: Option<CompactString>,
    pub(crate) channel: Option<CompactString>,
    pub(crate) guarantee: Option<CompactString>,
    pub(crate) agent: Option<CompactString>,
    pub(crate) company: Option<CompactString>,
    /// The product sold.
    pub(crate) sold: ProductCode,
    /// The product given at check-in.
    pub(crate) given: ProductCode,
    /// Price of each night.
    pub(crate) adr: Minor,
    pub(crate) ending: Ending,
}

/// What is odd about a row that is taken all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oddity {
    NoAdult,
    NoCountry,
    OtherCountry,
    UnknownCountry,
    ChildrenUnknown,
    SegmentUnknown,
    HighPrice,
    ManyGuests,
    DayUse,
    LeftEarly,
    NoShowBeforeArrival,
    CancelledAfterArrival,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAdult => "no adult",
            Self::NoCountry => "country missing",
            Self::OtherCountry => "country by another code than alpha-3 of ISO 3166-1: translated",
            Self::UnknownCountry => "country that ISO 3166-1 does not know: left out",
            Self::ChildrenUnknown => "number of children is \"NA\": taken as none",
            Self::SegmentUnknown => "segment or channel is \"Undefined\"",
            Self::HighPrice => "1,000 EUR a night or more",
            Self::ManyGuests => "more than 8 guests in one room",
            Self::DayUse => "no night: a day use",
            Self::LeftEarly => "check-out is dated before the departure: leaves at the departure",
            Self::NoShowBeforeArrival => {
                "no-show is dated before the arrival: marked at the arrival"
            }
            Self::CancelledAfterArrival => "cancelled after the day of arrival",
        })
    }
}

/// Where the columns stand in this file.
#[derive(Debug)]
pub(crate) struct Columns {
    at: [usize; NAMES.len()],
    count: usize,
}

impl Columns {
    /// Finds the columns by their names.
    ///
    /// # Errors
    /// Names the columns that are missing.
    pub(crate) fn of(header: &StringRecord) -> Result<Self, String> {
        let place = |name: &str| header.iter().position(|column| column.trim() == name);
        let missing: Vec<_> = NAMES.iter().copied().filter(|name| place(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(format!("columns missing: {}", missing.join(", ")));
        }
        Ok(Self { at: NAMES.map(|name| place(name).unwrap_or_default()), count: header.len() })
    }

    /// Reads a row; `hotel` gives a name its index.
    ///
    /// # Errors
    /// A sentence that says why the row makes no sense.
    pub(crate) fn read(
        &self,
        number: u32,
        record: &StringRecord,
        hotel: impl FnOnce(&str) -> usize,
        odd: &mut Vec<Oddity>,
    ) -> Result<Row, String> {
        if record.len() != self.count {
            return Err(format!("{} columns instead of {}", record.len(), self.count));
        }
        let mut cells = Cells { columns: self, record, next: 0 };
        let hotel_name = cells.text()?;
        let year = cells.number("year", i32::from(*YEARS.start()), i32::from(*YEARS.end()))?;
        let month = cells.month()?;
        let day = cells.number("day of month", 1, 31)?;
        let arrival = Night::ymd(year as i16, month, day as i8)
            .ok_or_else(|| format!("there is no day {year}-{month:02}-{day:02}"))?;
        let nights =
            cells.number("weekend nights", 0, 10_000)? + cells.number("week nights", 0, 10_000)?;
        let lead = cells.number("lead time", 0, LEAD_DAYS_MAX)?;
        let adults = cells.number("adults", 0, GUESTS_MAX)?;
        let children = cells.children()?;
        let babies = cells.number("babies", 0, GUESTS_MAX)?;
        let named = cells.optional();
        let country = named.as_deref().and_then(country);
        let segment = cells.optional();
        let channel = cells.optional();
        let sold = ProductCode::new(cells.text()?);
        let given = ProductCode::new(cells.text()?);
        let guarantee = cells.optional();
        let agent = cells.optional();
        let company = cells.optional();
        let adr = cells.money("adr")?;
        let status = cells.text()?;
        let status_date: Night = cells.text()?.parse().map_err(|error| format!("{error}"))?;

        let (booked, departure) = (arrival.plus(-lead), arrival.plus(nights));
        let ending = match status {
            "Check-Out" => Ending::Stayed,
            "Canceled" if status_date < booked => {
                return Err(format!("cancelled on {status_date}, booked only on {booked}"));
            }
            "Canceled" => Ending::Cancelled(status_date),
            "No-Show" => Ending::NoShow(status_date.max(arrival)),
            other => {
                return Err(format!(
                    "\"{other}\" is not a reservation status; Check-Out, Canceled, No-Show are"
                ));
            }
        };
        let far = |day: Night| day.date().is_none_or(|date| !YEARS.contains(&date.year()));
        if far(status_date) {
            return Err(format!("the status date {status_date} is absurd"));
        }

        let undefined =
            |text: &Option<CompactString>| text.as_deref().is_none_or(|text| text == "Undefined");
        let oddities = [
            (adults == 0, Oddity::NoAdult),
            (named.is_none(), Oddity::NoCountry),
            (country.is_some() && named.as_deref() != country, Oddity::OtherCountry),
            (country.is_none() && named.is_some(), Oddity::UnknownCountry),
            (children.is_none(), Oddity::ChildrenUnknown),
            (undefined(&segment) || undefined(&channel), Oddity::SegmentUnknown),
            (adr >= HIGH_PRICE, Oddity::HighPrice),
            (adults + children.unwrap_or(0) + babies > 8, Oddity::ManyGuests),
            (nights == 0, Oddity::DayUse),
            (ending == Ending::Stayed && status_date < departure, Oddity::LeftEarly),
            (status == "No-Show" && status_date < arrival, Oddity::NoShowBeforeArrival),
            (
                matches!(ending, Ending::Cancelled(on) if on > arrival),
                Oddity::CancelledAfterArrival,
            ),
        ];
        odd.extend(oddities.into_iter().filter_map(|(is, oddity)| is.then_some(oddity)));
        let children = children.unwrap_or(0);
        Ok(Row {
            number,
            hotel: hotel(hotel_name),
            booked,
            arrival,
            departure,
            adults,
            children,
            babies,
            country: country.map(Into::into),
            segment,
            channel,
            guarantee,
            agent,
            company,
            sold,
            given,
            adr,
            ending,
        })
    }
}

/// The alpha-3 code of a country as the data name it.
fn country(named: &str) -> Option<&'static str> {
    match named {
        // East Timor before 2002.
        "TMP" => Some("TLS"),
        named => find_country(named),
    }
}

/// Takes the cells of a row in the order of [`NAMES`].
struct Cells<'r> {
    columns: &'r Columns,
    record: &'r StringRecord,
    next: usize,
}

impl<'r> Cells<'r> {
    fn cell(&mut self) -> (&'static str, &'r str) {
        let (name, place) = (NAMES[self.next], self.columns.at[self.next]);
        self.next += 1;
        (name, self.record.get(place).unwrap_or_default().trim())
    }

    fn text(&mut self) -> Result<&'r str, String> {
        match self.cell() {
            (name, "" | "NULL") => Err(format!("{name} is empty")),
            (name, text) if text.len() > 64 => Err(format!("{name} is longer than 64 bytes")),
            (_, text) => Ok(text),
        }
    }

    fn optional(&mut self) -> Option<CompactString> {
        let (_, text) = self.cell();
        (!matches!(text, "" | "NULL")).then(|| text.into())
    }

    fn number(&mut self, what: &str, least: i32, most: i32) -> Result<i32, String> {
        let (_, text) = self.cell();
        let value: i32 =
            text.parse().map_err(|_| format!("{what} \"{text}\" is not a whole number"))?;
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(format!("{what} {value} is not within {least} to {most}"))
        }
    }

    /// `None` for "NA".
    fn children(&mut self) -> Result<Option<i32>, String> {
        let place = self.columns.at[self.next];
        if self.record.get(place).is_some_and(|text| text.trim() == "NA") {
            self.next += 1;
            return Ok(None);
        }
        self.number("children", 0, GUESTS_MAX).map(Some)
    }

    fn month(&mut self) -> Result<i8, String> {
        let (_, text) = self.cell();
        let month = MONTHS.iter().position(|month| *month == text);
        month.map(|index| index as i8 + 1).ok_or_else(|| format!("\"{text}\" is not a month"))
    }

    fn money(&mut self, what: &str) -> Result<Minor, String> {
        let (_, text) = self.cell();
        let amount = parse_euros(text)
            .ok_or_else(|| format!("{what} \"{text}\" is not an amount in euros and cents"))?;
        if amount.0 < 0 { Err(format!("{what} {text} is negative")) } else { Ok(amount) }
    }
}

/// Euros with at most two decimals, exactly: no binary fraction on the way.
fn parse_euros(text: &str) -> Option<Minor> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 2 {
        return None;
    }
    let cents: i64 = format!("{fraction:0<2}").parse().ok()?;
    let amount = whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(cents)?;
    Some(Minor(if negative { -amount } else { amount }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn euros_are_read_to_the_cent_and_nothing_else_is() {
        for (text, cents) in [
            ("0", 0),
            ("75.5", 7_550),
            ("96.14", 9_614),
            ("5400", 540_000),
            ("-6.38", -638),
            ("0.07", 7),
            ("92233720368547758.07", i64::MAX),
        ] {
            assert_eq!(parse_euros(text), Some(Minor(cents)), "{text}");
        }
        for text in ["", "-", ".5", "1.234", "1e3", "+1", "1,5", "NaN", "92233720368547758.08"] {
            assert_eq!(parse_euros(text), None, "{text}");
        }
    }
}
