//! Files on disk: every flipped byte is found and named, or changes nothing.

use std::fs;
use std::path::Path;

use bellhop_core::message::LogId;
use bellhop_runtime::snapshot::{Folder, Snapshot, SnapshotStore as _};
use uuid::Uuid;

#[test]
fn every_flipped_byte_of_a_snapshot_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = Folder::at(folder.path());
    let log_id = LogId(Uuid::from_u128(1));
    // Of a state's beginning: the checksum treats all of it alike.
    let mut state = crate::world::World::new().snapshot;
    state.truncate(4_096);
    let snapshot = Snapshot { log_id, partition: 0, events_offset: 17, state };
    store.save(&snapshot, &[]).unwrap();
    let path = store.file(log_id, 0, 17);
    let whole = fs::read(&path).unwrap();
    let flipped = |at: usize, file: &Path| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(file, bytes).unwrap();
    };
    for at in 0..whole.len() {
        flipped(at, &path);
        let error = store.load(log_id, 0, 17).expect_err("a flipped byte is found").to_string();
        assert!(error.contains("is damaged"), "byte {at}: {error}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(store.load(log_id, 0, 17).unwrap(), snapshot);
}
