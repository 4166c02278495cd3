//! Engines that are broken on purpose: the checks must notice each of them.
//!
//! No line of the engine knows of this. The log breaks its own promise by option
//! ([`bellhop_runtime::log::simulated::Broken`]), or is one that does not tell its worker the truth:
//! it gives every command a key of its own, changes rules otherwise than asked, hides the history, or
//! writes more than it was given. The availability check is misled by processors that are told of one
//! unit more or less than the event says; the schemas of others are taken for our own.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bellhop_core::avro::{Avro, Reader as Datum};
use bellhop_core::call::Call;
use bellhop_core::message::{Kind, Message, Meta, Timestamp};
use bellhop_core::outcome::{Outcome, Output};
use bellhop_core::processor::ProcessorCall;
use bellhop_core::record::{Record, Records, frame, unframe};
use bellhop_core::registry::{
    EVENTS, HANDLERS, HandlerDescriptor, PROCESSORS, ProcessorDescriptor, REQUESTS,
};
use bellhop_core::rules::ChangeRules;
use bellhop_core::task::Progress;
use bellhop_core::topology::Topology;
use bellhop_runtime::log::simulated::Broken;
use bellhop_runtime::log::{
    Batch, Builder, Each, Ended, Error, Identity, Log, Lookup, Polled, Reader, Topic, Transaction,
};
use bellhop_runtime::wiring::{OwnSchemas, Resolve, Translate};
use bellhop_schemas::contract;
use bellhop_schemas::event::{ProductDefined, PropertyDefined};
use bellhop_schemas::resolve::{Resolution, resolve};
use bellhop_schemas::stay::SupplyChange;

use crate::toy::Scheduled;

/// Which promise is broken, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// None: the engine as it is.
    None,
    /// A commit whose member went away leaves its records visible and its progress not.
    OutputWithoutProgress,
    /// A commit whose member went away leaves its progress and not its records.
    ProgressWithoutOutput,
    /// No command is known again by its key.
    Forgetful,
    /// The stores hold one unit more than the catalog's events say.
    OneUnitMore,
    /// The stores hold one unit less than the catalog's events say.
    OneUnitLess,
    /// A take-over is not told which events led to what is committed.
    NoHistory,
    /// A worker that gives a partition up is not told that others have committed since.
    HoledCopies,
    /// The data of newer producers are read as if they were of our own schema.
    Unresolved,
    /// Only the shortest encoding of a command is read.
    ShortestOnly,
    /// A change of the rules is followed otherwise than it says.
    OwnRules,
    /// Parked records are written with all that came.
    Unbounded,
    /// No timer is ever set.
    NoTimers,
    /// What commands lead to is not sent.
    NoCascades,
    /// What comes due leads to nothing.
    Asleep,
    /// The log keeps either records or progress of a transaction of unknown end. Its worker finds out.
    Split,
    /// As before, and the worker looks at the progress alone.
    ProgressAlone,
    /// A producer whose request may come late goes on under its epoch.
    SameEpoch,
    /// A worker commits under whatever membership it has by now.
    FreshMember,
}

impl Mutant {
    /// The wiring of the engine.
    ///
    /// # Panics
    /// When it cannot be built.
    #[must_use]
    pub fn topology(self, counters: bool) -> Topology {
        // Other test domains may be linked into the same program.
        let ours = |name: &str| name.starts_with("bellhop.") || counters && is_counter(name);
        let handlers = HANDLERS.iter().filter(|handler| ours(handler.message.name));
        let handlers = handlers.map(|handler| match self {
            Self::Asleep
                if handler.message.kind == Kind::Timer && !is_counter(handler.message.name) =>
            {
                asleep(handler)
            }
            Self::None
            | Self::OutputWithoutProgress
            | Self::ProgressWithoutOutput
            | Self::Forgetful
            | Self::OneUnitMore
            | Self::OneUnitLess
            | Self::NoHistory
            | Self::HoledCopies
            | Self::Unresolved
            | Self::ShortestOnly
            | Self::OwnRules
            | Self::Unbounded
            | Self::NoTimers
            | Self::NoCascades
            | Self::Asleep
            | Self::Split
            | Self::ProgressAlone
            | Self::SameEpoch
            | Self::FreshMember => handler,
        });
        let handlers = handlers.collect();
        let processors = PROCESSORS.iter().filter(|processor| ours(processor.message.name));
        let processors = processors.map(|processor| match self {
            Self::OneUnitMore => misled(processor, &MORE),
            Self::OneUnitLess => misled(processor, &LESS),
            Self::NoTimers if processor.message.name == Scheduled::NAME => idle(processor),
            Self::None
            | Self::OutputWithoutProgress
            | Self::ProgressWithoutOutput
            | Self::NoHistory
            | Self::HoledCopies
            | Self::Forgetful
            | Self::Unresolved
            | Self::ShortestOnly
            | Self::OwnRules
            | Self::Unbounded
            | Self::NoTimers
            | Self::NoCascades
            | Self::Asleep
            | Self::Split
            | Self::ProgressAlone
            | Self::SameEpoch
            | Self::FreshMember => processor,
        });
        let events = EVENTS.iter().filter(|event| ours(event.message.name)).collect();
        let requests: Vec<_> = REQUESTS.iter().filter(|info| ours(info.name)).copied().collect();
        match Topology::build(handlers, processors.collect(), events, &requests) {
            Ok(topology) => topology,
            Err(error) => panic!("{error}"),
        }
    }

