//! What the sink costs: inserts against raw ones, throughput, bytes stored, a query over many rows.
//!
//! Run by `cargo bench -p bellhop-clickhouse`; prints one line of JSON for each measurement. Each
//! ends with a gate: the audit has to find nothing.
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

use std::time::{Duration, Instant};

use bellhop_clickhouse::kpi::{self, AsOf};
use serde_json::json;

use crate::stream::{Event, Known};
use crate::world::{World, bookings, shared};

fn main() {
    let part = std::env::args().skip(1).find(|it| !it.starts_with('-')).unwrap_or_default();
    let is_wanted = |name: &str| part.is_empty() || part == name;
    if is_wanted("throughput") || is_wanted("storage") {
        throughput_and_storage("replay", bookings());
        throughput_and_storage("random ids", &with_random_ids(bookings()));
    }
    if is_wanted("insert") {
        insert();
    }
    if is_wanted("latency") {
        latency();
    }
    if is_wanted("query") {
        query();
    }
}

/// Seconds of processor time of a process so far.
fn cpu_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
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
    shared().pid().unwrap_or(0)
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

/// Deals the events out by property, as the key of a topic does.
fn fill(world: &mut World, events: &[Known]) {
    let partitions = world.book.counts.len();
    let mut by_partition = vec![Vec::new(); partitions];
    let mut properties = Vec::new();
    for known in events {
        let property = known.event.property_id();
        let place = properties.iter().position(|it| *it == property).unwrap_or_else(|| {
            properties.push(property);
            properties.len() - 1
        });
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
            Event::ReservationCheckedOut(event) => scatter(&mut event.reservation_id),
            Event::ReservationNoShow(event) => scatter(&mut event.reservation_id),
            _ => {}
        }
    }
    events
}

fn throughput_and_storage(name: &str, events: &[Known]) {
    let mut world = World::new(4);
    fill(&mut world, events);
    let (own, engine) = (cpu_of(std::process::id()), cpu_of(engine_pid()));
    let begun = Instant::now();
    let status = world.land_with(config(&world));
    let seconds = begun.elapsed().as_secs_f64();
    let (own, engine) = (cpu_of(std::process::id()) - own, cpu_of(engine_pid()) - engine);
    assert!(world.audit().is_clean());
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
    let count = status.events as f64;
    let bytes: f64 = sizes.iter().map(|size| size.bytes).sum();
    let by_table: serde_json::Map<_, _> = sizes
        .into_iter()
        .map(|size| (size.table, json!((size.bytes / count * 10.0).round() / 10.0)))
        .collect();
    println!(
        "{}",
        json!({
            "measure": "throughput and storage", "of": name, "events": status.events,
            "rows": status.rows, "batches": status.batches, "seconds": seconds,
            "events_per_second": (count / seconds).round(),
            "own_cpu_us_per_event": own / count * 1e6, "engine_cpu_us_per_event": engine / count * 1e6,
            "events_per_own_cpu_second": (count / own).round(),
            "peak_mb_with_the_embedded_log": peak_mb(),
            "bytes_per_event": bytes / count, "by_table": by_table,
        })
    );
}

/// The nights of the replay as RowBinary, in blocks of the sink's size: into a table without guard,
/// tokens and views, against the sink's table and settings, without its views and with them.
fn insert() {
    let mut world = World::new(1);
    fill(&mut world, bookings());
    let status = world.land_with(config(&world));
    let database = world.config.database.clone();
    let blocks: Vec<Vec<u8>> = {
        let events = world.book.counts[0] as i64;
        let step = events / status.batches.max(1) as i64 + 1;
        let export = |from: i64| {
            let sql = format!(
                "SELECT * EXCEPT (landed_at) FROM {database}.room_nights WHERE offset >= {from} AND offset < {} ORDER BY offset, index FORMAT RowBinary",
                from + step
            );
            request(&sql, "", &[])
        };
        (0..).map(|at| at * step).take_while(|from| *from < events).map(export).collect()
    };
    let rows = world.number("SELECT count() FROM room_nights") as f64;
    let views = ["daily_sales_view", "daily_pickup_view"];
    let mut cpu: [Vec<f64>; 3] = Default::default();
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
            let before = cpu_of(engine_pid());
            for (number, block) in blocks.iter().enumerate() {
                let settings = match kind {
                    0 => String::new(),
                    _ => format!(
                        "&insert_deduplication_token=t{number}&deduplicate_blocks_in_dependent_materialized_views=1&log_comment=until%3D4000000000"
                    ),
                };
                let names = if kind == 0 { "" } else { NIGHTS };
                let sql = format!("INSERT INTO {table} {names} FORMAT RowBinary");
                request(&sql, &settings, block);
            }
            times.push((cpu_of(engine_pid()) - before) / rows * 1e6);
            world.server.run("drop", &format!("TRUNCATE TABLE {table}")).unwrap();
        }
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ratio =
        |of: usize| median(cpu[0].iter().zip(&cpu[of]).map(|(raw, own)| raw / own).collect());
    println!(
        "{}",
        json!({"measure": "insert", "blocks": blocks.len(), "rows": rows, "engine_cpu_us_per_row":
               {"raw": median(cpu[0].clone()), "guard and token": median(cpu[1].clone()), "and views": median(cpu[2].clone())},
               "ratio": {"guard and token": ratio(1), "and views": ratio(2)}})
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
fn latency() {
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
        println!(
            "{}",
            json!({"measure": "commit to visible", "at_events_per_second": 10_000, "batches_seen": delays.len(),
                   "p50_s": of(0.5), "p99_s": of(0.99), "max_s": of(1.0)})
        );
    });
    assert!(world.audit().is_clean());
}

/// A month of one property out of 10 million rows of the ledger.
fn query() {
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
    println!(
        "{}",
        json!({"measure": "query", "rows": total, "month_of_a_property_ms": median, "month_of_a_property_ms_max": most,
               "kpi_room_nights_all_properties_ms": kpi_median})
    );
}
