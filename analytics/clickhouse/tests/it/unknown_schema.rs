//! A schema that the registry does not know for a while: its events are waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bellhop_clickhouse::repair::{self, Wanted};
use bellhop_clickhouse::{Sink, Status};
use bellhop_core::task::Progress;
use bellhop_runtime::log::{Consumer, Each, Error, Identity, Lookup, Mark, Polled, Reader, Topic};

use crate::world::{GROUP, LONG, World, until_all};

/// A reader or consumer whose registry knows nothing while `is_away`.
struct Forgetful<T> {
    log: T,
    is_away: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
}

impl<T: Reader> Reader for Forgetful<T> {
    fn identity(&self) -> &Identity {
        self.log.identity()
    }
    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        if self.is_away.load(Ordering::SeqCst) {
            self.asked.store(true, Ordering::SeqCst);
            return Ok(Lookup::Unknown("a replica lags".to_owned()));
        }
        self.log.schema_of(id)
    }
    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.log.first(topic, partition)
    }
    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.log.end(topic, partition)
    }
    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        self.log.read(topic, partition, from, each)
    }
    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        self.log.committed(partition)
    }
}

impl<T: Consumer> Consumer for Forgetful<T> {
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        self.log.poll(records_max, wait)
    }
    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        self.log.start(partition, next_offset)
    }
    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.log.pause(partition)
    }
    fn marked(&mut self, partition: u32) -> Result<Option<Mark>, Error> {
        self.log.marked(partition)
    }
    fn mark(&mut self, marks: &[(u32, Mark)]) -> Result<(), Error> {
        self.log.mark(marks)
    }
    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.log.release(partitions)
    }
}

fn away() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)))
}

#[test]
fn a_schema_that_is_not_known_yet_is_waited_for_and_its_events_have_rows() {
    let mut world = World::with_bookings(2, 300);
    let (is_away, asked) = away();
    let log = world.book.log.consume(GROUP);
    let consumer = Forgetful { log, is_away: Arc::clone(&is_away), asked: Arc::clone(&asked) };
    let mut config = world.config.clone();
    config.unknown_for = LONG;
    let mut sink = Sink::new(config, Box::new(consumer)).unwrap();
    let begun = Instant::now();
    sink.run_until(|_: &Status| {
        assert!(begun.elapsed() < LONG, "nobody asked");
        asked.load(Ordering::SeqCst)
    })
    .unwrap();
    is_away.store(false, Ordering::SeqCst);
    let status = sink.run_until(until_all(&world.book.counts)).unwrap();
    assert_eq!(status.parked, 0, "{status:?}");
    drop(sink);
    world.assert_whole();
    assert!(world.number("SELECT count() FROM room_nights") > 0);
}

#[test]
fn a_schema_that_stays_unknown_is_parked_and_read_once_it_is_known() {
    let mut world = World::with_bookings(1, 300);
    let (is_away, asked) = away();
    let log = world.book.log.consume(GROUP);
    let consumer = Forgetful { log, is_away: Arc::clone(&is_away), asked };
    let mut config = world.config.clone();
    config.unknown_for = Duration::ZERO;
    let mut sink = Sink::new(config, Box::new(consumer)).unwrap();
    let status = sink.run_until(until_all(&world.book.counts)).unwrap();
    assert_eq!(status.parked, 300, "{status:?}");
    is_away.store(false, Ordering::SeqCst);
    world.append_bookings(40);
    let status = sink.run_until(until_all(&world.book.counts)).unwrap();
    assert_eq!((status.events, status.parked), (340, 300), "the sink asks again");
    drop(sink);
    let wanted = Wanted { partition: 0, from: 0, to: None };
    repair::run(&world.config, &mut world.book.log, wanted).unwrap();
    world.assert_whole();
}

#[test]
fn a_repair_leaves_events_alone_whose_schema_was_known_when_they_landed() {
    let mut world = World::with_bookings(1, 300);
    world.land();
    world
        .server
        .run("lose", "ALTER TABLE bookings DELETE WHERE `offset` = 7 SETTINGS mutations_sync = 2")
        .unwrap();
    let (is_away, asked) = away();
    let mut log = Forgetful { log: world.book.log.consume(GROUP), is_away, asked };
    let wanted = Wanted { partition: 0, from: 0, to: None };
    let repaired = repair::run(&world.config, &mut log, wanted).unwrap();
    assert_eq!((repaired.events, repaired.left), (300, 300));
    assert!(repaired.tables.is_empty(), "{repaired:?}");
    drop(log);
    assert_eq!(world.number("SELECT count() FROM parked"), 0);
    repair::run(&world.config, &mut world.book.log, wanted).unwrap();
    world.assert_whole();
}
