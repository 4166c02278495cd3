//! What a retry, a take-over or a search for one event reads: not the whole table.

use crate::world::World;

/// Granules that a question reads, and those of its table.
fn granules(world: &World, sql: &str) -> (u64, u64) {
    #[derive(serde::Deserialize)]
    struct Row {
        explain: String,
    }
    let rows: Vec<Row> =
        world.server.ask("explain", &format!("EXPLAIN indexes = 1 {sql}"), &[]).unwrap();
    let steps: Vec<(u64, u64)> = rows
        .iter()
        .filter_map(|row| row.explain.split_once("Granules: ")?.1.split_once('/'))
        .map(|(read, all)| (read.trim().parse().unwrap(), all.trim().parse().unwrap()))
        .collect();
    (steps.last().unwrap().0, steps.first().unwrap().1)
}

#[test]
fn what_is_new_is_found_without_reading_what_is_old() {
    let mut world = World::with_bookings(2, 30_000);
    world.land();
    for table in ["room_nights", "bookings", "events"] {
        world.server.run("merge", &format!("OPTIMIZE TABLE {table} FINAL")).unwrap();
    }
    world.append_bookings(100);
    world.land();
    for table in ["room_nights", "bookings"] {
        for of in ["`offset` > 14999", "`offset` BETWEEN 15000 AND 15049"] {
            let sql = format!("SELECT count() FROM {table} WHERE `partition` = 0 AND {of}");
            let (read, all) = granules(&world, &sql);
            assert!(read <= 2 && all >= 3, "{table} {of}: {read} of {all}");
        }
    }
    // Nothing of another partition either, whatever its offsets are.
    let (read, all) =
        granules(&world, "SELECT count() FROM room_nights WHERE `partition` = 7 AND `offset` = 9");
    assert!(read == 0 && all >= 3, "{read} of {all}");
}

#[test]
fn an_event_is_found_by_its_ids_without_reading_all_events() {
    let world = World::with_bookings(1, 30_000);
    world.land();
    world.server.run("merge", "OPTIMIZE TABLE events FINAL").unwrap();
    for id in ["message_id", "reservation_id", "correlation_id"] {
        let nobody = format!(
            "SELECT count() FROM events WHERE {id} = '{}'",
            uuid::Uuid::from_u128(0xdead_beef)
        );
        let (read, all) = granules(&world, &nobody);
        assert!(read == 0 && all >= 3, "{id}: {read} of {all}");
    }
    #[derive(serde::Deserialize)]
    struct Row {
        id: String,
    }
    let some = "SELECT toString(message_id) AS id FROM events WHERE `offset` = 20000";
    let rows: Vec<Row> = world.server.ask("one event", some, &[]).unwrap();
    let (read, all) = granules(
        &world,
        &format!("SELECT `offset` FROM events WHERE message_id = '{}'", rows[0].id),
    );
    assert!(read == 1 && all >= 3, "{read} of {all}");
}
