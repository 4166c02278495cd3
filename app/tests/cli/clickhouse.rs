//! The whole way on the real data: replay, sink, ClickHouse, and audits that hold it against the
//! topic.

use bellhop_harness::ClickHouse;

use crate::harness::{DATA, bellhop, command, folder, text};

/// A binary that logs in.
fn on(clickhouse: &ClickHouse, args: &[&str]) -> (Option<i32>, String) {
    let mut command = command(args);
    command.env("BELLHOP_CLICKHOUSE__URL", clickhouse.url());
    command.env("BELLHOP_CLICKHOUSE__USER", clickhouse.user());
    if !clickhouse.password().is_empty() {
        command.env("BELLHOP_CLICKHOUSE__PASSWORD", clickhouse.password());
    }
    let output = command.output().expect("run bellhop");
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
    let seaview = "SELECT count() FROM properties WHERE code = 'Seaview'";
    assert_eq!(clickhouse.query(seaview).expect("the property").trim(), "1");

    // What is wrong is found.
    clickhouse
        .query("INSERT INTO room_nights SELECT * FROM room_nights LIMIT 1")
        .expect("spoil the ledger");
    let (code, told) = on(&clickhouse, &["audit", "clickhouse", "--data", data]);
    assert!(code == Some(1) && told.contains("DIFFERS: room_nights"), "{told}");
}
