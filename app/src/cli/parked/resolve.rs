//! `bellhop parked release` and `skip`: asks the owners of the partitions, in order, and says what
//! they decided.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bellhop_core::avro::{Avro as _, Bytes};
use bellhop_core::engine::{
    EngineRecord as _, Parked, ParkedHeader, Release, Resolution, ResolveParked,
};
use bellhop_core::message::{Meta, Position, Timestamp};
use bellhop_core::record::frame;
use bellhop_core::task::{BY_BYTES_MAX, RELEASED_FROM, WHY_BYTES_MAX};
use bellhop_core::topology::Wire;
use bellhop_runtime::log::{Command, Producer, Reader};
use bellhop_runtime::parked::{self, Entry};
use serde::Serialize;
use uuid::Uuid;

use super::edit::derived_key;
use super::select::{Select, position, position_of};
use super::show::resolution;
use super::{Reason, ReleaseArgs, SkipArgs};
use crate::config::Config;
use crate::outbox::Outbox;
use crate::site::{OpenLog, Site};
use crate::workers::{STALLED, Stop, Workers, wait_until_decided};
use crate::{lines, output, wiring, words};

/// How often it is looked whether all is resolved.
const GLANCE: Duration = Duration::from_millis(50);

/// What is asked for each record that is meant.
enum Wanted<'a> {
    Skip,
    /// As it came, perhaps without some headers.
    AsIs {
        without_cloudevents: bool,
    },
    /// Another command in its stead.
    With(&'a Path),
}

/// What became of one.
#[derive(Serialize)]
struct Line {
    position: String,
    /// `released`, `edited`, `skipped`; `waiting` while no worker has decided.
    outcome: &'static str,
    /// Whether this call did it; false when it was resolved before.
    now: bool,
    words: String,
}

pub(super) fn release(args: &ReleaseArgs, config: &Config) -> Result<ExitCode> {
    if args.with.is_some() && args.select.single().is_none() {
        bail!("--with mends one command: give its position, as `bellhop parked list` prints it");
    }
    let wanted = match &args.with {
        Some(file) => Wanted::With(file),
        None => Wanted::AsIs { without_cloudevents: args.without_cloudevents },
    };
    run(&args.site.site(config)?, &args.select, &args.reason, &wanted, args.json, config)
}

pub(super) fn skip(args: &SkipArgs, config: &Config) -> Result<ExitCode> {
    let site = args.site.site(config)?;
    run(&site, &args.select, &args.reason, &Wanted::Skip, args.json, config)
}

fn run(
    site: &Site,
    select: &Select,
    reason: &Reason,
    wanted: &Wanted<'_>,
    json: bool,
    config: &Config,
) -> Result<ExitCode> {
    select.require()?;
    let by = reason.by.clone().or_else(|| std::env::var("USER").ok());
    let by = by.context("nobody is named: add --by WHO (USER is not set)")?;
    for (what, text, most) in [("--by", &by, BY_BYTES_MAX), ("--why", &reason.why, WHY_BYTES_MAX)] {
        if !(1..=most).contains(&text.len()) {
            bail!("{what} has {} bytes: give 1 to {most}", text.len());
        }
    }
    let log = site.open()?;
    let mut reader = log.reader();
    let mut out = output::stdout();
    let topology = wiring::topology()?;
    let mut producer = log.producer();
    let wire = wiring::wire(&topology, &mut *producer)?;

    let mut asked = BTreeMap::new();
    let mut asking = Vec::new();
    select.each(&mut *reader, &mut |entry| {
        if select.single().is_none() && entry.resolved.is_some() {
            return Ok(());
        }
        let at = position_of(&entry);
        if asked.insert(at, entry.resolved.is_some()).is_none() {
            if reason.dry_run {
                writeln!(out, "{at} {:?}: {}", entry.parked.kind, entry.parked.cause)?;
            } else if entry.resolved.is_none() {
                asking.push(ask(&entry, (&by, &reason.why), wanted, &wire)?);
            }
        }
        Ok(())
    })?;
    if reason.dry_run {
        writeln!(out, "{} meant; nothing was done", words::count(asked.len() as u64, "command"))?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    if asked.is_empty() {
        bail!("nothing that is parked and open is meant; see `bellhop parked list`");
    }
    send(&mut *producer, &mut *reader, &asking, &wire)?;
    let lines = decide(site, &log, &mut *reader, &asked, config)?;
    let mut all = true;
    for line in &lines {
        let fits = match wanted {
            Wanted::Skip => line.outcome == "skipped",
            Wanted::AsIs { .. } | Wanted::With(_) => {
                line.outcome == "released" || line.outcome == "edited"
            }
        };
        all &= fits && !line.words.contains("parked again");
        if json {
            output::json_line(&mut out, line)?;
        } else {
            let before = if line.now { "" } else { "before: " };
            writeln!(out, "{} {before}{}", line.position, line.words)?;
        }
    }
    out.flush()?;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(crate::FAILURE) })
}

