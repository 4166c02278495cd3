//! Commands that speak CloudEvents and belong to a trace, sent by a plain client of Kafka: their
//! events are read by the Python packages of CloudEvents and OpenTelemetry, which know nothing of
//! us.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use bellhop_core::engine::ParkedKind;
use bellhop_core::headers::{Written, span_id};
use bellhop_core::message::Position;
use bellhop_harness::{Collector, python_packages};
use bellhop_runtime::log::Topic;
use bellhop_runtime::log::redpanda::Settings;
use bellhop_runtime::parked;
use bellhop_runtime::telemetry::{Config, Exporter, Source};
use bellhop_tests::hands::{counter_in, read};
use bellhop_tests::toy::{Add, Move};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::house::{House, LONG, PARTITIONS, Running, shared, worker_traced};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

/// The headers of a CloudEvent with an id of its own, in a trace or not.
fn cloud_event(id: &str, type_name: &str, sampled: Option<bool>) -> OwnedHeaders {
    let text = |key, value| Header { key, value: Some(value) };
    let headers = OwnedHeaders::new()
        .insert(text("content-type", "application/avro"))
        .insert(text("ce_specversion", "1.0"))
        .insert(text("ce_id", id))
        .insert(text("ce_source", "/web"))
        .insert(text("ce_type", type_name));
    let Some(sampled) = sampled else { return headers };
    let trace = format!("00-{TRACE}-{SENDER}-{:02x}", u8::from(sampled));
    headers.insert(text("traceparent", &trace)).insert(text("tracestate", "vendor=a"))
}

