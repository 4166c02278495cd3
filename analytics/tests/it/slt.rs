//! Questions and the rows they should give, written down in `slt/*.slt` over the events of
//! [`fixture`].
//!
//! A block is `query` (SQL) or `kpi NAME [by=A,B] [as-of=WHEN] [from=DAY] [to=DAY] [less-ooo]`,
//! then `----`, then the rows, columns divided by one space, empty text as `(empty)`, spaces within
//! text as `_`; a blank line ends it. `error` in place of rows wants an error that holds the text
//! behind it.

use std::fmt::Write as _;
use std::path::Path;

use bellhop_analytics::Error;
use bellhop_analytics::kpi::Query;
use bellhop_analytics::session::Session;
use bellhop_analytics::sql::Answer;
use bellhop_core::message::Timestamp;
use bellhop_schemas::command::ProductKind;
use bellhop_schemas::event::{PhysicalCountChanged, ProductDefined, ReservationRejected};
use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::money::Currency;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{PricedBy, RequestedLine, SupplyChange};

use crate::session;
use crate::stream::{
    DAY_US, Event, Known, Stay, always, dimensions, line, night, property, property_id,
    reservation_id,
};

/// A week in the life of two small hotels.
pub(crate) fn fixture() -> Vec<Known> {
    let mut events = Vec::new();
    let mut on = |day: &str, hour: i64, event: Event| {
        let at = Timestamp(i64::from(night(day).0) * DAY_US + hour * 3_600_000_000);
        events.push(Known { at, event });
    };
    let (inn, ryokan) = (property_id(1), property_id(2));
    let yen: Currency = "JPY".parse().unwrap();
    let start = night("2016-06-01");
    on("2016-06-01", 8, property(inn, "Inn", Currency::EUR, start, 10).into());
    on("2016-06-01", 8, property(ryokan, "Ryokan", yen, start, 4).into());
    for (id, product, statistics, physical) in [
        (inn, "SGL", true, 4),
        (inn, "DBL", true, 8),
        (inn, "PARKING", false, 5),
        (ryokan, "TATAMI", true, 4),
    ] {
        let defined = ProductDefined {
            property_id: id,
            business_date: start,
            product: ProductCode::new(product),
            name: product.into(),
            kind: ProductKind::Room,
            statistics,
            physical: always(physical),
            occupancy_max: None,
            warnings: Vec::new(),
        };
        on("2016-06-01", 8, defined.into());
    }
    let stay = |number: u128, id, country: Option<&str>, lines| Stay {
        property_id: id,
        reservation_id: reservation_id(number),
        booked_at: Timestamp(i64::from(start.0) * DAY_US),
        country: country.map(Into::into),
        lines,
    };
    let euro = |product: &str, units, from: &str, to: &str, room| {
        line(product, units, night(from), night(to), room, Currency::EUR)
    };
    let mut leisure = euro("DBL", 2, "2016-06-29", "2016-07-02", 10_000);
    leisure.dimensions = dimensions(Some("Leisure"), Some("Web"));
    let first = stay(1, inn, Some("PRT"), vec![leisure]);
    let mut group = euro("SGL", 3, "2016-07-01", "2016-07-03", 8_000);
    group.dimensions = dimensions(Some("Group"), None);
    let second = stay(2, inn, None, vec![group]);
    let comp = stay(3, inn, Some("PRT"), vec![euro("SGL", 1, "2016-07-01", "2016-07-02", 0)]);
    let day_use =
        stay(4, inn, Some("ESP"), vec![euro("SGL", 1, "2016-07-01", "2016-07-01", 4_000)]);
    let parking = stay(5, inn, None, vec![euro("PARKING", 1, "2016-07-01", "2016-07-02", 1_500)]);
    let tatami = line("TATAMI", 1, night("2016-07-01"), night("2016-07-04"), 20_000, yen);
    let ryokan_stay = stay(6, ryokan, Some("JPN"), vec![tatami]);
    on("2016-06-10", 9, first.created(night("2016-06-10")).into());
    on("2016-06-11", 9, second.created(night("2016-06-11")).into());
    on("2016-06-12", 9, comp.created(night("2016-06-12")).into());
    on("2016-06-12", 10, day_use.created(night("2016-06-12")).into());
    on("2016-06-12", 11, parking.created(night("2016-06-12")).into());
    on("2016-06-13", 9, ryokan_stay.created(night("2016-06-13")).into());
    let asked = RequestedLine {
        product: ProductCode::new("SGL"),
        units: 9,
        arrival: night("2016-07-01"),
        departure: night("2016-07-02"),
        adults: 9,
        child_ages: Vec::new(),
        dimensions: dimensions(Some("Group"), Some("Web")),
        currency: Currency::EUR,
        priced_by: PricedBy::Client,
        nights: Vec::new(),
        day_use: None,
    };
    let reason = |rule| Reason {
        product: Some(ProductCode::new("SGL")),
        night: Some(night("2016-07-01")),
        asked: Some(9),
        allowed: Some(0),
        ..Reason::of(rule)
    };
    let refused = ReservationRejected {
        property_id: inn,
        business_date: Some(night("2016-06-14")),
        command: "CreateReservation".into(),
        reservation_id: Some(reservation_id(7)),
        country: Some("PRT".into()),
        asked: vec![asked],
        reasons: vec![reason(Rule::SoldOut), reason(Rule::HouseFull)],
        alternatives: Vec::new(),
    };
    on("2016-06-14", 9, refused.into());
    on("2016-06-20", 9, second.cancelled(night("2016-06-20")).into());
    let fewer = PhysicalCountChanged {
        property_id: inn,
        business_date: night("2016-06-25"),
        product: None,
        changes: vec![SupplyChange {
            first_night: Some(night("2016-07-01")),
            last_night: None,
            before: 10,
            after: 8,
        }],
        oversold: Vec::new(),
        warnings: Vec::new(),
    };
    on("2016-06-25", 9, fewer.into());
    on("2016-06-29", 15, first.checked_in(night("2016-06-29"), Some("SGL")).into());
    let mut released = first.lines[0].clone();
    released.nights.drain(..2);
    on("2016-07-01", 9, first.checked_out(night("2016-07-01"), vec![released], vec![]).into());
    on("2016-07-01", 23, comp.no_show(night("2016-07-01")).into());
    events
}

