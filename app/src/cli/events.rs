//! `bellhop events`: everything that was decided, as lines of JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_core::message::Meta;
use bellhop_runtime::log::Reader;
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use crate::config::Config;
use crate::event::AnyEvent;
use crate::log::{self, Names};
use crate::output;
use crate::site::SiteArgs;

/// Prints events as lines of JSON.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop events --data ./data | head\n  bellhop events --data ./data --property \"City Hotel\" --type reservation.rejected | jq .event.reasons\n  bellhop events --data ./data --digest"
)]
pub(crate) struct Args {
    #[command(flatten)]
    site: SiteArgs,
    /// Only of one property: its code or id
    #[arg(long)]
    property: Option<String>,
    /// Only of a type, like reservation.created
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Add the bytes of each datum, in hexadecimal
    #[arg(long)]
    raw: bool,
    /// Print a digest of keys, types, data and times of each partition instead: equal digests mean
    /// equal events, byte for byte
    #[arg(long, conflicts_with_all = ["property", "type_name", "raw"])]
    digest: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    type_name: &'static str,
    partition: u32,
    offset: u64,
    key: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    meta: &'a Meta,
    event: &'a AnyEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    datum: Option<String>,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let mut reader = args.site.site(config)?.reader()?;
    if args.digest {
        return digest(&mut *reader);
    }
    let property = match &args.property {
        Some(named) => Some(log::property(&log::properties(&mut *reader)?, named)?.id),
        None => None,
    };
    let mut out = output::stdout();
    Names::default().all_events(&mut *reader, &mut |entry| {
        let of_property = property.is_none() || entry.event.property_id() == property;
        let type_name = entry.event.type_name();
        let of_type = args.type_name.as_ref().is_none_or(|wanted| *wanted == type_name);
        if of_property && of_type {
            let line = Line {
                type_name,
                partition: entry.position.partition,
                offset: entry.position.offset,
                key: str::from_utf8(entry.key).unwrap_or_default(),
                headers: entry
                    .headers
                    .iter()
                    .map(|header| (header.name, String::from_utf8_lossy(header.value)))
                    .collect(),
                meta: &entry.meta,
                event: &entry.event,
                datum: args.raw.then(|| hexadecimal(entry.datum)),
            };
            output::json_line(&mut out, &line)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn digest(reader: &mut dyn Reader) -> Result<ExitCode> {
    let mut out = output::stdout();
    let mut names = Names::default();
    for partition in 0..reader.identity().partitions {
        let mut digest = Xxh3::new();
        let events = names.raw(reader, partition, 0, &mut |raw| {
            for part in [raw.key, raw.name.as_bytes(), raw.written] {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part);
            }
            digest.update(&raw.timestamp.0.to_le_bytes());
            Ok(ControlFlow::Continue(()))
        })?;
        writeln!(out, "partition {partition}: {events} events, xxh3 {:032x}", digest.digest128())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
