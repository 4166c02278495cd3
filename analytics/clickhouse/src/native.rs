//! Rows as blocks of ClickHouse's Native format: column by column.
//!
//! The engine takes a column as it lies there, where it takes RowBinary apart value by value: 0.6
//! against 17 us an event (see `docs/clickhouse.md`). Text that repeats is sent as a dictionary of
//! the block.
//!
//! # Source
//! <https://clickhouse.com/docs/interfaces/formats/Native>; dictionaries are written as
//! `SerializationLowCardinality` reads them.

use std::collections::HashMap;

use bellhop_core::message::Timestamp;
use bellhop_ledger::{Id, Kind, Put};
use bellhop_schemas::night::Night;
use rustc_hash::FxBuildHasher;

use crate::payload::without_columns;
use crate::target;

/// First and last day of a `Date32`, 1900-01-01 and 2299-12-31, in days since 1970.
const DAYS: std::ops::RangeInclusive<i32> = -25_567..=120_529;
const DAY_US: i64 = 86_400_000_000;
/// The only way in which dictionaries are written.
const DICTIONARY_VERSION: u64 = 1;
/// The keys come with the block.
const DICTIONARY_KEYS: u64 = 1 << 9;

/// The rows of one target, in the making.
#[derive(Debug)]
pub(crate) struct Block {
    columns: Vec<Column>,
    count: usize,
    /// What stands at the head of each column.
    heads: Vec<Vec<u8>>,
    /// Which columns hold text of any length.
    texts: Vec<usize>,
    /// Rows before this event, and bytes of `texts`.
    before: usize,
    texts_before: Vec<usize>,
}

/// The values of one column.
#[derive(Debug)]
struct Column {
    /// Bytes of a value; of text, those of an empty one.
    width: usize,
    nullable: bool,
    /// One byte a row, 1 for nothing; empty with a dictionary.
    nulls: Vec<u8>,
    /// Values, or where they stand in the dictionary.
    values: Vec<u8>,
    dictionary: Option<Dictionary>,
}

/// Texts of a block, each of them once.
#[derive(Debug, Default)]
struct Dictionary {
    places: HashMap<Box<str>, u32, FxBuildHasher>,
    /// With their lengths, in the order of their places, without the one that stands for nothing.
    keys: Vec<u8>,
    count: u32,
    /// The text that came last: rows of one event mostly have the same.
    last: String,
    /// Its place, if there is one.
    last_place: Option<u32>,
}

impl Block {
    /// Of a target; empty.
    pub(crate) fn of(target: usize) -> Self {
        let columns = target::columns(target);
        let heads = columns.iter().map(|column| {
            let mut head = Vec::new();
            write_text(column.name, &mut head);
            write_text(&target::wire_type(column), &mut head);
            head
        });
        let is_text = |column: &target::Column| match column.kind {
            Kind::Text => !column.repeats,
            Kind::Bytes => true,
            Kind::Uuid | Kind::Int | Kind::Long | Kind::Day | Kind::Instant | Kind::Flag => false,
        };
        let texts: Vec<usize> =
            (0..).zip(&columns).filter(|(_, it)| is_text(it)).map(|(at, _)| at).collect();
        Self {
            heads: heads.collect(),
            texts_before: vec![0; texts.len()],
            texts,
            columns: columns.iter().map(Column::of).collect(),
            count: 0,
            before: 0,
        }
    }

    /// Rows so far.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Rows that this event has given.
    pub(crate) fn given(&self) -> usize {
        self.count - self.before
    }

    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    /// The next event begins.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.before = self.count;
        for (before, at) in self.texts_before.iter_mut().zip(&self.texts) {
            *before = self.columns[*at].values.len();
        }
    }

    /// Drops what this event has given. Its texts may stay in the dictionaries.
    pub(crate) fn undo(&mut self) {
        self.count = self.before;
        let mut texts = self.texts.iter().zip(&self.texts_before).peekable();
        for (at, column) in self.columns.iter_mut().enumerate() {
            let of_text = texts.next_if(|(text, _)| **text == at).map(|(_, before)| *before);
            column.nulls.truncate(self.count);
            column.values.truncate(of_text.unwrap_or(self.count * column.width));
        }
    }

    /// A row; its values are to be put in the order of the columns.
    #[inline]
    pub(crate) fn row<'a>(&'a mut self, problem: &'a mut Option<String>) -> Values<'a> {
        self.count += 1;
        Values { columns: &mut self.columns, at: 0, problem }
    }

    /// The block as it is sent.
    pub(crate) fn seal(self) -> Vec<u8> {
        let Self { columns, count, heads, .. } = self;
        let heads_bytes: usize = heads.iter().map(Vec::len).sum();
        let bytes: usize = columns.iter().map(Column::bytes).sum();
        // Two lengths before it, and four numbers and a byte for each dictionary.
        let mut out = Vec::with_capacity(20 + heads_bytes + bytes + 33 * columns.len());
        write_length(columns.len(), &mut out);
        write_length(count, &mut out);
        for (head, column) in heads.into_iter().zip(columns) {
            out.extend_from_slice(&head);
            column.write(count, &mut out);
        }
        out
    }
}

