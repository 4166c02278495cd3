//! The seam between a worker and a log: what any Kafka-protocol broker, the embedded log and the
//! simulated one have in common.
//!
//! A [`Log`] is one worker's membership in the group of workers. It is polled; what it gives is
//! batches of records of partitions that the worker owns, and changes of ownership. What the
//! records led to goes back as one [`Transaction`]: outputs and progress together, or not at all.
//! [`Reader`] is what tools need as well, [`Producer`] what sends commands.
//!
//! ```text
//! Assigned ─▶ (read events, committed) ─▶ start ─▶ Batch … ─▶ Revoked ─▶ (end) ─▶ release
//!                                                        └──▶ Lost
//! submit ─▶ Committed
//!       ├─▶ Aborted ─▶ poll(0, ..) for changes of ownership ─▶ submit what is still owned
//!       ├─▶ Refused ─▶ submit less of it, until the record that is refused is found
//!       └─▶ Unknown ─▶ recover ─▶ committed, per partition
//! ```
//!
//! # Invariants
//! 1. At most one transaction is under way; it ends before the next one is submitted.
//! 2. After [`Ended::Committed`] every `read_committed` reader sees all of it, on brokers as soon as
//!    their markers are written; what has not committed, none sees.
//! 3. A partition has one owner. A worker that lost one cannot commit for it: it gets
//!    [`Ended::Aborted`] or [`ErrorKind::Fenced`].
//! 4. A revoked partition has its next owner only after [`Log::release`], or after its member is
//!    gone; and no transaction of the last owner is undecided then.
//! 5. Records of a partition come in the order of their offsets, from the one given to
//!    [`Log::start`] on. Offsets may have gaps (a broker's markers), never repeats.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use bellhop_core::message::{LogId, Position, Timestamp};
use bellhop_core::outcome::Output;
use bellhop_core::record::{Header, Record};
use bellhop_core::task::Progress;

pub use self::batch::{Batch, Builder, Cursor};
pub use self::consumer::{Consumer, Mark, NOTE_BYTES_MAX};

pub mod simulated;

mod batch;
mod consumer;
pub mod embedded;
pub mod redpanda;
pub mod socket;

/// What a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its random name.
    pub log_id: LogId,
    /// Partitions of commands, events and parked records alike.
    pub partitions: u32,
    /// Where the timestamps of commands come from.
    pub timestamps: Timestamps,
}

/// Where the timestamps of commands come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamps {
    /// The log stamps a record when it is appended, never less than the one before: live topics.
    Append,
    /// The producer stamps it: replays of the past. No ticks are appended to such a log.
    Create,
}

/// The topics of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `bellhop.commands`
    Commands,
    /// `bellhop.events`
    Events,
    /// `bellhop.parked`
    Parked,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Commands, Self::Events, Self::Parked];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Commands => "bellhop.commands",
            Self::Events => "bellhop.events",
            Self::Parked => "bellhop.parked",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a poll gives.
#[derive(Debug)]
pub enum Polled {
    /// Records to process, of one partition that was started.
    Batch(Batch),
    /// The worker now owns these as well: it restores them, then calls [`Log::start`] for each.
    Assigned(Vec<u32>),
    /// The worker is asked to give these up: it ends its transaction, then calls
    /// [`Log::release`].
    Revoked(Vec<u32>),
    /// The worker owns these no more; their state is to be dropped.
    Lost(Vec<u32>),
    /// Nothing within the time, or the transaction under way has ended.
    Idle,
}

/// What one partition contributes to a transaction.
#[derive(Debug, Default)]
pub struct Part {
    /// The partition.
    pub partition: u32,
    /// What was committed before the batch; [`Log::committed`] says it if the batch is lost.
    pub before: Option<Progress>,
    /// What is committed with it; `None` leaves it as it was.
    pub after: Option<Progress>,
    /// What it led to. Commands go to the partitions of their keys.
    pub output: Output,
}

/// All that a worker commits at once.
#[derive(Debug, Default)]
pub struct Transaction {
    /// One for each partition that had records.
    pub parts: Vec<Part>,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All of it is durable, and visible.
    Committed,
    /// None of it ever will be; what is still owned may be submitted again as it is.
    Aborted,
    /// None of it ever will be, for the log does not take one of its records (it is larger than the
    /// topic's limit): the same would be refused again.
    Refused,
    /// Nobody knows yet: [`Log::recover`], then compare [`Reader::committed`] with the parts.
    Unknown,
}

/// What the caller of a failed operation has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later.
    Retry,
    /// Another took over: drop all state and join again.
    Fenced,
    /// Stored bytes are not what was written.
    Corrupt,
    /// Configuration, permissions, a full disk, a lock: somebody has to act.
    FixInput,
}

