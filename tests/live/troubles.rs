//! One partition's trouble, as brokers make it: the other partitions of the worker go on, and it
//! goes on when the trouble is over.

use std::time::{Duration, Instant};

use bellhop_core::engine::ParkedKind;
use bellhop_core::message::LogId;
use bellhop_harness::RedpandaRegistry;
use bellhop_runtime::log::redpanda::topics::{self, Effect, Wanted};
use bellhop_runtime::log::redpanda::{Config, Redpanda};
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::parked;
use bellhop_runtime::worker::Worker;
use bellhop_tests::hands::{append, counter_in, read};
use bellhop_tests::toy::Add;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use uuid::Uuid;

use crate::house::{House, LONG, PARTITIONS, Running, shared, worker};
use crate::tools;

const TROUBLED: u32 = 1;

/// Steps until all that was sent to some partitions is decided.
fn step_until_decided(worker: &mut Worker, house: &House, partitions: &[u32]) {
    let mut reader = house.log.reader();
    let until = Instant::now() + LONG;
    while !partitions.iter().all(|partition| is_decided(house, &mut reader, *partition)) {
        worker.step(Duration::from_millis(20)).unwrap();
        assert!(Instant::now() < until, "not decided: {:?}", worker.status());
    }
}

fn is_decided(house: &House, reader: &mut dyn Reader, partition: u32) -> bool {
    let last = house.sent.get(&partition).and_then(|sent| sent.last());
    let next = reader.committed(partition).unwrap().map_or(0, |progress| progress.next_offset);
    last.is_none_or(|(offset, _)| next > *offset)
}

fn others() -> Vec<u32> {
    (0..PARTITIONS).filter(|partition| *partition != TROUBLED).collect()
}

fn why(worker: &Worker, partition: u32) -> String {
    let status = worker.status();
    let found = status.troubles().find(|trouble| trouble.partition == partition);
    found.unwrap_or_else(|| panic!("{status:?}")).what
}

#[test]
fn a_transaction_that_hangs_on_one_partition_holds_back_that_one() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    house.send(100);
    let hanging: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &house.config.brokers)
        .set("transactional.id", format!("{}.hanging", house.config.prefix))
        .set("transaction.timeout.ms", "120000")
        .create()
        .unwrap();
    hanging.init_transactions(LONG).unwrap();
    hanging.begin_transaction().unwrap();
    let topic = house.config.topic(Topic::Events);
    let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(TROUBLED.cast_signed());
    hanging.send(record.payload(b"never committed")).map_err(|(error, _)| error).unwrap();
    hanging.flush(LONG).unwrap();

    let mut worker = worker(&house.log);
    step_until_decided(&mut worker, &house, &others());
    let why = why(&worker, TROUBLED);
    assert!(why.contains("is not restored and waits"), "{why}");
    assert!(why.contains("still undecided"), "{why}");
    // Those that work are not slowed by the one that waits.
    house.send(400);
    step_until_decided(&mut worker, &house, &others());
    assert!(!is_decided(&house, &mut house.log.reader(), TROUBLED));
    hanging.abort_transaction(LONG).unwrap();
    step_until_decided(&mut worker, &house, &[TROUBLED]);
    assert_eq!(worker.status().troubles().count(), 0);
    house.check();
}

#[test]
fn commands_that_are_deleted_before_they_are_decided_hold_back_their_partition_alone() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let running = Running::start(&house.log);
    house.send(100);
    house.wait_decided();
    running.stop();
    house.send(100);
    let last = house.sent[&TROUBLED].last().unwrap().0;
    tools::delete_commands(&house.config, TROUBLED, last);
    let mut worker = worker(&house.log);
    step_until_decided(&mut worker, &house, &others());
    house.send(100);
    step_until_decided(&mut worker, &house, &others());
    let why = why(&worker, TROUBLED);
    assert!(why.contains("are deleted and were not decided"), "{why}");
    assert!(why.contains(&format!("move the group's offset to {last}")), "{why}");
}