/// What the packages of others read: lines of events, and lines of spans.
fn as_others_read(house: &House, events_topic: &str, bodies: &[Vec<u8>]) -> Vec<String> {
    let wanted = ["cloudevents==2.2.0", "opentelemetry-proto==1.45.2", "confluent-kafka==2.16.1"];
    let packages = python_packages("cloudevents-2.2.0-otlp-1.45.2", &wanted).unwrap();
    let bodies = bodies.iter().fold(String::new(), |mut text, body| {
        body.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text + "\n"
    });
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("bodies");
    std::fs::write(&file, bodies).unwrap();
    let told = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/live/headers.py"))
        .args([&house.config.brokers, events_topic])
        .arg(file)
        .env("PYTHONPATH", packages)
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn events_are_cloud_events_in_the_trace_of_their_command_and_spans_join_them() {
    let cluster = shared();
    let house = House::new(&cluster);
    let collector = Collector::start().unwrap();
    let exporter = Exporter::start(Config {
        endpoint: collector.url().to_owned(),
        headers: Settings::default(),
        ca_file: None,
        resource: BTreeMap::from([("service.name".to_owned(), "bellhop".to_owned())]),
        source: Source {
            system: "kafka".to_owned(),
            destination: house.config.topic(Topic::Commands),
            group: house.config.group.clone(),
        },
    })
    .unwrap();
    let written = Written { cloudevents: true, traceparent: true };
    let running = Running::of(worker_traced(&house.log, written, exporter.spans()));

    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &house.config.brokers).create().unwrap();
    let topic = house.config.topic(Topic::Commands);
    let (counter, to) = (counter_in(0, PARTITIONS, 1), counter_in(3, PARTITIONS, 1));
    let send = |(key, value): &(Vec<u8>, Vec<u8>), headers| {
        let record = BaseRecord::to(&topic).partition(0).key(key).payload(value);
        producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
    };
    let add = |amount| Add { counter, amount, note: String::new() };
    send(&house.pen.write("a", &add(5)), cloud_event("1", "Add", Some(true)));
    send(&house.pen.write("b", &add(-9)), cloud_event("2", "toy.Add", Some(false)));
    send(&house.pen.write("c", &add(1)), cloud_event("3", "Add", None));
    send(&house.pen.write("d", &add(1)), cloud_event("4", "Move", Some(true)));
    let amount = Move { counter, to, amount: 2 };
    send(&house.pen.write("e", &amount), cloud_event("5", "Move", Some(true)));
    // Nobody's trace, and no CloudEvent: they are decided as ever.
    let odd = OwnedHeaders::new().insert(Header { key: "traceparent", value: Some("00-nonsense") });
    send(&house.pen.write("f", &add(1)), odd);
    producer.flush(Duration::from_secs(20)).unwrap();
    wait_for_events(&house, &[(0, 6), (3, 1)]);
    running.stop();
    let counts = exporter.counts();
    drop(exporter);
    assert_eq!(counts.dropped(), 0);

    // What contradicts is parked with its cause and all of its headers.
    let entries = parked::list(&mut house.log.reader()).unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.parked.offset, entry.parked.kind), (3, ParkedKind::WrongHeaders));
    assert_eq!(entry.parked.cause, "ce_type is \"Move\", the value holds Add (toy.Add)");
    assert_eq!(entry.parked.headers.len(), 7);

    let log_id = house.log.identity().log_id;
    let span = |partition, offset| span_id(log_id, Position { partition, offset });
    let id = |partition, offset, index| {
        log_id.message_id(Position { partition, offset }, index).hyphenated().to_string()
    };
    let event = |type_name: &str, id: String, subject: &str, span: Option<u64>| {
        let trace = span
            .map_or_else(|| "- -".to_owned(), |span| format!("00-{TRACE}-{span:016x}-01 vendor=a"));
        format!("event {type_name} {id} /bellhop/{} {subject} {trace}", log_id.0)
    };
    let lines = as_others_read(&house, &house.config.topic(Topic::Events), &collector.bodies());
    let mut events: Vec<_> = lines.iter().filter(|line| line.starts_with("event ")).collect();
    let (from, into) = (counter.to_string(), to.to_string());
    let mut expected = [
        event("counter.added", id(0, 0, 0), &from, Some(span(0, 0))),
        event("counter.refused", id(0, 1, 0), &from, Some(span(0, 1)))
            .replace("-01 vendor", "-00 vendor"),
        event("counter.added", id(0, 2, 0), &from, None),
        event("counter.added", id(0, 4, 0), &from, Some(span(0, 4))),
        event("counter.added", id(0, 5, 0), &from, None),
        // The command that another led to is decided in its trace as well.
        event("counter.added", id(3, 0, 0), &into, Some(span(3, 0))),
    ];
    events.sort();
    expected.sort();
    assert_eq!(events, expected.iter().collect::<Vec<_>>());

    let mut spans: Vec<_> = lines.iter().filter(|line| line.starts_with("span decide ")).collect();
    let decided = |name: &str, partition, offset, parent: String, outcome: &str, status| {
        let own = span(partition, offset);
        format!(
            "span {name} {TRACE} {own:016x} {parent} CONSUMER kafka {partition} {offset} {outcome} {status}"
        )
    };
    let mut expected = [
        decided("decide Add", 0, 0, SENDER.to_owned(), "accepted", "UNSET"),
        decided("decide Add", 0, 3, SENDER.to_owned(), "parked", "ERROR"),
        decided("decide Move", 0, 4, SENDER.to_owned(), "accepted", "UNSET"),
        decided("decide Add", 3, 0, format!("{:016x}", span(0, 4)), "accepted", "UNSET"),
    ];
    spans.sort();
    expected.sort();
    assert_eq!(spans, expected.iter().collect::<Vec<_>>());
    let count = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!(count("span take over "), PARTITIONS as usize);
    assert_eq!(count("span restore "), PARTITIONS as usize);
    assert!((1..=4).contains(&count("span commit ")), "{lines:?}");
}

/// Waits until the partitions have so many events, the genesis of each counted.
fn wait_for_events(house: &House, wanted: &[(u32, usize)]) {
    let mut reader = house.log.reader();
    let until = Instant::now() + LONG;
    for (partition, count) in wanted {
        while read(&mut reader, Topic::Events, *partition, 0).len() < *count {
            assert!(Instant::now() < until, "no {count} events on partition {partition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
