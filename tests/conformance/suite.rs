//! What every log must do, as functions over a [`Fixture`]; [`conforms`] makes tests of them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bellhop_core::history::History;
use bellhop_core::message::{LogId, Timestamp};
use bellhop_core::outcome::Output;
use bellhop_core::record::{Header, Records, push_header};
use bellhop_core::task::Progress;
use bellhop_runtime::log::{
    Bookmark, Command, Consumer, Ended, ErrorKind, Log, Part, Polled, Producer, Reader, Timestamps,
    Topic, Transaction,
};
use bellhop_tests::hands::{LONG, Owned, append, counter_in, own, read, take};
use uuid::Uuid;

/// A log under test, of [`PARTITIONS`] partitions.
pub(crate) trait Fixture {
    /// Where events begin: behind the genesis, if connecting writes one.
    const EVENTS_FROM: u64 = 0;
    /// Whether readers see a transaction as soon as it has committed; a broker that has said so
    /// still writes its markers.
    const IS_SEEN_AT_ONCE: bool = true;
    /// A new, empty log.
    fn new(timestamps: Timestamps) -> Self;
    /// A member of the group.
    fn join(&mut self) -> Box<dyn Log>;
    /// Throws out the member that joined last, as a broker does with one that is silent.
    fn expel_last(&mut self);
    /// A producer.
    fn producer(&mut self) -> Box<dyn Producer>;
    /// A member of a group of consumers.
    fn consume(&mut self, group: &str) -> Box<dyn Consumer>;
    /// Throws out the consumer that joined last.
    fn expel_last_consumer(&mut self, group: &str);
    /// A reader.
    fn reader(&mut self) -> Box<dyn Reader>;
    /// Sets the clock of the log.
    fn set_time(&mut self, now: Timestamp);
    /// Ends everything and opens the log again; what was joined is gone before.
    fn reopen(&mut self);
}

pub(crate) const PARTITIONS: u32 = 4;

/// Makes a test of each function of the suite for a fixture.
macro_rules! conforms {
    ($fixture:ty: $($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            $crate::suite::$name::<$fixture>();
        }
    )*};
    ($fixture:ty) => {
        $crate::suite::conforms!($fixture:
            records_come_in_order_and_whole,
            a_batch_has_at_most_as_many_records_as_asked_for,
            the_positions_of_appended_commands_are_where_they_lie,
            records_come_from_where_a_partition_is_started_and_not_while_it_is_paused,
            a_log_that_stamps_never_goes_back_in_time,
            a_log_that_keeps_times_keeps_those_of_producers,
            a_transaction_is_visible_as_a_whole_when_it_has_committed,
            a_reader_never_sees_a_part_of_a_transaction,
            progress_is_what_was_committed_last,
            commands_of_a_transaction_go_to_the_partitions_of_their_keys,
            headers_of_a_transaction_stay_with_their_records,
            a_reader_begins_anywhere_and_stops_when_told,
            a_transaction_for_a_partition_of_another_leaves_nothing,
            what_is_still_owned_is_submitted_again_after_an_abort,
            members_share_the_partitions_and_hand_over_only_what_is_released,
            a_member_that_is_gone_leaves_its_partitions,
            a_member_that_was_thrown_out_is_fenced,
            a_bookmark_moves_with_its_commands,
            a_schema_has_one_id_for_ever,
            a_tick_is_a_record_of_its_partition,
            everything_is_there_after_reopening,
        );
    };
}
pub(crate) use conforms;

/// A key of a partition.
fn key_of(partition: u32) -> Vec<u8> {
    counter_in(partition, PARTITIONS, 0).0.hyphenated().to_string().into_bytes()
}

fn numbered(partition: u32, numbers: std::ops::Range<u32>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let key = key_of(partition);
    numbers.map(|number| (key.clone(), number.to_be_bytes().to_vec())).collect()
}

fn progress(next_offset: u64) -> Progress {
    let (log_id, last) = (LogId(Uuid::from_u128(7 << 100)), Some((next_offset, 1)));
    let history = History { log_id, events: next_offset, last, digest: next_offset << 60 };
    let stream_time = Timestamp(next_offset as i64 * 10);
    Progress { next_offset, stream_time, history: Some(history) }
}

