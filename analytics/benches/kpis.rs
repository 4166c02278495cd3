//! How long the real data takes: expanding it, writing the lake, loading it, each KPI warm.
//!
//! Each KPI prints best/median/worst of five, in milliseconds, for every split and as of three
//! times; the last line is JSON: the slowest median. `cargo xtask bench kpi` pins it.
#![expect(clippy::print_stdout, reason = "a benchmark's table is what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop where it does")]

#[path = "../tests/it/hotels.rs"]
mod hotels;
#[path = "../tests/it/stream.rs"]
mod stream;

use std::time::Instant;

use bellhop_analytics::kpi::{self, AsOf, Dimension, Query};
use bellhop_analytics::lake::Lake;
use bellhop_analytics::session::Session;
use stream::InLog as _;

fn main() {
    let (events, ..) = hotels::events();
    let records: Vec<_> = (0..)
        .zip(&events)
        .map(|(offset, known)| (known.name(), known.meta(offset), known.datum()))
        .collect();
    let folder = tempfile::tempdir().unwrap();

    let started = Instant::now();
    let mut lake = Lake::open(folder.path(), stream::LOG).unwrap();
    let mut appender = lake.appender(0).unwrap();
    for (offset, (name, meta, datum)) in (0..).zip(&records) {
        appender.event(offset, name, meta, datum).unwrap();
    }
    let expanded = started.elapsed();
    let part = lake.commit(appender).unwrap();
    println!(
        "{} events to the lake {:?}, of it commit {:?}, {part:?}",
        records.len(),
        started.elapsed(),
        started.elapsed() - expanded
    );
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

    let started = Instant::now();
    let session = Session::open(folder.path()).unwrap();
    let query = Query::of("occupancy").unwrap().by(&[Dimension::Property, Dimension::Month]);
    session.kpi(&query).unwrap();
    println!("open, and a cold KPI over the files {:?}", started.elapsed());
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
    println!("{{\"benchmark\":\"kpis\",\"slowest_ms\":{slowest:.2}}}");
}

/// Peak memory of this process.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned()
}
