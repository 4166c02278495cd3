//! The contract held against Rust, against other implementations, against its own past.
//!
//! `BELLHOP_BLESS=1` writes the golden bytes anew.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads its golden files"
)]

mod agreement;
mod allocation;
mod compatibility;
#[path = "../../../tests/src/datum.rs"]
#[allow(unreachable_pub, dead_code, reason = "the simulator's, which is another crate")]
mod datum;
mod encodings;
mod fastavro;
mod golden;
mod growth;
mod hostile;
mod personal_data;
mod resolution;
mod round_trip;
mod samples;

use std::path::{Path, PathBuf};

/// A path below the folder of this crate.
fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether the environment asks for files to be written: `BELLHOP_BLESS=1`.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

/// `CreateReservation` as a file is named after it: `create_reservation`.
fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.rsplit('.').next().unwrap_or(name).chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// apache-avro, the other implementation that judges ours.
mod judge {
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value;
    use apache_avro::writer::datum::GenericDatumWriter;

    pub(crate) fn schema(text: &str) -> apache_avro::Schema {
        apache_avro::Schema::parse_str(text).unwrap()
    }

    pub(crate) fn encode(schema: &str, value: Value) -> Vec<u8> {
        let schema = self::schema(schema);
        GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap()
    }

    /// Reads a whole datum of `writer` as `reader` has it.
    pub(crate) fn decode(writer: &str, reader: &str, mut datum: &[u8]) -> Value {
        let (writer, reader) = (schema(writer), schema(reader));
        let decoder = GenericDatumReader::builder(&writer).reader_schema(&reader).build().unwrap();
        let value = decoder.read_value(&mut datum).unwrap();
        assert!(datum.is_empty(), "{} bytes are left", datum.len());
        value
    }
}
