//! `bellhop state`: a property's calendar.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use bellhop_core::task::Task;
use bellhop_handlers::state::calendar::Calendar;
use bellhop_handlers::state::inventory::Inventory;
use bellhop_handlers::state::property::Property;
use bellhop_runtime::log::Topic;
use bellhop_runtime::restore::restore;
use bellhop_runtime::wiring::Wiring;
use bellhop_schemas::ids::PropertyId;
use bellhop_schemas::night::Night;
use clap::ValueEnum;
use serde::Serialize;

use crate::config::Config;
use crate::log;
use crate::site::{Site, SiteArgs};
use crate::workers::worker_config;
use crate::{output, wiring};

/// Nights that are shown when no end is given.
const NIGHTS: i32 = 14;
/// Nights of one table.
const NIGHTS_MAX: i32 = 3_660;

/// Prints a property's calendar: what is sold and left, by night and product.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop state \"City Hotel\" --from 2017-05-15 --to 2017-05-28 --data ./data\n  bellhop state \"City Hotel\" --show sold --from 2017-05-15 --data ./data\n  bellhop state 11b5c0e4-.. --json --data ./data | jq"
)]
pub(crate) struct Args {
    /// Its code or id
    property: String,
    #[command(flatten)]
    site: SiteArgs,
    /// First night [default: today of the property]
    #[arg(long, value_name = "DAY")]
    from: Option<Night>,
    /// Last night [default: a fortnight]
    #[arg(long, value_name = "DAY")]
    to: Option<Night>,
    /// What a cell of the table shows
    #[arg(long, value_enum, default_value_t = Show::Both)]
    show: Show,
    /// Print JSON lines, one a night and product, with all numbers
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Show {
    /// Sold / limit
    Both,
    /// Units sold
    Sold,
    /// Units left to sell
    Left,
    /// Units in use over the day / units that may be
    DayUse,
}

#[derive(Serialize)]
struct Line<'a> {
    property: &'a str,
    night: Night,
    /// Null for the house.
    product: Option<&'a str>,
    sold: i32,
    held: i32,
    physical: i16,
    out_of_order: i16,
    allowance: i16,
    limit: i32,
    available: i32,
    /// Units sold for the use of the day before the night.
    day_use: i32,
    /// Units that may still be sold for it; negative where more are in use than are free.
    day_left: i32,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let tasks = restore_all(&args.site.site(config)?, config)?;
    let (id, property, task) = find(&tasks, &args.property)?;
    let Some(inventory) = task.stores().find::<Inventory>().and_then(|store| store.get(&id)) else {
        bail!("\"{}\" has no inventory", property.code)
    };
    let from = args.from.unwrap_or_else(|| property.business_date(task.progress().stream_time));
    let to = args.to.unwrap_or_else(|| from.plus(NIGHTS - 1));
    if to < from || from.until(to) >= NIGHTS_MAX {
        bail!("--from {from} --to {to}: give 1 to {NIGHTS_MAX} nights");
    }
    let mut columns = vec![(None, inventory.house())];
    let products = inventory.products().iter();
    columns.extend(products.map(|product| (Some(product.code.as_str()), &product.calendar)));
    columns[1..].sort_unstable_by_key(|(code, _)| *code);

    let mut out = output::stdout();
    if args.json {
        for night in from.nights_to(to.plus(1)) {
            for (product, calendar) in &columns {
                let line = json(&property.code, night, *product, calendar);
                output::json_line(&mut out, &line)?;
            }
        }
    } else {
        let names = columns.iter().map(|(code, _)| code.unwrap_or("house"));
        let header: Vec<_> = ["night"].into_iter().chain(names).collect();
        let mut table = output::table(&header, 1);
        for night in from.nights_to(to.plus(1)) {
            let cells = columns.iter().map(|(_, calendar)| text(calendar, night, args.show));
            table.add_row([weekday(night)].into_iter().chain(cells));
        }
        writeln!(out, "{} ({id})", property.code)?;
        writeln!(out, "{table}")?;
        writeln!(
            out,
            "{}",
            match args.show {
                Show::Both =>
                    "sold / limit; the limit is physical - out of order + overbooking allowance; * is above it",
                Show::Sold => "units sold",
                Show::Left =>
                    "units left to sell; less than none where a fact went above the limit",
                Show::DayUse =>
                    "day uses / units free over the day; these are physical - out of order - the smaller of the nights before and after; * is above it",
            }
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn restore_all(site: &Site, config: &Config) -> Result<Vec<Task>> {
    let mut reader = site.reader()?;
    let reader = &mut *reader;
    let topology = wiring::topology()?;
    let mut wiring = Wiring::to_read(topology.clone(), wiring::resolve(&topology)?);
    let snapshots = site.snapshots(config)?;
    let snapshots = snapshots.as_deref();
    let mut tasks = Vec::new();
    for partition in 0..reader.identity().partitions {
        if reader.end(Topic::Events, partition)? == 0 {
            continue;
        }
        let task_config = worker_config(config).task(reader.identity(), partition);
        let mut task = restore(reader, &mut wiring, &task_config, snapshots)?.task;
        if let Some(committed) = reader.committed(partition)? {
            task.resume(committed);
        }
        tasks.push(task);
    }
    Ok(tasks)
}

fn find<'t>(tasks: &'t [Task], named: &str) -> Result<(PropertyId, &'t Property, &'t Task)> {
    let mut all = Vec::new();
    for task in tasks {
        let Some(properties) = task.stores().find::<Property>() else { continue };
        all.extend(properties.sorted().into_iter().map(|(id, property)| (*id, property, task)));
    }
    let known = all
        .iter()
        .map(|(id, property, _)| log::Property { id: *id, code: property.code.to_string() })
        .collect::<Vec<_>>();
    let found = log::property(&known, named)?.id;
    let Some(found) = all.into_iter().find(|(id, ..)| *id == found) else {
        bail!("there is no property \"{named}\"")
    };
    Ok(found)
}

fn json<'a>(
    property: &'a str,
    night: Night,
    product: Option<&'a str>,
    calendar: &Calendar,
) -> Line<'a> {
    let cell = calendar.cell(night);
    Line {
        property,
        night,
        product,
        sold: cell.sold,
        held: cell.held,
        physical: cell.physical,
        out_of_order: cell.out_of_order,
        allowance: cell.allowance,
        limit: cell.limit(),
        available: cell.available(),
        day_use: cell.day_use,
        day_left: calendar.day_left(night),
    }
}

fn text(calendar: &Calendar, night: Night, show: Show) -> String {
    let cell = calendar.cell(night);
    let is_above = match show {
        Show::Both | Show::Sold | Show::Left => cell.oversold() > 0,
        Show::DayUse => calendar.day_left(night) < 0,
    };
    let above = if is_above { "*" } else { "" };
    match show {
        Show::Both if cell.sold == 0 && cell.limit() == 0 => "-".to_owned(),
        Show::Both => format!("{}/{}{above}", cell.sold, cell.limit()),
        Show::Sold => cell.sold.to_string(),
        Show::Left => cell.available().to_string(),
        Show::DayUse => {
            let left = calendar.day_left(night);
            format!("{}/{}{above}", cell.day_use, left.saturating_add(cell.day_use))
        }
    }
}

/// `Mon 2016-08-01`.
fn weekday(night: Night) -> String {
    let name = match night.0.rem_euclid(7) {
        0 => "Thu",
        1 => "Fri",
        2 => "Sat",
        3 => "Sun",
        4 => "Mon",
        5 => "Tue",
        _ => "Wed",
    };
    format!("{name} {night}")
}
