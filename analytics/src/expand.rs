//! Rows of events as Arrow batches, a table each.
//!
//! The rows come from [`bellhop_ledger`]; here they become columns.

use bellhop_core::message::{Meta, Position};
use bellhop_core::record::Record;
use bellhop_ledger::decode::{Decoded, Decoder};
use bellhop_ledger::parked::park;
use bellhop_ledger::{Row, Take};
use datafusion::arrow::array::RecordBatch;

use crate::column::Columns;
use crate::error::Error;
use crate::table::Table;

/// Collects the rows of events until they are taken as batches.
pub struct Expander {
    expander: bellhop_ledger::Expander,
    tables: Tables,
}

/// The place of each is the number of its table.
struct Tables([Columns; Table::ALL.len()]);

impl Default for Expander {
    fn default() -> Self {
        let tables = Tables(Table::ALL.map(Columns::of));
        Self { expander: bellhop_ledger::Expander::default(), tables }
    }
}

impl Take for Tables {
    #[inline]
    fn row<R: Row>(&mut self, row: &R) {
        if let Some(columns) = self.0.get_mut(R::TABLE as usize) {
            columns.push(row);
        }
    }
}

impl Expander {
    /// Adds the rows of the event of a record, written with any schema that the decoder knows. The
    /// bytes of one that is unreadable go to `parked`.
    pub fn record(&mut self, at: Position, record: &Record<'_>, decoder: &mut Decoder) -> Decoded {
        self.tables.0.iter_mut().for_each(Columns::begin);
        let decoded = decoder.rows(at, record, &mut self.tables);
        if let Decoded::Unreadable(unreadable) = &decoded {
            self.tables.0.iter_mut().for_each(Columns::undo);
            park(&mut self.tables, at, record, unreadable);
        }
        decoded
    }

    /// Adds the rows of one event of this version's own schema.
    ///
    /// `at` is the event's own place in the events topic, `name` its Avro record name, `datum` what
    /// follows `meta`. An event of an unknown name lands in `events` only, without a payload.
    ///
    /// # Errors
    /// [`Error::Expand`]. Rows that the event has given before its error stay; do not take them.
    pub fn event(
        &mut self,
        at: Position,
        name: &str,
        meta: &Meta,
        datum: &[u8],
    ) -> Result<(), Error> {
        Ok(self.expander.event(at, name, meta, datum, &mut self.tables)?)
    }

    /// How many rows wait to be taken, in the order of [`Table::ALL`].
    #[must_use]
    pub fn counts(&self) -> [u64; Table::ALL.len()] {
        self.tables.0.each_ref().map(|columns| columns.len() as u64)
    }

    /// How many rows wait to be taken, over all tables.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tables.0.iter().map(Columns::len).sum()
    }

    /// The rows as a batch per table that has any; none stay.
    ///
    /// # Errors
    /// [`Error::Arrow`] when they are more than a batch can hold.
    pub fn take(&mut self) -> Result<Vec<(Table, RecordBatch)>, Error> {
        let mut batches = Vec::new();
        for (table, columns) in Table::ALL.into_iter().zip(&mut self.tables.0) {
            if columns.len() > 0 {
                batches.push((table, columns.take()?));
            }
        }
        Ok(batches)
    }
}
