//! A log of its own with several workers, a producer that goes on meanwhile, and the faults that
//! have begun.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use bellhop_harness::{Kafka, KafkaOptions, Proxy, RedpandaRegistry, Server, signal};
use bellhop_runtime::log::Reader;
use bellhop_runtime::log::redpanda::{Config, Sender};
use bellhop_runtime::log::simulated::Random;
use bellhop_tests::hands::{Owned, append, counter_in};
use bellhop_tests::toy::Add;
use tempfile::TempDir;

use super::child::{CHILD, HEARS, LATE};
use super::{FAULTS, NAME};
use crate::house::House;

pub(super) const PARTITIONS: u32 = 8;
pub(super) const WORKERS: usize = 3;
/// How long everything may take to be decided after the last fault has ended.
const SETTLED: Duration = Duration::from_secs(180);
/// How often the producer sends while faults go on.
const PACE: Duration = Duration::from_millis(60);

/// A worker's process.
pub(super) struct Child {
    pub(super) id: u64,
    pub(super) server: Server,
    pub(super) log: PathBuf,
}

impl Child {
    pub(super) fn signal(&self, name: &str) {
        signal(self.server.pid(), name).unwrap();
    }

    /// What it has logged so far.
    pub(super) fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }
}

type Lift = Box<dyn FnOnce(&mut Stage)>;

pub(super) struct Stage {
    pub(super) house: House,
    pub(super) kafka: Kafka,
    pub(super) registry: RedpandaRegistry,
    /// Workers that nobody has asked to leave.
    pub(super) workers: Vec<Child>,
    /// Those that have been asked.
    leaving: Vec<Child>,
    /// What ends the faults that go on, and when.
    lifts: Vec<(Instant, Lift)>,
    /// Partitions on which transactions hang, by how many.
    pub(super) hanging: BTreeMap<u32, u32>,
    /// Faults that keep the registry away.
    pub(super) away: u32,
    /// Partitions of the topic of commands.
    pub(super) of_commands: u32,
    /// What is deleted from the topic of commands and was decided, by partition.
    pub(super) kept: BTreeMap<u32, Vec<Owned>>,
    /// Partitions some of whose commands are deleted.
    pub(super) deleted: BTreeSet<u32>,
    /// What workers must have said at the end.
    pub(super) to_be_said: BTreeSet<String>,
    /// Requests that came late and are counted.
    pub(super) late: usize,
    pub(super) sender: Sender,
    counts: BTreeMap<&'static str, u64>,
    seed: u64,
    lasting: [i64; 2],
    /// Of the load: it depends on the time that faults take, as no fault does.
    random: Random,
    number: u64,
    started: u64,
    begun: Instant,
    journal: Vec<String>,
    pub(super) folder: TempDir,
}

impl Stage {
    pub(super) fn new(seed: u64, lasting: [i64; 2], mut random: Random) -> Self {
        // Looks for transactions that are over time more often than the 10 s of brokers.
        let often = "transaction.abort.timed.out.transaction.cleanup.interval.ms=2000";
        let options = KafkaOptions { properties: vec![often.to_owned()], ..Default::default() };
        let kafka = Kafka::start_with(options).unwrap();
        let registry = RedpandaRegistry::start().unwrap();
        if random.chance(5_000) {
            registry.authorize();
        }
        let house = House::with(PARTITIONS, Config::new(&kafka.brokers(), registry.url()));
        let sender = house.log.sender();
        let mut stage = Self {
            house,
            kafka,
            registry,
            workers: Vec::new(),
            leaving: Vec::new(),
            lifts: Vec::new(),
            hanging: BTreeMap::new(),
            away: 0,
            of_commands: PARTITIONS,
            kept: BTreeMap::new(),
            deleted: BTreeSet::new(),
            to_be_said: BTreeSet::new(),
            late: 0,
            sender,
            counts: FAULTS.iter().map(|fault| (fault.what, 0)).collect(),
            seed,
            lasting,
            random,
            number: 0,
            started: 0,
            begun: Instant::now(),
            journal: Vec::new(),
            folder: TempDir::new().unwrap(),
        };
        (0..WORKERS).for_each(|_| stage.start_worker());
        stage.load();
        stage.wait("the first commands are decided", Stage::is_decided);
        stage
    }

