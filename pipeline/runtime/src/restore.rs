//! The state of a partition out of its log: the newest good snapshot, then the tail of its events.
//!
//! Start at [`restore`]; a worker goes through [`begin`] and [`Restored::go_on`].
//!
//! # Invariants
//! 1. A restored state has gone through the history that is committed: count, order and bytes of its
//!    events. A snapshot or copy of another timeline is refused, and an older one tried; then the
//!    fold from the first event; then the partition is refused.
//! 2. An event that makes a processor panic is an error of this partition, with its offset.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bellhop_core::task::{Config, FoldError, Progress, Task};

use crate::log::{Error as LogError, Reader, Topic};
use crate::snapshot::SnapshotStore;
use crate::timeline::{Mismatch, Proof};
use crate::wiring::Wiring;

/// What a restored state is held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// What is committed.
    pub committed: Option<Progress>,
    /// Whether events may lie in the log whose batch was not committed
    /// ([`crate::log::Log::events_run_ahead`]): they are decided again.
    pub runs_ahead: bool,
}

/// What a restored partition came from.
pub struct Restored {
    /// The task; [`Task::resume`] is still to be called with the committed progress.
    pub task: Task,
    /// Events offset of the snapshot, if there was a good one.
    pub snapshot: Option<u64>,
    /// The offset behind the last event that was folded.
    pub events_end: u64,
    proof: Proof,
    expected: Expected,
    /// The last slice was broken off, and this goes on there.
    broken_off: bool,
    /// Snapshots that are of no timeline that is left: ahead of the events, or of other ones.
    stale: Vec<u64>,
    /// When this state is refused, snapshots before this events offset are tried, then none; a
    /// state that was folded from the first event has no other.
    else_below: Option<u64>,
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
    /// A processor panicked over an event.
    #[error(
        "restore partition {partition}: the event at offset {offset} makes a processor panic ({what}); run the version that wrote it, or one that can fold it: the log is as it was"
    )]
    Panicked {
        /// The partition.
        partition: u32,
        /// Offset of the event.
        offset: u64,
        /// What the panic says.
        what: String,
    },
    /// The first events are gone.
    #[error(
        "restore partition {partition}: its events before offset {kept_from} are deleted and no good snapshot holds them; give this worker the snapshots of the others, or restore the topic of events from a backup; the topic is to keep everything (retention.ms=-1, cleanup.policy=delete)"
    )]
    Deleted {
        /// The partition.
        partition: u32,
        /// Offset of the first event that is still there.
        kept_from: u64,
    },
    /// The commands that were decided are gone from their topic, and others will take their offsets.
    #[error(
        "restore partition {partition}: its commands end at offset {end}, and all before offset {next_offset} are decided; the topic of commands lost its end or was made anew: what is sent to it now would pass for decided"
    )]
    CommandsGone {
        /// The partition.
        partition: u32,
        /// Offset behind the last command.
        end: u64,
        /// Offset of the first command that is not decided.
        next_offset: u64,
    },
    /// The events are not those that led to what is committed.
    #[error("restore partition {partition}: {mismatch}")]
    Timeline {
        /// The partition.
        partition: u32,
        /// How they differ.
        mismatch: Mismatch,
    },
}

impl Error {
    /// Whether another snapshot, or none, may help.
    fn is_of_the_state(&self) -> bool {
        match self {
            Self::Panicked { .. } | Self::Deleted { .. } | Self::Timeline { .. } => true,
            Self::Log { .. } | Self::Fold { .. } | Self::CommandsGone { .. } => false,
        }
    }
}

/// Restores a partition from its newest good snapshot, if `snapshots` are given, and its events.
///
/// # Errors
/// When the log cannot be read, holds events that this program cannot fold, or others than those
/// that led to what is committed.
pub fn restore(
    reader: &mut dyn Reader,
    wiring: &mut Wiring,
    config: &Config,
    snapshots: Option<&dyn SnapshotStore>,
) -> Result<Restored, Error> {
    let expected = expected(reader, config.partition)?;
    let mut restored = begin(reader, wiring, config, snapshots, expected)?;
    restored.go_on(reader, wiring, snapshots, &mut || false)?;
    Ok(restored)
}

