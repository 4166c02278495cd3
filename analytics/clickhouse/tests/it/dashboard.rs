//! Each panel of the Grafana dashboards, asked of the real engine with the real data, in the time
//! range that its dashboard opens with.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::kpis::real;
use crate::world::World;

const HOTELS: &str = include_str!("../../../../docker/grafana/dashboards/bellhop.json");
const SINK: &str = include_str!("../../../../docker/grafana/dashboards/bellhop-sink.json");

/// When the hotels of the real data were at work: their dashboard is opened then.
const THEN: &str = "2016-07-01";
const THEN_S: i64 = 1_467_331_200;
const DAY_S: i64 = 86_400;

type Rows = Vec<Map<String, Value>>;

/// A dashboard, opened at a time.
struct Dashboard {
    json: Value,
    from: i64,
    to: i64,
    /// What stands for today.
    today: Option<&'static str>,
    /// What is chosen of each list: the first, as Grafana does.
    chosen: Vec<(String, Vec<String>)>,
    /// Zone of the server.
    zone: &'static str,
}

impl Dashboard {
    fn hotels(world: &World) -> Self {
        Self::open(world, HOTELS, THEN_S, Some(THEN), "UTC")
    }

    fn sink(world: &World) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Self::open(world, SINK, now as i64, None, "UTC")
    }

    fn open(
        world: &World,
        json: &str,
        now: i64,
        today: Option<&'static str>,
        zone: &'static str,
    ) -> Self {
        let json: Value = serde_json::from_str(json).unwrap();
        let at = |edge: &str| instant(json["time"][edge].as_str().unwrap(), now);
        let (from, to) = (at("from"), at("to"));
        let variables = json["templating"]["list"].as_array().unwrap().clone();
        let mut this = Self { json, from, to, today, chosen: Vec::new(), zone };
        for variable in variables {
            let name = variable["name"].as_str().unwrap().to_owned();
            let rows = this.ask(world, variable["query"].as_str().unwrap());
            let values = rows.iter().map(|row| row.values().next().unwrap().as_str().unwrap());
            let values = values.map(str::to_owned).collect::<Vec<_>>();
            assert!(!values.is_empty(), "{name} has nothing to choose from");
            let all = variable["includeAll"] == true;
            let count = if all { values.len() } else { 1 };
            this.chosen.push((name, values[..count].to_vec()));
        }
        this
    }

    fn choose(&mut self, name: &str, value: &str) {
        let chosen = self.chosen.iter_mut().find(|(variable, _)| variable == name).unwrap();
        chosen.1 = vec![value.to_owned()];
    }

    fn panels(&self) -> Vec<Value> {
        self.json["panels"].as_array().unwrap().clone()
    }

    fn panel(&self, world: &World, title: &str) -> Rows {
        let panels = self.panels();
        let panel = panels.iter().find(|panel| panel["title"] == title).unwrap();
        self.ask(world, panel["targets"][0]["rawSql"].as_str().unwrap())
    }

    fn ask(&self, world: &World, sql: &str) -> Rows {
        let sql = format!("{} SETTINGS session_timezone = '{}'", self.filled_in(sql), self.zone);
        world.server.ask("ask a panel", &sql, &[]).unwrap()
    }

    /// The SQL as Grafana would send it.
    fn filled_in(&self, sql: &str) -> String {
        let mut sql = sql.to_owned();
        if let Some(today) = self.today {
            sql = sql.replace("today()", &format!("toDate('{today}')"));
        }
        for (name, values) in &self.chosen {
            let quoted: Vec<_> = values.iter().map(|value| format!("'{value}'")).collect();
            sql = sql.replace(&format!("${{{name}:singlequote}}"), &quoted.join(","));
            sql = sql.replace(&format!("${{{name}}}"), &values[0]);
        }
        while let Some((before, rest)) = sql.split_once("$__timeFilter(") {
            // The column may have parentheses of its own.
            let mut depth = 1;
            let end = rest.char_indices().find(|(_, c)| {
                depth += i32::from(*c == '(') - i32::from(*c == ')');
                depth == 0
            });
            let (column, after) = rest.split_at(end.unwrap().0);
            let (from, to) = (self.from, self.to);
            sql = format!(
                "{before}({column} >= toDateTime({from}) AND {column} <= toDateTime({to})){}",
                &after[1..]
            );
        }
        assert!(!sql.contains('$'), "not filled in: {sql}");
        sql
    }
}

