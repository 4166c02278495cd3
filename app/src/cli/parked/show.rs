//! `bellhop parked list` and `show`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_core::engine::{ParkedKind, Resolution};
use bellhop_core::message::Timestamp;
use bellhop_runtime::parked::{Entry, Resolved};
use bellhop_schemas::instant;
use serde::Serialize;

use super::select::{at_position, position_of};
use super::{ListArgs, ShowArgs};
use crate::config::Config;
use crate::{output, words};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<Resolution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(entry: &'a Entry, with_value: bool) -> Self {
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let parked = &entry.parked;
        let how = entry.resolved.as_ref().map(|resolved| &resolved.how);
        Self {
            position: position_of(entry).to_string(),
            kind: parked.kind,
            cause: &parked.cause,
            timestamp: parked.timestamp,
            parked_at: parked.parked_at,
            key: parked.key.as_ref().map(|key| text(&key.0)),
            value_bytes: parked.value_bytes,
            value: parked.value.as_ref().filter(|_| with_value).map(|it| hexadecimal(&it.0)),
            resolution: how.map(|how| how.resolution),
            by: how.map(|how| how.by.as_str()),
            why: how.map(|how| how.why.as_str()),
        }
    }
}

/// `released by desk: wrong product code`.
pub(super) fn resolution(resolved: &Resolved) -> String {
    let how = &resolved.how;
    let what = match how.resolution {
        Resolution::Released => "released",
        Resolution::Edited => "released, edited,",
        Resolution::Skipped => "skipped",
    };
    format!("{what} by {}: {}", how.by, how.why)
}

pub(super) fn list(args: &ListArgs, config: &Config) -> Result<ExitCode> {
    let mut reader = args.site.site(config)?.reader()?;
    let mut header = vec!["position", "kind", "parked at", "bytes", "cause"];
    header.extend(args.all.then_some("resolved"));
    let mut table = output::table(&header, 6);
    let mut out = output::stdout();
    let (mut open, mut resolved) = (0_u64, 0_u64);
    args.select.each(&mut *reader, &mut |entry| {
        let count = if entry.resolved.is_some() { &mut resolved } else { &mut open };
        *count += 1;
        if entry.resolved.is_some() && !args.all {
            return Ok(());
        }
        if args.json {
            return output::json_line(&mut out, &Line::of(&entry, false));
        }
        let mut row = vec![
            position_of(&entry).to_string(),
            format!("{:?}", entry.parked.kind),
            words::time(entry.parked.parked_at),
            entry.parked.value_bytes.to_string(),
            entry.parked.cause.clone(),
        ];
        row.extend(args.all.then(|| entry.resolved.as_ref().map_or_else(String::new, resolution)));
        table.add_row(row);
        Ok(())
    })?;
    if !args.json {
        if !table.is_empty() {
            writeln!(out, "{table}")?;
        }
        let before = words::count(resolved, "parked command");
        match (open, resolved) {
            (0, 0) => writeln!(out, "Nothing is parked.")?,
            (0, _) => writeln!(out, "Nothing is open; {before} released or skipped before.")?,
            (_, 0) => writeln!(out, "{}", words::count(open, "parked command"))?,
            (_, _) => writeln!(
                out,
                "{}, and {resolved} released or skipped before",
                words::count(open, "parked command")
            )?,
        }
        if open > 0 {
            writeln!(out, "Next: `bellhop parked show POSITION`, then release or skip.")?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn one(args: &ShowArgs, config: &Config) -> Result<ExitCode> {
    let mut reader = args.site.site(config)?.reader()?;
    let entry = at_position(&mut *reader, &args.position)?;
    let mut out = output::stdout();
    let line = Line::of(&entry, true);
    let parked = &entry.parked;
    if args.json {
        output::json_line(&mut out, &line)?;
    } else {
        writeln!(out, "position   {}", line.position)?;
        writeln!(out, "kind       {:?}", parked.kind)?;
        writeln!(out, "cause      {}", parked.cause)?;
        writeln!(out, "stamped    {}", words::time(parked.timestamp))?;
        writeln!(out, "parked at  {}", words::time(parked.parked_at))?;
        if let Some(resolved) = &entry.resolved {
            writeln!(out, "resolved   {}, {}", words::time(resolved.at), resolution(resolved))?;
            writeln!(out, "event      {}", resolved.event_id)?;
        }
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

/// Printable ASCII as it is, a dot for anything else.
fn text(bytes: &[u8]) -> String {
    let show =
        |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    bytes.iter().map(show).collect()
}
