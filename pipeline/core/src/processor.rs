//! An event on its way through its processors: when it is decided, and when it is folded again.

use std::any::Any;

use crate::context::Context;
use crate::message::{Message, Meta, Position};
use crate::rules::Rules;
use crate::store::Stores;
use crate::timer::Timers;
use crate::topology::Entry;

/// An event on its way through its processors.
pub struct Apply<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) stores: &'a mut Stores,
    pub(crate) timers: &'a mut Timers,
    pub(crate) meta: &'a Meta,
    pub(crate) position: Position,
    pub(crate) rules: Rules,
    /// The event as Avro bytes, without its metadata.
    pub(crate) body: &'a [u8],
}

impl Apply<'_> {
    /// Runs the processors in the order of their names.
    #[inline]
    pub fn to<E: Message>(self, event: &E) {
        let Self { meta, position, rules, body, .. } = self;
        let cx = Context { now: meta.occurred_at, position, rules, meta, body };
        self.timers.begin_event(cx.now, self.meta.message_id);
        for (processor, slots) in &self.entry.processors {
            let call = ProcessorCall { stores: self.stores, slots, timers: self.timers, cx: &cx };
            (processor.run)(event, call);
        }
    }
}

/// One call of a processor.
pub struct ProcessorCall<'a> {
    /// All stores of the partition.
    pub stores: &'a mut Stores,
    /// Slots of the stores it uses.
    pub slots: &'a [usize],
    /// The timers of the partition.
    pub timers: &'a mut Timers,
    /// The circumstances of the event.
    pub cx: &'a Context<'a>,
}

/// The event as its type.
///
/// # Panics
/// When it is another type's: the topology resolved the processor for this one.
#[inline]
#[must_use]
pub fn expect_event<E: Message>(event: &dyn Any) -> &E {
    let Some(event) = event.downcast_ref() else {
        panic!("a processor of {} was given another event: the topology is broken", E::TYPE)
    };
    event
}