    /// Notes for whoever looks into a failure.
    pub(super) fn say(&mut self, what: &str) {
        self.journal.push(format!("{:7.2} s: {what}", self.begun.elapsed().as_secs_f64()));
    }

    pub(super) fn count(&mut self, what: &'static str, more: u64) {
        let count = self.counts.get_mut(what);
        *count.unwrap_or_else(|| panic!("\"{what}\" is not in the table of faults")) += more;
    }

    /// `seed 7: 3 workers killed, 2 workers paused, ..`, for a soak to add up.
    pub(super) fn summary(&self) -> String {
        let counts: Vec<_> = FAULTS
            .iter()
            .map(|fault| format!("{} {}", self.counts[fault.what], fault.what))
            .collect();
        format!("seed {}: {}", self.seed, counts.join(", "))
    }

    /// How long a fault lasts.
    pub(super) fn lasts(&self, random: &mut Random) -> Duration {
        let [least, most] = self.lasting;
        Duration::from_millis(random.between(least, most).cast_unsigned())
    }

    /// Has a fault ended after a time.
    pub(super) fn later(&mut self, after: Duration, lift: impl FnOnce(&mut Self) + 'static) {
        self.lifts.push((Instant::now() + after, Box::new(lift)));
    }

    pub(super) fn start_worker(&mut self) {
        self.started += 1;
        let log = self.folder.path().join(format!("worker-{}.log", self.started));
        File::create(&log).unwrap();
        let Config { registry, prefix, .. } = &self.house.config;
        let (brokers, folder) = (self.kafka.far_brokers(), self.folder.path().display());
        let mut command = Process::new(std::env::current_exe().unwrap());
        command.env(CHILD, format!("{brokers}|{}|{prefix}|{folder}", registry.url)).args([
            "--nocapture",
            "--exact",
            NAME,
        ]);
        let server = Server::start("worker", &mut command, &log).unwrap();
        self.say(&format!("worker {} is started", self.started));
        self.workers.push(Child { id: self.started, server, log });
    }

    /// Asks a worker to leave.
    pub(super) fn dismiss(&mut self, index: usize) {
        let worker = self.workers.swap_remove(index);
        self.say(&format!("worker {} is asked to leave", worker.id));
        worker.signal("TERM");
        self.leaving.push(worker);
    }

    /// Lets workers go on that were stopped, unless they were killed meanwhile.
    pub(super) fn resume(&mut self, ids: &[u64]) {
        self.say(&format!("workers {ids:?} go on"));
        let all = self.workers.iter().chain(&self.leaving);
        all.filter(|worker| ids.contains(&worker.id)).for_each(|worker| worker.signal("CONT"));
    }

    /// Commands of one transaction: new ones, and keys that came before, with their payload or
    /// another one.
    pub(super) fn load(&mut self) {
        let count = 20 + self.random.below(40);
        let mut written = Vec::new();
        let mut keys = Vec::new();
        for _ in 0..count {
            let (number, payload, is_first) = match self.random.below(10) {
                0 if self.number > 0 => {
                    let number = 1 + self.random.below(self.number);
                    (number, number + self.random.below(2), false)
                }
                _ => {
                    self.number += 1;
                    (self.number, self.number, true)
                }
            };
            let key = format!("number {number}");
            written.push(self.house.pen.write(&key, &command(number, payload)));
            keys.push(is_first.then_some(key));
        }
        for ((partition, offset), key) in append(&mut self.sender, &written).into_iter().zip(keys) {
            if let Some(key) = key {
                self.house.sent.entry(partition).or_default().push((offset, key));
            }
        }
    }

    /// Sends until every partition has a new one.
    pub(super) fn load_all(&mut self) {
        let before = self.house.sent.clone();
        let count =
            |sent: &BTreeMap<u32, Vec<(u64, String)>>, id| sent.get(&id).map_or(0, Vec::len);
        while (0..PARTITIONS).any(|id| count(&self.house.sent, id) == count(&before, id)) {
            self.load();
        }
    }

