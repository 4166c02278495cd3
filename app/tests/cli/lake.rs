//! Questions to the lake: while a process holds the log, out into files, about one property.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use crate::harness::{bellhop, bellhop_with, command, folder, text, whole};

/// A `bellhop run` on a folder that answers line by line.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Running {
    fn on(data: &str) -> Self {
        let mut child = command(&["run", "--data", data])
            .stdin(Stdio::piped())
            .spawn()
            .expect("start bellhop run");
        let stdin = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, stdin, answers }
    }

    /// Sends a command and waits for its answer.
    fn send(&mut self, line: &str) -> String {
        let stdin = self.stdin.as_mut().expect("it runs");
        writeln!(stdin, "{line}").expect("send a command");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("read an answer");
        answer
    }

    fn end(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().expect("wait for bellhop run").success());
    }
}

const INN: &str = "7b0c7e52-6f5e-4a54-9d1c-3f2a8a6b1c01";

fn define(id: &str, code: &str) -> [String; 2] {
    [
        format!(
            r#"{{"type":"DefineProperty","idempotency_key":"p-{id}","property_id":"{id}","code":"{code}","time_zone":"Europe/Lisbon","roll_hour":3,"currency":"EUR","physical":9}}"#
        ),
        format!(
            r#"{{"type":"DefineProduct","idempotency_key":"d-{id}","property_id":"{id}","product":"DBL","name":"Double","kind":"Room","statistics":true,"physical":9}}"#
        ),
    ]
}

fn book(id: &str, number: u32) -> String {
    format!(
        r#"{{"type":"CreateReservation","idempotency_key":"r-{id}-{number}","property_id":"{id}","reservation_id":"{number:08}-1111-4111-8111-111111111111","lines":[{{"product":"DBL","units":1,"arrival":"2031-08-01","departure":"2031-08-02","adults":2,"currency":"EUR","priced_by":"Client","nights":[{{"room":9000}}]}}]}}"#
    )
}

#[test]
fn while_a_process_holds_the_log_an_answer_has_all_that_was_decided_before_it_was_asked_for() {
    let folder = folder();
    let data = text(folder.path());
    let mut running = Running::on(data);
    for line in define(INN, "Inn") {
        assert!(running.send(&line).contains("accepted"));
    }
    for number in 1..=3 {
        let answer = running.send(&book(INN, number));
        assert!(answer.contains("accepted"), "{answer}");
        let told = bellhop(&["kpi", "bookings", "--json", "--data", data]);
        let said = told.stderr.clone();
        assert!(said.contains("answered from a running process, with"), "{said}");
        let rows: Vec<Value> = serde_json::from_str(&told.ok()).expect("JSON");
        assert_eq!(rows[0]["bookings"], number);
    }
    let sql = "SELECT count(*) AS n FROM reservations WHERE status = 'booked'";
    assert_eq!(bellhop(&["sql", sql, "--csv", "--data", data]).ok(), "n\n3\n");
    running.end();
    // Nobody holds it any more: the question itself brings the lake up to date.
    let told = bellhop(&["sql", sql, "--csv", "--data", data]);
    assert_eq!((told.stderr.as_str(), told.stdout.as_str()), ("", "n\n3\n"));
}

#[test]
fn a_code_of_two_properties_is_refused_with_their_ids_and_both_are_shown_apart() {
    let folder = folder();
    let data = text(folder.path());
    let other = INN.replace("7b0c", "8b0c");
    let mut lines: Vec<String> = [define(INN, "Inn"), define(&other, "Inn")].concat();
    lines.extend([book(INN, 1), book(&other, 2), book(&other, 3)]);
    bellhop_with(&["run", "--data", data], &lines.join("\n")).ok();
    for question in [
        &["kpi", "bookings", "--property", "Inn", "--data", data][..],
        &["state", "Inn", "--data", data],
    ] {
        let error = bellhop(question).failed(1);
        assert!(error.contains(INN) && error.contains(&other), "{question:?}: {error}");
    }
    let told = bellhop(&["kpi", "bookings", "--property", &other, "--csv", "--data", data]).ok();
    assert_eq!(told, "bookings\n2\n");
    let told = bellhop(&["kpi", "bookings", "--by", "property", "--csv", "--data", data]).ok();
    assert_eq!(told, format!("property,bookings\nInn ({INN}),1\nInn ({other}),2\n"));
    let error = bellhop(&["kpi", "adr", "--property", "Ritz", "--data", data]).failed(1);
    assert!(error.contains("there is no property \"Ritz\""), "{error}");
}

#[test]
fn a_long_answer_is_cut_for_people_and_whole_for_programs() {
    let days = bellhop(&["kpi", "occupancy", "--by", "property,day", "--data", whole()]).ok();
    assert!(days.contains(" rows more: --csv, --json or --parquet FILE"), "{days}");
    let folder = folder();
    let sql = "SELECT value FROM generate_series(1, 1234567)";
    let told = bellhop(&["sql", sql, "--data", whole()]).ok();
    assert!(told.contains("1,233,567 rows more: --csv, --json or --parquet FILE"), "{told}");
    assert!(told.lines().count() < 1_010, "{} lines", told.lines().count());
    let csv = bellhop(&["sql", sql, "--csv", "--data", whole()]).ok();
    assert_eq!(csv.lines().count(), 1_234_568);
    let path = folder.path().join("all.parquet");
    let nights = "SELECT * FROM room_nights";
    let told = bellhop(&["sql", nights, "--parquet", text(&path), "--data", whole()]).ok();
    let count = bellhop(&["sql", "SELECT count(*) FROM room_nights", "--csv", "--data", whole()]);
    let count: i64 = count.ok().lines().nth(1).and_then(|line| line.parse().ok()).expect("count");
    assert!(
        count > 600_000 && told.replace(',', "").starts_with(&format!("{count} rows")),
        "{told}"
    );
    let args = ["sql", nights, "--csv", "--json", "--data", whole()];
    assert!(bellhop(&args).failed(2).contains("cannot be used with"));
}

#[test]
fn the_period_that_was_divided_by_is_said_with_the_answer() {
    let args = ["kpi", "occupancy", "--by", "property", "--data", whole()];
    let told = bellhop(&args).ok();
    for words in ["74.8 %", "City Hotel 2015-07-01 to 2017-09-06", "--from and --to"] {
        assert!(told.contains(words), "no \"{words}\" in {told}");
    }
    let machine = bellhop(&[&args[..], &["--json"]].concat());
    assert!(machine.stderr.contains("2017-09-06"), "{machine:?}");
    assert!(serde_json::from_str::<Value>(&machine.ok()).is_ok());
    // The days of arrival that the data have.
    let told = bellhop(&[&args[..], &["--from", "2015-07-01", "--to", "2017-08-31"]].concat()).ok();
    assert!(told.contains("75.3 %") && !told.contains("Over the nights"), "{told}");
    let told = bellhop(&[&args[..], &["--less-out-of-order"]].concat()).ok();
    assert!(told.contains("No room was ever out of order here"), "{told}");
}
