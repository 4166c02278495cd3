//! The two real hotels, to the cent.

use bellhop_analytics::kpi::{Dimension, Query};
use bellhop_analytics::session::Session;
use serde_json::{Value, json};

use crate::{hotels, session};

fn ask(session: &Session, name: &str, by: &[Dimension]) -> Value {
    let answer = session.kpi(&Query::of(name).unwrap().by(by)).unwrap();
    serde_json::from_str(&answer.json().unwrap()).unwrap()
}

#[test]
fn two_real_hotels_add_up_to_the_cent() {
    let (events, rows, refused) = hotels::events();
    assert_eq!((rows, refused), (119_390, 1));
    let session = session::of(&events);
    let by = [Dimension::Property];
    assert_eq!(
        ask(&session, "bookings", &by),
        json!([
            { "property": "City Hotel", "bookings": 79_330 },
            { "property": "Resort Hotel", "bookings": 40_059 },
        ])
    );
    assert_eq!(
        ask(&session, "room_nights", &by),
        json!([
            { "property": "City Hotel", "room_nights": 135_153 },
            { "property": "Resort Hotel", "room_nights": 119_877 },
        ])
    );
    assert_eq!(
        ask(&session, "room_revenue", &by),
        json!([
            { "property": "City Hotel", "room_revenue": 1_439_441_018, "currency": "EUR" },
            { "property": "Resort Hotel", "room_revenue": 1_160_191_403, "currency": "EUR" },
        ])
    );
    let sql = "SELECT sum(cancelled) AS cancelled, sum(no_show) AS no_show FROM bookings \
               JOIN properties USING (property_id) GROUP BY code ORDER BY code";
    let ends: Value = serde_json::from_str(&session.sql(sql).unwrap().json().unwrap()).unwrap();
    assert_eq!(
        ends,
        json!([{ "cancelled": 32_186, "no_show": 916 }, { "cancelled": 10_831, "no_show": 291 }])
    );
    for (name, [city, resort], digits) in [
        ("adr", [10_650.46, 9_678.18], 0.005),
        ("cancellation_rate", [32_186.0 / 79_330.0, 10_831.0 / 40_059.0], 1e-12),
        ("no_show_rate", [916.0 / 47_144.0, 291.0 / 29_228.0], 1e-12),
        // From 1 July 2015 to the last night of each: 799 and 806 nights.
        ("occupancy", [135_153.0 / (226.0 * 799.0), 119_877.0 / (187.0 * 806.0)], 1e-12),
        ("revpar", [1_439_441_018.0 / (226.0 * 799.0), 1_160_191_403.0 / (187.0 * 806.0)], 1e-6),
    ] {
        let answer = ask(&session, name, &by);
        for (row, expected) in answer.as_array().unwrap().iter().zip([city, resort]) {
            let value = row[name].as_f64().unwrap();
            assert!((value - expected).abs() < digits, "{name}: {row} is not {expected}");
        }
    }
}
