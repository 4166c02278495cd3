//! A log with events, and a database of its own on an engine that all tests share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bellhop_clickhouse::audit::{self, Audit};
use bellhop_clickhouse::{Config, Server, Sink, Status, migrate};
use bellhop_core::avro::Avro as _;
use bellhop_core::message::LogId;
use bellhop_core::record::frame;
use bellhop_harness::ClickHouse;
use bellhop_ledger::KNOWN;
use bellhop_runtime::clock::SystemClock;
use bellhop_runtime::log::embedded::{Embedded, Member, Options, Tuning};
use bellhop_runtime::log::{
    Ended, Log as _, Part, Polled, Reader as _, Timestamps, Topic, Transaction,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::stream::{InLog as _, Known};

pub(crate) const GROUP: &str = "clickhouse";
/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// The engine that the tests share; the database is a test's own.
pub(crate) fn shared() -> &'static ClickHouse {
    static ENGINE: OnceLock<ClickHouse> = OnceLock::new();
    ENGINE.get_or_init(|| ClickHouse::start().unwrap())
}

/// A log in a folder.
pub(crate) struct Book {
    pub(crate) log: Embedded,
    writer: Member,
    ids: BTreeMap<&'static str, u32>,
    /// Events so far, by partition.
    pub(crate) counts: Vec<u64>,
}

impl Book {
    pub(crate) fn open(folder: &Path, partitions: u32) -> Self {
        let log_id = LogId(Uuid::from_u128(0x1095));
        let options = Options { partitions, timestamps: Timestamps::Create, log_id };
        let clock = Arc::new(SystemClock::default());
        let mut log = Embedded::open_or_create(folder, &options, Tuning::default(), clock).unwrap();
        let mut writer = log.join();
        let mut owned = 0;
        while owned < partitions as usize {
            if let Polled::Assigned(more) = writer.poll(0, Duration::from_millis(20)).unwrap() {
                owned += more.len();
            }
        }
        let schemas = KNOWN.iter().map(|known| (known.name, (known.schema)()));
        let ids = schemas.map(|(name, text)| (name, writer.schema_id(name, &text).unwrap()));
        let ids = ids.collect();
        let counts = (0..partitions).map(|p| log.end(Topic::Events, p).unwrap()).collect();
        Self { log, writer, ids, counts }
    }

    pub(crate) fn schema_id(&mut self, name: &str, text: &str) -> u32 {
        self.writer.schema_id(name, text).unwrap()
    }

    /// Commits events to a partition, in one transaction.
    pub(crate) fn append(&mut self, partition: u32, events: &[Known]) {
        let values: Vec<Vec<u8>> = events
            .iter()
            .zip(self.counts[partition as usize]..)
            .map(|(known, offset)| {
                let mut value = Vec::new();
                frame(self.ids[known.name()], &mut value);
                known.meta(offset).encode(&mut value);
                value.extend_from_slice(&known.datum());
                value
            })
            .collect();
        let times = events.iter().map(|known| known.at);
        self.append_raw(partition, times.zip(values).collect());
    }

    /// Commits records to a partition, whatever they are.
    pub(crate) fn append_raw(
        &mut self,
        partition: u32,
        values: Vec<(bellhop_core::message::Timestamp, Vec<u8>)>,
    ) {
        let mut part = Part { partition, ..Part::default() };
        self.counts[partition as usize] += values.len() as u64;
        for (time, value) in values {
            part.output.events.push(time, |_| {}, |out| out.extend_from_slice(&value));
        }
        self.writer.submit(Transaction { parts: vec![part] }).unwrap();
        let (_, ended) = self.writer.ended(LONG).unwrap().unwrap();
        assert_eq!(ended, Ended::Committed);
    }
}

/// A log and a database.
pub(crate) struct World {
    pub(crate) book: Book,
    pub(crate) config: Config,
    pub(crate) server: Server,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new(partitions: u32) -> Self {
        Self::on(shared(), partitions)
    }

