//! The commands around the engine: wiring, configuration, usage, pipes.

use std::io::Read as _;

use crate::harness::{bellhop, command, folder, text, whole};

#[test]
fn the_wiring_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/describe.txt");
    let found = bellhop(&["describe"]).ok();
    if std::env::var_os("BELLHOP_WRITE_GOLDEN").is_some() {
        std::fs::write(path, &found).expect("write the golden file");
    }
    let golden = std::fs::read_to_string(path).expect("read the golden file");
    assert!(
        found == golden,
        "the wiring differs from app/golden/describe.txt; if that is meant, run this test with BELLHOP_WRITE_GOLDEN=1:\n{found}"
    );
    let json = bellhop(&["describe", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["requests"].as_array().map(Vec::len), Some(11), "{json}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_shows_examples() {
    for args in [&["frobnicate"][..], &["replay"], &["kpi"], &["run", "--timestamps", "never"]] {
        let error = bellhop(args).failed(2);
        assert!(error.contains("--help"), "{args:?}: {error}");
    }
    let commands = [
        "demo",
        "replay",
        "run",
        "state",
        "why",
        "events",
        "kpi",
        "sql",
        "verify",
        "parked",
        "describe",
        "config",
        "completions",
    ];
    for command in commands {
        let help = bellhop(&[command, "--help"]).ok();
        assert!(help.contains("Example"), "{command} shows no example:\n{help}");
    }
}

#[test]
fn a_folder_without_a_log_says_what_to_give() {
    let folder = folder();
    for args in [
        &["verify"][..],
        &["events"],
        &["state", "x"],
        &["why", "x"],
        &["kpi", "adr"],
        &["parked", "list"],
    ] {
        let args = [args, &["--data", text(folder.path())]].concat();
        let error = bellhop(&args).failed(1);
        assert!(error.starts_with("error: there is no log in"), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "an error is told once: {error}");
    }
    assert!(bellhop(&["verify"]).failed(1).contains("--data"));
}

#[test]
fn the_configuration_is_a_file_and_variables_and_refuses_unknown_keys() {
    let folder = folder();
    let file = folder.path().join("bellhop.toml");
    std::fs::write(&file, "workers = 3\npartitions = 16\n").expect("write");
    let file = text(&file);
    let config = |variables: &[(&str, &str)], file: &str| {
        let mut command = command(&["config", "--json", "--config", file]);
        command.envs(variables.iter().copied());
        let output = command.output().expect("run bellhop");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    // The others are for the project's own tools, and may well stand in a developer's shell.
    let variables =
        [("BELLHOP_WORKERS", "5"), ("BELLHOP_CACHE", "/cache"), ("BELLHOP_TEST_DOCKER", "off")];
    let (_, json, _) = config(&variables, file);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["workers"], &json["partitions"]), (&5.into(), &16.into()));
    for (variables, file_text, wanted) in [
        (&[("BELLHOP_WORKRES", "5")][..], "", "workres"),
        (&[], "colour = 1\n", "colour"),
        (&[], "partitions = 0\n", "set 1 to 4096"),
        (&[], "workers = \"many\"\n", "workers"),
        (&[], "log_format = \"xml\"\n", "xml"),
        (&[], "output_headers = [\"cloudevents\", \"b3\"]\n", "b3"),
        (&[], "[telemetry]\notlp = \"collector:4318\"\n", "http://localhost:4318"),
        // Settings of security that nothing would use.
        (&[], "[kafka]\ncertificate_file = \"c\"\nkey_file = \"k\"\n", "set tls = true"),
        (&[], "[kafka]\nkey_file = \"k\"\n", "kafka.key_file is set and kafka.tls is not"),
        (&[], "[kafka]\nca_file = \"c\"\n", "kafka.ca_file is set and kafka.tls is not"),
        (&[], "[kafka]\ntls = true\nkey_file = \"k\"\n", "kafka.certificate_file is not"),
        (&[], "[kafka]\ntls = true\nkey_password = \"k\"\n", "kafka.key_file is not"),
        (&[], "[kafka]\nregistry_password = \"s\"\n", "kafka.registry_user is not"),
        (&[], "[kafka]\nsasl_password = \"s\"\n", "kafka.sasl_mechanism is not"),
        (&[], "[kafka]\nsasl_mechanism = \"PLAIN\"\n", "sasl_user is not"),
        (&[], "[telemetry]\notlp_url = \"http://collector\"\n", "otlp_url"),
        (&[], "[telemetry]\nca_file = \"ca.pem\"\n", "telemetry.ca_file is of no use without"),
        (&[], "[telemetry.headers]\nkey = \"x\"\n", "telemetry.headers is of no use without"),
    ] {
        std::fs::write(file, file_text).expect("write");
        let (code, _, error) = config(variables, file);
        assert_eq!(code, Some(1), "{file_text}");
        assert!(error.to_lowercase().contains(wanted), "{file_text}: {error}");
    }
    assert!(bellhop(&["config", "--config", "/nowhere.toml"]).failed(1).contains("/nowhere.toml"));
}

