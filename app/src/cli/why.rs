//! `bellhop why`: every event about a reservation or a command, with the reasons in words.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Result, bail};
use bellhop_core::message::{Meta, Timestamp};
use bellhop_schemas::ids::{ExternalRef, PropertyId, ReservationId};
use bellhop_schemas::instant;
use serde::Serialize;
use uuid::Uuid;

use crate::config::Config;
use crate::event::AnyEvent;
use crate::log::{self, Entry, Names, Property};
use crate::site::SiteArgs;
use crate::{output, words};

/// Says what happened to a reservation or a command, and why.
///
/// Follows the ids of events, their causes and their conversations.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop why RSV-2016-001234 --data ./data\n  bellhop why 4c8b3d52-6f0e-8a51-8000-00000000bd83 --data ./data\n  bellhop why row-48515-2 --data ./data       an idempotency key\n  bellhop why agency:777 --data ./data        another system's number; 777 alone finds it, too"
)]
pub(crate) struct Args {
    /// Id of a reservation, command or event, a confirmation number, an idempotency key, or another
    /// system's number of a reservation: NUMBER or SYSTEM:NUMBER
    id: String,
    /// Only of this property, by its code or id
    #[arg(long, value_name = "PROPERTY")]
    property: Option<String>,
    #[command(flatten)]
    site: SiteArgs,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(with = "instant")]
    at: Timestamp,
    #[serde(rename = "type")]
    type_name: &'static str,
    /// Code of the property.
    #[serde(skip_serializing_if = "Option::is_none")]
    property: Option<&'a str>,
    words: Vec<String>,
    partition: u32,
    offset: u64,
    meta: &'a Meta,
    event: &'a AnyEvent,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let mut reader = args.site.site(config)?.reader()?;
    let id = Uuid::parse_str(&args.id).ok();
    let names_it = |entry: &Entry<'_>| {
        let Meta { message_id, correlation_id, causation_id, source, .. } = &entry.meta;
        let key = source.as_ref().and_then(|source| source.idempotency_key.as_deref());
        let ids = [
            Some(*message_id),
            *correlation_id,
            *causation_id,
            entry.event.reservation_id().map(|id| id.0),
        ];
        (id.is_some() && ids.contains(&id))
            || key == Some(args.id.as_str())
            || entry.event.confirmation_number() == Some(args.id.as_str())
            || !Numbers::named(&args.id, &entry.event).is_empty()
    };
    // A first pass finds whom it is about, a second one tells their whole stories.
    let mut reservations = BTreeSet::new();
    let mut known = Vec::new();
    let mut about = BTreeSet::new();
    let mut numbers = Numbers::default();
    let mut names = Names::default();
    names.all_events(&mut *reader, &mut |entry| {
        if let AnyEvent::PropertyDefined(event) = &entry.event {
            known.push(Property { id: event.property_id, code: event.code.to_string() });
        }
        numbers.apply(&args.id, &entry.event);
        if names_it(&entry) {
            let property = entry.event.property_id();
            about.insert(property);
            reservations.extend(property.zip(entry.event.reservation_id()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let only = args.property.as_deref().map(|named| log::property(&known, named)).transpose()?;
    let only = only.map(|property| property.id);
    let means = |property: Option<PropertyId>| only.is_none() || only == property;
    if !about.iter().any(|property| means(*property)) {
        let of = args.property.as_ref().map_or_else(String::new, |named| format!(" of {named}"));
        bail!(
            "nothing in the log{of} is about {}: give the id of a reservation, command or event, a confirmation number, an idempotency key, or another system's number (NUMBER or SYSTEM:NUMBER)",
            args.id
        );
    }
    let codes: BTreeMap<_, _> = known.into_iter().map(|it| (it.id, it.code)).collect();
    let mut out = output::stdout();
    names.all_events(&mut *reader, &mut |entry| {
        let property = entry.event.property_id();
        let about = property.zip(entry.event.reservation_id());
        let wanted = names_it(&entry) || about.is_some_and(|about| reservations.contains(&about));
        if wanted && means(property) {
            let code = property.and_then(|id| codes.get(&id)).map(String::as_str);
            let print = if args.json { print_json } else { print };
            print(&entry, code, &mut out)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !args.json {
        for (property, number, holder) in numbers.holders() {
            if means(Some(property)) {
                let now = holder.map_or_else(
                    || "no reservation has it now".to_owned(),
                    |id| format!("reservation {id} has it now"),
                );
                writeln!(out, "{} {}: {now}", number.system, number.id)?;
            }
        }
    }
    if !args.json && only.is_none() && about.len() > 1 {
        writeln!(
            out,
            "{} properties have one of that name; --property CODE shows one",
            about.len()
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Numbers of other systems that one text means, and which reservation has each.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<(PropertyId, ExternalRef), Option<ReservationId>>);

impl Numbers {
    /// Those of an event that a text means: `NUMBER` or `SYSTEM:NUMBER`.
    fn named<'a>(text: &str, event: &'a AnyEvent) -> Vec<&'a ExternalRef> {
        let is = |one: &&ExternalRef| {
            let of_system = text.strip_prefix(one.system.as_str());
            let number = of_system.and_then(|rest| rest.strip_prefix(':'));
            one.id == text || number.is_some_and(|number| one.id == number)
        };
        event.external_refs().iter().filter(is).collect()
    }

    /// A booking takes its numbers, and its cancellation frees them.
    fn apply(&mut self, text: &str, event: &AnyEvent) {
        let Some(property) = event.property_id() else { return };
        let is_cancelled = matches!(event, AnyEvent::ReservationCancelled(_));
        let holder = event.reservation_id().filter(|_| !is_cancelled);
        for number in Self::named(text, event) {
            self.0.insert((property, number.clone()), holder);
        }
    }

    fn holders(&self) -> impl Iterator<Item = (PropertyId, &ExternalRef, Option<ReservationId>)> {
        self.0.iter().map(|((property, number), holder)| (*property, number, *holder))
    }
}

type Out = std::io::BufWriter<std::io::StdoutLock<'static>>;

fn print_json(entry: &Entry<'_>, property: Option<&str>, out: &mut Out) -> Result<()> {
    let line = Line {
        at: entry.meta.occurred_at,
        type_name: entry.event.type_name(),
        property,
        words: entry.event.words(),
        partition: entry.position.partition,
        offset: entry.position.offset,
        meta: &entry.meta,
        event: &entry.event,
    };
    output::json_line(out, &line)
}

fn print(entry: &Entry<'_>, property: Option<&str>, out: &mut Out) -> Result<()> {
    let number = entry.event.confirmation_number().unwrap_or_default();
    let at = words::time(entry.meta.occurred_at);
    let property = property.map_or_else(String::new, |code| format!("  \"{code}\""));
    writeln!(out, "{at}{property}  {}  {number}", entry.event.type_name())?;
    for sentence in entry.event.words() {
        writeln!(out, "    {sentence}")?;
    }
    let id = entry.event.reservation_id().map(|id| format!("reservation {id}, "));
    let source = entry.meta.source.as_ref().map(|source| {
        let key = source.idempotency_key.as_deref().unwrap_or("a timer");
        let position = source.position();
        format!(", command {key} at {position}, decided by version {}", source.decided_by)
    });
    let (id, source) = (id.unwrap_or_default(), source.unwrap_or_default());
    writeln!(out, "    {id}event {}{source}", entry.position)?;
    Ok(())
}
