//! `bellhop replay`: a file of bookings, decided as it happened.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bellhop_core::message::LogId;
use bellhop_core::topology::Wire;
use bellhop_runtime::log::{Bookmark, Producer, Timestamps};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::Config;
use crate::log::Names;
use crate::outbox::Outbox;
use crate::replay::capacity::Capacity;
use crate::replay::commands::Commands;
use crate::replay::import::Import;
use crate::replay::schedule::schedule;
use crate::site::{OpenLog, Site, SiteArgs};
use crate::workers::{self, Stop, Workers};
use crate::{output, wiring, words};

/// Commands of one append: their bookmark is stored with them.
const CHUNK: usize = 4_096;
/// The bookmark that names the file and its capacities: one replay a folder.
const IDENTITY: &str = "replay";
/// The bookmark of the next command.
const NEXT: &str = "replay/next";

/// Replays a file of bookings: every booking, cancellation, arrival and departure at its time.
///
/// The columns are those of the "hotel booking demand" data set. A replay that was stopped goes on
/// where it was when it is started again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop replay hotel_bookings.csv.gz --data ./data\n  bellhop replay hotel_bookings.csv --data ./tight --capacity \"City Hotel=226\"\n  bellhop replay bookings.csv --data ./again --log-id 6b1f0b5e-1f4c-4f7c-9a51-5a8f2f1f7a10"
)]
pub(crate) struct Args {
    /// The file: CSV, or CSV packed by gzip
    file: PathBuf,
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    options: Options,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a replay can be told.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Rooms: `auto` (what the bookings took, and an allowance so that nothing is refused), or
    /// HOTEL=ROOMS for a house without allowance; repeatable
    #[arg(long, value_name = "auto|HOTEL=ROOMS", default_value = "auto")]
    capacity: Vec<String>,
    /// Worker threads [default: `workers` of the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Id of the log, if it is made now; the same id gives the same events, byte for byte
    #[arg(long, value_name = "UUID")]
    log_id: Option<Uuid>,
}

impl Options {
    /// With rooms as `--capacity` says them.
    pub(crate) fn with_capacity(capacity: Vec<String>) -> Self {
        Self { capacity, ..Self::default() }
    }
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let site = args.site.site(config)?;
    let import = Import::open(&args.file)?;
    let deciders = match site {
        Site::Folder(_) => Deciders::Here,
        Site::Cluster(..) => Deciders::Elsewhere,
    };
    let mut replayed = replay(import, &site, deciders, &args.options, config)?;
    let mut out = output::stdout();
    if args.json {
        output::json_line(&mut out, &replayed.json()?)?;
    } else {
        replayed.print(&mut out)?;
    }
    out.flush()?;
    Ok(if replayed.stopped { ExitCode::from(crate::FAILURE) } else { ExitCode::SUCCESS })
}

/// A replay that has ended, or was stopped.
pub(crate) struct Replayed {
    pub(crate) log: OpenLog,
    pub(crate) commands: Commands,
    /// Commands that an earlier run had appended.
    pub(crate) before: usize,
    /// Commands that are in the log now.
    pub(crate) appended: usize,
    /// From the first append to the last decision.
    pub(crate) took: Duration,
    /// Whether somebody asked to stop.
    pub(crate) stopped: bool,
}

/// Who decides what is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deciders {
    /// Workers of this process.
    Here,
    /// Those of a `bellhop run`.
    Elsewhere,
}

