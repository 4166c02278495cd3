//! What every log must do for consumers of its events, as functions over a [`Fixture`].

use std::collections::BTreeMap;
use std::time::Duration;

use bellhop_runtime::log::{Consumer, ErrorKind, Mark, NOTE_BYTES_MAX, Polled, Timestamps};
use bellhop_tests::hands::Owned;

use crate::suite::{Fixture, PARTITIONS, append_events};

/// Makes a test of each function of the suite for a fixture.
macro_rules! consumers_conform {
    ($fixture:ty: $($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            $crate::consumers::$name::<$fixture>();
        }
    )*};
    ($fixture:ty) => {
        $crate::consumers::consumers_conform!($fixture:
            a_consumer_gets_committed_events_in_order_from_where_it_starts,
            a_consumer_waits_for_events_that_come_later,
            a_group_shares_the_partitions_and_another_group_has_them_all,
            a_mark_is_what_was_marked_last_and_stays_after_reopening,
            a_partition_is_handed_over_with_its_mark_only_when_released,
            a_consumer_that_was_thrown_out_marks_nothing,
            marks_are_set_all_or_none,
            a_note_may_be_as_long_as_a_broker_takes,
        );
    };
}
pub(crate) use consumers_conform;

const GROUP: &str = "sink";

fn mark(next_offset: u64, note: &str) -> Mark {
    Mark { next_offset, note: note.to_owned() }
}

/// One poll for a change of ownership; what is revoked is released.
fn hear(consumer: &mut dyn Consumer, owned: &mut Vec<u32>) {
    match consumer.poll(0, Duration::from_millis(20)).unwrap() {
        Polled::Assigned(partitions) => owned.extend(partitions),
        Polled::Revoked(partitions) => {
            owned.retain(|partition| !partitions.contains(partition));
            consumer.release(&partitions).unwrap();
        }
        Polled::Lost(partitions) => owned.retain(|partition| !partitions.contains(partition)),
        Polled::Idle => {}
        Polled::Batch(batch) => panic!("asked for no records and got {batch:?}"),
    }
    owned.sort_unstable();
}

fn sole<F: Fixture>(fixture: &mut F) -> Box<dyn Consumer> {
    let mut consumer = fixture.consume(GROUP);
    own(consumer.as_mut(), PARTITIONS as usize);
    consumer
}

fn own(consumer: &mut dyn Consumer, count: usize) -> Vec<u32> {
    let mut owned = Vec::new();
    for _ in 0..1_000 {
        if owned.len() == count {
            return owned;
        }
        hear(consumer, &mut owned);
    }
    panic!("owns {owned:?}, wanted {count}");
}

/// Two members, and what each owns.
fn two<F: Fixture>(fixture: &mut F) -> [(Box<dyn Consumer>, Vec<u32>); 2] {
    let mut two = [(fixture.consume(GROUP), vec![]), (fixture.consume(GROUP), vec![])];
    for _ in 0..500 {
        for (consumer, owned) in &mut two {
            hear(consumer.as_mut(), owned);
        }
        if two.iter().all(|(_, owned)| owned.len() == 2) {
            return two;
        }
    }
    panic!("{:?} and {:?} are no even shares", two[0].1, two[1].1);
}

fn take(
    consumer: &mut dyn Consumer,
    count: usize,
    records_max: usize,
) -> BTreeMap<u32, Vec<Owned>> {
    let (mut found, mut taken, mut polls) = (BTreeMap::<u32, Vec<_>>::new(), 0, 0);
    while taken < count {
        polls += 1;
        assert!(polls < 10_000, "{taken} of {count} events came");
        match consumer.poll(records_max, Duration::from_millis(20)).unwrap() {
            Polled::Batch(batch) => {
                assert!(!batch.is_empty() && batch.len() <= records_max, "{batch:?}");
                taken += batch.len();
                let mut cursor = batch.cursor();
                while let Some(record) = cursor.next_record() {
                    found.entry(batch.partition()).or_default().push(Owned::of(&record));
                }
            }
            Polled::Idle => {}
            other @ (Polled::Assigned(_) | Polled::Revoked(_) | Polled::Lost(_)) => {
                panic!("waited for events and got {other:?}")
            }
        }
    }
    found
}

fn is_idle(consumer: &mut dyn Consumer) -> bool {
    matches!(consumer.poll(10, Duration::from_millis(1)).unwrap(), Polled::Idle)
}

pub(crate) fn a_consumer_gets_committed_events_in_order_from_where_it_starts<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    append_events(&mut fixture, &[(0, 500), (2, 300)]);
    append_events(&mut fixture, &[(0, 200)]);
    let mut consumer = sole(&mut fixture);
    assert!(is_idle(consumer.as_mut()), "nothing was started");
    consumer.start(0, F::EVENTS_FROM).unwrap();
    consumer.start(2, F::EVENTS_FROM).unwrap();
    let found = take(consumer.as_mut(), 1_000, 64);
    let offsets = |partition: u32| found[&partition].iter().map(|event| event.offset);
    assert_eq!((found[&0].len(), found[&2].len()), (700, 300));
    assert!(offsets(0).is_sorted_by(|a, b| a < b) && offsets(2).is_sorted_by(|a, b| a < b));
    let from = found[&0][450].offset;
    consumer.start(0, from).unwrap();
    let again = take(consumer.as_mut(), 250, 1_000);
    assert_eq!(again[&0], found[&0][450..]);
    consumer.pause(0).unwrap();
    append_events(&mut fixture, &[(0, 1)]);
    assert!(is_idle(consumer.as_mut()), "paused");
}

