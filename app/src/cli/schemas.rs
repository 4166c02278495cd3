//! `bellhop schemas`: the contract in the schema registry of a cluster, and the schemas of its log.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use bellhop_runtime::log::{Error, ErrorKind, Topic, redpanda};
use bellhop_runtime::registry::{Confluent, Fit};
use bellhop_runtime::schemas_on_disk::{self, File, Schemas};
use clap::Subcommand;

use crate::config::Config;
use crate::log::schema_ids;
use crate::site::{ClusterArgs, Site, SiteArgs};
use crate::{output, wiring, words};

/// Registers the schemas of this program's messages, or checks that they may be; exports and
/// restores those that a log was written with.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop schemas check --broker localhost:9092 --registry http://localhost:8081\n  bellhop schemas register\n  bellhop schemas export > schemas.json\n  bellhop schemas restore schemas.json"
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
    /// Says what registering would do; exit code 1 when a schema may not follow those before it, or
    /// the registry is not the one that the log was written with
    Check {
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Prints every schema that the log was written with, and its id: reads all records; of a registry
    /// that was emptied, what this machine has kept
    Export {
        #[command(flatten)]
        site: SiteArgs,
    },
    /// Gives a registry that was lost the exported schemas again, under their ids
    Restore {
        /// What `export` printed, or a file that a machine has kept: schemas/schemas-<log id>.json
        file: PathBuf,
        /// Keep them on this machine instead, for a registry that takes no ids
        #[arg(long)]
        here: bool,
        #[command(flatten)]
        site: SiteArgs,
    },
}

pub(crate) fn run(args: &Args, config: &Config) -> Result<ExitCode> {
    match &args.action {
        Action::Register { cluster } => register(cluster, true, config),
        Action::Check { cluster } => register(cluster, false, config),
        Action::Export { site } => export(&site.site(config)?),
        Action::Restore { file, here, site } => restore(&site.site(config)?, file, *here),
    }
}

fn register(cluster: &ClusterArgs, register: bool, config: &Config) -> Result<ExitCode> {
    let connection = cluster.connection(config)?;
    // New schemas in a registry that is not the log's would take the ids of others.
    bellhop_runtime::log::redpanda::check_registry(&connection)?;
    let registry = Confluent::new(&connection.registry)?;
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

/// Of the registry; of what this machine has kept where the registry has lost it.
fn export(site: &Site) -> Result<ExitCode> {
    let error = match export_asking(site) {
        Ok(code) => return Ok(code),
        Err(error) => error,
    };
    let is_other = |error: &Error| error.kind == ErrorKind::FixInput;
    let Site::Cluster(connection, folder) = site else { return Err(error) };
    if !error.downcast_ref().is_some_and(is_other) {
        return Err(error);
    }
    let connection = redpanda::Config { kept_first: true, ..(**connection).clone() };
    let kept = Site::Cluster(Box::new(connection), folder.clone());
    let code = export_asking(&kept).map_err(|_| error)?;
    tracing::warn!(
        "the registry is not the log's or was emptied: what this machine has kept of the log is exported"
    );
    Ok(code)
}

fn export_asking(site: &Site) -> Result<ExitCode> {
    let mut reader = site.reader()?;
    let mut schemas = Schemas::new();
    let mut unknown = Vec::new();
    let mut ids = schema_ids(&mut *reader, &Topic::ALL)?;
    if let Site::Cluster(connection, _) = site
        && !connection.kept_first
    {
        // What is registered and not met yet: the next record may need it.
        let registry = Confluent::new(&connection.registry)?;
        for (name, text) in wiring::schemas(&*wiring::topology()?)? {
            ids.extend(registry.find(&name, &text)?);
        }
    }
    for id in ids {
        match reader.schema_of(id)?.schema() {
            Some(schema) => drop(schemas.insert(id, schema)),
            // Of a record that was parked for it, perhaps.
            None => unknown.push(id.to_string()),
        }
    }
    let mut out = output::stdout();
    let file = File { log_id: reader.identity().log_id, schemas, restored: false };
    write!(out, "{}", schemas_on_disk::to_json(&file))?;
    out.flush()?;
    if !unknown.is_empty() {
        tracing::warn!("the registry does not know {} of the ids in the log", unknown.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn restore(site: &Site, file: &Path, here: bool) -> Result<ExitCode> {
    let Site::Cluster(connection, _) = site else {
        bail!("a log in a folder has its schemas in itself: there is nothing to restore")
    };
    let text = std::fs::read_to_string(file).with_context(|| {
        format!("read {}: give what `bellhop schemas export` printed", file.display())
    })?;
    let exported = schemas_on_disk::from_json(&text).with_context(|| {
        format!("{} is not what `bellhop schemas export` prints", file.display())
    })?;
    let mut out = output::stdout();
    let all = words::count(exported.schemas.len() as u64, "schema");
    if here {
        if connection.schemas.is_empty() {
            bail!("there is no folder to keep them in: add --data DIR");
        }
        let file = File { restored: true, ..exported };
        for folder in &connection.schemas {
            let path = schemas_on_disk::path(folder, file.log_id);
            schemas_on_disk::write(&path, &file)
                .with_context(|| format!("write {}", path.display()))?;
            writeln!(out, "{all} of log {} kept in {}", file.log_id.0, path.display())?;
        }
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let registry = Confluent::new(&connection.registry)?;
    let mut restored = 0_u64;
    for (id, schema) in &exported.schemas {
        if registry.find(&schema.name, &schema.text)? == Some(*id) {
            continue;
        }
        registry.restore(*id, &schema.name, &schema.text)?;
        writeln!(out, "restored {} as {id}", schema.name)?;
        restored += 1;
    }
    writeln!(out, "{all}, {restored} restored, the others were there")?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
