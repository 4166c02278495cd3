//! `bellhop kpi`: a named figure.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use bellhop_analytics::kpi::{ALL, AsOf, Dimension, Query};
use bellhop_analytics::session::{Period, Session};
use bellhop_schemas::night::Night;

use crate::answer::{self, Rows, Shape};
use crate::config::Config;
use crate::site::SiteArgs;
use crate::{lake, output};

/// Periods that are told one by one.
const PERIODS_SHOWN: usize = 6;

/// Answers a KPI, split and as of the past if wanted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop kpi --list\n  bellhop kpi occupancy --by property,month --data ./data\n  bellhop kpi room_nights --by property --from 2016-08-01 --to 2016-08-31 --as-of 2016-07-01 --data ./data\n  bellhop kpi adr --property \"City Hotel\" --by segment --csv --data ./data\n\nMoney is in major units of its currency, like 106.50; in tables shares are in percent, in CSV, JSON\nand Parquet they are of one."
)]
pub(crate) struct Args {
    /// Its name; see --list
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    #[command(flatten)]
    site: SiteArgs,
    /// Dimensions to split by: property, day, month, product, segment, channel, country
    #[arg(long, value_delimiter = ',', value_name = "DIMENSION,..")]
    by: Vec<Dimension>,
    /// Only this property, by its code or id; repeatable [default: all of them]
    #[arg(long, value_name = "PROPERTY")]
    property: Vec<String>,
    /// As it was known at the close of a business day, or at an instant like 2016-08-31T14:00:00Z
    #[arg(long, value_name = "DAY")]
    as_of: Option<AsOf>,
    /// First day [default: the first there is; of occupancy and revpar the first night on the books]
    #[arg(long, value_name = "DAY")]
    from: Option<Night>,
    /// Last day [default: the last there is; of occupancy and revpar the last night on the books]
    #[arg(long, value_name = "DAY")]
    to: Option<Night>,
    /// Count rooms out of order as not there to be sold
    #[arg(long)]
    less_out_of_order: bool,
    #[command(flatten)]
    shape: Shape,
    /// Print the SQL for this lake and do not run it; money is in minor units there
    #[arg(long)]
    explain: bool,
    /// List the KPIs
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let mut out = output::stdout();
    let Some(name) = args.name.as_ref().filter(|_| !args.list) else {
        let mut table = output::table(&["kpi", "what it says"], 2);
        table.add_rows(ALL.map(|kpi| [kpi.name, kpi.summary]));
        writeln!(out, "{table}")?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    };
    let query = Query::of(name)?;
    let session = lake::session(&args.site.site(config)?)?;
    let named = args.property.iter().map(|named| session.property(named));
    let named: Vec<String> = named.collect::<Result<_, _>>()?;
    let query = Query {
        by: args.by.clone(),
        as_of: args.as_of,
        properties: (!named.is_empty()).then_some(named),
        from: args.from,
        to: args.to,
        less_out_of_order: args.less_out_of_order,
        ..query
    };
    if args.explain {
        writeln!(out, "{}", session.explain(&query)?)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer = session.kpi(&query)?;
    if args.shape.is_table() {
        answer::table(answer.schema(), query.kpi.texts(&answer)?, 0, &mut out)?;
    } else {
        let answer = query.kpi.in_major_units(&answer)?;
        let schema = Arc::clone(answer.schema());
        args.shape.write(Rows { schema, rows: answer.into_rows() }, &mut out)?;
    }
    for note in notes(&session, &query)? {
        match args.shape.is_table() {
            true => writeln!(out, "{note}")?,
            false => output::note(&note),
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What a reader of the answer has to know.
fn notes(session: &Session, query: &Query) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if !query.kpi.divides_by_supply() {
        return Ok(notes);
    }
    if query.from.is_none() || query.to.is_none() {
        notes.extend(over(&session.periods(query)?));
    }
    if query.less_out_of_order && !session.has_out_of_order()? {
        notes.push(
            "No room was ever out of order here: --less-out-of-order changes nothing.".to_owned(),
        );
    }
    Ok(notes)
}

/// The nights that were divided by.
fn over(periods: &[Period]) -> Option<String> {
    let first = periods.iter().map(|period| period.first).min()?;
    let last = periods.iter().map(|period| period.last).max()?;
    let is_one = periods.iter().all(|period| (period.first, period.last) == (first, last));
    Some(if is_one {
        format!("Over the nights on the books, {first} to {last}; --from and --to name others.")
    } else if periods.len() > PERIODS_SHOWN {
        format!(
            "Over the nights on the books of each property, from {first} to {last} in all; --from and --to name others."
        )
    } else {
        let each = periods
            .iter()
            .map(|period| format!("{} {} to {}", period.property, period.first, period.last))
            .collect::<Vec<_>>();
        format!("Over the nights on the books: {}; --from and --to name others.", each.join(", "))
    })
}