/// A part that says `events` times something and one parked record.
fn part(partition: u32, before: Option<Progress>, after: u64, events: u32) -> Part {
    let mut part =
        Part { partition, before, after: Some(progress(after)), output: Default::default() };
    let key = key_of(partition);
    for number in 0..events {
        part.output.events.push(
            Timestamp(i64::from(number)),
            |out| out.extend_from_slice(&key),
            |out| out.extend_from_slice(&number.to_be_bytes()),
        );
    }
    part.output.parked.push(Timestamp(1), |_| {}, |out| out.extend_from_slice(b"parked"));
    part
}

/// Commits so many events to partitions, in one transaction.
pub(crate) fn append_events<F: Fixture>(fixture: &mut F, events: &[(u32, u32)]) {
    let mut log = sole(fixture);
    let parts = events.iter().map(|(partition, events)| {
        let before = log.committed(*partition).unwrap();
        part(*partition, before, before.map_or(1, |before| before.next_offset + 1), *events)
    });
    let parts = parts.collect();
    assert_eq!(commit(log.as_mut(), parts), Ended::Committed);
}

fn events_of<F: Fixture>(reader: &mut (impl Reader + ?Sized), partition: u32) -> Vec<Owned> {
    let mut events = Vec::new();
    let read = reader.read(Topic::Events, partition, F::EVENTS_FROM, &mut |event| {
        events.push(Owned::of(event));
        ControlFlow::Continue(())
    });
    read.unwrap();
    events
}

/// What is read, at once or when there is as much as said.
fn seen<F: Fixture>(count: usize, mut read: impl FnMut() -> Vec<Owned>) -> Vec<Owned> {
    let until = Instant::now() + LONG;
    loop {
        let found = read();
        if F::IS_SEEN_AT_ONCE || found.len() >= count || Instant::now() > until {
            return found;
        }
    }
}

/// The commands of a partition, when there are as many as said.
fn commands<F: Fixture>(reader: &mut dyn Reader, partition: u32, count: usize) -> Vec<Owned> {
    seen::<F>(count, || read(reader, Topic::Commands, partition, 0))
}

fn commit(log: &mut dyn Log, parts: Vec<Part>) -> Ended {
    log.submit(Transaction { parts }).unwrap();
    end(log).1
}

fn end(log: &mut dyn Log) -> (Transaction, Ended) {
    log.ended(LONG).unwrap().expect("the transaction ends in time")
}

/// A member that owns and has started all partitions.
fn sole<F: Fixture>(fixture: &mut F) -> Box<dyn Log> {
    let mut log = fixture.join();
    let mut owned = Vec::new();
    own(log.as_mut(), PARTITIONS as usize, &mut owned);
    assert_eq!(owned, [0, 1, 2, 3]);
    owned.iter().for_each(|partition| log.start(*partition, 0).unwrap());
    log
}

pub(crate) fn records_come_in_order_and_whole<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut producer = fixture.producer();
    let key = key_of(1);
    let headers = [Header { name: "reply-to", value: b"desk" }, Header { name: "", value: b"" }];
    let command =
        Command { key: &key, value: b"first", timestamp: Timestamp(0), headers: &headers };
    producer.append(&[command], None).unwrap();
    let mut log = sole(&mut fixture);
    append(producer.as_mut(), &numbered(1, 0..500));
    append(producer.as_mut(), &numbered(2, 0..300));
    append(producer.as_mut(), &numbered(1, 500..700));
    let mut by_partition = BTreeMap::<u32, Vec<_>>::new();
    for (partition, record) in take(log.as_mut(), 1 + 500 + 300 + 200, 64) {
        by_partition.entry(partition).or_default().push(record);
    }
    let first = by_partition.get_mut(&1).unwrap().remove(0);
    assert_eq!((first.key, first.value), (key, b"first".to_vec()));
    let headers = [("reply-to".to_owned(), b"desk".to_vec()), (String::new(), Vec::new())];
    assert_eq!(first.headers, headers);
    for (partition, count) in [(1, 700), (2, 300)] {
        let records = &by_partition[&partition];
        assert!(records.is_sorted_by(|one, next| one.offset < next.offset));
        let values: Vec<_> = records.iter().map(|record| record.value.clone()).collect();
        let expected: Vec<_> = numbered(partition, 0..count).into_iter().map(|(_, v)| v).collect();
        assert_eq!(values, expected, "partition {partition}");
    }
}