#[test]
fn the_log_is_an_object_a_line_where_machines_read_it() {
    let folder = folder();
    let partitions = restored_partitions(text(folder.path()), 1);
    assert_eq!(partitions, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn an_input_without_commands_ends_only_after_every_partition_is_open() {
    let folder = folder();
    for workers in [1, 2, 4, 8] {
        // Of several workers, partitions are shared out while they join: some are restored twice.
        let mut partitions = restored_partitions(text(folder.path()), workers);
        partitions.dedup();
        assert_eq!(partitions, [0, 1, 2, 3, 4, 5, 6, 7], "{workers} workers");
    }
}

/// The partitions that a run without commands says it has restored, in order.
fn restored_partitions(folder: &str, workers: usize) -> Vec<u64> {
    let mut command = command(&["run", "--data", folder]);
    command
        .env("BELLHOP_LOG", "info")
        .env("BELLHOP_LOG_FORMAT", "json")
        .env("BELLHOP_WORKERS", workers.to_string());
    let output = command.output().expect("run bellhop");
    assert!(output.status.success(), "{output:?}");
    let log = String::from_utf8_lossy(&output.stderr);
    let objects = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    let restored = objects.filter(|it: &serde_json::Value| it["message"] == "restored");
    let mut partitions: Vec<_> = restored.filter_map(|it| it["partition"].as_u64()).collect();
    partitions.sort_unstable();
    partitions
}

#[test]
fn secrets_of_telemetry_are_read_and_never_printed() {
    let folder = folder();
    let file = folder.path().join("bellhop.toml");
    let text_of_file = "output_headers = [\"cloudevents\", \"traceparent\"]\n[telemetry]\notlp = \"https://collector:4318\"\n[telemetry.headers]\nauthorization = \"Bearer file-secret\"\n";
    std::fs::write(&file, text_of_file).expect("write");
    let mut config = command(&["config", "--config", text(&file)]);
    config.env("BELLHOP_TELEMETRY__HEADERS__X_KEY", "env-secret");
    let output = config.output().expect("run bellhop");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(printed.contains("output_headers = [\"cloudevents\",\"traceparent\"]"), "{printed}");
    assert!(printed.contains("authorization = \"***\""), "{printed}");
    assert!(printed.contains("x_key = \"***\""), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = bellhop(&["completions", shell]).ok();
        assert!(script.contains("replay"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = command(&["events", "--data", whole()]).spawn().expect("start bellhop");
    let mut stdout = child.stdout.take().expect("standard output");
    let mut some = [0; 1_000];
    stdout.read_exact(&mut some).expect("read the beginning");
    drop(stdout);
    let output = child.wait_with_output().expect("wait");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_pages_written_from_the_code_are_the_golden_ones() {
    let pages = [
        ("configuration", ["config", "--reference"]),
        ("commands", ["describe", "--commands"]),
        ("refusals", ["describe", "--refusals"]),
    ];
    for (page, args) in pages {
        let path = format!("{}/../docs/{page}.md", env!("CARGO_MANIFEST_DIR"));
        let found = bellhop(&args).ok();
        if std::env::var_os("BELLHOP_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &found).expect("write the page");
        }
        let golden = std::fs::read_to_string(&path).expect("read the page");
        assert!(
            found == golden,
            "the code differs from docs/{page}.md; run this test with BELLHOP_WRITE_GOLDEN=1:\n{found}"
        );
    }
}

#[test]
fn a_configuration_is_written_as_a_new_file_that_is_read_again() {
    let folder = folder();
    let file = folder.path().join("bellhop.toml");
    let mut write = command(&["config", "--write", text(&file)]);
    write.env("BELLHOP_WORKERS", "3").env("BELLHOP_KAFKA__BROKERS", "a:1");
    assert!(write.status().expect("run bellhop").success());
    let again = bellhop(&["config", "--json", "--config", text(&file)]).json_lines();
    assert_eq!(again[0]["workers"], 3);
    assert_eq!(again[0]["kafka"]["brokers"], "a:1");
    let error = bellhop(&["config", "--write", text(&file)]).failed(1);
    assert!(error.contains("is not replaced"), "{error}");
    let all = bellhop(&["config", "--all"]).ok();
    assert!(all.contains("# instance =") && all.contains("static membership"), "{all}");
}
