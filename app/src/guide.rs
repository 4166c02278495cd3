//! What a command asks for: its fields, what refuses it, and an example, out of the contract and the
//! doc comments of its handler.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use bellhop_core::avro::{Symbol, Symbols as _};
use bellhop_core::message::Kind;
use bellhop_core::registry::HandlerDescriptor;
use bellhop_core::topology::Topology;
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::Rule;
use bellhop_schemas::schema::{Field, Primitive, Schema, Type, TypeId};
use bellhop_schemas::{contract, example};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::refusals::cell;

/// A command.
#[derive(Debug, Serialize)]
pub(crate) struct Guide {
    command: &'static str,
    avro_name: &'static str,
    /// One sentence.
    doc: String,
    /// What its handler does.
    decides: &'static str,
    fields: Vec<FieldGuide>,
    /// In which order it is refused.
    refusals: &'static str,
    rules: Vec<RuleGuide>,
    warnings: Vec<RuleGuide>,
    sends: Vec<&'static str>,
    example: Value,
}

/// A field; one of a list or record by its path, such as `lines[].units`.
#[derive(Debug, Serialize)]
struct FieldGuide {
    path: String,
    #[serde(rename = "type")]
    ty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// None where the field has to be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
    doc: String,
}

/// Something that refuses, or is warned of.
#[derive(Debug, Serialize)]
struct RuleGuide {
    name: &'static str,
    code: u16,
    meaning: String,
}

/// All commands, in the order of their names; the dates of examples begin on `first`.
///
/// # Errors
/// Never: a test rules out a contract that cannot be read.
pub(crate) fn guides(topology: &Topology, first: Night) -> Result<Vec<Guide>> {
    let contract = contract::annotated()?;
    let handlers = topology.requests().iter().map(|request| (request, request.handler));
    let commands = handlers.filter(|(_, handler)| handler.message.kind == Kind::Command);
    let guides = commands.map(|(request, handler)| {
        let name = handler.message.name;
        let text = contract.get(name).with_context(|| format!("{name} has no contract"))?;
        let sends = request.outputs.iter().map(|output| output.type_name).collect();
        guide(handler, &Schema::parse(text)?, doc_of(text)?, sends, first)
    });
    guides.collect()
}

fn guide(
    handler: &HandlerDescriptor,
    schema: &Schema,
    doc: String,
    sends: Vec<&'static str>,
    first: Night,
) -> Result<Guide> {
    let mut fields = Vec::new();
    list_fields(schema, schema.root(), "", &mut fields);
    let command = handler.message.type_name;
    let mut line = Map::new();
    line.insert("type".to_owned(), command.into());
    line.insert("idempotency_key".to_owned(), format!("{command}-1").into());
    if let Value::Object(own) = example::of(schema, schema.root(), None, first) {
        line.extend(own);
    }
    Ok(Guide {
        command,
        avro_name: handler.message.name,
        doc,
        decides: handler.summary(),
        fields,
        refusals: handler.section("Rejections"),
        rules: rules(&handler.rejections()),
        warnings: rules(&handler.warnings()),
        sends,
        example: Value::Object(line),
    })
}

/// The doc of a record.
fn doc_of(text: &str) -> Result<String> {
    let json: Value = serde_json::from_str(text)?;
    Ok(json["doc"].as_str().unwrap_or_default().to_owned())
}

fn rules(names: &[&str]) -> Vec<RuleGuide> {
    let known = (1..).zip(Rule::SYMBOLS);
    let guide =
        |(code, rule): (u16, &Symbol)| RuleGuide { name: rule.name, code, meaning: rule.meaning() };
    let of = |name: &&str| known.clone().find(|(_, rule)| rule.name == *name).map(guide);
    names.iter().filter_map(of).collect()
}

