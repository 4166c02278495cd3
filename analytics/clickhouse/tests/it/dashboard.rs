//! Each panel of the Grafana dashboard, asked of the real engine with the real data.

use serde_json::{Map, Value};

use crate::kpis::real;

const DASHBOARD: &str = include_str!("../../../../docker/grafana/dashboards/bellhop.json");

/// The SQL as Grafana would send it.
fn filled_in(sql: &str, (from, to): (&str, &str)) -> String {
    let mut sql = sql
        .replace("${property:singlequote}", "'City Hotel','Resort Hotel'")
        .replace("${currency}", "EUR")
        .replace("${stay_month}", "2016-08-01");
    while let Some((before, rest)) = sql.split_once("$__timeFilter(") {
        // The column may have parentheses of its own.
        let mut depth = 1;
        let end = rest.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth == 0
        });
        let (column, after) = rest.split_at(end.unwrap().0);
        sql = format!(
            "{before}({column} >= toDateTime('{from}') AND {column} <= toDateTime('{to}')){}",
            &after[1..]
        );
    }
    assert!(!sql.contains('$'), "not filled in: {sql}");
    sql
}

fn ask(sql: &str) -> Vec<Map<String, Value>> {
    let of_stays = ("2015-06-01 00:00:00", "2017-10-01 00:00:00");
    // What landed is asked by when it landed: now.
    let of_now = ("2020-01-01 00:00:00", "2100-01-01 00:00:00");
    let range = if sql.contains("landed_at") { of_now } else { of_stays };
    real().server.ask("ask a panel", &filled_in(sql, range), &[]).unwrap()
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

fn panel(title: &str) -> Vec<Map<String, Value>> {
    let panels = panels();
    let panel = panels.iter().find(|panel| panel["title"] == title).unwrap();
    ask(panel["targets"][0]["rawSql"].as_str().unwrap())
}

#[test]
fn every_panel_has_rows_a_unit_and_a_place_of_its_own() {
    let mut places = Vec::new();
    for panel in panels() {
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
            let rows = ask(target["rawSql"].as_str().unwrap());
            // The real data have no refusal; `a_refusal_shows_with_its_reason` has.
            assert!(!rows.is_empty() || title == "Refusals by reason", "{title} has no rows");
        }
    }
    // The lists to choose from.
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        assert!(!ask(variable["query"].as_str().unwrap()).is_empty(), "{variable}");
    }
}

#[test]
fn panels_show_what_the_real_hotels_did() {
    let of = |rows: &[Map<String, Value>], month: &str, property: &str| {
        let row = rows.iter().find(|row| {
            row["time"].as_str().unwrap().starts_with(month) && row["property"] == property
        });
        row.unwrap()["value"].as_f64().unwrap()
    };
    let kpi = |name: &str, month: &str, property: &str| {
        let answers = bellhop_clickhouse::kpi::answer(
            &real().server,
            name,
            bellhop_clickhouse::kpi::AsOf::Now,
        );
        let answers = answers.unwrap();
        let figure = answers.iter().find(|figure| {
            figure.property == property && figure.month_of_stay.as_deref() == Some(month)
        });
        figure.unwrap().value.unwrap()
    };
    for (title, name, unit) in
        [("Occupancy", "occupancy", 1.0), ("ADR", "adr", 100.0), ("RevPAR", "revpar", 100.0)]
    {
        let rows = panel(title);
        for property in ["City Hotel", "Resort Hotel"] {
            for month in ["2015-08", "2016-05", "2017-07"] {
                let (shown, wanted) =
                    (of(&rows, month, property), kpi(name, month, property) / unit);
                assert!((shown - wanted).abs() < 1e-9 * wanted, "{title} {month} {shown} {wanted}");
            }
        }
    }
    // The last word on a month is what was on the books in the end.
    let on_the_books = panel("On the books for ${stay_month}");
    let last = on_the_books.iter().rfind(|row| row["property"] == "City Hotel").unwrap();
    assert_eq!(last["value"].as_f64().unwrap(), kpi("room_nights", "2016-08", "City Hotel"));
    assert_eq!(panel("Gaps")[0]["gaps"], 0);
    assert_eq!(panel("Parked")[0]["parked"], 0);
}

#[test]
fn a_refusal_shows_with_its_reason() {
    use bellhop_schemas::event::ReservationRejected;
    use bellhop_schemas::reason::{Reason, Rule};

    use crate::stream::{Known, night, property_id};
    use crate::world::{World, bookings};

    let mut world = World::with_bookings(1, 100);
    let rejected = |rule: Rule| Known {
        at: bookings()[50].at,
        event: ReservationRejected {
            property_id: property_id(0),
            business_date: Some(night("2016-05-01")),
            command: "CreateReservation".into(),
            reservation_id: None,
            country: None,
            asked: Vec::new(),
            reasons: vec![
                Reason { rule, product: None, night: None, asked: None, allowed: None },
                Reason {
                    rule: Rule::HouseFull,
                    product: None,
                    night: None,
                    asked: None,
                    allowed: None,
                },
            ],
            alternatives: Vec::new(),
        }
        .into(),
    };
    world
        .book
        .append(0, &[rejected(Rule::SoldOut), rejected(Rule::SoldOut), rejected(Rule::NoRate)]);
    world.land();
    world.assert_whole();
    let panels = panels();
    let panel = panels.iter().find(|panel| panel["title"] == "Refusals by reason").unwrap();
    let sql = panel["targets"][0]["rawSql"].as_str().unwrap();
    let rows: Vec<Map<String, Value>> =
        world.server.ask("refusals", &filled_in(sql, ("", "")), &[]).unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row["reason"].as_str().unwrap(), row["refused"].as_i64().unwrap()))
        .collect();
    assert_eq!(shown, [("SoldOut", 2), ("NoRate", 1)]);
}
