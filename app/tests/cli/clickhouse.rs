//! The whole way on the real data: replay, sink, ClickHouse, and audits that hold it against the
//! topic.

use std::process::{Command, Stdio};

use bellhop_harness::{ClickHouse, free_port};

use crate::cluster::{Running, get, until};
use crate::harness::{DATA, bellhop, command, folder, text};

/// A binary that logs in.
fn command_on(clickhouse: &ClickHouse, args: &[&str]) -> Command {
    let mut command = command(args);
    command.env("BELLHOP_CLICKHOUSE__URL", clickhouse.url());
    command.env("BELLHOP_CLICKHOUSE__USER", clickhouse.user());
    if !clickhouse.password().is_empty() {
        command.env("BELLHOP_CLICKHOUSE__PASSWORD", clickhouse.password());
    }
    command
}

/// What it says, and its exit code.
fn on(clickhouse: &ClickHouse, args: &[&str]) -> (Option<i32>, String) {
    let output = command_on(clickhouse, args).output().expect("run bellhop");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &errors)
}

#[test]
fn the_real_data_lands_once_and_all_engines_agree_on_every_kpi() {
    let clickhouse = ClickHouse::start().expect("a ClickHouse");
    let folder = folder();
    let data = text(folder.path());
    // A house of its own size, so that there are refusals as well.
    bellhop(&["replay", DATA, "--data", data, "--capacity", "City Hotel=226"]).ok();
    let (code, told) =
        on(&clickhouse, &["sink", "clickhouse", "--data", data, "--until-caught-up"]);
    assert!(code == Some(1) && told.contains("bellhop migrate"), "{told}");
    let (code, told) = on(&clickhouse, &["migrate"]);
    assert!(code == Some(0) && told.contains("applied 0001"), "{told}");
    let (code, told) = on(&clickhouse, &["migrate"]);
    assert!(code == Some(0) && told.contains("up to date"), "{told}");
    let (code, told) =
        on(&clickhouse, &["sink", "clickhouse", "--data", data, "--until-caught-up"]);
    assert!(code == Some(0) && told.contains("events landed"), "{told}");
    let (code, told) = on(&clickhouse, &["audit", "clickhouse", "--data", data]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("0 missing, 0 twice, 0 differences"), "{told}");
    let (code, told) = on(&clickhouse, &["audit", "kpi", "--data", data]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("agree on all"), "{told}");
    let (code, told) = on(&clickhouse, &["rebuild", "views"]);
    assert!(code == Some(0) && told.contains("was right"), "{told}");

    // A sink is watched as a worker is.
    let port = free_port().expect("a free port");
    let mut sink = command_on(&clickhouse, &["sink", "clickhouse", "--data", data]);
    sink.env("BELLHOP_HTTP", format!("127.0.0.1:{port}"));
    let sink = sink.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start a sink");
    let sink = Running(sink);
    let landed = "bellhop_sink_lag_records{partition=\"0\"} 0";
    until("the sink to own its partitions", || {
        get(port, "/metrics").is_some_and(|metrics| metrics.contains(landed))
    });
    let metrics = get(port, "/metrics").expect("metrics");
    for line in ["bellhop_sink_up 1", "bellhop_sink_circuit_open 0", "bellhop_sink_retries_total 0"]
    {
        assert!(metrics.contains(line), "no \"{line}\" in {metrics}");
    }
    for path in ["/healthz", "/readyz"] {
        let answer = get(port, path).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    drop(sink);
    let (code, told) = on(&clickhouse, &["lag", "--sink", "clickhouse", "--data", data]);
    assert!(code == Some(0) && told.contains("\n0 waiting in all"), "{told}");

    // What is decided from now on lands as well.
    let commands = folder.path().join("commands.jsonl");
    let define = r#"{"type":"DefineProperty","at":"2018-01-01T00:00:00Z","idempotency_key":"p","property_id":"7b0c7e52-6f5e-4a54-9d1c-3f2a8a6b1c01","code":"Seaview","time_zone":"Europe/Lisbon","roll_hour":0,"currency":"EUR","physical":2}"#;
    std::fs::write(&commands, define).expect("write the commands");
    let run =
        ["run", text(&commands), "--data", data, "--timestamps", "create", "--sink", "clickhouse"];
    let (code, told) = on(&clickhouse, &run);
    assert!(code == Some(0) && told.contains("1: accepted DefineProperty"), "{told}");
    let (code, told) = on(&clickhouse, &["audit", "clickhouse", "--data", data]);
    assert!(code == Some(0) && told.contains("0 missing, 0 twice, 0 differences"), "{told}");
    let seaview = "SELECT count() FROM bellhop.properties WHERE code = 'Seaview'";
    assert_eq!(clickhouse.query(seaview).expect("the property").trim(), "1");

    // What is wrong is found.
    clickhouse
        .query("INSERT INTO bellhop.room_nights SELECT * FROM bellhop.room_nights LIMIT 1")
        .expect("spoil the ledger");
    let (code, told) = on(&clickhouse, &["audit", "clickhouse", "--data", data]);
    assert!(code == Some(1) && told.contains("DIFFERS: room_nights"), "{told}");
    let (code, refused) = on(&clickhouse, &["rebuild", "views"]);
    assert!(code == Some(1) && refused.contains("bellhop repair clickhouse"), "{refused}");

    // What is offered is run as it stands there, and mends it.
    let offered = told.lines().filter_map(|line| line.strip_prefix("mend it: bellhop "));
    let offered: Vec<&str> = offered.collect();
    assert!(!offered.is_empty(), "{told}");
    for line in offered {
        let (code, told) = on(&clickhouse, &line.split(' ').collect::<Vec<_>>());
        assert!(code == Some(0) && told.contains("this range is right"), "{line}: {told}");
    }
    let (code, told) = on(&clickhouse, &["audit", "clickhouse", "--data", data]);
    assert!(code == Some(0) && told.contains("0 missing, 0 twice, 0 differences"), "{told}");
}
