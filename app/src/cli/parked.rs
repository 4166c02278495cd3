//! `bellhop parked`: commands that could not be decided, and what is to become of them.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::config::Config;
use crate::site::SiteArgs;

mod edit;
mod resolve;
mod select;
mod show;

use self::select::Select;

/// Lists and shows commands that could not be decided; releases them as new commands, or skips them.
///
/// Who released or skipped what, and why, is an event: `bellhop events --type command.resolved`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop parked list --data ./data\n  bellhop parked show 3@1042 --data ./data\n  bellhop parked release 3@1042 --why \"schema registered\" --data ./data\n  bellhop parked edit 3@1042 --data ./data > mended.json\n  bellhop parked release 3@1042 --with mended.json --why \"wrong product code\" --data ./data\n  bellhop parked skip --kind undecodable --partition 3 --why \"a test of the channel manager's\""
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists those that are open
    List(ListArgs),
    /// Shows one with its bytes
    Show(ShowArgs),
    /// Prints one as the line of JSON that would send it, to be mended and released
    Edit(EditArgs),
    /// Sends them again as commands at new positions; what was released or skipped before stays so
    Release(ReleaseArgs),
    /// Leaves them undecided for good
    Skip(SkipArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    select: Select,
    /// List those that were released or skipped as well
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    site: SiteArgs,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Partition and offset in the commands topic, as the list prints them: 3@1042
    position: String,
    #[command(flatten)]
    site: SiteArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct EditArgs {
    /// Partition and offset in the commands topic, as the list prints them: 3@1042
    position: String,
    #[command(flatten)]
    site: SiteArgs,
}

/// Who decides about parked records, and why.
#[derive(Debug, clap::Args)]
struct Reason {
    /// Why; it is kept in the events for ever: name a ticket, no guest
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who decides this; it is kept in the events for ever: a role or an account [default: $USER]
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Say which it would be, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct ReleaseArgs {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    reason: Reason,
    /// Send this line of JSON in its stead, as `parked edit` prints it; for one position
    #[arg(long, value_name = "FILE")]
    with: Option<std::path::PathBuf>,
    /// Send it without its CloudEvents headers (ce_*, content-type)
    #[arg(long)]
    without_cloudevents: bool,
    #[command(flatten)]
    site: SiteArgs,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct SkipArgs {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    site: SiteArgs,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    match &args.action {
        Action::List(args) => show::list(args, config),
        Action::Show(args) => show::one(args, config),
        Action::Edit(args) => edit::run(args, config),
        Action::Release(args) => resolve::release(args, config),
        Action::Skip(args) => resolve::skip(args, config),
    }
}