pub(crate) fn a_consumer_waits_for_events_that_come_later<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut consumer = sole(&mut fixture);
    consumer.start(1, F::EVENTS_FROM).unwrap();
    assert!(is_idle(consumer.as_mut()));
    append_events(&mut fixture, &[(1, 3)]);
    assert_eq!(take(consumer.as_mut(), 3, 10)[&1].len(), 3);
}

pub(crate) fn a_group_shares_the_partitions_and_another_group_has_them_all<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let [(mut one, mine), (_other, theirs)] = two(&mut fixture);
    assert!(mine.iter().all(|partition| !theirs.contains(partition)), "{mine:?} {theirs:?}");
    let mut stranger = fixture.consume("lake");
    assert_eq!(own(stranger.as_mut(), PARTITIONS as usize), [0, 1, 2, 3]);
    one.mark(&[(mine[0], mark(7, "mine"))]).unwrap();
    assert_eq!(stranger.marked(mine[0]).unwrap(), None);
}

pub(crate) fn a_mark_is_what_was_marked_last_and_stays_after_reopening<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut consumer = sole(&mut fixture);
    assert_eq!(consumer.marked(3).unwrap(), None);
    consumer.mark(&[(3, mark(10, "plan")), (1, mark(0, ""))]).unwrap();
    consumer.mark(&[(3, mark(10, "another plan"))]).unwrap();
    assert_eq!(consumer.marked(3).unwrap(), Some(mark(10, "another plan")));
    drop(consumer);
    fixture.reopen();
    let mut consumer = sole(&mut fixture);
    assert_eq!(consumer.marked(3).unwrap(), Some(mark(10, "another plan")));
    assert_eq!(consumer.marked(1).unwrap(), Some(mark(0, "")));
    // A mark may go back: a group is reset that way.
    consumer.mark(&[(3, mark(2, "back"))]).unwrap();
    assert_eq!(consumer.marked(3).unwrap(), Some(mark(2, "back")));
}

pub(crate) fn a_partition_is_handed_over_with_its_mark_only_when_released<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut first = sole(&mut fixture);
    let mut second = fixture.consume(GROUP);
    let mut revoked = Vec::new();
    for _ in 0..1_000 {
        if let Polled::Revoked(partitions) = first.poll(0, Duration::from_millis(20)).unwrap() {
            revoked.extend(partitions);
        }
        if revoked.len() == 2 {
            break;
        }
    }
    assert_eq!(revoked.len(), 2);
    let early = second.poll(0, Duration::from_millis(20)).unwrap();
    assert!(matches!(early, Polled::Idle), "not released yet: {early:?}");
    first.mark(&[(revoked[0], mark(5, "last word"))]).unwrap();
    first.release(&revoked).unwrap();
    assert_eq!(own(second.as_mut(), 2), revoked);
    assert_eq!(second.marked(revoked[0]).unwrap(), Some(mark(5, "last word")));
    let late = first.mark(&[(revoked[0], mark(6, "too late"))]).unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced, "{late}");
    assert_eq!(second.marked(revoked[0]).unwrap(), Some(mark(5, "last word")));
}

pub(crate) fn a_consumer_that_was_thrown_out_marks_nothing<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut zombie = sole(&mut fixture);
    zombie.mark(&[(0, mark(1, "plan"))]).unwrap();
    fixture.expel_last_consumer(GROUP);
    let mut heir = sole(&mut fixture);
    let late = zombie.mark(&[(0, mark(2, "zombie"))]).unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced, "{late}");
    assert_eq!(heir.marked(0).unwrap(), Some(mark(1, "plan")));
    heir.mark(&[(0, mark(3, "heir"))]).unwrap();
    let poll = zombie.poll(10, Duration::from_millis(1));
    assert!(!matches!(poll, Ok(Polled::Batch(_))), "{poll:?}");
    drop(zombie);
    assert_eq!(heir.marked(0).unwrap(), Some(mark(3, "heir")));
}

pub(crate) fn marks_are_set_all_or_none<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let [(mut one, mine), (mut other, theirs)] = two(&mut fixture);
    let refused = one.mark(&[(mine[0], mark(4, "a")), (theirs[0], mark(4, "b"))]).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Fenced, "{refused}");
    assert_eq!(one.marked(mine[0]).unwrap(), None);
    assert_eq!(other.marked(theirs[0]).unwrap(), None);
}

pub(crate) fn a_note_may_be_as_long_as_a_broker_takes<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut consumer = sole(&mut fixture);
    let longest = mark(1, &"n".repeat(NOTE_BYTES_MAX));
    consumer.mark(&[(2, longest.clone())]).unwrap();
    assert_eq!(consumer.marked(2).unwrap(), Some(longest));
}
