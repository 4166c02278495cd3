//! One partition's trouble is its own: whatever goes wrong for one, the others of its worker are
//! decided meanwhile, it says so, and it goes on when the trouble has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bellhop_core::engine::ParkedKind;
use bellhop_core::outcome::Outcome;
use bellhop_core::task::Progress;
use bellhop_core::topology::Topology;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::{
    Each, Ended, Error, ErrorKind, Identity, Log, Lookup, Part, Polled, Producer, Reader,
    Timestamps, Topic, Transaction,
};
use bellhop_runtime::parked;
use bellhop_runtime::wiring::OwnSchemas;
use bellhop_runtime::worker::{Config, Parts, Status, Worker};
use bellhop_tests::hands::{LONG, Pen, append, counter_in, read};
use bellhop_tests::toy::{Add, Counter};

use crate::suite::{Fixture, PARTITIONS};

/// Makes a test of each function of the suite for a fixture.
macro_rules! troubles_stay_apart {
    ($fixture:ty: $($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            $crate::troubles::$name::<$fixture>();
        }
    )*};
    ($fixture:ty) => {
        $crate::troubles::troubles_stay_apart!($fixture:
            a_partition_whose_last_transaction_hangs_holds_back_no_other,
            a_partition_whose_commands_are_deleted_holds_back_no_other,
            a_partition_whose_schema_is_not_to_be_had_holds_back_no_other,
            a_partition_whose_events_cannot_be_read_holds_back_no_other,
            a_restore_that_is_cut_short_goes_on_where_it_was,
            a_partition_whose_processor_panics_holds_back_no_other,
            a_partition_with_a_long_restore_holds_back_no_other,
            a_partition_that_is_taken_away_while_it_waits_is_released,
            a_command_that_leads_to_what_the_log_refuses_is_parked_and_all_others_commit,
            a_partition_of_which_the_log_takes_nothing_holds_back_no_other,
            a_flood_of_large_records_is_committed_by_bytes,
        );
    };
}
pub(crate) use troubles_stay_apart;

/// The partition that has it.
const TROUBLED: u32 = 1;

/// Events that come before a read is cut short.
const FEW: usize = 20;

/// What a slow broker takes to answer.
const SLOW: Duration = Duration::from_millis(10);

/// What goes wrong for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// A transaction of its former owner is not decided.
    Undecided,
    /// Its next commands are deleted.
    Deleted,
    /// Whoever knows the schemas of others does not answer.
    NoRegistry,
    /// Its events cannot be read.
    Unread,
    /// Its events come slowly.
    Slow,
    /// Each read of its events is cut short.
    Stutters,
    /// The log takes no record of it that is larger than this.
    Larger(usize),
}

type Told = Arc<Mutex<Trouble>>;

/// A member of a log that has the trouble.
struct Troubled {
    log: Box<dyn Log>,
    told: Told,
    /// Bytes of the largest transaction so far.
    largest: Arc<AtomicUsize>,
    refused: Option<Transaction>,
    asked: Asked,
}

/// Ids of schemas that a registry was asked for and has not answered.
type Asked = Arc<Mutex<BTreeSet<u32>>>;

fn bytes_of(part: &Part) -> usize {
    part.output.events.bytes() + part.output.commands.bytes() + part.output.parked.bytes()
}

impl Troubled {
    fn refuses(&self, transaction: &Transaction) -> bool {
        let Trouble::Larger(most) = *self.told.lock().unwrap() else { return false };
        let of_it = transaction.parts.iter().filter(|part| part.partition == TROUBLED);
        let mut outputs = of_it.map(|part| &part.output);
        outputs.any(|output| {
            let all = output.events.iter().chain(output.parked.iter());
            all.chain(output.commands.iter()).any(|record| record.value.len() > most)
        })
    }

