//! What a flood of large records costs a worker in memory: `BELLHOP_TEST_PARKED=10000 cargo test -p
//! bellhop-tests --test live memory -- --nocapture` measures it with that many.

use std::time::{Duration, Instant};

use bellhop_core::task::Progress;
use bellhop_harness::Server;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::worker;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::house::{House, PARTITIONS, shared, work_if_child_as};

const BYTES: usize = 1_000_000;
/// Megabytes that the whole process may take.
const MOST: u64 = 500;

#[test]
fn a_flood_of_large_parked_records_takes_a_worker_no_more_memory_than_its_bounds() {
    work_if_child_as(worker::Config::default());
    let name =
        "memory::a_flood_of_large_parked_records_takes_a_worker_no_more_memory_than_its_bounds";
    let records = std::env::var("BELLHOP_TEST_PARKED").map_or(400, |count| count.parse().unwrap());
    let cluster = shared();
    let house = House::new(&cluster);
    send(&house, records);
    let started = Instant::now();
    let mut worker = house.process(name);
    let mut reader = house.log.reader();
    let mut last = (0, Instant::now());
    loop {
        let next = |partition| reader.committed(partition).unwrap().map_or(0, next_of);
        let decided: u64 = (0..PARTITIONS).map(next).sum();
        if decided >= records {
            break;
        }
        if decided > last.0 {
            last = (decided, Instant::now());
        }
        assert!(last.1.elapsed() < Duration::from_secs(60), "{decided} of {records} are parked");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (peak, took) = (peak_megabytes(&worker), started.elapsed());
    worker.kill();
    eprintln!("{records} records of {BYTES} bytes parked in {took:?}: {peak} MB at most");
    assert!(peak < MOST, "{peak} MB");
}

fn next_of(progress: Progress) -> u64 {
    progress.next_offset
}

/// Values that no producer of ours would send; they compress well on their way.
fn send(house: &House, records: u64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &house.config.brokers)
        .set("compression.type", "gzip")
        .set("message.max.bytes", "4000000")
        .create()
        .unwrap();
    let (topic, value) = (house.config.topic(Topic::Commands), vec![b'x'; BYTES]);
    for number in 0..records {
        let partition = (number % u64::from(PARTITIONS)) as i32;
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition).payload(&value);
        while let Err((error, refused)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full);
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
    }
    producer.flush(Duration::from_secs(120)).unwrap();
}

/// The largest resident size of a process so far.
fn peak_megabytes(process: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes / 1_000
}
