//! What the attributes register at link time. Nobody keeps a list.
//!
//! # Source
//! `linkme`: slices assembled by the linker. A crate that nothing names may be dropped by it, so
//! the binary names the crate of the handlers and a test holds `describe` against its golden file.

use std::any::Any;

use linkme::distributed_slice;

use crate::avro::{Avro, DecodeError, Reader};
use crate::call::Call;
use crate::message::{Message, MessageInfo};
use crate::outcome::Decided;
use crate::processor::{Apply, ProcessorCall};
use crate::store::{State, StoreInfo, StoreKey};

/// All handlers.
#[distributed_slice]
pub static HANDLERS: [HandlerDescriptor];
/// All processors.
#[distributed_slice]
pub static PROCESSORS: [ProcessorDescriptor];
/// All event types.
#[distributed_slice]
pub static EVENTS: [EventDescriptor];
/// All command and timer types.
#[distributed_slice]
pub static REQUESTS: [MessageInfo];

/// A function with `#[handler]`.
pub struct HandlerDescriptor {
    /// Name of the function or module.
    pub name: &'static str,
    /// Where it is written.
    pub file: &'static str,
    /// Its doc comment, line by line.
    pub doc: &'static str,
    /// What it handles.
    pub message: MessageInfo,
    /// The stores it reads; a slot for each is passed to `run` in this order.
    pub stores: &'static [StoreInfo],
    /// Collects the messages it may return.
    pub outputs: fn(&mut Vec<MessageInfo>),
    /// Decodes, decides and emits.
    pub run: fn(&mut Call<'_>) -> Decided,
}

impl HandlerDescriptor {
    /// What its doc comment says before the first heading.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        let end = self.doc.find("\n# ").unwrap_or(self.doc.len());
        self.doc.get(..end).unwrap_or_default().trim()
    }

    /// A section of its doc comment, without the heading.
    #[must_use]
    pub fn section(&self, heading: &str) -> &'static str {
        let sections = self.doc.split("\n# ").skip(1);
        let found = sections.filter_map(|section| section.split_once('\n')).find(|(first, _)| {
            let name = first.split(',').next().unwrap_or_default();
            name.trim() == heading
        });
        found.map_or("", |(_, lines)| lines.trim())
    }

    /// What it may refuse a command for, in the order of its checks: the names that stand in the
    /// section "Rejections" of its doc comment.
    #[must_use]
    pub fn rejections(&self) -> Vec<&'static str> {
        names_in(self.section("Rejections"))
    }

    /// What it may warn of: the names that stand in the section "Warnings".
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        names_in(self.section("Warnings"))
    }
}

/// The names of types in backticks, each once.
fn names_in(text: &'static str) -> Vec<&'static str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let mut names = Vec::new();
    for name in quoted.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A store as a processor uses it.
#[derive(Clone, Copy)]
pub struct StoreUse {
    /// Which.
    pub store: StoreInfo,
    /// Whether it is written.
    pub write: bool,
}

/// A function with `#[processor]`.
pub struct ProcessorDescriptor {
    /// Name of the function; the order of processors of one event.
    pub name: &'static str,
    /// Where it is written.
    pub file: &'static str,
    /// What it processes.
    pub message: MessageInfo,
    /// The stores it uses; a slot for each is passed to `run` in this order.
    pub stores: &'static [StoreUse],
    /// Applies an event.
    pub run: fn(&dyn Any, ProcessorCall<'_>),
}

/// A type with `#[derive(Event)]`.
pub struct EventDescriptor {
    /// What it is.
    pub message: MessageInfo,
    /// Decodes one and applies its processors; gives the code of the outcome it records.
    pub fold: fn(&mut Reader<'_>, Apply<'_>) -> Result<u16, DecodeError>,
}

impl EventDescriptor {
    /// Of a type.
    #[must_use]
    pub const fn of<E: Message>() -> Self {
        Self { message: MessageInfo::of::<E>(), fold: fold::<E> }
    }
}

fn fold<E: Message>(reader: &mut Reader<'_>, call: Apply<'_>) -> Result<u16, DecodeError> {
    let event = <E as Avro>::decode(reader)?;
    reader.finish()?;
    call.to(&event);
    Ok(event.outcome_code())
}

/// Compiles only when the store is partitioned by the message's key.
pub const fn partitioned_alike<M: Message, S: State>()
where
    S::Key: StoreKey<Partition = M::Key>,
{
}