    fn check(&self, trouble: Trouble, partition: u32, kind: ErrorKind) -> Result<(), Error> {
        if partition != TROUBLED || *self.told.lock().unwrap() != trouble {
            return Ok(());
        }
        let tried = format!("use partition {partition}");
        Err(Error { kind, tried, hint: format!("{trouble:?}"), source: None })
    }
}

impl Troubled {
    /// Reads a few events, then fails.
    fn read_some(
        &mut self,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
        cut: Error,
    ) -> Result<u64, Error> {
        let (mut left, mut is_cut) = (FEW, false);
        let read = self.log.read(Topic::Events, partition, from, &mut |record| {
            if left == 0 {
                is_cut = true;
                return ControlFlow::Break(());
            }
            left -= 1;
            each(record)
        })?;
        if is_cut { Err(cut) } else { Ok(read) }
    }
}

impl Reader for Troubled {
    fn identity(&self) -> &Identity {
        self.log.identity()
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.check(Trouble::NoRegistry, TROUBLED, ErrorKind::Retry).inspect_err(|_| {
            self.asked.lock().unwrap().insert(id);
        })?;
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
        self.check(Trouble::Unread, partition, ErrorKind::Corrupt)?;
        if self.check(Trouble::Slow, partition, ErrorKind::Retry).is_err() {
            std::thread::sleep(SLOW);
        }
        if topic == Topic::Events {
            let cut = self.check(Trouble::Stutters, partition, ErrorKind::Retry);
            if let Err(cut) = cut {
                return self.read_some(partition, from, each, cut);
            }
        }
        self.log.read(topic, partition, from, each)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        self.check(Trouble::Undecided, partition, ErrorKind::Retry)?;
        self.log.committed(partition)
    }
}

impl Log for Troubled {
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        self.log.schema_id(name, schema)
    }

    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        self.log.poll(records_max, wait)
    }

    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        self.check(Trouble::Deleted, partition, ErrorKind::FixInput)?;
        self.log.start(partition, next_offset)
    }

    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.log.pause(partition)
    }

    fn submit(&mut self, transaction: Transaction) -> Result<(), Error> {
        self.largest.fetch_max(transaction.parts.iter().map(bytes_of).sum(), Ordering::Relaxed);
        if self.refuses(&transaction) {
            self.refused = Some(transaction);
            return Ok(());
        }
        self.log.submit(transaction)
    }

    fn ended(&mut self, wait: Duration) -> Result<Option<(Transaction, Ended)>, Error> {
        match self.refused.take() {
            Some(transaction) => Ok(Some((transaction, Ended::Refused))),
            None => self.log.ended(wait),
        }
    }

    fn recover(&mut self) -> Result<(), Error> {
        self.log.recover()
    }

    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.log.release(partitions)
    }

    fn append_tick(&mut self, partition: u32, value: &[u8]) -> Result<(), Error> {
        self.log.append_tick(partition, value)
    }
}

type Outcomes = Arc<Mutex<BTreeMap<(u32, u64), Outcome>>>;

/// A log with commands, and the worker on it.
struct Shop<F> {
    fixture: F,
    producer: Box<dyn Producer>,
    pen: Pen,
    told: Told,
    outcomes: Outcomes,
    largest: Arc<AtomicUsize>,
    asked: Asked,
    sent: usize,
}

impl<F: Fixture> Shop<F> {
    fn new() -> Self {
        Self::of(F::new(Timestamps::Append))
    }

    fn of(mut fixture: F) -> Self {
        let mut producer = fixture.producer();
        let pen = Pen::of(producer.as_mut());
        let told = Arc::new(Mutex::new(Trouble::None));
        Self {
            fixture,
            producer,
            pen,
            told,
            outcomes: Outcomes::default(),
            largest: Arc::default(),
            asked: Asked::default(),
            sent: 0,
        }
    }

    fn is_in(&self, trouble: Trouble) {
        *self.told.lock().unwrap() = trouble;
    }