impl Column {
    fn of(column: &target::Column) -> Self {
        let width = match column.kind {
            Kind::Uuid => 16,
            Kind::Long | Kind::Instant => 8,
            Kind::Int | Kind::Day => 4,
            Kind::Flag | Kind::Text | Kind::Bytes => 1,
        };
        let dictionary = column.repeats.then(|| Dictionary::of(column.nullable));
        let (nulls, values) = Default::default();
        Self { width, nullable: column.nullable, nulls, values, dictionary }
    }

    fn bytes(&self) -> usize {
        let keys = self.dictionary.as_ref().map_or(0, |dictionary| dictionary.keys.len());
        self.nulls.len() + self.values.len() + keys
    }

    /// Puts a text down, where there is a dictionary as its place in that.
    #[inline]
    fn text(&mut self, text: &str) {
        let Some(dictionary) = &mut self.dictionary else {
            match without_columns(text) {
                None => write_text(text, &mut self.values),
                Some(rest) => {
                    write_length(rest.len() + 1, &mut self.values);
                    self.values.push(b'{');
                    self.values.extend_from_slice(rest.as_bytes());
                }
            }
            return;
        };
        let place = dictionary.place(text);
        self.place(place);
    }

    #[inline]
    fn place(&mut self, place: u32) {
        let place = place.to_le_bytes();
        if place.get(self.width..).is_some_and(|high| high.iter().any(|byte| *byte != 0)) {
            self.widen();
        }
        self.values.extend_from_slice(&place[..self.width]);
    }

    /// Makes room for places of twice the bytes.
    fn widen(&mut self) {
        let wide = self
            .values
            .chunks_exact(self.width)
            .flat_map(|place| place.iter().copied().chain(std::iter::repeat_n(0, place.len())));
        self.values = wide.collect();
        self.width *= 2;
    }

    fn write(self, count: usize, out: &mut Vec<u8>) {
        if let Some(dictionary) = self.dictionary {
            let width = self.width.trailing_zeros();
            let kind = DICTIONARY_KEYS | u64::from(width);
            for number in [DICTIONARY_VERSION, kind, u64::from(dictionary.count)] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            if self.nullable {
                write_text("", out);
            }
            out.extend_from_slice(&dictionary.keys);
            out.extend_from_slice(&(count as u64).to_le_bytes());
        }
        out.extend_from_slice(&self.nulls);
        out.extend_from_slice(&self.values);
    }
}

impl Dictionary {
    /// One without texts; where a column may be null, its first place stands for nothing.
    fn of(nullable: bool) -> Self {
        Self { count: u32::from(nullable), ..Self::default() }
    }

    #[inline]
    fn place(&mut self, text: &str) -> u32 {
        if let Some(place) = self.last_place.filter(|_| self.last == text) {
            return place;
        }
        let place = match self.places.get(text) {
            Some(place) => *place,
            None => {
                let place = self.count;
                self.places.insert(text.into(), place);
                write_text(text, &mut self.keys);
                self.count += 1;
                place
            }
        };
        self.last.clear();
        self.last.push_str(text);
        self.last_place = Some(place);
        place
    }
}

/// Takes the values of one row.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    columns: &'a mut [Column],
    at: usize,
    /// What ClickHouse cannot hold, if there is such a value.
    problem: &'a mut Option<String>,
}

impl Values<'_> {
    #[inline]
    fn next(&mut self) -> &mut Column {
        self.at += 1;
        &mut self.columns[self.at - 1]
    }

    #[inline]
    fn value(&mut self, bytes: &[u8]) {
        self.next().values.extend_from_slice(bytes);
    }
}

