//! What the sink costs, held against what is promised.
//!
//! `cargo bench -p bellhop-clickhouse [-- insert|whole|latency|query] [--no-gate]` prints a table,
//! then one line of JSON, and fails when a number is missed. The engine is pinned to the first
//! processor, what is ours to the second; times are processor times, which say more on a busy
//! machine. Each landing ends with the audit, which has to find nothing.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop there")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most events have no id to scatter")]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "../../tests/it/hotels.rs"]
mod hotels;
#[path = "../../tests/it/stream.rs"]
#[allow(dead_code, reason = "the tests of analytics use all of it")]
mod stream;
#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod world;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bellhop_clickhouse::Sink;
use bellhop_clickhouse::kpi::{self, AsOf};
use serde_json::{Map, Value, json};

use crate::stream::{Event, Known};
use crate::world::{Book, GROUP, World, bookings, shared, until_all};

/// Told to the process that lands: partitions and folder of the log, address, database, user,
/// password.
const CHILD: &str = "BELLHOP_BENCH_SINK";
/// Partitions of the log: a property has one, and the data have two properties.
const PARTITIONS: u32 = 2;
/// Partitions where memory is looked at: each has its batches.
const MANY_PARTITIONS: u32 = 8;
/// Rounds of which the median counts.
const ROUNDS: usize = 3;

/// A number, and the least or the most that it may be.
struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    gate: Gate,
}

enum Gate {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    fn holds(&self) -> bool {
        match self.gate {
            Gate::AtLeast(least) => self.value >= least,
            Gate::AtMost(most) => self.value <= most,
        }
    }

    fn json(&self) -> Value {
        let (gate, bound) = match self.gate {
            Gate::AtLeast(least) => ("at_least", least),
            Gate::AtMost(most) => ("at_most", most),
        };
        json!({"name": self.name, "value": self.value, "unit": self.unit, gate: bound, "holds": self.holds()})
    }
}

/// What was measured, and everything that was seen on the way.
#[derive(Default)]
struct Report {
    rows: Vec<Row>,
    details: Map<String, Value>,
}

impl Report {
    fn row(&mut self, name: &'static str, value: f64, unit: &'static str, gate: Gate) {
        self.rows.push(Row { name, value, unit, gate });
    }
}

fn main() {
    if let Ok(told) = std::env::var(CHILD) {
        return land(&told);
    }
    let told: Vec<String> = std::env::args().skip(1).collect();
    let parts: Vec<&String> = told.iter().filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| *part == name);
    pin(engine_pid(), 0);
    pin(std::process::id(), 1);
    let mut report = Report::default();
    let own_us_a_row = is_wanted("whole").then(|| whole(&mut report));
    if is_wanted("insert") {
        insert(&mut report, own_us_a_row);
    }
    if is_wanted("latency") {
        latency(&mut report);
    }
    if is_wanted("query") {
        query(&mut report);
    }
    for row in &report.rows {
        let (word, bound) = match row.gate {
            Gate::AtLeast(least) => ("at least", least),
            Gate::AtMost(most) => ("at most", most),
        };
        let verdict = if row.holds() { "ok" } else { "MISSED" };
        println!("{:<64} {:>10.2} {word} {bound} {} {verdict}", row.name, row.value, row.unit);
    }
    let rows: Vec<Value> = report.rows.iter().map(Row::json).collect();
    println!("{}", json!({"rows": rows, "details": report.details}));
    let is_held = report.rows.iter().all(Row::holds);
    if !is_held && !told.iter().any(|it| it == "--no-gate") {
        std::process::exit(1);
    }
}

/// Keeps a process, all threads of it, on one processor; where there is no other, it stays.
fn pin(pid: u32, cpu: usize) {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", &cpu.to_string(), &pid.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(pinned.is_ok_and(|it| it.success()), "taskset cannot pin {pid} to processor {cpu}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds of processor time of a process so far.
fn cpu_of(pid: u32) -> f64 {
    cpu_in(&format!("/proc/{pid}/stat"))
}

/// The same of the thread of ours that talks to the server.
fn cpu_of_pool() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_pool = |task: &std::path::PathBuf| {
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        // Names of threads are cut at 15 bytes.
        name.starts_with("bellhop-clickho")
    };
    tasks.filter(is_pool).map(|task| cpu_in(&task.join("stat").to_string_lossy())).sum()
}

