//! Proof that the checks can fail: with one guard left out, each of them goes red.

use std::time::Duration;

use bellhop_core::message::Timestamp;
use bellhop_core::task::Progress;
use bellhop_runtime::log::redpanda::{Member, Redpanda, Sabotage};
use bellhop_runtime::log::{Ended, Error, Log, Part, Reader, Topic, Transaction};
use bellhop_tests::hands::{LONG, own, read};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use uuid::Uuid;

use crate::house::{Cluster, House, PARTITIONS, shared};

fn house(cluster: &Cluster, sabotage: Option<Sabotage>) -> House {
    let mut house = House::new(cluster);
    house.config.sabotage = sabotage;
    let log_id = house.log.identity().log_id;
    house.log = Redpanda::connect(&house.config, log_id).unwrap();
    house
}

fn sole(house: &House) -> Member {
    let mut member = house.log.join().unwrap();
    own(&mut member, PARTITIONS as usize, &mut Vec::new());
    (0..PARTITIONS).for_each(|partition| member.start(partition, 0).unwrap());
    member
}

fn part() -> Part {
    let after = Progress { next_offset: 7, stream_time: Timestamp(70), history: None };
    let mut part = Part { partition: 0, before: None, after: Some(after), ..Part::default() };
    part.output.events.push(Timestamp(1), |_| {}, |out| out.extend_from_slice(b"event"));
    part
}

fn commit(member: &mut Member) -> Result<Ended, Error> {
    member.submit(Transaction { parts: vec![part()] })?;
    Ok(member.ended(LONG)?.expect("it ends in time").1)
}

fn initialise(house: &House, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &house.config.brokers)
        .set("transactional.id", id)
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(10)).unwrap();
    producer
}

/// Whether a worker that the broker has thrown out still commits.
fn a_zombie_commits(cluster: &Cluster, sabotage: Option<Sabotage>) -> bool {
    let house = house(cluster, sabotage);
    let mut zombie = sole(&house);
    let id = zombie.member_id().unwrap();
    cluster.kafka.expel(&house.config.group, &id).unwrap();
    matches!(commit(&mut zombie), Ok(Ended::Committed))
}

#[test]
fn a_zombie_is_fenced_by_the_group_metadata() {
    let cluster = shared();
    assert!(!a_zombie_commits(&cluster, None));
    assert!(a_zombie_commits(&cluster, Some(Sabotage::NoGroupMetadata)));
}

/// Whether the progress of a batch is committed while its events are not.
fn progress_moves_alone(cluster: &Cluster, sabotage: Option<Sabotage>) -> bool {
    let house = house(cluster, sabotage);
    let mut member = sole(&house);
    // Somebody ends this worker's transactions: nothing of the next may count.
    let ids = member.transactional_ids();
    let _fencing = ids.map(|id| initialise(&house, &id));
    let ended = commit(&mut member);
    assert!(!matches!(ended, Ok(Ended::Committed)), "{ended:?}");
    let mut reader = house.log.reader();
    assert_eq!(read(&mut reader, Topic::Events, 0, 0).len(), 1, "the genesis only");
    reader.committed(0).unwrap().is_some()
}

#[test]
fn progress_and_events_move_together() {
    let cluster = shared();
    assert!(!progress_moves_alone(&cluster, None));
    assert!(progress_moves_alone(&cluster, Some(Sabotage::OffsetsOutside)));
}

/// Whether a reader sees an event of a transaction that was never committed.
fn an_undecided_event_is_read(cluster: &Cluster, sabotage: Option<Sabotage>) -> bool {
    let house = house(cluster, sabotage);
    let producer = initialise(&house, &Uuid::from_u128(7).to_string());
    producer.begin_transaction().unwrap();
    let topic = house.config.topic(Topic::Events);
    let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(b"undecided");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let seen = read(&mut house.log.reader(), Topic::Events, 0, 0).len() > 1;
    producer.abort_transaction(Duration::from_secs(10)).unwrap();
    seen
}

#[test]
fn events_are_read_once_they_are_decided() {
    let cluster = shared();
    assert!(!an_undecided_event_is_read(&cluster, None));
    assert!(an_undecided_event_is_read(&cluster, Some(Sabotage::ReadUncommitted)));
}