/// An instant as a dashboard names it, relative to the time: like `now-1h` or `now+12M/M`.
fn instant(text: &str, now: i64) -> i64 {
    let rest = text.strip_prefix("now").unwrap();
    let rest = rest.split('/').next().unwrap();
    let Some(unit) = rest.chars().last() else { return now };
    let count: i64 = rest[..rest.len() - 1].parse().unwrap();
    let seconds = match unit {
        'h' => 3_600,
        'd' => DAY_S,
        // To the month is near enough.
        'M' => 365 * DAY_S / 12,
        _ => panic!("{text}"),
    };
    now + count * seconds
}

#[test]
fn every_panel_has_rows_a_unit_and_a_place_of_its_own() {
    for dashboard in [Dashboard::hotels(real()), Dashboard::sink(real())] {
        let mut places = Vec::new();
        for panel in dashboard.panels() {
            let title = panel["title"].as_str().unwrap();
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{title} says nothing");
            let at = |name: &str| panel["gridPos"][name].as_i64().unwrap();
            assert!(at("x") + at("w") <= 24, "{title} is off the page");
            for y in at("y")..at("y") + at("h") {
                for x in at("x")..at("x") + at("w") {
                    assert!(!places.contains(&(x, y)), "{title} lies on another");
                    places.push((x, y));
                }
            }
            for target in panel["targets"].as_array().unwrap() {
                let rows = dashboard.ask(real(), target["rawSql"].as_str().unwrap());
                // The real data have no refusal; `a_refusal_shows_with_its_reason` has.
                assert!(!rows.is_empty() || title == "Refusals by reason", "{title} has no rows");
            }
        }
    }
}

#[test]
fn panels_show_what_the_real_hotels_did() {
    let of = |rows: &Rows, month: &str, property: &str| {
        let row = rows.iter().find(|row| {
            row["time"].as_str().unwrap().starts_with(month)
                && row["property"].as_str().unwrap().starts_with(property)
        });
        row.unwrap()["value"].as_f64().unwrap()
    };
    let kpi = |name: &str, month: &str, property: &str| {
        let now = bellhop_clickhouse::kpi::AsOf::Now;
        let answers = bellhop_clickhouse::kpi::answer(&real().server, name, now).unwrap();
        let figure = answers.iter().find(|figure| {
            figure.property == property && figure.month_of_stay.as_deref() == Some(month)
        });
        figure.unwrap().value.unwrap()
    };
    let mut dashboard = Dashboard::hotels(real());
    for (title, name, unit) in
        [("Occupancy", "occupancy", 1.0), ("ADR", "adr", 100.0), ("RevPAR", "revpar", 100.0)]
    {
        let rows = dashboard.panel(real(), title);
        for property in ["City Hotel", "Resort Hotel"] {
            for month in ["2015-08", "2016-05", "2017-06"] {
                let (shown, wanted) =
                    (of(&rows, month, property), kpi(name, month, property) / unit);
                assert!((shown - wanted).abs() < 1e-9 * wanted, "{title} {month} {shown} {wanted}");
            }
        }
    }
    // The last word on a month is what was on the books in the end.
    dashboard.choose("stay_month", "2016-08-01");
    let on_the_books = dashboard.panel(real(), "On the books for ${stay_month}");
    let last = on_the_books.iter().rfind(|row| row["property"] == "City Hotel").unwrap();
    assert_eq!(last["value"].as_f64().unwrap(), kpi("room_nights", "2016-08", "City Hotel"));
    let sink = Dashboard::sink(real());
    assert_eq!(sink.panel(real(), "Gaps")[0]["gaps"], 0);
    assert_eq!(sink.panel(real(), "Parked")[0]["parked"], 0);
}

#[test]
fn a_servers_time_zone_moves_nothing() {
    let here = Dashboard::hotels(real());
    for zone in ["America/Los_Angeles", "Asia/Tokyo"] {
        let there = Dashboard::open(real(), HOTELS, THEN_S, Some(THEN), zone);
        for panel in here.panels() {
            let sql = panel["targets"][0]["rawSql"].as_str().unwrap();
            let rows = [&here, &there].map(|dashboard| dashboard.ask(real(), sql));
            assert_eq!(rows[0], rows[1], "{} with a server in {zone}", panel["title"]);
        }
    }
}

#[test]
fn the_first_month_to_choose_is_the_one_that_is_now() {
    let dashboard = Dashboard::hotels(real());
    let (_, month) = dashboard.chosen.iter().find(|(name, _)| name == "stay_month").unwrap();
    assert_eq!(month[0], THEN);
}

