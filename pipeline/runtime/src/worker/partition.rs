//! One partition of a worker: its task, what waits to be committed, and how it failed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bellhop_core::engine::ParkedKind;
use bellhop_core::outcome::{Outcome, Output};
use bellhop_core::record::Record;
use bellhop_core::task::{Progress, Task, UnknownSchema};

use super::hold::Held;
use crate::log::Part;
use crate::restore::text_of;
use crate::telemetry::otlp::Span;

/// Why a partition stands still while the others go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Offset of the command that cannot be got past, if it is one.
    pub offset: Option<u64>,
    /// What happened.
    pub what: String,
}

/// A partition that a worker owns.
pub(super) struct Partition {
    task: Task,
    /// Tells this ownership from one before or after of the same partition.
    pub(super) epoch: u64,
    /// Progress that is committed, or under way to be.
    taken: Option<Progress>,
    /// Records decided since, and what became of them.
    decided: usize,
    outcomes: Vec<(u64, Outcome)>,
    /// Spans of some of them.
    spans: Vec<Span>,
    /// What to take when the task itself is broken.
    last: Option<(Output, Progress)>,
    spare: Option<Output>,
    pub(super) events_since_snapshot: u64,
    pub(super) ticked: Option<std::time::Duration>,
    /// It waits for a schema, or to be started again.
    pub(super) held: Option<Held>,
    /// No records come: enough of them wait.
    pub(super) paused: bool,
    pub(super) failure: Option<Failure>,
}

/// What travels beside a part until it is committed.
pub(super) struct Carried {
    pub(super) epoch: u64,
    pub(super) outcomes: Vec<(u64, Outcome)>,
    pub(super) spans: Vec<Span>,
    /// The state after the part, if it is to be kept.
    pub(super) snapshot: Option<Vec<u8>>,
}

impl Partition {
    pub(super) fn new(task: Task, epoch: u64, committed: Option<Progress>) -> Self {
        Self {
            task,
            epoch,
            taken: committed,
            decided: 0,
            outcomes: Vec::new(),
            spans: Vec::new(),
            last: None,
            spare: None,
            events_since_snapshot: 0,
            ticked: None,
            held: None,
            paused: false,
            failure: None,
        }
    }

    pub(super) fn task(&self) -> &Task {
        &self.task
    }

    pub(super) fn task_mut(&mut self) -> &mut Task {
        &mut self.task
    }

    pub(super) fn into_task(self) -> Task {
        self.task
    }

    pub(super) fn decided(&self) -> usize {
        self.decided
    }

    /// What became of a record, if it is remembered.
    pub(super) fn outcome_of(&self, offset: u64) -> Option<Outcome> {
        self.outcomes.last().filter(|(of, _)| *of == offset).map(|(_, outcome)| *outcome)
    }

    /// Keeps a span until what it is about is committed.
    pub(super) fn keep(&mut self, span: Span) {
        self.spans.push(span);
    }

    /// Decides one record; false when the partition has failed.
    pub(super) fn process(
        &mut self,
        record: &Record<'_>,
        remember: bool,
    ) -> Result<bool, UnknownSchema> {
        let before = (Lengths::of(self.task.output()), self.task.progress());
        match catch_unwind(AssertUnwindSafe(|| self.task.process(record))) {
            Ok(Ok(outcome)) => {
                self.note(record.offset, outcome, remember);
                Ok(true)
            }
            Ok(Err(unknown)) => Err(unknown),
            Err(panic) => {
                self.fail_at(record.offset, panic.as_ref(), before);
                Ok(false)
            }
        }
    }

    /// Parks one record; false when the partition has failed.
    pub(super) fn park(
        &mut self,
        record: &Record<'_>,
        kind: ParkedKind,
        cause: &str,
        remember: bool,
    ) -> bool {
        let before = (Lengths::of(self.task.output()), self.task.progress());
        // Timers fire before it.
        let park = || self.task.park(record, kind, cause.to_owned());
        match catch_unwind(AssertUnwindSafe(park)) {
            Ok(outcome) => {
                self.note(record.offset, outcome, remember);
                true
            }
            Err(panic) => {
                self.fail_at(record.offset, panic.as_ref(), before);
                false
            }
        }
    }

    #[inline]
    fn note(&mut self, offset: u64, outcome: Option<Outcome>, remember: bool) {
        let Some(outcome) = outcome else { return };
        self.decided += 1;
        if remember {
            self.outcomes.push((offset, outcome));
        }
    }

    /// Stops at a record whose processing left the state half changed; what was decided before it
    /// is good.
    fn fail_at(
        &mut self,
        offset: u64,
        panic: &(dyn Any + Send),
        (lengths, progress): (Lengths, Progress),
    ) {
        let mut output = std::mem::take(self.task.output());
        lengths.cut(&mut output);
        self.last = Some((output, progress));
        let what = text_of(panic).to_owned();
        self.failure = Some(Failure { offset: Some(offset), what });
    }

    /// Takes what is to be committed.
    pub(super) fn take(&mut self, snapshot_events: u64) -> Option<(Part, Carried)> {
        if self.decided == 0 {
            return None;
        }
        self.decided = 0;
        let mut snapshot = None;
        let (output, after) = match self.last.take() {
            Some(last) => last,
            None => {
                let spare = self.spare.take().unwrap_or_default();
                let output = std::mem::replace(self.task.output(), spare);
                self.events_since_snapshot += output.events.len() as u64;
                if snapshot_events > 0 && self.events_since_snapshot >= snapshot_events {
                    self.events_since_snapshot = 0;
                    let mut state = Vec::new();
                    self.task.snapshot(&mut state);
                    snapshot = Some(state);
                }
                (output, self.task.progress())
            }
        };
        let before = self.taken.replace(after);
        let partition = self.task.config().partition;
        let outcomes = std::mem::take(&mut self.outcomes);
        let spans = std::mem::take(&mut self.spans);
        let part = Part { partition, before, after: Some(after), output };
        Some((part, Carried { epoch: self.epoch, outcomes, spans, snapshot }))
    }

    /// Takes back the memory of a part that was committed.
    pub(super) fn recycle(&mut self, mut output: Output) {
        output.clear();
        self.spare = Some(output);
    }
}

/// How many records an output had.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    events: usize,
    commands: usize,
    parked: usize,
    replies: usize,
}

impl Lengths {
    #[inline]
    fn of(output: &Output) -> Self {
        Self {
            events: output.events.len(),
            commands: output.commands.len(),
            parked: output.parked.len(),
            replies: output.replies.len(),
        }
    }

    fn cut(self, output: &mut Output) {
        output.events.truncate(self.events);
        output.commands.truncate(self.commands);
        output.parked.truncate(self.parked);
        output.replies.truncate(self.replies);
    }
}
