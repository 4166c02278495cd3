//! `bellhop parked edit`: a parked command as the line of JSON that would send it.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use bellhop_core::record::unframe;
use bellhop_core::topology::UnknownFields;
use bellhop_runtime::log::Reader;
use bellhop_runtime::parked::Entry;
use bellhop_runtime::wiring::Resolved;

use super::EditArgs;
use super::select::{at_position, position_of};
use crate::command::AnyCommand;
use crate::config::Config;
use crate::{output, wiring};

pub(super) fn run(args: &EditArgs, config: &Config) -> Result<ExitCode> {
    let mut reader = args.site.site(config)?.reader()?;
    let entry = at_position(&mut *reader, &args.position)?;
    let line = line_of(&mut *reader, &entry).with_context(|| {
        format!(
            "read the command at {} as JSON: write the line anew, as `bellhop run --help` shows, and give it to `bellhop parked release {0} --with FILE`",
            args.position
        )
    })?;
    let mut out = output::stdout();
    output::json_line(&mut out, &line)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The command in a parked record, under its own idempotency key: what its producer may have sent
/// again meanwhile is recognised as the same.
fn line_of(reader: &mut dyn Reader, entry: &Entry) -> Result<serde_json::Value> {
    let parked = &entry.parked;
    let value = parked.value.as_ref().map_or(&[][..], |value| &value.0);
    if (value.len() as i64) < parked.value_bytes {
        bail!("only {} of its {} bytes were kept", value.len(), parked.value_bytes);
    }
    let (id, datum) = unframe(value).context("it has no schema id")?;
    let schema = reader.schema_of(id)?.schema();
    let schema = schema.with_context(|| format!("the registry does not know schema id {id}"))?;
    let topology = wiring::topology()?;
    let mut own = Vec::new();
    // A field that is not known here would be missing in the line, and nobody would see it.
    let unknown = UnknownFields::Refused;
    let datum = match wiring::resolve(&topology)?.resolve(&schema.name, &schema.text, unknown) {
        Resolved::Same => datum,
        Resolved::Transcode(transcode) => {
            transcode.transcode(datum, &mut own)?;
            &own
        }
        Resolved::Unknown => bail!("{} is not a message of this program", schema.name),
        Resolved::Refused(why) => bail!("schema id {id} of {} cannot be read: {why}", schema.name),
    };
    let (meta, command) = AnyCommand::decode(&schema.name, datum)?;
    let mut line = command.to_json()?;
    let mut put = |name: &str, value: String| line.insert(name.to_owned(), value.into());
    let key = meta.idempotency_key.filter(|key| !key.is_empty());
    put("idempotency_key", key.map_or_else(|| derived_key(entry), |key| key.to_string()));
    put("message_id", meta.message_id.to_string());
    if let Some(id) = meta.correlation_id {
        put("correlation_id", id.to_string());
    }
    Ok(serde_json::Value::Object(line))
}

/// An idempotency key of a parked record that has none of its own.
pub(super) fn derived_key(entry: &Entry) -> String {
    format!("parked/{}", position_of(entry))
}