/// What a reader that owns nothing holds a state against: workers may commit more meanwhile.
///
/// # Errors
/// When the log cannot be read.
pub fn expected(reader: &mut dyn Reader, partition: u32) -> Result<Expected, Error> {
    let committed = reader.committed(partition);
    let committed = committed.map_err(|source| Error::Log { partition, source })?;
    Ok(Expected { committed, runs_ahead: false })
}

/// What [`restore`] begins with: the newest good snapshot, or nothing.
///
/// # Errors
/// When the log cannot be read, or is not the one that the committed progress is of.
pub fn begin(
    reader: &mut dyn Reader,
    wiring: &Wiring,
    config: &Config,
    snapshots: Option<&dyn SnapshotStore>,
    expected: Expected,
) -> Result<Restored, Error> {
    begin_below(reader, wiring, config, snapshots, expected, u64::MAX)
}

fn begin_below(
    reader: &mut dyn Reader,
    wiring: &Wiring,
    config: &Config,
    snapshots: Option<&dyn SnapshotStore>,
    expected: Expected,
    below: u64,
) -> Result<Restored, Error> {
    let partition = config.partition;
    let proof = Proof::of(expected);
    proof.same_log(config.log_id).map_err(|mismatch| Error::Timeline { partition, mismatch })?;
    let new = || {
        let mut task = Task::new(config.clone(), wiring.topology().clone(), wiring.wire().clone());
        if let Some(committed) = expected.committed.filter(|_| expected.runs_ahead) {
            task.fold_only_before(committed.next_offset);
        }
        task
    };
    let end = reader.end(Topic::Events, partition);
    let end = end.map_err(|source| Error::Log { partition, source })?;
    let good = |task: &Task| proof.may_begin_with(task.history(), task.progress());
    let mut stale = Vec::new();
    let found = snapshots.and_then(|store| {
        let offsets = listed(store, config);
        let mut below = offsets.into_iter().filter(|offset| *offset < below);
        below.find_map(|offset| match load(store, config, offset, end, &new, &good) {
            Loaded::Good(task) => Some((*task, offset)),
            Loaded::Unusable => None,
            Loaded::Stale => {
                stale.push(offset);
                None
            }
        })
    });
    let (task, snapshot) = match found {
        Some((task, offset)) => (task, Some(offset)),
        None => (new(), None),
    };
    let events_end = snapshot.unwrap_or(0);
    let (else_below, broken_off) = (snapshot, false);
    Ok(Restored { task, snapshot, events_end, proof, expected, broken_off, stale, else_below })
}

impl Restored {
    /// The state of a task that held all events before an offset when it was left.
    #[must_use]
    pub fn left(task: Task, snapshot: Option<u64>, events_end: u64) -> Self {
        let expected = Expected::default();
        let proof = Proof::of(expected);
        let (else_below, broken_off, stale) = (Some(u64::MAX), false, Vec::new());
        Self { task, snapshot, events_end, proof, expected, broken_off, stale, else_below }
    }

    /// A copy that is promoted: held against what is committed now; `None` when it holds events
    /// beyond that, or others.
    #[must_use]
    pub fn promote(mut self, expected: Expected) -> Option<Self> {
        let partition = self.task.config().partition;
        self.proof = Proof::of(expected);
        if let Err(mismatch) = self.proof.may_begin_with(self.task.history(), self.task.progress())
        {
            tracing::warn!(partition, %mismatch, "a standby copy is refused: restoring");
            return None;
        }
        if let Some(committed) = expected.committed.filter(|_| expected.runs_ahead) {
            self.task.fold_only_before(committed.next_offset);
        }
        self.expected = expected;
        self.else_below = Some(u64::MAX);
        // The owner of that time may have written snapshots that this process took for such.
        self.stale.clear();
        Some(self)
    }

    /// The snapshots that are of no timeline that is left, if this is of the partition's owner.
    #[must_use]
    pub fn stale(&self) -> &[u64] {
        &self.stale
    }

