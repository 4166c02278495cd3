//! `bellhop sink`: events land elsewhere.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bellhop_clickhouse::{CaughtUp, Error, ErrorKind, Server, Sink, Status};
use bellhop_runtime::log::Topic;
use clap::Subcommand;
use indicatif::ProgressBar;

use crate::config::Config;
use crate::landing::Landing;
use crate::log::end_of_records;
use crate::site::{OpenLog, SiteArgs, given};
use crate::workers::Stop;
use crate::{output, words};

/// Group of the sinks that land in ClickHouse.
const GROUP: &str = "bellhop-clickhouse";
const AGAIN: Duration = Duration::from_millis(500);
/// How long a sink beside workers waits for somebody to act.
const MENDED: Duration = Duration::from_secs(30);

/// Where events can land while they are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The ClickHouse of the configuration
    Clickhouse,
}

/// Lands every event in another system, each of them once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop sink clickhouse --broker localhost:9092 --registry http://localhost:8081 --clickhouse http://localhost:8123\n  bellhop sink clickhouse --data ./data --until-caught-up"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Target {
    /// Into the tables of ClickHouse that `bellhop migrate` makes
    Clickhouse {
        #[command(flatten)]
        site: SiteArgs,
        /// Address of the server [default: `clickhouse.url` of the configuration]
        #[arg(long, value_name = "URL")]
        clickhouse: Option<String>,
        /// End when all events that are there at the start have landed
        #[arg(long)]
        until_caught_up: bool,
    },
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let Target::Clickhouse { site, clickhouse, until_caught_up } = &args.target;
    let stop = Stop::on_signals();
    let log = site.site(config)?.open()?;
    let mut target = config.clickhouse.target(clickhouse.as_deref());
    target.given = given(clickhouse.as_deref(), site.options());
    let bar = output::progress("landing", 0);
    let landing = Landing::new();
    if let Some(address) = config.http {
        landing.clone().serve(address, log.reader())?;
    }
    let status = land(&log, &target, *until_caught_up, &stop, &landing, &bar)?;
    let mut out = output::stdout();
    writeln!(
        out,
        "{} landed as {} in {}",
        words::count(status.events, "event"),
        words::count(status.rows, "row"),
        words::count(status.batches, "batch"),
    )?;
    if status.parked > 0 {
        writeln!(out, "{} could not be made into rows: see the table `parked`", status.parked)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Lands events until somebody asks to stop, or all that were there have landed.
///
/// # Errors
/// When somebody has to act; what mends itself is tried again.
pub(crate) fn land(
    log: &OpenLog,
    target: &bellhop_clickhouse::Config,
    until_caught_up: bool,
    stop: &Stop,
    landing: &Landing,
    bar: &ProgressBar,
) -> Result<Status> {
    let mut reader = log.reader();
    let ends = (0..log.identity().partitions)
        .map(|partition| Ok((partition, end_of_records(&mut *reader, Topic::Events, partition)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    drop(reader);
    let total: u64 = ends.values().sum();
    if until_caught_up {
        bar.set_length(total);
    }
    let mut caught_up = CaughtUp::new(Server::new(target)?, ends);
    let mut all = Status::default();
    while !stop.is_asked() {
        let mut done = |before: &Status, status: &Status| {
            bar.set_position(before.events + status.events);
            landing.turned(before, status);
            stop.is_asked() || (until_caught_up && caught_up.is_reached(status))
        };
        let ended = once(log, target, landing, &mut all, &mut done);
        match ended {
            Ok(()) => break,
            Err(error) if matches!(error.kind(), ErrorKind::Retry | ErrorKind::Fenced) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "joining the sinks again");
                if error.kind() == ErrorKind::Retry {
                    all.retries += 1;
                    landing.failed(&all, &error);
                }
                std::thread::sleep(AGAIN);
            }
            Err(error) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    if until_caught_up && let Some(why) = all.held.values().next() {
        bail!("{why}");
    }
    Ok(all)
}

/// A sink beside the workers of this process. Whatever happens to it holds back no decision.
pub(crate) struct Beside {
    log: OpenLog,
    target: bellhop_clickhouse::Config,
    stop: Stop,
    thread: JoinHandle<()>,
}

impl Beside {
    /// Lands events in a thread of its own.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(kind: Kind, log: &OpenLog, config: &Config) -> Result<Self> {
        let Kind::Clickhouse = kind;
        let (log, target, stop) = (log.clone(), config.clickhouse.target(None), Stop::default());
        let run = {
            let (log, target, stop) = (log.clone(), target.clone(), stop.clone());
            move || land_on(&log, &target, &stop)
        };
        let thread = std::thread::Builder::new().name("bellhop-sink".to_owned());
        let thread = thread.spawn(run).context("start the thread of the sink")?;
        Ok(Self { log, target, stop, thread })
    }

    /// Stops it; with `catch_up`, all that is there lands before.
    ///
    /// # Errors
    /// When it cannot catch up; what did not land does when a sink runs again.
    pub(crate) fn stop(self, catch_up: Option<&Stop>) -> Result<()> {
        self.stop.ask();
        if self.thread.join().is_err() {
            tracing::error!("the sink panicked: what did not land does when a sink runs again");
        }
        if let Some(stop) = catch_up {
            let bar = output::progress("landing", 0);
            land(&self.log, &self.target, true, stop, &Landing::new(), &bar)
                .context("land the last events: `bellhop sink clickhouse` does, once it can")?;
        }
        Ok(())
    }
}

/// Lands events until it is asked to stop. What somebody has to mend is said, and tried again.
fn land_on(log: &OpenLog, target: &bellhop_clickhouse::Config, stop: &Stop) {
    while !stop.is_asked() {
        let landed = land(log, target, false, stop, &Landing::new(), &ProgressBar::hidden());
        let Err(error) = landed else { continue };
        tracing::error!(
            error = &*error as &dyn std::error::Error,
            "no event lands; trying again in {} s",
            MENDED.as_secs()
        );
        let failed = Instant::now();
        while !stop.is_asked() && failed.elapsed() < MENDED {
            std::thread::sleep(AGAIN);
        }
    }
}

/// One membership in the group of sinks.
fn once(
    log: &OpenLog,
    target: &bellhop_clickhouse::Config,
    landing: &Landing,
    all: &mut Status,
    done: &mut dyn FnMut(&Status, &Status) -> bool,
) -> Result<(), Error> {
    let mut consumer = log.consumer(GROUP)?;
    landing.marks(log.identity().partitions, |partition| consumer.marked(partition).ok().flatten());
    let mut sink = Sink::new(target.clone(), consumer)?;
    let ran = sink.run_until(|status| done(all, status)).map(drop);
    all.add(sink.status());
    all.held.clone_from(&sink.status().held);
    ran
}
