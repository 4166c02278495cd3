//! What a question costs, what it divides by, and which property it is about.

use bellhop_analytics::ErrorKind;
use bellhop_analytics::expand::Expander;
use bellhop_analytics::kpi::{AsOf, Dimension, Query};
use bellhop_analytics::session::Session;
use bellhop_analytics::table::Table;
use bellhop_core::message::{Position, Timestamp};
use bellhop_schemas::command::ProductKind;
use bellhop_schemas::event::ProductDefined;
use bellhop_schemas::ids::{ProductCode, PropertyId};
use bellhop_schemas::money::Currency;
use datafusion::arrow::array::{ArrayRef, AsArray as _, Int32Array, RecordBatch};
use datafusion::arrow::datatypes::Int32Type;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::session;
use crate::slt::fixture;
use crate::stream::{
    DAY_US, InLog as _, Known, Stay, always, line, night, property, property_id, reservation_id,
};

fn ask(session: &Session, query: &Query) -> Value {
    serde_json::from_str(&session.kpi(query).unwrap().json().unwrap()).unwrap()
}

fn at(day: &str, event: impl Into<bellhop_ledger::history::Event>) -> Known {
    Known { at: Timestamp(i64::from(night(day).0) * DAY_US), event: event.into() }
}

fn stay(of: PropertyId, number: u128, arrival: &str, departure: &str) -> Stay {
    Stay {
        property_id: of,
        reservation_id: reservation_id(number),
        booked_at: Timestamp(0),
        country: None,
        lines: vec![line("DBL", 1, night(arrival), night(departure), 10_000, Currency::EUR)],
    }
}

/// A house of ten rooms with nights on the books from 1 to 4 June 2016.
fn inn() -> Vec<Known> {
    let start = night("2016-05-01");
    vec![
        at("2016-05-01", property(property_id(1), "Inn", Currency::EUR, start, 10)),
        at("2016-05-02", stay(property_id(1), 1, "2016-06-01", "2016-06-03").created(start)),
        at("2016-05-02", stay(property_id(1), 2, "2016-06-03", "2016-06-05").created(start)),
    ]
}

#[test]
fn three_thousand_products_without_statistics_are_left_out_by_one_join() {
    let mut events = inn();
    for number in 0..3_000 {
        let defined = ProductDefined {
            property_id: property_id(1),
            business_date: night("2016-05-01"),
            product: ProductCode::new(&format!("COT{number}")),
            name: "Cot".into(),
            kind: ProductKind::Room,
            statistics: number % 100 == 0,
            occupancy_max: None,
            physical: always(1),
            warnings: Vec::new(),
        };
        events.push(at("2016-05-01", defined));
    }
    let mut cot = stay(property_id(1), 3, "2016-06-01", "2016-06-03");
    cot.lines[0].product = ProductCode::new("COT1");
    events.push(at("2016-05-03", cot.created(night("2016-05-03"))));
    let session = session::of(&events);
    for by in [&[Dimension::Property][..], &[Dimension::Property, Dimension::Product]] {
        let query = Query::of("occupancy").unwrap().by(by);
        let sql = session.explain(&query).unwrap();
        assert!(sql.len() < 4_000, "{} bytes of SQL", sql.len());
        ask(&session, &query);
    }
    let nights = Query::of("room_nights").unwrap();
    assert_eq!(ask(&session, &nights), json!([{ "room_nights": 4 }]));
    let loaded = session.load().unwrap();
    assert_eq!(ask(&loaded, &nights), json!([{ "room_nights": 4 }]));
}

#[test]
fn a_far_booking_that_was_cancelled_does_not_stretch_the_period() {
    let mut events = inn();
    let query = Query::of("occupancy").unwrap().by(&[Dimension::Property]);
    let wanted = json!([{ "property": "Inn", "occupancy": 0.1 }]);
    assert_eq!(ask(&session::of(&events), &query), wanted);
    let far = stay(property_id(1), 9, "2029-01-01", "2029-01-02");
    events.push(at("2016-05-03", far.created(night("2016-05-03"))));
    let booked = events.clone();
    events.push(at("2016-05-04", far.cancelled(night("2016-05-04"))));
    let session = session::of(&events);
    assert_eq!(ask(&session, &query), wanted);
    let periods = session.periods(&query).unwrap();
    let [period] = periods.as_slice() else { panic!("{periods:?}") };
    assert_eq!((period.first, period.last), (night("2016-06-01"), night("2016-06-04")));
    // As of the day on which it was on the books, it is in the period.
    let then = Query { as_of: Some(AsOf::Day(night("2016-05-03"))), ..query.clone() };
    assert_eq!(session.periods(&then).unwrap()[0].last, night("2029-01-01"));
    assert_eq!(ask(&session, &then), ask(&session::of(&booked), &query));
    // What is named is not looked for.
    let named = Query { to: Some(night("2016-06-10")), ..query };
    assert_eq!(session.periods(&named).unwrap()[0].last, night("2016-06-10"));
    assert_eq!(ask(&session, &named), json!([{ "property": "Inn", "occupancy": 0.04 }]));
}