pub(crate) fn a_batch_has_at_most_as_many_records_as_asked_for<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut log = sole(&mut fixture);
    append(fixture.producer().as_mut(), &numbered(0, 0..10));
    // `take` checks each batch.
    let records = take(log.as_mut(), 10, 3);
    assert_eq!(records.len(), 10);
    assert!(matches!(log.poll(0, Duration::ZERO).unwrap(), Polled::Idle));
}

pub(crate) fn the_positions_of_appended_commands_are_where_they_lie<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut producer = fixture.producer();
    let mut commands = numbered(3, 0..5);
    commands.extend(numbered(0, 5..8));
    commands.extend(numbered(3, 8..9));
    let positions = append(producer.as_mut(), &commands);
    let mut reader = fixture.reader();
    for ((partition, offset), (_, value)) in positions.into_iter().zip(commands) {
        let look = || read(reader.as_mut(), Topic::Commands, partition, offset);
        let found = seen::<F>(1, look);
        assert_eq!((found[0].offset, &found[0].value), (offset, &value));
    }
}

pub(crate) fn records_come_from_where_a_partition_is_started_and_not_while_it_is_paused<
    F: Fixture,
>() {
    let mut fixture = F::new(Timestamps::Append);
    let positions = append(fixture.producer().as_mut(), &numbered(2, 0..10));
    let mut log = fixture.join();
    own(log.as_mut(), PARTITIONS as usize, &mut Vec::new());
    assert!(matches!(log.poll(10, Duration::from_millis(1)).unwrap(), Polled::Idle), "not started");
    log.start(2, positions[4].1).unwrap();
    let records = take(log.as_mut(), 3, 3);
    assert_eq!(records[0].1.offset, positions[4].1);
    log.pause(2).unwrap();
    assert!(matches!(log.poll(10, Duration::from_millis(1)).unwrap(), Polled::Idle), "paused");
    log.start(2, positions[1].1).unwrap();
    assert_eq!(take(log.as_mut(), 9, 100)[0].1.offset, positions[1].1);
}

pub(crate) fn a_log_that_stamps_never_goes_back_in_time<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut producer = fixture.producer();
    for now in [5_000, 9_000, 2_000, 9_001] {
        fixture.set_time(Timestamp(now));
        append(producer.as_mut(), &numbered(0, 0..2));
    }
    let records = commands::<F>(fixture.reader().as_mut(), 0, 8);
    let times: Vec<i64> = records.iter().map(|record| record.timestamp.0).collect();
    assert_eq!(times.len(), 8);
    assert!(times.is_sorted(), "{times:?}");
}

pub(crate) fn a_log_that_keeps_times_keeps_those_of_producers<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Create);
    let mut producer = fixture.producer();
    fixture.set_time(Timestamp(1));
    let key = key_of(0);
    for times in [[50_000, 40_000], [70_000, 30_000]] {
        let commands = times.map(|time| Command {
            key: &key,
            value: b"v",
            timestamp: Timestamp(time),
            headers: &[],
        });
        producer.append(&commands, None).unwrap();
    }
    let records = commands::<F>(fixture.reader().as_mut(), 0, 4);
    let times: Vec<i64> = records.iter().map(|record| record.timestamp.0).collect();
    assert_eq!(times, [50_000, 40_000, 70_000, 30_000]);
}

