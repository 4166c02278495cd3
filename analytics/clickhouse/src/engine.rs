//! Which engine tables have: of one server, or replicated.
//!
//! Migrations are written for one server. Replicated tables remember tokens by another setting;
//! inserts to them wait for a majority of the replicas, one at a time, and counts are asked of a
//! replica that has all of those: otherwise a replica that lags would make a batch land twice.
//!
//! # Source
//! <https://clickhouse.com/docs/operations/settings/settings#insert_quorum>,
//! `#select_sequential_consistency`; merge tree settings `replicated_deduplication_window`,
//! `replicated_deduplication_window_seconds`.

use std::borrow::Cow;

/// Settings of inserts into replicated tables, beside those of every insert.
pub(crate) const INSERT_SETTINGS: &[(&str, &str)] =
    &[("insert_quorum", "auto"), ("insert_quorum_parallel", "0")];
/// Settings of questions to replicated tables.
pub(crate) const ASK_SETTINGS: &[(&str, &str)] = &[("select_sequential_consistency", "1")];

/// In one server's words, and in those of replicated tables.
const WORDS: [(&str, &str); 4] = [
    ("ENGINE = MergeTree", "ENGINE = ReplicatedMergeTree"),
    ("ENGINE = SummingMergeTree", "ENGINE = ReplicatedSummingMergeTree"),
    ("ENGINE = ReplacingMergeTree", "ENGINE = ReplicatedReplacingMergeTree"),
    (
        "non_replicated_deduplication_window = 20000",
        "replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 604800",
    ),
];

/// A statement that makes a table, for the engine that is wanted.
pub(crate) fn made(sql: &str, replicated: bool) -> Cow<'_, str> {
    if !replicated {
        return Cow::Borrowed(sql);
    }
    let made = WORDS.iter().fold(sql.to_owned(), |sql, (one, many)| sql.replace(one, many));
    Cow::Owned(made)
}

/// How many tokens a table remembers; 0 where it says nothing. `full` is its engine with settings.
pub(crate) fn window(full: &str, replicated: bool) -> u64 {
    let setting = if replicated {
        " replicated_deduplication_window = "
    } else {
        " non_replicated_deduplication_window = "
    };
    let number = full.split_once(setting).map(|(_, rest)| rest);
    let number = number.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Whether a table lands a batch once: no partitions, and of the engine that is wanted.
pub(crate) fn is_fit(engine: &str, full: &str, replicated: bool) -> bool {
    let plain = match engine.strip_prefix("Replicated") {
        Some(plain) if replicated => plain,
        None if !replicated => engine,
        Some(_) | None => return false,
    };
    ["MergeTree", "SummingMergeTree"].contains(&plain) && !full.contains("PARTITION BY")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate;

    #[test]
    fn every_table_is_replicated_where_that_is_wanted() {
        let mut tables = 0;
        for migration in migrate::ALL.iter().filter(|it| it.sql.contains("CREATE TABLE")) {
            let made = made(migration.sql, true);
            let (_, engine) = made.split_once("ENGINE = ").unwrap();
            let name = engine.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            assert!(name.starts_with("Replicated"), "{}: {name}", migration.name);
            assert!(!made.contains("non_replicated"), "{}", migration.name);
            assert_eq!(super::made(migration.sql, false), migration.sql);
            if migration.sql.contains("deduplication_window") {
                // As the server writes settings down, in one line.
                let full = engine.split_whitespace().collect::<Vec<_>>().join(" ");
                assert_eq!(window(&full, true), 20_000, "{}", migration.name);
                assert_eq!(window(&full, false), 0, "{}", migration.name);
                assert!(is_fit(name, &full, true) && !is_fit(name, &full, false), "{name}");
            }
            tables += 1;
        }
        assert!(tables > 10, "{tables}");
    }

    #[test]
    fn a_table_of_one_server_or_with_partitions_is_not_fit() {
        for (engine, full, replicated, fit) in [
            ("MergeTree", "MergeTree ORDER BY a", false, true),
            ("MergeTree", "MergeTree ORDER BY a", true, false),
            ("ReplicatedMergeTree", "ReplicatedMergeTree('/a', 'b') ORDER BY a", true, true),
            ("ReplicatedMergeTree", "ReplicatedMergeTree('/a', 'b') ORDER BY a", false, false),
            ("MergeTree", "MergeTree PARTITION BY b ORDER BY a", false, false),
            ("Memory", "Memory", false, false),
        ] {
            assert_eq!(is_fit(engine, full, replicated), fit, "{full}");
        }
    }
}
