//! The topology of everything linked into this program, checked, and its schema ids.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bellhop_core::topology::{Topology, Wire};
use bellhop_runtime::log::Producer;
use bellhop_runtime::wiring::{OwnSchemas, Resolve};
use bellhop_schemas::contract;
use bellhop_schemas::resolve::{self, Resolution};
use uuid::Uuid;

use crate::command::AnyCommand;

/// Discovers the wiring and checks that nothing is missing.
///
/// # Errors
/// When two parts contradict each other, or a command has no handler in this program.
pub(crate) fn topology() -> Result<Arc<Topology>> {
    let topology = Topology::discover().context("wire the handlers")?;
    for wanted in AnyCommand::TYPES {
        let mut handlers = topology.requests().iter().map(|request| request.handler);
        if !handlers.any(|handler| handler.message.type_name == *wanted) {
            bail!(
                "{wanted} has no handler in this program: the crate bellhop-handlers is not linked"
            );
        }
    }
    Ok(Arc::new(topology))
}

/// The schema ids under which a log writes.
///
/// # Errors
/// When the log cannot give them.
pub(crate) fn wire(topology: &Topology, log: &mut dyn Producer) -> Result<Arc<Wire>> {
    let mut failed = None;
    let schemas = schemas(topology)?;
    let wire = Wire::new(topology, |name| {
        let text = schemas.get(name).map_or("", String::as_str);
        log.schema_id(name, text).unwrap_or_else(|error| {
            failed = Some(error);
            0
        })
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(Arc::new(wire)),
    }
}

/// The schemas of all that this program reads and writes, as a registry is told them: with the
/// defaults of the contract.
///
/// # Errors
/// Never: a test rules out a contract that cannot be read.
pub(crate) fn schemas(topology: &Topology) -> Result<BTreeMap<String, String>> {
    let contract = contract::schemas()?;
    let own = topology
        .schemas()
        .into_iter()
        .map(|(name, derived)| (name.to_owned(), contract.get(name).cloned().unwrap_or(derived)));
    Ok(own.collect())
}

/// A random id; the operating system seeds the hashers of the standard library.
pub(crate) fn random_id() -> Uuid {
    let random = || u128::from(RandomState::new().hash_one(0_u8));
    uuid::Builder::from_random_bytes(((random() << 64) | random()).to_be_bytes()).into_uuid()
}

/// How the schemas of other writers are read: older and newer ones by the rules of Avro, but no
/// event with a field that this program does not know.
///
/// # Errors
/// As [`schemas`].
pub(crate) fn resolve(topology: &Topology) -> Result<Arc<dyn Resolve>> {
    Ok(Arc::new(OwnSchemas::new(schemas(topology)?, |writer, own, unknown| {
        resolve::resolve(writer, own, unknown)
            .map(Resolution::into_transcode)
            .map_err(|error| error.to_string())
    })))
}
