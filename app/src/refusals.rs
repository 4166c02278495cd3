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
The code of an outcome; 0 is an acceptance. A reason says what it is about: `path` (the field of the
command), `product`, `night`, `asked` and `allowed`, `found` and `wanted`, `reservation_id`. A refusal
for wrong input lists every fault, at most 100. Warnings are reasons, too: they stand in the event of
an acceptance.

| code | name | what it means | what to do | commands |
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
fn refused_by(topology: &Topology, rule: &str) -> Vec<String> {
    let handlers = topology.requests().iter().map(|request| request.handler);
    let named = handlers.filter_map(|handler| {
        let command = handler.message.type_name;
        match (handler.rejections().contains(&rule), handler.warnings().contains(&rule)) {
            (true, false) => Some(command.to_owned()),
            (true, true) => Some(format!("{command} (or warns)")),
            (false, true) => Some(format!("{command} (warns)")),
            (false, false) => None,
        }
    });
    named.collect()
}

/// Text in a cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bellhop_core::registry::HandlerDescriptor;

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
        let names =
            |handler: &HandlerDescriptor| [handler.rejections(), handler.warnings()].concat();
        let named: BTreeSet<_> = handlers.flat_map(names).collect();
        assert_eq!(named, rules);
    }
}
