//! Schemas of other writers: read, resolved against ours, and data read by them.

use bellhop_core::topology::UnknownFields;
use bellhop_fuzz::fuzz;
use bellhop_schemas::contract;
use bellhop_schemas::resolve::resolve;

#[test]
fn fuzz_schemas_of_other_writers() {
    let ours = contract::schemas().expect("the contract");
    let corpus: Vec<Vec<u8>> = ours.values().map(|text| text.as_bytes().to_vec()).collect();
    let data: Vec<u8> = (0..=255).cycle().take(2_000).collect();
    let mut turn = 0;
    fuzz(&corpus, |writer| {
        let Ok(writer) = std::str::from_utf8(writer) else { return };
        turn += 1;
        let unknown = if turn % 2 == 0 { UnknownFields::Skipped } else { UnknownFields::Refused };
        let reader = ours.values().nth(turn % ours.len()).expect("a schema");
        let Ok(resolution) = resolve(writer, reader, unknown) else { return };
        if let Some(transcode) = resolution.into_transcode() {
            drop(transcode.transcode(&data, &mut Vec::new()));
        }
    });
}
