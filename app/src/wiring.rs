//! The topology of everything linked into this program, checked, and its schema ids.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bellhop_core::topology::{Topology, Wire};
use bellhop_runtime::log::Producer;
use bellhop_runtime::wiring::{OwnSchemas, Resolve};
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
    let schemas = topology.schemas();
    let wire = Wire::new(topology, |name| {
        let text = schemas.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
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

/// A random id; the operating system seeds the hashers of the standard library.
pub(crate) fn random_id() -> Uuid {
    let random = || u128::from(RandomState::new().hash_one(0_u8));
    uuid::Builder::from_random_bytes(((random() << 64) | random()).to_be_bytes()).into_uuid()
}

/// How the schemas of other writers are read.
pub(crate) fn resolve(topology: &Topology) -> Arc<dyn Resolve> {
    Arc::new(OwnSchemas::of(topology))
}
