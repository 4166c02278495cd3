//! What an operator does: parked commands, a running process that is asked, brokers and registries
//! that are away.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bellhop_harness::{Kafka, Registry, free_port, signal};
use serde_json::{Value, json};

use crate::harness::{Ran, bellhop, bellhop_with, command, folder, text};
use crate::stub_registry::StubRegistry;

const INN: &str = "7b1d8f0e-0000-4000-8000-000000000001";

/// Stops in order when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = signal(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

fn define(key: &str, code: &str) -> String {
    json!({"type": "DefineProperty", "idempotency_key": key, "property_id": INN, "code": code,
           "time_zone": "Europe/Lisbon", "roll_hour": 3, "currency": "EUR", "physical": 5})
    .to_string()
}

/// A line that is parked: its value is too large to be decided.
fn too_large(key: &str) -> String {
    json!({"type": "CancelReservation", "idempotency_key": key, "property_id": INN,
           "reservation_id": "9c0d8f0e-0000-4000-8000-000000000001",
           "cause": "x".repeat(2 << 20)})
    .to_string()
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An answer over HTTP, which waits for nobody.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let started = Instant::now();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    assert!(started.elapsed() < Duration::from_secs(10), "{path} took {:?}", started.elapsed());
    Some(answer)
}

#[test]
fn parked_commands_are_released_mended_or_skipped_once_with_who_and_why() {
    let folder = folder();
    let data = text(folder.path());
    let lines = [too_large("a"), too_large("b"), too_large("c")].join("\n");
    let ran = bellhop_with(&["run", "--data", data, "--json"], &lines);
    let positions: Vec<String> = ran
        .json_lines()
        .iter()
        .map(|it| it["position"].as_str().expect("a position").to_owned())
        .collect();
    assert!(ran.stderr.contains("could not be decided and is parked"), "{}", ran.stderr);
    let on = |args: &[&str]| -> Ran { bellhop(&[args, &["--data", data]].concat()) };
    let listed = |args: &[&str]| on(&[&["parked", "list", "--json"], args].concat()).json_lines();
    assert_eq!(listed(&[]).len(), 3);
    assert_eq!(listed(&["--kind", "too_large", "--key", INN]).len(), 3);
    assert_eq!(listed(&["--kind", "wrong_key"]).len(), 0);
    assert_eq!(listed(&["--cause", "2097"]).len(), 3);
    assert_eq!(listed(&["--until", "2001-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(listed(&[&positions[0], &positions[2]]).len(), 2);

    // Nothing is done to everything by mistake, and what cannot be sent again says so.
    let error = on(&["parked", "skip", "--why", "x"]).failed(1);
    assert!(error.contains("no parked record is named"), "{error}");
    let error = on(&["parked", "release", &positions[0], "--by", "desk", "--why", "x"]).failed(1);
    assert!(error.contains("only 65536 of its"), "{error}");
    let error = on(&["parked", "edit", &positions[0]]).failed(1);
    assert!(error.contains("--with FILE"), "{error}");

    let mended = folder.path().join("mended.json");
    std::fs::write(&mended, define("a", "Inn")).expect("write");
    let release = |why: &str| {
        let with = ["--with", text(&mended), "--by", "desk", "--why", why];
        on(&[&["parked", "release", positions[0].as_str()], &with[..]].concat())
    };
    let released = release("the channel manager sent a novel").ok();
    assert!(released.contains("released, edited, by desk: the channel manager"), "{released}");
    let again = release("once more").ok();
    assert!(again.contains("before: released, edited, by desk: the channel manager"), "{again}");
    let dry =
        on(&["parked", "skip", "--kind", "too_large", "--why", "x", "--by", "d", "--dry-run"]);
    assert!(dry.ok().contains("2 commands meant; nothing was done"));
    let skip =
        ["parked", "skip", "--kind", "too_large", "--why", "tests", "--by", "desk", "--json"];
    let skipped = on(&skip).json_lines();
    assert_eq!(skipped.len(), 2);
    assert!(
        skipped.iter().all(|it| it["outcome"] == "skipped" && it["now"] == true),
        "{skipped:?}"
    );
    let released = on(&["parked", "release", &positions[1], "--by", "d", "--why", "late"]);
    assert_eq!(released.code, Some(1), "it was skipped: {released:?}");

    assert_eq!(listed(&[]).len(), 0);
    let all = on(&["parked", "list", "--all"]).ok();
    assert!(all.contains("skipped by desk: tests") && all.contains("Nothing is open"), "{all}");
    let events = on(&["events", "--type", "command.resolved"]).ok();
    assert_eq!(events.lines().count(), 3, "{events}");
    assert!(on(&["events", "--type", "property.defined"]).ok().contains("Inn"), "it was decided");
    on(&["verify", "--decisions"]).ok();
}

#[test]
fn what_can_be_read_is_printed_as_its_line_and_is_parked_again_for_as_long_as_its_cause_lasts() {
    let kafka = Kafka::start(1).expect("a broker");
    let registry = Registry::start().expect("a registry");
    let (brokers, registry) = (kafka.brokers(), registry.url());
    let folder = folder();
    let cluster = ["--broker", &brokers, "--registry", &registry, "--data", text(folder.path())];
    let on = |args: &[&str]| bellhop(&[args, &cluster].concat());
    bellhop(&[&["topics", "create", "--partitions", "2"], &cluster[..4]].concat()).ok();
    let header = ["--traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"];
    let worker = command(&[&["run"], &cluster[..]].concat()).spawn().expect("a worker");
    let worker = Running(worker);
    let send = [&["send"], &cluster[..4], &header].concat();
    bellhop_with(&send, &format!("{}\n{}", define("p", "Inn"), too_large("l"))).ok();
    let parked = until("a parked command", || {
        on(&["parked", "list", "--json"]).json_lines().into_iter().next()
    });
    let position = parked["position"].as_str().expect("a position");
    let skip = on(&["parked", "skip", position, "--by", "desk", "--why", "a test", "--json"]);
    let skipped = skip.json_lines();
    assert_eq!((&skipped[0]["outcome"], &skipped[0]["now"]), (&json!("skipped"), &json!(true)));
    let workers = on(&["workers", "--json"]).json_lines();
    let owned =
        workers.iter().flat_map(|it| it["partitions"].as_array().cloned().unwrap_or_default());
    let mut owned: Vec<Value> = owned.collect();
    owned.sort_by_key(Value::as_u64);
    assert_eq!(owned, [json!(0), json!(1)], "{workers:?}");
    let names: std::collections::BTreeSet<_> =
        workers.iter().map(|it| it["worker"].as_str().map(str::to_owned)).collect();
    assert_eq!(names.len(), workers.len(), "each has a name of its own: {workers:?}");
    drop(worker);
    until("nobody to be left", || (on(&["workers"]).code == Some(1)).then_some(()));
    on(&["verify", "--decisions"]).ok();
}

#[test]
fn a_process_that_runs_on_a_folder_answers_for_it() {
    let folder = folder();
    let data = text(folder.path());
    let mut running =
        command(&["run", "--data", data]).stdin(Stdio::piped()).spawn().expect("start");
    let mut stdin = running.stdin.take().expect("standard input");
    let mut answers = BufReader::new(running.stdout.take().expect("output"));
    let mut answer = || {
        let mut line = String::new();
        answers.read_line(&mut line).expect("an answer");
        line
    };
    writeln!(stdin, "{}", define("p", "Inn")).expect("write");
    assert!(answer().contains("accepted"));
    let on = |args: &[&str]| bellhop(&[args, &["--data", data]].concat());
    assert!(on(&["events"]).ok().contains("property.defined"));
    assert!(on(&["state", "Inn"]).ok().contains("Inn"));
    assert!(on(&["why", "p"]).ok().contains("\"Inn\""));
    assert!(on(&["lag"]).ok().contains("0 waiting in all"));
    assert!(on(&["parked", "list"]).ok().contains("Nothing is parked"));
    assert!(on(&["verify"]).ok().contains("All is well: 2 events verified"));
    assert!(on(&["sql", "select code from properties"]).ok().contains("Inn"));
    // What happens next is seen, too.
    writeln!(stdin, "{}", define("again", "Inn")).expect("write");
    assert!(answer().contains("refused"));
    assert!(on(&["why", "again"]).ok().contains("defined already"));
    // Writing stays with the one that has it.
    let error = bellhop_with(&["run", "--data", data], "").failed(1);
    assert!(error.contains("another process") || error.contains("locked"), "{error}");
    drop(stdin);
    running.wait().expect("wait");
    assert!(!folder.path().join("run.sock").exists());
    assert!(on(&["events"]).ok().contains("property.defined"));
}

#[test]
fn a_dead_broker_is_seen_within_seconds_and_endpoints_answer_at_once() {
    let mut kafka = Kafka::start(1).expect("a broker");
    let registry = Registry::start().expect("a registry");
    let (brokers, url) = (kafka.brokers(), registry.url());
    let cluster = ["--broker", &brokers, "--registry", &url];
    bellhop(&[&["topics", "create", "--partitions", "2"], &cluster[..]].concat()).ok();
    let port = free_port().expect("a port");
    let mut worker = command(&[&["run"], &cluster[..]].concat());
    worker.env("BELLHOP_HTTP", format!("127.0.0.1:{port}")).env("BELLHOP_NAME", "front-7");
    let mut worker = Running(worker.spawn().expect("a worker"));
    let log = BufReader::new(worker.0.stderr.take().expect("the log"));
    let said = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let hear = said.clone();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            hear.lock().expect("the log").push_str(&(line + "\n"));
        }
    });
    let metric = |name: &str| {
        let text = get(port, "/metrics")?;
        let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    bellhop_with(&[&["send"], &cluster[..]].concat(), &define("p", "Inn")).ok();
    until("the command to be counted", || {
        let text = get(port, "/metrics")?;
        let counted = text.lines().any(|line| {
            line.starts_with("bellhop_commands_total")
                && line.contains("accepted")
                && line.ends_with(" 1")
        });
        (counted && metric("bellhop_commit_seconds_count")? >= 1.0).then_some(())
    });
    let text = get(port, "/metrics").expect("metrics");
    assert!(text.contains("worker=\"front-7\""), "{text}");
    assert_eq!(metric("bellhop_brokers_up"), Some(1.0));
    assert_eq!(metric("bellhop_partitions"), Some(2.0));
    until("both partitions to be owned", || {
        let owned = get(port, "/metrics")?.matches("bellhop_partition_owned{").count();
        (owned == 2).then_some(())
    });
    until("what waits to be measured", || {
        get(port, "/metrics").filter(|it| it.contains("bellhop_lag_records{partition=\"0\"} 0"))
    });

    kafka.kill9(0);
    until("readiness to end", || get(port, "/readyz").filter(|it| it.starts_with("HTTP/1.1 503")));
    assert!(get(port, "/healthz").expect("an answer").starts_with("HTTP/1.1 503"));
    assert!(get(port, "/livez").expect("an answer").starts_with("HTTP/1.1 200"));
    assert_eq!(metric("bellhop_brokers_up"), Some(0.0));
    until("the warning", || {
        said.lock().expect("the log").contains("the brokers do not answer").then_some(())
    });
    kafka.restart(0).expect("the broker again");
    until("readiness to come back", || {
        get(port, "/readyz").filter(|it| it.starts_with("HTTP/1.1 200"))
    });
    until("the log to say so", || {
        said.lock().expect("the log").contains("the brokers answer again").then_some(())
    });
}

#[test]
fn a_busy_port_is_said_before_anybody_joins() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = folder();
    let mut run = command(&["run", "--data", text(folder.path())]);
    let output = run.env("BELLHOP_HTTP", &address).output().expect("run");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(&format!("listen on {address}")), "{error}");
    assert!(!folder.path().join("log.redb").exists(), "nothing was begun");
}