fn cpu_in(path: &str) -> f64 {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Most memory of this process so far, in MB.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("");
    let kb = line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1024.0
}

fn engine_pid() -> u32 {
    shared().pid().unwrap()
}

/// As a benchmark lands: batches as they are by default.
fn config(world: &World) -> bellhop_clickhouse::Config {
    bellhop_clickhouse::Config {
        database: world.config.database.clone(),
        url: world.config.url.clone(),
        user: world.config.user.clone(),
        password: world.config.password.clone(),
        ..bellhop_clickhouse::Config::default()
    }
}

/// Deals the events out by property, as the key of a topic does; one by one where that would leave
/// partitions empty.
fn fill(world: &mut World, events: &[Known]) {
    let partitions = world.book.counts.len();
    let mut by_partition = vec![Vec::new(); partitions];
    let mut properties = Vec::new();
    for (number, known) in events.iter().enumerate() {
        let property = known.event.property_id();
        let place = properties.iter().position(|it| *it == property).unwrap_or_else(|| {
            properties.push(property);
            properties.len() - 1
        });
        let place = if partitions > PARTITIONS as usize { number } else { place };
        by_partition[place % partitions].push(known.clone());
    }
    for (partition, events) in (0..).zip(by_partition) {
        for some in events.chunks(5_000) {
            world.book.append(partition, some);
        }
    }
}

/// The same events, their reservations named at random.
fn with_random_ids(events: &[Known]) -> Vec<Known> {
    let mut events = events.to_vec();
    let scatter = |id: &mut bellhop_schemas::ids::ReservationId| {
        let mix = |mut z: u64| {
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let number = (id.0.as_u128() >> 64) as u64;
        let (high, low) = (mix(number.wrapping_add(1)), mix(number.wrapping_add(1 << 40)));
        id.0 = uuid::Uuid::from_u64_pair(high, low);
    };
    for known in &mut events {
        match &mut known.event {
            Event::ReservationCreated(event) => scatter(&mut event.reservation_id),
            Event::ReservationCancelled(event) => scatter(&mut event.reservation_id),
            Event::ReservationCheckedIn(event) => scatter(&mut event.reservation_id),
            Event::ReservationMoved(event) => scatter(&mut event.reservation_id),
            Event::ReservationExtended(event) => scatter(&mut event.reservation_id),
            Event::ReservationCheckedOut(event) => scatter(&mut event.reservation_id),
            Event::ReservationNoShow(event) => scatter(&mut event.reservation_id),
            _ => {}
        }
    }
    events
}

/// The process that lands what a log holds, and nothing else: prints what that took.
fn land(told: &str) {
    let told: Vec<&str> = told.split(' ').collect();
    let [partitions, folder, url, database, user, password] = told[..] else { panic!("{told:?}") };
    let book = Book::open(folder.as_ref(), partitions.parse().unwrap());
    let config = bellhop_clickhouse::Config {
        url: url.to_owned(),
        database: database.to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
        ..bellhop_clickhouse::Config::default()
    };
    let mut sink = Sink::new(config, Box::new(book.log.consume(GROUP))).unwrap();
    let (before, begun) = (cpu_of(std::process::id()), Instant::now());
    let status = sink.run_until(until_all(&book.counts)).unwrap();
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_of(std::process::id()) - before);
    println!(
        "{}",
        json!({"events": status.events, "rows": status.rows, "batches": status.batches, "retries": status.retries,
               "seconds": seconds, "cpu_s": cpu, "pool_cpu_s": cpu_of_pool(), "peak_mb": peak_mb()})
    );
}