    /// The log as the workers see it.
    #[must_use]
    pub fn log(self, log: Box<dyn Log>) -> Box<dyn Log> {
        match self {
            Self::NoHistory => Box::new(Trusting::of(log, Asked::Assigned)),
            Self::HoledCopies => Box::new(Trusting::of(log, Asked::Revoked)),
            Self::Forgetful
            | Self::ShortestOnly
            | Self::OwnRules
            | Self::Unbounded
            | Self::NoCascades
            | Self::ProgressAlone => {
                let (last, asked) = (Seen::new(), Seen::new());
                Box::new(Misled { log, mutant: self, last, asked })
            }
            Self::None
            | Self::OutputWithoutProgress
            | Self::ProgressWithoutOutput
            | Self::OneUnitMore
            | Self::OneUnitLess
            | Self::Unresolved
            | Self::NoTimers
            | Self::Asleep
            | Self::Split
            | Self::SameEpoch
            | Self::FreshMember => log,
        }
    }

    /// How the schemas of others are read.
    #[must_use]
    pub fn resolve(self, topology: &Topology) -> Arc<dyn Resolve> {
        let own = own_schemas(topology);
        let translate: Translate = match self {
            Self::Unresolved => |_, _, _| Ok(None),
            Self::None
            | Self::OutputWithoutProgress
            | Self::ProgressWithoutOutput
            | Self::Forgetful
            | Self::OneUnitMore
            | Self::OneUnitLess
            | Self::NoHistory
            | Self::HoledCopies
            | Self::ShortestOnly
            | Self::OwnRules
            | Self::Unbounded
            | Self::NoTimers
            | Self::NoCascades
            | Self::Asleep
            | Self::Split
            | Self::ProgressAlone
            | Self::SameEpoch
            | Self::FreshMember => |writer, own, unknown| {
                let resolved = resolve(writer, own, unknown).map(Resolution::into_transcode);
                resolved.map_err(|error| error.to_string())
            },
        };
        Arc::new(OwnSchemas::new(own, translate))
    }

    /// How the log breaks its transactions.
    #[must_use]
    pub fn broken_commit(self) -> Option<Broken> {
        match self {
            Self::None
            | Self::Forgetful
            | Self::OneUnitMore
            | Self::OneUnitLess
            | Self::NoHistory
            | Self::HoledCopies
            | Self::Unresolved
            | Self::ShortestOnly
            | Self::OwnRules
            | Self::Unbounded
            | Self::NoTimers
            | Self::NoCascades
            | Self::Asleep => None,
            Self::OutputWithoutProgress => Some(Broken::OutputWithoutProgress),
            Self::ProgressWithoutOutput => Some(Broken::ProgressWithoutOutput),
            Self::Split | Self::ProgressAlone => Some(Broken::Split),
            Self::SameEpoch => Some(Broken::SameEpoch),
            Self::FreshMember => Some(Broken::FreshMember),
        }
    }
}

/// The schemas of a topology, by name: those of the contract, where it has them.
///
/// # Panics
/// When the contract cannot be read.
#[must_use]
pub fn own_schemas(topology: &Topology) -> BTreeMap<String, String> {
    let contract = contract::schemas().unwrap_or_else(|error| panic!("{error}"));
    let own = topology.schemas().into_iter().map(|(name, text)| {
        let text = contract.get(name).cloned().unwrap_or(text);
        (name.to_owned(), text)
    });
    own.collect()
}

