//! `docs/kpis.md` says what the code does: a section for each KPI, every column, examples that run.

use bellhop_analytics::kpi::{self, Query};
use bellhop_analytics::table::{Table, schema};

use crate::session;
use crate::slt::fixture;

const PAGE: &str = include_str!("../../../docs/kpis.md");

#[test]
fn every_kpi_has_a_section_with_an_example_that_runs() {
    let session = session::of(&fixture());
    for kpi in kpi::ALL {
        let heading = format!("\n## `{}`\n", kpi.name);
        let (_, section) = PAGE.split_once(&heading).expect(kpi.name);
        let section = section.split("\n## ").next().unwrap();
        for word in ["**Formula**", "**Unit**", "**Denominator**", "**Source**"] {
            assert!(section.contains(word), "{}: no {word}", kpi.name);
        }
        let (_, example) = section.split_once("**Example**: `bellhop kpi ").expect(kpi.name);
        let example = example.split('`').next().unwrap();
        let mut words = example.split(' ');
        let mut query = Query::of(words.next().unwrap()).unwrap();
        assert_eq!(query.kpi.name, kpi.name);
        while let Some(option) = words.next() {
            let value = words.next().expect(example);
            match option {
                "--by" => query.by = value.split(',').map(|it| it.parse().unwrap()).collect(),
                "--as-of" => query.as_of = Some(value.parse().unwrap()),
                "--from" => query.from = Some(value.parse().unwrap()),
                "--to" => query.to = Some(value.parse().unwrap()),
                other => panic!("{other} in {example}"),
            }
        }
        let answer = session.kpi(&query).unwrap();
        assert!(!answer.is_empty(), "{example}");
        let texts = kpi.texts(&answer).unwrap();
        assert_eq!(texts.len(), answer.len());
    }
    let sections = PAGE.matches("\n## `").count();
    assert_eq!(sections, kpi::ALL.len(), "a section of a KPI that does not exist");
}

#[test]
fn every_column_of_every_table_is_on_the_page() {
    let (_, tables) = PAGE.split_once("\n## The tables\n").unwrap();
    for table in Table::ALL {
        let row = format!("\n| `{}` |", table.name());
        let (_, row) = tables.split_once(&row).unwrap();
        let row = row.lines().next().unwrap();
        for field in schema(table).fields() {
            let column = format!("`{}`", field.name());
            assert!(row.contains(&column), "{}: no {column}", table.name());
        }
    }
}

#[test]
fn a_person_reads_major_units_and_percent() {
    let session = session::of(&fixture());
    let read = |name: &str| {
        let query = Query::of(name).unwrap();
        let answer = session.kpi(&query).unwrap();
        query.kpi.texts(&answer).unwrap().concat().join(" ")
    };
    assert_eq!(read("room_revenue"), "400.00 EUR 60000 JPY");
    assert_eq!(read("adr"), "100.00 EUR 20000 JPY");
    assert_eq!(read("cancellation_rate"), "16.7 %");
    assert_eq!(read("lead_time"), "19.0");
    assert_eq!(read("bookings"), "6");
}