    fn worker(&mut self) -> Worker {
        self.worker_with(Config::default())
    }

    fn worker_with(&mut self, config: Config) -> Worker {
        let topology = Arc::new(Topology::discover().unwrap());
        let (told, largest, asked) = (self.told.clone(), self.largest.clone(), self.asked.clone());
        let log = self.fixture.join();
        let mut member = Some(Troubled { log, told, largest, refused: None, asked });
        let outcomes = self.outcomes.clone();
        let parts = Parts {
            name: "worker".to_owned(),
            meter: Default::default(),
            assignments: Arc::default(),
            join: Box::new(move || Ok(Box::new(member.take().expect("it is never fenced")))),
            resolve: Arc::new(OwnSchemas::of(&topology)),
            topology,
            clock: Arc::new(SystemClock::default()),
            saver: None,
            standby: None,
            observer: Some(Box::new(move |partition, offset, outcome| {
                let before = outcomes.lock().unwrap().insert((partition, offset), outcome);
                assert_eq!(before, None, "{partition}@{offset} was told twice");
            })),
            spans: None,
        };
        let config = Config { version: "1".to_owned(), ..config };
        Worker::new(config, parts).unwrap()
    }

    /// Sends a command to a partition.
    fn send(&mut self, partition: u32, amount: i64) -> (u32, u64) {
        self.sent += 1;
        let counter = counter_in(partition, PARTITIONS, 1);
        let key = format!("{}", self.sent);
        let add = self.pen.write(&key, &Add { counter, amount, note: String::new() });
        append(self.producer.as_mut(), &[add])[0]
    }

    /// Sends one to each partition; gives where they lie.
    fn send_all(&mut self) -> Vec<(u32, u64)> {
        (0..PARTITIONS).map(|partition| self.send(partition, 1)).collect()
    }

    fn has(&self, position: &(u32, u64)) -> bool {
        self.outcomes.lock().unwrap().contains_key(position)
    }

    /// Steps until the commands of all but the troubled partition are decided, several times over,
    /// and its own is not.
    fn others_go_on(&mut self, worker: &mut Worker) -> Status {
        for _ in 0..3 {
            let sent = self.send_all();
            let (troubled, others): (Vec<_>, Vec<_>) =
                sent.into_iter().partition(|(partition, _)| *partition == TROUBLED);
            step_until(worker, || others.iter().all(|position| self.has(position)));
            assert!(!troubled.iter().any(|position| self.has(position)), "{troubled:?}");
        }
        worker.status()
    }

    /// Steps until all is decided, each command once.
    fn all_go_on(&mut self, worker: &mut Worker) {
        let sent = self.send_all();
        step_until(worker, || sent.iter().all(|position| self.has(position)));
        assert_eq!(self.outcomes.lock().unwrap().len(), self.sent);
    }
}

fn step_until(worker: &mut Worker, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !done() {
        worker.step(Duration::from_millis(20)).unwrap();
        assert!(Instant::now() < until, "still waiting: {:?}", worker.status());
    }
}

/// Why a partition waits.
fn why(status: &Status, partition: u32) -> String {
    let found = status.troubles().find(|trouble| trouble.partition == partition);
    found.unwrap_or_else(|| panic!("partition {partition} says nothing: {status:?}")).what
}

fn holds_back_no_other<F: Fixture>(trouble: Trouble) {
    let mut shop = Shop::<F>::new();
    shop.is_in(trouble);
    let mut worker = shop.worker();
    let status = shop.others_go_on(&mut worker);
    let waiting: Vec<_> = status.assigned.iter().map(|it| it.partition).collect();
    assert_eq!(waiting, [TROUBLED], "{status:?}");
    assert!(why(&status, TROUBLED).contains(&format!("{trouble:?}")), "{status:?}");
    shop.is_in(Trouble::None);
    shop.all_go_on(&mut worker);
    assert_eq!(worker.status().troubles().count(), 0);
}

