//! The page of everything that refuses a command or parks a record, out of the doc comments beside
//! the code: `bellhop describe --refusals`.

use std::fmt::Write as _;

use anyhow::Result;
use bellhop_core::avro::{Symbol, Symbols as _};
use bellhop_core::engine::ParkedKind;
use bellhop_core::topology::Topology;
use bellhop_schemas::reason::Rule;

const HEAD: &str = "# Refusals

<!-- Written by `bellhop describe --refusals` from the code; a test compares. -->

A command that the business refuses leads to an event with every reason, and its reply has the code
and name of the first one. A record that cannot be decided at all is parked: no event, no code.

## Rules
The code of an outcome; 0 is an acceptance. A reason says what it is about: `product`, `night`,
`asked` and `allowed`, `reservation_id`.

| code | name | what it means | what to do | refuses |
| --- | --- | --- | --- | --- |
";

const PARKED: &str = "
## Causes of parking
The record is kept with its bytes (`bellhop parked show`), its partition goes on, and it can be edited,
released or skipped: [operations.md](operations.md).

| kind | what it means | what to do |
| --- | --- | --- |
";

/// The whole page.
///
/// # Errors
/// Never: a string takes everything.
pub(crate) fn page(topology: &Topology) -> Result<String> {
    let mut out = HEAD.to_owned();
    for (code, rule) in (1..).zip(Rule::SYMBOLS) {
        let Symbol { name, .. } = rule;
        let commands = refused_by(topology, name).join(", ");
        let (meaning, advice) = (cell(&rule.meaning()), cell(&rule.advice()));
        writeln!(out, "| {code} | `{name}` | {meaning} | {advice} | {commands} |")?;
    }
    out.push_str(PARKED);
    for kind in ParkedKind::SYMBOLS {
        let (meaning, advice) = (cell(&kind.meaning()), cell(&kind.advice()));
        writeln!(out, "| `{}` | {meaning} | {advice} |", kind.name)?;
    }
    Ok(out)
}

/// The commands whose handlers name a rule.
fn refused_by(topology: &Topology, rule: &str) -> Vec<&'static str> {
    let handlers = topology.requests().iter().map(|request| request.handler);
    let refusing = handlers.filter(|handler| handler.rejection_names().contains(&rule));
    refusing.map(|handler| handler.message.type_name).collect()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wiring;

    #[test]
    fn every_rule_and_every_cause_says_what_it_means_and_what_to_do() {
        for symbol in Rule::SYMBOLS.iter().chain(ParkedKind::SYMBOLS) {
            assert!(symbol.meaning().ends_with('.'), "{} has no meaning", symbol.name);
            assert!(symbol.advice().ends_with('.'), "{} does not say what to do", symbol.name);
        }
    }

    #[test]
    fn handlers_name_rules_that_exist_and_every_rule_is_named() {
        let topology = wiring::topology().expect("the wiring");
        let rules: BTreeSet<_> = Rule::SYMBOLS.iter().map(|rule| rule.name).collect();
        let handlers = topology.requests().iter().map(|request| request.handler);
        let named: BTreeSet<_> = handlers.flat_map(|handler| handler.rejection_names()).collect();
        assert_eq!(named, rules);
    }
}
