//! How long the real data takes: expanding it, writing the lake, each KPI as `bellhop kpi` asks it
//! (also of a lake that was fed event by event), loading it, each KPI in memory.
//!
//! Each KPI prints best/median/worst of five, in milliseconds, for every split and as of three
//! times; the last line is JSON: the slowest medians. `cargo xtask bench kpi` pins it.
#![expect(clippy::print_stdout, reason = "a benchmark's table is what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop where it does")]

#[path = "../tests/it/hotels.rs"]
mod hotels;
#[path = "../tests/it/stream.rs"]
#[allow(dead_code, reason = "the tests of analytics use all of it")]
mod stream;
#[path = "../tests/it/wire.rs"]
#[allow(dead_code, reason = "the tests of analytics use all of it")]
mod wire;

use std::path::Path;
use std::time::Instant;

use bellhop_analytics::kpi::{self, AsOf, Dimension, Query};
use bellhop_analytics::lake::{Decoder, Lake};
use bellhop_analytics::session::Session;

/// How often a lake is fed one event.
const FED: u64 = 10_000;

fn main() {
    let (events, ..) = hotels::events();
    let records: Vec<_> =
        (0..).zip(&events).map(|(offset, known)| wire::value(known, offset)).collect();
    let folder = tempfile::tempdir().unwrap();
    let (registry, mut decoder) = (wire::Registry::default(), Decoder::default());

    let started = Instant::now();
    let mut lake = Lake::open(folder.path(), stream::LOG).unwrap();
    let mut appender = lake.appender(0);
    for (offset, value) in (0..).zip(&records) {
        registry.feed(&mut appender, &mut decoder, offset, value);
        if appender.is_full() {
            lake.commit(appender).unwrap();
            appender = lake.appender(0);
        }
    }
    lake.commit(appender).unwrap();
    println!("{} events to the lake {:?}: {:?}", records.len(), started.elapsed(), lake.parts());
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for file in std::fs::read_dir(path).unwrap() {
                let file = file.unwrap();
                println!("  {:?} {} KiB", file.file_name(), file.metadata().unwrap().len() / 1024);
            }
        }
    }
    println!("{}", memory());

    // What `bellhop kpi` does once the lake is up to date: open it, and ask the files.
    let as_asked = cold(folder.path(), 5);
    println!("open, and a KPI over the files: slowest median {as_asked:.1} ms; {}", memory());

    let tended = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut small = Lake::open(tended.path(), stream::LOG).unwrap();
    for (offset, value) in (0..FED).zip(&records) {
        let mut appender = small.appender(0);
        registry.feed(&mut appender, &mut decoder, offset, value);
        small.commit(appender).unwrap();
    }
    let parts = small.parts().len();
    drop(small);
    let after_many = cold(tended.path(), 3);
    println!(
        "fed {FED} times in {:?}: {parts} parts, slowest median {after_many:.1} ms",
        started.elapsed()
    );

    let started = Instant::now();
    let mut rows = 0;
    let session = Session::open(folder.path()).unwrap();
    for batch in session.rows("SELECT * FROM room_nights").unwrap() {
        rows += batch.unwrap().num_rows();
    }
    println!("{rows} nights as they come {:?}; {}", started.elapsed(), memory());

    let started = Instant::now();
    let session = session.load().unwrap();
    println!("load into memory {:?}; {}", started.elapsed(), memory());

    let splits: [&[Dimension]; 7] = [
        &[],
        &[Dimension::Property, Dimension::Month],
        &[Dimension::Property, Dimension::Day],
        &[Dimension::Product],
        &[Dimension::Segment, Dimension::Channel, Dimension::Country],
        &[Dimension::Property, Dimension::Month, Dimension::Product, Dimension::Segment],
        &Dimension::ALL,
    ];
    let day = AsOf::Day(stream::night("2016-08-31"));
    let instant = "2016-08-31T12:00:00Z".parse().unwrap();
    let mut slowest = 0.0;
    for kpi in kpi::ALL {
        let mut texts = Vec::new();
        for by in splits {
            for as_of in [None, Some(day), Some(instant)] {
                let query = Query { as_of, ..Query::of(kpi.name).unwrap().by(by) };
                session.kpi(&query).unwrap();
                let mut rounds = [0.0; 5];
                for round in &mut rounds {
                    let started = Instant::now();
                    drop(session.kpi(&query).unwrap());
                    *round = started.elapsed().as_secs_f64() * 1e3;
                }
                rounds.sort_by(f64::total_cmp);
                let [best, _, median, _, worst] = rounds;
                slowest = f64::max(slowest, median);
                texts.push(format!("{best:.1}/{median:.1}/{worst:.1}"));
            }
        }
        println!("{:18} {}", kpi.name, texts.join(" "));
    }
    println!("{}", memory());
    println!(
        "{{\"benchmark\":\"kpis\",\"slowest_ms\":{slowest:.2},\"as_asked_ms\":{as_asked:.2},\"after_many_ms\":{after_many:.2}}}"
    );
}

/// The slowest KPI by property and month, each asked of a lake that is opened for it, in
/// milliseconds: the median of some rounds.
fn cold(folder: &Path, rounds: usize) -> f64 {
    let mut slowest = 0.0;
    for kpi in kpi::ALL {
        let query = Query::of(kpi.name).unwrap().by(&[Dimension::Property, Dimension::Month]);
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let started = Instant::now();
            Session::open(folder).unwrap().kpi(&query).unwrap();
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        slowest = f64::max(slowest, times[rounds / 2]);
    }
    slowest
}

/// Peak memory of this process.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned()
}
