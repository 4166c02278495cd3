//! Removes a container when the process that started it is gone, however that ended: a test that is
//! killed, or keeps its broker in a `static`, drops nothing.
//!
//! It is this binary again, which runs the test below.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bellhop_harness::set_apart;

use crate::broker::{Broker, engine, image};
use crate::house::LONG;

const TEST: &str = "reaper::a_container_goes_with_the_process_that_started_it";
/// Tells a process of this binary to be a reaper, and of what.
const REAPS: &str = "BELLHOP_TEST_REAPS";
/// Tells it to start a container, to say so and to wait.
const LEAVES: &str = "BELLHOP_TEST_LEAVES";

/// A process that waits for the end of this one.
pub(crate) struct Reaper(Child);

fn this(variable: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(variable, value).args(["--exact", TEST, "--nocapture"]);
    command
}

impl Reaper {
    /// Of a container and its network.
    pub(crate) fn of(container: &str, network: &str) -> Self {
        let mut command = this(REAPS, &format!("{container}|{network}"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // An interrupt from the terminal is for the others.
        set_apart(&mut command);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// If this process was started as a reaper: waits until its input ends, which is when the process
/// at its other end does, and removes what that left.
fn reap_if_child() {
    let Ok(told) = std::env::var(REAPS) else { return };
    let (container, network) = told.split_once('|').unwrap();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    engine().remove(container, network).unwrap();
    std::process::exit(0);
}

#[test]
fn a_container_goes_with_the_process_that_started_it() {
    reap_if_child();
    const SAYS: &str = "left: ";
    if std::env::var_os(LEAVES).is_some() {
        let broker = Broker::launch();
        eprintln!("{SAYS}{}", broker.id());
        loop {
            std::thread::park();
        }
    }
    // Not by two processes at once.
    image(&engine());
    let mut leaver = this(LEAVES, "1").stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(leaver.stderr.take().unwrap()).lines().map_while(Result::ok);
    let left: Vec<String> =
        said.filter_map(|line| line.strip_prefix(SAYS).map(str::to_owned)).take(1).collect();
    let [left] = left.as_slice() else { panic!("it has started nothing") };
    assert!(engine().has_container(left).unwrap());
    leaver.kill().unwrap();
    leaver.wait().unwrap();
    let until = Instant::now() + LONG;
    while engine().has_container(left).unwrap() {
        assert!(Instant::now() < until, "{left} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}
