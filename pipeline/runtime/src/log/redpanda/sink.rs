//! A consumer of events: a member of a group of its own, with its marks as committed offsets.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::error;
use super::group::Group;
use super::source::{Committed, Source, View};
use crate::log::{Consumer, Each, Error, Identity, Lookup, Mark, Polled, Reader, Topic};

/// A member of a group that reads events.
pub struct Sink {
    view: View,
    /// The offsets of its own group.
    marks: Source,
    group: Group,
}

impl Sink {
    pub(super) fn join(shared: &Arc<Shared>, group: &str) -> Result<Self, Error> {
        let topic = shared.config.topic(Topic::Events);
        let group = &format!("{}.{group}", shared.config.prefix);
        let marks = Source::new(shared.config.clone(), group);
        let joined = Group::join(&shared.config.member(group, &shared.config.name, None), &topic)?;
        Ok(Self { view: View::new(shared), marks, group: joined })
    }
}

impl Reader for Sink {
    fn identity(&self) -> &Identity {
        self.view.identity()
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.view.schema_of(id)
    }

    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.view.first(topic, partition)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.view.end(topic, partition)
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        self.view.read(topic, partition, from, each)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<bellhop_core::task::Progress>, Error> {
        self.view.committed(partition)
    }
}

impl Consumer for Sink {
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        self.group.poll(records_max, wait, || false)
    }

    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        self.group.start(partition, next_offset)
    }

    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.group.pause(partition)
    }

    fn marked(&mut self, partition: u32) -> Result<Option<Mark>, Error> {
        let committed = self.marks.stable_offset(Topic::Events, partition)?;
        Ok(committed.map(|Committed { offset, text }| Mark { next_offset: offset, note: text }))
    }

    fn mark(&mut self, marks: &[(u32, Mark)]) -> Result<(), Error> {
        let tried = "set the marks of a consumer";
        self.group.listen()?;
        let offsets: Vec<_> = marks
            .iter()
            .map(|(partition, mark)| {
                let text = mark.note.clone();
                (*partition, Committed { offset: mark.next_offset, text })
            })
            .collect();
        self.group.commit(&offsets).map_err(|e| error::of(tried, e))
    }

    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.group.release(partitions)
    }
}
