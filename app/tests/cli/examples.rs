//! The example of every command, as `bellhop describe` prints it, decided by the binary.

use std::collections::{BTreeMap, BTreeSet};

use bellhop_schemas::night::Night;
use serde_json::{Value, json};

use crate::harness::{bellhop, bellhop_with, folder, text};

/// Days after the first one on which a command is tried.
const DAYS: i32 = 4;
/// Commands that may have to come before one.
const STEPS_MAX: usize = 6;

/// Commands with the days on which they are sent to one property.
type World = Vec<(String, i32)>;

fn commands() -> BTreeMap<String, Value> {
    let wiring: Value =
        serde_json::from_str(&bellhop(&["describe", "--json"]).ok()).expect("the wiring");
    let requests = wiring["requests"].as_array().expect("requests").iter();
    let commands = requests.filter(|request| request["kind"] == "command");
    let names = commands.filter_map(|request| request["name"].as_str()?.rsplit('.').next());
    let example = |name: &str| bellhop(&["describe", name, "--example"]).json_lines().remove(0);
    names.map(|name| (name.to_owned(), example(name))).collect()
}

/// Sends each world to a property of its own, all in the order of their days; gives the answer to
/// the last command of each.
fn send(worlds: &[World], examples: &BTreeMap<String, Value>, first: Night) -> Vec<Value> {
    let steps = worlds.iter().enumerate().flat_map(|(world, steps)| {
        let last = steps.len() - 1;
        steps.iter().enumerate().map(move |(at, step)| (world, step, at == last))
    });
    let mut steps: Vec<_> = steps.collect();
    // The sort keeps the order of what a property is sent on one day.
    steps.sort_by_key(|(_, (_, day), _)| *day);
    let line = |(number, (world, (command, day), _)): (usize, &(usize, &(String, i32), bool))| {
        let mut line = examples[command].clone();
        line["property_id"] = json!(format!("7b0c7e52-6f5e-4a54-9d1c-{world:012}"));
        line["idempotency_key"] = json!(number.to_string());
        line["at"] = json!(format!("{}T12:00:00Z", first.plus(*day)));
        line.to_string()
    };
    let lines: Vec<_> = steps.iter().enumerate().map(line).collect();
    let folder = folder();
    let args = ["run", "--data", text(folder.path()), "--json", "--timestamps", "create"];
    let answers = bellhop_with(&args, &lines.join("\n")).json_lines();
    assert_eq!(answers.len(), steps.len());
    let mut last = vec![Value::Null; worlds.len()];
    for ((world, _, is_last), answer) in steps.into_iter().zip(answers) {
        if is_last {
            last[world] = answer;
        }
    }
    last
}

#[test]
fn the_example_of_every_command_is_accepted_after_those_of_others() {
    let examples = commands();
    let arrival = examples["CreateReservation"]["lines"][0]["arrival"].as_str().expect("a day");
    let first: Night = arrival.parse().expect("a day");
    let mut known: Vec<World> = vec![Vec::new()];
    let mut accepted = BTreeSet::new();
    let mut refused = BTreeMap::new();
    for _ in 0..STEPS_MAX {
        let missing = examples.keys().filter(|command| !accepted.contains(*command));
        let tried = missing.flat_map(|command| {
            known.iter().flat_map(move |world| {
                let from = world.last().map_or(0, |(_, day)| *day);
                let with = move |day| {
                    let mut world = world.clone();
                    world.push((command.clone(), day));
                    world
                };
                (from..DAYS).map(with)
            })
        });
        let tried: Vec<World> = tried.collect();
        if tried.is_empty() {
            break;
        }
        let answers = send(&tried, &examples, first);
        for (world, answer) in tried.into_iter().zip(answers) {
            let Some((command, _)) = world.last().cloned() else { continue };
            if answer["outcome"] == "accepted" {
                if accepted.insert(command) {
                    known.push(world);
                }
            } else {
                assert_eq!(answer["outcome"], "refused", "{answer}");
                refused.insert(command, answer);
            }
        }
    }
    refused.retain(|command, _| !accepted.contains(command));
    assert!(refused.is_empty(), "refused whatever comes before:\n{refused:#?}");
    assert_eq!(accepted.len(), examples.len());
}

#[test]
fn the_examples_of_a_stay_work_one_after_another_today() {
    let stay = ["DefineProperty", "DefineProduct", "CreateReservation", "CheckIn", "CheckOut"];
    let lines = stay.map(|command| bellhop(&["describe", command, "--example"]).ok()).concat();
    let folder = folder();
    let answers = bellhop_with(&["run", "--data", text(folder.path()), "--json"], &lines);
    for answer in answers.json_lines() {
        assert_eq!(answer["outcome"], "accepted", "{answer}");
    }
}

#[test]
fn a_command_is_described_with_its_fields_its_refusals_and_an_example() {
    let told = bellhop(&["describe", "CreateReservation"]).ok();
    for words in [
        "lines[].nights[].tax",
        "whole number, minor units; default 0",
        "Age in years of each child",
        "external_refs[].system",
        "SoldOut",
        "WARNINGS",
        "\"type\":\"CreateReservation\"",
    ] {
        assert!(told.contains(words), "wanted \"{words}\" in:\n{told}");
    }
    let json: Value =
        serde_json::from_str(&bellhop(&["describe", "CheckIn", "--json"]).ok()).expect("JSON");
    assert_eq!(json["fields"][0]["path"], "property_id");
    assert_eq!(
        json["rules"][0],
        json!({"name": "UnknownProperty", "code": 1, "meaning": "The property is not defined."})
    );
    let error = bellhop(&["describe", "CreateReservaton"]).failed(1);
    assert!(error.contains("did you mean CreateReservation"), "{error}");
}
