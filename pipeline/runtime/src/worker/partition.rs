//! One partition of a worker: its task, what waits to be committed, and how it failed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bellhop_core::engine::ParkedKind;
use bellhop_core::outcome::{Answer, Outcome, Output};
use bellhop_core::record::Record;
use bellhop_core::task::{Progress, Task, UnknownSchema};
use xxhash_rust::xxh3::xxh3_64;

use super::hold::Held;
use super::meter::Tally;
use crate::log::Part;
use crate::restore::text_of;
use crate::snapshot::{Offered, Saving};
use crate::telemetry::otlp::Span;

/// Memory of a part that is kept for the next one.
const SPARE_BYTES_MAX: usize = 4 << 20;

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
    tally: Tally,
    outcomes: Vec<(u64, Outcome)>,
    /// Where the output of each begins.
    marks: Vec<Mark>,
    /// Bytes of what they led to.
    bytes: usize,
    replies: Replies,
    /// Spans of some of them.
    spans: Vec<Span>,
    /// What to take when the task itself is broken.
    last: Option<(Output, Progress)>,
    spare: Option<(Output, Vec<Mark>)>,
    pub(super) events_since_snapshot: u64,
    /// The snapshot that is being written, and the events that it was to hold more than the one
    /// before.
    saving: Option<(Offered, u64)>,
    /// Snapshots of no timeline that is left; removed with the next one.
    pub(super) stale: Vec<u64>,
    /// What the last snapshot took, and some more.
    state_bytes: usize,
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
    pub(super) tally: Tally,
    pub(super) outcomes: Vec<(u64, Outcome)>,
    pub(super) marks: Vec<Mark>,
    pub(super) spans: Vec<Span>,
    /// The state after the part, if it is to be kept.
    pub(super) snapshot: Option<Frozen>,
}

/// A state to be written as a snapshot.
pub(super) struct Frozen {
    pub(super) state: Vec<u8>,
    /// Events since the snapshot before it.
    pub(super) events: u64,
}

