//! What commands lead to later: timers that are set, and cascades.

use std::collections::BTreeSet;

use bellhop_core::avro::{Avro, Reader as Datum};
use bellhop_core::message::{Message, Meta, Timestamp};
use bellhop_core::record::unframe;
use uuid::Uuid;

use super::outcomes::Event;
use super::rows::Row;
use super::{Broken, Promise};
use crate::toy::{Added, Scheduled};

/// Commands that others led to, over all partitions.
#[derive(Debug, Default)]
pub struct Cascades {
    pub(super) asked: BTreeSet<Uuid>,
    found: BTreeSet<Uuid>,
}

impl Cascades {
    pub(super) fn find(&mut self, row: &Row) -> Result<(), String> {
        let foreign = || format!("the command at {} was not sent by anybody", row.offset);
        let (_, datum) = row.value.as_deref().and_then(unframe).ok_or_else(foreign)?;
        let meta = Meta::decode(&mut Datum::new(datum)).map_err(|_| foreign())?;
        let depth = meta.source.as_ref().map_or(0, |source| source.depth);
        if depth == 0 {
            return Err(foreign());
        }
        match self.found.insert(meta.message_id) {
            true => Ok(()),
            false => Err(format!("the cascade at {} stands there twice", row.offset)),
        }
    }

    /// Each that was asked for was sent, and no other.
    #[must_use]
    pub fn check(&self) -> Option<Broken> {
        let Self { asked, found } = self;
        (asked != found).then(|| {
            let what = format!("{} cascades, {} were asked for", found.len(), asked.len());
            Broken { promise: Promise::ExactlyOnce, what }
        })
    }
}

/// The timers that are set: by due time and the event that set them.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Timestamp, Uuid)>);

impl Timers {
    pub(super) fn set(&mut self, event: &Event) -> Result<(), String> {
        if event.name == Scheduled::NAME {
            let scheduled = Scheduled::decode(&mut Datum::new(&event.body));
            let due = scheduled.map_err(|error| error.to_string())?.due;
            let due = due.max(Timestamp(event.meta.occurred_at.0 + 1));
            self.0.insert((due, event.meta.message_id));
        }
        Ok(())
    }

    /// Takes the events of due timers off the front; gives how many.
    pub(super) fn fire(&mut self, now: Timestamp, events: &mut Vec<Event>) -> Result<u64, String> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.0.first().copied().filter(|(at, _)| *at <= now) {
            self.0.remove(&(at, id));
            due.push(Some(id));
        }
        let by_timer = |event: &&Event| {
            let source = event.meta.source.as_ref();
            event.name == Added::NAME && source.is_some_and(|it| it.idempotency_key.is_none())
        };
        let fired = events.iter().take_while(by_timer).count();
        let found: Vec<_> = events.drain(..fired).map(|event| event.meta.causation_id).collect();
        match found == due {
            true => Ok(fired as u64),
            false => Err(format!("the timers of {due:?} are due, those of {found:?} fired")),
        }
    }
}
