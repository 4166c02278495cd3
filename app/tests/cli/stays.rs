//! Bookings as people ask for them: by another system's number, over a day that is in use.

use serde_json::{Value, json};

use crate::harness::{bellhop, bellhop_with, folder, text};

const INN: &str = "7b1d8f0e-0000-4000-8000-000000000002";

fn command(type_name: &str, key: &str, fields: Value) -> String {
    let mut line = json!({"type": type_name, "idempotency_key": key, "property_id": INN});
    let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) else {
        panic!("objects")
    };
    line.extend(fields);
    Value::Object(line.clone()).to_string()
}

fn reservation(number: u32) -> String {
    format!("{number:08}-1111-4111-8111-111111111111")
}

/// A house of two rooms.
fn inn() -> [String; 2] {
    let property = json!({"code": "Inn", "time_zone": "Europe/Lisbon", "roll_hour": 3,
                          "currency": "EUR", "physical": 2});
    let product = json!({"product": "DBL", "name": "Double", "kind": "Room", "statistics": true,
                         "physical": 2});
    [command("DefineProperty", "p", property), command("DefineProduct", "d", product)]
}

fn book(number: u32, arrival: &str, departure: &str, nights: usize, refs: Value) -> String {
    let price = json!({"room": 9000});
    let line = json!({"product": "DBL", "units": 1, "arrival": arrival, "departure": departure,
                      "adults": 2, "currency": "EUR", "priced_by": "Client",
                      "nights": vec![price.clone(); nights],
                      "day_use": if nights == 0 { price } else { Value::Null }});
    let fields = json!({"reservation_id": reservation(number), "external_refs": refs,
                        "acceptance": "AlreadySold", "lines": [line]});
    command("CreateReservation", &format!("b-{number}"), fields)
}

#[test]
fn a_reservation_is_found_by_the_number_that_another_system_has_for_it() {
    let folder = folder();
    let data = text(folder.path());
    let refs = |system: &str| json!([{"system": system, "id": "777"}]);
    let day = ("2031-08-01", "2031-08-02");
    let cancel = json!({"external_ref": {"system": "agency", "id": "777"}});
    let lines = [
        inn().join("\n"),
        book(1, day.0, day.1, 1, refs("agency")),
        command("CancelReservation", "c", cancel),
        book(2, day.0, day.1, 1, refs("agency")),
        book(3, day.0, day.1, 1, refs("pms")),
    ];
    bellhop_with(&["run", "--data", data], &lines.join("\n")).ok();
    let why = |id: &str| bellhop(&["why", id, "--data", data]).ok();
    let both = why("777");
    for number in [1, 2, 3] {
        assert!(both.contains(&reservation(number)), "{both}");
    }
    let agency = why("agency:777");
    assert!(agency.contains("reservation.cancelled"), "whose it was: {agency}");
    assert!(!agency.contains(&reservation(3)), "{agency}");
    let now = format!("agency 777: reservation {} has it now", reservation(2));
    assert!(agency.contains(&now), "{agency}");

    let cancelled =
        command("CancelReservation", "again", json!({"reservation_id": reservation(2)}));
    bellhop_with(&["run", "--data", data], &cancelled).ok();
    let freed = why("agency:777");
    assert!(freed.contains("agency 777: no reservation has it now"), "{freed}");
    let unknown = bellhop(&["why", "778", "--data", data]).failed(1);
    assert!(unknown.contains("SYSTEM:NUMBER"), "{unknown}");
}

#[test]
fn days_that_are_in_use_beyond_what_is_free_are_marked() {
    let folder = folder();
    let data = text(folder.path());
    let none = || json!([]);
    let lines = [
        inn().join("\n"),
        book(1, "2031-08-02", "2031-08-02", 0, none()),
        book(2, "2031-08-01", "2031-08-03", 2, none()),
        book(3, "2031-08-01", "2031-08-03", 2, none()),
    ];
    let answers = bellhop_with(&["run", "--data", data], &lines.join("\n")).ok();
    assert!(answers.contains("the day use of"), "the fact says what it oversells: {answers}");
    let days = ["--from", "2031-08-02", "--to", "2031-08-02"];
    let state = |show: &str| {
        bellhop(&[&["state", "Inn", "--data", data, "--show", show], &days[..]].concat()).ok()
    };
    assert!(state("day-use").contains("1/0*"), "{}", state("day-use"));
    let nights = state("both");
    assert!(nights.contains("2/2") && !nights.contains("2/2*"), "no night is: {nights}");
}
