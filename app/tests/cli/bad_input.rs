//! Bad input of `run`: each has a named refusal or error, and a line that a human understands.

use serde_json::{Value, json};

use crate::harness::{Ran, bellhop, bellhop_with, folder, text};

const INN: &str = "7b1d8f0e-0000-4000-8000-000000000001";

/// A reservation id that no other test row uses.
fn reservation(number: u32) -> String {
    format!("9c0d8f0e-0000-4000-8000-{number:012}")
}

fn line(type_name: &str, key: &str, mut fields: Value) -> String {
    fields["type"] = json!(type_name);
    fields["idempotency_key"] = json!(key);
    fields["property_id"] = fields.get("property_id").cloned().unwrap_or(json!(INN));
    fields.to_string()
}

fn stay() -> Value {
    json!({"product": "A", "units": 1, "arrival": "2090-07-01", "departure": "2090-07-03",
           "adults": 2, "currency": "EUR", "priced_by": "Client",
           "nights": [{"room": 9000}, {"room": 9500}]})
}

/// A booking whose only line has some fields replaced.
fn booking(key: &str, number: u32, changes: Value) -> String {
    let mut stay = stay();
    for (name, value) in changes.as_object().into_iter().flatten() {
        stay[name] = value.clone();
    }
    let fields = json!({"reservation_id": reservation(number), "lines": [stay]});
    line("CreateReservation", key, fields)
}

fn inn() -> Vec<String> {
    let property = json!({"code": "Inn", "time_zone": "Europe/Lisbon", "roll_hour": 3,
                          "currency": "EUR", "physical": 5});
    let product = json!({"product": "A", "name": "Double", "kind": "Room", "statistics": true,
                         "physical": 5});
    vec![line("DefineProperty", "inn", property), line("DefineProduct", "a", product)]
}

/// Runs lines after those that make an inn of five rooms, at a time years before the stay.
fn run(lines: &[String]) -> Ran {
    let folder = folder();
    let at = |line: &String| match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(mut fields)) => {
            fields.entry("at").or_insert(json!("2090-01-01T12:00:00Z"));
            Value::Object(fields).to_string()
        }
        _ => line.clone(),
    };
    let all: Vec<_> = inn().iter().chain(lines).map(at).collect();
    let args = ["run", "--data", text(folder.path()), "--json", "--timestamps", "create"];
    bellhop_with(&args, &all.join("\n"))
}

#[test]
fn lines_that_are_no_command_are_answered_by_an_error_and_the_others_go_on() {
    let cases: Vec<(String, &[&str])> = vec![
        ("not json".into(), &["not JSON", "column"]),
        ("{\"type\":\"CheckIn\"".into(), &["not JSON", "EOF"]),
        ("[1]".into(), &["not a JSON object"]),
        (line("Frobnicate", "1", json!({})), &["unknown type \"Frobnicate\"", "CreateReservation"]),
        (json!({"idempotency_key": "2"}).to_string(), &["\"type\" is missing"]),
        (
            json!({"type": "CheckIn", "property_id": INN}).to_string(),
            &["idempotency_key", "missing"],
        ),
        (
            json!({"type": "CheckIn", "property_id": INN, "idempotency_key": ""}).to_string(),
            &["idempotency_key", "empty"],
        ),
        (
            json!({"type": "CheckIn", "idempotency_key": 7}).to_string(),
            &["idempotency_key", "not text"],
        ),
        (line("CheckIn", "3", json!({"room": 7})), &["unknown field `room`", "reservation_id"]),
        (booking("4", 4, json!({"roomz": 1})), &["lines[0]", "unknown field `roomz`"]),
        (booking("5", 5, json!({"arrival": "2090-02-30"})), &["lines[0].arrival", "not a day"]),
        (booking("6", 6, json!({"arrival": "tomorrow"})), &["lines[0].arrival", "2016-08-31"]),
        (booking("7", 7, json!({"units": "many"})), &["lines[0].units", "invalid type"]),
        (booking("8", 8, json!({"units": 1e30})), &["lines[0].units", "i32"]),
        (booking("9", 9, json!({"nights": [{"room": 1.5}, {"room": 2}]})), &["nights[0].room"]),
        (booking("10", 10, json!({"currency": "euro"})), &["lines[0].currency", "ISO 4217"]),
        (line("CheckIn", "11", json!({"property_id": "inn"})), &["property_id", "UUID"]),
        (line("CheckIn", "12", json!({"message_id": "x"})), &["message_id", "not a UUID"]),
        (line("CheckIn", "13", json!({"at": "noon"})), &["at:", "not an instant"]),
        (line("CreateReservation", "14", json!({})), &["missing field"]),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| line.clone()).collect();
    let good = booking("good", 99, json!({}));
    let ran = run(&[lines.as_slice(), &[good]].concat());
    assert_eq!(ran.code, Some(1), "a line that is no command is a failure: {}", ran.stderr);
    let answers = ran.json_lines();
    assert_eq!(answers.len(), 2 + cases.len() + 1);
    for (index, (line, wanted)) in cases.iter().enumerate() {
        let answer = &answers[2 + index];
        assert_eq!(answer["outcome"], "error", "{line}: {answer}");
        assert_eq!(answer["line"], json!(3 + index), "{line}: {answer}");
        let words = answer["words"][0].as_str().unwrap_or_default();
        for word in *wanted {
            assert!(words.contains(word), "{line}: wanted \"{word}\" in \"{words}\"");
        }
    }
    assert_eq!(answers.last().map(|answer| &answer["outcome"]), Some(&json!("accepted")));
}

