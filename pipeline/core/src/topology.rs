//! The wiring: which handler decides a command, which processors follow an event, which stores.
//!
//! [`Topology::discover`] reads what was registered at link time and refuses what cannot work.
//! [`Wire`] adds the schema ids of one log.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::xxh3_64;

use crate::avro::{DecodeError, schema_of};
use crate::engine::{EngineRecord, ResolveParked, Tick, engine_schemas};
use crate::message::{Kind, LogId, Message, MessageInfo};
use crate::registry::{
    EVENTS, EventDescriptor, HANDLERS, HandlerDescriptor, PROCESSORS, ProcessorDescriptor, REQUESTS,
};
use crate::rules::ChangeRules;
use crate::store::{StoreInfo, Stores};
use crate::timer::TimerId;

/// The wiring of all that is linked.
pub struct Topology {
    pub(crate) requests: Vec<Request>,
    pub(crate) events: Vec<Entry>,
    events_by_type: HashMap<TypeId, usize, FxBuildHasher>,
    pub(crate) stores: Vec<StoreInfo>,
    /// Of each store: what its snapshot must have been written with.
    pub(crate) shapes: Vec<u64>,
    /// The same of the timers that wait.
    pub(crate) timers_shape: u64,
}

/// A command or timer and its handler.
pub struct Request {
    /// What decides it.
    pub handler: &'static HandlerDescriptor,
    /// Slots of the stores it reads.
    pub(crate) slots: Vec<usize>,
    /// What it may return.
    pub outputs: Vec<MessageInfo>,
    pub(crate) payload_seed: u64,
}

impl Request {
    pub(crate) fn cascades(&self) -> bool {
        self.outputs.iter().any(|output| output.kind == Kind::Command)
    }
}

/// An event and its processors.
pub struct Entry {
    pub(crate) index: usize,
    /// The event.
    pub event: &'static EventDescriptor,
    /// In the order of their names, each with the slots of its stores.
    pub(crate) processors: Vec<(&'static ProcessorDescriptor, Vec<usize>)>,
}

impl Entry {
    /// In the order in which they run.
    pub fn processors(&self) -> impl Iterator<Item = &'static ProcessorDescriptor> {
        self.processors.iter().map(|(processor, _)| *processor)
    }
}

/// What is wrong with the wiring; each names both sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Two handlers of one message.
    #[error(
        "{message} has two handlers: {first} and {second}; one message is decided by one handler"
    )]
    TwoHandlers {
        /// The message.
        message: &'static str,
        /// `file: name` of one.
        first: String,
        /// `file: name` of the other.
        second: String,
    },
    /// A message nobody handles.
    #[error("{message} has no handler; write one with #[handler], or link the crate that has it")]
    NoHandler {
        /// The message.
        message: &'static str,
    },
    /// A handler of something that is not a request.
    #[error("{handler} handles {message}, which is an event; a processor follows events")]
    HandlesEvent {
        /// `file: name`.
        handler: String,
        /// The message.
        message: &'static str,
    },
    /// A handler returns a command that nobody handles.
    #[error("{handler} sends {message}, which has no handler: the cascade has no route")]
    CascadeWithoutRoute {
        /// `file: name`.
        handler: String,
        /// The command.
        message: &'static str,
    },
    /// Two messages of one Avro name.
    #[error("two messages have the name {name}")]
    TwoMessages {
        /// The name.
        name: &'static str,
    },
    /// Two processors of one event with one name: their order would be undefined.
    #[error(
        "{message} has two processors of one name: {first} and {second}; rename one, for they run in the order of their names"
    )]
    TwoProcessors {
        /// The event.
        message: &'static str,
        /// `file: name` of one.
        first: String,
        /// `file: name` of the other.
        second: String,
    },
    /// A processor takes one store twice.
    #[error("{processor} takes the store {store} twice")]
    StoreTwice {
        /// `file: name`.
        processor: String,
        /// The store.
        store: &'static str,
    },
    /// Two states share a name.
    #[error("two stores have the name {name}: {first} and {second}")]
    TwoStores {
        /// The name.
        name: &'static str,
        /// Key type of one.
        first: &'static str,
        /// Key type of the other.
        second: &'static str,
    },
    /// A store that is read and never written.
    #[error("{handler} reads the store {store}, which no processor writes")]
    NeverWritten {
        /// `file: name`.
        handler: String,
        /// The store.
        store: &'static str,
    },
}

