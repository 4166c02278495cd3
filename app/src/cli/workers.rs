//! `bellhop workers`: who works on a cluster, and on what.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::config::Config;
use crate::site::{OpenLog, Site, SiteArgs};
use crate::{output, words};

/// Shows the workers of a cluster and the partitions that each of them owns.
///
/// A worker is a thread; its name is that of its process (`name` of the configuration) and a number.
/// Exit code 1 says that a partition has no worker.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop workers --broker localhost:9092 --registry http://localhost:8081\n  bellhop workers --json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    site: SiteArgs,
    /// Print JSON, one object a worker
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    worker: &'a str,
    host: &'a str,
    member_id: &'a str,
    partitions: &'a [u32],
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let site = args.site.site(config)?;
    let log = match &site {
        Site::Folder(folder) => bail!(
            "the log in {} has one process at a time: that which runs on it; name a cluster by --broker",
            folder.display()
        ),
        Site::Cluster(..) => site.open()?,
    };
    let OpenLog::Redpanda(log) = log else { bail!("the log is not on a cluster") };
    let members = log.members()?;
    let owned: BTreeSet<u32> =
        members.iter().flat_map(|it| it.partitions.iter().copied()).collect();
    let unowned: Vec<u32> =
        (0..log.identity().partitions).filter(|partition| !owned.contains(partition)).collect();
    let mut out = output::stdout();
    if args.json {
        for member in &members {
            let line = Line {
                worker: &member.name,
                host: &member.host,
                member_id: &member.member_id,
                partitions: &member.partitions,
            };
            output::json_line(&mut out, &line)?;
        }
    } else {
        let mut table = output::table(&["worker", "host", "partitions"], 3);
        for member in &members {
            table.add_row([member.name.clone(), member.host.clone(), listed(&member.partitions)]);
        }
        if !members.is_empty() {
            writeln!(out, "{table}")?;
        }
        writeln!(
            out,
            "{} of group {}",
            words::count(members.len() as u64, "worker"),
            log.config().group
        )?;
        if !unowned.is_empty() {
            writeln!(
                out,
                "NOBODY HAS partitions {}: start `bellhop run`, or wait until the group has settled",
                listed(&unowned)
            )?;
        }
    }
    out.flush()?;
    Ok(if unowned.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(crate::FAILURE) })
}

/// `0-3, 7`.
fn listed(partitions: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for partition in partitions {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *partition => *last = *partition,
            _ => runs.push((*partition, *partition)),
        }
    }
    let run = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn partitions_are_listed_in_runs() {
        for (partitions, text) in
            [(&[][..], ""), (&[4], "4"), (&[0, 1, 2, 3, 7, 9, 10], "0-3, 7, 9-10")]
        {
            assert_eq!(listed(partitions), text);
        }
    }
}
