//! Sink and engine are killed (signal 9) at random moments; and a broken sink is found out.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bellhop_clickhouse::{Config, Server, Sink, audit, migrate};
use bellhop_harness::ClickHouse;
use tempfile::TempDir;

use crate::proxy::{Mode, Proxy};
use crate::random::Random;
use crate::repairs::{follow, lose_marks};
use crate::world::{Book, GROUP, LONG, World, bookings, until_all};

const CHILD: &str = "BELLHOP_TEST_SINK";
const KILLS: u64 = 10;
/// How a sink ends that somebody has to help, and what it prints before why.
const STOPPED: i32 = 3;
const SAYS: &str = "STOPPED:";

/// The process that is killed: a sink over a log in a folder. Without its variable it has nothing
/// to do, and says so.
#[test]
fn a_sink_for_the_tests_that_kill_it() {
    let Ok(told) = std::env::var(CHILD) else {
        eprintln!("only for the tests that start it");
        return;
    };
    let told: Vec<&str> = told.split(' ').collect();
    let [folder, url, database] = told[..] else { panic!("{told:?}") };
    let book = Book::open(folder.as_ref(), 2);
    let mut config = config_of(url, database);
    config.batching.rows_max = 400;
    config.batching.age_max = Duration::from_millis(20);
    let mut sink = Sink::new(config, Box::new(book.log.consume(GROUP))).unwrap();
    let (mut all, mut asked) = (until_all(&book.counts), None);
    let ended = sink.run_until(|status| {
        asked = status.held.values().next().cloned();
        asked.is_some() || all(status)
    });
    ended.unwrap();
    if let Some(asked) = asked {
        eprintln!("{SAYS} {asked}");
        std::process::exit(STOPPED);
    }
}

fn config_of(url: &str, database: &str) -> Config {
    let mut config = Config {
        url: url.to_owned(),
        password: "bellhop".to_owned(),
        database: database.to_owned(),
        ladder: vec![Duration::from_millis(30); 5],
        circuit_open: Duration::from_millis(100),
        plan_ttl: Duration::from_secs(2),
        ..Config::default()
    };
    config.batching.interval_min = Duration::from_millis(10);
    config
}

/// An engine, a log with 24,000 events and a sink between them, in a process of its own.
struct Killed {
    engine: ClickHouse,
    config: Config,
    server: Server,
    folder: TempDir,
    random: Random,
    seed: u64,
    sinks: u32,
    engines: u32,
}

impl Killed {
    fn new() -> Self {
        let seed = std::env::var("BELLHOP_TEST_SEED").ok().and_then(|it| it.parse().ok());
        let seed = seed.unwrap_or(5);
        let engine = ClickHouse::engine().unwrap();
        let config = config_of(engine.url(), "killed");
        let server = Server::new(&config).unwrap();
        migrate::run(&server).unwrap();
        let folder = TempDir::new().unwrap();
        let mut book = Book::open(folder.path(), 2);
        for (number, some) in bookings()[..24_000].chunks(500).enumerate() {
            book.append(number as u32 % 2, some);
        }
        let random = Random(seed);
        Self { engine, config, server, folder, random, seed, sinks: 0, engines: 0 }
    }

    fn kills() -> u64 {
        let kills = std::env::var("BELLHOP_TEST_FAULTS").ok().and_then(|it| it.parse().ok());
        kills.unwrap_or(KILLS)
    }

    fn book(&self) -> Book {
        Book::open(self.folder.path(), 2)
    }

    /// What a sink prints goes to a file.
    fn start(&self) -> Child {
        let says = std::fs::File::create(self.folder.path().join("says")).unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::a_sink_for_the_tests_that_kill_it", "--nocapture"])
            .env(CHILD, format!("{} {} killed", self.folder.path().display(), self.config.url))
            .stdout(Stdio::null())
            .stderr(says)
            .spawn()
            .unwrap()
    }

