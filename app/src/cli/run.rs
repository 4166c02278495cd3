//! `bellhop run`: commands as lines of JSON, each answered by what became of it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use bellhop_core::message::{LogId, Meta, Position, Timestamp};
use bellhop_core::outcome::Outcome;
use bellhop_core::topology::Wire;
use bellhop_runtime::log::embedded::Embedded;
use bellhop_runtime::log::{Command, Producer as _, Reader, Timestamps, Topic};
use bellhop_schemas::instant;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::command::AnyCommand;
use crate::config::Config;
use crate::event::AnyEvent;
use crate::log::Names;
use crate::workers::{self, Stop, Workers};
use crate::{embedded, output, wiring, words};

/// Lines that are decided together when they are there already.
const LINES_MAX: usize = 1_000;
/// Bytes of a line; more is refused.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Decides commands, one JSON object a line, from a file or standard input.
///
/// Each line is answered by one line, in order: accepted, refused (with the rules, nights and
/// numbers, and what could be had instead), repeated, conflict, parked, or error. Exit code 1 says
/// that a line could not be read as a command.
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  bellhop run --data ./data commands.jsonl
  echo '{"type":"SetPhysicalCount","idempotency_key":"k1","property_id":"..","count":10}' | bellhop run --data ./data

A line has "type", "idempotency_key" and the fields of its type, and may have "message_id" and
"correlation_id". `bellhop describe` lists the types. For example:
  {"type":"CreateReservation","idempotency_key":"web-1","property_id":"<uuid>","reservation_id":"<uuid>",
   "lines":[{"product":"A","units":1,"arrival":"2027-07-01","departure":"2027-07-03","adults":2,
             "currency":"EUR","priced_by":"Client","nights":[{"room":9000},{"room":9500}]}]}"#)]
