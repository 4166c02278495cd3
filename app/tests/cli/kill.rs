//! Killed at random moments, a replay goes on where it was, and nobody can tell from its events.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{DATA, LOG_ID, bellhop, command, csv, folder, row, text, whole};

/// Numbers from a seed: the moments of a failed run can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn digest(data: &str) -> String {
    bellhop(&["events", "--digest", "--data", data]).ok()
}

/// Replays a file and kills it again and again; gives how often it was killed before it was done.
fn replay_and_kill(file: &str, data: &Path, delay_ms: (u64, u64), random: &mut Random) -> u32 {
    let args = ["replay", file, "--data", text(data), "--log-id", LOG_ID];
    let mut kills = 0;
    for _ in 0..200 {
        let mut replay = command(&args);
        // Small transactions give more moments to be hit.
        replay.env("BELLHOP_COMMIT_RECORDS", "300").env("BELLHOP_COMMIT_MS", "1");
        replay.env("BELLHOP_WORKERS", (1 + random.below(3)).to_string());
        replay.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = replay.spawn().expect("start bellhop");
        let (least, most) = delay_ms;
        std::thread::sleep(Duration::from_millis(least + random.below(most - least)));
        if child.try_wait().expect("look at bellhop").is_some_and(|status| status.success()) {
            return kills;
        }
        child.kill().expect("kill bellhop");
        let killed = child.wait().expect("wait for bellhop");
        if killed.success() {
            // It was done between the look and the blow.
            return kills;
        }
        assert_eq!(killed.code(), None, "it ended by itself: {:?}", bellhop(&args));
        kills += 1;
    }
    // The machine is slow: what is left is done without being killed.
    bellhop(&args).ok();
    kills
}

#[test]
fn a_small_replay_killed_at_random_moments_has_the_events_of_an_undisturbed_one() {
    let folder = folder();
    let rows: Vec<_> = (0..4_000)
        .map(|number: u32| {
            let (lead, day) = ((number % 90).to_string(), (1 + number % 28).to_string());
            let room = ["A", "B", "C"][number as usize % 3];
            let status = if number.is_multiple_of(5) { "No-Show" } else { "Check-Out" };
            row(&[
                ("hotel", if number.is_multiple_of(2) { "City Hotel" } else { "Resort Hotel" }),
                ("lead_time", &lead),
                ("arrival_date_day_of_month", &day),
                ("assigned_room_type", room),
                ("reservation_status", status),
            ])
        })
        .collect();
    let file = csv(folder.path(), &rows);
    let straight = folder.path().join("straight");
    let args = ["replay", text(&file), "--data", text(&straight), "--log-id", LOG_ID];
    let started = Instant::now();
    bellhop(&args).ok();
    // Moments that a fast machine does not outrun.
    let latest = started.elapsed().as_millis() as u64 / 2;
    let expected = digest(text(&straight));
    let mut kills = 0;
    for seed in 0..8 {
        let data = folder.path().join(format!("seed-{seed}"));
        kills += replay_and_kill(text(&file), &data, (2, latest.max(10)), &mut Random(seed));
        assert_eq!(digest(text(&data)), expected, "seed {seed}");
        bellhop(&["verify", "--decisions", "--data", text(&data)]).ok();
    }
    assert!(kills >= 4, "killed only {kills} times: the moments are too late");
}

#[test]
fn the_whole_replay_killed_at_random_moments_has_the_events_of_an_undisturbed_one() {
    let folder = folder();
    let kills = replay_and_kill(DATA, folder.path(), (100, 4_000), &mut Random(42));
    assert_eq!(digest(text(folder.path())), digest(whole()), "after {kills} kills");
    bellhop(&["verify", "--data", text(folder.path())]).ok();
}

#[cfg(unix)]
#[test]
fn a_replay_that_is_asked_to_stop_stops_in_order_and_goes_on_later() {
    let folder = folder();
    let args = ["replay", DATA, "--data", text(folder.path()), "--log-id", LOG_ID];
    let child = command(&args).spawn().expect("start bellhop");
    // The log is there as soon as there is something to lose.
    while !folder.path().join("log.redb").exists() {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(300));
    let asked = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(asked.is_ok_and(|status| status.success()));
    let output = child.wait_with_output().expect("wait");
    let told = String::from_utf8_lossy(&output.stdout);
    // A fast machine may be done by then.
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(told.contains("nothing is lost"), "{told}");
    }
    bellhop(&["verify", "--data", text(folder.path())]).ok();
    bellhop(&args).ok();
    assert_eq!(digest(text(folder.path())), digest(whole()));
}
