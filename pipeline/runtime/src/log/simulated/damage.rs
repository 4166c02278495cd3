//! What happens to a log outside of bellhop: backups, lost ends, retention, another cluster's topics.

use bellhop_core::task::Progress;

use super::Simulated;
use super::topics::Stored;
use crate::log::Topic;

/// All that a log keeps of a partition, to be put back as it was or damaged.
#[derive(Debug, Clone)]
pub struct Backup {
    /// By topic, in the order of [`Topic::ALL`]: offset of the first record, the records, and the
    /// offset behind the last.
    topics: [(u64, Vec<Stored>, u64); 3],
    committed: Option<Progress>,
}

impl Backup {
    /// How many events.
    #[must_use]
    pub fn events(&self) -> usize {
        self.topics[Topic::Events as usize].1.len()
    }

    /// The last events are gone, and new ones take their offsets: an unclean leader election.
    pub fn cut_events(&mut self, keep: usize) {
        let (_, events, end) = &mut self.topics[Topic::Events as usize];
        events.truncate(keep);
        *end = events.last().map_or(0, |event| event.offset + 1);
    }

    /// The first events are gone: retention.
    pub fn expire_events(&mut self, count: usize) {
        let (first, events, end) = &mut self.topics[Topic::Events as usize];
        events.drain(..count);
        *first = events.first().map_or(*end, |event| event.offset);
    }

    /// One event is missing, and the others keep their offsets.
    pub fn lose_event(&mut self, nth: usize) {
        self.topics[Topic::Events as usize].1.remove(nth);
    }

    /// Changes the bytes of one event; gives its offset.
    ///
    /// # Panics
    /// When there is no such event.
    pub fn edit_event(&mut self, nth: usize, edit: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let event = &mut self.topics[Topic::Events as usize].1[nth];
        event.value.as_mut().map(edit);
        event.offset
    }

    /// The events are those of another backup; the commands and what is committed are not.
    pub fn replace_events(&mut self, other: &Self) {
        let events = Topic::Events as usize;
        self.topics[events] = other.topics[events].clone();
    }

    /// The commands are those of another backup.
    pub fn replace_commands(&mut self, other: &Self) {
        let commands = Topic::Commands as usize;
        self.topics[commands] = other.topics[commands].clone();
    }

    /// The committed offset is that of another backup.
    pub fn replace_committed(&mut self, other: &Self) {
        self.committed = other.committed;
    }

    /// Somebody moved the committed offset by hand: it says nothing else any more.
    pub fn move_committed(&mut self) {
        if let Some(committed) = &mut self.committed {
            committed.history = None;
        }
    }
}

impl Simulated {
    /// What a partition holds.
    ///
    /// # Panics
    /// When a transaction on it is undecided.
    #[must_use]
    pub fn backup(&self, partition: u32) -> Backup {
        let world = self.world();
        let committed = world.committed_now(partition);
        Backup { topics: Topic::ALL.map(|topic| world.topics.copy(topic, partition)), committed }
    }

    /// Replaces what a partition holds; no worker may run.
    pub fn put_back(&self, partition: u32, backup: &Backup) {
        let mut world = self.world();
        world.trace.note(format_args!("a backup of {partition} is put back"));
        for (topic, (first, records, end)) in Topic::ALL.into_iter().zip(backup.topics.clone()) {
            world.topics.put_back(topic, partition, first, records, end);
        }
        world.set_committed(partition, backup.committed);
    }
}