pub(crate) fn a_partition_whose_last_transaction_hangs_holds_back_no_other<F: Fixture>() {
    holds_back_no_other::<F>(Trouble::Undecided);
}

pub(crate) fn a_partition_whose_commands_are_deleted_holds_back_no_other<F: Fixture>() {
    holds_back_no_other::<F>(Trouble::Deleted);
}

pub(crate) fn a_partition_whose_events_cannot_be_read_holds_back_no_other<F: Fixture>() {
    // A log that is connected has a genesis to read; the others have events of their own.
    let mut shop = Shop::<F>::new();
    let mut worker = shop.worker();
    shop.all_go_on(&mut worker);
    drop(worker);
    shop.is_in(Trouble::Unread);
    let mut worker = shop.worker();
    let status = shop.others_go_on(&mut worker);
    assert!(why(&status, TROUBLED).contains("Unread"), "{status:?}");
    shop.is_in(Trouble::None);
    shop.all_go_on(&mut worker);
}

pub(crate) fn a_partition_whose_schema_is_not_to_be_had_holds_back_no_other<F: Fixture>() {
    let mut shop = Shop::<F>::new();
    let mut worker = shop.worker();
    shop.all_go_on(&mut worker);
    // What is sent while no worker polls comes at once.
    drop(worker);
    shop.is_in(Trouble::NoRegistry);
    let key = counter_in(TROUBLED, PARTITIONS, 1).0.hyphenated().to_string().into_bytes();
    // Schemas that nobody knows.
    let ids: BTreeSet<u32> = (0x7fff_ff00..0x7fff_ff20).collect();
    let value = |id: &u32| [&[0][..], &id.to_be_bytes(), b"of a schema nobody knows"].concat();
    let flood: Vec<_> = ids.iter().map(|id| (key.clone(), value(id))).collect();
    let flood = append(shop.producer.as_mut(), &flood);
    shop.sent += flood.len();
    let mut worker = shop.worker();
    let status = shop.others_go_on(&mut worker);
    assert!(why(&status, TROUBLED).contains("NoRegistry"), "{status:?}");
    // Asked for together, not one after the answer to the other.
    let asked = shop.asked.lock().unwrap().clone();
    assert!(asked.len() > 1 && asked.is_subset(&ids), "{asked:?}");
    shop.is_in(Trouble::None);
    shop.all_go_on(&mut worker);
    for unknown in &flood {
        let outcome = shop.outcomes.lock().unwrap()[unknown];
        assert_eq!(outcome, Outcome::Parked(ParkedKind::UnknownType));
    }
    let entries = parked::list(shop.fixture.reader().as_mut()).unwrap();
    assert_eq!(entries.len(), flood.len());
}

pub(crate) fn a_restore_that_is_cut_short_goes_on_where_it_was<F: Fixture>() {
    let mut shop = Shop::<F>::new();
    let mut worker = shop.worker();
    for _ in 0..3 * FEW {
        shop.send(TROUBLED, 1);
    }
    shop.all_go_on(&mut worker);
    drop(worker);
    shop.is_in(Trouble::Stutters);
    let mut worker = shop.worker();
    shop.all_go_on(&mut worker);
}

pub(crate) fn a_partition_whose_processor_panics_holds_back_no_other<F: Fixture>() {
    let mut shop = Shop::<F>::new();
    let mut worker = shop.worker();
    shop.all_go_on(&mut worker);
    let (_, offset) = shop.send(TROUBLED, i64::MAX);
    let status = shop.others_go_on(&mut worker);
    let why = why(&status, TROUBLED);
    assert_eq!(why, format!("stands still at command {offset}: a counter that is full"));
}