pub(crate) fn a_transaction_is_visible_as_a_whole_when_it_has_committed<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut log = sole(&mut fixture);
    let mut reader = fixture.reader();
    assert_eq!(
        commit(log.as_mut(), vec![part(0, None, 3, 2), part(2, None, 5, 1)]),
        Ended::Committed
    );
    for (partition, events) in [(0, 2), (1, 0), (2, 1)] {
        let found = seen::<F>(events, || events_of::<F>(reader.as_mut(), partition));
        assert_eq!(found.len(), events, "events of partition {partition}");
        let parked = usize::from(events > 0);
        let found = seen::<F>(parked, || read(reader.as_mut(), Topic::Parked, partition, 0));
        assert_eq!(found.len(), parked, "parked records of partition {partition}");
    }
    let first = &events_of::<F>(reader.as_mut(), 0)[1];
    assert_eq!((&first.key, &first.value), (&key_of(0), &1_u32.to_be_bytes().to_vec()));
    assert_eq!(reader.committed(0).unwrap(), Some(progress(3)));
    assert_eq!(reader.committed(1).unwrap(), None);
}

pub(crate) fn a_reader_never_sees_a_part_of_a_transaction<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut log = sole(&mut fixture);
    let mut reader = fixture.reader();
    for round in 1..=20 {
        let before = (round > 1).then(|| progress(round - 1));
        let parts = vec![part(0, before, round, 500), part(3, before, round, 500)];
        log.submit(Transaction { parts }).unwrap();
        let (mut has_ended, until) = (false, Instant::now() + LONG);
        loop {
            has_ended |= log.ended(Duration::ZERO).unwrap().is_some();
            // The later partition first: if it has the round, so has the earlier one.
            let later = events_of::<F>(reader.as_mut(), 3).len();
            let earlier = events_of::<F>(reader.as_mut(), 0).len();
            assert!(later.is_multiple_of(500) && earlier.is_multiple_of(500));
            assert!(earlier >= later, "{earlier} and then {later}");
            if has_ended && (F::IS_SEEN_AT_ONCE || later as u64 == 500 * round) {
                assert_eq!(later as u64, 500 * round);
                break;
            }
            assert!(Instant::now() < until, "{later} events in round {round}");
        }
    }
}

pub(crate) fn progress_is_what_was_committed_last<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut log = sole(&mut fixture);
    assert_eq!(log.committed(1).unwrap(), None);
    commit(log.as_mut(), vec![part(1, None, 10, 0)]);
    commit(log.as_mut(), vec![part(1, Some(progress(10)), 25, 0)]);
    assert_eq!(log.committed(1).unwrap(), Some(progress(25)));
    let mut only_events = part(1, Some(progress(25)), 0, 1);
    only_events.after = None;
    commit(log.as_mut(), vec![only_events]);
    assert_eq!(log.committed(1).unwrap(), Some(progress(25)), "left as it was");
}

pub(crate) fn commands_of_a_transaction_go_to_the_partitions_of_their_keys<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut log = sole(&mut fixture);
    let mut from_zero = part(0, None, 1, 1);
    for to in [3, 1, 3] {
        let key = key_of(to);
        let write = |out: &mut Vec<u8>| out.extend_from_slice(&to.to_be_bytes());
        from_zero.output.commands.push(Timestamp(0), |out| out.extend_from_slice(&key), write);
    }
    commit(log.as_mut(), vec![from_zero]);
    let mut taken: Vec<u32> = take(log.as_mut(), 3, 100).iter().map(|(to, _)| *to).collect();
    taken.sort_unstable();
    assert_eq!(taken, [1, 3, 3]);
}

