//! `bellhop audit`: what landed, held against the topic.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bellhop_analytics::fold::{self, Event, Known};
use bellhop_analytics::kpi::{self, Dimension, Query};
use bellhop_analytics::session::Session;
use bellhop_clickhouse::{Server, audit, kpi as clickhouse};
use bellhop_core::avro::{Avro as _, Reader as Datum};
use bellhop_core::message::Meta;
use bellhop_runtime::log::Reader;
use clap::Subcommand;
use serde_json::{Map, Value};

use crate::config::Config;
use crate::log::Names;
use crate::site::{SiteArgs, given};
use crate::{lake, output, words};

/// Differences that are shown; the others are counted.
const SHOWN: usize = 20;

/// Shows that what is in ClickHouse is what the topic says.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop audit clickhouse --data ./data --clickhouse http://localhost:8123\n  bellhop audit kpi --broker localhost:9092 --registry http://localhost:8081 --data ./data\n\nExit code 1 says that there is a difference."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Every row: gaps, duplicates, and a checksum over every column against the topic
    Clickhouse(What),
    /// Every KPI by property and month: a fold of the topic, DataFusion and ClickHouse must agree
    Kpi(What),
}

#[derive(Debug, clap::Args)]
struct What {
    #[command(flatten)]
    site: SiteArgs,
    /// Address of the server [default: `clickhouse.url` of the configuration]
    #[arg(long, value_name = "URL")]
    clickhouse: Option<String>,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let (Action::Clickhouse(what) | Action::Kpi(what)) = &args.action;
    let mut target = config.clickhouse.target(what.clickhouse.as_deref());
    target.given = given(what.clickhouse.as_deref(), what.site.options());
    let of_server = given(what.clickhouse.as_deref(), []);
    let server = Server::new(&target)?;
    let mut out = output::stdout();
    let agrees = match &args.action {
        Action::Clickhouse(_) => {
            let mut reader = what.site.site(config)?.reader()?;
            server.check_log(reader.identity())?;
            rows(&server, &mut *reader, [&target.given, &of_server], &mut out)?
        }
        Action::Kpi(_) => {
            let site = what.site.site(config)?;
            let session = lake::session(&site)?.load()?;
            let mut reader = site.reader()?;
            server.check_log(reader.identity())?;
            figures(&server, &session, &mut *reader, &mut out)?
        }
    };
    out.flush()?;
    Ok(if agrees { ExitCode::SUCCESS } else { ExitCode::from(crate::FAILURE) })
}

fn rows(
    server: &Server,
    reader: &mut dyn Reader,
    [given, of_server]: [&str; 2],
    out: &mut impl Write,
) -> Result<bool> {
    let audit = audit::run(server)?;
    let header = ["table", "partition", "first", "last", "rows", "missing", "twice"];
    let mut table = output::table(&header, 1);
    for line in &audit.lines {
        table.add_row([
            line.table.clone(),
            line.partition.to_string(),
            line.first.to_string(),
            line.last.to_string(),
            output::thousands(line.rows),
            output::thousands(line.missing),
            output::thousands(line.twice),
        ]);
    }
    writeln!(out, "{table}")?;
    let comparison = audit::compare(server, reader)?;
    let mut differs = 0_u64;
    for line in comparison.differences() {
        differs += 1;
        writeln!(
            out,
            "DIFFERS: {} of partition {} has {} (checksum {:016x}), the topic says {} ({:016x})",
            line.table, line.partition, line.found.0, line.found.1, line.wanted.0, line.wanted.1
        )?;
    }
    let (missing, twice) = audit.totals();
    let behind: u64 = comparison.behind.values().sum();
    writeln!(
        out,
        "{} landed: {missing} missing, {twice} twice, {} against the topic; {} not landed yet",
        words::count(audit.events().max(0).cast_unsigned(), "event"),
        words::count(differs, "difference"),
        words::count(behind, "event"),
    )?;
    for damage in audit.damages() {
        writeln!(out, "mend it: {}", damage.command(given))?;
    }
    if audit.damages().is_empty() {
        let partitions = comparison.differences().map(|line| line.partition);
        for partition in partitions.collect::<BTreeSet<_>>() {
            let all = format!("bellhop repair clickhouse --partition {partition} --from 0 {given}");
            writeln!(out, "mend it: {}", all.trim_end())?;
        }
        if audit.has_damaged_views() {
            let rebuild = format!("bellhop rebuild views {of_server}");
            writeln!(out, "mend it: {}", rebuild.trim_end())?;
        }
    }
    Ok(audit.is_clean() && differs == 0)
}

