//! A network that is cut between a worker and the brokers, while others reach them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bellhop_core::message::LogId;
use bellhop_harness::{Kafka, KafkaOptions, Proxy, Request};
use bellhop_runtime::log::redpanda::{Config, Redpanda};
use bellhop_runtime::log::{Reader as _, Topic};
use uuid::Uuid;

use crate::house::{Cluster, House, LONG, Running, alone, shared};

/// The log of a house, over a network that can be cut.
fn far(house: &House, kafka: &Kafka, change: impl FnOnce(&mut Config)) -> Redpanda {
    let mut config = Config { brokers: kafka.far_brokers(), ..house.config.clone() };
    change(&mut config);
    Redpanda::connect(&config, LogId(Uuid::from_u128(0xfa7))).unwrap()
}

fn cut(kafka: &Kafka) {
    kafka.proxies().for_each(Proxy::cut);
}

fn mend(kafka: &Kafka) {
    kafka.proxies().for_each(Proxy::mend);
}

#[test]
fn a_worker_cut_off_past_its_session_decides_nothing_twice_when_it_is_back() {
    // Alone: all far clients are cut off.
    let cluster = alone();
    let Cluster { kafka, .. } = &*cluster;
    let mut house = House::new(&cluster);
    let log = far(&house, kafka, |_| {});
    let cut_off = Running::start(&log);
    for _ in 0..5 {
        house.send(200);
    }
    house.wait_decided();
    house.send_and_meet(5_000);
    cut(kafka);
    let heir = Running::start(&house.log);
    // The heir has all of it once the session is over.
    house.wait_decided();
    let decided = house.events();
    // What the other had sent comes now, and is not taken.
    mend(kafka);
    house.send(500);
    house.wait_decided();
    assert!(house.events() >= decided + 500);
    // It joins again: alone it decides what is left.
    heir.stop();
    house.send(500);
    house.wait_decided();
    cut_off.stop();
    house.check();
}

#[test]
fn short_cuts_of_the_network_lose_nothing_and_double_nothing() {
    let cluster = alone();
    let Cluster { kafka, .. } = &*cluster;
    let mut house = House::new(&cluster);
    let log = far(&house, kafka, |_| {});
    let workers = [Running::start(&log), Running::start(&house.log)];
    house.send(500);
    house.wait_decided();
    for nth in 0..8 {
        house.send_and_meet(1_000);
        cut(kafka);
        house.send(300);
        std::thread::sleep(Duration::from_millis(100 + 200 * nth));
        mend(kafka);
    }
    house.wait_decided();
    workers.into_iter().for_each(Running::stop);
    house.check();
}

#[test]
fn a_transaction_that_the_broker_has_timed_out_is_decided_again_and_once() {
    // Looks for expired transactions all the time, where a broker does so every ten seconds.
    let often = "transaction.abort.timed.out.transaction.cleanup.interval.ms=200";
    let options = KafkaOptions { properties: vec![often.to_owned()], ..KafkaOptions::default() };
    let others = shared();
    let kafka = Kafka::start_with(options).unwrap();
    let mut house = House::on(&kafka.brokers(), &others.registry.url());
    // The session outlives the transaction: it stays this worker's to end.
    let log = far(&house, &kafka, |config| {
        config.session_timeout = Duration::from_secs(30);
        config.transaction_timeout = Duration::from_secs(2);
    });
    let worker = Running::start(&log);
    house.send(500);
    house.wait_decided();
    let timed_out = || kafka.log_of(0).unwrap().matches("due to timeout").count();
    let until = Instant::now() + LONG;
    // A cut may fall between two transactions.
    while timed_out() < 3 {
        assert!(Instant::now() < until, "{} transactions timed out", timed_out());
        house.send_and_meet(5_000);
        cut(&kafka);
        std::thread::sleep(Duration::from_secs(3));
        mend(&kafka);
        house.wait_decided();
    }
    worker.stop();
    house.check();
}

/// How often a request comes late in one of the tests below, if not told.
const LATE_REQUESTS: usize = 6;

/// A soak asks for more.
fn late_requests() -> usize {
    let told = std::env::var("BELLHOP_LATE_REQUESTS");
    told.map_or(LATE_REQUESTS, |count| count.parse().unwrap())
}

/// Requests of a kind that arrive in a later transaction of their producer, whose client has sent
/// them again meanwhile.
fn come_late(request: Request) {
    let cluster = alone();
    let Cluster { kafka, .. } = &*cluster;
    let mut house = House::new(&cluster);
    let log = far(&house, kafka, |_| {});
    let worker = Running::start(&log);
    house.send(500);
    house.wait_decided();
    let late = || kafka.proxies().map(Proxy::late).sum::<usize>();
    let first = late();
    for _ in 0..late_requests() {
        let before = late();
        let until = Instant::now() + LONG;
        kafka.proxies().for_each(|proxy| proxy.delay(request));
        while late() == before {
            assert!(Instant::now() < until, "no {request:?} came late");
            // Transactions of several partitions: one that is ended in between is torn.
            house.send(200);
        }
    }
    house.wait_decided();
    worker.stop();
    eprintln!("{} of {request:?} came late, {} events", late() - first, house.events());
    house.check();
}

#[test]
fn ends_of_transactions_that_come_late_end_no_other() {
    come_late(Request::EndTxn);
}

#[test]
fn offsets_that_come_late_move_nothing_back() {
    come_late(Request::TxnOffsetCommit);
}

#[test]
fn partitions_that_come_late_are_added_to_nothing() {
    come_late(Request::AddPartitionsToTxn);
}

#[test]
fn groups_that_come_late_are_added_to_nothing() {
    come_late(Request::AddOffsetsToTxn);
}

#[test]
fn records_that_come_late_are_not_written_again() {
    come_late(Request::Produce);
}

#[test]
fn a_read_in_slices_goes_on_with_what_is_fetched_while_the_network_is_cut() {
    const COMMANDS: u64 = 400;
    // Alone: all far clients are cut off.
    let cluster = alone();
    let Cluster { kafka, .. } = &*cluster;
    let mut house = House::new(&cluster);
    house.send(COMMANDS);
    let log = far(&house, kafka, |_| {});
    let mut member = log.join().unwrap();
    let mut slice = |from: u64| {
        let mut left = 10;
        member.read(Topic::Commands, 0, from, &mut |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    let first = slice(0).unwrap();
    cut(kafka);
    let second = slice(first);
    let third = second.as_ref().ok().map(|next| slice(*next));
    mend(kafka);
    assert_eq!((first, second.unwrap(), third.unwrap().unwrap()), (10, 20, 30));
    // From elsewhere, and to the end.
    assert_eq!(slice(5).unwrap(), 15);
    let mut offsets = Vec::new();
    let end = member.end(Topic::Commands, 0).unwrap();
    let read = member.read(Topic::Commands, 0, 15, &mut |record| {
        offsets.push(record.offset);
        ControlFlow::Continue(())
    });
    assert_eq!(read.unwrap(), end);
    assert!(offsets.is_sorted() && offsets.first() == Some(&15), "{offsets:?}");
    assert!(offsets.len() > 50, "{offsets:?}");
}
