//! The desk: lines of commands go in, each is answered by what became of it.
//!
//! Whoever decides them is elsewhere: workers of this process, or of a cluster. The desk appends,
//! hears of outcomes, and reads the events that say the rest.

mod answer;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bellhop_core::message::Position;
use bellhop_core::outcome::Outcome;
use bellhop_core::record::Header;
use bellhop_core::topology::Wire;
use bellhop_runtime::log::{Producer, Reader, Topic};
use uuid::Uuid;

use self::answer::{Answer, refusal_to_read};
use crate::event::AnyEvent;
use crate::lines::{Line, Lines, Parsed};
use crate::log::Names;
use crate::outbox::Outbox;
use crate::output;
use crate::workers::{self, Stop};

/// How long it waits before it looks around.
const GLANCE: Duration = Duration::from_millis(100);

/// The outcome of a command, as far as it is known without reading the log.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) at: Position,
    pub(crate) outcome: Outcome,
    /// The event that the outcome names.
    pub(crate) event: Option<AnyEvent>,
    /// Why the command is parked.
    pub(crate) cause: Option<String>,
}

impl Heard {
    /// Where a worker of this process says what it decided.
    pub(crate) fn from_worker((at, outcome): (Position, Outcome)) -> Self {
        Self { at, outcome, event: None, cause: None }
    }

    /// The event that the outcome names, if it was written for this command.
    fn event_id(&self) -> Option<Uuid> {
        match self.outcome {
            Outcome::Decided { first_event, .. } => Some(first_event),
            Outcome::Conflict { event, .. } => Some(event),
            Outcome::Repeated { .. } | Outcome::Parked(_) | Outcome::Ticked => None,
        }
    }
}

/// Waits for the next outcome.
pub(crate) type Hear<'a> = dyn Fn(Duration) -> Result<Heard, RecvTimeoutError> + 'a;

/// Answers lines.
pub(crate) struct Desk<'a> {
    reader: Box<dyn Reader>,
    producer: Box<dyn Producer>,
    wire: Arc<Wire>,
    hear: &'a Hear<'a>,
    /// Fails when nobody can decide any more.
    check: &'a dyn Fn() -> Result<()>,
    /// What is said when nobody decides.
    silence: &'static str,
    /// What every command is sent with.
    headers: Vec<(&'static str, Vec<u8>)>,
    json: bool,
    names: Names,
    /// By partition: the next event that was not read.
    events_next: Vec<u64>,
    /// Lines that could not be read as a command.
    bad_lines: u64,
}

/// What a desk is made of.
pub(crate) struct Parts<'a> {
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) producer: Box<dyn Producer>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) hear: &'a Hear<'a>,
    pub(crate) check: &'a dyn Fn() -> Result<()>,
    pub(crate) silence: &'static str,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) json: bool,
}

