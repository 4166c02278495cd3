//! `bellhop demo`: two years of two real hotels, from the file to the figures.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bellhop_analytics::session::Session;
use bellhop_clickhouse::{Server, migrate};
use bellhop_core::message::Message as _;
use bellhop_runtime::log::Timestamps;
use bellhop_runtime::log::redpanda::topics::{self, Wanted};
use bellhop_schemas::event::{
    ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut, ReservationCreated,
    ReservationNoShow, ReservationRejected,
};

use super::replay::{Deciders, Options, Replayed, print_import, replay};
use super::sink;
use crate::config::Config;
use crate::landing::Landing;
use crate::replay::import::Import;
use crate::report::{Hotel, Report, gather};
use crate::site::{ClusterArgs, OpenLog, Site, quoted};
use crate::workers::Stop;
use crate::{embedded, lake, output, words};

/// The booking data; see `data/README.md`.
const DATA: &[u8] = include_bytes!("../../data/hotel_bookings.csv.gz");

const SOURCE: &str = "119,390 bookings of two hotels in Portugal, arrivals from July 2015 to August 2017: Antonio, Almeida, Nunes, <a href=\"https://doi.org/10.1016/j.dib.2018.11.126\">Hotel booking demand datasets</a>, Data in Brief 22 (2019), CC BY 4.0. Each booking, cancellation, arrival and departure was decided again as a command of its own, in order, against the rooms there were.";

/// Replays two years of two real hotels, and shows what came of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop demo\n  bellhop demo --data ./demo\n  bellhop demo --capacity \"City Hotel=226\"\n  bellhop demo --broker localhost:9092 --registry http://localhost:8081 --prefix bellhop-demo"
)]
pub(crate) struct Args {
    /// Folder for the log, the lake and the report [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Rooms of a house as HOTEL=ROOMS, without allowance: bookings beyond are refused; repeatable
    /// [default: what the bookings took, and an allowance so that nothing is refused]
    #[arg(long, value_name = "HOTEL=ROOMS")]
    capacity: Vec<String>,
    /// Lands every event in this ClickHouse as well; its tables are made if they are missing
    #[arg(long, value_name = "URL")]
    clickhouse: Option<String>,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let started = Instant::now();
    let folder = match &args.data {
        Some(folder) => folder.clone(),
        None => {
            let made = tempfile::Builder::new().prefix("bellhop-demo-").tempdir();
            made.context("make a temporary folder; give one by --data")?.keep()
        }
    };
    let site = site(args, &folder, config)?;
    let import = Import::read(DATA)?;
    let options = Options::with_capacity(args.capacity.clone());
    let mut replayed = replay(import, &site, Deciders::Here, &options, config)?;
    let mut out = output::stdout();
    let decided = Decided::of(&mut replayed)?;
    print_import(replayed.commands.import(), &mut out)?;
    out.flush()?;
    if replayed.stopped {
        writeln!(out, "Stopped; `bellhop demo {}` goes on.", place(args, &folder))?;
        out.flush()?;
        return Ok(ExitCode::from(crate::FAILURE));
    }
    let Replayed { log, commands, .. } = replayed;
    drop(commands);
    let built = Instant::now();
    lake::catch_up(&folder, &mut *log.reader())?;
    let landed = land(args, &log, config)?;
    drop(log);
    let session = Session::open(&folder.join(embedded::LAKE))?;
    let hotels = gather::hotels(&session)?;
    let lake_took = built.elapsed();