/// Records with and without headers, in one transaction and in several, keep their order.
pub(crate) fn headers_of_a_transaction_stay_with_their_records<F: Fixture>() {
    for timestamps in [Timestamps::Append, Timestamps::Create] {
        let mut fixture = F::new(timestamps);
        let mut log = sole(&mut fixture);
        let mut before = None;
        // The first transaction has no headers at all, the last one on every second record.
        for (round, every) in [(1, None), (2, Some(1)), (3, None), (4, Some(2))] {
            let mut headed = part(2, before, round, 0);
            before = headed.after;
            for number in 0..4 {
                let write = |out: &mut Vec<u8>| out.extend_from_slice(&[round as u8, number]);
                let time = Timestamp(1_000 * i64::from(number));
                let Output { events, commands, .. } = &mut headed.output;
                for records in [events, commands] {
                    records.push(time, |out| out.extend_from_slice(&key_of(2)), write);
                    if every.is_some_and(|every| number % every == 0) {
                        add_headers(records, number);
                    }
                }
            }
            assert_eq!(commit(log.as_mut(), vec![headed]), Ended::Committed);
        }
        let mut reader = fixture.reader();
        let commands = commands::<F>(reader.as_mut(), 2, 16);
        let events = seen::<F>(16, || events_of::<F>(reader.as_mut(), 2));
        for records in [events, commands] {
            let values: Vec<_> = records.iter().map(|record| record.value.clone()).collect();
            let all = (1..=4).flat_map(|round| (0..4).map(move |number| vec![round, number]));
            assert_eq!(values, all.collect::<Vec<_>>());
            for Owned { value, headers, .. } in records {
                let [round, number] = value[..] else { panic!("{value:?}") };
                let headed = round == 2 || (round == 4 && number % 2 == 0);
                let expected = [
                    ("ce_type".to_owned(), b"counter.added".to_vec()),
                    ("number".to_owned(), vec![number]),
                    ("empty".to_owned(), Vec::new()),
                ];
                assert_eq!(headers, &expected[..if headed { 3 } else { 0 }], "{value:?}");
            }
        }
        // Whoever decides the commands sees them as well.
        let taken = take(log.as_mut(), 16, 100);
        let headed = taken.iter().filter(|(_, record)| record.headers.len() == 3);
        assert_eq!(headed.count(), 6);
    }
}

fn add_headers(records: &mut Records, number: u8) {
    records.add_headers(|_, out| {
        push_header(out, "ce_type", |out| out.extend_from_slice(b"counter.added"));
        push_header(out, "number", |out| out.push(number));
        push_header(out, "empty", |_| {});
    });
}

pub(crate) fn a_reader_begins_anywhere_and_stops_when_told<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let positions = append(fixture.producer().as_mut(), &numbered(0, 0..50));
    append(fixture.producer().as_mut(), &numbered(0, 50..60));
    let mut reader = fixture.reader();
    assert_eq!(commands::<F>(reader.as_mut(), 0, 60).len(), 60);
    for nth in [0, 1, 25, 49] {
        let records = read(reader.as_mut(), Topic::Commands, 0, positions[nth].1);
        assert_eq!(records.len(), 60 - nth, "from record {nth}");
    }
    let end = reader.end(Topic::Commands, 0).unwrap();
    assert!(end > positions[49].1);
    assert_eq!(read(reader.as_mut(), Topic::Commands, 0, end), []);
    let mut seen = 0;
    let next = reader.read(Topic::Commands, 0, 0, &mut |_| {
        seen += 1;
        if seen == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(read(reader.as_mut(), Topic::Commands, 0, next.unwrap()).len(), 53);
}

pub(crate) fn a_transaction_for_a_partition_of_another_leaves_nothing<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let (mut one, mut other) = two(&mut fixture);
    let (mine, theirs) = (one.1[0], other.1[0]);
    let parts = vec![part(mine, None, 1, 1), part(theirs, None, 1, 1)];
    let ended = one.0.submit(Transaction { parts }).and_then(|()| one.0.ended(LONG));
    match ended {
        Ok(ended) => assert_eq!(ended.unwrap().1, Ended::Aborted),
        Err(error) => assert_eq!(error.kind, ErrorKind::Fenced),
    }
    for partition in [mine, theirs] {
        assert_eq!(events_of::<F>(other.0.as_mut(), partition), []);
        assert_eq!(other.0.committed(partition).unwrap(), None);
    }
}