/// Appends the commands that the log does not have yet, and waits until all are decided.
///
/// # Errors
/// When the log cannot be opened or written, or holds another replay.
pub(crate) fn replay(
    import: Import,
    site: &Site,
    deciders: Deciders,
    options: &Options,
    config: &Config,
) -> Result<Replayed> {
    if import.rows.is_empty() {
        let refused = import.refused.first();
        let why =
            refused.map_or_else(String::new, |row| format!("; line {}: {}", row.line, row.reason));
        bail!("the file has no booking that makes sense{why}");
    }
    let capacity = Capacity::parse(&options.capacity)?;
    let identity =
        xxh3_64(format!("{:032x} {}", import.fingerprint, capacity.to_text()).as_bytes()) >> 1;
    let steps = schedule(&import.rows);
    let supplies = capacity.supplies(&import, &steps)?;
    let commands = Commands::new(import, steps, &supplies);

    let stop = Stop::on_signals();
    let topology = wiring::topology()?;
    let log_id = LogId(options.log_id.unwrap_or_else(wiring::random_id));
    let log = site.open_or_create(Some(Timestamps::Create), log_id, config)?;
    let (mut producer, mut reader) = (log.producer(), log.reader());
    if let Some(asked) = options.log_id
        && asked != log.identity().log_id.0
    {
        bail!(
            "the log {site} is {}, not {asked}: leave --log-id out, or give another folder or --prefix",
            log.identity().log_id.0
        );
    }
    match producer.bookmark(IDENTITY)? {
        Some(found) if found != identity => bail!(
            "the log {site} holds a replay of another file, or with another --capacity: give another folder or --prefix"
        ),
        Some(_) => {}
        None => {
            producer.append(&[], Some(Bookmark { name: IDENTITY, next: identity }))?;
        }
    }
    let next = producer.bookmark(NEXT)?.unwrap_or(0);
    let before = usize::try_from(next).unwrap_or(usize::MAX).min(commands.len());
    let wire = wiring::wire(&topology, &mut *producer)?;

    let started = Instant::now();
    let count = options.workers.map_or_else(|| config.workers(), usize::from);
    let workers = match deciders {
        Deciders::Here => {
            let snapshots = site.snapshots(config)?;
            Some(Workers::start(&log, &topology, snapshots, config, count)?)
        }
        Deciders::Elsewhere => None,
    };
    let check = || workers.as_ref().map_or(Ok(()), Workers::check);
    let appended = append(&commands, before, &mut *producer, &wire, &check, &stop)?;
    let stopped = appended < commands.len();
    workers::wait_until_decided(&mut *reader, &stop, &check)?;
    if let Some(workers) = workers {
        workers.stop()?;
    }
    Ok(Replayed { log, commands, before, appended, took: started.elapsed(), stopped })
}

fn append(
    commands: &Commands,
    from: usize,
    log: &mut dyn Producer,
    wire: &Wire,
    check: &dyn Fn() -> Result<()>,
    stop: &Stop,
) -> Result<usize> {
    let bar = output::progress("deciding", (commands.len() - from) as u64);
    let mut outbox = Outbox::default();
    let mut next = from;
    while next < commands.len() && !stop.is_asked() {
        check()?;
        outbox.clear();
        let chunk = next..(next + CHUNK).min(commands.len());
        for number in chunk.clone() {
            let timed = commands.get(number);
            outbox.push(&timed.command, &timed.meta, timed.at, wire);
        }
        let records = outbox.commands(&[]);
        log.append(&records, Some(Bookmark { name: NEXT, next: chunk.end as u64 }))?;
        bar.inc(records.len() as u64);
        next = chunk.end;
    }
    bar.finish_and_clear();
    Ok(next)
}