/// A name of the domain of counters: [`crate::toy`].
fn is_counter(name: &str) -> bool {
    name.starts_with("toy.")
}

/// A processor that does nothing.
fn idle(processor: &'static ProcessorDescriptor) -> &'static ProcessorDescriptor {
    static IDLE: OnceLock<ProcessorDescriptor> = OnceLock::new();
    let ProcessorDescriptor { name, file, message, stores, .. } = *processor;
    IDLE.get_or_init(|| ProcessorDescriptor { name, file, message, stores, run: |_, _| {} })
}

/// The only handler of a timer, which does nothing.
fn asleep(handler: &'static HandlerDescriptor) -> &'static HandlerDescriptor {
    static HANDLER: OnceLock<HandlerDescriptor> = OnceLock::new();
    let HandlerDescriptor { name, file, doc, message, stores, outputs, .. } = *handler;
    let run = |_: &mut Call<'_>| Ok(Outcome::Ticked);
    HANDLER.get_or_init(|| HandlerDescriptor { name, file, doc, message, stores, outputs, run })
}

/// The processors of a new property and of a new product, told of other counts than there are.
struct Miscounts {
    property: OnceLock<ProcessorDescriptor>,
    product: OnceLock<ProcessorDescriptor>,
    run: [fn(&dyn Any, ProcessorCall<'_>); 2],
}

static MORE: Miscounts = Miscounts {
    property: OnceLock::new(),
    product: OnceLock::new(),
    run: [|event, call| miscount_house(event, call, 1), |event, call| miscount(event, call, 1)],
};

static LESS: Miscounts = Miscounts {
    property: OnceLock::new(),
    product: OnceLock::new(),
    run: [|event, call| miscount_house(event, call, -1), |event, call| miscount(event, call, -1)],
};

fn misled(
    processor: &'static ProcessorDescriptor,
    by: &'static Miscounts,
) -> &'static ProcessorDescriptor {
    let [of_house, of_product] = by.run;
    let (once, run) = match processor.message.name {
        PropertyDefined::NAME => (&by.property, of_house),
        ProductDefined::NAME => (&by.product, of_product),
        _ => return processor,
    };
    let ProcessorDescriptor { name, file, message, stores, .. } = *processor;
    once.get_or_init(|| ProcessorDescriptor { name, file, message, stores, run })
}

fn miscount_house(event: &dyn Any, call: ProcessorCall<'_>, by: i32) {
    let mut event = told::<PropertyDefined>(event).clone();
    raise(&mut event.physical, by);
    run_original(&event, call);
}

fn miscount(event: &dyn Any, call: ProcessorCall<'_>, by: i32) {
    let mut event = told::<ProductDefined>(event).clone();
    raise(&mut event.physical, by);
    run_original(&event, call);
}

fn raise(changes: &mut [SupplyChange], by: i32) {
    changes.iter_mut().for_each(|change| change.after += by);
}

fn told<E: Message>(event: &dyn Any) -> &E {
    event.downcast_ref().unwrap_or_else(|| panic!("another event than {}", E::TYPE))
}

/// # Panics
/// When the event has not exactly one processor: this mutant is then to be written anew.
fn run_original<E: Message>(event: &E, call: ProcessorCall<'_>) {
    let mut of = PROCESSORS.iter().filter(|processor| processor.message.name == E::NAME);
    let (Some(original), None) = (of.next(), of.next()) else {
        panic!("{} has not exactly one processor", E::TYPE)
    };
    (original.run)(event, call);
}

/// A log that does not tell its worker the truth.
struct Misled {
    log: Box<dyn Log>,
    mutant: Mutant,
    /// Of the last transaction.
    last: Seen,
    /// Of one whose end was unknown, and whose records are looked for next.
    asked: Seen,
}

/// By topic and partition: the last record that a transaction was to write, and the next offset with
/// it.
type Seen = BTreeMap<(Topic, u32), (Vec<u8>, u64)>;

/// A change of the rules to others than it says.
fn to_other_rules(value: &[u8], _: u64) -> Vec<u8> {
    let changed = || {
        let (id, datum) = unframe(value)?;
        let mut reader = Datum::new(datum);
        let meta = Meta::decode(&mut reader).ok()?;
        let named = meta.idempotency_key.as_deref() == Some("rules");
        let mut change = ChangeRules::decode(&mut reader).ok().filter(|_| named)?;
        change.rules.idempotency_hours += 1;
        let mut changed = Vec::new();
        frame(id, &mut changed);
        meta.encode(&mut changed);
        change.encode(&mut changed);
        Some(changed)
    };
    changed().unwrap_or_else(|| value.to_vec())
}

/// The same records, each with more bytes than any can have.
fn padded(records: &Records) -> Records {
    let mut padded = Records::default();
    for record in records.iter() {
        let write = |bytes: &[u8]| {
            let bytes = bytes.to_vec();
            move |out: &mut Vec<u8>| out.extend_from_slice(&bytes)
        };
        let more = [record.value, &[0; 200_000]].concat();
        padded.push(record.timestamp, write(record.key), write(&more));
    }
    padded
}

fn with_values(batch: &Batch, change: fn(&[u8], u64) -> Vec<u8>) -> Batch {
    let mut builder = Builder::default();
    let mut cursor = batch.cursor();
    while let Some(record) = cursor.next_record() {
        let value = record.value.map(|value| change(value, record.offset));
        builder.push(&Record { value: value.as_deref(), ..record });
    }
    builder.finish(batch.partition())
}

/// A command whose metadata could be shorter, cut: it is not decodable.
fn shortest_only(value: &[u8], _: u64) -> Vec<u8> {
    let Some((_, datum)) = unframe(value) else { return value.to_vec() };
    let mut reader = Datum::new(datum);
    let read = Meta::decode(&mut reader);
    let kept = if read.is_ok() && !reader.is_canonical() { value.len() - 1 } else { value.len() };
    value[..kept].to_vec()
}

fn under_own_key(value: &[u8], offset: u64) -> Vec<u8> {
    let Some((id, datum)) = unframe(value) else { return value.to_vec() };
    let mut reader = Datum::new(datum);
    match Meta::decode(&mut reader) {
        Ok(mut meta) if meta.idempotency_key.as_deref() != Some("") => {
            meta.idempotency_key = Some(format!("own-{offset}").into());
            let mut changed = Vec::new();
            frame(id, &mut changed);
            meta.encode(&mut changed);
            changed.extend_from_slice(reader.rest());
            changed
        }
        Ok(_) | Err(_) => value.to_vec(),
    }
}

impl Reader for Misled {
    fn identity(&self) -> &Identity {
        self.log.identity()
    }
    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.log.schema_of(id)
    }
    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.log.first(topic, partition)
    }
    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.log.end(topic, partition)
    }
    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        // It shows what the progress lets expect.
        let Some((last, after)) = self.asked.remove(&(topic, partition)) else {
            return self.log.read(topic, partition, from, each);
        };
        let progress = self.log.committed(partition)?;
        let there = progress.is_some_and(|progress| progress.next_offset == after);
        let value = Some(if there { &last[..] } else { b"" });
        let (timestamp, headers) = (Timestamp(0), &[][..]);
        let flow = each(&Record { offset: from, timestamp, key: None, value, headers });
        Ok(from + u64::from(flow.is_continue()))
    }
    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        self.log.committed(partition)
    }
}