impl<'a> Desk<'a> {
    /// Opens it: what is in the log already is not told.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn open(parts: Parts<'a>) -> Result<Self> {
        let Parts { mut reader, producer, wire, hear, check, silence, headers, json } = parts;
        let events_next = (0..reader.identity().partitions)
            .map(|partition| reader.end(Topic::Events, partition))
            .collect::<Result<Vec<_>, _>>()?;
        let names = Names::default();
        Ok(Self {
            reader,
            producer,
            wire,
            hear,
            check,
            silence,
            headers,
            json,
            names,
            events_next,
            bad_lines: 0,
        })
    }

    /// Lines so far that could not be read as a command.
    pub(crate) fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Answers every line, until the input ends or somebody asks to stop.
    ///
    /// # Errors
    /// When the log fails, or nobody decides.
    pub(crate) fn serve(&mut self, lines: &Lines, stop: &Stop) -> Result<()> {
        let mut out = output::stdout();
        loop {
            let Some(batch) = lines.batch(GLANCE)? else { break };
            if batch.is_empty() {
                (self.check)()?;
            }
            for answer in self.decide(batch)? {
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

    fn decide(&mut self, batch: Vec<Line>) -> Result<Vec<Answer>> {
        let headers = self.headers.iter().map(|(name, value)| Header { name, value });
        let headers: Vec<_> = headers.collect();
        let mut outbox = Outbox::default();
        for parsed in batch.iter().filter_map(|(_, parsed)| parsed.as_ref().ok()) {
            outbox.push(&parsed.command, &parsed.meta, parsed.at, &self.wire);
        }
        let records = outbox.commands(&headers);
        let positions =
            if records.is_empty() { Vec::new() } else { self.producer.append(&records, None)? };
        let outcomes = self.outcomes_of(&positions)?;
        let events = self.events_of(&outcomes)?;
        let mut positions = positions.into_iter();
        batch
            .into_iter()
            .map(|(number, parsed)| match (parsed, positions.len()) {
                (Ok(parsed), 1..) => {
                    let position = positions.next().context("a position a command")?;
                    self.answer(number, &parsed, position, outcomes.get(&position), &events)
                }
                (Ok(_), _) => bail!("line {number} has no position: the log lost it"),
                (Err(error), _) => Ok(refusal_to_read(number, &error)),
            })
            .collect()
    }

    fn outcomes_of(&mut self, positions: &[Position]) -> Result<HashMap<Position, Heard>> {
        let mut outcomes = HashMap::with_capacity(positions.len());
        let wanted_here: HashSet<_> = positions.iter().collect();
        let mut wanted = positions.len();
        let mut since = Instant::now();
        while wanted > 0 {
            match (self.hear)(GLANCE) {
                Ok(heard) => {
                    // What an earlier run had left undecided is told as well.
                    wanted -= usize::from(wanted_here.contains(&heard.at));
                    outcomes.insert(heard.at, heard);
                    since = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) if since.elapsed() > workers::STALLED => {
                    bail!("{}", self.silence)
                }
                Err(RecvTimeoutError::Timeout) => (self.check)()?,
                Err(RecvTimeoutError::Disconnected) => {
                    (self.check)()?;
                    bail!("the workers have stopped; start again, nothing is lost");
                }
            }
        }
        Ok(outcomes)
    }

    /// The events of outcomes: as they came with them, or else out of the log.
    fn events_of(
        &mut self,
        outcomes: &HashMap<Position, Heard>,
    ) -> Result<HashMap<Uuid, AnyEvent>> {
        let came = outcomes.values().all(|heard| match heard.event_id() {
            Some(_) => heard.event.is_some(),
            None => true,
        });
        if !came {
            return self.new_events();
        }
        let events =
            outcomes.values().filter_map(|heard| heard.event_id().zip(heard.event.clone()));
        Ok(events.collect())
    }

    /// Events that were written since the last call, the first one of each command.
    fn new_events(&mut self) -> Result<HashMap<Uuid, AnyEvent>> {
        let mut events = HashMap::new();
        for (partition, next) in (0..).zip(&mut self.events_next) {
            *next = self.names.events(&mut *self.reader, partition, *next, &mut |entry| {
                events.insert(entry.meta.message_id, entry.event);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(events)
    }

    /// An event that was written at some time, by its id.
    fn old_event(&mut self, partition: u32, id: Uuid) -> Result<Option<AnyEvent>> {
        let mut found = None;
        self.names.events(&mut *self.reader, partition, 0, &mut |entry| {
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
        heard: Option<&Heard>,
        events: &HashMap<Uuid, AnyEvent>,
    ) -> Result<Answer> {
        let mut answer = Answer {
            line,
            outcome: "decided",
            command: Some(parsed.command.type_name()),
            idempotency_key: parsed.meta.idempotency_key.as_ref().map(ToString::to_string),
            message_id: Some(parsed.meta.message_id),
            position: Some(position.to_string()),
            code: None,
            refusal: None,
            event_id: None,
            event_type: None,
            reservation_id: None,
            confirmation_number: None,
            reasons: Vec::new(),
            alternatives: Vec::new(),
            warnings: Vec::new(),
            words: Vec::new(),
        };
        match heard.map(|heard| heard.outcome) {
            None | Some(Outcome::Ticked) => {}
            Some(Outcome::Decided { code, first_event }) => {
                answer.outcome = if code == 0 { "accepted" } else { "refused" };
                answer.give_code(code);
                answer.event_id = Some(first_event);
                if let Some(event) = events.get(&first_event) {
                    answer.tell(event);
                }
            }
            Some(Outcome::Repeated { code, first_event }) => {
                answer.outcome = "repeated";
                answer.give_code(code);
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
            Some(Outcome::Conflict { event, .. }) => {
                answer.outcome = "conflict";
                answer.event_id = Some(event);
                let first = match events.get(&event) {
                    Some(AnyEvent::CommandConflicted(conflict)) => {
                        format!(", which led to event {}", conflict.first_event_id)
                    }
                    _ => String::new(),
                };
                answer.words.push(format!(
                    "the idempotency key was used with another payload{first}; give this command a key of its own"
                ));
            }
            Some(Outcome::Parked(kind)) => {
                answer.outcome = "parked";
                let cause = heard.and_then(|heard| heard.cause.as_deref());
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                answer.words.push(format!(
                    "it could not be decided ({kind:?}){cause}; see `bellhop parked show {position}`"
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