impl Replayed {
    /// How many events there are of each type.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn tally(&mut self) -> Result<BTreeMap<String, u64>> {
        let mut tally = BTreeMap::new();
        let mut names = Names::default();
        let mut reader = self.log.reader();
        for partition in 0..self.log.identity().partitions {
            names.raw(&mut *reader, partition, 0, &mut |raw| {
                match tally.get_mut(raw.name) {
                    Some(count) => *count += 1,
                    None => drop(tally.insert(raw.name.to_owned(), 1)),
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(tally)
    }

    /// Commands decided a second, in this run.
    pub(crate) fn speed(&self) -> f64 {
        (self.appended - self.before) as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn json(&mut self) -> Result<serde_json::Value> {
        let tally = self.tally()?;
        let import = self.commands.import();
        let odd: Vec<_> = import
            .odd
            .iter()
            .map(|(class, rows)| {
                serde_json::json!({"class": class.to_string(), "count": rows.count, "lines": rows.lines})
            })
            .collect();
        let refused = import.refused.iter();
        let refused: Vec<_> = refused
            .map(|row| serde_json::json!({"line": row.line, "reason": row.reason}))
            .collect();
        let properties: Vec<_> = import
            .hotels
            .iter()
            .zip(self.commands.properties())
            .map(|(code, id)| serde_json::json!({"code": code, "property_id": id}))
            .collect();
        Ok(serde_json::json!({
            "rows_read": import.rows_read(),
            "rows_taken": import.rows.len(),
            "rows_refused": refused,
            "rows_odd": odd,
            "properties": properties,
            "commands": self.commands.len(),
            "commands_in_log": self.appended,
            "commands_of_earlier_runs": self.before,
            "seconds": self.took.as_secs_f64(),
            "events": tally,
            "stopped": self.stopped,
        }))
    }

    fn print(&mut self, out: &mut impl Write) -> Result<()> {
        let tally = self.tally()?;
        print_import(self.commands.import(), out)?;
        writeln!(out)?;
        print_tally(&tally, out)?;
        let (now, seconds) = (self.appended - self.before, self.took.as_secs_f64());
        if self.before > 0 {
            writeln!(
                out,
                "{} were there from an earlier run.",
                words::count(self.before as u64, "command")
            )?;
        }
        if now > 0 {
            writeln!(
                out,
                "Decided {} in {seconds:.1} s, {} a second, each one durably.",
                words::count(now as u64, "command"),
                output::thousands(self.speed() as u64),
            )?;
        } else {
            writeln!(out, "There was nothing left to do.")?;
        }
        if self.stopped {
            let left = self.commands.len() - self.appended;
            writeln!(
                out,
                "Stopped with {} to go; nothing is lost. Give the same command to go on.",
                words::count(left as u64, "command")
            )?;
        }
        Ok(())
    }
}

/// What became of the rows.
///
/// # Errors
/// When nobody reads.
pub(crate) fn print_import(import: &Import, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "{} read: {} taken, {} refused.",
        words::count(import.rows_read() as u64, "row"),
        output::thousands(import.rows.len() as u64),
        output::thousands(import.refused.len() as u64),
    )?;
    const SHOWN: usize = 20;
    if !import.refused.is_empty() {
        let mut table = output::table(&["line", "refused, for it makes no sense"], 2);
        for row in import.refused.iter().take(SHOWN) {
            table.add_row([row.line.to_string(), row.reason.clone()]);
        }
        writeln!(out, "{table}")?;
        if import.refused.len() > SHOWN {
            writeln!(out, "and {} more; --json lists all.", import.refused.len() - SHOWN)?;
        }
    }
    if !import.odd.is_empty() {
        let mut table = output::table(&["rows", "taken, though odd", "first lines"], 3);
        if let Some(column) = table.column_mut(0) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
        for (class, rows) in &import.odd {
            let lines: Vec<_> = rows.lines.iter().map(u64::to_string).collect();
            table.add_row([output::thousands(rows.count), class.to_string(), lines.join(", ")]);
        }
        writeln!(out, "{table}")?;
    }
    Ok(())
}

/// Events by type, in the words of the contract.
///
/// # Errors
/// When nobody reads.
pub(crate) fn print_tally(tally: &BTreeMap<String, u64>, out: &mut impl Write) -> Result<()> {
    let mut table = output::table(&["event", "count"], 1);
    for (name, count) in tally {
        let short = name.rsplit('.').next().unwrap_or(name);
        if short != "Genesis" {
            table.add_row([short.to_owned(), output::thousands(*count)]);
        }
    }
    writeln!(out, "{table}").context("print")?;
    Ok(())
}