#[test]
fn a_registry_that_is_away_wrong_or_emptied_is_not_lost_data() {
    let kafka = Kafka::start(1).expect("a broker");
    let brokers = kafka.brokers();
    let registry = StubRegistry::start();
    let port = registry.port();
    let url = registry.url();
    let folder = folder();
    let data = text(folder.path());
    let cluster = ["--broker", &brokers, "--registry", &url];
    let on = |args: &[&str]| bellhop(&[args, &cluster, &["--data", data]].concat());
    let on_cluster = |args: &[&str]| bellhop(&[args, &cluster].concat());
    on_cluster(&["topics", "create", "--partitions", "2"]).ok();
    let run = || {
        let run = command(&[&["run", "--data", data], &cluster[..]].concat());
        let mut run = run;
        Running(run.stderr(Stdio::null()).spawn().expect("a worker"))
    };
    let worker = run();
    bellhop_with(&[&["send"], &cluster[..]].concat(), &define("p", "Inn")).ok();
    let idle = || on(&["lag"]).ok().contains("0 waiting in all").then_some(());
    until("the command to be decided", idle);
    drop(worker);
    let decisions = on(&["verify", "--decisions"]).ok();
    assert!(decisions.contains("All is well: 3 events verified"), "{decisions}");
    let exported = on(&["schemas", "export"]).ok();
    let file = folder.path().join("schemas.json");
    std::fs::write(&file, &exported).expect("write");

    // Away: what is known here goes on, a worker that starts as well.
    registry.stop();
    on(&["lag"]).ok();
    on(&["parked", "list"]).ok();
    on(&["verify"]).ok();
    let worker = run();
    bellhop_with(&[&["send"], &cluster[..]].concat(), &define("again", "Inn")).ok();
    until("the command to be decided", idle);
    drop(worker);

    // Emptied, or another: told apart from a log that is damaged, and not written to.
    let emptied = StubRegistry::start_on(port);
    for args in [&["verify"][..], &["lag"], &["run"], &["events"]] {
        let error = on(args).failed(1);
        assert!(error.contains("the log is not damaged"), "{args:?}: {error}");
        let (_, kept) = error.split_once("bellhop schemas restore ").expect("a way out");
        let kept = kept.split('`').next().expect("a file");
        assert!(std::fs::exists(kept).expect("look"), "the file that has them: {args:?}: {error}");
    }
    let kept = on(&["schemas", "export"]);
    assert!(kept.stdout.contains("bellhop.engine.Genesis"), "{kept:?}");
    assert!(kept.stderr.contains("what this machine has kept"), "{kept:?}");
    for args in [&["schemas", "check"][..], &["schemas", "register"]] {
        let error = on_cluster(args).failed(1);
        assert!(error.contains("it was emptied"), "{args:?}: {error}");
    }
    assert_eq!(emptied.count(), 0, "nothing was registered under the ids of others");

    // Restored under their ids, by a registry that takes them, or on this machine.
    let restored = on(&["schemas", "restore", text(&file)]).ok();
    assert!(restored.contains("restored bellhop.engine.Genesis as "), "{restored}");
    on(&["verify", "--decisions"]).ok();
    assert!(on(&["schemas", "restore", text(&file)]).ok().contains(", 0 restored"));
    emptied.stop();
    let stubborn = StubRegistry::start_on(port);
    stubborn.takes_no_ids();
    let error = on(&["schemas", "restore", text(&file)]).failed(1);
    assert!(error.contains("bellhop schemas restore --here"), "{error}");
    // For every command of this machine, whichever folder it names.
    on_cluster(&["schemas", "restore", text(&file), "--here"]).ok();
    on(&["verify", "--decisions"]).ok();
}