    /// As a copy to be followed further: held against nothing until it is promoted.
    #[must_use]
    pub fn demote(mut self) -> Self {
        self.task.fold_only_before(u64::MAX);
        Self::left(self.task, self.snapshot, self.events_end)
    }

    /// Folds the events that have come since, until there are no more or `stop`, which is asked
    /// before each, says so; gives whether there are no more. Then the state is proven, from an older snapshot if need be.
    ///
    /// # Errors
    /// As [`restore`].
    pub fn go_on(
        &mut self,
        reader: &mut dyn Reader,
        wiring: &mut Wiring,
        snapshots: Option<&dyn SnapshotStore>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Error> {
        let partition = self.task.config().partition;
        loop {
            let folded = self.follow(reader, wiring, stop).and_then(|whole| {
                let proven = if whole { self.proof.verdict(self.task.history()) } else { Ok(()) };
                proven.map_err(|mismatch| Error::Timeline { partition, mismatch })?;
                Ok(whole)
            });
            let (refused, below) = match (folded, self.else_below) {
                (Err(error), Some(below)) if error.is_of_the_state() => (error, below),
                (folded, _) => return folded,
            };
            let snapshot = self.snapshot.filter(|offset| *offset == below);
            tracing::warn!(
                partition,
                snapshot,
                error = &refused as &dyn std::error::Error,
                "a snapshot or copy is refused: an older one, or all events"
            );
            let config = self.task.config().clone();
            let mut stale = std::mem::take(&mut self.stale);
            if let (Error::Timeline { .. }, Some(offset)) = (&refused, snapshot) {
                stale.push(offset);
            }
            *self = begin_below(reader, wiring, &config, snapshots, self.expected, below)?;
            self.stale.extend(stale);
        }
    }

    /// Checks that the commands which are decided are still in their topic: otherwise new ones take
    /// their offsets, and would pass for decided.
    ///
    /// # Errors
    /// When they are not, or the log cannot be asked.
    pub fn check_commands(&self, reader: &mut dyn Reader) -> Result<(), Error> {
        let partition = self.task.config().partition;
        let end = reader.end(Topic::Commands, partition);
        let end = end.map_err(|source| Error::Log { partition, source })?;
        let committed = self.expected.committed.map_or(0, |committed| committed.next_offset);
        let next_offset = self.task.progress().next_offset.max(committed);
        if end < next_offset {
            return Err(Error::CommandsGone { partition, end, next_offset });
        }
        Ok(())
    }

    /// As [`Restored::go_on`], without proof.
    fn follow(
        &mut self,
        reader: &mut dyn Reader,
        wiring: &mut Wiring,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Error> {
        let Self { task, proof, events_end, broken_off, .. } = self;
        let partition = task.config().partition;
        let goes_on = std::mem::take(broken_off);
        if *events_end > 0 && !goes_on {
            let kept_from = reader.first(Topic::Events, partition);
            let kept_from = kept_from.map_err(|source| Error::Log { partition, source })?;
            if *events_end < kept_from {
                return Err(Error::Deleted { partition, kept_from });
            }
        }
        fold_on(reader, wiring, task, events_end, &mut |task, _| {
            proof.look(task.history());
            *broken_off = stop();
            *broken_off
        })?;
        proof.look(task.history());
        Ok(!*broken_off)
    }
}

/// Folds the events from one offset on, up to one at which `stop`, given the state before it, says
/// so; gives the offset to go on from.
pub(crate) fn fold(
    reader: &mut dyn Reader,
    wiring: &mut Wiring,
    task: &mut Task,
    from: u64,
    stop: &mut dyn FnMut(&Task, u64) -> bool,
) -> Result<u64, Error> {
    let mut next = from;
    fold_on(reader, wiring, task, &mut next, stop)?;
    Ok(next)
}

/// As [`fold`]; when it fails, `next` is behind the last event that was folded.
fn fold_on(
    reader: &mut dyn Reader,
    wiring: &mut Wiring,
    task: &mut Task,
    next: &mut u64,
    stop: &mut dyn FnMut(&Task, u64) -> bool,
) -> Result<(), Error> {
    let partition = task.config().partition;
    // It may have been restored before the wiring learned a schema.
    task.set_wire(wiring.wire().clone());
    let mut learned = None;
    loop {
        let (mut stuck, mut stopped) = (None, None);
        let read = reader.read(Topic::Events, partition, *next, &mut |event| {
            if stop(task, event.offset) {
                stopped = Some(event.offset);
                return ControlFlow::Break(());
            }
            let (key, value) = (event.key.unwrap_or_default(), event.value.unwrap_or_default());
            let offset = event.offset;
            // Half an event may be in the state after a panic: whoever gets the error drops it.
            let folded = catch_unwind(AssertUnwindSafe(|| task.fold(key, value)));
            stuck = Some(match folded {
                // The first event of all is the genesis, which no command led to.
                Ok(Ok(())) if task.history().events == 1 && task.history().last.is_some() => {
                    Stuck::Failed(Error::Deleted { partition, kept_from: offset })
                }
                Ok(Ok(())) => {
                    *next = offset + 1;
                    return ControlFlow::Continue(());
                }
                Ok(Err(source)) => Stuck::Unfolded(offset, source),
                Err(panic) => {
                    let what = text_of(panic.as_ref()).to_owned();
                    Stuck::Failed(Error::Panicked { partition, offset, what })
                }
            });
            ControlFlow::Break(())
        });
        let end = read.map_err(|source| Error::Log { partition, source })?;
        let (offset, source) = match stuck {
            None => {
                *next = stopped.unwrap_or(end);
                return Ok(());
            }
            Some(Stuck::Failed(error)) => return Err(error),
            Some(Stuck::Unfolded(offset, source)) => (offset, source),
        };
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
                    *next = offset;
                    continue;
                }
                Some(refused) => why = format!(": {refused}"),
            }
        }
        return Err(Error::Fold { partition, offset, why, source });
    }
}

