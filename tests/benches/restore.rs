//! Restores every partition of a data directory from its newest snapshot, as a worker does when it
//! starts; the file is in the system's cache.
//!
//! Takes the directory; prints one line of JSON. `cargo xtask bench restore` makes one by the demo.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark talks and may fail")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bellhop_core::topology::Topology;
use bellhop_handlers as _;
use bellhop_runtime::log::Reader;
use bellhop_runtime::log::embedded::{ReadOnly, Tuning};
use bellhop_runtime::restore::restore;
use bellhop_runtime::snapshot::Folder;
use bellhop_runtime::wiring::{OwnSchemas, Wiring};
use bellhop_runtime::worker::Config;
use bellhop_schemas::contract;
use bellhop_schemas::resolve::{self, Resolution};

fn main() {
    let data = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let data = PathBuf::from(data.expect("a data directory"));
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let schemas = contract::schemas().expect("a contract");
    let resolve = Arc::new(OwnSchemas::new(schemas, |writer, own, unknown| {
        let resolved = resolve::resolve(writer, own, unknown).map(Resolution::into_transcode);
        resolved.map_err(|error| error.to_string())
    }));
    let folder = Folder::at(&data.join("snapshots"));
    let mut log = ReadOnly::open(&data, Tuning::default()).expect("a log");
    let partitions = log.identity().partitions;
    let (mut milliseconds, mut from_snapshot) = (Vec::new(), 0);
    for _ in 0..5 {
        from_snapshot = 0;
        let started = Instant::now();
        for partition in 0..partitions {
            let mut wiring = Wiring::to_read(topology.clone(), resolve.clone());
            let config = Config::default().task(log.identity(), partition);
            let restored = restore(&mut log, &mut wiring, &config, Some(&folder)).expect("a state");
            from_snapshot += u32::from(restored.snapshot.is_some());
        }
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
    }
    assert!(from_snapshot > 0, "no partition has a snapshot");
    milliseconds.sort_by(f64::total_cmp);
    println!(
        "{{\"benchmark\":\"restore\",\"partitions_with_snapshot\":{from_snapshot},\"milliseconds\":{{\"min\":{:.1},\"median\":{:.1},\"max\":{:.1}}}}}",
        milliseconds[0],
        milliseconds[milliseconds.len() / 2],
        milliseconds[milliseconds.len() - 1],
    );
}