/// The sink as a whole, in a process of its own: speed, memory, bytes stored. Gives the processor
/// time that inserting a row takes on our side, in microseconds.
fn whole(report: &mut Report) -> f64 {
    let mut landings = Vec::new();
    for round in 0..ROUNDS {
        landings.push(landing("replay", bookings(), PARTITIONS, round == 0));
    }
    let random = landing("random ids", &with_random_ids(bookings()), PARTITIONS, true);
    let many = landing("eight partitions", bookings(), MANY_PARTITIONS, false);
    let of = |name: &str| {
        landings.iter().map(|landing| landing[name].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let (own, engine) = (median(of("own_us")), median(of("engine_us")));
    report.row(
        "sink as a whole, a core for us and one for the engine",
        1e3 / own.max(engine),
        "k events/s",
        Gate::AtLeast(100.0),
    );
    let peak_of_many = many["peak_mb"].as_f64().unwrap();
    let peak = of("peak_mb").into_iter().fold(peak_of_many, f64::max);
    report.row("memory at full speed", peak, "MB", Gate::AtMost(300.0));
    let bytes = |landing: &Value| landing["bytes_an_event"].as_f64().unwrap();
    report.row("stored, on the replay", bytes(&landings[0]), "bytes an event", Gate::AtMost(65.0));
    report.row("stored, random ids", bytes(&random), "bytes an event", Gate::AtMost(160.0));
    let own_us_a_row = median(of("pool_us_a_row"));
    report.details.insert(
        "whole".to_owned(),
        json!({"replay": landings, "random ids": random, "eight partitions": many}),
    );
    own_us_a_row
}

fn landing(name: &str, events: &[Known], partitions: u32, is_stored: bool) -> Value {
    let mut world = World::new(partitions);
    fill(&mut world, events);
    let World { book, config, server, folder } = world;
    drop(book);
    let told = [&config.url, &config.database, &config.user, &config.password];
    let told = told
        .iter()
        .fold(format!("{partitions} {}", folder.path().display()), |all, it| format!("{all} {it}"));
    let before = cpu_of(engine_pid());
    let output = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, told)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let until_landed = cpu_of(engine_pid()) - before;
    assert!(output.status.success(), "the sink ended with {}", output.status);
    let child: Value = serde_json::from_slice(&output.stdout).unwrap();
    let world = World { book: Book::open(folder.path(), partitions), config, server, folder };
    let merging = "SELECT count() FROM system.merges WHERE database = currentDatabase()";
    let mut quiet = 0;
    while quiet < 10 {
        quiet = if world.number(merging) == 0 { quiet + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(100));
    }
    let until_merged = cpu_of(engine_pid()) - before;
    assert!(world.audit().is_clean());
    let number = |name: &str| child[name].as_f64().unwrap();
    let us = |seconds: f64| seconds / number("events") * 1e6;
    let mut result = json!({
        "of": name, "events": child["events"], "rows": child["rows"], "batches": child["batches"],
        "retries": child["retries"],
        "wall_events_per_second": (number("events") / number("seconds")).round(),
        "own_us": us(number("cpu_s")), "engine_us": us(until_landed),
        "engine_us_with_merges_left": us(until_merged),
        "pool_us_a_row": number("pool_cpu_s") / number("rows") * 1e6, "peak_mb": child["peak_mb"],
    });
    if is_stored {
        let by_table = stored(&world);
        let bytes: f64 = by_table.values().filter_map(Value::as_f64).sum();
        let by_table = by_table.into_iter().map(|(table, bytes)| {
            let bytes = bytes.as_f64().unwrap() / number("events");
            (table, json!((bytes * 10.0).round() / 10.0))
        });
        result["by_table"] = by_table.collect::<Map<_, _>>().into();
        result["bytes_an_event"] = json!(bytes / number("events"));
    }
    result
}

/// Bytes of all columns by table, when everything is merged.
fn stored(world: &World) -> Map<String, Value> {
    #[derive(serde::Deserialize)]
    struct Size {
        table: String,
        bytes: f64,
    }
    for table in ["events", "room_nights", "bookings", "daily_sales", "daily_pickup"] {
        world.server.run("merge", &format!("OPTIMIZE TABLE {table} FINAL")).unwrap();
    }
    let sql = "SELECT table, toFloat64(sum(data_compressed_bytes)) AS bytes FROM system.parts \
               WHERE active AND database = currentDatabase() GROUP BY table ORDER BY bytes DESC";
    let sizes: Vec<Size> = world.server.ask("sizes", sql, &[]).unwrap();
    sizes.into_iter().map(|size| (size.table, json!(size.bytes))).collect()
}

/// The nights of the replay in blocks of the sink's size: into a table without guard, tokens and
/// views, against the sink's table and settings, without its views and with them. To the engine's
/// time comes that of who sends: these bytes as they are, and what the sink took a row.
fn insert(report: &mut Report, own_us_a_row: Option<f64>) {
    let mut world = World::new(1);
    fill(&mut world, bookings());
    let status = world.land_with(config(&world));
    let database = world.config.database.clone();
    let blocks: Vec<Vec<u8>> = {
        let events = world.book.counts[0] as i64;
        let step = events / status.batches.max(1) as i64 + 1;
        let export = |from: i64| {
            let sql = format!(
                "SELECT * EXCEPT (landed_at) FROM {database}.room_nights WHERE offset >= {from} AND offset < {} ORDER BY offset, index SETTINGS max_block_size = 4000000, preferred_block_size_bytes = 0 FORMAT Native",
                from + step
            );
            request(&sql, "", &[])
        };
        (0..).map(|at| at * step).take_while(|from| *from < events).map(export).collect()
    };
    let rows = world.number("SELECT count() FROM room_nights") as f64;
    let views = ["daily_sales_view", "daily_pickup_view"];
    let (mut cpu, mut sent): ([Vec<f64>; 3], Vec<f64>) = Default::default();
    for round in 0..5 {
        for (kind, times) in cpu.iter_mut().enumerate() {
            let table = format!("{database}.copy_{kind}_{round}");
            let make = match kind {
                0 => format!(
                    "CREATE TABLE {table} ENGINE = MergeTree ORDER BY (property_id, toStartOfMonth(stay_night), reservation_id, offset, index) AS SELECT * EXCEPT (landed_at) FROM {database}.room_nights LIMIT 0"
                ),
                _ => format!("CREATE TABLE {table} AS {database}.room_nights"),
            };
            world.server.run("make", &make).unwrap();
            for view in views.iter().filter(|_| kind == 2) {
                let target = view.trim_end_matches("_view");
                let (of, to) = (format!("{table}_{view}"), format!("{table}_{target}"));
                world
                    .server
                    .run("make", &format!("CREATE TABLE {to} AS {database}.{target}"))
                    .unwrap();
                let migrations = bellhop_clickhouse::migrate::ALL.iter();
                let sql = migrations.clone().find(|it| it.name.ends_with(view)).unwrap().sql;
                let (_, select) = sql.split_once(" AS\n").unwrap();
                let select = select.replace("FROM room_nights", &format!("FROM {table}"));
                let sql = format!("CREATE MATERIALIZED VIEW {of} TO {to} AS {select}");
                world.server.run("make", &sql).unwrap();
            }
            let (own, before) = (cpu_of(std::process::id()), cpu_of(engine_pid()));
            for (number, block) in blocks.iter().enumerate() {
                let settings = match kind {
                    0 => String::new(),
                    _ => format!(
                        "&insert_deduplication_token=t{number}&deduplicate_blocks_in_dependent_materialized_views=1&log_comment=until%3D4000000000"
                    ),
                };
                let names = if kind == 0 { "" } else { NIGHTS };
                let sql = format!("INSERT INTO {table} {names} FORMAT Native");
                request(&sql, &settings, block);
            }
            times.push((cpu_of(engine_pid()) - before) / rows * 1e6);
            sent.push((cpu_of(std::process::id()) - own) / rows * 1e6);
            world.server.run("drop", &format!("TRUNCATE TABLE {table}")).unwrap();
        }
    }
    let raw_us = median(sent);
    let own_us = own_us_a_row.unwrap_or(raw_us);
    let ratio = |of: usize| {
        let rounds = cpu[0].iter().zip(&cpu[of]);
        median(rounds.map(|(raw, own)| (raw + raw_us) / (own + own_us)).collect())
    };
    report.row("insert stage against a raw insert", ratio(1), "x", Gate::AtLeast(0.7));
    report.details.insert(
        "insert".to_owned(),
        json!({"blocks": blocks.len(), "rows": rows, "ratio_with_views": ratio(2),
               "own_us_a_row": {"raw": raw_us, "sink": own_us}, "engine_us_a_row":
               {"raw": median(cpu[0].clone()), "guard and token": median(cpu[1].clone()), "and views": median(cpu[2].clone())}}),
    );
}

/// The columns that the sink writes.
const NIGHTS: &str = "(* EXCEPT (landed_at))";

/// A request by hand: statement in the address, rows in the body.
fn request(sql: &str, settings: &str, body: &[u8]) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let escaped: String = sql
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let address = shared().url().trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "POST /?wait_end_of_query=1{settings}&query={escaped} HTTP/1.0\r\nHost: {address}\r\nX-ClickHouse-User: {}\r\nX-ClickHouse-Key: {}\r\nContent-Length: {}\r\n\r\n",
        shared().user(),
        shared().password(),
        body.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(
        answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.0 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    answer.split_off(head)
}

/// From commit to visible, at 10,000 events a second.
fn latency(report: &mut Report) {
    let mut world = World::new(4);
    let mut sink = world.sink_with(config(&world));
    let events = bookings();
    let counts = std::sync::Mutex::new(Vec::new());
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (is_done, counts) = (&is_done, &counts);
        scope.spawn(move || {
            let landed = sink.run_until(|status| {
                let landed: u64 = status.next.values().sum();
                counts.lock().unwrap().push((Instant::now(), landed));
                is_done.load(std::sync::atomic::Ordering::SeqCst) && landed == 100_000
            });
            landed.unwrap();
        });
        std::thread::sleep(Duration::from_millis(500));
        let mut committed = Vec::new();
        let begun = Instant::now();
        for tick in 0..1_000_usize {
            let due = begun + Duration::from_millis(10 * tick as u64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let some = &events[tick * 100..(tick + 1) * 100];
            world.book.append((tick % 4) as u32, some);
            committed.push((due, (tick as u64 + 1) * 100));
        }
        is_done.store(true, std::sync::atomic::Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(3));
        let seen = counts.lock().unwrap();
        let mut delays: Vec<f64> = committed
            .iter()
            .filter_map(|(due, count)| {
                let (at, _) = seen.iter().find(|(_, landed)| landed >= count)?;
                Some(at.saturating_duration_since(*due).as_secs_f64())
            })
            .collect();
        delays.sort_by(f64::total_cmp);
        let of = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
        report.row("commit to visible at 10 k events/s, p99", of(0.99), "s", Gate::AtMost(2.0));
        let seen =
            json!({"batches": delays.len(), "p50_s": of(0.5), "p99_s": of(0.99), "max_s": of(1.0)});
        report.details.insert("latency".to_owned(), seen);
    });
    assert!(world.audit().is_clean());
}