#[test]
fn properties_of_one_code_are_counted_apart_and_shown_with_their_ids() {
    let mut events = inn();
    let start = night("2016-05-01");
    events.push(at("2016-05-01", property(property_id(2), "Inn", Currency::EUR, start, 10)));
    events.push(at("2016-05-01", property(property_id(3), "Lodge", Currency::EUR, start, 10)));
    for (number, of) in [(5, 2), (6, 2), (7, 2), (8, 3)] {
        let stay = stay(property_id(of), number, "2016-06-01", "2016-06-02");
        events.push(at("2016-05-02", stay.created(start)));
    }
    let [one, two] = [1, 2].map(|number| property_id(number).to_string());
    let by = [Dimension::Property];
    let session = session::of(&events);
    let wanted = json!([
        { "property": format!("Inn ({one})"), "bookings": 2 },
        { "property": format!("Inn ({two})"), "bookings": 3 },
        { "property": "Lodge", "bookings": 1 },
    ]);
    assert_eq!(ask(&session, &Query::of("bookings").unwrap().by(&by)), wanted);
    let folded = bellhop_analytics::fold::answer(&events, &Query::of("bookings").unwrap().by(&by));
    assert_eq!(folded.len(), 3, "{folded:?}");

    let error = session.property("Inn").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FixInput);
    assert!(error.to_string().contains(&one) && error.to_string().contains(&two), "{error}");
    let error = session.property("Ritz").unwrap_err().to_string();
    assert!(error.contains("\"Ritz\"") && error.contains("\"Lodge\""), "{error}");
    assert_eq!(session.property("Lodge").unwrap(), property_id(3).to_string());

    let properties = Some(vec![session.property(&two.to_uppercase()).unwrap()]);
    let query = Query { properties, ..Query::of("bookings").unwrap().by(&by) };
    let wanted = json!([{ "property": format!("Inn ({two})"), "bookings": 3 }]);
    assert_eq!(ask(&session, &query), wanted);
    assert_eq!(ask(&session.load().unwrap(), &query), wanted);
}

/// Rows of the fixture, with rooms of the inn taken out of order.
fn out_of_order(units: i32) -> Session {
    let mut expander = Expander::default();
    for (offset, known) in (0..).zip(&fixture()) {
        let at = Position { partition: 0, offset };
        expander.event(at, known.name(), &known.meta(offset), &known.datum()).unwrap();
    }
    let mut batches = expander.take().unwrap();
    let (_, supply) = batches.iter_mut().find(|(table, _)| *table == Table::Supply).unwrap();
    let column = supply.schema().index_of("out_of_order").unwrap();
    let mut columns: Vec<ArrayRef> = supply.columns().to_vec();
    // The first row is the house of the inn, from its definition on.
    let mut counts = supply.column(column).as_primitive::<Int32Type>().values().to_vec();
    counts[0] = units;
    columns[column] = Arc::new(Int32Array::from(counts));
    *supply = RecordBatch::try_new(supply.schema(), columns).unwrap();
    Session::of_batches(&batches).unwrap()
}

#[test]
fn rooms_out_of_order_are_taken_from_the_denominator_where_that_is_asked() {
    let query = Query::of("occupancy").unwrap().by(&[Dimension::Property]);
    let less = Query { less_out_of_order: true, ..query.clone() };
    let of = |session: &Session, query| ask(session, query)[0]["occupancy"].clone();
    let session = out_of_order(2);
    assert!(session.has_out_of_order().unwrap());
    // Four room-nights of two nights and ten rooms, or eight.
    assert_eq!((of(&session, &query), of(&session, &less)), (json!(0.2), json!(0.25)));
    let session = out_of_order(0);
    assert!(!session.has_out_of_order().unwrap());
    assert_eq!((of(&session, &query), of(&session, &less)), (json!(0.2), json!(0.2)));
}

#[test]
fn the_sql_of_a_kpi_names_nothing_that_only_one_engine_has() {
    let session = session::of(&fixture());
    for kpi in bellhop_analytics::kpi::ALL {
        for as_of in [None, Some("2016-06-20T08:00:00Z".parse().unwrap())] {
            let query = Query { as_of, ..Query::of(kpi.name).unwrap().by(&Dimension::ALL) };
            let sql = session.explain(&query).unwrap();
            for word in ["arrow_cast", "to_char", " value ", "(value "] {
                assert!(!sql.contains(word), "{}: {word} in {sql}", kpi.name);
            }
            let [told, asked] = [session.sql(&sql).unwrap(), session.kpi(&query).unwrap()]
                .map(|answer| answer.json().unwrap());
            assert_eq!(told, asked, "{}", kpi.name);
        }
    }
}
