//! Rows on their way: encoded as they come, in one block for each target.

use bellhop_core::message::{Position, Timestamp};
use bellhop_core::record::Record;
use bellhop_ledger::decode::{Decoded, Decoder, Unreadable, nothing_known};
use bellhop_ledger::parked::park;
use bellhop_ledger::{Put as _, Row, Table, Take};
use bytes::Bytes;

use crate::native::Block;
use crate::plan::Plan;
use crate::target::{COUNT, EVENTS};

/// A batch in the making.
#[derive(Debug)]
pub(crate) struct Building {
    rows: Rows,
    first: Option<u64>,
    last: u64,
    /// Offset of the event before the first; -1 for none.
    previous: i64,
}

/// A batch that is complete, and its plan.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) plan: Plan,
    pub(crate) targets: [Encoded; COUNT],
    pub(crate) events: u64,
}

/// The rows of one target.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encoded {
    pub(crate) count: u64,
    pub(crate) bytes: Bytes,
}

impl Batch {
    pub(crate) fn bytes(&self) -> usize {
        self.targets.iter().map(|target| target.bytes.len()).sum()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.targets.iter().map(|target| target.count).sum()
    }
}

/// Encoded rows, and what the event that is being encoded has given so far.
#[derive(Debug)]
struct Rows {
    targets: [Block; COUNT],
    at: Option<Position>,
    /// Offset of the event before.
    previous: i64,
    /// What ClickHouse cannot hold of this event.
    problem: Option<String>,
}

impl Default for Rows {
    fn default() -> Self {
        Self { targets: std::array::from_fn(Block::of), at: None, previous: 0, problem: None }
    }
}

impl Take for Rows {
    #[inline]
    fn row<R: Row>(&mut self, row: &R) {
        let given = if R::TABLE == Table::Events { self.given() } else { [0; COUNT] };
        let Self { targets, at, previous, problem, .. } = self;
        let Some(target) = targets.get_mut(R::TABLE as usize) else { return };
        let mut values = target.row(problem);
        match R::TABLE {
            Table::Events => {
                row.put(&mut values);
                values.long(*previous);
                for count in
                    Table::ALL.iter().zip(given).filter(|(table, _)| **table != Table::Events)
                {
                    values.int(count.1);
                }
            }
            Table::Properties | Table::Products => {
                row.put(&mut values);
                let at = at.unwrap_or(Position { partition: 0, offset: 0 });
                values.int(at.partition.cast_signed());
                values.long(at.offset.cast_signed());
            }
            Table::RoomNights
            | Table::Bookings
            | Table::Supply
            | Table::Refusals
            | Table::Parked => row.put(&mut values),
        }
    }
}

impl Rows {
    /// Rows that this event has given, by target.
    fn given(&self) -> [i32; COUNT] {
        let mut given = [0; COUNT];
        for (given, target) in given.iter_mut().zip(&self.targets) {
            *given = i32::try_from(target.given()).unwrap_or(i32::MAX);
        }
        given
    }

    fn begin(&mut self, at: Position, previous: i64) {
        (self.at, self.previous, self.problem) = (Some(at), previous, None);
        self.targets.iter_mut().for_each(Block::begin);
    }

    /// Drops what this event has given.
    fn undo(&mut self) {
        self.targets.iter_mut().for_each(Block::undo);
        self.problem = None;
    }

    fn park(&mut self, at: Position, record: &Record<'_>, unreadable: &Unreadable) {
        self.undo();
        park(self, at, record, unreadable);
    }
}

impl Building {
    /// Nothing yet, behind an event at an offset; -1 for none.
    pub(crate) fn behind(previous: i64) -> Self {
        Self { rows: Rows::default(), first: None, last: 0, previous }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.targets.iter().map(Block::bytes).sum()
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.targets.iter().map(Block::count).sum()
    }

    /// Adds the event of a record; gives why where it was parked.
    pub(crate) fn add(
        &mut self,
        partition: u32,
        record: &Record<'_>,
        decoder: &mut Decoder,
    ) -> Option<Unreadable> {
        let previous = if self.first.is_some() { self.last.cast_signed() } else { self.previous };
        self.add_behind(previous, partition, record, decoder)
    }

    /// Adds the event of a record that comes behind the one at an offset, -1 for none.
    pub(crate) fn add_behind(
        &mut self,
        previous: i64,
        partition: u32,
        record: &Record<'_>,
        decoder: &mut Decoder,
    ) -> Option<Unreadable> {
        let at = Position { partition, offset: record.offset };
        self.rows.begin(at, previous);
        let mut parked = match decoder.rows(at, record, &mut self.rows) {
            Decoded::Rows | Decoded::Foreign => self.rows.problem.take().map(|cause| {
                let (name, meta) = (decoder.name(record), nothing_known(record.timestamp));
                Unreadable { cause, unknown_schema: None, name, meta }
            }),
            Decoded::Unreadable(unreadable) => Some(*unreadable),
        };
        if let Some(parked) = &mut parked {
            self.rows.park(at, record, parked);
            // The instant itself may be what cannot be held.
            if self.rows.problem.is_some() {
                parked.meta.occurred_at = Timestamp(0);
                self.rows.park(at, record, parked);
            }
        }
        self.first.get_or_insert(record.offset);
        self.last = record.offset;
        parked
    }

    /// The batch as it is; `None` when there is nothing in it. What comes next begins anew.
    pub(crate) fn seal(&mut self) -> Option<Batch> {
        let first = self.first.take()?;
        let plan = Plan::new(first, self.last, self.previous);
        self.previous = self.last.cast_signed();
        let rows = std::mem::take(&mut self.rows);
        let events = rows.targets[EVENTS].count() as u64;
        let targets = rows.targets.map(|block| match block.count() as u64 {
            0 => Encoded::default(),
            count => Encoded { count, bytes: block.seal().into() },
        });
        Some(Batch { plan, targets, events })
    }
}