fn list_fields(schema: &Schema, record: TypeId, parent: &str, out: &mut Vec<FieldGuide>) {
    let Type::Record { fields, .. } = schema.get(record) else { return };
    for field in fields.iter().filter(|field| field.name != "meta") {
        let path = format!("{parent}{}", field.name);
        let (ty, inner) = words_of(schema, field.ty);
        let Field { unit, default, doc, .. } = field;
        out.push(FieldGuide {
            path: path.clone(),
            ty,
            unit: unit.clone(),
            default: default.clone(),
            doc: doc.clone().unwrap_or_default(),
        });
        if let Some((inner, is_list)) = inner {
            let parent = if is_list { format!("{path}[].") } else { format!("{path}.") };
            list_fields(schema, inner, &parent, out);
        }
    }
}

/// A type as JSON has it, and the record inside, with whether that is one of a list.
fn words_of(schema: &Schema, id: TypeId) -> (String, Option<(TypeId, bool)>) {
    match schema.get(id) {
        Type::Record { .. } => ("object".to_owned(), Some((id, false))),
        Type::Array(items) => {
            let (words, inner) = words_of(schema, *items);
            (format!("list of {words}"), inner.map(|(inner, _)| (inner, true)))
        }
        Type::Map(values) => (format!("map to {}", words_of(schema, *values).0), None),
        Type::Union(branches) => {
            let mut all = branches.iter().map(|branch| words_of(schema, *branch));
            let inner = all.clone().find_map(|(_, inner)| inner);
            let last = all.next_back().map(|(words, _)| words).unwrap_or_default();
            (format!("{last} or null"), inner)
        }
        Type::Enum { symbols, .. } => (symbols.join(", "), None),
        Type::Fixed { .. } => ("UUID".to_owned(), None),
        ty @ Type::Primitive { primitive, .. } => {
            let words = match (ty.logical(), primitive) {
                (Some("date"), _) => "date",
                (Some("timestamp-micros"), _) => "instant",
                (_, Primitive::Int | Primitive::Long) => "whole number",
                (_, Primitive::Float | Primitive::Double) => "number",
                (_, Primitive::Boolean) => "true or false",
                (_, Primitive::String) => "text",
                (_, Primitive::Bytes) => "bytes",
                (_, Primitive::Null) => "null",
            };
            (words.to_owned(), None)
        }
    }
}

impl Guide {
    /// Its name as users see it.
    pub(crate) fn command(&self) -> &'static str {
        self.command
    }

    /// The line of JSON that `run` and `send` take, its fields in the order of the contract.
    pub(crate) fn line(&self) -> String {
        let contract = self.fields.iter().map(|field| field.path.as_str());
        let fields = ["type", "idempotency_key"].into_iter().chain(contract);
        let given = fields.filter_map(|name| Some((name, self.example.get(name)?)));
        let texts: Vec<_> = given.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", texts.join(","))
    }

    /// As text for people.
    ///
    /// # Errors
    /// Never: a string takes everything.
    pub(crate) fn to_text(&self) -> Result<String> {
        let mut out = String::new();
        writeln!(
            out,
            "{}  ({})\n{}\n\n{}\n",
            self.command, self.avro_name, self.doc, self.decides
        )?;
        writeln!(out, "FIELDS")?;
        let width = self.fields.iter().map(|field| field.path.len()).max().unwrap_or_default();
        for field in &self.fields {
            let FieldGuide { path, ty, unit, default, doc } = field;
            let unit = unit.as_ref().map_or_else(String::new, |unit| format!(", {unit}"));
            let default = default_words(default.as_ref());
            writeln!(out, "  {path:width$}  {ty}{unit}; {default}\n  {:width$}  {doc}", "")?;
        }
        writeln!(out, "\nREFUSED, in order\n{}\n", self.refusals)?;
        write_rules(&mut out, &self.rules)?;
        if !self.warnings.is_empty() {
            writeln!(out, "\nWARNINGS")?;
            write_rules(&mut out, &self.warnings)?;
        }
        writeln!(out, "\nLEADS TO {}", self.sends.join(", "))?;
        writeln!(out, "\nEXAMPLE, for `bellhop run` and `bellhop send`\n{}", self.line())?;
        Ok(out)
    }

    /// As a section of the page.
    fn write_section(&self, out: &mut String) -> Result<()> {
        writeln!(out, "\n## {}\n{}\n", self.command, self.doc)?;
        writeln!(out, "{}\n", self.decides)?;
        writeln!(out, "| field | type | unit | default | what |\n| --- | --- | --- | --- | --- |")?;
        for FieldGuide { path, ty, unit, default, doc } in &self.fields {
            let unit = unit.as_deref().unwrap_or_default();
            let default = default.as_ref().map_or_else(String::new, |value| format!("`{value}`"));
            writeln!(out, "| `{path}` | {} | {unit} | {default} | {} |", cell(ty), cell(doc))?;
        }
        writeln!(out, "\nRefused, in order: {}", self.refusals.replace('\n', " "))?;
        if !self.warnings.is_empty() {
            let names: Vec<_> =
                self.warnings.iter().map(|rule| format!("`{}`", rule.name)).collect();
            writeln!(out, "\nWarnings: {}.", names.join(", "))?;
        }
        writeln!(out, "\nLeads to `{}`.\n", self.sends.join("`, `"))?;
        writeln!(out, "```json\n{}\n```", self.line())?;
        Ok(())
    }
}