pub(crate) fn a_partition_with_a_long_restore_holds_back_no_other<F: Fixture>() {
    const EVENTS: usize = 600;
    let mut shop = Shop::<F>::new();
    let mut worker = shop.worker();
    let counter = counter_in(TROUBLED, PARTITIONS, 1);
    let many: Vec<_> = (0..EVENTS)
        .map(|nth| {
            let add = Add { counter, amount: 1, note: String::new() };
            shop.pen.write(&format!("many {nth}"), &add)
        })
        .collect();
    let sent = append(shop.producer.as_mut(), &many);
    shop.sent += many.len();
    step_until(&mut worker, || sent.iter().all(|position| shop.has(position)));
    shop.all_go_on(&mut worker);
    drop(worker);

    shop.is_in(Trouble::Slow);
    let mut worker = shop.worker_with(Config { restore_events_max: 10, ..Config::default() });
    let others: Vec<_> = [0, 2, 3].into_iter().map(|partition| shop.send(partition, 1)).collect();
    let mut seen = Vec::new();
    let until = Instant::now() + LONG;
    while !others.iter().all(|position| shop.has(position)) {
        worker.step(Duration::from_millis(20)).unwrap();
        let status = worker.status();
        seen.extend(status.assigned.iter().find(|it| it.partition == TROUBLED).cloned());
        assert!(Instant::now() < until, "{status:?}");
    }
    let status = worker.status();
    let restoring = status.assigned.iter().find(|it| it.partition == TROUBLED);
    assert!(restoring.is_some(), "the others were decided before it was restored: {status:?}");
    // In slices, each a little further, of as many as there are.
    let events: Vec<_> = seen.iter().map(|it| it.events).collect();
    assert!(events.is_sorted() && events.last() > events.first(), "{events:?}");
    assert!(seen.iter().all(|it| it.of.is_none_or(|of| of > EVENTS as u64)), "{seen:?}");
    shop.all_go_on(&mut worker);
    let reader = &mut shop.fixture.reader();
    let told = read(reader.as_mut(), Topic::Events, TROUBLED, 0).len();
    assert_eq!(told, 1 + EVENTS + 2, "a genesis and an event for each command");
}

pub(crate) fn a_partition_that_is_taken_away_while_it_waits_is_released<F: Fixture>() {
    let mut shop = Shop::<F>::new();
    shop.is_in(Trouble::Undecided);
    let mut worker = shop.worker();
    shop.others_go_on(&mut worker);
    // Another worker comes, whose member has no trouble.
    let mut other = shop.fixture.join();
    let mut owned = Vec::new();
    let until = Instant::now() + LONG;
    while owned.len() < PARTITIONS as usize / 2 {
        worker.step(Duration::from_millis(20)).unwrap();
        match other.poll(0, Duration::from_millis(1)).unwrap() {
            Polled::Assigned(partitions) => owned.extend(partitions),
            Polled::Idle => {}
            polled @ (Polled::Batch(_) | Polled::Revoked(_) | Polled::Lost(_)) => {
                panic!("{polled:?}")
            }
        }
        assert!(Instant::now() < until, "owns {owned:?}: {:?}", worker.status());
    }
}

/// Sends to each partition `count` commands, at once, and to the troubled one after half of them
/// one whose event is larger than `larger`; gives where that one lies.
fn send_with_a_larger_one<F: Fixture>(
    shop: &mut Shop<F>,
    count: usize,
    larger: usize,
) -> (u32, u64) {
    let mut written = Vec::new();
    let mut at = 0;
    for nth in 0..count {
        for partition in 0..PARTITIONS {
            let counter = counter_in(partition, PARTITIONS, 1);
            if partition == TROUBLED && nth == count / 2 {
                let add = Add { counter, amount: 1_000, note: "x".repeat(larger) };
                at = written.len();
                written.push(shop.pen.write("the larger one", &add));
            }
            let add = Add { counter, amount: 1, note: String::new() };
            written.push(shop.pen.write(&format!("{partition}-{nth}"), &add));
        }
    }
    shop.sent += written.len();
    append(shop.producer.as_mut(), &written)[at]
}

