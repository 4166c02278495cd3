//! The whole data set against figures that were computed apart from this project.

use serde_json::Value;

use crate::harness::{DATA, bellhop, folder, text, whole};

fn answer(args: &[&str]) -> Vec<Value> {
    let args = [args, &["--json", "--data", whole()]].concat();
    serde_json::from_str(&bellhop(&args).ok()).expect("a JSON array")
}

fn by_property(kpi: &str) -> [Value; 2] {
    let rows = answer(&["kpi", kpi, "--by", "property"]);
    ["City Hotel", "Resort Hotel"].map(|hotel| {
        let row = rows.iter().find(|row| row["property"] == hotel);
        row.unwrap_or_else(|| panic!("no {hotel} in {rows:?}"))[kpi].clone()
    })
}

#[test]
fn the_figures_of_the_whole_data_set_are_right_to_the_cent() {
    assert_eq!(by_property("bookings"), [79_330, 40_059].map(Value::from));
    assert_eq!(by_property("room_nights"), [135_153, 119_877].map(Value::from));
    assert_eq!(by_property("room_revenue"), [14_394_410.18, 11_601_914.03].map(Value::from));
    for (found, wanted) in by_property("adr").iter().zip([106.504_6, 96.781_8]) {
        let found = found.as_f64().unwrap_or_default();
        assert!((found - wanted).abs() < 0.000_1, "{found} instead of {wanted}");
    }
    for (found, wanted) in
        by_property("cancellation_rate").iter().zip([32_186.0 / 79_330.0, 10_831.0 / 40_059.0])
    {
        let found = found.as_f64().unwrap_or_default();
        assert!((found - wanted).abs() < 1e-9, "{found} instead of {wanted}");
    }
    let counts = answer(&[
        "sql",
        "SELECT code, sum(booked) AS booked, sum(cancelled) AS cancelled, sum(no_show) AS no_show, \
         sum(checked_out) AS stayed FROM bookings JOIN properties USING (property_id) \
         GROUP BY code ORDER BY code",
    ]);
    let wanted = [
        ("City Hotel", [79_330, 32_186, 916, 46_228]),
        ("Resort Hotel", [40_059, 10_831, 291, 28_937]),
    ];
    for (row, (hotel, counts)) in counts.iter().zip(wanted) {
        let found = ["booked", "cancelled", "no_show", "stayed"].map(|name| row[name].clone());
        assert_eq!(row["code"], hotel);
        assert_eq!(found, counts.map(Value::from), "{hotel}");
    }
    let months = answer(&["kpi", "occupancy", "--by", "property,month"]);
    assert!(months.iter().any(|row| row["month"] == "2016-08"), "{months:?}");
    assert_eq!(
        answer(&["kpi", "refusals"]).first().map_or(Value::from(0), |row| row["refusals"].clone()),
        0
    );
}

#[test]
fn the_houses_have_what_was_stayed_in_and_an_allowance_so_that_nothing_is_refused() {
    let rows = answer(&[
        "sql",
        "SELECT code, sum(physical) AS physical FROM supply JOIN properties USING (property_id) \
         WHERE product IS NULL GROUP BY code ORDER BY code",
    ]);
    let physical: Vec<_> = rows.iter().map(|row| row["physical"].clone()).collect();
    assert_eq!(physical, [226, 187].map(Value::from));
}

#[test]
fn the_whole_replay_is_the_fold_of_its_events_and_the_decision_of_its_commands() {
    let told = bellhop(&["verify", "--decisions", "--data", whole()]).ok();
    assert!(told.contains("All is well: 313,983 events"), "{told}");
}

#[test]
fn a_city_hotel_of_226_rooms_refuses_some_bookings_and_oversells_nothing() {
    let folder = folder();
    let data = text(folder.path());
    let args = ["replay", DATA, "--data", data, "--capacity", "City Hotel=226", "--json"];
    let told: Value = serde_json::from_str(&bellhop(&args).ok()).expect("JSON");
    let events = &told["events"];
    let count = |name: &str| events[format!("bellhop.event.{name}")].as_u64().unwrap_or_default();
    let refused: Vec<Value> = serde_json::from_str(
        &bellhop(&["kpi", "refusals", "--by", "property", "--json", "--data", data]).ok(),
    )
    .expect("JSON");
    let bookings_refused =
        refused.iter().map(|row| row["refusals"].as_u64().unwrap_or_default()).sum::<u64>();
    assert_eq!(count("ReservationCreated") + bookings_refused, 119_389, "{told}");
    assert!(bookings_refused > 0 && count("ReservationRejected") > bookings_refused, "{told}");
    assert!(refused.iter().all(|row| row["property"] == "City Hotel"), "{refused:?}");
    bellhop(&["verify", "--data", data]).ok();
}