    /// Sends commands for a time, and ends the faults whose time has come.
    pub(super) fn work(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.load();
            self.lift();
            self.look_after_workers();
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(PACE);
        }
    }

    /// Works until something is so.
    pub(super) fn wait(&mut self, what: &str, is_so: impl Fn(&mut Self) -> bool) {
        assert!(self.comes(SETTLED, is_so), "{what}: not in {SETTLED:?}");
    }

    /// Works until something is so; gives whether that came in time.
    pub(super) fn comes(&mut self, most: Duration, is_so: impl Fn(&mut Self) -> bool) -> bool {
        let until = Instant::now() + most;
        while !is_so(self) {
            if Instant::now() > until {
                return false;
            }
            self.lift();
            self.look_after_workers();
            std::thread::sleep(PACE);
        }
        true
    }

    pub(super) fn is_decided(&mut self) -> bool {
        self.house.is_decided(&mut self.house.log.reader())
    }

    fn lift(&mut self) {
        let now = Instant::now();
        let (due, later) = self.lifts.drain(..).partition(|(when, _)| *when <= now);
        self.lifts = later;
        let due: Vec<(Instant, Lift)> = due;
        due.into_iter().for_each(|(_, lift)| lift(self));
    }

    /// No worker ends unless it is killed or asked to; who is asked ends in order.
    fn look_after_workers(&mut self) {
        for worker in &mut self.workers {
            let ended = worker.server.ended().unwrap();
            assert!(ended.is_none(), "worker {} has ended by itself: {ended:?}", worker.id);
        }
        let mut gone = Vec::new();
        for (index, worker) in self.leaving.iter_mut().enumerate() {
            let Some(status) = worker.server.ended().unwrap() else { continue };
            let before_it_heard = status.signal().is_some() && !worker.logged().contains(HEARS);
            let in_order = matches!(status.code(), Some(0 | LATE)) || before_it_heard;
            assert!(in_order, "worker {} left with {status}", worker.id);
            gone.push((index, worker.id));
        }
        for (index, id) in gone.into_iter().rev() {
            self.leaving.remove(index);
            self.say(&format!("worker {id} has left"));
        }
    }

    /// Ends the faults that go on, each when its time has come, while commands are sent.
    pub(super) fn end_faults(&mut self) {
        while !self.lifts.is_empty() {
            self.work(PACE);
        }
        self.say("all faults have ended");
    }

    /// Asks all workers to leave and waits until they have.
    pub(super) fn dismiss_all(&mut self) {
        while !self.workers.is_empty() {
            self.dismiss(0);
        }
        self.wait_left();
    }

    pub(super) fn wait_left(&mut self) {
        self.wait("those who were asked to leave have left", |stage| stage.leaving.is_empty());
    }

    /// Whether a worker that is there says something.
    pub(super) fn is_said(&self, what: &str) -> bool {
        self.workers.iter().any(|worker| worker.logged().contains(what))
    }

    /// What has come late, as far as it is not counted.
    pub(super) fn newly_late(&mut self) -> u64 {
        let late: usize = self.kafka.proxies().map(Proxy::late).sum();
        let more = late - self.late;
        self.late = late;
        more as u64
    }

    /// How far each partition is.
    fn standing(&self) -> String {
        let mut reader: Box<dyn Reader> = Box::new(self.house.log.reader());
        self.house.standing(reader.as_mut())
    }

    /// Everything that a worker of this run has logged.
    pub(super) fn all_logged(&self) -> String {
        let logs = (1..=self.started).map(|id| {
            let log = std::fs::read(self.folder.path().join(format!("worker-{id}.log")));
            String::from_utf8_lossy(&log.unwrap()).into_owned()
        });
        logs.collect()
    }
}

/// The command of a number: some amounts are refused.
fn command(number: u64, payload: u64) -> Add {
    let nth = (number % 23) as u32;
    let counter = counter_in(nth % PARTITIONS, PARTITIONS, nth);
    let amount = (payload * 7_919 % 11).cast_signed() - 4;
    Add { counter, amount, note: "n".repeat(100) }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.folder.disable_cleanup(true);
        eprintln!("{}", self.summary());
        eprintln!("{}", self.journal.join("\n"));
        eprintln!("where partitions stand:{}", self.standing());
        eprintln!("the logs of the workers are in {}", self.folder.path().display());
    }
}