pub(crate) fn a_command_that_leads_to_what_the_log_refuses_is_parked_and_all_others_commit<
    F: Fixture,
>() {
    let shop = Shop::<F>::new();
    shop.is_in(Trouble::Larger(3_000));
    what_is_refused_is_parked(shop);
}

/// On a log that takes no record of the troubled partition above 3,000 bytes.
pub(crate) fn what_is_refused_is_parked_on<F: Fixture>(fixture: F) {
    what_is_refused_is_parked(Shop::of(fixture));
}

fn what_is_refused_is_parked<F: Fixture>(mut shop: Shop<F>) {
    const COUNT: usize = 20;
    let larger = send_with_a_larger_one(&mut shop, COUNT, 5_000);
    let mut worker = shop.worker();
    let all = shop.sent;
    let outcomes = shop.outcomes.clone();
    step_until(&mut worker, || outcomes.lock().unwrap().len() == all);
    let parked = Outcome::Parked(ParkedKind::TooLarge);
    for (position, outcome) in outcomes.lock().unwrap().iter() {
        let is_decided = matches!(outcome, Outcome::Decided { code: 0, .. });
        assert_eq!((*outcome == parked, is_decided), (*position == larger, *position != larger));
    }
    // Nothing of it is in the state, and what came behind it was decided without it.
    let counters = worker.task(TROUBLED).unwrap().stores().find::<Counter>().unwrap();
    let counter = counters.get(&counter_in(TROUBLED, PARTITIONS, 1)).unwrap();
    assert_eq!(counter.total, COUNT as i64);
    let mut reader = shop.fixture.reader();
    let entries = parked::list(reader.as_mut()).unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.partition, entry.parked.offset), (TROUBLED, larger.1.cast_signed()));
    assert_eq!((&entry.parked.key, &entry.parked.value), (&None, &None));
    assert!(entry.parked.cause.contains("of hash"), "{}", entry.parked.cause);
    for partition in 0..PARTITIONS {
        let events = read(reader.as_mut(), Topic::Events, partition, 0).len();
        assert_eq!(events, 1 + COUNT, "partition {partition}");
    }
    assert_eq!(worker.status().troubles().count(), 0);
    shop.all_go_on(&mut worker);
}

pub(crate) fn a_partition_of_which_the_log_takes_nothing_holds_back_no_other<F: Fixture>() {
    let mut shop = Shop::<F>::new();
    let mut worker = shop.worker();
    shop.all_go_on(&mut worker);
    shop.is_in(Trouble::Larger(0));
    let status = shop.others_go_on(&mut worker);
    let why = why(&status, TROUBLED);
    assert!(why.contains("stands still at command"), "{why}");
    assert!(why.contains("max.message.bytes"), "{why}");
}

pub(crate) fn a_flood_of_large_records_is_committed_by_bytes<F: Fixture>() {
    const BYTES: usize = 100_000;
    const MOST: usize = 500_000;
    let mut shop = Shop::<F>::new();
    let key = counter_in(TROUBLED, PARTITIONS, 1).0.hyphenated().to_string().into_bytes();
    let flood: Vec<_> = (0..40).map(|_| (key.clone(), vec![b'x'; BYTES])).collect();
    let sent = append(shop.producer.as_mut(), &flood);
    shop.sent += sent.len();
    let mut worker = shop.worker_with(Config { batch_bytes_max: MOST, ..Config::default() });
    shop.all_go_on(&mut worker);
    let largest = shop.largest.load(Ordering::Relaxed);
    assert!(largest > BYTES && largest < MOST + 2 * BYTES, "{largest} bytes in one transaction");
    let parked = Outcome::Parked(ParkedKind::Undecodable);
    let outcomes = shop.outcomes.lock().unwrap();
    assert!(sent.iter().all(|position| outcomes[position] == parked));
}