    /// A sink runs for a while, and perhaps the engine dies meanwhile; then the sink does.
    fn kill_one(&mut self) {
        let mut child = self.start();
        std::thread::sleep(Duration::from_millis(150 + self.random.below(600)));
        if self.random.below(2) == 0 {
            self.engine.kill().unwrap();
            self.engines += 1;
            std::thread::sleep(Duration::from_millis(self.random.below(200)));
            self.engine.restart().unwrap();
        }
        std::thread::sleep(Duration::from_millis(self.random.below(300)));
        // Gone already, it has landed all there is, or waits for help.
        self.sinks += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What the last sink asks for.
    fn asked(&self) -> Option<String> {
        let says = std::fs::read_to_string(self.folder.path().join("says")).unwrap();
        let (_, asked) = says.split_once(SAYS)?;
        Some(asked.lines().next().unwrap_or_default().to_owned())
    }

    fn assert_whole(&self) {
        let seed = self.seed;
        let audited = audit::run(&self.server).unwrap();
        assert!(audited.is_clean(), "seed {seed}: {audited:#?}");
        assert_eq!(audited.events(), 24_000, "seed {seed}");
        let compared = audit::compare(&self.server, &mut self.book().log).unwrap();
        assert_eq!(compared.differences().count(), 0, "seed {seed}: {compared:#?}");
    }
}

#[test]
fn killed_at_random_moments_sink_and_engine_leave_neither_gap_nor_duplicate() {
    let mut killed = Killed::new();
    for _ in 0..Killed::kills() {
        killed.kill_one();
    }
    let Killed { seed, sinks, engines, .. } = killed;
    eprintln!("seed {seed}: {sinks} sinks killed, {engines} engines killed");
    assert!(sinks > 2 && engines > 0, "{sinks} sinks and {engines} engines were killed");
    let begun = Instant::now();
    while !killed.start().wait().unwrap().success() {
        assert!(begun.elapsed() < LONG, "seed {seed}: the last sink does not come to an end");
    }
    killed.assert_whole();
}

#[test]
fn killed_at_random_moments_with_parts_and_marks_lost_the_hints_lead_to_whole_tables() {
    #[derive(serde::Deserialize)]
    struct Part {
        table: String,
        name: String,
    }
    let mut killed = Killed::new();
    // There is something to lose before anything is.
    let begun = Instant::now();
    let mut first = killed.start();
    while killed.engine.query("SELECT count() FROM killed.events").unwrap().trim() == "0" {
        assert!(begun.elapsed() < LONG, "nothing lands");
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let (mut parts, mut marks, mut hints) = (0, 0, 0);
    let seed = killed.seed;
    for _ in 0..Killed::kills() {
        killed.kill_one();
        if killed.random.below(2) == 0 {
            // As if the power had failed before the newest part was on the disk.
            let sql = "SELECT table, name FROM system.parts WHERE active AND database = 'killed' AND table NOT IN ('migrations', 'log') ORDER BY modification_time DESC, name LIMIT 6";
            let newest: Vec<Part> = killed.server.ask("see the parts", sql, &[]).unwrap();
            if !newest.is_empty() {
                let part = &newest[killed.random.below(newest.len() as u64) as usize];
                let sql = format!("ALTER TABLE {} DROP PART '{}'", part.table, part.name);
                killed.server.run("lose a part", &sql).unwrap();
                parts += 1;
            }
        }
        if killed.random.below(3) == 0 {
            lose_marks(&killed.book());
            marks += 1;
        }
        if let Some(asked) = killed.asked() {
            hints += follow(&killed.config, &mut killed.book(), &asked).len();
        }
    }
    let Killed { sinks, engines, .. } = killed;
    assert!(parts > 0 && marks > 0, "{parts} parts and {marks} marks were lost");
    let begun = Instant::now();
    loop {
        let ended = killed.start().wait().unwrap();
        if ended.success() {
            break;
        }
        assert!(begun.elapsed() < LONG, "seed {seed}: the last sink does not come to an end");
        if ended.code() == Some(STOPPED) {
            let asked = killed.asked().unwrap();
            hints += follow(&killed.config, &mut killed.book(), &asked).len();
        }
    }
    // What was lost where no sink has looked, the audit finds and offers to mend.
    let audited = audit::run(&killed.server).unwrap();
    for damage in audited.damages() {
        hints +=
            follow(&killed.config, &mut killed.book(), &format!("`{}`", damage.command(""))).len();
    }
    if audited.has_damaged_views() {
        bellhop_clickhouse::views::rebuild(&killed.server).unwrap();
    }
    eprintln!(
        "seed {seed}: {sinks} sinks killed, {engines} engines killed, {parts} parts lost, {marks} sets of marks lost, {hints} printed remedies followed"
    );
    killed.assert_whole();
}

/// Lands with a promise broken and answers lost; gives what the audit says.
fn audit_of_broken(breaks: bellhop_clickhouse::Breaks, mode: Mode) -> (i64, i64) {
    let world = World::with_bookings(1, 3_000);
    let proxy = Proxy::to(&world.config.url);
    let mut broken = world.config.clone();
    broken.url = proxy.url.clone();
    broken.breaks = breaks;
    broken.batching.rows_max = 400;
    broken.release_timeout = Duration::ZERO;
    let mut sink = world.sink_with(broken.clone());
    proxy.set(mode, "INSERT+INTO");
    sink.run_until(|_| proxy.struck() > 2).unwrap();
    // It dies here: what it had not landed is for the next.
    drop(sink);
    proxy.set(Mode::Pass, "");
    broken.release_timeout = Duration::from_secs(5);
    let mut sink = world.sink_with(broken);
    sink.run_until(until_all(&world.book.counts)).unwrap();
    drop(sink);
    audit::run(&world.server).unwrap().totals()
}

#[test]
fn a_sink_without_tokens_is_found_out() {
    let breaks = bellhop_clickhouse::Breaks { no_token: true, ..Default::default() };
    let (_, twice) = audit_of_broken(breaks, Mode::SwallowAnswers);
    assert!(twice > 0, "the audit has not noticed");
}

#[test]
fn a_sink_that_marks_before_it_inserts_is_found_out() {
    let breaks = bellhop_clickhouse::Breaks { mark_first: true, ..Default::default() };
    let (missing, _) = audit_of_broken(breaks, Mode::DropRequests);
    assert!(missing > 0, "the audit has not noticed");
}

#[test]
fn an_unbroken_sink_passes_the_same_checks() {
    for mode in [Mode::SwallowAnswers, Mode::DropRequests] {
        assert_eq!(
            audit_of_broken(bellhop_clickhouse::Breaks::default(), mode),
            (0, 0),
            "{mode:?}"
        );
    }
}

#[test]
fn the_audit_names_what_is_missing_and_what_is_twice() {
    let world = World::with_bookings(1, 500);
    world.land();
    for (sql, table, column) in [
        (
            "ALTER TABLE events DELETE WHERE offset = 77 SETTINGS mutations_sync = 1",
            "events",
            "missing",
        ),
        ("INSERT INTO bookings SELECT * FROM bookings WHERE offset > 470", "bookings", "twice"),
        (
            "ALTER TABLE room_nights DELETE WHERE offset > 480 SETTINGS mutations_sync = 1",
            "room_nights",
            "missing",
        ),
        ("INSERT INTO daily_sales SELECT * FROM daily_sales LIMIT 1", "daily_sales", "twice"),
    ] {
        world.server.run("spoil", sql).unwrap();
        let audit = world.audit();
        let line = audit.lines.iter().find(|line| line.table == table).unwrap();
        let found = if column == "missing" { line.missing } else { line.twice };
        assert!(found > 0, "{sql}: {audit:#?}");
    }
}