#[test]
fn partitions_that_are_added_to_the_commands_alone_stand_still_and_the_others_go_on() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    tools::grow_commands(&house.config, PARTITIONS + 1);
    house.send(100);
    let mut worker = worker(&house.log);
    let all: Vec<u32> = (0..PARTITIONS).collect();
    step_until_decided(&mut worker, &house, &all);
    let until = Instant::now() + LONG;
    while worker.status().troubles().count() == 0 {
        worker.step(Duration::from_millis(20)).unwrap();
        assert!(Instant::now() < until, "{:?}", worker.status());
    }
    let why = why(&worker, PARTITIONS);
    assert!(why.contains("stands still") && why.contains("has grown"), "{why}");
    drop(worker);
    // What is started now goes on with the partitions of the log, too.
    house.log = Redpanda::connect(&house.config, LogId(Uuid::from_u128(0xbad))).unwrap();
    assert_eq!(house.log.identity().partitions, PARTITIONS);
    let wanted = Wanted { partitions: PARTITIONS, ..Wanted::default() };
    let mismatches = topics::check(&house.config, &wanted).unwrap();
    let grown: Vec<_> = mismatches.iter().filter(|it| it.effect > Effect::Differs).collect();
    let [grown] = grown.as_slice() else { panic!("{mismatches:?}") };
    assert_eq!((grown.what.as_str(), grown.effect), ("partitions", Effect::Astray));
    house.send(100);
    step_until_decided(&mut crate::house::worker(&house.log), &house, &all);
    house.check();
}

#[test]
fn an_event_that_the_topic_does_not_take_parks_its_command_and_the_others_commit() {
    let cluster = shared();
    let mut house = House::new(&cluster);
    let running = Running::start(&house.log);
    house.send(100);
    house.wait_decided();
    // Somebody lowers the limit under a worker that runs.
    let topic = house.config.topic(Topic::Events);
    let lowered =
        AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", "30000");
    let admin = tools::admin(&house.config);
    let altered = tools::wait(admin.alter_configs(&[lowered], &AdminOptions::new())).unwrap();
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    let counter = counter_in(TROUBLED, PARTITIONS, 1);
    let add = Add { counter, amount: 1, note: "x".repeat(60_000) };
    let large = house.pen.write("large", &add);
    let position = append(&mut house.log.sender(), &[large])[0];
    house.send(1_000);
    house.wait_decided();
    let mut reader = house.log.reader();
    let entries = parked::list(&mut reader).unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.partition, entry.parked.offset), (TROUBLED, position.1.cast_signed()));
    assert_eq!((entry.parked.kind, &entry.parked.value), (ParkedKind::TooLarge, &None));
    running.stop();
    // Every other command has its event, in order.
    for partition in 0..PARTITIONS {
        let events = read(&mut reader, Topic::Events, partition, 0).len();
        let sent = house.sent.get(&partition).map_or(0, Vec::len);
        assert_eq!(events, 1 + sent, "partition {partition}");
    }
}

#[test]
fn no_schema_id_of_a_record_stops_a_worker_whatever_the_registry_answers() {
    let cluster = shared();
    let registry = RedpandaRegistry::start().unwrap();
    let mut house = House::with(PARTITIONS, Config::new(&cluster.kafka.brokers(), registry.url()));
    registry.authorize();
    let running = Running::start(&house.log);
    let key = counter_in(TROUBLED, PARTITIONS, 1).0.hyphenated().to_string().into_bytes();
    let record = |id: u32| (key.clone(), [&[0][..], &id.to_be_bytes(), b"junk"].concat());
    let ids = [u32::MAX, 1 << 31, i32::MAX.cast_unsigned(), 0, 4_000];
    let bad: Vec<_> = ids.into_iter().map(record).collect();
    append(&mut house.log.sender(), &bad);
    house.send(200);
    house.wait_decided();
    let causes = |house: &House| -> Vec<String> {
        let entries = parked::list(&mut house.log.reader()).unwrap();
        entries.into_iter().map(|entry| entry.parked.cause).collect()
    };
    let found = causes(&house);
    assert_eq!(found.len(), ids.len(), "{found:?}");
    assert!(found[0].contains("above 2147483647"), "{found:?}");
    assert!(found[2].contains("Forbidden (missing required ACLs)"), "{found:?}");
    // The registry goes away while a flood of new ids comes: only their partition waits for it.
    registry.set_away(true);
    let flood: Vec<_> = (10_000..10_300).map(record).collect();
    append(&mut house.log.sender(), &flood);
    house.send(400);
    let mut reader = house.log.reader();
    let until = Instant::now() + LONG;
    while !others().iter().all(|partition| is_decided(&house, &mut reader, *partition)) {
        assert!(Instant::now() < until, "the others wait, too");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!is_decided(&house, &mut reader, TROUBLED));
    registry.set_away(false);
    house.wait_decided();
    assert_eq!(causes(&house).len(), ids.len() + flood.len());
    running.stop();
}
