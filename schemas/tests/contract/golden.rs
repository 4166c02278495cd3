//! Bytes of a fixed value per message: an encoder that changes them breaks every log in the field.

use bellhop_schemas::contract;

use crate::{in_crate, is_set, judge, samples, snake_case};

#[test]
fn every_message_keeps_its_bytes() {
    for sample in samples::all() {
        let path = in_crate(&format!("golden/{}.bin", snake_case(sample.name)));
        if is_set("BELLHOP_BLESS") {
            std::fs::write(&path, &sample.datum).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; BELLHOP_BLESS=1 writes it", path.display())
        });
        assert_eq!(sample.datum, golden, "{}", sample.name);
        assert!((sample.is_sample)(&golden), "{} decodes to another value", sample.name);
    }
}

#[test]
fn apache_avro_reads_and_writes_the_same_bytes() {
    for sample in samples::all() {
        let text = contract::schema(sample.name).unwrap();
        let value = judge::decode(&text, &text, &sample.datum);
        assert_eq!(judge::encode(&text, value), sample.datum, "{}", sample.name);
    }
}