/// A request about one parked record.
struct Asking {
    at: Position,
    parked_at: Timestamp,
    request: ResolveParked,
}

fn ask(entry: &Entry, (by, why): (&str, &str), wanted: &Wanted<'_>, wire: &Wire) -> Result<Asking> {
    let at = position_of(entry);
    let release = match wanted {
        Wanted::Skip => None,
        Wanted::AsIs { without_cloudevents } => Some(as_is(&entry.parked, *without_cloudevents)),
        Wanted::With(file) => Some(with(&entry.parked, file, wire)),
    };
    let release = release.transpose().with_context(|| format!("release {at}"))?;
    let request = ResolveParked {
        partition: at.partition,
        offset: entry.parked.offset,
        by: by.to_owned(),
        why: why.to_owned(),
        release,
    };
    Ok(Asking { at, parked_at: entry.parked.parked_at, request })
}

fn as_is(parked: &Parked, without_cloudevents: bool) -> Result<Release> {
    let value =
        parked.value.clone().context("it has no value: skip it, or release it --with FILE")?;
    if !parked.is_whole() {
        bail!(
            "only {} of its {} bytes, or a part of its key or headers, were kept: have its producer send less at once, then skip it; or release it --with FILE",
            value.0.len(),
            parked.value_bytes
        );
    }
    let headers = if without_cloudevents { plain(parked) } else { parked.headers.clone() };
    let edited = headers.len() != parked.headers.len();
    let key = parked.key.clone().unwrap_or(Bytes(Vec::new()));
    Ok(Release { key, value, headers, edited })
}

fn with(parked: &Parked, file: &Path, wire: &Wire) -> Result<Release> {
    let input = lines::of(Some(file), false)?;
    let mut found = Vec::new();
    while let Some(batch) = input.batch(GLANCE)? {
        found.extend(batch);
    }
    let [(number, parsed)] = found.as_slice() else {
        bail!("{} has {}: give one", file.display(), words::count(found.len() as u64, "command"));
    };
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => bail!("{}, line {number}: {error:#}", file.display()),
    };
    let mut outbox = Outbox::default();
    outbox.push(&parsed.command, &parsed.meta, parsed.at, wire);
    let commands = outbox.commands(&[]);
    let command = commands.first().context("encode the command")?;
    let (key, value) = (Bytes(command.key.to_vec()), Bytes(command.value.to_vec()));
    Ok(Release { key, value, headers: plain(parked), edited: true })
}

/// Headers that say nothing of the value.
fn plain(parked: &Parked) -> Vec<ParkedHeader> {
    let of_value = |name: &str| name.starts_with("ce_") || name == "content-type";
    parked.headers.iter().filter(|header| !of_value(&header.name)).cloned().collect()
}

