//! Replays of small files, with rows of every kind of nonsense.

use crate::harness::{DATA, bellhop, csv, folder, row, text};

#[test]
fn rows_that_make_no_sense_are_refused_with_line_and_reason_and_odd_ones_are_taken() {
    let folder = folder();
    let bad = [
        (row(&[("adr", "-6.38")]), "adr -6.38 is negative"),
        (row(&[("adr", "1.234")]), "euros and cents"),
        (row(&[("adr", "many")]), "euros and cents"),
        (row(&[("adr", "99999999999999999999")]), "euros and cents"),
        (row(&[("arrival_date_month", "Juli")]), "\"Juli\" is not a month"),
        (
            row(&[("arrival_date_month", "February"), ("arrival_date_day_of_month", "30")]),
            "no day 2016-02-30",
        ),
        (row(&[("arrival_date_year", "20160")]), "year 20160"),
        (row(&[("lead_time", "-1")]), "lead time -1"),
        (row(&[("lead_time", "999999")]), "lead time 999999"),
        (row(&[("adults", "two")]), "\"two\" is not a whole number"),
        (row(&[("children", "-1")]), "children -1"),
        (row(&[("hotel", "")]), "hotel is empty"),
        (row(&[("reserved_room_type", "NULL")]), "reserved_room_type is empty"),
        (row(&[("reservation_status", "Gone")]), "\"Gone\" is not a reservation status"),
        (row(&[("reservation_status_date", "03/07/2016")]), "not a day"),
        (
            row(&[("reservation_status", "Canceled"), ("reservation_status_date", "2016-01-01")]),
            "booked only on 2016-06-21",
        ),
        ("City Hotel,0,1".to_owned(), "3 columns instead of 32"),
        (format!("{},1", row(&[])), "33 columns instead of 32"),
    ];
    let odd = [
        row(&[("adults", "0")]),
        row(&[("country", "NULL")]),
        row(&[("country", "CN")]),
        row(&[("country", "ZZ")]),
        row(&[("children", "NA")]),
        row(&[("adr", "5400")]),
        row(&[("stays_in_week_nights", "0")]),
        row(&[("reservation_status", "No-Show"), ("reservation_status_date", "2016-03-01")]),
    ];
    let mut rows: Vec<_> = bad.iter().map(|(row, _)| row.clone()).collect();
    rows.extend(odd.clone());
    rows.push(row(&[]));
    let file = csv(folder.path(), &rows);
    let data = folder.path().join("data");
    let told = bellhop(&["replay", text(&file), "--data", text(&data), "--json"]).ok();
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["rows_read"], rows.len());
    assert_eq!(told["rows_taken"], odd.len() + 1);
    let refused = told["rows_refused"].as_array().expect("an array");
    assert_eq!(refused.len(), bad.len(), "{refused:?}");
    for (index, (refused, (row, reason))) in refused.iter().zip(&bad).enumerate() {
        assert_eq!(refused["line"], index + 2, "{row}");
        let found = refused["reason"].as_str().unwrap_or_default();
        assert!(found.contains(reason), "{row}: wanted \"{reason}\", got \"{found}\"");
    }
    for class in told["rows_odd"].as_array().expect("an array") {
        assert_eq!(class["count"], 1, "{class}");
    }
    assert_eq!(told["rows_odd"].as_array().map(Vec::len), Some(8), "{told}");
    let created = &told["events"]["bellhop.event.ReservationCreated"];
    assert_eq!(*created, odd.len() + 1, "{told}");
    assert_eq!(told["events"].get("bellhop.event.ReservationRejected"), None, "{told}");
    bellhop(&["verify", "--decisions", "--data", text(&data)]).ok();
}

#[test]
fn a_house_that_is_too_small_refuses_and_later_commands_of_the_refused_are_refused_too() {
    let folder = folder();
    let rows = [
        row(&[]),
        row(&[("lead_time", "9")]),
        row(&[
            ("lead_time", "8"),
            ("reservation_status", "Canceled"),
            ("reservation_status_date", "2016-06-25"),
        ]),
    ];
    let file = csv(folder.path(), &rows);
    let data = folder.path().join("data");
    let args =
        ["replay", text(&file), "--data", text(&data), "--capacity", "City Hotel=1", "--json"];
    let told: serde_json::Value = serde_json::from_str(&bellhop(&args).ok()).expect("JSON");
    assert_eq!(told["events"]["bellhop.event.ReservationCreated"], 1, "{told}");
    // Two bookings, the check-in and check-out of one, the cancellation of the other.
    assert_eq!(told["events"]["bellhop.event.ReservationRejected"], 5, "{told}");
    let why = bellhop(&["why", "row-1-2", "--data", text(&data)]).ok();
    assert!(why.contains("the house is full on 2016-07-01 (asked 1, left 0)"), "{why}");
    assert!(why.contains("no reservation has this id"), "{why}");
}

#[test]
fn a_replay_that_is_done_does_nothing_and_another_one_wants_another_folder() {
    let folder = folder();
    let file = csv(folder.path(), &[row(&[]), row(&[])]);
    let (file, data) = (text(&file), folder.path().join("data"));
    let data = text(&data);
    bellhop(&["replay", file, "--data", data]).ok();
    let digest = || bellhop(&["events", "--digest", "--data", data]).ok();
    let before = digest();
    let told = bellhop(&["replay", file, "--data", data]).ok();
    assert!(told.contains("nothing left to do"), "{told}");
    assert_eq!(digest(), before);
    let another = ["replay", file, "--data", data, "--capacity", "City Hotel=7"];
    assert!(bellhop(&another).failed(1).contains("give another folder"));
    let strange = ["replay", file, "--data", data, "--capacity", "Ritz=7"];
    let error = bellhop(&strange).failed(1);
    assert!(error.contains("\"Ritz\"") && error.contains("\"City Hotel\""), "{error}");
    for value in ["City Hotel", "City Hotel=lots", "City Hotel=-1"] {
        let error = bellhop(&["replay", file, "--data", data, "--capacity", value]).failed(1);
        assert!(error.contains("--capacity"), "{error}");
    }
}

#[test]
fn a_file_that_is_no_file_of_bookings_is_refused_as_a_whole() {
    let folder = folder();
    let data = folder.path().join("data");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        text(&path).to_owned()
    };
    let gzip = std::fs::read(DATA).expect("read the data");
    for (file, wanted) in [
        ("/nowhere.csv".to_owned(), "check that the file is there"),
        (write("other.csv", b"a,b\n1,2\n"), "columns missing: hotel"),
        (write("empty.csv", b""), "columns missing"),
        (write("cut.csv.gz", &gzip[..10_000]), "cut off or damaged"),
        (
            write("rows.csv", format!("{}\n", crate::harness::HEADER).as_bytes()),
            "no booking that makes sense",
        ),
    ] {
        let error = bellhop(&["replay", &file, "--data", text(&data)]).failed(1);
        assert!(error.contains(wanted), "{file}: {error}");
        assert!(!data.exists(), "{file}: nothing is written");
    }
}