#[test]
fn money_is_shown_in_units_of_its_currency() {
    let world = World::with_bookings(1, 3_000);
    world.land();
    for (currency, decimals) in [("JPY", 0_i32), ("KWD", 3), ("EUR", 2)] {
        // The same hotel, had it another currency.
        for table in ["daily_sales", "properties"] {
            let sql = format!(
                "ALTER TABLE {table} UPDATE currency = '{currency}' WHERE 1 SETTINGS mutations_sync = 1, allow_nondeterministic_mutations = 1"
            );
            // A key cannot be updated.
            let sql = if table == "daily_sales" {
                format!(
                    "CREATE OR REPLACE TABLE of_{currency} ENGINE = Memory AS SELECT * REPLACE ('{currency}' AS currency) FROM daily_sales"
                )
            } else {
                sql
            };
            world.server.run("change the currency", &sql).unwrap();
        }
        world.server.run("empty", "TRUNCATE TABLE daily_sales").unwrap();
        world
            .server
            .run("fill", &format!("INSERT INTO daily_sales SELECT * FROM of_{currency}"))
            .unwrap();
        let dashboard = Dashboard::hotels(&world);
        assert_eq!(dashboard.chosen[1].1, [currency]);
        let minor = world.number("SELECT sum(room) FROM daily_sales WHERE toStartOfMonth(stay_night) = '2015-08-01' AND property_id = (SELECT min(property_id) FROM properties)") as f64;
        let nights = world.number("SELECT sum(units) FROM daily_sales WHERE toStartOfMonth(stay_night) = '2015-08-01' AND property_id = (SELECT min(property_id) FROM properties)") as f64;
        let rows = dashboard.panel(&world, "ADR");
        let wanted = minor / nights / 10_f64.powi(decimals);
        let is_wanted = |row: &Map<String, Value>| {
            row["time"].as_str().unwrap().starts_with("2015-08")
                && (row["value"].as_f64().unwrap() - wanted).abs() < 1e-6 * wanted
                && row["property"].as_str().unwrap().ends_with(currency)
        };
        assert!(rows.iter().any(is_wanted), "{currency}: {wanted} is not in {rows:?}");
    }
}

#[test]
fn every_currency_has_the_exponent_that_amounts_are_written_with() {
    #[derive(serde::Deserialize)]
    struct Row {
        currency: String,
        exponent: u16,
    }
    let sql = "SELECT currency, exponent FROM currencies ORDER BY currency";
    let rows: Vec<Row> = real().server.ask("currencies", sql, &[]).unwrap();
    let mut known = 0;
    for letters in (0..26_u32.pow(3)).map(|n| [n / 676, n / 26 % 26, n % 26]) {
        let code: String = letters.iter().map(|n| char::from(b'A' + *n as u8)).collect();
        let Ok(currency) = code.parse::<bellhop_schemas::money::Currency>() else { continue };
        let found = rows.iter().find(|row| row.currency == code).map(|row| row.exponent);
        assert_eq!(found, currency.exponent(), "{code}");
        known += usize::from(found.is_some());
    }
    assert_eq!(known, rows.len());
}

#[test]
fn products_without_statistics_are_on_no_books() {
    let world = World::with_bookings(1, 3_000);
    world.land();
    let dashboard = Dashboard::hotels(&world);
    let panels = ["On the books for ${stay_month}", "Pickup for ${stay_month}"];
    let month = &dashboard.chosen.iter().find(|(name, _)| name == "stay_month").unwrap().1[0];
    let counted = || {
        panels.map(|title| {
            let rows = dashboard.panel(&world, title);
            let last = |property: &str| {
                rows.iter().rfind(|row| row["property"] == property).map(|row| row["value"].clone())
            };
            (rows.len(), last("City Hotel"), last("Resort Hotel"))
        })
    };
    let before = counted();
    let of_product = format!(
        "(SELECT property_id, product FROM daily_pickup WHERE stay_month = '{month}' GROUP BY property_id, product ORDER BY sum(units) DESC LIMIT 1)"
    );
    let sql = format!(
        "ALTER TABLE products UPDATE statistics = false WHERE (property_id, product) IN {of_product} SETTINGS mutations_sync = 1, allow_nondeterministic_mutations = 1"
    );
    world.server.run("a product that is no room", &sql).unwrap();
    let after = counted();
    for (title, (before, after)) in panels.iter().zip(before.iter().zip(&after)) {
        assert_ne!(before, after, "{title} counts what is no room");
    }
}

