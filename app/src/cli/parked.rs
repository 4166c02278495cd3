//! `bellhop parked`: commands that could not be decided.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use bellhop_core::avro::{Avro as _, Reader as Avro};
use bellhop_core::engine::{Parked, ParkedKind};
use bellhop_core::message::Timestamp;
use bellhop_core::record::unframe;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_schemas::instant;
use clap::Subcommand;
use serde::Serialize;

use crate::config::Config;
use crate::site::SiteArgs;
use crate::{output, words};

/// Lists and shows commands that could not be decided, with the cause.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop parked list --data ./data\n  bellhop parked show 3@1042 --data ./data"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists parked commands
    List {
        #[command(flatten)]
        site: SiteArgs,
        /// Print JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Shows one with its bytes
    Show {
        /// Partition and offset in the commands topic, as the list prints them: 3@1042
        position: String,
        #[command(flatten)]
        site: SiteArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    position: String,
    kind: ParkedKind,
    cause: &'a str,
    #[serde(with = "instant")]
    timestamp: Timestamp,
    #[serde(with = "instant")]
    parked_at: Timestamp,
    key: Option<String>,
    value_bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    match &args.action {
        Action::List { site, json } => {
            let mut reader = site.site(config)?.reader()?;
            list(&mut *reader, *json)
        }
        Action::Show { position, site, json } => {
            let mut reader = site.site(config)?.reader()?;
            show(&mut *reader, position, *json)
        }
    }
}

fn list(reader: &mut dyn Reader, json: bool) -> Result<ExitCode> {
    let mut table = output::table(&["position", "kind", "parked at", "bytes", "cause"], 5);
    let mut out = output::stdout();
    let mut count = 0_u64;
    for partition in 0..reader.identity().partitions {
        each(reader, partition, &mut |parked| {
            count += 1;
            if json {
                output::json_line(&mut out, &line(partition, parked, false))?;
            } else {
                table.add_row([
                    format!("{partition}@{}", parked.offset),
                    format!("{:?}", parked.kind),
                    words::time(parked.parked_at),
                    parked.value_bytes.to_string(),
                    parked.cause.clone(),
                ]);
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    if !json {
        match count {
            0 => writeln!(out, "Nothing is parked.")?,
            _ => writeln!(out, "{table}\n{}", words::count(count, "parked command"))?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn show(reader: &mut dyn Reader, position: &str, json: bool) -> Result<ExitCode> {
    let wanted = || {
        let (partition, offset) = position.split_once('@')?;
        Some((partition.parse::<u32>().ok()?, offset.parse::<i64>().ok()?))
    };
    let (partition, offset) = wanted()
        .ok_or_else(|| anyhow!("\"{position}\" is not a position; write it like 3@1042"))?;
    if partition >= reader.identity().partitions {
        bail!("the log has partitions 0 to {}", reader.identity().partitions - 1);
    }
    let mut found = None;
    each(reader, partition, &mut |parked| {
        if parked.offset == offset {
            found = Some(parked.clone());
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let parked = found
        .with_context(|| format!("nothing is parked at {position}; see `bellhop parked list`"))?;
    let mut out = output::stdout();
    let line = line(partition, &parked, true);
    if json {
        output::json_line(&mut out, &line)?;
    } else {
        writeln!(out, "position   {}", line.position)?;
        writeln!(out, "kind       {:?}", parked.kind)?;
        writeln!(out, "cause      {}", parked.cause)?;
        writeln!(out, "stamped    {}", words::time(parked.timestamp))?;
        writeln!(out, "parked at  {}", words::time(parked.parked_at))?;
        writeln!(out, "key        {}", line.key.as_deref().unwrap_or("none"))?;
        for header in &parked.headers {
            writeln!(out, "header     {}: {}", header.name, text(&header.value.0))?;
        }
        writeln!(out, "value      {}", words::count(parked.value_bytes, "byte"))?;
        let kept = parked.value.as_ref().map_or(&[][..], |value| &value.0);
        for (index, chunk) in kept.chunks(16).enumerate() {
            let bytes: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "  {:06x}  {:48} {}", index * 16, bytes.join(" "), text(chunk))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn each(
    reader: &mut dyn Reader,
    partition: u32,
    each: &mut dyn FnMut(&Parked) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut failed = None;
    reader.read(Topic::Parked, partition, 0, &mut |record| {
        let (_, datum) = record.value.and_then(unframe).unwrap_or_default();
        let parked = Parked::decode(&mut Avro::new(datum));
        let parked = parked.with_context(|| format!("read the parked record at {}", record.offset));
        parked.and_then(|parked| each(&parked)).unwrap_or_else(|error| {
            failed = Some(error);
            ControlFlow::Break(())
        })
    })?;
    failed.map_or(Ok(()), Err)
}

fn line(partition: u32, parked: &Parked, with_value: bool) -> Line<'_> {
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Line {
        position: format!("{partition}@{}", parked.offset),
        kind: parked.kind,
        cause: &parked.cause,
        timestamp: parked.timestamp,
        parked_at: parked.parked_at,
        key: parked.key.as_ref().map(|key| text(&key.0)),
        value_bytes: parked.value_bytes,
        value: parked.value.as_ref().filter(|_| with_value).map(|value| hexadecimal(&value.0)),
    }
}

/// Printable ASCII as it is, a dot for anything else.
fn text(bytes: &[u8]) -> String {
    let show =
        |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    bytes.iter().map(show).collect()
}
