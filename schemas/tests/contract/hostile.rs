//! Any bytes give a value or an error, and never much memory.

use std::sync::{Arc, LazyLock};

use bellhop_core::avro::{DecodeError, write_long};
use bellhop_core::topology::{Transcode, UnknownFields};
use bellhop_schemas::contract;
use bellhop_schemas::resolve::resolve;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::allocation::peak_bytes;
use crate::{in_crate, samples};

/// What a record of 1 KiB may hold in memory at any time while it is read.
const PEAK_BYTES_MAX: usize = 1 << 20;

/// What is read, and how: decoded as it is, or through a program first.
struct Path {
    name: String,
    transcode: Option<Arc<dyn Transcode>>,
    again: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
    /// A datum that can be read.
    datum: Vec<u8>,
}

/// Every message as it is; and what another writer makes of CreateReservation.
static PATHS: LazyLock<Vec<Path>> = LazyLock::new(|| {
    let mut paths = Vec::new();
    for sample in samples::all() {
        let (name, again, datum) = (sample.name.to_owned(), sample.again, sample.datum);
        paths.push(Path { name, transcode: None, again, datum });
    }
    let name = "bellhop.command.CreateReservation";
    let reader = contract::schema(name).unwrap();
    let again = paths.iter().find(|path| path.name == name).unwrap().again;
    for stem in ["create_reservation_older", "create_reservation_newer"] {
        let file = |end: &str| in_crate("golden/fastavro").join(format!("{stem}.{end}"));
        let writer = std::fs::read_to_string(file("avsc")).unwrap();
        paths.push(Path {
            name: stem.to_owned(),
            transcode: resolve(&writer, &reader, UnknownFields::Skipped).unwrap().into_transcode(),
            again,
            datum: std::fs::read(file("bin")).unwrap(),
        });
    }
    paths
});

impl Path {
    fn read(&self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let Some(transcode) = &self.transcode else { return (self.again)(bytes) };
        let mut datum = Vec::new();
        transcode.transcode(bytes, &mut datum)?;
        (self.again)(&datum)
    }

    /// Reads bytes under the limit; a value that was read comes back the same.
    fn check(&self, bytes: &[u8]) {
        let (result, peak) = peak_bytes(|| self.read(bytes));
        assert!(peak <= PEAK_BYTES_MAX, "{}: {peak} bytes for {bytes:?}", self.name);
        match result {
            Ok(again) => {
                let twice = (self.again)(&again);
                assert_eq!(twice.as_ref(), Ok(&again), "{}: {bytes:?}", self.name);
            }
            Err(error) => assert!(error.to_string().starts_with("decode"), "{error}"),
        }
    }
}

#[test]
fn every_sample_is_read() {
    for path in PATHS.iter() {
        path.check(&path.datum);
        assert!(path.read(&path.datum).is_ok(), "{}", path.name);
    }
}

#[test]
fn a_record_that_ends_early_is_an_error_at_every_byte() {
    for path in PATHS.iter() {
        for end in 0..path.datum.len() {
            assert!(path.read(&path.datum[..end]).is_err(), "{} cut at {end}", path.name);
        }
        let longer = [path.datum.as_slice(), &[0]].concat();
        assert_eq!(path.read(&longer), Err(DecodeError::Trailing { count: 1 }), "{}", path.name);
    }
}

#[test]
fn a_claimed_count_or_length_at_any_byte_takes_no_memory() {
    for path in PATHS.iter() {
        for at in 0..path.datum.len() {
            for claim in [900, -900, i64::from(i32::MAX), i64::MAX, i64::MIN] {
                let mut bytes = path.datum[..at].to_vec();
                write_long(claim, &mut bytes);
                bytes.extend_from_slice(&path.datum[at..]);
                bytes.resize(1_024, 0);
                path.check(&bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn any_bytes_give_a_value_or_an_error(path: Index, bytes in vec(any::<u8>(), 0..1_024)) {
        path.get(&PATHS).check(&bytes);
    }

    #[test]
    fn small_bytes_that_look_like_counts_do_too(path: Index, bytes in vec(0_u8..8, 0..1_024)) {
        path.get(&PATHS).check(&bytes);
    }

    #[test]
    fn a_true_record_with_some_bytes_changed_does_too(
        path: Index,
        changes in vec((any::<Index>(), any::<u8>()), 1..8),
        tail in vec(any::<u8>(), 0..700),
    ) {
        let path = path.get(&PATHS);
        let mut bytes = path.datum.clone();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        bytes.extend(tail);
        path.check(&bytes);
    }

    #[test]
    fn a_writer_schema_of_any_text_is_resolved_or_refused(text in "[\\[\\]{}\":,a-z]{0,80}") {
        let reader = contract::schema("bellhop.engine.Tick").unwrap();
        prop_assert!(resolve(&text, &reader, UnknownFields::Skipped).is_err());
    }
}
