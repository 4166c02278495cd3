//! `bellhop run`: decides commands; lines of JSON on a folder, a topic on a cluster.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Result;
use bellhop_core::message::LogId;
use bellhop_runtime::log::socket::{self, Served};
use uuid::Uuid;

use crate::cli::sink::{self, Beside};
use crate::config::{Config, LogFormat, Times};
use crate::desk::{Desk, Heard, Parts};
use crate::lake::follow::Follower;
use crate::site::{OpenLog, Site, SiteArgs};
use crate::watch::Watch;
use crate::workers::{Stop, Workers};
use crate::{http, lines, wiring, words};

/// How often a worker of a cluster looks whether all is well.
const GLANCE: Duration = Duration::from_millis(100);

/// Decides commands: one JSON object a line, from a file or standard input; on a cluster, those of
/// its topic.
///
/// Each line is answered by one line, in order: accepted, refused (with the rules, nights and
/// numbers, and what could be had instead), repeated, conflict, parked, or error. Exit code 1 says
/// that a line could not be read as a command.
///
/// With a broker, it joins the workers of the cluster and decides until it is told to stop
/// (Ctrl-C); `bellhop send` sends commands there.
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  bellhop run --data ./data commands.jsonl
  bellhop run --broker localhost:9092 --registry http://localhost:8081 --data ./data
  bellhop run --data ./data --sink clickhouse commands.jsonl
  echo '{"type":"SetPhysicalCount","idempotency_key":"k1","property_id":"..","count":10}' | bellhop run --data ./data

A line has "type", "idempotency_key" and the fields of its type, and may have "message_id" and
"correlation_id". `bellhop describe` lists the types. For example:
  {"type":"CreateReservation","idempotency_key":"web-1","property_id":"<uuid>","reservation_id":"<uuid>",
   "lines":[{"product":"A","units":1,"arrival":"2027-07-01","departure":"2027-07-03","adults":2,
             "dimensions":{"segment":"Leisure","channel":"Web"},
             "currency":"EUR","priced_by":"Client","nights":[{"room":9000},{"room":9500}]}]}"#)]
