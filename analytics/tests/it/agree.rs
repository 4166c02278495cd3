//! Every KPI against the naive fold, over random events and random questions.

use std::collections::BTreeMap;

use bellhop_analytics::kpi::{self, AsOf, Dimension, Query};
use bellhop_analytics::session::Session;
use bellhop_core::message::Timestamp;
use serde_json::{Map, Value};

use crate::random::{self, Random};
use crate::session;
use crate::stream;
use bellhop_analytics::fold::{self, Key};

const SEEDS: u64 = 40;

fn question(random: &mut Random, query: Query) -> Query {
    let by = (0..random.below(4)).map(|_| random.pick(&Dimension::ALL)).collect();
    let day = random::first_day().plus(random.days(90));
    let as_of = match random.below(3) {
        0 => None,
        1 => Some(AsOf::Day(day)),
        _ => Some(AsOf::Instant(Timestamp(i64::from(day.0) * stream::DAY_US + 40_000_000_000))),
    };
    let from = random.one_in(2).then(|| random::first_day().plus(random.days(60) - 10));
    let to = random.one_in(2).then(|| from.unwrap_or(random::first_day()).plus(random.days(60)));
    let properties = random.one_in(3).then(|| {
        let ids = (0..random.below(3)).map(|number| stream::property_id(u128::from(number)));
        ids.map(|id| id.to_string()).collect()
    });
    Query { by, as_of, properties, from, to, ..query }
}

/// Rows of an answer by their dimensions and currency.
fn rows(session: &Session, query: &Query) -> BTreeMap<Key, Option<f64>> {
    let answer = session.kpi(query).unwrap();
    let header = answer.header();
    let rows: Vec<Map<String, Value>> = serde_json::from_str(&answer.json().unwrap()).unwrap();
    let count = rows.len();
    let by_key = rows.into_iter().map(|row| {
        let key = header.iter().filter(|name| *name != query.kpi.name);
        let key = key.map(|name| row[name].as_str().map(str::to_owned)).collect();
        (key, row[query.kpi.name].as_f64())
    });
    let by_key: BTreeMap<_, _> = by_key.collect();
    assert_eq!(by_key.len(), count, "two rows of one group: {query:?}");
    by_key
}

fn same(left: Option<f64>, right: Option<f64>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => (left - right).abs() <= 1e-9 * left.abs().max(1.0),
        (left, right) => left == right,
    }
}

#[test]
fn every_kpi_is_what_a_fold_over_the_events_says() {
    let mut rows_seen = BTreeMap::<&str, usize>::new();
    for seed in 0..SEEDS {
        let events = random::events(seed);
        let session = session::of(&events);
        let loaded = session::of(&events).load().unwrap();
        let random = &mut Random(!seed);
        for kpi in kpi::ALL {
            let query = question(random, Query::of(kpi.name).unwrap());
            let expected = fold::answer(&events, &query);
            let found = rows(&session, &query);
            assert_eq!(rows(&loaded, &query), found, "seed {seed}, in memory, {query:?}");
            *rows_seen.entry(kpi.name).or_default() += found.len();
            let keys: Vec<_> = expected.keys().chain(found.keys()).collect();
            for key in keys {
                let (wanted, had) = (expected.get(key), found.get(key));
                let agree = matches!((wanted, had), (Some(a), Some(b)) if same(*a, *b));
                assert!(
                    agree,
                    "seed {seed}, {query:?}, {key:?}: the fold says {wanted:?}, SQL says {had:?}\n{}",
                    session.explain(&query).unwrap()
                );
            }
        }
    }
    // Agreeing on nothing would prove nothing.
    assert!(kpi::ALL.iter().all(|kpi| rows_seen[kpi.name] > 50), "{rows_seen:?}");
}
