//! Everything lands, once, whatever the batches.

use std::time::Duration;

use bellhop_core::avro::Avro as _;
use bellhop_core::message::Timestamp;
use bellhop_core::record::frame;

use crate::stream::{InLog as _, Known};
use crate::world::{World, bookings, until_all};

#[test]
fn every_event_lands_once_with_all_its_rows_and_views() {
    let mut world = World::with_bookings(3, 20_000);
    let status = world.land();
    assert_eq!((status.events, status.parked, status.waiting_bytes), (20_000, 0, 0));
    assert!(status.batches > 6, "{status:?}");
    world.assert_whole();
    assert!(world.number("SELECT sum(units) FROM daily_sales") > 1_000);
    assert!(world.number("SELECT count() FROM daily_pickup") > 100);
}

#[test]
fn a_batch_is_one_part_of_each_table() {
    let mut world = World::new(1);
    for table in ["events", "room_nights", "bookings"] {
        world.server.run("stop merges", &format!("SYSTEM STOP MERGES {table}")).unwrap();
    }
    world.append_bookings(5_000);
    let mut config = world.config.clone();
    config.batching.rows_max = 1_000_000;
    config.batching.age_max = Duration::from_millis(500);
    let status = world.land_with(config);
    for table in ["events", "room_nights", "bookings"] {
        let sql = format!(
            "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = '{table}'"
        );
        assert_eq!(world.number(&sql), status.batches as i64, "{table}");
    }
}

#[test]
fn a_sink_that_comes_back_goes_on_where_it_was() {
    let mut world = World::with_bookings(2, 2_000);
    world.land();
    world.append_bookings(3_000);
    let again = world.land();
    assert_eq!(again.events, 3_000);
    world.assert_whole();
    assert_eq!(world.land().events, 0);
}

#[test]
fn a_replay_into_full_tables_skips_what_is_there() {
    let mut world = World::with_bookings(2, 3_000);
    world.land();
    let mut sink = bellhop_clickhouse::Sink::new(
        world.config.clone(),
        Box::new(world.book.log.consume("another group, with no mark")),
    )
    .unwrap();
    let status = sink.run_until(until_all(&world.book.counts)).unwrap();
    assert_eq!(status.events, 0);
    drop(sink);
    world.append_bookings(500);
    let mut sink = bellhop_clickhouse::Sink::new(
        world.config.clone(),
        Box::new(world.book.log.consume("another group, with no mark")),
    )
    .unwrap();
    assert_eq!(sink.run_until(until_all(&world.book.counts)).unwrap().events, 500);
    drop(sink);
    world.assert_whole();
}

#[test]
fn emptied_tables_are_filled_from_the_start() {
    let mut world = World::with_bookings(2, 2_000);
    world.land();
    for table in world.server.ask::<Name>("tables", "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND name NOT IN ('migrations', 'log')", &[]).unwrap() {
        world.server.run("empty", &format!("TRUNCATE TABLE {}", table.name)).unwrap();
    }
    assert_eq!(world.land().events, 2_000);
    world.assert_whole();
}

#[derive(serde::Deserialize)]
struct Name {
    name: String,
}

#[test]
fn memory_is_bounded_and_nothing_is_lost_for_it() {
    let mut world = World::with_bookings(2, 30_000);
    let mut config = world.config.clone();
    config.memory_bytes_max = 1 << 20;
    config.poll_records_max = 500;
    let mut most = 0;
    let mut sink = world.sink_with(config.clone());
    let mut all = until_all(&world.book.counts);
    sink.run_until(|status| {
        most = most.max(status.waiting_bytes);
        all(status)
    })
    .unwrap();
    drop(sink);
    // A poll's worth may come on top.
    assert!(most > 100_000 && most < config.memory_bytes_max + (2 << 20), "{most}");
    world.assert_whole();
}

#[test]
fn an_event_alone_lands_without_others_that_fill_its_batch() {
    let mut world = World::with_bookings(1, 10);
    world.land();
    let mut config = world.config.clone();
    config.batching = bellhop_clickhouse::Batching::default();
    world.book.append(0, &bookings()[10..11]);
    world.sink_with(config).run_until(until_all(&world.book.counts)).unwrap();
    world.assert_whole();
}