pub(crate) struct Args {
    /// The file [default: standard input]
    file: Option<PathBuf>,
    #[command(flatten)]
    site: SiteArgs,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Where the times of commands come from: the clock, or who sends them (for replays; in a
    /// folder, the field "at" of each line); fixed when the log is made [default: append; on a
    /// cluster, `kafka.timestamps` of the configuration]
    #[arg(long, value_enum)]
    timestamps: Option<Times>,
    /// Land the events elsewhere as well, while they are decided
    #[arg(long, value_enum)]
    sink: Option<sink::Kind>,
    /// Id of the log, if it is made now
    #[arg(long, value_name = "UUID")]
    log_id: Option<Uuid>,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    match args.site.site(config)? {
        site @ Site::Folder(_) => answer_lines(args, &site, config),
        site @ Site::Cluster(..) => work(args, &site, config),
    }
}

fn answer_lines(args: &Args, site: &Site, config: &Config) -> Result<ExitCode> {
    let timed = args.timestamps == Some(Times::Create);
    let input = lines::of(args.file.as_deref(), timed)?;
    let stop = Stop::on_signals();
    let http = http::listen(config)?;
    let topology = wiring::topology()?;
    let log_id = LogId(args.log_id.unwrap_or_else(wiring::random_id));
    let log = site.open_or_create(args.timestamps.map(Into::into), log_id, config)?;
    let mut producer = log.producer();
    let wire = wiring::wire(&topology, &mut *producer)?;
    let (send, outcomes) = sync_channel(64 * 1024);
    let snapshots = site.snapshots(config)?;
    let workers = Workers::observed(&log, &topology, snapshots, config, config.workers(), send)?;
    let watch = Watch::start(&log, &workers, http.is_some())?;
    answer_http(http, &workers, &watch, &log, config)?;
    let served = serve_tools(site, &log);
    if args.file.is_none() && std::io::stdin().is_terminal() {
        say_hello("type commands, one JSON object a line; Ctrl-D ends");
    }
    let check = || workers.check();
    let hear = |wait| outcomes.recv_timeout(wait).map(Heard::from_worker);
    let mut desk = Desk::open(Parts {
        reader: log.reader(),
        producer,
        wire,
        hear: &hear,
        check: &check,
        silence: "the commands are in the log, and their partition decides none",
        headers: Vec::new(),
        json: args.json,
    })?;
    let sink = args.sink.map(|kind| Beside::start(kind, &log, config)).transpose()?;
    let follower = Follower::start(site.folder()?, &log)?;
    let answered = desk.serve(&input, &stop);
    let bad_lines = desk.bad_lines();
    drop(desk);
    drop(served);
    // An input without commands ends before a partition is open: a log that cannot be restored is
    // reported all the same.
    let opened = workers.wait_open(&stop);
    watch.stop();
    // What was appended is decided before anything else is said.
    workers.stop()?;
    follower.stop();
    opened?;
    if let Some(sink) = sink {
        sink.stop((!stop.is_asked()).then_some(&stop))?;
    }
    answered?;
    Ok(if bad_lines > 0 { ExitCode::from(crate::FAILURE) } else { ExitCode::SUCCESS })
}

/// Works on a cluster until somebody asks to stop.
fn work(args: &Args, site: &Site, config: &Config) -> Result<ExitCode> {
    if args.file.is_some() {
        anyhow::bail!(
            "a file of commands goes to a cluster by `bellhop send`; `bellhop run` decides what is on its topic"
        );
    }
    let stop = Stop::on_signals();
    let http = http::listen(config)?;
    let topology = wiring::topology()?;
    let log_id = LogId(args.log_id.unwrap_or_else(wiring::random_id));
    let log = site.open_or_create(args.timestamps.map(Into::into), log_id, config)?;
    let count = config.workers();
    let snapshots = site.snapshots(config)?;
    let workers = Workers::start(&log, &topology, snapshots, config, count)?;
    let watch = Watch::start(&log, &workers, http.is_some())?;
    answer_http(http, &workers, &watch, &log, config)?;
    tracing::info!(workers = count, log = %log.identity().log_id.0, "working");
    if config.log_format == LogFormat::Text {
        let count = words::count(count as u64, "worker");
        say_hello(&format!("{count} as {} on the log {site}; Ctrl-C stops", config.name()));
    }
    let sink = args.sink.map(|kind| Beside::start(kind, &log, config)).transpose()?;
    while !stop.is_asked() {
        workers.check()?;
        std::thread::sleep(GLANCE);
    }
    tracing::info!("stopping: what is decided is committed first");
    watch.stop();
    workers.stop()?;
    sink.map_or(Ok(()), |sink| sink.stop(None))?;
    Ok(ExitCode::SUCCESS)
}

fn answer_http(
    http: Option<http::Listening>,
    workers: &Workers,
    watch: &Watch,
    log: &OpenLog,
    config: &Config,
) -> Result<()> {
    let Some(http) = http else { return Ok(()) };
    http.serve(workers, watch, &config.name(), log.identity().partitions)
}

/// Lets tools read the log of a folder while this process has it open.
fn serve_tools(site: &Site, log: &OpenLog) -> Option<Served> {
    let Site::Folder(folder) = site else { return None };
    let log = log.clone();
    match socket::serve(folder, move || log.reader()) {
        Ok(served) => Some(served),
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "no socket in the folder: other commands cannot read the log while this one runs");
            None
        }
    }
}

/// Says that it works to somebody who watches, whose log is quieter than that.
fn say_hello(words: &str) {
    if !tracing::enabled!(tracing::Level::INFO) {
        eprintln!("bellhop: {words}");
    }
}