fn place(file: &str, name: &str) -> String {
    format!("{file}: {name}")
}

impl Topology {
    /// The wiring of everything linked into this program.
    ///
    /// # Errors
    /// [`Error`] when two things contradict each other or one is missing.
    pub fn discover() -> Result<Self, Error> {
        Self::build(
            HANDLERS.iter().collect(),
            PROCESSORS.iter().collect(),
            EVENTS.iter().collect(),
            &REQUESTS,
        )
    }

    /// The wiring of the given parts.
    ///
    /// # Errors
    /// As [`Topology::discover`].
    pub fn build(
        mut handlers: Vec<&'static HandlerDescriptor>,
        mut processors: Vec<&'static ProcessorDescriptor>,
        mut events: Vec<&'static EventDescriptor>,
        requests: &[MessageInfo],
    ) -> Result<Self, Error> {
        // The linker's order is not ours.
        handlers.sort_unstable_by_key(|handler| (handler.message.name, handler.file, handler.name));
        processors.sort_unstable_by_key(|processor| (processor.name, processor.file));
        events.sort_unstable_by_key(|event| event.message.name);
        refuse_duplicate_names(&events, requests)?;
        let stores = collect_stores(&handlers, &processors)?;
        let slot_of = |name: &str| stores.iter().position(|store| store.name == name);

        let mut entries = Vec::new();
        for (index, event) in events.iter().copied().enumerate() {
            let mut followers: Vec<(&'static ProcessorDescriptor, Vec<usize>)> = Vec::new();
            for processor in &processors {
                if processor.message.name != event.message.name {
                    continue;
                }
                if let Some((last, _)) =
                    followers.last().filter(|(last, _)| last.name == processor.name)
                {
                    return Err(Error::TwoProcessors {
                        message: event.message.type_name,
                        first: place(last.file, last.name),
                        second: place(processor.file, processor.name),
                    });
                }
                let slots = processor.stores.iter().filter_map(|used| slot_of(used.store.name));
                followers.push((processor, slots.collect()));
            }
            entries.push(Entry { index, event, processors: followers });
        }

        let mut decided = Vec::new();
        for handler in &handlers {
            let mut outputs = Vec::new();
            (handler.outputs)(&mut outputs);
            let slots = handler.stores.iter().filter_map(|store| slot_of(store.name));
            decided.push(Request {
                handler,
                slots: slots.collect(),
                outputs,
                payload_seed: xxh3_64(handler.message.name.as_bytes()),
            });
        }
        check_handlers(&decided, requests)?;
        check_stores(&decided, &processors)?;
        let events_by_type =
            entries.iter().map(|entry| ((entry.event.message.type_id)(), entry.index)).collect();
        let shapes = stores.iter().map(|store| shape(store, &entries)).collect();
        let timers_shape = timers_shape(requests);
        Ok(Self {
            requests: decided,
            events: entries,
            events_by_type,
            stores,
            shapes,
            timers_shape,
        })
    }

    /// Commands and timers with their handlers, in the order of their Avro names.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Events with their processors, in the order of their Avro names.
    #[must_use]
    pub fn events(&self) -> &[Entry] {
        &self.events
    }

    /// Stores in the order of their names.
    #[must_use]
    pub fn stores(&self) -> &[StoreInfo] {
        &self.stores
    }

    /// How records of a name are read when their writer was newer: commands leniently, all else
    /// whole or not at all.
    #[must_use]
    pub fn unknown_fields_of(&self, name: &str) -> UnknownFields {
        let is_it = |request: &&Request| request.handler.message.name == name;
        // What moves time is moved by every version.
        if name == Tick::NAME || self.requests.iter().any(|it| is_it(&it)) {
            UnknownFields::Skipped
        } else {
            UnknownFields::Refused
        }
    }

    /// Every record name with its self-contained schema: what a registry is told.
    #[must_use]
    pub fn schemas(&self) -> Vec<(&'static str, String)> {
        let requests = self.requests.iter().map(|request| request.handler.message);
        let events = self.events.iter().map(|entry| entry.event.message);
        let mut schemas = engine_schemas();
        schemas.extend(
            requests
                .chain(events)
                .filter(|info| info.kind != Kind::Timer)
                .map(|info| (info.name, (info.schema)())),
        );
        schemas.sort_unstable();
        schemas
    }

    pub(crate) fn make_stores(&self, log_id: LogId) -> Stores {
        Stores { slots: self.stores.iter().map(|store| (store.make)(log_id)).collect() }
    }

    /// # Panics
    /// When the event's crate is not linked, which its own descriptor makes impossible.
    #[inline]
    pub(crate) fn event_of<E: Message>(&self) -> &Entry {
        match self.events_by_type.get(&TypeId::of::<E>()) {
            Some(index) => &self.events[*index],
            None => panic!("{} is not registered", E::TYPE),
        }
    }

    pub(crate) fn timer(&self, name: &str) -> Option<&Request> {
        self.requests.iter().find(|request| request.handler.message.name == name)
    }
}

fn refuse_duplicate_names(
    events: &[&'static EventDescriptor],
    requests: &[MessageInfo],
) -> Result<(), Error> {
    let mut names: Vec<_> = events.iter().map(|event| event.message.name).collect();
    names.extend(requests.iter().map(|request| request.name));
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::TwoMessages { name: pair[0] }),
        None => Ok(()),
    }
}

