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

use crate::fields;

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
            /// A sentence that names the type, or [`Faults`](fields::Faults) with every field that
            /// is wrong.
            pub(crate) fn from_json(type_name: &str, fields: Map<String, Value>) -> Result<Self> {
                let fields = Value::Object(fields);
                match type_name {
                    $($name::TYPE => Ok(fields::read::<$name>($name::NAME, fields).map(Self::$name)?),)*
                    _ => Err(anyhow!(
                        "unknown type \"{type_name}\"{}; the types are {}",
                        nearest(type_name, Self::TYPES),
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

/// The names that a wrong one may have meant, as the end of a sentence: `; did you mean CheckIn?`.
pub(crate) fn nearest(wrong: &str, names: &[&str]) -> String {
    const NEAREST_MAX: usize = 3;
    /// Of 1: how alike two names have to be.
    const ALIKE: f64 = 0.6;
    let wrong = wrong.to_lowercase();
    let likeness = |name: &&str| strsim::jaro_winkler(&wrong, &name.to_lowercase());
    let mut alike: Vec<_> = names.iter().map(|name| (likeness(name), *name)).collect();
    alike.retain(|(likeness, _)| *likeness >= ALIKE);
    alike.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(other.1)));
    let alike: Vec<_> = alike.into_iter().take(NEAREST_MAX).map(|(_, name)| name).collect();
    if alike.is_empty() { String::new() } else { format!("; did you mean {}?", alike.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_wrong_name_finds_those_it_may_have_meant() {
        let names = ["CheckIn", "CheckOut", "CreateReservation", "MarkNoShow"];
        assert!(
            nearest("createreservaton", &names).starts_with("; did you mean CreateReservation")
        );
        assert!(nearest("chekin", &names).starts_with("; did you mean CheckIn"));
        assert_eq!(nearest("Frobnicate", &["MarkNoShow"]), "");
    }
}