/// A month of one property out of 10 million rows of the ledger.
fn query(report: &mut Report) {
    let mut world = World::new(2);
    fill(&mut world, bookings());
    world.land_with(config(&world));
    let rows = world.number("SELECT count() FROM room_nights");
    // Grown from the real distributions: the same nights of other properties.
    let copies = 10_000_000 / rows + 1;
    let sql = format!(
        "CREATE TABLE grown ENGINE = MergeTree ORDER BY (property_id, toStartOfMonth(stay_night), reservation_id, offset, index) AS \
         SELECT * REPLACE (reinterpretAsUUID(reinterpretAsUInt128(property_id) + copy) AS property_id) FROM room_nights ARRAY JOIN range({copies}) AS copy"
    );
    world.server.run("grow", &sql).unwrap();
    let total = world.number("SELECT count() FROM grown");
    assert!(total >= 10_000_000, "{total}");
    let sql = "SELECT sum(units), sum(room) FROM grown WHERE property_id = (SELECT min(property_id) FROM properties) AND toStartOfMonth(stay_night) = '2016-08-01' AND kind = 'room' AND business_date <= '2016-07-01'";
    let time = |run: &dyn Fn()| {
        let mut times: Vec<f64> = (0..11)
            .map(|_| {
                let begun = Instant::now();
                run();
                begun.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        (times[5], times[10])
    };
    let (median, most) = time(&|| {
        drop(shared().query(&sql.replace("FROM ", &format!("FROM {}.", world.config.database))))
    });
    let (kpi_median, _) =
        time(&|| drop(kpi::answer(&world.server, "room_nights", AsOf::Now).unwrap()));
    let name = "a month of a property of 10 M rows";
    report.row(name, median, "ms", Gate::AtMost(50.0));
    let seen = json!({"rows": total, "median_ms": median, "max_ms": most, "kpi_room_nights_all_properties_ms": kpi_median});
    report.details.insert("query".to_owned(), seen);
}