/// A failed operation on a log.
#[derive(Debug, thiserror::Error)]
#[error("{tried}: {hint}")]
pub struct Error {
    /// What to do about it.
    pub kind: ErrorKind,
    /// What was tried, on what.
    pub tried: String,
    /// What to do next.
    pub hint: String,
    /// The cause below.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Of a thread that cannot be started.
    pub(crate) fn no_thread(tried: &str, source: std::io::Error) -> Self {
        Self {
            kind: ErrorKind::FixInput,
            tried: tried.to_owned(),
            hint: "the system gives no thread: raise its limit".to_owned(),
            source: Some(source.into()),
        }
    }
}

/// A schema as a registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Full name of its record.
    pub name: String,
    /// Its JSON text.
    pub text: String,
}

/// What a registry says of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It stands for this.
    Known(Schema),
    /// It stands for nothing that this user may read, for this reason.
    Unknown(String),
}

impl Lookup {
    /// The schema, if there is one.
    #[must_use]
    pub fn schema(self) -> Option<Schema> {
        match self {
            Self::Known(schema) => Some(schema),
            Self::Unknown(_) => None,
        }
    }
}

impl From<Option<Schema>> for Lookup {
    /// Of a log that keeps its schemas itself.
    fn from(schema: Option<Schema>) -> Self {
        let unknown = || Self::Unknown("no schema has this id".to_owned());
        schema.map_or_else(unknown, Self::Known)
    }
}

/// Called for each record that is read; says whether to go on.
pub type Each<'a> = dyn FnMut(&Record<'_>) -> ControlFlow<()> + 'a;

/// Reads what is committed; owns nothing.
pub trait Reader: Send {
    /// What the log is.
    fn identity(&self) -> &Identity;

    /// A schema by the id met in a record, or why there is none.
    ///
    /// # Errors
    /// When the registry cannot be asked. A member does not wait for its answer:
    /// [`ErrorKind::Retry`] says that it has not come yet.
    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error>;

    /// The offset of the first record that is kept; those before it were deleted.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error>;

    /// The offset behind the last committed record.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error>;

    /// Reads the committed records of a partition from an offset on, in order, up to the end as it
    /// was at the call; gives the offset to go on from.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error>;

    /// The committed progress of a partition; waits until no transaction on it is undecided.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error>;
}

/// A worker's membership in a log. Dropping it leaves the group.
pub trait Log: Reader {
    /// The id under which a schema is written; made when there is none.
    ///
    /// # Errors
    /// When the registry cannot be asked, or refuses the schema.
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error>;

    /// Waits at most `wait` for something to do; a batch has at most `records_max` records, and
    /// with 0 only changes of ownership come.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error>;

    /// Lets the records of an assigned partition come, from an offset on.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error>;

    /// Lets no more records of a partition come; it stays owned.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn pause(&mut self, partition: u32) -> Result<(), Error>;

    /// Starts to commit.
    ///
    /// # Errors
    /// By [`ErrorKind`]; whether it is committed is then unknown, and the caller starts over from
    /// what is.
    fn submit(&mut self, transaction: Transaction) -> Result<(), Error>;

    /// Waits at most `wait` for the transaction under way and gives it back with its end; `None`
    /// when it has not ended, or none is under way.
    ///
    /// # Errors
    /// As [`Log::submit`].
    fn ended(&mut self, wait: Duration) -> Result<Option<(Transaction, Ended)>, Error>;

    /// After an unknown end: makes the producers anew and fences what they left behind.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn recover(&mut self) -> Result<(), Error>;

    /// Confirms that revoked partitions are given up.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn release(&mut self, partitions: &[u32]) -> Result<(), Error>;

    /// Whether events may lie in the log whose batch was not committed. They are decided again, so
    /// a restored state ends where the committed progress does.
    fn events_run_ahead(&self) -> bool {
        false
    }

    /// Appends a tick to an owned partition of the commands topic; no transaction waits for it.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn append_tick(&mut self, partition: u32, value: &[u8]) -> Result<(), Error>;
}

/// A command to append. Its key decides its partition.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The message key.
    pub key: &'a [u8],
    /// The framed datum.
    pub value: &'a [u8],
    /// Its time; only a log with [`Timestamps::Create`] keeps it.
    pub timestamp: Timestamp,
    /// Headers in order.
    pub headers: &'a [Header<'a>],
}

/// Where a source of commands (a replay) goes on after it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bookmark<'a> {
    /// Names the source.
    pub name: &'a str,
    /// Its next row: below 2^63, for a broker keeps it as an offset.
    pub next: u64,
}

/// Sends commands.
pub trait Producer: Send {
    /// Appends commands to the partitions of their keys, all or none, together with the bookmark;
    /// gives the position of each once all are durable.
    ///
    /// # Errors
    /// By [`ErrorKind`]; then none is appended, or the bookmark tells that all are.
    fn append(
        &mut self,
        commands: &[Command<'_>],
        bookmark: Option<Bookmark<'_>>,
    ) -> Result<Vec<Position>, Error>;

    /// The next row of a source; `None` when it was never begun.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    fn bookmark(&mut self, name: &str) -> Result<Option<u64>, Error>;

    /// As [`Log::schema_id`].
    ///
    /// # Errors
    /// When the registry cannot be asked, or refuses the schema.
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error>;
}
