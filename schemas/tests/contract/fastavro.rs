//! Bytes of another implementation (`golden/fastavro/make.py`) and ours are the same.

use bellhop_core::topology::{Transcode, UnknownFields};
use bellhop_schemas::command::CreateReservation;
use bellhop_schemas::contract;
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::resolve::{Resolution, resolve};

use crate::{in_crate, samples};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(in_crate("golden/fastavro").join(name)).unwrap()
}

/// What we read of a CreateReservation that was written with another schema.
fn read(stem: &str) -> CreateReservation {
    let writer = String::from_utf8(file(&format!("{stem}.avsc"))).unwrap();
    let reader = contract::schema("bellhop.command.CreateReservation").unwrap();
    let Resolution::Transcode(transcoder) =
        resolve(&writer, &reader, UnknownFields::Skipped).unwrap()
    else {
        panic!("{stem} is our own schema");
    };
    let mut datum = Vec::new();
    transcoder.transcode(&file(&format!("{stem}.bin")), &mut datum).unwrap();
    let (meta, command) = samples::decode::<CreateReservation>(&datum).unwrap();
    assert_eq!(meta, samples::command_meta());
    command
}

#[test]
fn it_writes_the_bytes_that_we_write() {
    for (name, stem) in [
        ("bellhop.command.CreateReservation", "create_reservation"),
        ("bellhop.event.ReservationCreated", "reservation_created"),
    ] {
        let bytes = file(&format!("{stem}.bin"));
        let mut samples = samples::all().into_iter();
        let sample = samples.find(|sample| sample.name == name).unwrap();
        assert!((sample.is_sample)(&bytes), "{name} is decoded to another value");
        assert_eq!(sample.datum, bytes, "{name} is encoded to other bytes");
    }
}

#[test]
fn what_an_older_writer_lacks_is_null() {
    let mut expected = samples::create_reservation();
    expected.country = None;
    expected.booked_at = None;
    let dimensions = &mut expected.lines[0].dimensions;
    *dimensions = Texts { guarantee: None, ..dimensions.texts() }.into();
    assert_eq!(read("create_reservation_older"), expected);
}

#[test]
fn what_a_newer_writer_adds_or_moves_is_skipped_or_found() {
    assert_eq!(read("create_reservation_newer"), samples::create_reservation());
}