fn send(
    producer: &mut dyn Producer,
    reader: &mut dyn Reader,
    asking: &[Asking],
    wire: &Wire,
) -> Result<()> {
    let partitions = reader.identity().partitions;
    let schema_id = wire.id_of(ResolveParked::NAME).context("the engine's own schema")?;
    for Asking { at, parked_at, request } in asking {
        let mut value = Vec::new();
        frame(schema_id, &mut value);
        // One of its own per parked record, so that asking twice asks once.
        let key = format!("parked/{at}");
        Meta::of_command(Uuid::nil(), &key, *parked_at).encode(&mut value);
        request.encode(&mut value);
        let key = parked::key_in(at.partition, partitions);
        // A replay's log keeps the time that it is given: that of the parked record moves nothing.
        let command =
            Command { key: key.as_bytes(), value: &value, timestamp: *parked_at, headers: &[] };
        producer.append(&[command], None)?;
    }
    Ok(())
}

/// Waits for the owners, which are workers of this process where the log is a folder.
fn decide(
    site: &Site,
    log: &OpenLog,
    reader: &mut dyn Reader,
    asked: &BTreeMap<Position, bool>,
    config: &Config,
) -> Result<Vec<Line>> {
    let workers = match log {
        OpenLog::Redpanda(_) => None,
        OpenLog::Embedded(_) => {
            let topology = wiring::topology()?;
            Some(Workers::start(log, &topology, site.snapshots(config)?, config, config.workers())?)
        }
    };
    let check = || workers.as_ref().map_or(Ok(()), Workers::check);
    let started = Instant::now();
    loop {
        check()?;
        let entries = entries_of(reader, asked)?;
        let open = entries.iter().filter(|entry| entry.resolved.is_none()).count();
        if open == 0 || started.elapsed() > STALLED {
            break;
        }
        std::thread::sleep(GLANCE);
    }
    // What was released is decided as well, or parked again, before anything is said.
    wait_until_decided(reader, &Stop::default(), &check)?;
    let entries = entries_of(reader, asked)?;
    let again = parked_again(reader, asked)?;
    if let Some(workers) = workers {
        workers.stop()?;
    }
    Ok(entries.iter().map(|entry| line(entry, asked, &again)).collect())
}

fn entries_of(reader: &mut dyn Reader, asked: &BTreeMap<Position, bool>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut partitions: Vec<_> = asked.keys().map(|at| at.partition).collect();
    partitions.dedup();
    for partition in partitions {
        parked::read(reader, partition, &mut |mut entry| {
            if asked.contains_key(&position_of(&entry)) {
                entry.parked.value = None;
                entries.push(entry);
            }
            std::ops::ControlFlow::Continue(())
        })?;
    }
    Ok(entries)
}

/// What was released and could not be decided: where it is parked now, and why.
fn parked_again(
    reader: &mut dyn Reader,
    asked: &BTreeMap<Position, bool>,
) -> Result<BTreeMap<Position, String>> {
    let mut again = BTreeMap::new();
    for partition in 0..reader.identity().partitions {
        parked::read(reader, partition, &mut |entry| {
            let from = entry.parked.headers.iter().find(|header| header.name == RELEASED_FROM);
            let from = from.and_then(|header| std::str::from_utf8(&header.value.0).ok());
            if let Some(from) = from.and_then(|text| position(text).ok())
                && asked.contains_key(&from)
            {
                let words = format!("{}: {}", position_of(&entry), entry.parked.cause);
                again.insert(from, words);
            }
            std::ops::ControlFlow::Continue(())
        })?;
    }
    Ok(again)
}

fn line(
    entry: &Entry,
    asked: &BTreeMap<Position, bool>,
    again: &BTreeMap<Position, String>,
) -> Line {
    let at = position_of(entry);
    let (outcome, mut words) = match &entry.resolved {
        None => (
            "waiting",
            format!(
                "waits: the request {} is in the log, and no worker has decided it; is a `bellhop run` of this version working?",
                derived_key(entry)
            ),
        ),
        Some(resolved) => {
            let outcome = match resolved.how.resolution {
                Resolution::Released => "released",
                Resolution::Edited => "edited",
                Resolution::Skipped => "skipped",
            };
            (outcome, resolution(resolved))
        }
    };
    if let Some(again) = again.get(&at) {
        words = format!("{words}; and parked again at {again}");
    }
    let now = !asked.get(&at).copied().unwrap_or(false);
    Line { position: at.to_string(), outcome, now, words }
}
