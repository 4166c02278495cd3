//! Proof that the checks can fail: with one guard left out, each of them goes red.

use std::time::{Duration, Instant};

use bellhop_core::message::Timestamp;
use bellhop_core::task::Progress;
use bellhop_runtime::log::redpanda::{Member, Redpanda, Sabotage};
use bellhop_runtime::log::{
    Ended, Error, ErrorKind, Log, Part, Polled, Reader, Topic, Transaction,
};
use bellhop_tests::hands::{LONG, own, read};
use rdkafka::producer::{BaseRecord, Producer as _};
use uuid::Uuid;

use crate::house::{Cluster, House, PARTITIONS, shared};
use crate::tools::initialise;

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

fn part_of(partition: u32) -> Part {
    let after = Progress { next_offset: 7, stream_time: Timestamp(70), history: None };
    let mut part = Part { partition, before: None, after: Some(after), ..Part::default() };
    part.output.events.push(Timestamp(1), |_| {}, |out| out.extend_from_slice(b"event"));
    part
}

fn commit(member: &mut Member) -> Result<Ended, Error> {
    member.submit(Transaction { parts: vec![part_of(0)] })?;
    Ok(member.ended(LONG)?.expect("it ends in time").1)
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

/// A member is thrown out while partitions are asked back from it. librdkafka does not look at its
/// session then, and would join again under another name with all that it holds.
#[test]
fn a_member_thrown_out_while_it_owes_an_answer_holds_nothing_any_more() {
    let cluster = shared();
    let house = house(&cluster, None);
    let mut first = sole(&house);
    let name = first.member_id().unwrap();
    let mut second = house.log.join().unwrap();
    let until = Instant::now() + LONG;
    let asked = loop {
        assert!(Instant::now() < until, "nothing is asked back");
        second.poll(0, Duration::from_millis(10)).unwrap();
        if let Polled::Revoked(partitions) = first.poll(0, Duration::from_millis(10)).unwrap() {
            break partitions;
        }
    };
    cluster.kafka.expel(&house.config.group, &name).unwrap();
    // It learns that by its next heartbeat.
    while first.member_id().as_ref() == Some(&name) {
        assert!(Instant::now() < until, "it is still {name}");
        first.poll(0, Duration::from_millis(10)).unwrap();
    }
    let kept = (0..PARTITIONS).find(|partition| !asked.contains(partition)).unwrap();
    first.submit(Transaction { parts: vec![part_of(kept)] }).unwrap();
    let (_, ended) = first.ended(LONG).unwrap().expect("it ends in time");
    assert_eq!(ended, Ended::Aborted);
    let fenced = Some(ErrorKind::Fenced);
    let poll = first.poll(0, Duration::from_millis(10));
    assert_eq!(poll.err().map(|error| error.kind), fenced, "poll");
    assert_eq!(first.recover().err().map(|error| error.kind), fenced, "recover");
    assert_eq!(first.release(&asked).err().map(|error| error.kind), fenced, "release");
}

#[test]
fn a_name_whose_transactions_were_ended_is_not_taken_again() {
    let cluster = shared();
    let house = house(&cluster, None);
    let mut member = sole(&house);
    let former = member.transactional_ids();
    let _fencing = former.clone().map(|id| initialise(&house.config, &id));
    member.recover().unwrap();
    let now = member.transactional_ids();
    assert!(now.iter().all(|id| !former.contains(id)), "{now:?}");
    assert!(matches!(commit(&mut member), Ok(Ended::Committed)));
}

/// Whether the progress of a batch is committed while its events are not.
fn progress_moves_alone(cluster: &Cluster, sabotage: Option<Sabotage>) -> bool {
    let house = house(cluster, sabotage);
    let mut member = sole(&house);
    // Somebody ends this worker's transactions: nothing of the next may count.
    let ids = member.transactional_ids();
    let _fencing = ids.map(|id| initialise(&house.config, &id));
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
    let producer = initialise(&house.config, &Uuid::from_u128(7).to_string());
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
