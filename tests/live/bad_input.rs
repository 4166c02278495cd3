//! Records that no producer of ours would send: each is parked with its cause, and the partition
//! goes on.

use std::time::Duration;

use bellhop_core::engine::ParkedKind;
use bellhop_core::message::{LogId, Timestamp};
use bellhop_core::record::Header;
use bellhop_runtime::log::redpanda::topics::{self, Wanted};
use bellhop_runtime::log::redpanda::{Config, Redpanda};
use bellhop_runtime::log::{Command, ErrorKind, Log as _, Producer, Topic};
use bellhop_runtime::parked;
use bellhop_tests::hands::counter_in;
use bellhop_tests::toy::Add;
use rdkafka::ClientConfig;
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use uuid::Uuid;

use crate::house::{House, PARTITIONS, Running, shared};

#[test]
fn bad_records_are_parked_with_their_cause_and_the_partition_goes_on() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let running = Running::start(&house.log);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &house.config.brokers)
        .set("message.max.bytes", "16777216")
        .create()
        .unwrap();
    let topic = house.config.topic(Topic::Commands);
    let counter = counter_in(0, PARTITIONS, 1);
    let add = Add { counter, amount: 1, note: String::new() };
    let (key, good) = house.pen.write("good", &add);
    let unknown = [&[0, 0x7f, 0xff, 0xff, 0xfe][..], b"whatever"].concat();
    let huge = [good.clone(), vec![0; 10 << 20]].concat();
    let mut offset = 0;
    let mut send = |partition: i32, key: Option<&[u8]>, value: Option<&[u8]>| {
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition);
        record.key = key;
        record.payload = value;
        // Names that are no words, values that are no text, and none at all.
        let headers = OwnedHeaders::new()
            .insert(KafkaHeader { key: "traceparent", value: Some(&[0xff, 0xfe, 0][..]) })
            .insert(KafkaHeader { key: "", value: None::<&[u8]> })
            .insert(KafkaHeader { key: "traceparent", value: Some(&b"again"[..]) });
        producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
        offset += 1;
    };
    send(0, Some(&key), Some(b"{\"json\":true}"));
    send(0, Some(&key), Some(b""));
    send(0, Some(&key), None);
    send(0, None, None);
    send(0, None, Some(&good));
    send(0, Some(&key), Some(&unknown));
    send(0, Some(&key), Some(&unknown));
    send(0, Some(&key), Some(&huge));
    send(2, Some(&key), Some(&good));
    send(0, Some(&key), Some(&good[..good.len() - 1]));
    producer.flush(Duration::from_secs(20)).unwrap();
    house.send(200);
    house.wait_decided();
    let mut entries = parked::list(&mut house.log.reader()).unwrap();
    entries.sort_by_key(|entry| (entry.partition, entry.parked.offset));
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.partition, entry.parked.offset, entry.parked.kind))
        .collect();
    let expected = [
        (0, 0, ParkedKind::Undecodable),
        (0, 1, ParkedKind::Undecodable),
        (0, 2, ParkedKind::Undecodable),
        (0, 3, ParkedKind::Undecodable),
        (0, 4, ParkedKind::WrongKey),
        (0, 5, ParkedKind::UnknownType),
        (0, 6, ParkedKind::UnknownType),
        (0, 7, ParkedKind::TooLarge),
        (0, 8, ParkedKind::Undecodable),
        (2, 0, ParkedKind::WrongKey),
    ];
    assert_eq!(found, expected);
    let cause = |nth: usize| entries[nth].parked.cause.as_str();
    assert!(cause(0).contains("Confluent framing"), "{}", cause(0));
    assert!(cause(2).contains("no value"), "{}", cause(2));
    assert!(cause(5).contains("schema id 2147483646 is not known"), "{}", cause(5));
    assert!(cause(7).contains("10485"), "{}", cause(7));
    let wrong = cause(9);
    assert!(wrong.contains("belongs to partition 0, the record is in 2"), "{wrong}");
    assert!(wrong.contains("murmur2"), "{wrong}");
    let headers = &entries[0].parked.headers;
    assert_eq!(headers.len(), 3);
    assert_eq!(headers[0].value.0, [0xff, 0xfe, 0]);
    running.stop();
}