#[test]
fn every_fault_of_a_line_is_told_with_its_path() {
    let mut wrong: Value = serde_json::from_str(&booking("1", 1, json!({}))).expect("JSON");
    wrong["idempotency_key"] = json!(null);
    wrong["message_id"] = json!("x");
    wrong["at"] = json!("noon");
    wrong["reservation_id"] = json!("eleven");
    wrong["roomz"] = json!(2);
    wrong["acceptance"] = json!("Perhaps");
    let mut other = stay();
    for (name, value) in [
        ("units", json!("many")),
        ("arrival", json!("2090-02-30")),
        ("currency", json!("euro")),
        ("nights", json!([{"room": 1.5}, {"rooom": 2}])),
        ("child_ages", json!([7, "nine"])),
        ("priced_by", json!(3)),
    ] {
        other[name] = value;
    }
    wrong["lines"].as_array_mut().expect("lines").push(other);
    let ran = run(&[wrong.to_string(), booking("good", 9, json!({}))]);
    let answers = ran.json_lines();
    assert_eq!(answers[2]["outcome"], "error", "{}", answers[2]);
    let words: Vec<_> =
        answers[2]["words"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
    let wanted = [
        "\"idempotency_key\" is missing",
        "message_id: \"x\" is not a UUID",
        "at: ",
        "reservation_id: ",
        "unknown field `roomz`",
        "acceptance: unknown variant `Perhaps`",
        "lines[1].units: ",
        "lines[1].arrival: ",
        "lines[1].currency: ",
        "lines[1].nights[0].room: ",
        "unknown field `rooom`",
        "lines[1].nights[1]: missing field `room`",
        "lines[1].child_ages[1]: ",
        "lines[1].priced_by: ",
    ];
    for wanted in wanted {
        let count = words.iter().filter(|words| words.contains(wanted)).count();
        assert_eq!(count, 1, "{wanted} in {words:#?}");
    }
    assert_eq!(words.len(), wanted.len(), "{words:#?}");
    assert_eq!(answers[3]["outcome"], "accepted");
}

#[test]
fn as_many_faults_of_a_line_are_told_as_are_bounded() {
    let mut wrong: Value = serde_json::from_str(&booking("1", 1, json!({}))).expect("JSON");
    wrong["lines"][0]["child_ages"] =
        Value::Array((0..500).map(|age| json!(age.to_string())).collect());
    let answers = run(&[wrong.to_string()]).json_lines();
    let words = answers[2]["words"].as_array().expect("words");
    assert_eq!(words.len(), 101, "{words:?}");
    assert_eq!(words[100], "only the first 100 faults are listed");
}

#[test]
fn every_fault_of_a_command_is_refused_with_its_path() {
    let wrong = booking(
        "1",
        1,
        json!({"units": 0, "adults": -1, "departure": "2090-06-30", "product": "Z",
               "currency": "USD", "nights": [{"room": -1}]}),
    );
    let property = json!({"property_id": "7b1d8f0e-0000-4000-8000-000000000002", "code": "",
                          "time_zone": "Lisbon", "roll_hour": 99, "currency": "EUR", "physical": 5});
    let answers = run(&[wrong, line("DefineProperty", "2", property)]).json_lines();
    let paths = |answer: &Value| -> Vec<String> {
        let reasons = answer["reasons"].as_array().expect("reasons").iter();
        reasons.map(|reason| reason["path"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let fields = ["units", "adults", "departure", "product", "currency", "nights[0].room"];
    assert_eq!(paths(&answers[2]), fields.map(|field| format!("lines[0].{field}")));
    assert_eq!(answers[2]["refusal"], "BadUnits");
    assert_eq!(paths(&answers[3]), ["code", "time_zone", "roll_hour"]);
    let words = answers[3]["words"].to_string();
    assert!(words.contains("time_zone: \\\"Lisbon\\\" is not in the IANA database"), "{words}");
}

#[test]
fn what_is_odd_is_accepted_with_warnings() {
    let huge = json!({"property_id": "7b1d8f0e-0000-4000-8000-000000000002", "code": "Huge",
                      "time_zone": "Europe/Lisbon", "roll_hour": 3, "currency": "EUR", "physical": 12000});
    let alone = booking("2", 2, json!({"adults": 0, "child_ages": [9]}));
    let answers = run(&[line("DefineProperty", "1", huge), alone]).json_lines();
    for (answer, rule, words) in [
        (&answers[2], "LargeHouse", "warning: physical: 12,000 rooms"),
        (&answers[3], "NoAdults", "warning: lines[0].adults: the line has no adult"),
    ] {
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        assert_eq!(answer["warnings"][0]["rule"], rule, "{answer}");
        assert!(answer["words"].to_string().contains(words), "{answer}");
    }
}

#[test]
fn commands_that_make_no_sense_are_refused_by_the_rule_that_says_why() {
    let many = i64::MAX / 2;
    let cases: Vec<(String, &str)> = vec![
        (booking("1", 1, json!({"departure": "2090-06-30"})), "DepartureBeforeArrival"),
        (booking("2", 2, json!({"nights": [{"room": -1}, {"room": 1}]})), "NegativePrice"),
        (
            booking("3", 3, json!({"nights": [{"room": many}, {"room": many}], "units": 3})),
            "PriceOverflow",
        ),
        (booking("4", 4, json!({"units": 0})), "BadUnits"),
        (booking("5", 5, json!({"units": i32::MAX})), "BadUnits"),
        (booking("6", 6, json!({"adults": -1})), "BadGuests"),
        (booking("7", 7, json!({"currency": "USD"})), "WrongCurrency"),
        (booking("8", 8, json!({"product": "Z"})), "UnknownProduct"),
        (booking("9", 9, json!({"nights": [{"room": 1}]})), "PricesMismatch"),
        (
            booking("10", 10, json!({"arrival": "1990-07-01", "departure": "1990-07-03"})),
            "NightInPast",
        ),
        (
            booking("11", 11, json!({"arrival": "9990-07-01", "departure": "9990-07-03"})),
            "BeyondHorizon",
        ),
        (booking("12", 12, json!({"units": 6})), "SoldOut"),
        (booking("13", 13, json!({"priced_by": "Engine"})), "NoRate"),
        (line("CheckIn", "14", json!({"reservation_id": reservation(77)})), "UnknownReservation"),
        (
            line(
                "CancelReservation",
                "15",
                json!({"property_id": "7b1d8f0e-0000-4000-8000-000000000002", "reservation_id": reservation(1)}),
            ),
            "UnknownProperty",
        ),
        (line("SetPhysicalCount", "16", json!({"count": -1})), "BadCount"),
        (
            line(
                "SetOverbooking",
                "17",
                json!({"allowance": 1, "first_night": "2090-02-02", "last_night": "2090-02-01"}),
            ),
            "BadRange",
        ),
        (
            line(
                "DefineProduct",
                "18",
                json!({"product": "A", "name": "again", "kind": "Room", "statistics": true, "physical": 1}),
            ),
            "ProductExists",
        ),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| line.clone()).collect();
    let answers = run(&lines).json_lines();
    for (index, (line, rule)) in cases.iter().enumerate() {
        let answer = &answers[2 + index];
        assert_eq!(answer["outcome"], "refused", "{line}: {answer}");
        let rules: Vec<_> = answer["reasons"].as_array().into_iter().flatten().collect();
        let has = rules.iter().any(|reason| reason["rule"] == *rule);
        assert!(has, "{line}: wanted {rule} in {answer}");
        let words = answer["words"].as_array().map_or(0, Vec::len);
        assert!(words > 0, "{line}: a refusal says why: {answer}");
    }
}

#[test]
fn a_key_used_twice_gets_the_first_answer_and_another_payload_is_a_conflict() {
    let cancel =
        |key: &str| line("CancelReservation", key, json!({"reservation_id": reservation(1)}));
    let lines = [
        booking("b", 1, json!({})),
        booking("b", 1, json!({})),
        booking("b", 1, json!({"units": 2})),
        booking("other key", 1, json!({})),
        booking("full", 2, json!({"units": 5})),
        booking("full", 2, json!({"units": 5})),
        cancel("c"),
        cancel("c"),
        cancel("again"),
    ];
    let ran = run(&lines);
    let answers = &ran.json_lines()[2..];
    let outcomes: Vec<_> = answers.iter().map(|answer| answer["outcome"].clone()).collect();
    let wanted = [
        "accepted", "repeated", "conflict", "refused", "refused", "repeated", "accepted",
        "repeated", "refused",
    ];
    assert_eq!(outcomes, wanted.map(Value::from), "{}", ran.stdout);
    let same = |one: usize, other: usize| {
        assert_eq!(answers[one]["event_id"], answers[other]["event_id"]);
        assert_eq!(answers[one]["reasons"], answers[other]["reasons"]);
    };
    same(0, 1);
    same(4, 5);
    same(6, 7);
    assert_eq!(answers[3]["reasons"][0]["rule"], "ReservationExists");
    assert_eq!(answers[4]["reasons"][0]["asked"], 5);
    assert_eq!(answers[4]["reasons"][0]["allowed"], 4);
    assert!(answers[4]["alternatives"].as_array().is_some_and(|stays| !stays.is_empty()));
    assert_eq!(answers[8]["reasons"][0]["rule"], "WrongState");
    assert_eq!(ran.code, Some(0), "refusals are no failures: {}", ran.stderr);
}

#[test]
fn a_refusal_is_told_in_words_with_night_numbers_and_what_could_be_had() {
    let folder = folder();
    let data = text(folder.path());
    let lines = [inn(), vec![booking("b", 1, json!({})), booking("full", 2, json!({"units": 5}))]];
    // Years ahead of every clock that runs this: only the time of the inn matters.
    let lines = lines.concat().join("\n").replace("2090-", "2030-");
    let told = bellhop_with(&["run", "--data", data], &lines).ok();
    let last = told.lines().last().unwrap_or_default();
    for words in
        ["4: refused CreateReservation", "A is sold out on 2030-07-01 (asked 5, left 4)", "instead"]
    {
        assert!(last.contains(words), "wanted \"{words}\" in {last}");
    }
    let why = bellhop(&["why", &reservation(2), "--data", data]).ok();
    assert!(why.contains("sold out on 2030-07-01 (asked 5, left 4)"), "{why}");
    let state =
        bellhop(&["state", "Inn", "--from", "2030-07-01", "--to", "2030-07-02", "--data", data])
            .ok();
    assert!(state.contains("1/5"), "{state}");
    bellhop(&["verify", "--decisions", "--data", data]).ok();
}

#[test]
fn a_live_log_and_a_replay_are_never_mixed() {
    let folder = folder();
    let data = text(folder.path());
    bellhop_with(&["run", "--data", data], &inn().join("\n")).ok();
    let error = bellhop_with(&["run", "--data", data, "--timestamps", "create"], "").failed(1);
    assert!(error.contains("give another folder"), "{error}");
    let with_at = line("CheckIn", "1", json!({"at": "2090-01-01T12:00:00Z"}));
    let ran = bellhop_with(&["run", "--data", data], &with_at);
    assert!(ran.stdout.contains("--timestamps create"), "{ran:?}");
}

#[test]
fn what_cannot_be_decided_is_parked_and_can_be_looked_at() {
    let folder = folder();
    let data = text(folder.path());
    let cause = format!("needle {}", "x".repeat(2 << 20));
    let long = line("CancelReservation", "long", json!({"cause": cause}));
    let answers = bellhop_with(&["run", "--data", data, "--json"], &long).json_lines();
    assert_eq!(answers[0]["outcome"], "parked", "{answers:?}");
    let position = answers[0]["position"].as_str().expect("a position");
    let list = bellhop(&["parked", "list", "--data", data]).ok();
    assert!(list.contains(position) && list.contains("TooLarge"), "{list}");
    let show = bellhop(&["parked", "show", position, "--data", data]).ok();
    assert!(show.contains("at most 1048576") && show.contains("needle"), "{}", &show[..2_000]);
    let error = bellhop(&["parked", "show", "0@77", "--data", data]).failed(1);
    assert!(error.contains("nothing is parked at 0@77"), "{error}");
    let error = bellhop(&["parked", "show", "first", "--data", data]).failed(1);
    assert!(error.contains("write it like 3@1042"), "{error}");
}

#[test]
fn a_line_of_any_length_is_read_or_refused() {
    let long = line("CancelReservation", "long", json!({"cause": "x".repeat(2 << 20)}));
    let huge = line("CancelReservation", "huge", json!({"cause": "x".repeat(5 << 20)}));
    let ran = run(&[long, huge, booking("after", 1, json!({}))]);
    let outcomes: Vec<_> = ran
        .json_lines()
        .iter()
        .map(|answer| answer["outcome"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(outcomes[2..], ["parked", "error", "accepted"], "{}", ran.stderr);
}