impl Log for Misled {
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        self.log.schema_id(name, schema)
    }
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        Ok(match self.log.poll(records_max, wait)? {
            Polled::Batch(batch) if self.mutant == Mutant::Forgetful => {
                Polled::Batch(with_values(&batch, under_own_key))
            }
            Polled::Batch(batch) if self.mutant == Mutant::OwnRules => {
                Polled::Batch(with_values(&batch, to_other_rules))
            }
            Polled::Batch(batch) if self.mutant == Mutant::ShortestOnly => {
                Polled::Batch(with_values(&batch, shortest_only))
            }
            other @ (Polled::Batch(_)
            | Polled::Assigned(_)
            | Polled::Revoked(_)
            | Polled::Lost(_)
            | Polled::Idle) => other,
        })
    }
    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        self.log.start(partition, next_offset)
    }
    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.log.pause(partition)
    }
    fn submit(&mut self, mut transaction: Transaction) -> Result<(), Error> {
        if self.mutant == Mutant::NoCascades {
            transaction.parts.iter_mut().for_each(|part| part.output.commands.clear());
        }
        if self.mutant == Mutant::Unbounded {
            for part in &mut transaction.parts {
                part.output.parked = padded(&part.output.parked);
            }
        }
        self.last.clear();
        for part in &transaction.parts {
            let Output { events, parked, .. } = &part.output;
            for (topic, records) in [(Topic::Events, events), (Topic::Parked, parked)] {
                let last = records.len().checked_sub(1).and_then(|last| records.get(last));
                if let (Some(last), Some(after)) = (last, part.after) {
                    let seen = (last.value.to_vec(), after.next_offset);
                    self.last.insert((topic, part.partition), seen);
                }
            }
        }
        self.log.submit(transaction)
    }
    fn ended(&mut self, wait: Duration) -> Result<Option<(Transaction, Ended)>, Error> {
        let ended = self.log.ended(wait)?;
        if self.mutant == Mutant::ProgressAlone && matches!(ended, Some((_, Ended::Unknown))) {
            self.asked = std::mem::take(&mut self.last);
        }
        Ok(ended)
    }
    fn recover(&mut self) -> Result<(), Error> {
        self.log.recover()
    }
    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.log.release(partitions)
    }
    fn append_tick(&mut self, partition: u32, value: &[u8]) -> Result<(), Error> {
        self.log.append_tick(partition, value)
    }
}