#[test]
fn a_value_that_is_too_large_is_parked_with_its_first_64_kib() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let running = Running::start(&house.log);
    let counter = counter_in(1, PARTITIONS, 1);
    let note = "x".repeat(3 << 20);
    let (key, value) = house.pen.write("large", &Add { counter, amount: 1, note });
    let headers = [Header { name: "reply-to", value: b"nowhere" }];
    let command = Command { key: &key, value: &value, timestamp: Timestamp(0), headers: &headers };
    let position = house.log.sender().append(&[command], None).unwrap()[0];
    house.send(50);
    house.wait_decided();
    let entries = parked::list(&mut house.log.reader()).unwrap();
    let [entry] = entries.as_slice() else { panic!("{} entries", entries.len()) };
    assert_eq!((entry.partition, entry.parked.offset), (1, position.offset.cast_signed()));
    assert_eq!(entry.parked.value_bytes, value.len() as i64);
    assert_eq!(entry.parked.value.as_ref().unwrap().0, value[..64 * 1024]);
    running.stop();
}

pub(crate) fn refused(config: &Config) -> bellhop_runtime::log::Error {
    let log_id = LogId(Uuid::from_u128(1));
    match Redpanda::connect(config, log_id) {
        Ok(_) => panic!("{} was taken", config.prefix),
        Err(error) => error,
    }
}

#[test]
fn what_is_wrong_with_brokers_and_topics_is_said() {
    let cluster = shared();
    let house = House::new(&cluster);
    let mut config = house.config.clone();
    config.request_timeout = Duration::from_secs(3);

    let mut nobody = config.clone();
    nobody.brokers = "127.0.0.1:9".to_owned();
    let error = refused(&nobody);
    assert_eq!(error.kind, ErrorKind::Retry);
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
    assert!(error.hint.contains("brokers"), "{error}");

    let mut tls = config.clone();
    tls.security.tls = true;
    let error = refused(&tls);
    assert!(error.hint.contains("TLS"), "{error}");

    let mut sasl = config.clone();
    sasl.client.0.insert("security.protocol".to_owned(), "nonsense".to_owned());
    let error = refused(&sasl);
    assert_eq!(error.kind, ErrorKind::FixInput, "{error}");

    let mut missing = config.clone();
    missing.prefix = "nowhere".to_owned();
    let error = refused(&missing);
    assert_eq!(error.kind, ErrorKind::FixInput);
    assert!(error.hint.contains("nowhere.commands is missing"), "{error}");
    assert!(error.hint.contains("bellhop topics create"), "{error}");

    let mut times = config.clone();
    times.timestamps = Some(bellhop_runtime::log::Timestamps::Create);
    let error = refused(&times);
    assert!(error.hint.contains("message.timestamp.type LogAppendTime"), "{error}");

    let mut registry = config.clone();
    registry.registry.url = "http://127.0.0.1:9".to_owned();
    // What is there can be read without it; who writes needs the ids of schemas.
    let log = Redpanda::connect(&registry, LogId(Uuid::from_u128(1))).unwrap();
    let schema = "{\"type\":\"record\",\"name\":\"bellhop.Nothing\",\"fields\":[]}";
    let error = log.join().unwrap().schema_id("bellhop.Nothing", schema).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry);
    assert!(error.to_string().contains("schema"), "{error}");
    assert!(format!("{error:?}").contains("127.0.0.1:9"), "{error:?}");

    // The topics of one log under the name of another.
    let wanted = Wanted { partitions: PARTITIONS, ..Wanted::default() };
    assert_eq!(topics::create(&config, &wanted).unwrap(), Vec::<String>::new());
    // How many partitions are right is what the log was made with, whatever is configured.
    let differing = Wanted { partitions: 5, ..wanted };
    let mismatches = topics::check(&config, &differing).unwrap();
    assert!(mismatches.iter().all(|it| it.what != "partitions"), "{mismatches:?}");
}