pub(crate) fn what_is_still_owned_is_submitted_again_after_an_abort<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let (mut one, mut other) = two(&mut fixture);
    let (mine, theirs) = (one.1[0], other.1[0]);
    let parts = vec![part(mine, None, 1, 3), part(theirs, None, 1, 1)];
    one.0.submit(Transaction { parts }).unwrap();
    let (mut transaction, ended) = end(one.0.as_mut());
    assert_eq!(ended, Ended::Aborted);
    transaction.parts.retain(|part| part.partition == mine);
    // Once all changes of ownership are heard; on brokers one may still be under way.
    let mut rounds = 0;
    loop {
        hear(one.0.as_mut(), &mut one.1);
        hear(other.0.as_mut(), &mut other.1);
        one.0.submit(transaction).unwrap();
        match end(one.0.as_mut()) {
            (_, Ended::Committed) => break,
            (again, _) => transaction = again,
        }
        rounds += 1;
        assert!(rounds < 100, "still aborted");
    }
    let events = seen::<F>(3, || events_of::<F>(other.0.as_mut(), mine));
    assert_eq!(events.len(), 3);
}

/// Two members and what each owns.
fn two<F: Fixture>(fixture: &mut F) -> (Owner, Owner) {
    let (mut one, mut other) = ((fixture.join(), vec![]), (fixture.join(), vec![]));
    for _ in 0..500 {
        for (log, owned) in [&mut one, &mut other] {
            hear(log.as_mut(), owned);
        }
        if one.1.len() == 2 && other.1.len() == 2 {
            return (one, other);
        }
    }
    panic!("{:?} and {:?} are no even shares", one.1, other.1);
}

type Owner = (Box<dyn Log>, Vec<u32>);

/// One poll for a change of ownership.
fn hear(log: &mut dyn Log, owned: &mut Vec<u32>) {
    match log.poll(0, Duration::from_millis(20)).unwrap() {
        Polled::Assigned(partitions) => owned.extend(partitions),
        Polled::Revoked(partitions) => {
            owned.retain(|partition| !partitions.contains(partition));
            log.release(&partitions).unwrap();
        }
        Polled::Lost(partitions) => owned.retain(|partition| !partitions.contains(partition)),
        Polled::Idle => {}
        Polled::Batch(batch) => panic!("asked for no records and got {batch:?}"),
    }
}

pub(crate) fn members_share_the_partitions_and_hand_over_only_what_is_released<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut first = sole(&mut fixture);
    let mut second = fixture.join();
    let mut revoked = Vec::new();
    for _ in 0..1_000 {
        if let Polled::Revoked(partitions) = first.poll(0, Duration::from_millis(20)).unwrap() {
            revoked = partitions;
            break;
        }
        assert!(matches!(second.poll(0, Duration::from_millis(1)).unwrap(), Polled::Idle));
    }
    assert_eq!(revoked.len(), 2);
    let early = second.poll(0, Duration::from_millis(20)).unwrap();
    assert!(matches!(early, Polled::Idle), "not released yet: {early:?}");
    // What was asked back may still be committed for.
    let parts = vec![part(revoked[0], None, 1, 1)];
    assert_eq!(commit(first.as_mut(), parts), Ended::Committed);
    first.release(&revoked).unwrap();
    let mut owned = Vec::new();
    own(second.as_mut(), 2, &mut owned);
    assert_eq!(owned, revoked);
    assert_eq!(second.committed(revoked[0]).unwrap(), Some(progress(1)));
    // The first commits no more for what it gave up.
    let parts = vec![part(revoked[0], Some(progress(1)), 2, 1)];
    let ended = first.submit(Transaction { parts }).and_then(|()| first.ended(LONG));
    assert!(!matches!(ended, Ok(Some((_, Ended::Committed)))), "{ended:?}");
    assert_eq!(second.committed(revoked[0]).unwrap(), Some(progress(1)));
}

pub(crate) fn a_member_that_is_gone_leaves_its_partitions<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let (one, mut other) = two(&mut fixture);
    drop(one);
    own(other.0.as_mut(), PARTITIONS as usize, &mut other.1);
    assert_eq!(other.1, [0, 1, 2, 3]);
}

