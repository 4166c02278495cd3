//! `bellhop send`: lines of JSON become commands on the topic of a cluster.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bellhop_core::engine::{Reply, ReplyOutcome};
use bellhop_core::headers::{TRACEPARENT, TraceParent};
use bellhop_core::message::{LogId, Position};
use bellhop_core::outcome::Outcome;
use bellhop_core::record::{Header, unframe};
use bellhop_core::task::{CORRELATION_ID, REPLY_TO};
use bellhop_core::topology::Wire;
use bellhop_runtime::log::redpanda::{Redpanda, Replies};
use bellhop_runtime::log::{ErrorKind, Producer, Timestamps};
use uuid::Uuid;

use crate::config::{Config, Times};
use crate::desk::{Desk, Heard, Parts};
use crate::event::AnyEvent;
use crate::fields::sentences;
use crate::lines::{self, Lines};
use crate::outbox::Outbox;
use crate::site::ClusterArgs;
use crate::workers::{REPLIES, Stop};
use crate::{output, wiring, words};

const GLANCE: Duration = Duration::from_millis(50);

/// Sends commands to a cluster: one JSON object a line, from a file or standard input.
///
/// Each becomes an Avro record on the topic of commands, in the partition of its property. With
/// `--wait`, each line is answered by what became of it, as `bellhop run` does on a folder. Exit
/// code 1 says that a line could not be read as a command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop send commands.jsonl --wait --broker localhost:9092 --registry http://localhost:8081\n  echo '{\"type\":\"SetPhysicalCount\",\"idempotency_key\":\"k1\",\"property_id\":\"..\",\"count\":10}' | bellhop send"
)]
pub(crate) struct Args {
    /// The file [default: standard input]
    file: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Wait until each command is decided, and say what became of it
    #[arg(long)]
    wait: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Where the times of commands come from: the brokers, or the field "at" of each line (for
    /// replays); as the topic of commands was made [default: `kafka.timestamps` of the
    /// configuration]
    #[arg(long, value_enum)]
    timestamps: Option<Times>,
    /// The trace that all of these commands belong to, as `TRACEPARENT` of a traced job
    #[arg(long, value_name = "00-TRACE-SPAN-FLAGS", value_parser = traceparent)]
    traceparent: Option<String>,
}

impl Args {
    /// Headers of each command.
    fn headers(&self) -> Vec<(&'static str, Vec<u8>)> {
        let trace = self.traceparent.iter();
        trace.map(|trace| (TRACEPARENT, trace.clone().into_bytes())).collect()
    }
}

fn traceparent(value: &str) -> Result<String> {
    let read = TraceParent::parse(value.as_bytes());
    read.map(|_| value.to_owned()).context(
        "not as W3C writes it, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let mut connection = args.cluster.connection(config)?;
    connection.timestamps = args.timestamps.map(Into::into).or(connection.timestamps);
    let timed = connection.timestamps == Some(Timestamps::Create);
    let replies = connection.named(REPLIES);
    let input = lines::of(args.file.as_deref(), timed)?;
    let stop = Stop::on_signals();
    let topology = wiring::topology()?;
    let log = Redpanda::connect(&connection, LogId(wiring::random_id()))?;
    let mut producer: Box<dyn Producer> = Box::new(log.sender());
    let wire = wiring::wire(&topology, &mut *producer)?;
    if !args.wait {
        return send_only(args, &input, &mut *producer, &wire, &stop);
    }
    let session = wiring::random_id().hyphenated().to_string();
    let (ear, outcomes) =
        Ear::listen(log.replies(&replies, session.as_bytes())?, Arc::clone(&wire))?;
    let check = || ear.check();
    let hear = |wait| outcomes.recv_timeout(wait);
    let mut headers = args.headers();
    headers.push((REPLY_TO, replies.into_bytes()));
    headers.push((CORRELATION_ID, session.into_bytes()));
    let mut desk = Desk::open(Parts {
        reader: Box::new(log.reader()),
        producer,
        wire,
        hear: &hear,
        check: &check,
        silence: "the commands are on the topic, and nobody answers: is a `bellhop run` working, and does its `reply_topics` name the topic of replies?",
        headers,
        json: args.json,
    })?;
    desk.serve(&input, &stop)?;
    Ok(if desk.bad_lines() > 0 { ExitCode::from(crate::FAILURE) } else { ExitCode::SUCCESS })
}

/// Sends what comes, and waits for nobody.
fn send_only(
    args: &Args,
    input: &Lines,
    producer: &mut dyn Producer,
    wire: &Wire,
    stop: &Stop,
) -> Result<ExitCode> {
    let mut out = output::stdout();
    let mut outbox = Outbox::default();
    let headers = args.headers();
    let headers: Vec<_> = headers.iter().map(|(name, value)| Header { name, value }).collect();
    let (mut sent, mut bad) = (0, 0_u64);
    while !stop.is_asked() {
        let Some(batch) = input.batch(GLANCE)? else { break };
        for (number, parsed) in batch {
            match parsed {
                Ok(parsed) => outbox.push(&parsed.command, &parsed.meta, parsed.at, wire),
                Err(error) => {
                    bad += 1;
                    let words = sentences(&error);
                    if args.json {
                        let line =
                            serde_json::json!({"line": number, "outcome": "error", "words": words});
                        output::json_line(&mut out, &line)?;
                    } else {
                        writeln!(out, "line {number} error: {}", words.join("; "))?;
                    }
                }
            }
        }
        let commands = outbox.commands(&headers);
        if !commands.is_empty() {
            sent += producer.append(&commands, None)?.len() as u64;
        }
        outbox.clear();
    }
    if args.json {
        output::json_line(&mut out, &serde_json::json!({"sent": sent, "errors": bad}))?;
    } else {
        writeln!(out, "{} sent", words::count(sent, "command"))?;
    }
    out.flush()?;
    Ok(if bad > 0 { ExitCode::from(crate::FAILURE) } else { ExitCode::SUCCESS })
}

/// A thread that hears replies.
struct Ear {
    stop: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Ear {
    fn listen(mut replies: Replies, wire: Arc<Wire>) -> Result<(Self, Receiver<Heard>)> {
        let (send, outcomes) = sync_channel(64 * 1024);
        let ear = Self { stop: Arc::default(), failure: Arc::default() };
        let (stop, failure) = (Arc::clone(&ear.stop), Arc::clone(&ear.failure));
        let hear = move || {
            while !stop.load(Ordering::Relaxed) {
                match replies.next(GLANCE) {
                    Ok(None) => {}
                    Ok(Some(reply)) => tell(reply, &wire, &send),
                    // The brokers are gone for a while: whoever waits says how long it has been.
                    Err(error) if error.kind == ErrorKind::Retry => std::thread::sleep(GLANCE),
                    Err(error) => {
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        *failure = Some(error.into());
                        return;
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name("bellhop-replies".to_owned())
            .spawn(hear)
            .context("start the thread that hears replies")?;
        Ok((ear, outcomes))
    }

    fn check(&self) -> Result<()> {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn tell(reply: Reply, wire: &Wire, heard: &SyncSender<Heard>) {
    let at = Position { partition: reply.partition, offset: reply.offset.cast_unsigned() };
    let first_event = reply.event_id.unwrap_or(Uuid::nil());
    let code = reply.code;
    let outcome = match reply.outcome {
        ReplyOutcome::Decided => Outcome::Decided { code, first_event },
        ReplyOutcome::Repeated => Outcome::Repeated { code, first_event },
        // Which event the key led to first stands in the event that is named.
        ReplyOutcome::Conflict => {
            Outcome::Conflict { event: first_event, first_event: Uuid::nil() }
        }
        ReplyOutcome::Parked => match reply.parked {
            Some(kind) => Outcome::Parked(kind),
            None => return,
        },
    };
    // An event of a newer worker is read from the log, with an error that says what to do.
    let event = reply.event.and_then(|event| {
        let (schema_id, datum) = unframe(&event.0)?;
        AnyEvent::decode(wire.name_of(schema_id)?, datum).ok()
    });
    // Nobody listens any more once all is answered.
    let _ =
        heard.send(Heard { at, outcome, event: event.map(|(_, event)| event), cause: reply.cause });
}
