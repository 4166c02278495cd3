//! The state of a partition out of its log: the newest good snapshot, then the tail of its events.

use std::ops::ControlFlow;

use bellhop_core::task::{Config, FoldError, Task};

use crate::log::{Error as LogError, Reader, Topic};
use crate::snapshot::SnapshotStore;
use crate::wiring::Wiring;

/// What a restored partition came from.
pub struct Restored {
    /// The task; [`Task::resume`] is still to be called with the committed progress.
    pub task: Task,
    /// Events offset of the snapshot, if there was a good one.
    pub snapshot: Option<u64>,
    /// The offset behind the last event that was folded.
    pub events_end: u64,
}

/// Why a partition cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error("restore partition {partition}")]
    Log {
        /// The partition.
        partition: u32,
        /// The cause.
        source: LogError,
    },
    /// An event cannot be folded.
    #[error("restore partition {partition}: the event at offset {offset} cannot be folded{why}")]
    Fold {
        /// The partition.
        partition: u32,
        /// Offset of the event.
        offset: u64,
        /// Why its schema cannot be read, if that is it.
        why: String,
        /// The cause.
        source: FoldError,
    },
}

/// Restores a partition from its newest good snapshot, if `snapshots` are given, and its events.
///
/// # Errors
/// When the log cannot be read, or holds events that this program cannot fold.
pub fn restore(
    reader: &mut dyn Reader,
    wiring: &mut Wiring,
    config: &Config,
    snapshots: Option<&dyn SnapshotStore>,
) -> Result<Restored, Error> {
    let mut restored = begin(reader, wiring, config, snapshots)?;
    restored.go_on(reader, wiring, &mut || false)?;
    Ok(restored)
}

/// What [`restore`] begins with: the newest good snapshot, or nothing.
///
/// # Errors
/// When the log cannot be read.
pub fn begin(
    reader: &mut dyn Reader,
    wiring: &mut Wiring,
    config: &Config,
    snapshots: Option<&dyn SnapshotStore>,
) -> Result<Restored, Error> {
    let new = |wiring: &Wiring| {
        let (topology, wire) = (wiring.topology().clone(), wiring.wire().clone());
        Task::new(config.clone(), topology, wire)
    };
    let end = reader.end(Topic::Events, config.partition);
    let end = end.map_err(|source| Error::Log { partition: config.partition, source })?;
    let found = snapshots.and_then(|store| newest(store, config, end, &|| new(wiring)));
    let (task, snapshot) = match found {
        Some((task, offset)) => (task, Some(offset)),
        None => (new(wiring), None),
    };
    Ok(Restored { task, snapshot, events_end: snapshot.unwrap_or(0) })
}

impl Restored {
    /// Folds the events that have come since, until there are no more or `stop`, which is asked
    /// before each, says so; gives whether there are no more.
    ///
    /// # Errors
    /// As [`restore`].
    pub fn go_on(
        &mut self,
        reader: &mut dyn Reader,
        wiring: &mut Wiring,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Error> {
        let mut stopped = false;
        self.events_end = fold(reader, wiring, &mut self.task, self.events_end, &mut |_| {
            stopped = stop();
            stopped
        })?;
        Ok(!stopped)
    }
}

/// Folds the events from one offset on, up to one at which `stop` says so; gives the offset to go
/// on from.
pub(crate) fn fold(
    reader: &mut dyn Reader,
    wiring: &mut Wiring,
    task: &mut Task,
    from: u64,
    stop: &mut dyn FnMut(u64) -> bool,
) -> Result<u64, Error> {
    let partition = task.config().partition;
    // It may have been restored before the wiring learned a schema.
    task.set_wire(wiring.wire().clone());
    let (mut next, mut learned) = (from, None);
    loop {
        let (mut stuck, mut stopped) = (None, None);
        let read = reader.read(Topic::Events, partition, next, &mut |event| {
            if stop(event.offset) {
                stopped = Some(event.offset);
                return ControlFlow::Break(());
            }
            let folded = task.fold(event.key.unwrap_or_default(), event.value.unwrap_or_default());
            match folded {
                Ok(()) => ControlFlow::Continue(()),
                Err(source) => {
                    stuck = Some((event.offset, source));
                    ControlFlow::Break(())
                }
            }
        });
        let end = read.map_err(|source| Error::Log { partition, source })?;
        let Some((offset, source)) = stuck else { return Ok(stopped.unwrap_or(end)) };
        // Folding an event of an unknown schema has changed nothing: learn it and go on.
        let mut why = String::new();
        if let FoldError::Unknown { schema_id, .. } = &source
            && learned != Some(*schema_id)
        {
            let refused = wiring.learn(reader, *schema_id);
            match refused.map_err(|source| Error::Log { partition, source })? {
                None => {
                    learned = Some(*schema_id);
                    task.set_wire(wiring.wire().clone());
                    next = offset;
                    continue;
                }
                Some(refused) => why = format!(": {refused}"),
            }
        }
        return Err(Error::Fold { partition, offset, why, source });
    }
}

/// The newest snapshot that can be used; says aloud which cannot.
fn newest(
    store: &dyn SnapshotStore,
    config: &Config,
    events_end: u64,
    new: &dyn Fn() -> Task,
) -> Option<(Task, u64)> {
    let (log_id, partition) = (config.log_id, config.partition);
    let offsets = store.list(log_id, partition).unwrap_or_else(|error| {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(partition, error, "no snapshots: all events are folded");
        Vec::new()
    });
    offsets.into_iter().find_map(|offset| {
        if offset > events_end {
            tracing::warn!(
                partition,
                offset,
                events_end,
                "a snapshot is ahead of the events: skipped"
            );
            return None;
        }
        let mut task = new();
        let restored = match store.load(log_id, partition, offset) {
            Ok(snapshot) => task.restore(&snapshot.state).map_err(|error| Box::new(error) as _),
            Err(error) => Err(Box::new(error) as Box<dyn std::error::Error>),
        };
        match restored {
            Ok(()) => Some((task, offset)),
            Err(error) => {
                let error = error.as_ref();
                tracing::warn!(
                    partition,
                    offset,
                    error,
                    "a snapshot cannot be used: an older one, or all events"
                );
                None
            }
        }
    })
}