/// A KPI by property and month, in money where it is some.
type Figures = BTreeMap<Vec<Option<String>>, Option<f64>>;

fn figures(
    server: &Server,
    session: &Session,
    reader: &mut dyn Reader,
    out: &mut impl Write,
) -> Result<bool> {
    let events = events(reader)?;
    let (mut compared, mut differences) = (0, Vec::new());
    for kpi in kpi::ALL {
        let query = Query::of(kpi.name)?.by(&[Dimension::Property, Dimension::Month]);
        let folded = fold::answer(&events, &query);
        let datafusion = datafusion(session, &query)?;
        let clickhouse = in_clickhouse(server, &query)?;
        let mut keys: Vec<_> =
            folded.keys().chain(datafusion.keys()).chain(clickhouse.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            compared += 1;
            let values = [&folded, &datafusion, &clickhouse].map(|figures| figures.get(key));
            if !agree(values) {
                differences.push((kpi.name, key.clone(), values.map(Option::<&_>::cloned)));
            }
        }
    }
    for (name, key, [folded, datafusion, clickhouse]) in differences.iter().take(SHOWN) {
        let key: Vec<_> = key.iter().map(|part| part.as_deref().unwrap_or("-")).collect();
        writeln!(
            out,
            "DIFFERS: {name} of {}: fold {}, DataFusion {}, ClickHouse {}",
            key.join(", "),
            text(*folded),
            text(*datafusion),
            text(*clickhouse)
        )?;
    }
    writeln!(
        out,
        "{} of {} by property and month compared over {}: a fold of the topic, DataFusion and ClickHouse {}",
        words::count(compared, "figure"),
        words::count(kpi::ALL.len() as u64, "KPI"),
        words::count(events.len() as u64, "event"),
        match differences.len() as u64 {
            0 => "agree on all".to_owned(),
            count => format!("differ in {count}"),
        }
    )?;
    Ok(differences.is_empty())
}

/// Sums of money are whole numbers, ratios are equal but for the order of their sums.
fn agree(values: [Option<&Option<f64>>; 3]) -> bool {
    let [Some(first), others @ ..] = values else { return false };
    others.into_iter().all(|other| match (first, other) {
        (Some(first), Some(Some(other))) => (first - other).abs() <= 1e-9 * first.abs().max(1.0),
        (None, Some(None)) => true,
        _ => false,
    })
}

fn text(value: Option<Option<f64>>) -> String {
    match value {
        None => "has no such row".to_owned(),
        Some(None) => "null".to_owned(),
        Some(Some(value)) => value.to_string(),
    }
}

/// All events that have rows.
fn events(reader: &mut dyn Reader) -> Result<Vec<Known>> {
    let mut events = Vec::new();
    let (mut names, mut left_out) = (Names::default(), Vec::new());
    for partition in 0..reader.identity().partitions {
        names.raw(reader, partition, 0, &mut |raw| {
            match raw.datum.and_then(|datum| known(raw.name, datum)) {
                Ok(event) => events.extend(event),
                Err(why) => left_out.push((raw.position, why)),
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    for (position, why) in left_out {
        names.left_out(position, why);
    }
    Ok(events)
}

/// An event that has rows; `None` for another.
fn known(name: &str, datum: &[u8]) -> Result<Option<Known>, String> {
    let mut datum = Datum::new(datum);
    let meta = Meta::decode(&mut datum).map_err(|error| error.to_string())?;
    let event = Event::decode(name, datum.rest()).map_err(|error| error.to_string())?;
    Ok(event.map(|event| Known { at: meta.occurred_at, event }))
}

fn datafusion(session: &Session, query: &Query) -> Result<Figures> {
    let answer = session.kpi(query)?;
    let header = answer.header();
    let rows: Vec<Map<String, Value>> =
        serde_json::from_str(&answer.json()?).context("read an answer of DataFusion")?;
    let figures = rows.into_iter().map(|row| {
        let names = header.iter().filter(|name| *name != query.kpi.name);
        let key = names.map(|name| row.get(name.as_str())?.as_str().map(str::to_owned)).collect();
        (key, row.get(query.kpi.name).and_then(Value::as_f64))
    });
    Ok(figures.collect())
}

fn in_clickhouse(server: &Server, query: &Query) -> Result<Figures> {
    let figures = clickhouse::answer(server, query.kpi.name, clickhouse::AsOf::Now)?;
    let figures = figures.into_iter().map(|figure| {
        let mut key = vec![Some(figure.property), figure.month_of_stay];
        if query.kpi.unit.is_money() {
            key.push(Some(figure.currency));
        }
        (key, figure.value)
    });
    Ok(figures.collect())
}
