//! A command of any type, with its envelope: what `run` reads as JSON and `replay` makes of rows.

use anyhow::{Result, anyhow};
use bellhop_core::avro::{Avro as _, Reader};
use bellhop_core::message::{Message, Meta};
use bellhop_core::record::frame;
use bellhop_core::topology::Wire;
use bellhop_schemas::command::{
    CancelReservation, CheckIn, CheckOut, CreateReservation, DefineProduct, DefineProperty,
    MarkNoShow, MoveReservation, SetOverbooking, SetPhysicalCount,
};
use bellhop_schemas::ids::PropertyId;
use serde_json::{Map, Value};

macro_rules! any_command {
    ($($name:ident),* $(,)?) => {
        /// A command.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum AnyCommand {
            $($name($name),)*
        }

        impl AnyCommand {
            /// The types that can be asked for.
            pub(crate) const TYPES: &[&str] = &[$($name::TYPE),*];

            /// Reads the fields of a command of a type.
            ///
            /// # Errors
            /// A sentence that names the type or the field that is wrong.
            pub(crate) fn from_json(type_name: &str, fields: Map<String, Value>) -> Result<Self> {
                let fields = Value::Object(fields);
                match type_name {
                    $($name::TYPE => from_json(fields).map(Self::$name),)*
                    _ => Err(anyhow!(
                        "unknown type \"{type_name}\"; the types are {}",
                        Self::TYPES.join(", ")
                    )),
                }
            }

            /// Reads what stands behind the frame of a record of the schema `name`.
            ///
            /// # Errors
            /// When it is not a command of this program, or the bytes are not what the schema says.
            pub(crate) fn decode(name: &str, datum: &[u8]) -> Result<(Meta, Self)> {
                let mut reader = Reader::new(datum);
                let meta = Meta::decode(&mut reader)?;
                let command = match name {
                    $($name::NAME => $name::decode(&mut reader).map(Self::$name)?,)*
                    _ => return Err(anyhow!("{name} is not a command of this program")),
                };
                reader.finish()?;
                Ok((meta, command))
            }

            /// Its fields with its type, as [`AnyCommand::from_json`] takes them.
            ///
            /// # Errors
            /// Never: every command is an object.
            pub(crate) fn to_json(&self) -> Result<Map<String, Value>> {
                let fields = match self { $(Self::$name(command) => serde_json::to_value(command)?,)* };
                let Value::Object(fields) = fields else { return Err(anyhow!("not an object")) };
                let mut line = Map::new();
                line.insert("type".to_owned(), self.type_name().into());
                line.extend(fields);
                Ok(line)
            }

            /// The property that it is about.
            pub(crate) fn property_id(&self) -> PropertyId {
                match self { $(Self::$name(command) => command.key(),)* }
            }

            /// Its type as users see it.
            pub(crate) fn type_name(&self) -> &'static str {
                match self { $(Self::$name(_) => $name::TYPE,)* }
            }

            fn avro_name(&self) -> &'static str {
                match self { $(Self::$name(_) => $name::NAME,)* }
            }

            fn encode(&self, out: &mut Vec<u8>) {
                match self { $(Self::$name(command) => command.encode(out),)* }
            }
        }

        $(impl From<$name> for AnyCommand {
            fn from(command: $name) -> Self {
                Self::$name(command)
            }
        })*
    };
}
any_command!(
    DefineProperty,
    DefineProduct,
    SetPhysicalCount,
    SetOverbooking,
    CreateReservation,
    CancelReservation,
    CheckIn,
    MoveReservation,
    CheckOut,
    MarkNoShow,
);

impl AnyCommand {
    /// Appends the framed record as it travels.
    ///
    /// # Panics
    /// When the command is not of the topology, which the start of the program rules out.
    pub(crate) fn write_value(&self, meta: &Meta, wire: &Wire, out: &mut Vec<u8>) {
        let Some(schema_id) = wire.id_of(self.avro_name()) else {
            panic!("{} has no schema id", self.type_name())
        };
        frame(schema_id, out);
        meta.encode(out);
        self.encode(out);
    }
}

fn from_json<T: serde::de::DeserializeOwned>(fields: Value) -> Result<T> {
    serde_path_to_error::deserialize(fields).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if path == "." { anyhow!("{inner}") } else { anyhow!("{path}: {inner}") }
    })
}