pub(crate) struct Args {
    /// The file [default: standard input]
    file: Option<PathBuf>,
    #[command(flatten)]
    data: super::DataArgs,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Where the times of commands come from: the clock, or the field "at" of each line (for
    /// replays); fixed when the log is made
    #[arg(long, value_enum, default_value_t = TimesFrom::Append)]
    timestamps: TimesFrom,
    /// Id of the log, if it is made now
    #[arg(long, value_name = "UUID")]
    log_id: Option<Uuid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TimesFrom {
    /// The clock, when a command is appended
    Append,
    /// The field "at" of the command
    Create,
}

impl From<TimesFrom> for Timestamps {
    fn from(from: TimesFrom) -> Self {
        match from {
            TimesFrom::Append => Self::Append,
            TimesFrom::Create => Self::Create,
        }
    }
}

/// A line that was read as a command.
struct Parsed {
    command: AnyCommand,
    meta: Meta,
    at: Timestamp,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let folder = args.data.folder(config)?;
    let input: Box<dyn io::Read + Send> = match &args.file {
        Some(path) => {
            let file = File::open(path).with_context(|| {
                format!("read {}: check that the file is there and may be read", path.display())
            })?;
            Box::new(file)
        }
        None => Box::new(io::stdin()),
    };
    let stop = Stop::on_signals();
    let topology = wiring::topology()?;
    let log_id = LogId(args.log_id.unwrap_or_else(wiring::random_id));
    let mut log = embedded::open_or_create(&folder, args.timestamps.into(), log_id, config)?;
    let wire = wiring::wire(&topology, &mut log)?;
    let (send, outcomes) = std::sync::mpsc::sync_channel(64 * 1024);
    let workers = Workers::observed(&log, &topology, &folder, config, config.workers(), send)?;
    let events_next = (0..log.identity().partitions)
        .map(|partition| Reader::end(&mut log, Topic::Events, partition))
        .collect::<Result<Vec<_>, _>>()?;
    let mut desk = Desk {
        log,
        wire,
        outcomes,
        names: Names::default(),
        events_next,
        create: args.timestamps == TimesFrom::Create,
        json: args.json,
        bad_lines: 0,
    };
    let answered = desk.serve(&lines(input)?, &workers, &stop);
    // What was appended is decided before anything else is said.
    workers.stop()?;
    answered?;
    Ok(if desk.bad_lines > 0 { ExitCode::from(crate::FAILURE) } else { ExitCode::SUCCESS })
}

/// Lines of the input with their numbers, read ahead by a thread of its own.
fn lines(input: Box<dyn io::Read + Send>) -> Result<Receiver<(u64, Result<Vec<u8>>)>> {
    let (send, receive) = sync_channel(LINES_MAX);
    let read = move || {
        let mut input = BufReader::with_capacity(256 * 1024, input);
        for number in 1.. {
            let line = read_line(&mut input);
            let over = matches!(line, Ok(None));
            let failed = line.as_ref().is_err_and(|error| error.is::<io::Error>());
            let Some(line) = line.transpose() else { return };
            if over || send.send((number, line)).is_err() || failed {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("bellhop-input".to_owned())
        .spawn(read)
        .context("start the thread that reads the commands")?;
    Ok(receive)
}

/// One line without its end; `None` at the end of the input.
fn read_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut bytes = 0;
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            break;
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        bytes += part.len() + usize::from(end.is_some());
        if line.len() + part.len() <= LINE_BYTES_MAX {
            line.extend_from_slice(part);
        }
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    if bytes == 0 {
        return Ok(None);
    }
    if bytes > LINE_BYTES_MAX {
        bail!("the line has {bytes} bytes; at most {LINE_BYTES_MAX} are read");
    }
    Ok(Some(line))
}

struct Desk {
    log: Embedded,
    wire: std::sync::Arc<Wire>,
    outcomes: Receiver<(Position, Outcome)>,
    names: Names,
    /// By partition: the next event that was not read.
    events_next: Vec<u64>,
    create: bool,
    json: bool,
    bad_lines: u64,
}

/// What is said about a line.
#[derive(Serialize)]
struct Answer {
    line: u64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmation_number: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alternatives: Vec<Value>,
    words: Vec<String>,
}

impl Desk {
    fn serve(
        &mut self,
        lines: &Receiver<(u64, Result<Vec<u8>>)>,
        workers: &Workers,
        stop: &Stop,
    ) -> Result<()> {
        let mut out = output::stdout();
        loop {
            let first = match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) if !stop.is_asked() => {
                    workers.check()?;
                    continue;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            };
            let rest = std::iter::from_fn(|| lines.try_recv().ok());
            let batch = std::iter::once(first).chain(rest.take(LINES_MAX - 1)).collect();
            for answer in self.decide(batch, workers)? {
                self.bad_lines += u64::from(answer.outcome == "error");
                self.print(&answer, &mut out)?;
            }
            out.flush()?;
            if stop.is_asked() {
                break;
            }
        }
        Ok(())
    }

    fn decide(
        &mut self,
        batch: Vec<(u64, Result<Vec<u8>>)>,
        workers: &Workers,
    ) -> Result<Vec<Answer>> {
        let mut read = Vec::new();
        for (number, line) in batch {
            let line = match line {
                Err(error) if error.is::<io::Error>() => {
                    return Err(error.context("read the commands"));
                }
                line => line,
            };
            if line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty()) {
                continue;
            }
            read.push((number, line.and_then(|line| self.parse(&line))));
        }
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for parsed in read.iter().filter_map(|(_, parsed)| parsed.as_ref().ok()) {
            let start = bytes.len();
            workers::write_key(parsed.command.property_id(), &mut bytes);
            let key = bytes.len();
            parsed.command.write_value(&parsed.meta, &self.wire, &mut bytes);
            ends.push((start, key, bytes.len(), parsed.at));
        }
        let records: Vec<_> = ends
            .iter()
            .map(|(start, key, end, at)| Command {
                key: &bytes[*start..*key],
                value: &bytes[*key..*end],
                timestamp: *at,
                headers: &[],
            })
            .collect();
        let positions =
            if records.is_empty() { Vec::new() } else { self.log.append(&records, None)? };
        let outcomes = self.outcomes_of(&positions, workers)?;
        let events = self.new_events()?;
        let mut positions = positions.into_iter();
        read.into_iter()
            .map(|(number, parsed)| match (parsed, positions.len()) {
                (Ok(parsed), 1..) => {
                    let position = positions.next().context("a position a command")?;
                    let outcome = outcomes.get(&position).copied();
                    self.answer(number, &parsed, position, outcome, &events)
                }
                (Ok(_), _) => bail!("line {number} has no position: the log lost it"),
                (Err(error), _) => Ok(refusal_to_read(number, &error)),
            })
            .collect()
    }

    fn parse(&self, line: &[u8]) -> Result<Parsed> {
        let value: Value =
            serde_json::from_slice(line).map_err(|error| anyhow!("not JSON: {error}"))?;
        let Value::Object(mut fields) = value else {
            bail!("not a JSON object; write {{\"type\":\"..\",\"idempotency_key\":\"..\", ..}}")
        };
        let type_name = take_text(&mut fields, "type")?.with_context(|| {
            format!("the field \"type\" is missing; the types are {}", AnyCommand::TYPES.join(", "))
        })?;
        let key = take_text(&mut fields, "idempotency_key")?
            .filter(|key| !key.is_empty())
            .context("the field \"idempotency_key\" is missing: give each command one of its own, so that sending it twice does it once")?;
        let message_id = take_id(&mut fields, "message_id")?;
        let correlation_id = take_id(&mut fields, "correlation_id")?;
        let at = take_text(&mut fields, "at")?;
        let at = match (self.create, at) {
            (true, Some(text)) => {
                instant::from_text(&text).map_err(|error| anyhow!("at: {error}"))?
            }
            (true, None) => bail!(
                "the field \"at\" is missing; with --timestamps create every command says when it was"
            ),
            (false, Some(_)) => bail!(
                "the field \"at\" is for --timestamps create; this log takes the time of its clock"
            ),
            (false, None) => Timestamp(0),
        };
        let command = AnyCommand::from_json(&type_name, fields)?;
        let message_id = message_id.unwrap_or_else(|| {
            // Repeats of a message share its id.
            let name = format!("{}/{key}", command.property_id());
            let bits = xxh3_128(name.as_bytes()).to_be_bytes();
            uuid::Builder::from_custom_bytes(bits).into_uuid()
        });
        let mut meta = Meta::of_command(message_id, &key, at);
        meta.correlation_id = correlation_id;
        Ok(Parsed { command, meta, at })
    }

    fn outcomes_of(
        &mut self,
        positions: &[Position],
        workers: &Workers,
    ) -> Result<HashMap<Position, Outcome>> {
        let mut outcomes = HashMap::with_capacity(positions.len());
        let wanted_here: HashSet<_> = positions.iter().collect();
        let mut wanted = positions.len();
        let mut since = Instant::now();
        while wanted > 0 {
            match self.outcomes.recv_timeout(Duration::from_millis(100)) {
                Ok((position, outcome)) => {
                    // What an earlier run had left undecided is told as well.
                    wanted -= usize::from(wanted_here.contains(&position));
                    outcomes.insert(position, outcome);
                    since = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) if since.elapsed() > workers::STALLED => {
                    bail!("the commands are in the log, and their partition decides none")
                }
                Err(RecvTimeoutError::Timeout) => workers.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    workers.check()?;
                    bail!("the workers have stopped; start again, nothing is lost");
                }
            }
        }
        Ok(outcomes)
    }

    /// Events that were written since the last call, the first one of each command.
    fn new_events(&mut self) -> Result<HashMap<Uuid, AnyEvent>> {
        let mut events = HashMap::new();
        for (partition, next) in (0..).zip(&mut self.events_next) {
            *next = self.names.events(&mut self.log, partition, *next, &mut |entry| {
                events.insert(entry.meta.message_id, entry.event);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(events)
    }

    /// An event that was written at some time, by its id.
    fn old_event(&mut self, partition: u32, id: Uuid) -> Result<Option<AnyEvent>> {
        let mut found = None;
        self.names.events(&mut self.log, partition, 0, &mut |entry| {
            if entry.meta.message_id == id {
                found = Some(entry.event);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn answer(
        &mut self,
        line: u64,
        parsed: &Parsed,
        position: Position,
        outcome: Option<Outcome>,
        events: &HashMap<Uuid, AnyEvent>,
    ) -> Result<Answer> {
        let mut answer = Answer {
            line,
            outcome: "decided",
            command: Some(parsed.command.type_name()),
            idempotency_key: parsed.meta.idempotency_key.as_ref().map(ToString::to_string),
            message_id: Some(parsed.meta.message_id),
            position: Some(position.to_string()),
            event_id: None,
            event_type: None,
            reservation_id: None,
            confirmation_number: None,
            reasons: Vec::new(),
            alternatives: Vec::new(),
            words: Vec::new(),
        };
        match outcome {
            None | Some(Outcome::Ticked) => {}
            Some(Outcome::Decided { code, first_event }) => {
                answer.outcome = if code == 0 { "accepted" } else { "refused" };
                answer.event_id = Some(first_event);
                if let Some(event) = events.get(&first_event) {
                    answer.tell(event);
                }
            }
            Some(Outcome::Repeated { code, first_event }) => {
                answer.outcome = "repeated";
                answer.event_id = Some(first_event);
                let was = if code == 0 { "accepted" } else { "refused" };
                answer.words.push(format!("{was} before, and nothing is done twice"));
                let event = match events.get(&first_event) {
                    Some(event) => Some(event.clone()),
                    None => self.old_event(position.partition, first_event)?,
                };
                if let Some(event) = event {
                    answer.tell(&event);
                }
            }
            Some(Outcome::Conflict { event, first_event }) => {
                answer.outcome = "conflict";
                answer.event_id = Some(event);
                answer.words.push(format!(
                    "the idempotency key was used with another payload, which led to event {first_event}; give this command a key of its own"
                ));
            }
            Some(Outcome::Parked(kind)) => {
                answer.outcome = "parked";
                answer.words.push(format!(
                    "it could not be decided ({kind:?}); see `bellhop parked show {position}`"
                ));
            }
        }
        Ok(answer)
    }

    fn print(&self, answer: &Answer, out: &mut impl Write) -> Result<()> {
        if self.json {
            return output::json_line(out, answer);
        }
        write!(out, "{}: {}", answer.line, answer.outcome)?;
        if let Some(command) = answer.command {
            write!(out, " {command}")?;
        }
        if let Some(number) = &answer.confirmation_number {
            write!(out, " {number}")?;
        }
        if !answer.words.is_empty() {
            write!(out, ": {}", answer.words.join("; "))?;
        }
        let ids = [
            ("reservation", answer.reservation_id.clone()),
            ("event", answer.event_id.map(|id| id.to_string())),
        ];
        let ids = ids.into_iter().filter_map(|(name, id)| id.map(|id| format!("{name} {id}")));
        let ids: Vec<_> = ids.collect();
        if ids.is_empty() {
            writeln!(out)?
        } else {
            writeln!(out, " [{}]", ids.join(", "))?
        }
        Ok(())
    }
}

impl Answer {
    fn tell(&mut self, event: &AnyEvent) {
        self.event_type = Some(event.type_name());
        self.reservation_id = event.reservation_id().map(|id| id.to_string());
        self.confirmation_number = event.confirmation_number().map(str::to_owned);
        match event.refusal() {
            Some((reasons, alternatives)) => {
                self.words.extend(reasons.iter().map(words::reason));
                let instead: Vec<_> = alternatives.iter().map(words::alternative).collect();
                if !instead.is_empty() {
                    self.words.push(format!("could be had instead: {}", instead.join(", ")));
                }
                let value = |value: Result<Value, _>| value.unwrap_or(Value::Null);
                self.reasons = reasons.iter().map(|it| value(serde_json::to_value(it))).collect();
                self.alternatives =
                    alternatives.iter().map(|it| value(serde_json::to_value(it))).collect();
            }
            None => self.words.extend(event.words()),
        }
    }
}

fn refusal_to_read(line: u64, error: &anyhow::Error) -> Answer {
    Answer {
        line,
        outcome: "error",
        command: None,
        idempotency_key: None,
        message_id: None,
        position: None,
        event_id: None,
        event_type: None,
        reservation_id: None,
        confirmation_number: None,
        reasons: Vec::new(),
        alternatives: Vec::new(),
        words: vec![format!("{error:#}")],
    }
}

fn take_text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => bail!("{name}: {other} is not text"),
    }
}

fn take_id(fields: &mut Map<String, Value>, name: &str) -> Result<Option<Uuid>> {
    let text = take_text(fields, name)?;
    text.map(|text| Uuid::parse_str(&text).map_err(|_| anyhow!("{name}: \"{text}\" is not a UUID")))
        .transpose()
}