#[test]
fn every_written_question_has_the_written_answer() {
    let session = session::of(&fixture());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/slt");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut report = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let blocks = text.split("\n\n").map(str::trim);
        for block in blocks.filter(|block| block.lines().any(|line| !line.starts_with('#'))) {
            let lines = block.lines().filter(|line| !line.starts_with('#'));
            let block = lines.collect::<Vec<_>>().join("\n");
            let (question, wanted) = block.split_once("\n----").expect(&block);
            let wanted = wanted.trim();
            let had = match ask(&session, question).and_then(|answer| rows(&answer)) {
                Ok(rows) => rows,
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    let text = format!("error {error}: {}", cause.unwrap_or_default());
                    let known = wanted.strip_prefix("error ").is_some_and(|it| text.contains(it));
                    if known { wanted.to_owned() } else { text }
                }
            };
            if had != wanted {
                let _ = write!(
                    report,
                    "\n{}: {question}\n---- wanted\n{wanted}\n---- had\n{had}\n",
                    file.display()
                );
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

fn ask(session: &Session, question: &str) -> Result<Answer, Error> {
    let (head, sql) = question.split_once('\n').unwrap_or((question, ""));
    let mut words = head.split_whitespace();
    match words.next() {
        Some("query") => session.sql(sql),
        Some("kpi") => {
            let mut query = Query::of(words.next().unwrap())?;
            for word in words {
                match word.split_once('=').unwrap_or((word, "")) {
                    ("by", names) => {
                        query.by = names.split(',').map(str::parse).collect::<Result<_, _>>()?;
                    }
                    ("as-of", when) => query.as_of = Some(when.parse()?),
                    ("from", day) => query.from = Some(night(day)),
                    ("to", day) => query.to = Some(night(day)),
                    ("less-ooo", _) => query.less_out_of_order = true,
                    other => panic!("{other:?} in {question}"),
                }
            }
            session.kpi(&query)
        }
        other => panic!("{other:?} in {question}"),
    }
}

fn rows(answer: &Answer) -> Result<String, Error> {
    let rows = answer.texts()?.into_iter().map(|row| {
        let cells = row.iter().map(|cell| match cell.as_str() {
            "" => "(empty)".to_owned(),
            text => text.replace(' ', "_"),
        });
        cells.collect::<Vec<_>>().join(" ")
    });
    Ok(rows.collect::<Vec<_>>().join("\n"))
}
