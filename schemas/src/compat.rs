//! Backward-transitive compatibility: what any release wrote, today's schemas read.
//!
//! The rules are those of [`crate::resolve`]: a schema is compatible when the program from the old
//! to the new compiles and leaves no gap. A subject may not vanish either, for its records stay in
//! the log.

use std::collections::BTreeMap;
use std::fmt;

use bellhop_core::topology::UnknownFields;

use crate::resolve;
use crate::schema::{self, Schema};

/// A schema as a release had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released<'a> {
    /// The release.
    pub version: &'a str,
    /// Full name of the record.
    pub subject: &'a str,
    /// Self-contained JSON.
    pub text: &'a str,
}

/// One thing that today's schemas cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// Full name of the record.
    pub subject: String,
    /// The release that wrote it.
    pub version: String,
    /// Path of field names from the record.
    pub at: String,
    /// What cannot be read.
    pub what: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, version, at, what } = self;
        write!(f, "{subject} no longer reads what {version} wrote: {at}: {what}")
    }
}

/// Holds today's schemas, by subject, against every released one.
#[must_use]
pub fn check(current: &BTreeMap<String, String>, released: &[Released<'_>]) -> Vec<Break> {
    let mut breaks = Vec::new();
    for old in released {
        let found = match current.get(old.subject) {
            Some(text) => compare(old.text, text),
            None => vec![(
                "the record".to_owned(),
                "the subject is gone, but its records stay in the log".to_owned(),
            )],
        };
        breaks.extend(found.into_iter().map(|(at, what)| Break {
            subject: old.subject.to_owned(),
            version: old.version.to_owned(),
            at,
            what,
        }));
    }
    breaks
}

fn compare(old: &str, new: &str) -> Vec<(String, String)> {
    let parsed = |text: &str, whose: &str| {
        let error = |error: schema::Error| vec![(format!("the {whose} schema"), error.to_string())];
        Schema::parse(text).map_err(error)
    };
    let both = parsed(old, "released").and_then(|old| Ok((old, parsed(new, "current")?)));
    let (old, new) = match both {
        Ok(both) => both,
        Err(breaks) => return breaks,
    };
    match resolve::compile(&old, &new, UnknownFields::Skipped) {
        Ok((_, gaps)) => gaps.into_iter().map(|gap| (gap.at, gap.what)).collect(),
        Err(resolve::Error::Unresolvable { at, what }) => vec![(at, what)],
        Err(
            error @ (resolve::Error::Writer(_)
            | resolve::Error::Reader(_)
            | resolve::Error::UnknownField { .. }),
        ) => {
            vec![("the record".to_owned(), error.to_string())]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"a.R","fields":[{fields}]}}"#)
    }

    /// What the check says of a change from one list of fields to another.
    fn said(old: &str, new: &str) -> Vec<String> {
        let current = BTreeMap::from([("a.R".to_owned(), record(new))]);
        let text = record(old);
        let released = [Released { version: "0.1.0", subject: "a.R", text: &text }];
        check(&current, &released).iter().map(ToString::to_string).collect()
    }

    const X: &str = r#"{"name":"x","type":"int"}"#;

    #[test]
    fn a_field_may_go_and_one_with_a_default_may_come() {
        let y = r#"{"name":"y","type":["null","string"],"default":null}"#;
        assert_eq!(said(X, &format!("{X},{y}")), Vec::<String>::new());
        assert_eq!(said(&format!("{X},{y}"), X), Vec::<String>::new());
    }

    #[test]
    fn a_field_without_a_default_may_not_come() {
        assert_eq!(
            said(X, &format!(r#"{X},{{"name":"y","type":"int"}}"#)),
            [
                "a.R no longer reads what 0.1.0 wrote: y: the writer has no such field, and it has no default"
            ]
        );
    }

    #[test]
    fn a_type_may_widen_and_never_narrow() {
        let long = r#"{"name":"x","type":"long"}"#;
        let nullable = r#"{"name":"x","type":["null","int"]}"#;
        assert_eq!(said(X, long), Vec::<String>::new());
        assert_eq!(said(X, nullable), Vec::<String>::new());
        assert_eq!(
            said(long, X),
            ["a.R no longer reads what 0.1.0 wrote: x: long was written, int is read"]
        );
        assert_eq!(
            said(nullable, X),
            ["a.R no longer reads what 0.1.0 wrote: x: null was written, int is read"]
        );
    }

    #[test]
    fn a_symbol_may_come_and_never_go() {
        let of = |symbols: &str| {
            format!(r#"{{"name":"x","type":{{"type":"enum","name":"E","symbols":[{symbols}]}}}}"#)
        };
        let (one, two) = (of(r#""A""#), of(r#""B","A""#));
        assert_eq!(said(&one, &two), Vec::<String>::new());
        assert_eq!(
            said(&two, &one),
            [
                "a.R no longer reads what 0.1.0 wrote: x: the symbol B was written, which the reader lacks"
            ]
        );
    }

    #[test]
    fn a_meaning_may_not_change() {
        let of = |unit: &str| {
            format!(r#"{{"name":"t","type":{{"type":"long","logicalType":"timestamp-{unit}"}}}}"#)
        };
        assert_eq!(
            said(&of("millis"), &of("micros")),
            [
                "a.R no longer reads what 0.1.0 wrote: t: timestamp-millis was written, timestamp-micros is read"
            ]
        );
    }

    #[test]
    fn a_subject_may_not_vanish() {
        let text = record(X);
        let released = [Released { version: "0.1.0", subject: "a.R", text: &text }];
        let said = check(&BTreeMap::new(), &released);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].subject, "a.R");
    }
}
