//! What happens to the topics, and on the way to them.

use std::collections::BTreeSet;
use std::time::Duration;

use bellhop_core::partition::partition_of;
use bellhop_harness::{Proxy, Request};
use bellhop_runtime::log::simulated::Random;
use bellhop_runtime::log::{Reader as _, Topic};
use bellhop_tests::hands::{counter_in, read};
use bellhop_tests::toy::Add;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::stage::{PARTITIONS, Stage, WORKERS};
use crate::house::LONG;
use crate::tools;

pub(super) const HANGING: &str = "transactions left hanging";
pub(super) const GROWN: &str = "partitions added to the commands";
pub(super) const DELETED_DECIDED: &str = "decided commands deleted";
pub(super) const DELETED_UNDECIDED: &str = "undecided commands deleted";
pub(super) const LATE: &str = "requests late";
pub(super) const CUT: &str = "networks cut";

const REQUESTS: [Request; 5] = [
    Request::Produce,
    Request::AddPartitionsToTxn,
    Request::AddOffsetsToTxn,
    Request::TxnOffsetCommit,
    Request::EndTxn,
];

/// A producer with a transactional id of its own begins a transaction on some partitions and dies;
/// brokers end it when its time is over, or an operator does before.
pub(super) fn leave_hanging(stage: &mut Stage, random: &mut Random) {
    let topic = if random.chance(2_500) { Topic::Commands } else { Topic::Events };
    let lasts = stage.lasts(random);
    let id = format!("{}.hanging.{}", stage.house.config.prefix, random.bits());
    let config = stage.house.config.clone();
    let producer: BaseProducer = tools::client(&config)
        .set("transactional.id", &id)
        .set("transaction.timeout.ms", lasts.as_millis().to_string())
        .create()
        .unwrap();
    producer.init_transactions(LONG).unwrap();
    producer.begin_transaction().unwrap();
    let count = 1 + random.below(u64::from(PARTITIONS));
    let partitions: BTreeSet<u32> =
        (0..count).map(|_| random.below(u64::from(PARTITIONS)) as u32).collect();
    for partition in &partitions {
        let name = config.topic(topic);
        let record = BaseRecord::<[u8], [u8]>::to(&name).partition(partition.cast_signed());
        let record = record.payload(b"never committed");
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LONG).unwrap();
    drop(producer);
    stage.count(HANGING, 1);
    stage.say(&format!("a transaction hangs on {partitions:?} of {topic} for {lasts:?}"));
    for partition in &partitions {
        *stage.hanging.entry(*partition).or_default() += 1;
    }
    let by_hand = random.chance(5_000);
    // Brokers look every two seconds here.
    let after = if by_hand { lasts / 2 } else { lasts + Duration::from_secs(4) };
    stage.later(after, move |stage| {
        if by_hand {
            drop(tools::initialise(&stage.house.config, &id));
        }
        stage.say(&format!("no transaction hangs on {partitions:?} any more"));
        for partition in partitions {
            if let Some(count) = stage.hanging.get_mut(&partition) {
                *count -= 1;
            }
        }
    });
}

/// Partitions are added to the topic of commands alone, and a producer spreads its keys over all.
pub(super) fn grow(stage: &mut Stage, random: &mut Random) {
    let more = 1 + random.below(2) as u32;
    stage.of_commands += more;
    let partitions = stage.of_commands;
    tools::grow_commands(&stage.house.config, partitions);
    stage.say(&format!("the topic of commands has {partitions} partitions"));
    stage.count(GROWN, u64::from(more));
    stage.to_be_said.insert("the topic of commands has grown".to_owned());
    let producer: BaseProducer = tools::client(&stage.house.config).create().unwrap();
    let topic = stage.house.config.topic(Topic::Commands);
    for nth in 0..40 {
        let counter = counter_in(nth % PARTITIONS, PARTITIONS, 100 + nth);
        let add = Add { counter, amount: 1, note: String::new() };
        let (key, value) = stage.house.pen.write(&format!("{partitions} {nth}"), &add);
        let partition = partition_of(&key, partitions).cast_signed();
        let record = BaseRecord::to(&topic).partition(partition).key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LONG).unwrap();
}

/// A partition on which no transaction hangs.
fn stable(stage: &Stage, random: &mut Random) -> Option<u32> {
    let is_stable = |id: &u32| stage.hanging.get(id).is_none_or(|hanging| *hanging == 0);
    let stable: Vec<u32> = (0..PARTITIONS).filter(is_stable).collect();
    random.pick(&stable).copied()
}