#[test]
fn properties_of_one_code_are_shown_apart_and_chosen_apart() {
    let world = World::with_bookings(1, 3_000);
    world.land();
    let both = Dashboard::hotels(&world);
    let sql = "ALTER TABLE properties UPDATE code = 'Inn' WHERE 1 SETTINGS mutations_sync = 1";
    world.server.run("one code", sql).unwrap();
    let same = Dashboard::hotels(&world);
    let ids = &same.chosen[0].1;
    assert_eq!(ids.len(), 2, "{ids:?}");
    for panel in both.panels() {
        let title = panel["title"].as_str().unwrap();
        let (before, after) = (both.panel(&world, title), same.panel(&world, title));
        assert_eq!(before.len(), after.len(), "{title}");
        if title == "Refusals by reason" {
            continue;
        }
        let mut series: Vec<_> = after
            .iter()
            .map(|row| (row["time"].as_str().unwrap(), row["property"].as_str().unwrap()))
            .collect();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), after.len(), "{title} has two values at one time");
        assert!(series.iter().all(|(_, property)| property.starts_with("Inn (")), "{title}");
        // Each chosen alone shows its own series, and both together are all.
        let mut shown = 0;
        for id in ids {
            let mut one = Dashboard::hotels(&world);
            one.choose("property", id);
            let rows = one.panel(&world, title);
            let is_it = |row: &Map<String, Value>| row["property"].as_str().unwrap().contains(id);
            assert!(rows.iter().all(is_it), "{title}: {rows:?}");
            shown += rows.len();
        }
        assert_eq!(shown, after.len(), "{title}");
    }
}

#[test]
fn a_row_of_reservations_says_what_became_of_one() {
    let number = |sql: &str| real().number(sql);
    for (view, ledger) in [
        ("SELECT count() FROM reservations", "SELECT sum(booked) FROM bookings"),
        (
            "SELECT count() FROM reservations WHERE status = 'cancelled'",
            "SELECT countDistinct(property_id, reservation_id) FROM bookings WHERE cancelled > 0",
        ),
        (
            "SELECT sum(room_nights) FROM reservations",
            "SELECT sum(units) FROM room_nights WHERE kind = 'room'",
        ),
    ] {
        let (view_says, ledger_says) = (number(view), number(ledger));
        assert!(view_says == ledger_says && view_says > 0, "{view}: {view_says} {ledger_says}");
    }
    assert!(number("SELECT sum(adults) FROM reservations") > 0);
}

#[test]
fn a_gap_and_a_loss_show() {
    let world = World::with_bookings(2, 3_000);
    world.land();
    let gaps = || Dashboard::sink(&world).panel(&world, "Gaps")[0]["gaps"].as_i64().unwrap();
    assert_eq!(gaps(), 0);
    // Lost after it had landed.
    let lose = "ALTER TABLE events DELETE WHERE `partition` = 1 AND `offset` BETWEEN 40 AND 43 SETTINGS mutations_sync = 1";
    world.server.run("lose", lose).unwrap();
    assert_eq!(gaps(), 4);
    // Never landed: the count is right, the chain is not.
    bellhop_clickhouse::views::rebuild_incomplete(&world.server).unwrap();
    assert_eq!(gaps(), 1);
}

#[test]
fn a_refusal_shows_with_its_reason() {
    use bellhop_schemas::event::ReservationRejected;
    use bellhop_schemas::reason::{Reason, Rule};

    use crate::stream::{Known, night, property_id};
    use crate::world::bookings;

    let mut world = World::with_bookings(1, 100);
    let rejected = |rule: Rule, command: &str| Known {
        at: bookings()[50].at,
        event: ReservationRejected {
            property_id: property_id(0),
            business_date: Some(night("2016-05-01")),
            command: command.into(),
            reservation_id: None,
            country: None,
            asked: Vec::new(),
            reasons: vec![Reason::of(rule), Reason::of(Rule::HouseFull)],
            alternatives: Vec::new(),
        }
        .into(),
    };
    let create = "CreateReservation";
    world.book.append(
        0,
        &[
            rejected(Rule::SoldOut, create),
            rejected(Rule::SoldOut, create),
            rejected(Rule::NoRate, create),
            // No booking was refused with these.
            rejected(Rule::UnknownReservation, "CheckIn"),
            rejected(Rule::UnknownReservation, "CheckOut"),
        ],
    );
    world.land();
    world.assert_whole();
    let rows = Dashboard::hotels(&world).panel(&world, "Refusals by reason");
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row["reason"].as_str().unwrap(), row["refused"].as_i64().unwrap()))
        .collect();
    assert_eq!(shown, [("SoldOut", 2), ("NoRate", 1)]);
    assert_eq!(world.number("SELECT count() FROM denials"), 3);
}
