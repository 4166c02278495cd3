//! The suite on one core, and beside programs that keep every core busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Group;
use super::summary::Summary;

/// Pins a program and its children to the first core.
const ONE_CORE: [&str; 3] = ["taskset", "--cpu-list", "0"];

/// Runs every group on one core, then beside a busy machine, until the minutes are over.
pub(super) fn run(
    groups: &[Group],
    filter: Option<&str>,
    minutes: u64,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let [taskset, ..] = ONE_CORE;
    if !std::process::Command::new(taskset)
        .arg("--version")
        .output()
        .is_ok_and(|it| it.status.success())
    {
        bail!("run the tests on one core: there is no `{taskset}`; install util-linux");
    }
    // Compiled with every core: only what runs is to be slow.
    for group in groups {
        group.build()?;
    }
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    loop {
        println!("on one core:");
        for group in groups {
            group.run(&ONE_CORE, filter, summary)?;
        }
        println!("beside a busy program on each core:");
        beside_a_busy_machine(|| {
            groups.iter().try_for_each(|group| group.run(&[], filter, summary))
        })?;
        if Instant::now() >= until {
            return Ok(());
        }
    }
}

/// Does something while a thread a core only burns time.
fn beside_a_busy_machine(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().context("count the cores")?.get();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let worked = work();
        done.store(true, Ordering::Relaxed);
        worked
    })
}