    writeln!(out)?;
    decided.print(&mut out)?;
    writeln!(out)?;
    print_months(&hotels, &mut out)?;
    let story = a_story(&session)?;
    let figures = decided.figures();
    let report = Report { hotels, figures, source: SOURCE.to_owned() };
    let page = folder.join("report.html");
    std::fs::write(&page, report.to_html()?)
        .with_context(|| format!("write {}: check that the disk has room", page.display()))?;
    writeln!(
        out,
        "\nAll of it took {:.1} s ({:.1} s for lake and figures). The pictures are in\n  {}",
        started.elapsed().as_secs_f64(),
        lake_took.as_secs_f64(),
        page.display()
    )?;
    if let Some(landed) = landed {
        writeln!(out, "\n{landed}")?;
    }
    let refused = decided.refused;
    print_next(&place(args, &folder), &elsewhere(args), story.as_deref(), refused, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What the engine decided.
struct Decided {
    commands: u64,
    seconds: f64,
    speed: f64,
    accepted: u64,
    refused: u64,
    cancelled: u64,
    checked_in: u64,
    checked_out: u64,
    no_show: u64,
}

impl Decided {
    fn of(replayed: &mut Replayed) -> Result<Self> {
        let tally = replayed.tally()?;
        let count = |name: &str| tally.get(name).copied().unwrap_or(0);
        Ok(Self {
            commands: replayed.appended as u64,
            seconds: replayed.took.as_secs_f64(),
            speed: replayed.speed(),
            accepted: count(ReservationCreated::NAME),
            refused: count(ReservationRejected::NAME),
            cancelled: count(ReservationCancelled::NAME),
            checked_in: count(ReservationCheckedIn::NAME),
            checked_out: count(ReservationCheckedOut::NAME),
            no_show: count(ReservationNoShow::NAME),
        })
    }

    fn figures(&self) -> Vec<(String, String)> {
        let figures = [
            ("Commands", self.commands),
            ("Bookings accepted", self.accepted),
            ("Refused", self.refused),
            ("Cancelled", self.cancelled),
            ("Checked in", self.checked_in),
            ("Checked out", self.checked_out),
            ("No-shows", self.no_show),
            ("Commands a second", self.speed as u64),
        ];
        let figures = figures.into_iter().filter(|(name, value)| *value > 0 || *name == "Refused");
        figures.map(|(name, value)| (name.to_owned(), output::thousands(value))).collect()
    }

    fn print(&self, out: &mut impl Write) -> Result<()> {
        // What a guest can go through, with how many did.
        let number = |count: u64| output::thousands(count);
        writeln!(out, "Every command was decided once, in order and durably:\n")?;
        writeln!(
            out,
            "  booked {} ─┬─▶ cancelled {}\n  {:>width$} ├─▶ no-show {}\n  {:>width$} └─▶ checked in {} ──▶ checked out {}\n  refused {}\n",
            number(self.accepted),
            number(self.cancelled),
            "",
            number(self.no_show),
            "",
            number(self.checked_in),
            number(self.checked_out),
            number(self.refused),
            width = 8 + number(self.accepted).len(),
        )?;
        if self.speed > 0.0 {
            writeln!(
                out,
                "  {} in {:.1} s: {} a second",
                words::count(self.commands, "command"),
                self.seconds,
                output::thousands(self.speed as u64)
            )?;
        } else {
            let commands = words::count(self.commands, "command");
            writeln!(out, "  {commands}, all decided by an earlier run")?;
        }
        Ok(())
    }
}

fn print_months(hotels: &[Hotel], out: &mut impl Write) -> Result<()> {
    let mut header = vec!["month".to_owned()];
    for hotel in hotels {
        header.push(format!("{}\noccupancy", hotel.name));
        header.push(format!("\nADR {}", hotel.currency));
        header.push(format!("\nRevPAR {}", hotel.currency));
    }
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = output::table(&names, 1);
    let mut months: Vec<&str> =
        hotels.iter().flat_map(|hotel| &hotel.months).map(|month| month.name.as_str()).collect();
    months.sort_unstable();
    months.dedup();
    for name in months {
        let mut row = vec![name.to_owned()];
        for hotel in hotels {
            match hotel.months.iter().find(|month| month.name == name) {
                Some(month) => row.extend(figures(month.occupancy, month.adr, month.revpar)),
                None => row.extend([String::new(), String::new(), String::new()]),
            }
        }
        table.add_row(row);
    }
    let mut all = vec!["all".to_owned()];
    for hotel in hotels {
        all.extend(figures(hotel.occupancy, hotel.adr, hotel.revpar));
    }
    table.add_row(all);
    writeln!(out, "{table}")?;
    Ok(())
}

fn figures(occupancy: f64, adr: f64, revpar: f64) -> [String; 3] {
    [format!("{:.1} %", occupancy * 100.0), format!("{adr:.2}"), format!("{revpar:.2}")]
}

/// A reservation that got another room than it had booked.
fn a_story(session: &Session) -> Result<Option<String>> {
    let answer = session.sql(
        "SELECT reservation_id FROM room_nights WHERE reason = 'modify' \
         ORDER BY known_at, reservation_id LIMIT 1",
    )?;
    Ok(answer.texts()?.into_iter().flatten().next())
}

fn print_next(
    place: &str,
    elsewhere: &str,
    story: Option<&str>,
    refused: u64,
    out: &mut impl Write,
) -> Result<()> {
    let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("bellhop"));
    let binary = quoted(&binary.display().to_string());
    let (bold, plain) =
        if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    writeln!(out, "\nTry next:")?;
    let mut say = |what: &str, command: String| {
        writeln!(out, "  {what}\n    {bold}{binary} {command} {place}{plain}")
    };
    say(
        "what was on the books for August 2016 two months before",
        "kpi room_nights --by property,segment --from 2016-08-01 --to 2016-08-31 --as-of 2016-06-01"
            .to_owned(),
    )?;
    say(
        "the calendar of a fortnight",
        "state \"City Hotel\" --from 2017-05-15 --to 2017-05-28".to_owned(),
    )?;
    if let Some(id) = story {
        say("the story of a guest who got another room", format!("why {id}"))?;
    }
    if refused > 0 {
        let question = "SELECT rule, count(*) AS bookings FROM denials GROUP BY rule";
        say("which rules refused bookings", format!("sql \"{question}\""))?;
    } else {
        writeln!(
            out,
            "  the same with the rooms that the hotel has, so that bookings are refused\n    {bold}{binary} demo --capacity \"City Hotel=226\"{elsewhere}{plain}"
        )?;
    }
    Ok(())
}

/// Where the demo is: in its folder, or on topics of a cluster that are made if they are missing.
fn site(args: &Args, folder: &Path, config: &Config) -> Result<Site> {
    if !args.cluster.is_named(config) {
        return Ok(Site::Folder(folder.to_owned()));
    }
    let mut connection = args.cluster.connection(config)?;
    connection.timestamps = Some(Timestamps::Create);
    // What it replays is years old: nothing may be kept for days only.
    let wanted = Wanted {
        partitions: config.partitions,
        timestamps: Timestamps::Create,
        commands_retention: None,
        ..Wanted::default()
    };
    topics::create(&connection, &wanted)?;
    Ok(Site::Cluster(Box::new(connection), Some(folder.to_owned())))
}

/// Lands all events in ClickHouse, if one is named; gives what there is to say of it.
fn land(args: &Args, log: &OpenLog, config: &Config) -> Result<Option<String>> {
    let Some(url) = &args.clickhouse else { return Ok(None) };
    let target = config.clickhouse.target(Some(url));
    migrate::run(&Server::new(&target)?)?;
    let started = Instant::now();
    let (stop, bar) = (Stop::default(), output::progress("landing", 0));
    let landed = sink::land(log, &target, true, &stop, &Landing::new(), &bar)?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Some(format!(
        "{} landed in ClickHouse as {} in {seconds:.1} s; `bellhop audit clickhouse` shows that nothing is missing or twice.{}",
        words::count(landed.events, "event"),
        words::count(landed.rows, "row"),
        dashboard(&Server::new(&target)?)?,
    )))
}