fn default_words(default: Option<&Value>) -> String {
    default.map_or_else(|| "has to be given".to_owned(), |value| format!("default {value}"))
}

fn write_rules(out: &mut String, rules: &[RuleGuide]) -> Result<()> {
    let width = rules.iter().map(|rule| rule.name.len()).max().unwrap_or_default();
    for RuleGuide { name, code, meaning } in rules {
        writeln!(out, "  {code:>3}  {name:width$}  {meaning}")?;
    }
    Ok(())
}

/// The page of all commands.
///
/// # Errors
/// As [`guides`].
pub(crate) fn page(topology: &Topology) -> Result<String> {
    let first = Night::ymd(2030, 7, 1).context("a day")?;
    let mut out = String::from(
        "# Commands

<!-- Written by `bellhop describe --commands` from the code; a test compares. -->

The fields of each command as JSON lines have them (`bellhop run`, `bellhop send`); Avro has the same
names. Beside them stand `type`, `idempotency_key` (one of its own for each intent), and, if you like,
`message_id` and `correlation_id`. A field without a default has to be given. Dates are written
`2030-07-01`, instants `2030-07-01T12:00:00Z`. What refuses, and what to do: [refusals.md](refusals.md).

`bellhop describe CreateReservation` prints one of them, with an example for the days from today on:

```sh
for command in DefineProperty DefineProduct CreateReservation CheckIn; do
  bellhop describe $command --example
done | bellhop run --data seaview
```
",
    );
    for guide in guides(topology, first)? {
        guide.write_section(&mut out)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::AnyCommand;
    use crate::wiring;

    fn all() -> Vec<Guide> {
        let topology = wiring::topology().expect("the wiring");
        guides(&topology, Night(20_000)).expect("guides")
    }

    #[test]
    fn every_command_has_a_guide_and_every_number_says_what_it_counts() {
        let guides = all();
        let mut commands: Vec<_> = guides.iter().map(Guide::command).collect();
        let mut types = AnyCommand::TYPES.to_vec();
        commands.sort_unstable();
        types.sort_unstable();
        assert_eq!(commands, types);
        for guide in &guides {
            assert!(!guide.decides.is_empty(), "the handler of {} has no doc", guide.command);
            assert!(!guide.rules.is_empty(), "{} is never refused", guide.command);
            for FieldGuide { path, ty, unit, .. } in &guide.fields {
                let counts = ty.contains("number");
                assert_eq!(counts, unit.is_some(), "{}: the unit of {path}", guide.command);
            }
        }
    }

    #[test]
    fn what_has_a_default_may_be_left_out_of_a_line() {
        for guide in all() {
            let Value::Object(mut fields) = guide.example.clone() else { panic!("an object") };
            fields.retain(|name, _| {
                let field = guide.fields.iter().find(|field| field.path == *name);
                field.is_some_and(|field| field.default.is_none())
            });
            let read = AnyCommand::from_json(guide.command, fields);
            assert!(read.is_ok(), "{}: {}", guide.command, read.expect_err("faults"));
        }
    }
}