impl Partition {
    pub(super) fn new(task: Task, epoch: u64, committed: Option<Progress>) -> Self {
        Self {
            task,
            epoch,
            taken: committed,
            decided: 0,
            tally: Tally::default(),
            outcomes: Vec::new(),
            marks: Vec::new(),
            bytes: 0,
            replies: Replies::default(),
            spans: Vec::new(),
            last: None,
            spare: None,
            events_since_snapshot: 0,
            saving: None,
            stale: Vec::new(),
            state_bytes: 0,
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

    /// Bytes of what is decided and not taken.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
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
        let before = Mark::of(&mut self.task);
        match catch_unwind(AssertUnwindSafe(|| self.task.process(record))) {
            Ok(Ok(outcome)) => {
                self.note(record, outcome, remember, before);
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
        let before = Mark::of(&mut self.task);
        // Timers fire before it.
        let park = || self.task.park(record, kind, cause.to_owned());
        match catch_unwind(AssertUnwindSafe(park)) {
            Ok(outcome) => {
                self.note(record, outcome, remember, before);
                true
            }
            Err(panic) => {
                self.fail_at(record.offset, panic.as_ref(), before);
                false
            }
        }
    }

    /// Parks a record by its position and the hash of its value alone: what it leads to, the log
    /// does not take.
    pub(super) fn set_aside(&mut self, record: &Record<'_>, remember: bool) -> bool {
        let value = record.value.unwrap_or_default();
        let cause = format!(
            "the log does not take what it leads to: a record is larger than its topic's max.message.bytes; it is kept in the topic of commands alone, {} bytes of hash {:016x}",
            value.len(),
            xxh3_64(value)
        );
        let bare = Record { key: None, value: None, headers: &[], ..*record };
        self.park(&bare, ParkedKind::TooLarge, &cause, remember)
    }

    #[inline]
    fn note(
        &mut self,
        record: &Record<'_>,
        outcome: Option<Outcome>,
        remember: bool,
        before: Mark,
    ) {
        let Some(outcome) = outcome else { return };
        self.decided += 1;
        self.tally.count(record.offset, record.timestamp, outcome);
        self.marks.push(before);
        let output = self.task.output();
        self.bytes = output.events.bytes() + output.commands.bytes() + output.parked.bytes();
        self.bytes += self.replies.bytes_of(&output.replies);
        if remember {
            self.outcomes.push((record.offset, outcome));
        }
    }

    /// Stops at a record whose processing left the state half changed; what was decided before it
    /// is good.
    fn fail_at(
        &mut self,
        offset: u64,
        panic: &(dyn Any + Send),
        Mark { begins: lengths, progress }: Mark,
    ) {
        let mut output = std::mem::take(self.task.output());
        lengths.cut(&mut output);
        self.last = Some((output, progress));
        let what = text_of(panic).to_owned();
        self.failure = Some(Failure { offset: Some(offset), what });
    }

    /// Events since the last snapshot, those to be committed next among them; none when no snapshot
    /// can be taken of what is decided.
    pub(super) fn events_to_freeze(&self) -> Option<u64> {
        let whole = self.decided > 0 && self.last.is_none();
        whole.then(|| self.events_since_snapshot + self.task.decided().events.len() as u64)
    }

    /// A snapshot of so many events is on its way to the store; without, it is due as before.
    pub(super) fn saves(&mut self, offered: Option<Offered>, events: u64) {
        match offered {
            Some(offered) => self.saving = Some((offered, events)),
            None => self.events_since_snapshot += events,
        }
    }

    /// Hears what became of it: one that the store has not taken is due as before; gives whether
    /// that is so.
    pub(super) fn hear_of_snapshot(&mut self) -> bool {
        let Some((offered, events)) = &self.saving else { return false };
        match offered.state() {
            Saving::UnderWay => false,
            Saving::Written => {
                self.saving = None;
                self.stale.clear();
                false
            }
            Saving::Failed => {
                self.events_since_snapshot += *events;
                self.saving = None;
                true
            }
        }
    }

    /// Takes what is to be committed, together with the state after it if `freeze`.
    pub(super) fn take(&mut self, freeze: bool) -> Option<(Part, Carried)> {
        if self.decided == 0 {
            return None;
        }
        self.decided = 0;
        self.bytes = 0;
        self.replies = Replies::default();
        let (spare, spare_marks) = self.spare.take().unwrap_or_default();
        let marks = std::mem::replace(&mut self.marks, spare_marks);
        let mut snapshot = None;
        let (output, after) = match self.last.take() {
            Some(last) => last,
            None => {
                let output = std::mem::replace(self.task.output(), spare);
                self.events_since_snapshot += output.events.len() as u64;
                if freeze {
                    let mut state = Vec::with_capacity(self.state_bytes);
                    self.task.snapshot(&mut state);
                    self.state_bytes = state.len() + state.len() / 16;
                    let events = std::mem::take(&mut self.events_since_snapshot);
                    snapshot = Some(Frozen { state, events });
                }
                (output, self.task.progress())
            }
        };
        let before = self.taken.replace(after);
        let partition = self.task.config().partition;
        let outcomes = std::mem::take(&mut self.outcomes);
        let spans = std::mem::take(&mut self.spans);
        let tally = std::mem::take(&mut self.tally);
        let part = Part { partition, before, after: Some(after), output };
        Some((part, Carried { epoch: self.epoch, tally, outcomes, marks, spans, snapshot }))
    }

    /// Takes back the memory of a part that was committed, unless it is more than usual.
    pub(super) fn recycle(&mut self, mut output: Output, mut marks: Vec<Mark>) {
        let bytes = output.events.bytes() + output.commands.bytes() + output.parked.bytes();
        if bytes <= SPARE_BYTES_MAX {
            output.clear();
            marks.clear();
            self.spare = Some((output, marks));
        }
    }
}

/// Bytes of replies, counted once each.
#[derive(Debug, Default)]
struct Replies {
    counted: usize,
    bytes: usize,
}

impl Replies {
    #[inline]
    fn bytes_of(&mut self, replies: &[Answer]) -> usize {
        for reply in replies.get(self.counted..).unwrap_or_default() {
            let correlation = reply.correlation_id.as_ref().map_or(0, Vec::len);
            let key = reply.key.as_ref().map_or(0, Vec::len);
            self.bytes += reply.value.len() + reply.headers.len() + correlation + key;
        }
        self.counted = replies.len();
        self.bytes
    }
}

/// The state of a task's output in front of a record, where a part can be taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    begins: Lengths,
    progress: Progress,
}

impl Mark {
    #[inline]
    fn of(task: &mut Task) -> Self {
        Self { begins: Lengths::of(task.output()), progress: task.progress() }
    }
}

/// Takes a part apart between two of its records, in the middle; gives it back when it has one.
#[expect(clippy::result_large_err, reason = "what cannot be halved goes back to its keeper")]
pub(super) fn halve(
    mut part: Part,
    mut carried: Carried,
) -> Result<[(Part, Carried); 2], (Part, Carried)> {
    let middle = carried.marks.len() / 2;
    let Some(mark) = carried.marks.get(middle).copied().filter(|_| middle > 0) else {
        return Err((part, carried));
    };
    let Mark { begins, progress } = mark;
    let Output { events, commands, parked, replies } = &mut part.output;
    let output = Output {
        events: events.split_off(begins.events),
        commands: commands.split_off(begins.commands),
        parked: parked.split_off(begins.parked),
        replies: replies.split_off(begins.replies.min(replies.len())),
    };
    let rest = Part { output, before: Some(progress), ..part_of(&part) };
    part.after = Some(progress);
    let mut marks = carried.marks.split_off(middle);
    marks.iter_mut().for_each(|mark| mark.begins = mark.begins.behind(begins));
    let outcomes = carried.outcomes.partition_point(|(offset, _)| *offset < progress.next_offset);
    let beside = Carried {
        epoch: carried.epoch,
        outcomes: carried.outcomes.split_off(outcomes),
        marks,
        // Told when all of it is committed.
        tally: std::mem::take(&mut carried.tally),
        spans: std::mem::take(&mut carried.spans),
        snapshot: carried.snapshot.take(),
    };
    Ok([(part, carried), (rest, beside)])
}

fn part_of(part: &Part) -> Part {
    let Part { partition, before, after, .. } = *part;
    Part { partition, before, after, output: Output::default() }
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

    fn behind(self, first: Self) -> Self {
        Self {
            events: self.events - first.events,
            commands: self.commands - first.commands,
            parked: self.parked - first.parked,
            replies: self.replies - first.replies,
        }
    }

    fn cut(self, output: &mut Output) {
        output.events.truncate(self.events);
        output.commands.truncate(self.commands);
        output.parked.truncate(self.parked);
        output.replies.truncate(self.replies);
    }
}