/// Keeps a copy of the commands before an offset, for the comparison at the end.
fn keep(stage: &mut Stage, partition: u32, before: u64) {
    let kept = stage.kept.entry(partition).or_default();
    let from = kept.last().map_or(0, |command| command.offset + 1);
    let commands = read(&mut stage.house.log.reader(), Topic::Commands, partition, from);
    kept.extend(commands.into_iter().filter(|command| command.offset < before));
}

/// Retention deletes what is decided: nobody misses it.
pub(super) fn delete_decided(stage: &mut Stage, random: &mut Random) {
    stage.work(Duration::from_millis(500));
    let partition = random.below(u64::from(PARTITIONS)) as u32;
    let progress = stage.house.log.reader().committed(partition).unwrap();
    let decided = progress.map_or(0, |progress| progress.next_offset);
    let first = stage.house.log.reader().first(Topic::Commands, partition).unwrap();
    let before = first + 1 + random.below(decided.saturating_sub(first + 1));
    if before > decided {
        stage.say(&format!("nothing of partition {partition} is decided and left to delete"));
        return;
    }
    keep(stage, partition, before);
    tools::delete_commands(&stage.house.config, partition, before);
    stage.deleted.insert(partition);
    stage.say(&format!("commands of {partition} before {before} are deleted, {decided} decided"));
    stage.count(DELETED_DECIDED, 1);
}

/// Retention deletes what is not decided while all workers are away. The partition says so and stands
/// still, the others go on; the operator does what it asks for.
pub(super) fn delete_undecided(stage: &mut Stage, random: &mut Random) {
    // What hangs would hold back the partition as well, and say something else.
    stage.end_faults();
    stage.wait("all is decided", Stage::is_decided);
    stage.dismiss_all();
    (0..10).for_each(|_| stage.load());
    let partition = stable(stage, random).unwrap();
    let mut reader = stage.house.log.reader();
    let progress = reader.committed(partition).unwrap();
    let decided = progress.map_or(0, |progress| progress.next_offset);
    let end = reader.end(Topic::Commands, partition).unwrap();
    let before = decided + 1 + random.below(end - decided);
    keep(stage, partition, decided);
    tools::delete_commands(&stage.house.config, partition, before);
    stage.deleted.insert(partition);
    let sent = stage.house.sent.entry(partition).or_default();
    sent.retain(|(offset, _)| *offset < decided || *offset >= before);
    let text = format!("commands of {partition} from {decided} to {before} are deleted undecided");
    stage.say(&text);
    stage.count(DELETED_UNDECIDED, 1);
    (0..WORKERS).for_each(|_| stage.start_worker());
    let asks = "stop all workers, move the group's offset to ";
    stage.wait("it is said that commands are lost", |stage| stage.is_said(asks));
    assert!(stage.is_said("are deleted and were not decided"));
    stage.wait("the other partitions are decided", move |stage| {
        let mut reader = stage.house.log.reader();
        stage.house.sent.iter().filter(|(id, _)| **id != partition).all(|(id, sent)| {
            let next = reader.committed(*id).unwrap().map_or(0, |progress| progress.next_offset);
            sent.last().is_none_or(|(last, _)| next > *last)
        })
    });
    let logged: Vec<String> = stage.workers.iter().map(|worker| worker.logged()).collect();
    let words = logged.iter().find_map(|text| text.split_once(asks)).unwrap().1;
    let digits: String = words.chars().take_while(char::is_ascii_digit).collect();
    let to: u64 = digits.parse().unwrap();
    assert_eq!(to, before, "where partition {partition} goes on");
    stage.dismiss_all();
    tools::move_offset(&stage.house.config, partition, to);
    stage.say(&format!("the group's offset of {partition} is moved to {to}"));
    (0..WORKERS).for_each(|_| stage.start_worker());
}

/// One request of a worker's producer arrives in a later transaction.
pub(super) fn delay_a_request(stage: &mut Stage, random: &mut Random) {
    let request = random.pick(&REQUESTS).copied().unwrap();
    stage.say(&format!("the next {request:?} comes late"));
    stage.kafka.proxies().for_each(|proxy| proxy.delay(request));
    stage.later(Duration::from_secs(3), |stage| {
        let late = stage.newly_late();
        stage.count(LATE, late);
    });
}

/// Nothing passes between workers and brokers for a while.
pub(super) fn cut_the_network(stage: &mut Stage, random: &mut Random) {
    let lasts = stage.lasts(random) / 2;
    stage.say(&format!("the network is cut for {lasts:?}"));
    stage.kafka.proxies().for_each(Proxy::cut);
    stage.count(CUT, 1);
    stage.later(lasts, |stage| {
        stage.say("the network is mended");
        stage.kafka.proxies().for_each(Proxy::mend);
    });
}
