//! The wiring in words: what `bellhop describe` prints.

use std::fmt::Write;

use serde::Serialize;

use crate::message::MessageInfo;
use crate::topology::Topology;

/// The wiring as data.
#[derive(Debug, Serialize)]
pub struct Description {
    /// Commands and timers.
    pub requests: Vec<RequestDescription>,
    /// Events.
    pub events: Vec<EventDescription>,
    /// Stores.
    pub stores: Vec<StoreDescription>,
}

/// A command or timer.
#[derive(Debug, Serialize)]
pub struct RequestDescription {
    /// Avro name.
    pub name: &'static str,
    /// `command` or `timer`.
    pub kind: crate::message::Kind,
    /// Type of its key.
    pub key: &'static str,
    /// Function or module that decides it.
    pub handler: &'static str,
    /// Where that is written.
    pub file: &'static str,
    /// Stores it reads.
    pub reads: Vec<&'static str>,
    /// Messages it may lead to.
    pub sends: Vec<&'static str>,
    /// Names of what it may be refused for, in the order of its checks.
    pub refusals: Vec<&'static str>,
}

/// An event.
#[derive(Debug, Serialize)]
pub struct EventDescription {
    /// Avro name.
    pub name: &'static str,
    /// Type name.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// Type of its key.
    pub key: &'static str,
    /// Processors in the order in which they run.
    pub processors: Vec<ProcessorDescription>,
}

/// A processor.
#[derive(Debug, Serialize)]
pub struct ProcessorDescription {
    /// Its function.
    pub name: &'static str,
    /// Where that is written.
    pub file: &'static str,
    /// Stores it reads.
    pub reads: Vec<&'static str>,
    /// Stores it writes.
    pub writes: Vec<&'static str>,
}

/// A store.
#[derive(Debug, Serialize)]
pub struct StoreDescription {
    /// Its name.
    pub name: &'static str,
    /// Type of its key.
    pub key: &'static str,
}

impl Description {
    /// Of a topology.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let requests = topology.requests().iter().map(|request| {
            let handler = request.handler;
            RequestDescription {
                name: handler.message.name,
                kind: handler.message.kind,
                key: (handler.message.key)(),
                handler: handler.name,
                file: handler.file,
                reads: handler.stores.iter().map(|store| store.name).collect(),
                sends: request
                    .outputs
                    .iter()
                    .map(|output: &MessageInfo| output.type_name)
                    .collect(),
                refusals: handler.rejections(),
            }
        });
        let events = topology.events().iter().map(|entry| {
            let event = entry.event.message;
            let processors = entry.processors().map(|processor| {
                let uses = |write| {
                    let uses = processor.stores.iter().filter(move |used| used.write == write);
                    uses.map(|used| used.store.name).collect()
                };
                ProcessorDescription {
                    name: processor.name,
                    file: processor.file,
                    reads: uses(false),
                    writes: uses(true),
                }
            });
            EventDescription {
                name: event.name,
                type_name: event.type_name,
                key: (event.key)(),
                processors: processors.collect(),
            }
        });
        let stores = topology
            .stores()
            .iter()
            .map(|store| StoreDescription { name: store.name, key: (store.key)() });
        Self { requests: requests.collect(), events: events.collect(), stores: stores.collect() }
    }

    /// As text for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).unwrap_or_else(|error| panic!("write to a string: {error}"));
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let list =
            |names: &[&str]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        writeln!(out, "REQUESTS (topic bellhop.commands)")?;
        for request in &self.requests {
            writeln!(out, "\n{}  by {}", request.name, request.key)?;
            writeln!(out, "  handler  {}  ({})", request.handler, request.file)?;
            writeln!(out, "  reads    {}", list(&request.reads))?;
            writeln!(out, "  sends    {}", list(&request.sends))?;
        }
        writeln!(out, "\nEVENTS (topic bellhop.events)")?;
        for event in &self.events {
            writeln!(out, "\n{}  {}  by {}", event.type_name, event.name, event.key)?;
            for processor in &event.processors {
                writeln!(out, "  processor  {}  ({})", processor.name, processor.file)?;
                writeln!(out, "    reads    {}", list(&processor.reads))?;
                writeln!(out, "    writes   {}", list(&processor.writes))?;
            }
        }
        writeln!(out, "\nSTORES")?;
        for store in &self.stores {
            writeln!(out, "  {}  by {}", store.name, store.key)?;
        }
        Ok(())
    }
}
