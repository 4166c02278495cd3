//! Sends a reservation to bellhop and waits for its outcome.
//!
//! ```sh
//! cargo run -p bellhop --example produce -- localhost:9092 http://localhost:8081 PROPERTY_ID [IDEMPOTENCY_KEY]
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bellhop_core::avro::{Avro, Reader};
use bellhop_core::engine::{Reply, ReplyOutcome};
use bellhop_core::message::{LogId, Message, MessageKey, Meta, Timestamp};
use bellhop_core::record::{Header, frame, unframe};
use bellhop_core::task::{CORRELATION_ID, REPLY_TO};
use bellhop_runtime::clock::{Clock, SystemClock};
use bellhop_runtime::log::redpanda::{Config, Redpanda};
use bellhop_runtime::log::{Command, Producer};
use bellhop_schemas::command::CreateReservation;
use bellhop_schemas::contract;
use bellhop_schemas::event::ReservationCreated;
use uuid::Uuid;

const REPLIES: &str = "bellhop.replies";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (brokers, registry, property, key) = match arguments.as_slice() {
        [brokers, registry, property] => (brokers, registry, property, None),
        [brokers, registry, property, key] => (brokers, registry, property, Some(key.clone())),
        _ => bail!("give BROKERS REGISTRY PROPERTY_ID [IDEMPOTENCY_KEY]"),
    };
    let (reservation, correlation_id) = (Uuid::new_v4(), Uuid::new_v4().to_string());
    // One for each intent: sent again, the first outcome comes again.
    let idempotency_key = key.unwrap_or_else(|| format!("web-{reservation}"));
    // Two nights in a double room, priced by us. The types are the contract's; JSON is for brevity.
    let command: CreateReservation = serde_json::from_value(serde_json::json!({
        "property_id": property,
        "reservation_id": reservation,
        "lines": [{
            "product": "DBL", "units": 1, "arrival": "2027-09-20", "departure": "2027-09-22",
            "adults": 2, "currency": "EUR", "priced_by": "Client",
            "nights": [{"room": 9000}, {"room": 9500}],
        }],
    }))?;

    let log = Redpanda::connect(&Config::new(brokers, registry), LogId(Uuid::new_v4()))?;
    let mut replies = log.replies(REPLIES, correlation_id.as_bytes())?;
    let mut producer = log.sender();
    let schema = contract::schema(CreateReservation::NAME)?;
    let schema_id = producer.schema_id(CreateReservation::NAME, &schema)?;

    let now = SystemClock::default().now();
    let meta = Meta::of_command(Uuid::new_v4(), &idempotency_key, now);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    command.property_id.write(&mut key);
    frame(schema_id, &mut value);
    meta.encode(&mut value);
    command.encode(&mut value);
    let headers = [
        Header { name: REPLY_TO, value: REPLIES.as_bytes() },
        Header { name: CORRELATION_ID, value: correlation_id.as_bytes() },
    ];
    // The broker stamps it.
    let timestamp = Timestamp(0);
    producer.append(&[Command { key: &key, value: &value, timestamp, headers: &headers }], None)?;

    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        let Some(reply) = replies.next(Duration::from_secs(1))? else { continue };
        // First the outcome: what was not decided has the code 0 as well.
        let (verdict, accepted) = match (reply.outcome, reply.code) {
            (ReplyOutcome::Decided, 0) => {
                (format!("accepted as {}", confirmation_number(&reply)?), true)
            }
            (ReplyOutcome::Repeated, 0) => ("accepted before".to_owned(), true),
            (ReplyOutcome::Decided | ReplyOutcome::Repeated, code) => {
                (format!("refused by {} ({code})", reply.refusal.unwrap_or_default()), false)
            }
            (ReplyOutcome::Conflict, _) => {
                let why = "not decided: the idempotency key came with another payload before";
                (why.to_owned(), false)
            }
            (ReplyOutcome::Parked, _) => {
                let kind = reply.parked.map_or_else(String::new, |kind| format!(" as {kind:?}"));
                let cause = reply.cause.unwrap_or_default();
                (format!("not decided, parked{kind}: {cause}"), false)
            }
        };
        println!("{:?}: {verdict}, reservation {reservation}", reply.outcome);
        return Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    None.context("no reply in 30 s: is a `bellhop run` working?")
}

/// What the guest is told: it stands in the event, which the reply carries as it lies on its topic.
fn confirmation_number(reply: &Reply) -> anyhow::Result<String> {
    let event = reply.event.as_ref().context("the reply has no event")?;
    let (_, datum) = unframe(&event.0).context("the event has no frame")?;
    let mut reader = Reader::new(datum);
    Meta::decode(&mut reader)?;
    Ok(ReservationCreated::decode(&mut reader)?.confirmation_number.into())
}