fn collect_stores(
    handlers: &[&'static HandlerDescriptor],
    processors: &[&'static ProcessorDescriptor],
) -> Result<Vec<StoreInfo>, Error> {
    let mut stores: BTreeMap<&'static str, StoreInfo> = BTreeMap::new();
    let read = handlers.iter().flat_map(|handler| handler.stores.iter());
    let used =
        processors.iter().flat_map(|processor| processor.stores.iter().map(|used| &used.store));
    for store in read.chain(used) {
        let known = stores.entry(store.name).or_insert(*store);
        if (known.shape)() != (store.shape)() {
            return Err(Error::TwoStores {
                name: store.name,
                first: (known.key)(),
                second: (store.key)(),
            });
        }
    }
    Ok(stores.into_values().collect())
}

/// Fingerprint of a store: the schemas of key and state, and who writes it. A processor more for
/// events of the past would have given another state.
fn shape(store: &StoreInfo, entries: &[Entry]) -> u64 {
    let mut text = (store.shape)();
    for entry in entries {
        for processor in entry.processors() {
            if processor.stores.iter().any(|used| used.write && used.store.name == store.name) {
                text.push_str(&format!("\n{} {}", entry.event.message.name, processor.name));
            }
        }
    }
    xxh3_64(text.as_bytes())
}

/// Fingerprint of the timers that may wait: they are kept as encoded messages.
fn timers_shape(requests: &[MessageInfo]) -> u64 {
    let timers = requests.iter().filter(|request| request.kind == Kind::Timer);
    let mut schemas: Vec<_> = timers.map(|timer| (timer.schema)()).collect();
    schemas.sort_unstable();
    schemas.push(schema_of::<TimerId>());
    xxh3_64(schemas.join("\n").as_bytes())
}

fn check_handlers(decided: &[Request], requests: &[MessageInfo]) -> Result<(), Error> {
    let of = |name: &str| decided.iter().find(|request| request.handler.message.name == name);
    for pair in decided.windows(2) {
        let (first, second) = (pair[0].handler, pair[1].handler);
        if first.message.name == second.message.name {
            return Err(Error::TwoHandlers {
                message: first.message.type_name,
                first: place(first.file, first.name),
                second: place(second.file, second.name),
            });
        }
    }
    if let Some(request) = requests.iter().find(|request| of(request.name).is_none()) {
        return Err(Error::NoHandler { message: request.type_name });
    }
    for request in decided {
        let handler = request.handler;
        if handler.message.kind == Kind::Event {
            return Err(Error::HandlesEvent {
                handler: place(handler.file, handler.name),
                message: handler.message.type_name,
            });
        }
        let lost = request
            .outputs
            .iter()
            .find(|output| output.kind == Kind::Command && of(output.name).is_none());
        if let Some(output) = lost {
            return Err(Error::CascadeWithoutRoute {
                handler: place(handler.file, handler.name),
                message: output.type_name,
            });
        }
    }
    Ok(())
}

fn check_stores(
    decided: &[Request],
    processors: &[&'static ProcessorDescriptor],
) -> Result<(), Error> {
    for processor in processors {
        let mut names: Vec<_> = processor.stores.iter().map(|used| used.store.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let processor = place(processor.file, processor.name);
            return Err(Error::StoreTwice { processor, store: pair[0] });
        }
    }
    let written = |name: &str| {
        let mut uses = processors.iter().flat_map(|processor| processor.stores.iter());
        uses.any(|used| used.write && used.store.name == name)
    };
    for request in decided {
        if let Some(store) = request.handler.stores.iter().find(|store| !written(store.name)) {
            return Err(Error::NeverWritten {
                handler: place(request.handler.file, request.handler.name),
                store: store.name,
            });
        }
    }
    Ok(())
}

/// What becomes of a field that the writer of a record has and this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownFields {
    /// It is skipped: a producer may be newer than the workers.
    Skipped,
    /// The schema is refused: a fold without the field would be another state.
    Refused,
}

/// Turns a datum of an older or newer schema into one of ours.
pub trait Transcode: Send + Sync {
    /// Appends the datum in our schema.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not what the writer's schema says.
    fn transcode(&self, datum: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError>;
}

/// What a schema id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Request(usize),
    Event(usize),
    Tick,
    ChangeRules,
    ResolveParked,
    /// Known by name, and nothing that a partition reads as a command.
    Other,
}

/// A schema id that may be met in a record.
#[derive(Clone)]
pub(crate) struct Readable {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) transcode: Option<Arc<dyn Transcode>>,
}

/// The schema ids of one log: those it writes, and those it can read.
#[derive(Clone, Default)]
pub struct Wire {
    readable: HashMap<u32, Readable, FxBuildHasher>,
    event_ids: Vec<u32>,
    ids: HashMap<&'static str, u32>,
}

impl Wire {
    /// Of a topology, whose schemas `id_of` gives numbers.
    pub fn new(topology: &Topology, mut id_of: impl FnMut(&str) -> u32) -> Self {
        let mut wire = Self::default();
        for (name, _) in topology.schemas() {
            let id = id_of(name);
            wire.ids.insert(name, id);
            wire.add_writer(topology, id, name, None);
        }
        let id = |entry: &Entry| wire.ids.get(entry.event.message.name).copied().unwrap_or(0);
        wire.event_ids = topology.events.iter().map(id).collect();
        wire
    }

    /// Learns an id under which others write `name`; without `transcode` the schema is our own.
    pub fn add_writer(
        &mut self,
        topology: &Topology,
        id: u32,
        name: &str,
        transcode: Option<Arc<dyn Transcode>>,
    ) {
        let request = topology.requests.iter().position(|request| {
            let message = request.handler.message;
            message.name == name && message.kind == Kind::Command
        });
        let event = topology.events.iter().position(|entry| entry.event.message.name == name);
        let target = match (request, event) {
            (Some(index), _) => Target::Request(index),
            (None, Some(index)) => Target::Event(index),
            (None, None) if name == Tick::NAME => Target::Tick,
            (None, None) if name == ChangeRules::NAME => Target::ChangeRules,
            (None, None) if name == ResolveParked::NAME => Target::ResolveParked,
            (None, None) => Target::Other,
        };
        self.readable.insert(id, Readable { name: name.to_owned(), target, transcode });
    }

    /// The id under which this log writes `name`.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// The record name behind an id.
    #[must_use]
    pub fn name_of(&self, id: u32) -> Option<&str> {
        self.readable.get(&id).map(|readable| readable.name.as_str())
    }

    #[inline]
    pub(crate) fn read(&self, id: u32) -> Option<&Readable> {
        self.readable.get(&id)
    }

    #[inline]
    pub(crate) fn event_id(&self, index: usize) -> u32 {
        self.event_ids[index]
    }

    /// # Panics
    /// For a name that is not of the topology.
    pub(crate) fn written_id(&self, name: &str) -> u32 {
        match self.ids.get(name) {
            Some(id) => *id,
            None => panic!("{name} has no schema id: it is not of this topology"),
        }
    }
}
