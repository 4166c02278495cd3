//! Reading the file: every row is taken, or refused with its line number and the reason.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use csv::{ReaderBuilder, StringRecord};
use flate2::read::MultiGzDecoder;
use xxhash_rust::xxh3::xxh3_128;

use super::row::{Columns, Oddity, Row};

/// Examples kept of each class of odd rows.
const EXAMPLES: usize = 5;
/// Microseconds tell the rows of a day apart, and there are so many in an hour.
const ROWS_MAX: u32 = 3_000_000_000;

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Import {
    /// Names the file by its contents, compressed or not.
    pub(crate) fingerprint: u128,
    /// Hotels in the order of their first row that was taken.
    pub(crate) hotels: Vec<String>,
    /// The rows that make sense.
    pub(crate) rows: Vec<Row>,
    /// The rows that make none.
    pub(crate) refused: Vec<RefusedRow>,
    /// Rows that were taken and are odd, by class.
    pub(crate) odd: BTreeMap<Oddity, OddRows>,
}

/// A row that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRow {
    /// Line of the file, from 1; the header is line 1.
    pub(crate) line: u64,
    /// Why.
    pub(crate) reason: String,
}

/// Rows of one class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OddRows {
    pub(crate) count: u64,
    /// Lines of the first ones.
    pub(crate) lines: Vec<u64>,
}

impl Import {
    /// Reads a file, compressed by gzip or plain.
    ///
    /// # Errors
    /// When it cannot be read, or is not a file of bookings at all.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| {
            format!("read {}: check that the file is there and may be read", path.display())
        })?;
        Self::read(&bytes).with_context(|| format!("import {}", path.display()))
    }

    /// Reads the bytes of a file, compressed by gzip or plain.
    ///
    /// # Errors
    /// As [`Import::open`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let mut plain = Vec::new();
        let text = if bytes.starts_with(&[0x1f, 0x8b]) {
            MultiGzDecoder::new(bytes)
                .read_to_end(&mut plain)
                .context("unpack gzip: the file is cut off or damaged")?;
            &plain
        } else {
            bytes
        };
        let mut import = Self {
            fingerprint: xxh3_128(text),
            hotels: Vec::new(),
            rows: Vec::new(),
            refused: Vec::new(),
            odd: BTreeMap::new(),
        };
        import.read_rows(text)?;
        Ok(import)
    }

    fn read_rows(&mut self, text: &[u8]) -> Result<()> {
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(text);
        let header = reader.headers().context("read the header line")?;
        let columns = Columns::of(header).map_err(|missing| {
            anyhow!("{missing}; the first line must name the columns of the booking data set")
        })?;
        let mut record = StringRecord::new();
        let mut odd = Vec::new();
        for number in 0.. {
            if number == ROWS_MAX {
                bail!("more than {ROWS_MAX} rows: split the file");
            }
            let line = reader.position().line();
            let read = reader.read_record(&mut record);
            let line = record.position().map_or(line, csv::Position::line);
            let row = match read {
                Ok(false) => break,
                Ok(true) => {
                    odd.clear();
                    let hotels = &mut self.hotels;
                    columns.read(number, &record, |name| index_of(hotels, name), &mut odd)
                }
                // Not UTF-8; the reader stands behind the row.
                Err(error) if !error.is_io_error() => Err("not UTF-8 text".to_owned()),
                Err(error) => return Err(error).context("read a row"),
            };
            match row {
                Ok(row) => {
                    self.rows.push(row);
                    for oddity in &odd {
                        self.odd.entry(*oddity).or_default().add(line);
                    }
                }
                Err(reason) => self.refused.push(RefusedRow { line, reason }),
            }
        }
        Ok(())
    }

    /// All rows that were read.
    pub(crate) fn rows_read(&self) -> usize {
        self.rows.len() + self.refused.len()
    }
}

impl OddRows {
    fn add(&mut self, line: u64) {
        self.count += 1;
        if self.lines.len() < EXAMPLES {
            self.lines.push(line);
        }
    }
}

fn index_of(hotels: &mut Vec<String>, name: &str) -> usize {
    hotels.iter().position(|hotel| hotel == name).unwrap_or_else(|| {
        hotels.push(name.to_owned());
        hotels.len() - 1
    })
}
