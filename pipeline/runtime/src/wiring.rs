//! The schema ids of one log, as the program meets them.
//!
//! A record names its writer's schema by an id. Ids that the program writes itself are known from
//! the start; another is asked of the log once, and [`Resolve`] says how to read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellhop_core::topology::{Topology, Transcode, UnknownFields, Wire};

use crate::log::{Error, Log, Lookup, Reader};

/// How to read what was written with a schema.
pub enum Resolved {
    /// The schema is the program's own.
    Same,
    /// Its data are to be brought into the program's own.
    Transcode(Arc<dyn Transcode>),
    /// The program has no message of that name.
    Unknown,
    /// The program's message cannot be read from it, for this reason.
    Refused(String),
}

/// Knows how to read a writer's schema.
pub trait Resolve: Send + Sync {
    /// By full record name and schema text.
    fn resolve(&self, name: &str, writer: &str, unknown: UnknownFields) -> Resolved;

    /// The text under which the program's own schema is registered; `derived` says the same, with
    /// no word of defaults.
    fn own(&self, _name: &str, derived: String) -> String {
        derived
    }
}

impl<F: Fn(&str, &str, UnknownFields) -> Resolved + Send + Sync> Resolve for F {
    fn resolve(&self, name: &str, writer: &str, unknown: UnknownFields) -> Resolved {
        self(name, writer, unknown)
    }
}

/// Given (writer, reader) schemas: a transcoder, `None` if their bytes are the same, or why they do
/// not resolve.
pub type Translate = fn(&str, &str, UnknownFields) -> Result<Option<Arc<dyn Transcode>>, String>;

/// The program's own schemas, by name.
pub struct OwnSchemas {
    schemas: BTreeMap<String, String>,
    translate: Translate,
}

impl OwnSchemas {
    /// Those of a contract, and how older and newer ones are read.
    #[must_use]
    pub fn new(schemas: BTreeMap<String, String>, translate: Translate) -> Self {
        Self { schemas, translate }
    }

    /// Those of a topology, and no older or newer ones.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let schemas = topology.schemas().into_iter().map(|(name, text)| (name.to_owned(), text));
        Self::new(schemas.collect(), |_, _, _| Err("it differs from this program's own".to_owned()))
    }
}

impl Resolve for OwnSchemas {
    fn resolve(&self, name: &str, writer: &str, unknown: UnknownFields) -> Resolved {
        match self.schemas.get(name) {
            None => Resolved::Unknown,
            Some(own) if own == writer => Resolved::Same,
            Some(own) => match (self.translate)(writer, own, unknown) {
                Ok(None) => Resolved::Same,
                Ok(Some(transcode)) => Resolved::Transcode(transcode),
                Err(why) => Resolved::Refused(why),
            },
        }
    }

    fn own(&self, name: &str, derived: String) -> String {
        self.schemas.get(name).cloned().unwrap_or(derived)
    }
}

/// The wiring of one log.
pub struct Wiring {
    topology: Arc<Topology>,
    resolve: Arc<dyn Resolve>,
    wire: Arc<Wire>,
    /// Ids that cannot be read, and why.
    refused: BTreeMap<u32, String>,
}

impl Wiring {
    /// For a worker: asks the log for the ids that it writes.
    ///
    /// # Errors
    /// When the log cannot give them.
    pub fn of(
        log: &mut dyn Log,
        topology: Arc<Topology>,
        resolve: Arc<dyn Resolve>,
    ) -> Result<Self, Error> {
        let mut ids = BTreeMap::new();
        for (name, schema) in topology.schemas() {
            ids.insert(name, log.schema_id(name, &resolve.own(name, schema))?);
        }
        let wire = Wire::new(&topology, |name| ids.get(name).copied().unwrap_or(0));
        Ok(Self { topology, resolve, wire: Arc::new(wire), refused: BTreeMap::new() })
    }

    /// For a tool that writes nothing: it learns the ids that it meets.
    #[must_use]
    pub fn to_read(topology: Arc<Topology>, resolve: Arc<dyn Resolve>) -> Self {
        let mut unused = u32::MAX;
        let wire = Wire::new(&topology, |_| {
            unused -= 1;
            unused
        });
        Self { topology, resolve, wire: Arc::new(wire), refused: BTreeMap::new() }
    }

    /// The topology.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// The ids known so far.
    #[must_use]
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Learns an id; gives why it cannot be read, if it cannot.
    ///
    /// # Errors
    /// When the log cannot be asked.
    pub fn learn(&mut self, reader: &mut dyn Reader, id: u32) -> Result<Option<String>, Error> {
        if let Some(why) = self.refused.get(&id) {
            return Ok(Some(why.clone()));
        }
        let schema = match reader.schema_of(id)? {
            Lookup::Known(schema) => schema,
            // Not remembered: somebody may register it yet.
            Lookup::Unknown(why) => {
                return Ok(Some(format!(
                    "schema id {id} is not known to the log ({why}); register the schema before producing with it"
                )));
            }
        };
        let unknown = self.topology.unknown_fields_of(&schema.name);
        let transcode = match self.resolve.resolve(&schema.name, &schema.text, unknown) {
            Resolved::Same | Resolved::Unknown => None,
            Resolved::Transcode(transcode) => Some(transcode),
            Resolved::Refused(why) => {
                let why = format!("schema id {id} of {} cannot be read: {why}", schema.name);
                self.refused.insert(id, why.clone());
                return Ok(Some(why));
            }
        };
        Arc::make_mut(&mut self.wire).add_writer(&self.topology, id, &schema.name, transcode);
        Ok(None)
    }
}