    pub(crate) fn on(engine: &ClickHouse, partitions: u32) -> Self {
        let config = config(engine);
        engine.query(&format!("CREATE DATABASE {}", config.database)).unwrap();
        let server = Server::new(&config).unwrap();
        migrate::run(&server).unwrap();
        let folder = TempDir::new().unwrap();
        let book = Book::open(folder.path(), partitions);
        Self { book, config, server, folder }
    }

    /// The events of the real data, dealt out to the partitions.
    pub(crate) fn with_bookings(partitions: u32, count: usize) -> Self {
        let mut world = Self::new(partitions);
        world.append_bookings(count);
        world
    }

    pub(crate) fn append_bookings(&mut self, count: usize) {
        let partitions = self.book.counts.len();
        let mut by_partition = vec![Vec::new(); partitions];
        for (number, known) in bookings().iter().take(count).enumerate() {
            by_partition[number % partitions].push(known.clone());
        }
        for (partition, events) in (0..).zip(by_partition) {
            for some in events.chunks(997) {
                self.book.append(partition, some);
            }
        }
    }

    pub(crate) fn sink(&self) -> Sink {
        self.sink_with(self.config.clone())
    }

    pub(crate) fn sink_with(&self, config: Config) -> Sink {
        Sink::new(config, Box::new(self.book.log.consume(GROUP))).unwrap()
    }

    /// Lands all that there is.
    pub(crate) fn land(&self) -> Status {
        self.land_with(self.config.clone())
    }

    pub(crate) fn land_with(&self, config: Config) -> Status {
        let mut sink = self.sink_with(config);
        sink.run_until(until_all(&self.book.counts)).unwrap()
    }

    pub(crate) fn audit(&self) -> Audit {
        audit::run(&self.server).unwrap()
    }

    /// Nothing is missing, nothing twice, and every column is what the events say.
    pub(crate) fn assert_whole(&mut self) {
        let audit = self.audit();
        assert!(audit.is_clean(), "{audit:#?}");
        assert_eq!(audit.events() as u64, self.book.counts.iter().sum::<u64>());
        let compared = audit::compare(&self.server, &mut self.book.log).unwrap();
        let differences: Vec<_> = compared.differences().collect();
        assert!(differences.is_empty(), "{differences:#?}");
        assert!(!compared.lines.is_empty() && compared.behind.values().all(|behind| *behind == 0));
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        #[derive(serde::Deserialize)]
        struct Row {
            n: i64,
        }
        let sql = format!("SELECT toInt64(({sql})) AS n");
        self.server.ask::<Row>("ask", &sql, &[]).unwrap()[0].n
    }
}

/// Where a test lands, in a database of its own; pauses are short, batches small.
pub(crate) fn config(engine: &ClickHouse) -> Config {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let mut config = Config {
        url: engine.url().to_owned(),
        user: engine.user().to_owned(),
        password: engine.password().to_owned(),
        database: format!("bellhop_{}_{number}", std::process::id()),
        ladder: [20, 40, 80].map(Duration::from_millis).to_vec(),
        circuit_open: Duration::from_millis(200),
        plan_ttl: Duration::from_secs(4),
        unknown_for: Duration::ZERO,
        ..Config::default()
    };
    config.batching.rows_max = 3_000;
    config.batching.age_max = Duration::from_millis(50);
    config.batching.interval_min = Duration::from_millis(10);
    config
}

/// Stops a sink when all events have landed.
pub(crate) fn until_all(counts: &[u64]) -> impl FnMut(&Status) -> bool + use<> {
    let counts = counts.to_vec();
    let begun = Instant::now();
    move |status| {
        assert!(begun.elapsed() < LONG, "{status:?} of {counts:?}");
        let landed = |(partition, count): (u32, &u64)| {
            status.next.get(&partition).is_some_and(|next| next >= count)
        };
        (0..).zip(&counts).all(landed)
    }
}

/// The events of the real data, read once.
pub(crate) fn bookings() -> &'static [Known] {
    static EVENTS: OnceLock<Vec<Known>> = OnceLock::new();
    EVENTS.get_or_init(|| crate::hotels::events().0)
}
