//! What happens to workers' processes.

use std::fs;
use std::time::Duration;

use bellhop_runtime::log::simulated::Random;

use super::child::{Moment, STOP_WITHIN, WITHIN};
use super::stage::{Stage, WORKERS};

pub(super) const KILLED: &str = "workers killed";
pub(super) const PAUSED: &str = "workers paused";
pub(super) const LEFT: &str = "workers left in order";
pub(super) const PAUSED_WITHIN: &str = "workers paused inside a revocation";

/// How long a revocation is waited for before one more worker joins.
const ASKED: Duration = Duration::from_secs(20);
/// How many workers join to bring one about.
const JOINING: usize = 4;

fn any(stage: &Stage, random: &mut Random) -> usize {
    random.below(stage.workers.len() as u64) as usize
}

/// SIGKILL, stopped or not; another process comes in its stead.
pub(super) fn kill(stage: &mut Stage, random: &mut Random) {
    let killed = any(stage, random);
    std::thread::sleep(Duration::from_micros(random.below(40_000)));
    let mut killed = stage.workers.swap_remove(killed);
    stage.say(&format!("worker {} is killed", killed.id));
    killed.server.kill();
    stage.count(KILLED, 1);
    stage.start_worker();
}

/// SIGSTOP to one or several, then SIGCONT; one of them may be asked to leave in between.
pub(super) fn pause(stage: &mut Stage, random: &mut Random) {
    let mut ids: Vec<u64> = stage.workers.iter().map(|worker| worker.id).collect();
    ids.sort_unstable();
    for _ in 0..random.below(ids.len() as u64) {
        ids.swap_remove(random.below(ids.len() as u64) as usize);
    }
    stage.say(&format!("workers {ids:?} are paused"));
    let paused = stage.workers.iter().filter(|worker| ids.contains(&worker.id));
    paused.for_each(|worker| worker.signal("STOP"));
    stage.count(PAUSED, ids.len() as u64);
    if random.chance(3_000)
        && let Some(index) = stage.workers.iter().position(|worker| worker.id == ids[0])
    {
        stage.dismiss(index);
        stage.count(LEFT, 1);
        stage.start_worker();
    }
    let lasts = stage.lasts(random);
    stage.later(lasts, move |stage| stage.resume(&ids));
}

/// SIGTERM, paused or not; another process comes in its stead.
pub(super) fn leave(stage: &mut Stage, random: &mut Random) {
    let index = any(stage, random);
    stage.dismiss(index);
    stage.count(LEFT, 1);
    stage.start_worker();
}

/// A worker joins; those who are asked for partitions stop where they stand, before they have ended
/// their transactions or after.
pub(super) fn pause_within_a_revocation(stage: &mut Stage, random: &mut Random) {
    let moment = if random.chance(5_000) { Moment::Asked } else { Moment::Answering };
    let before = stage.all_logged().matches(WITHIN).count();
    fs::write(stage.folder.path().join(STOP_WITHIN), moment.word()).unwrap();
    stage.say(&format!("whoever is asked for partitions stops when {}", moment.word()));
    let mut joined = 0;
    while stage.all_logged().matches(WITHIN).count() == before {
        assert!(joined < JOINING, "{JOINING} workers joined, and nobody was asked for partitions");
        stage.start_worker();
        joined += 1;
        let mut left = ASKED;
        while !left.is_zero() && stage.all_logged().matches(WITHIN).count() == before {
            let slice = Duration::from_millis(200);
            stage.work(slice);
            left = left.saturating_sub(slice);
        }
    }
    // Others that the same rebalance asks stop as well.
    stage.work(Duration::from_millis(random.below(500)));
    fs::remove_file(stage.folder.path().join(STOP_WITHIN)).unwrap();
    stage.count(PAUSED_WITHIN, (stage.all_logged().matches(WITHIN).count() - before) as u64);
    let ids: Vec<u64> = stage
        .workers
        .iter()
        .filter(|worker| worker.logged().contains(WITHIN))
        .map(|worker| worker.id)
        .collect();
    let lasts = stage.lasts(random);
    stage.later(lasts, move |stage| stage.resume(&ids));
    // As many as before: who came first leaves, whether it stands still or not.
    while stage.workers.len() > WORKERS {
        let first = stage.workers.iter().enumerate().min_by_key(|(_, worker)| worker.id);
        let first = first.map_or(0, |(index, _)| index);
        stage.dismiss(first);
        stage.count(LEFT, 1);
    }
}
