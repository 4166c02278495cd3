//! `bellhop schemas`: the contract in the schema registry of a cluster.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bellhop_runtime::registry::{Confluent, Fit};
use clap::Subcommand;

use crate::config::Config;
use crate::site::ClusterArgs;
use crate::{output, wiring, words};

/// Registers the schemas of this program's messages, or checks that they may be.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop schemas check --broker localhost:9092 --registry http://localhost:8081\n  bellhop schemas register"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Registers those that are not there, each under its record's name
    Register {
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Says what registering would do; exit code 1 when a schema may not follow those before it
    Check {
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    let (Action::Register { cluster } | Action::Check { cluster }) = &args.action;
    let registry = Confluent::new(&cluster.connection(config)?.registry)?;
    let schemas = wiring::schemas(&*wiring::topology()?)?;
    let mut out = output::stdout();
    let (mut new, mut refused) = (Vec::new(), false);
    for (name, text) in &schemas {
        match registry.fits(name, text)? {
            Fit::Registered => {}
            fit @ (Fit::New | Fit::Compatible) => new.push((name, text, fit)),
            Fit::Refused(reasons) => {
                refused = true;
                writeln!(out, "REFUSED {name}: it may not follow what is registered")?;
                for reason in reasons {
                    writeln!(out, "  {reason}")?;
                }
            }
        }
    }
    let register = matches!(args.action, Action::Register { .. });
    for (name, text, fit) in new.iter().filter(|_| !refused) {
        let what = if *fit == Fit::New { "new" } else { "a new version, compatible" };
        if register {
            let id = registry.register(name, text)?;
            writeln!(out, "registered {name} as {id} ({what})")?;
        } else {
            writeln!(out, "{name} is {what}")?;
        }
    }
    let all = words::count(schemas.len() as u64, "schema");
    match (refused, new.is_empty()) {
        (true, _) => {
            writeln!(out, "nothing is registered; give a changed field a default, or keep it")?
        }
        (false, true) => writeln!(out, "{all}, all registered")?,
        (false, false) if register => writeln!(out, "{all}, all registered now")?,
        (false, false) => writeln!(out, "{all}; `bellhop schemas register` registers what is new")?,
    }
    out.flush()?;
    Ok(if refused { ExitCode::from(crate::FAILURE) } else { ExitCode::SUCCESS })
}