/// Why a fold does not get past an event.
enum Stuck {
    /// Its offset; a schema that is learned may help.
    Unfolded(u64, FoldError),
    Failed(Error),
}

/// What a panic says.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

fn listed(store: &dyn SnapshotStore, config: &Config) -> Vec<u64> {
    let partition = config.partition;
    store.list(config.log_id, partition).unwrap_or_else(|error| {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(partition, error, "no snapshots: all events are folded");
        Vec::new()
    })
}

/// What a snapshot is to a restore.
enum Loaded {
    Good(Box<Task>),
    /// It cannot be read, or not by this version.
    Unusable,
    /// It is ahead of the events, or of others than those of this log.
    Stale,
}

/// A snapshot as a task, if it can be used; logs why it cannot.
fn load(
    store: &dyn SnapshotStore,
    config: &Config,
    offset: u64,
    events_end: u64,
    new: &dyn Fn() -> Task,
    good: &dyn Fn(&Task) -> Result<(), Mismatch>,
) -> Loaded {
    let (log_id, partition) = (config.log_id, config.partition);
    if offset > events_end {
        tracing::error!(
            partition,
            offset,
            events_end,
            "a snapshot is ahead of the events: they have lost their end, or an older backup was restored; skipped"
        );
        return Loaded::Stale;
    }
    let mut task = new();
    let mut thaw = || -> Result<(), Box<dyn std::error::Error>> {
        let snapshot = store.load(log_id, partition, offset)?;
        let restored = catch_unwind(AssertUnwindSafe(|| task.restore(&snapshot.state)));
        restored.map_err(|panic| format!("a panic: {}", text_of(panic.as_ref())))??;
        Ok(())
    };
    let thawed = thaw();
    let differs = thawed.is_ok().then(|| good(&task).err()).flatten();
    let loaded = if differs.is_some() { Loaded::Stale } else { Loaded::Unusable };
    match thawed.and(differs.map_or(Ok(()), |mismatch| Err(mismatch.into()))) {
        Ok(()) => Loaded::Good(Box::new(task)),
        Err(error) => {
            let error = error.as_ref();
            tracing::warn!(
                partition,
                offset,
                error,
                "a snapshot cannot be used: an older one, or all events"
            );
            loaded
        }
    }
}
