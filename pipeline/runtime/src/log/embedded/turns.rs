//! The partitions that a member is served, each in its turn.

use std::collections::BTreeMap;

use super::{Shared, State};
use crate::log::{Batch, Error, ErrorKind, Topic};

/// How far a member has been served one topic.
pub(super) struct Turns {
    topic: Topic,
    /// Partitions whose records may come.
    started: BTreeMap<u32, Fetch>,
    /// The partition that is served next, so that each has its turn.
    turn: u32,
}

/// How far a partition has been served.
struct Fetch {
    next: u64,
    /// What is left of the last stored batch.
    rest: Option<Batch>,
}

impl Turns {
    pub(super) fn of(topic: Topic) -> Self {
        Self { topic, started: BTreeMap::new(), turn: 0 }
    }

    pub(super) fn start(&mut self, partition: u32, next: u64) {
        self.started.insert(partition, Fetch { next, rest: None });
    }

    pub(super) fn pause(&mut self, partition: u32) {
        self.started.remove(&partition);
    }

    /// The partition whose turn it is among those that have records.
    pub(super) fn next_ready(&self, state: &State) -> Option<u32> {
        let has = |(partition, fetch): &(&u32, &Fetch)| {
            fetch.next < state.contents.ends[**partition as usize][self.topic as usize]
        };
        let after = self.started.range(self.turn..).find(has);
        after.or_else(|| self.started.iter().find(has)).map(|(partition, _)| *partition)
    }

    /// The next batch of a partition that has one: what is left of the last, the newest from
    /// memory, or else from the file.
    pub(super) fn fetch(
        &mut self,
        shared: &Shared,
        partition: u32,
        records_max: usize,
        newest: impl FnOnce(u64) -> Option<Batch>,
    ) -> Result<Option<Batch>, Error> {
        let Some(fetch) = self.started.get_mut(&partition) else { return Ok(None) };
        let rest = match fetch.rest.take().or_else(|| newest(fetch.next)) {
            Some(rest) => Some(rest),
            None => shared.store.batch_at(self.topic, partition, fetch.next)?,
        };
        let Some(mut rest) = rest else {
            let place = format!("{}, partition {partition}", self.topic);
            return Err(Error {
                kind: ErrorKind::Corrupt,
                tried: format!("read {place} from offset {}", fetch.next),
                hint: "it is missing; restore the data directory from a copy, or begin a new one"
                    .to_owned(),
                source: None,
            });
        };
        let batch = if rest.len() <= records_max {
            rest
        } else {
            let batch = rest.split_to(records_max);
            fetch.rest = Some(rest);
            batch
        };
        // The offsets of an embedded log have no gap.
        fetch.next += batch.len() as u64;
        self.turn = partition + 1;
        Ok(Some(batch))
    }
}
