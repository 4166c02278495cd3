use super::*;
use crate::fake_log::{FakeLog, ID, PARTITIONS, value};

fn four_events() -> FakeLog {
    FakeLog::of(vec![value(ID, &[]); 4])
}

fn feed(folder: &Path, log: &mut FakeLog) {
    let mut lake = Lake::open(folder, log.identity.log_id).unwrap();
    Feeder::default().feed(&mut lake, log, &mut || ControlFlow::Continue(())).unwrap();
}

/// Rows of supply, events that could not be read, partitions that wait.
fn found(folder: &Path) -> (String, u64, usize) {
    let session = Session::open(folder).unwrap();
    let rows = session.sql("SELECT count(*) FROM supply").unwrap().texts().unwrap().concat();
    (rows.concat(), session.unread(), session.waiting().len())
}

#[test]
fn a_schema_that_the_registry_does_not_know_yet_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = four_events();
    let known = std::mem::take(&mut log.schemas);
    feed(folder.path(), &mut log);
    assert_eq!(found(folder.path()), ("0".to_owned(), 0, 2), "nothing was parked");
    log.schemas = known;
    feed(folder.path(), &mut log);
    assert_eq!(found(folder.path()), ("8".to_owned(), 0, 0));
}

#[test]
fn what_was_parked_for_want_of_a_schema_has_rows_once_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = four_events();
    let known = std::mem::take(&mut log.schemas);
    let mut lake = Lake::open(folder.path(), log.identity.log_id).unwrap();
    for partition in 0..PARTITIONS {
        lake.wait(Waiting { partition, offset: 0, schema_id: ID, since_us: 0 }).unwrap();
    }
    drop(lake);
    // They wait since 1970.
    feed(folder.path(), &mut log);
    assert_eq!(found(folder.path()), ("0".to_owned(), 8, 0));
    let reads = Session::open(folder.path()).unwrap();
    log.schemas = known;
    feed(folder.path(), &mut log);
    assert_eq!(found(folder.path()), ("8".to_owned(), 0, 0));
    let parked = reads.sql("SELECT count(*) FROM parked").unwrap().texts().unwrap().concat();
    assert_eq!(parked.concat(), "8", "who reads keeps the files of before");
}
