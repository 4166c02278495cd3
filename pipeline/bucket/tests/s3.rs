//! Snapshots in a real S3-like server.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use bellhop_bucket::Bucket;
use bellhop_core::message::LogId;
use bellhop_harness::S3;
use bellhop_runtime::snapshot::{Snapshot, SnapshotStore as _};
use uuid::Uuid;

const LOG: LogId = LogId(Uuid::from_u128(7));

fn snapshot(events_offset: u64, bytes: usize) -> Snapshot {
    let state = (0..bytes).map(|at| (at as u64 * 31 + events_offset) as u8).collect();
    Snapshot { log_id: LOG, partition: 3, events_offset, state }
}

#[test]
fn the_newest_two_snapshots_of_a_partition_are_kept_in_a_bucket() {
    let s3 = S3::start().unwrap();
    s3.make_bucket("hotels").unwrap();
    let bucket = Bucket::open("s3://hotels/state/live", s3.settings()).unwrap();
    assert_eq!(bucket.list(LOG, 3).unwrap(), Vec::<u64>::new());
    for offset in [5, 20, 1_000] {
        bucket.save(&snapshot(offset, 100), &[]).unwrap();
    }
    assert_eq!(bucket.list(LOG, 3).unwrap(), [1_000, 20]);
    assert_eq!(bucket.list(LOG, 4).unwrap(), Vec::<u64>::new());
    assert_eq!(bucket.list(LogId(Uuid::from_u128(8)), 3).unwrap(), Vec::<u64>::new());
    // Another machine finds them; another prefix is another place.
    let other = Bucket::open("s3://hotels/state/live", s3.settings()).unwrap();
    assert_eq!(other.load(LOG, 3, 20).unwrap(), snapshot(20, 100));
    let elsewhere = Bucket::open("s3://hotels/state", s3.settings()).unwrap();
    assert_eq!(elsewhere.list(LOG, 3).unwrap(), Vec::<u64>::new());
    // In several parts.
    let large = snapshot(2_000, 40 << 20);
    bucket.save(&large, &[]).unwrap();
    assert!(other.load(LOG, 3, 2_000).unwrap() == large, "forty megabytes come back");
    assert_eq!(other.list(LOG, 3).unwrap(), [2_000, 1_000]);
    // An object that stands for another offset is not taken.
    let error = other.load(LOG, 3, 20).unwrap_err();
    assert!(error.to_string().contains("read the snapshot"), "{error}");
}

#[test]
fn a_bucket_that_is_not_there_is_an_error_and_no_wait_without_end() {
    let s3 = S3::start().unwrap();
    let bucket = Bucket::open("s3://nowhere/x", s3.settings()).unwrap();
    let error = bucket.save(&snapshot(1, 10), &[]).unwrap_err();
    assert!(error.to_string().contains("s3://nowhere/x"), "{error}");
    drop(s3);
    let error = bucket.list(LOG, 3).unwrap_err();
    assert!(error.to_string().contains("list the snapshots"), "{error}");
    assert!(Bucket::open("ftp://hotels", Vec::new()).is_err());
}
