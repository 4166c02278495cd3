//! `bellhop kpi`: a named figure.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_analytics::kpi::{ALL, AsOf, Dimension, Query};
use bellhop_schemas::night::Night;

use crate::config::Config;
use crate::site::SiteArgs;
use crate::{lake, output};

/// Answers a KPI, split and as of the past if wanted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop kpi --list\n  bellhop kpi occupancy --by property,month --data ./data\n  bellhop kpi room_nights --by property --from 2016-08-01 --to 2016-08-31 --as-of 2016-07-01 --data ./data\n  bellhop kpi adr --by property,segment --json --data ./data      (money in minor units)"
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
    /// As it was known at the close of a business day, or at an instant like 2016-08-31T14:00:00Z
    #[arg(long, value_name = "DAY")]
    as_of: Option<AsOf>,
    /// First day [default: the first there is]
    #[arg(long, value_name = "DAY")]
    from: Option<Night>,
    /// Last day [default: the last there is]
    #[arg(long, value_name = "DAY")]
    to: Option<Night>,
    /// Count rooms out of order as not there to be sold
    #[arg(long)]
    less_out_of_order: bool,
    /// Print a JSON array of objects; money is in minor units
    #[arg(long)]
    json: bool,
    /// Print the SQL and do not run it
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
    let query = Query {
        by: args.by.clone(),
        as_of: args.as_of,
        from: args.from,
        to: args.to,
        less_out_of_order: args.less_out_of_order,
        ..Query::of(name)?
    };
    let session = lake::session(&args.site.site(config)?)?;
    if args.explain {
        writeln!(out, "{}", session.explain(&query)?)?;
    } else {
        let answer = session.kpi(&query)?;
        if args.json {
            writeln!(out, "{}", answer.json()?)?;
        } else {
            super::sql::print(&answer, query.kpi.texts(&answer)?, &mut out)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