impl Put for Values<'_> {
    #[inline]
    fn id(&mut self, id: &Id) {
        let (high, low) = id.uuid().as_u64_pair();
        let column = self.next();
        column.values.extend_from_slice(&high.to_le_bytes());
        column.values.extend_from_slice(&low.to_le_bytes());
    }
    #[inline]
    fn text(&mut self, text: &str) {
        self.next().text(text);
    }
    #[inline]
    fn int(&mut self, count: i32) {
        self.value(&count.to_le_bytes());
    }
    #[inline]
    fn long(&mut self, amount: i64) {
        self.value(&amount.to_le_bytes());
    }
    #[inline]
    fn day(&mut self, day: Night) {
        if !DAYS.contains(&day.0) {
            *self.problem = Some(format!(
                "{day} is outside of 1900 to 2299, which are the years of ClickHouse"
            ));
        }
        self.value(&day.0.to_le_bytes());
    }
    #[inline]
    fn instant(&mut self, instant: Timestamp) {
        let day = i32::try_from(instant.0.div_euclid(DAY_US)).unwrap_or(i32::MAX);
        if !DAYS.contains(&day) {
            *self.problem = Some(format!(
                "{} us since 1970 is outside of 1900 to 2299, which are the years of ClickHouse",
                instant.0
            ));
        }
        self.value(&instant.0.to_le_bytes());
    }
    #[inline]
    fn flag(&mut self, flag: bool) {
        self.value(&[u8::from(flag)]);
    }
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        let column = self.next();
        write_length(bytes.len(), &mut column.values);
        column.values.extend_from_slice(bytes);
    }
    #[inline]
    fn some(&mut self) {
        let column = &mut self.columns[self.at];
        if column.dictionary.is_none() {
            column.nulls.push(0);
        }
    }
    #[inline]
    fn none(&mut self) {
        let column = self.next();
        debug_assert!(column.nullable, "a column that is never null is null");
        if column.dictionary.is_some() {
            column.place(0);
        } else {
            column.nulls.push(1);
            column.values.resize(column.values.len() + column.width, 0);
        }
    }
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_of(kind: Kind, nullable: bool) -> Block {
        let column = target::Column { name: "it", kind, nullable, repeats: kind == Kind::Text };
        Block { columns: vec![Column::of(&column)], heads: vec![Vec::new()], ..Block::of(0) }
    }

    /// The places of a dictionary, by their width in bytes.
    fn places(block: Block, count: usize) -> (usize, Vec<u32>) {
        let width = block.columns[0].width;
        let sealed = block.seal();
        let places = sealed[sealed.len() - count * width..].chunks(width).map(|place| {
            let mut all = [0; 4];
            all[..width].copy_from_slice(place);
            u32::from_le_bytes(all)
        });
        (width, places.collect())
    }

    #[test]
    fn texts_that_repeat_are_written_once() {
        let mut block = block_of(Kind::Text, true);
        for text in [Some("BB"), None, Some("HB"), Some("BB"), Some("")] {
            let mut problem = None;
            let mut row = block.row(&mut problem);
            match text {
                Some(text) => {
                    row.some();
                    row.text(text);
                }
                None => row.none(),
            }
        }
        let dictionary = block.columns[0].dictionary.as_ref().unwrap();
        assert_eq!(dictionary.keys, b"\x02BB\x02HB\x00");
        assert_eq!(places(block, 5), (1, vec![1, 0, 2, 1, 3]));
    }

    #[test]
    fn places_grow_with_the_dictionary() {
        for (count, width) in [(256, 1), (257, 2), (65_536, 2), (65_537, 4)] {
            let mut block = block_of(Kind::Text, false);
            for number in 0..count {
                block.row(&mut None).text(&number.to_string());
            }
            assert_eq!(places(block, count as usize), (width, (0..count).collect()), "{count}");
        }
    }

    #[test]
    fn what_an_event_has_given_can_be_dropped() {
        for target in 0..target::COUNT {
            let columns = target::columns(target);
            let (mut block, mut problem) = (Block::of(target), None);
            let mut put = |block: &mut Block, text: &str, is_null: bool| {
                let mut row = block.row(&mut problem);
                for column in &columns {
                    if column.nullable && is_null {
                        row.none();
                        continue;
                    }
                    if column.nullable {
                        row.some();
                    }
                    match column.kind {
                        Kind::Uuid => row.id(&Id::NIL),
                        Kind::Text => row.text(text),
                        Kind::Int => row.int(1),
                        Kind::Long => row.long(2),
                        Kind::Day => row.day(Night(3)),
                        Kind::Instant => row.instant(Timestamp(4)),
                        Kind::Flag => row.flag(true),
                        Kind::Bytes => row.bytes(text.as_bytes()),
                    }
                }
            };
            block.begin();
            put(&mut block, "one", false);
            let kept = block.bytes();
            for is_null in [false, true] {
                block.begin();
                put(&mut block, "one", is_null);
                put(&mut block, "one", !is_null);
                assert_eq!((block.count(), block.given()), (3, 2));
                block.undo();
                assert_eq!((block.count(), block.bytes()), (1, kept), "{}", target::name(target));
            }
        }
    }

    #[test]
    fn the_days_of_clickhouse_are_1900_to_2299() {
        assert_eq!(Night::ymd(1900, 1, 1).unwrap().0, *DAYS.start());
        assert_eq!(Night::ymd(2299, 12, 31).unwrap().0, *DAYS.end());
    }

    #[test]
    fn a_day_beyond_them_is_named() {
        for (day, is_fine) in [
            (*DAYS.start(), true),
            (*DAYS.end(), true),
            (DAYS.start() - 1, false),
            (i32::MAX, false),
        ] {
            let (mut block, mut problem) = (block_of(Kind::Day, false), None);
            block.row(&mut problem).day(Night(day));
            assert_eq!(problem.is_none(), is_fine, "{day}: {problem:?}");
        }
    }
}
