//! What any release wrote can be read.
//!
//! `BELLHOP_RELEASE=1` writes the schemas of the current version to `released/`: when a version is
//! released, once, and never afterwards.

use bellhop_schemas::compat::{self, Released};
use bellhop_schemas::contract;

use crate::{in_crate, is_set};

#[test]
fn every_release_can_still_be_read() {
    let current = contract::schemas().unwrap();
    if is_set("BELLHOP_RELEASE") {
        let folder = in_crate("released").join(env!("CARGO_PKG_VERSION"));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &current {
            std::fs::write(folder.join(format!("{name}.avsc")), format!("{text}\n")).unwrap();
        }
    }
    let mut released = Vec::new();
    for version in std::fs::read_dir(in_crate("released")).unwrap() {
        let version = version.unwrap();
        for file in std::fs::read_dir(version.path()).unwrap() {
            let path = file.unwrap().path();
            let subject = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            released.push((version.file_name().to_str().unwrap().to_owned(), subject, text));
        }
    }
    // Messages may be added after a release, so there may be more now.
    assert!(!released.is_empty(), "schemas/released is empty");
    let released: Vec<_> = released
        .iter()
        .map(|(version, subject, text)| Released { version, subject, text })
        .collect();
    let breaks: Vec<_> =
        compat::check(&current, &released).iter().map(ToString::to_string).collect();
    assert!(breaks.is_empty(), "{breaks:#?}");
}
