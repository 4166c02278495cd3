//! A log on a cluster: a real broker, a real registry, the binary from topics to metrics.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bellhop_harness::{
    Collector, Kafka, Registry, free_port, java_class_path, python_packages, signal,
};

use crate::harness::{bellhop, bellhop_with, command, folder, text};

const PROPERTY: &str = "7b0c7e52-6f5e-4a54-9d1c-3f2a8a6b1c01";
const RESERVATION: &str = "11111111-1111-4111-8111-111111111111";

fn lines() -> String {
    let create = |key: &str, id: &str, units: u32| {
        format!(
            r#"{{"type":"CreateReservation","idempotency_key":"{key}","property_id":"{PROPERTY}","reservation_id":"{id}","lines":[{{"product":"DBL","units":{units},"arrival":"2027-08-01","departure":"2027-08-02","adults":2,"currency":"EUR","priced_by":"Client","nights":[{{"room":9000}}]}}]}}"#
        )
    };
    [
        format!(r#"{{"type":"DefineProperty","idempotency_key":"p1","property_id":"{PROPERTY}","code":"Seaview","time_zone":"Europe/Lisbon","roll_hour":3,"currency":"EUR","physical":2}}"#),
        format!(r#"{{"type":"DefineProduct","idempotency_key":"d1","property_id":"{PROPERTY}","product":"DBL","name":"Double room","kind":"Room","statistics":true,"physical":2}}"#),
        create("r1", RESERVATION, 2),
        create("r1", RESERVATION, 2),
        create("r1", RESERVATION, 1),
        create("r2", "22222222-2222-4222-8222-222222222222", 1),
        r#"{"type":"Nonsense"}"#.to_owned(),
    ]
    .join("\n")
}

/// Stops in order when dropped, as an operator would.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = signal(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn from_a_brokers_address_to_decided_commands_and_metrics() {
    let kafka = Kafka::start(1).expect("a broker");
    let registry = Registry::start().expect("a registry");
    let folder = folder();
    let data = text(folder.path());
    let (brokers, registry) = (kafka.brokers(), registry.url());
    let cluster = ["--broker", &brokers, "--registry", &registry];
    let on = |args: &[&str]| bellhop(&[args, &cluster].concat());

    // Nothing is there yet, and that is said with what to do.
    let error = on(&["lag"]).failed(1);
    assert!(error.contains("missing") && error.contains("bellhop topics create"), "{error}");
    let made = on(&["topics", "create"]).ok();
    assert_eq!(made.lines().count(), 5, "{made}");
    assert!(on(&["topics", "check"]).ok().contains("as they should be"));
    assert!(on(&["topics", "check", "--partitions", "3"]).ok().contains("has partitions 8"));
    assert!(on(&["schemas", "check"]).ok().contains("registers what is new"));
    assert!(on(&["schemas", "register"]).ok().contains("all registered now"));
    assert!(on(&["schemas", "check"]).ok().contains("all registered"));

    // Sent before anybody works: they wait.
    let sent = bellhop_with(&[&["send"], &cluster[..]].concat(), &lines());
    assert_eq!(sent.code, Some(1), "one line is nonsense: {sent:?}");
    assert!(sent.stdout.contains("6 commands sent"), "{sent:?}");
    assert!(on(&["lag"]).ok().contains("6 waiting in all"));

    let port = free_port().expect("a port");
    let collector = Collector::start().expect("a collector");
    let mut worker = command(&[&["run", "--data", data], &cluster[..]].concat());
    worker
        .env("BELLHOP_HTTP", format!("127.0.0.1:{port}"))
        .env("BELLHOP_OUTPUT_HEADERS", "[\"cloudevents\", \"traceparent\"]")
        .env("BELLHOP_TELEMETRY__OTLP", collector.url())
        .stderr(Stdio::null());
    let worker = Running(worker.spawn().expect("start a worker"));
    until("the commands to be decided", || on(&["lag"]).ok().contains("0 waiting in all"));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let asked = bellhop_with(
        &[&["send", "--wait", "--traceparent", trace], &cluster[..]].concat(),
        &lines(),
    );
    for words in [
        "1: repeated DefineProperty: accepted before",
        "3: repeated CreateReservation RSV-",
        "4: repeated CreateReservation RSV-",
        "5: conflict CreateReservation",
        "6: repeated CreateReservation: refused before, and nothing is done twice; DBL is sold out on 2027-08-01 (asked 1, left 0)",
        "7: error",
    ] {
        assert!(asked.stdout.contains(words), "wanted \"{words}\" in:\n{asked:?}");
    }
    replies_say_all_that_was_decided(&cluster);
    let nonsense = bellhop_with(&[&["send", "--traceparent", "x"], &cluster[..]].concat(), "");
    assert!(nonsense.stderr.contains("not as W3C writes it"), "{nonsense:?}");
    let conflicts = on(&["events", "--type", "command.conflicted"]).ok();
    assert!(conflicts.contains("\"ce_type\":\"command.conflicted\""), "{conflicts}");
    assert!(conflicts.contains("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{conflicts}");
    until("the spans to arrive", || {
        let bodies = collector.bodies();
        let name = b"decide CreateReservation";
        bodies.iter().any(|body| body.windows(name.len()).any(|part| part == name))
    });
    let metrics = get(port, "/metrics").expect("metrics");
    assert!(metrics.contains("bellhop_spans_dropped_total 0"), "{metrics}");
    assert!(metrics.contains("bellhop_workers_up 1"), "{metrics}");
    until("what waits to be measured", || {
        let metrics = get(port, "/metrics").unwrap_or_default();
        metrics.contains("bellhop_lag_records{partition=\"0\"} 0")
    });
    for path in ["/healthz", "/readyz"] {
        let answer = get(port, path).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    producers_tell_what_was_not_decided_from_what_was_accepted(&[&brokers, &registry, PROPERTY]);
    let story = on(&["why", RESERVATION]).ok();
    assert!(story.contains("RSV-"), "{story}");
    drop(worker);
    let verified = on(&["verify", "--data", data]).ok();
    assert!(verified.contains("All is well"), "{verified}");
    let calendar = on(&["state", "Seaview", "--from", "2027-08-01", "--to", "2027-08-01"]).ok();
    assert!(calendar.contains("2027-08-01"), "{calendar}");
    the_past_is_sent_and_decided_where_its_times_are_asked_for(&cluster);
    answers_come_under_another_prefix(&cluster);
}

fn replies_say_all_that_was_decided(cluster: &[&str]) {
    let more = lines().replace("\"r1\"", "\"r3\"").replace("\"r2\"", "\"r4\"");
    let more: Vec<_> = more.lines().skip(3).collect();
    let asked = bellhop_with(&[&["send", "--wait", "--json"], cluster].concat(), &more.join("\n"));
    let answers = asked.json_lines();
    let [exists, conflict, sold_out, nonsense] = answers.as_slice() else { panic!("{asked:?}") };
    assert_eq!((&exists["code"], &exists["refusal"]), (&13.into(), &"ReservationExists".into()));
    assert_eq!(conflict["outcome"], "conflict");
    assert_eq!((&sold_out["code"], &sold_out["refusal"]), (&26.into(), &"SoldOut".into()));
    let [product, house] = sold_out["reasons"].as_array().expect("reasons").as_slice() else {
        panic!("{sold_out}")
    };
    assert_eq!((&product["rule"], &house["rule"]), (&"SoldOut".into(), &"HouseFull".into()));
    assert_eq!((&product["product"], &product["night"]), (&"DBL".into(), &"2027-08-01".into()));
    assert_eq!((&product["asked"], &product["allowed"]), (&1.into(), &0.into()));
    assert!(!sold_out["alternatives"].as_array().expect("alternatives").is_empty(), "{sold_out}");
    assert_eq!(
        (&nonsense["outcome"], &nonsense["code"]),
        (&"error".into(), &serde_json::Value::Null)
    );
}

/// Each example, accepted, in conflict with itself, and parked for its key.
fn producers_tell_what_was_not_decided_from_what_was_accepted(place: &[&str]) {
    let too_long = "k".repeat(2_000);
    for (name, producer) in [("python", python as fn() -> Command), ("rust", rust), ("java", java)]
    {
        let sent = |key: &str| {
            let output = producer().args(place).arg(key).output().expect("start the program");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &errors)
        };
        let (code, replied) = sent(&format!("example-{name}"));
        assert!(replied.contains("Decided: accepted as RSV-") && code == Some(0), "{replied}");
        // Its reservation has another id each time, and so another payload.
        let (code, replied) = sent(&format!("example-{name}"));
        assert!(replied.contains("Conflict: not decided") && code == Some(1), "{name}: {replied}");
        let (code, replied) = sent(&too_long);
        assert!(replied.contains("Parked: not decided") && code == Some(1), "{name}: {replied}");
        assert!(!replied.contains("accepted"), "{name}: {replied}");
    }
}

/// The topic of replies goes with the others.
fn answers_come_under_another_prefix(cluster: &[&str]) {
    let north = [cluster, &["--prefix", "north"]].concat();
    bellhop(&[&["topics", "create", "--partitions", "1"], &north[..]].concat()).ok();
    let mut worker = command(&[&["run"], &north[..]].concat());
    let worker = Running(worker.stderr(Stdio::null()).spawn().expect("start a worker"));
    let line = lines().lines().next().expect("a line").to_owned();
    let asked = bellhop_with(&[&["send", "--wait"], &north[..]].concat(), &line).ok();
    assert!(asked.contains("1: accepted DefineProperty"), "{asked}");
    drop(worker);
}

/// By the configuration, or by the option, which comes first.
fn the_past_is_sent_and_decided_where_its_times_are_asked_for(cluster: &[&str]) {
    let past = [cluster, &["--prefix", "past"]].concat();
    let made = command(&[&["topics", "create", "--partitions", "1"], &past[..]].concat())
        .env("BELLHOP_KAFKA__TIMESTAMPS", "create")
        .status();
    assert!(made.expect("topics").success());
    let error = bellhop(&[&["run"], &past[..]].concat()).failed(1);
    assert!(error.contains("message.timestamp.type"), "{error}");

    let of_2016 = lines().lines().next().expect("a line").replacen(
        '{',
        r#"{"at":"2016-08-01T09:00:00Z","#,
        1,
    );
    let send = [&["send", "--timestamps", "create"], &past[..]].concat();
    let sent = bellhop_with(&send, &of_2016);
    assert!(sent.stdout.contains("1 command sent"), "{sent:?}");
    let mut worker = command(&[&["run", "--timestamps", "create"], &past[..]].concat());
    let worker = Running(worker.stderr(Stdio::null()).spawn().expect("start a worker"));
    let lag = || bellhop(&[&["lag"], &past[..]].concat()).ok();
    until("the past to be decided", || lag().contains("0 waiting in all"));
    drop(worker);
}

/// The example of a producer in Python, as its page says to run it.
fn python() -> Command {
    let client = ["confluent-kafka[avro,schemaregistry]==2.12.2"];
    let packages = python_packages("confluent-kafka-2.12.2", &client).expect("the client");
    let mut python = Command::new("python3");
    python.args([
        "-W",
        "ignore",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python/produce.py"),
    ]);
    python.env("PYTHONPATH", packages);
    python
}

/// The one in Rust.
fn rust() -> Command {
    let mut cargo = bellhop_harness::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "bellhop",
        "--example",
        "produce",
        "--",
    ]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

/// The one in Java.
fn java() -> Command {
    let mut java = Command::new("java");
    java.args(["-cp", &java_class_path().expect("the client")]);
    java.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/java/Produce.java"));
    java
}

#[test]
fn an_address_where_nobody_listens_is_said() {
    let port = free_port().expect("a port");
    let (broker, registry) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let error = bellhop(&["lag", "--broker", &broker, "--registry", &registry]).failed(1);
    assert!(error.contains(&port.to_string()), "{error}");
    let error = bellhop(&["lag", "--broker", &broker]).failed(1);
    assert!(error.contains("--registry URL"), "{error}");
}
