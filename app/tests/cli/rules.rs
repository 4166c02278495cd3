//! What a log is decided by, changed in the order of its commands.

use crate::harness::{Ran, command, folder, text};

const HOTEL: &str = r#"{"type":"DefineProperty","idempotency_key":"p1","property_id":"b1c0ffee-0000-4000-8000-000000000001","code":"H","time_zone":"Europe/Lisbon","roll_hour":3,"currency":"EUR","physical":3}"#;

/// Runs with so many hours configured.
fn with_hours(hours: &str, args: &[&str], input: &str) -> Ran {
    let mut command = command(args);
    command.env("BELLHOP_IDEMPOTENCY_HOURS", hours);
    crate::harness::fed(command, input)
}

#[test]
fn a_log_follows_its_own_rules_until_a_command_changes_them() {
    let folder = folder();
    let data = text(folder.path());
    let differs = "the configuration differs from the rules of the log";
    let run = |hours: &str, input: &str| with_hours(hours, &["run", "--data", data], input);

    let first = run("24", HOTEL);
    assert!(!first.stderr.contains(differs), "{first:#?}");
    first.ok();
    let other = run("336", "");
    assert!(other.stderr.contains(differs), "{other:#?}");
    other.ok();

    let changed = with_hours("336", &["rules", "--data", data], "").ok();
    assert!(changed.contains("will remember keys for 336 hours"), "{changed}");
    // The change stands before this command in its partition.
    assert!(run("336", HOTEL).ok().contains("repeated"));
    let same = run("336", "");
    assert!(!same.stderr.contains(differs), "{same:#?}");
    same.ok();
    let events = with_hours("1", &["events", "--data", data], "").ok();
    let changed = events.lines().filter(|line| line.contains(r#""type":"log.rules_changed""#));
    let after = r#""after":{"idempotency_hours":336,"#;
    assert!(
        changed.clone().count() > 0 && changed.clone().all(|it| it.contains(after)),
        "{events}"
    );
    // The fold of the events has the rules as well, whoever folds.
    with_hours("1", &["verify", "--data", data], "").ok();
}

#[test]
fn rules_that_cannot_be_followed_are_refused() {
    let error = with_hours("9000", &["config"], "").failed(1);
    assert!(error.contains("idempotency_hours = 9000: set at most 8784"), "{error}");
}