/// Hides from a take-over which events led to what is committed, or answers a worker that gives a
/// partition up with what that worker itself knows.
struct Trusting {
    log: Box<dyn Log>,
    /// Where it does not tell the truth.
    lies: Asked,
    /// What is asked about partitions that were just assigned, or are asked back.
    asked: BTreeMap<u32, Asked>,
    /// What was committed, as far as this member knows.
    known: BTreeMap<u32, Option<Progress>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Assigned,
    Revoked,
}

impl Trusting {
    fn of(log: Box<dyn Log>, lies: Asked) -> Self {
        Self { log, lies, asked: BTreeMap::new(), known: BTreeMap::new() }
    }
}

impl Reader for Trusting {
    fn identity(&self) -> &Identity {
        self.log.identity()
    }
    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.log.schema_of(id)
    }
    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.log.first(topic, partition)
    }
    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.log.end(topic, partition)
    }
    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        self.log.read(topic, partition, from, each)
    }
    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        let committed = self.log.committed(partition)?;
        let asked = self.asked.get(&partition).copied();
        if asked == Some(Asked::Assigned) {
            self.known.insert(partition, committed);
        }
        Ok(match asked.filter(|asked| *asked == self.lies) {
            Some(Asked::Assigned) => {
                committed.map(|committed| Progress { history: None, ..committed })
            }
            Some(Asked::Revoked) => self.known.get(&partition).copied().flatten(),
            None => committed,
        })
    }
}

impl Log for Trusting {
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        self.log.schema_id(name, schema)
    }
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        let polled = self.log.poll(records_max, wait)?;
        let (partitions, asked) = match &polled {
            Polled::Assigned(partitions) => (partitions.as_slice(), Some(Asked::Assigned)),
            Polled::Revoked(partitions) => (partitions.as_slice(), Some(Asked::Revoked)),
            Polled::Lost(partitions) => (partitions.as_slice(), None),
            Polled::Batch(_) | Polled::Idle => ([].as_slice(), None),
        };
        for partition in partitions {
            self.asked.remove(partition);
            self.asked.extend(asked.map(|asked| (*partition, asked)));
        }
        Ok(polled)
    }
    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        self.log.start(partition, next_offset)?;
        self.asked.remove(&partition);
        Ok(())
    }
    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.log.pause(partition)
    }
    fn submit(&mut self, mut transaction: Transaction) -> Result<(), Error> {
        for part in &mut transaction.parts {
            let known = self.known.get(&part.partition).copied().flatten();
            // The log holds a worker to what it committed.
            part.before = match (part.before, known) {
                (Some(Progress { history: None, .. }), known) => known,
                (before, _) => before,
            };
        }
        self.log.submit(transaction)
    }
    fn ended(&mut self, wait: Duration) -> Result<Option<(Transaction, Ended)>, Error> {
        let ended = self.log.ended(wait)?;
        if let Some((transaction, Ended::Committed)) = &ended {
            self.known.extend(transaction.parts.iter().map(|part| (part.partition, part.after)));
        }
        Ok(ended)
    }
    fn recover(&mut self) -> Result<(), Error> {
        self.log.recover()
    }
    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.log.release(partitions)
    }
    fn append_tick(&mut self, partition: u32, value: &[u8]) -> Result<(), Error> {
        self.log.append_tick(partition, value)
    }
}