#[test]
fn what_cannot_be_expanded_is_parked_with_its_cause_and_the_partition_goes_on() {
    let mut world = World::with_bookings(1, 100);
    let good = &bookings()[100];
    let mut damaged = Vec::new();
    let id = world.book.schema_id("bellhop.event.ReservationCreated", "not the schema");
    frame(id, &mut damaged);
    damaged.extend_from_slice(b"anything");
    let mut unknown_id = Vec::new();
    frame(4_000_000, &mut unknown_id);
    world.book.append_raw(
        0,
        vec![
            (Timestamp(7), b"no frame".to_vec()),
            (Timestamp(8), Vec::new()),
            (Timestamp(9), damaged),
            (Timestamp(10), unknown_id),
        ],
    );
    // Not UTF-8 where text should be, and an event cut short.
    let own = KNOWN_CREATED();
    let id = world.book.schema_id("bellhop.event.ReservationCreated", &own);
    let mut cut = Vec::new();
    frame(id, &mut cut);
    good.meta(104).encode(&mut cut);
    cut.extend_from_slice(&good.datum()[..10]);
    let mut not_text = Vec::new();
    frame(id, &mut not_text);
    good.meta(105).encode(&mut not_text);
    let mut datum = good.datum();
    let at = datum.windows(4).position(|window| window == b"RSV-").unwrap();
    datum[at] = 0xff;
    not_text.extend_from_slice(&datum);
    world.book.append_raw(0, vec![(good.at, cut), (good.at, not_text)]);
    // A night that ClickHouse has no day for.
    let mut late = good.clone();
    if let crate::stream::Event::ReservationCreated(event) = &mut late.event {
        event.lines[0].arrival = bellhop_schemas::night::Night(2_000_000);
    }
    world.book.append(0, &[late, good.clone()]);
    let status = world.land();
    assert_eq!((status.events, status.parked), (108, 7));
    world.assert_whole();
    #[derive(Debug, serde::Deserialize)]
    struct Parked {
        offset: i64,
        cause: String,
    }
    let parked: Vec<Parked> = world
        .server
        .ask("parked", "SELECT offset, cause FROM parked ORDER BY offset", &[])
        .unwrap();
    for (parked, (offset, word)) in parked.iter().zip([
        (100, "frame"),
        (101, "frame"),
        (102, "schema"),
        (103, "schema id 4000000"),
        (104, "expand event"),
        (105, "UTF-8"),
        (106, "1900 to 2299"),
    ]) {
        assert!(parked.offset == offset && parked.cause.contains(word), "{parked:?} {word}");
    }
    assert_eq!(parked.len(), 7);
}

#[expect(non_snake_case, reason = "it stands for a constant")]
fn KNOWN_CREATED() -> String {
    let known = bellhop_ledger::KNOWN.iter();
    let created = known.clone().find(|known| known.type_name == "reservation.created").unwrap();
    (created.schema)()
}

#[test]
fn an_event_of_a_type_that_is_not_known_lands_with_its_json() {
    let mut world = World::with_bookings(1, 10);
    let own = KNOWN_CREATED();
    let (head, fields) = own.split_once("\"fields\":[").unwrap();
    let meta_end = fields.find(",{\"name\":\"property_id\"").unwrap();
    let future = format!(
        "{}\"fields\":[{},{{\"name\":\"mood\",\"type\":\"string\"}}]}}",
        head.replace("ReservationCreated", "MoodChanged"),
        &fields[..meta_end]
    );
    let id = world.book.schema_id("bellhop.event.MoodChanged", &future);
    let mut value = Vec::new();
    frame(id, &mut value);
    bookings()[0].meta(10).encode(&mut value);
    value.extend_from_slice(b"\x08gute");
    world.book.append_raw(0, vec![(Timestamp(1), value)]);
    let status = world.land();
    assert_eq!((status.events, status.parked), (11, 0));
    assert_eq!(
        world.number(
            r#"SELECT count() FROM events WHERE name = 'bellhop.event.MoodChanged' AND payload = '{"mood":"gute"}'"#
        ),
        1
    );
    world.assert_whole();
}

#[test]
fn enormous_text_lands() {
    let mut world = World::new(1);
    let mut events: Vec<Known> = bookings()[..60].to_vec();
    for known in &mut events {
        if let crate::stream::Event::ReservationCreated(event) = &mut known.event {
            event.confirmation_number = "ü".repeat(600_000).into();
        }
    }
    world.book.append(0, &events);
    assert_eq!(world.land().events, 60);
    world.assert_whole();
    assert!(world.number("SELECT max(length(payload)) FROM events") > 1_200_000);
}

#[test]
fn a_field_added_to_an_event_does_not_stop_a_sink_that_does_not_know_it() {
    let mut world = World::with_bookings(1, 600);
    let mut sink = world.sink();
    sink.run_until(until_all(&world.book.counts)).unwrap();
    // A newer program has brought the column, and the newer schema.
    let sql = "ALTER TABLE bookings ADD COLUMN mood LowCardinality(Nullable(String)) AFTER reason";
    world.server.run("a newer migration", sql).unwrap();
    let mut newer: serde_json::Value = serde_json::from_str(&KNOWN_CREATED()).unwrap();
    let field = serde_json::json!({"name": "mood", "type": ["null", "string"], "default": null});
    newer["fields"].as_array_mut().unwrap().push(field);
    let id = world.book.schema_id("bellhop.event.ReservationCreated", &newer.to_string());
    let is_created = |known: &&Known| known.name() == "bellhop.event.ReservationCreated";
    let created = bookings()[600..].iter().find(is_created).unwrap();
    let mut value = Vec::new();
    frame(id, &mut value);
    created.meta(600).encode(&mut value);
    value.extend_from_slice(&created.datum());
    value.extend_from_slice(b"\x02\x08gute");
    world.book.append_raw(0, vec![(created.at, value)]);
    world.append_bookings(50);
    let status = sink.run_until(until_all(&world.book.counts)).unwrap();
    drop(sink);
    assert_eq!((status.events, status.parked), (651, 0));
    let landed = "SELECT count() FROM bookings WHERE offset = 600 AND booked = 1 AND mood IS NULL";
    assert_eq!(world.number(landed), 1);
    world.assert_whole();
}
