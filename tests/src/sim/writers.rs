//! Commands as other programs write them: in newer schemas, in schemas of another shape, and in
//! encodings that are allowed and not the shortest.

use std::collections::BTreeMap;

use bellhop_core::avro::Avro;
use bellhop_core::message::Meta;
use bellhop_core::record::frame;
use bellhop_core::topology::{Request, Topology};
use bellhop_runtime::log::simulated::{Random, Sender};
use bellhop_runtime::log::{Error, Producer as _};
use bellhop_runtime::wiring::Wiring;
use bellhop_schemas::schema::Schema;

use super::commands::{NOTE, Plain};
use super::mutant::own_schemas;
use crate::datum::{Writer, read, write};

/// A form that a command is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Our own schema, the shortest encoding.
    Own,
    /// A schema with a field more.
    Newer,
    /// Our own schema, any encoding.
    Loose,
    /// A schema of another shape.
    Other(Writer),
}

/// The schemas of other writers, by the id of our own.
#[derive(Debug, Clone, Default)]
pub struct Writers {
    commands: BTreeMap<u32, Command>,
}

#[derive(Debug, Clone)]
struct Command {
    own: Schema,
    newer: u32,
    others: [(Writer, u32, Schema); 2],
}

impl Writers {
    /// Registers the schemas of every command.
    ///
    /// # Errors
    /// Those of the registry.
    ///
    /// # Panics
    /// When a schema of ours cannot be read.
    pub fn register(
        topology: &Topology,
        wiring: &Wiring,
        registry: &mut Sender,
    ) -> Result<Self, Error> {
        let mut commands = BTreeMap::new();
        for (name, text) in own_schemas(topology) {
            let is_command = |request: &Request| request.handler.message.name == name;
            let (Some(id), Some(fields)) = (wiring.wire().id_of(&name), text.strip_suffix("]}"))
            else {
                continue;
            };
            if !topology.requests().iter().any(is_command) {
                continue;
            }
            let newer = format!(r#"{fields},{{"name":"note","type":"string"}}]}}"#);
            let newer = registry.schema_id(&name, &newer)?;
            let own = parse(&text);
            let mut other = |writer: Writer| {
                let text = writer.schema(&own);
                Ok::<_, Error>((writer, registry.schema_id(&name, &text)?, parse(&text)))
            };
            let others = [other(Writer::Reversed)?, other(Writer::Lacking)?];
            commands.insert(id, Command { own, newer, others });
        }
        Ok(Self { commands })
    }

    /// The ids of newer schemas, by those of our own.
    #[must_use]
    pub fn newer(&self) -> BTreeMap<u32, u32> {
        self.commands.iter().map(|(own, command)| (*own, command.newer)).collect()
    }

    /// The value of a command in a form; in our own where it has no such form.
    pub fn value(&self, form: Form, meta: &Meta, plain: &Plain, random: &mut Random) -> Vec<u8> {
        let mut canonical = Vec::new();
        meta.encode(&mut canonical);
        canonical.extend_from_slice(&plain.body);
        let (id, datum) = self
            .commands
            .get(&plain.schema_id)
            .and_then(|command| command.written(form, plain.schema_id, &canonical, random))
            .unwrap_or((plain.schema_id, canonical));
        let mut value = Vec::new();
        frame(id, &mut value);
        value.extend(datum);
        value
    }
}

impl Command {
    fn written(
        &self,
        form: Form,
        own_id: u32,
        canonical: &[u8],
        random: &mut Random,
    ) -> Option<(u32, Vec<u8>)> {
        let root = self.own.root();
        let mut choose = |below: u64| random.below(below);
        let mut out = Vec::new();
        match form {
            Form::Own => None,
            Form::Newer => Some((self.newer, [canonical, NOTE].concat())),
            Form::Loose => {
                let datum = read(&self.own, root, &mut &*canonical);
                write(&self.own, root, &datum, &mut choose, &mut out);
                Some((own_id, out))
            }
            Form::Other(writer) => {
                let (_, id, schema) = self.others.iter().find(|other| other.0 == writer)?;
                let datum = read(&self.own, root, &mut &*canonical);
                let datum = writer.of(&self.own, &datum)?;
                write(schema, schema.root(), &datum, &mut choose, &mut out);
                Some((*id, out))
            }
        }
    }
}

fn parse(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