pub(crate) fn a_member_that_was_thrown_out_is_fenced<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut zombie = sole(&mut fixture);
    fixture.expel_last();
    let mut heir = fixture.join();
    own(heir.as_mut(), PARTITIONS as usize, &mut Vec::new());
    let parts = vec![part(0, None, 1, 1)];
    let ended = zombie.submit(Transaction { parts }).and_then(|()| zombie.ended(LONG));
    match ended {
        Err(error) => assert_eq!(error.kind, ErrorKind::Fenced, "{error}"),
        Ok(ended) => assert_eq!(ended.unwrap().1, Ended::Aborted),
    }
    assert_eq!(heir.committed(0).unwrap(), None);
    assert_eq!(commit(heir.as_mut(), vec![part(0, None, 1, 1)]), Ended::Committed);
}

pub(crate) fn a_bookmark_moves_with_its_commands<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut producer = fixture.producer();
    assert_eq!(producer.bookmark("file.csv").unwrap(), None);
    let key = key_of(0);
    let command = Command { key: &key, value: b"v", timestamp: Timestamp(0), headers: &[] };
    for next in [10, 20] {
        producer.append(&[command], Some(Bookmark { name: "file.csv", next })).unwrap();
    }
    producer.append(&[], Some(Bookmark { name: "other", next: 1 })).unwrap();
    drop(producer);
    fixture.reopen();
    let mut producer = fixture.producer();
    assert_eq!(producer.bookmark("file.csv").unwrap(), Some(20));
    assert_eq!(producer.bookmark("other").unwrap(), Some(1));
    assert_eq!(commands::<F>(fixture.reader().as_mut(), 0, 2).len(), 2);
}

pub(crate) fn a_schema_has_one_id_for_ever<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let schema = |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let (old, new) = (schema(""), schema(r#"{"name":"n","type":"int","default":0}"#));
    let mut log = fixture.join();
    let id = log.schema_id("R", &old).unwrap();
    assert_eq!(log.schema_id("R", &old).unwrap(), id);
    assert_eq!(fixture.producer().schema_id("R", &old).unwrap(), id);
    let newer = log.schema_id("R", &new).unwrap();
    assert_ne!(newer, id);
    assert_eq!(fixture.reader().schema_of(newer + 1_000_000).unwrap().schema(), None);
    drop(log);
    fixture.reopen();
    let known = fixture.reader().schema_of(id).unwrap().schema().unwrap();
    assert_eq!((known.name.as_str(), known.text), ("R", old.clone()));
    assert_eq!(fixture.producer().schema_id("R", &old).unwrap(), id);
}

pub(crate) fn a_tick_is_a_record_of_its_partition<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let mut log = sole(&mut fixture);
    log.append_tick(3, b"tick").unwrap();
    let ticks = take(log.as_mut(), 1, 10);
    assert_eq!((ticks[0].0, ticks[0].1.value.as_slice()), (3, &b"tick"[..]));
}

pub(crate) fn everything_is_there_after_reopening<F: Fixture>() {
    let mut fixture = F::new(Timestamps::Append);
    let identity = fixture.reader().identity().clone();
    append(fixture.producer().as_mut(), &numbered(1, 0..100));
    let mut log = sole(&mut fixture);
    take(log.as_mut(), 100, 1_000);
    commit(log.as_mut(), vec![part(1, None, 60, 7)]);
    drop(log);
    fixture.reopen();
    let mut reader = fixture.reader();
    assert_eq!(*reader.identity(), identity);
    assert_eq!(reader.committed(1).unwrap(), Some(progress(60)));
    let events = seen::<F>(7, || events_of::<F>(reader.as_mut(), 1));
    assert_eq!(events.len(), 7);
    append(fixture.producer().as_mut(), &numbered(1, 100..110));
    let mut log = fixture.join();
    own(log.as_mut(), PARTITIONS as usize, &mut Vec::new());
    log.start(1, 0).unwrap();
    let values: Vec<_> = take(log.as_mut(), 110, 64).into_iter().map(|r| r.1.value).collect();
    let expected: Vec<_> = numbered(1, 0..110).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, expected);
}