/// Where the dashboard shows the nights that have landed: it opens around today, and they may be
/// years old.
fn dashboard(server: &Server) -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Nights {
        first_ms: i64,
        last_ms: i64,
    }
    let sql = "SELECT toInt64(toUnixTimestamp64Milli(toDateTime64(min(stay_night), 3, 'UTC'))) AS first_ms, toInt64(toUnixTimestamp64Milli(toDateTime64(max(stay_night), 3, 'UTC'))) AS last_ms FROM daily_sales HAVING count() > 0";
    let nights: Vec<Nights> = server.ask("see which nights have landed", sql, &[])?;
    Ok(nights.first().map_or_else(String::new, |Nights { first_ms, last_ms }| {
        format!(" In the Grafana of docker/compose.yaml: http://localhost:3000/d/bellhop?from={first_ms}&to={last_ms}")
    }))
}

/// The options that lead there again.
fn place(args: &Args, folder: &Path) -> String {
    let mut place = format!("--data {}", quoted(&folder.display().to_string()));
    for (name, value) in args.cluster.options() {
        place.push_str(&format!(" {name} {}", quoted(value)));
    }
    place
}

/// The options of another demo on the same cluster: its topics are others.
fn elsewhere(args: &Args) -> String {
    let (mut options, mut prefix) = (String::new(), "bellhop");
    for (name, value) in args.cluster.options() {
        match name {
            "--prefix" => prefix = value,
            _ => options.push_str(&format!(" {name} {}", quoted(value))),
        }
    }
    if !options.is_empty() {
        options.push_str(&format!(" --prefix {}", quoted(&format!("{prefix}-226"))));
    }
    options
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn another_demo_is_on_the_same_cluster_and_other_topics() {
        let options = "demo --broker b:9092 --registry http://r:8081 --prefix north".split(' ');
        let on_cluster = Line::parse_from(options).args;
        let wanted = " --broker b:9092 --registry http://r:8081 --prefix north-226";
        assert_eq!(elsewhere(&on_cluster), wanted);
        assert_eq!(elsewhere(&Line::parse_from(["demo", "--data", "d"]).args), "");
    }
}
