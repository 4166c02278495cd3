//! A command is the same in every encoding that Avro allows, and in schemas of another shape.

use bellhop_core::topology::Transcode as _;
use bellhop_core::topology::UnknownFields;
use bellhop_schemas::contract;
use bellhop_schemas::resolve::{Resolution, resolve};
use bellhop_schemas::schema::Schema;

use crate::datum::{Writer, canonically, read, write};
use crate::judge;
use crate::samples::{self, Sample};

/// Encodings that are tried of each command.
const TRIES: u64 = 300;

/// The commands, each with our schema as text.
fn commands() -> impl Iterator<Item = (Sample, String)> {
    samples::commands().into_iter().map(|sample| {
        let text = contract::schema(sample.name).unwrap();
        (sample, text)
    })
}

/// Numbers that look random: xorshift.
fn choices(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[test]
fn a_command_is_read_from_every_encoding_of_it() {
    let mut longer = 0;
    for (sample, text) in commands() {
        let own = Schema::parse(&text).unwrap();
        let datum = read(&own, own.root(), &mut &*sample.datum);
        let mut shortest = Vec::new();
        write(&own, own.root(), &datum, &mut canonically, &mut shortest);
        assert_eq!(shortest, sample.datum, "{}", sample.name);
        for seed in 0..TRIES {
            let mut bytes = Vec::new();
            write(&own, own.root(), &datum, &mut choices(seed), &mut bytes);
            assert!((sample.is_sample)(&bytes), "{} by seed {seed}: {bytes:?}", sample.name);
            assert_eq!((sample.again)(&bytes).unwrap(), sample.datum, "{}", sample.name);
            longer += usize::from(bytes != sample.datum);
        }
    }
    assert!(longer > 1_000, "{longer} encodings differ from the shortest");
}

#[test]
fn a_command_in_a_schema_of_another_shape_is_what_another_reader_takes_it_for() {
    for (sample, text) in commands() {
        let own = Schema::parse(&text).unwrap();
        let datum = read(&own, own.root(), &mut &*sample.datum);
        for writer in [Writer::Reversed, Writer::Lacking] {
            let theirs = writer.schema(&own);
            let schema = Schema::parse(&theirs).unwrap();
            let mut exact = true;
            let cut = writer.cut(&own, own.root(), &datum, &mut exact);
            let mut shortest = Vec::new();
            write(&schema, schema.root(), &cut, &mut canonically, &mut shortest);
            let expected = judge::encode(&text, judge::decode(&theirs, &text, &shortest));
            assert_eq!(expected == sample.datum, exact, "{} {writer:?}", sample.name);
            let resolved = resolve(&theirs, &text, UnknownFields::Skipped).unwrap();
            let Resolution::Transcode(transcoder) = resolved else { panic!("{theirs} is {text}") };
            for seed in 0..TRIES {
                let (mut bytes, mut ours) = (Vec::new(), Vec::new());
                write(&schema, schema.root(), &cut, &mut choices(seed), &mut bytes);
                transcoder.transcode(&bytes, &mut ours).unwrap();
                let read_again = (sample.again)(&ours).unwrap();
                assert_eq!(read_again, expected, "{} {writer:?} by seed {seed}", sample.name);
            }
        }
    }
}
