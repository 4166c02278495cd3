//! The Avro binary encoding of Rust types, with no intermediate value.
//!
//! [`Avro`] is derived for records and enums (`#[derive(Avro)]`); the schema it describes is held
//! against the `.avsc` contract by a test of the `schemas` crate.
//!
//! # Invariants
//! 1. Any bytes decode to a value or an error, never to a panic.
//! 2. Every item of an array takes at least one byte of input, so what is allocated is bounded by
//!    the items that are there (and room for a few more), whatever count the bytes claim.
//!
//! # Source
//! Apache Avro 1.12 specification, "Binary encoding".

use compact_str::CompactString;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A type with an Avro schema and its binary encoding.
pub trait Avro: Sized {
    /// Whether a field that a later release added (`#[avro(since = "0.2.0")]`) stands in it.
    const GROWN: bool = false;
    /// Appends the encoded value.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads a value written with this type's own schema.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or hold what the type cannot.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// Writes the schema as JSON; a named type is written whole the first time, by name later.
    fn schema(out: &mut SchemaWriter);
    /// Appends the value in the layout of its first release; what later ones added goes aside.
    fn first_form(&self, out: &mut FirstForm) {
        self.encode(&mut out.first);
    }
}

/// An enum without fields, with what its doc comments say. Derived with [`Avro`].
pub trait Symbols: Sized + 'static {
    /// Its variants in order.
    const SYMBOLS: &'static [Symbol];
    /// The same as values.
    const ALL: &'static [Self];
    /// Of this value.
    fn symbol(&self) -> Symbol;
}

/// A variant of such an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: &'static str,
    /// Its doc comment, line by line.
    pub doc: &'static str,
}

impl Symbol {
    /// The variant behind the code of an outcome: a code is its number plus one.
    #[must_use]
    pub fn of_code<S: Symbols>(code: u16) -> Option<Self> {
        S::SYMBOLS.get(usize::from(code.checked_sub(1)?)).copied()
    }

    /// The first paragraph of its doc comment, as one line.
    #[must_use]
    pub fn meaning(&self) -> String {
        one_line(self.doc.split("\n\n").next().unwrap_or_default())
    }

    /// The paragraphs behind it, as one line.
    #[must_use]
    pub fn advice(&self) -> String {
        one_line(self.doc.split_once("\n\n").map_or("", |(_, rest)| rest))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value in the layout of its first release, with the fields that were added since apart and only
/// where they do not hold their default. So a hash of it stays when a release adds a field.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FirstForm {
    /// What the first release would have written.
    pub first: Vec<u8>,
    /// For each added field: where it stands in `first`, its name, its own two forms.
    added: Vec<u8>,
}

impl FirstForm {
    /// In memory that was used before.
    pub(crate) fn into(mut first: Vec<u8>) -> Self {
        first.clear();
        Self { first, added: Vec::new() }
    }

    /// Adds a field of a later release, unless it holds its default.
    pub fn add<T: Avro + Default>(&mut self, name: &str, value: &T) {
        let form = |value: &T| {
            let mut form = Self::default();
            value.first_form(&mut form);
            form
        };
        let own = form(value);
        if own == form(&T::default()) {
            return;
        }
        write_long(self.first.len() as i64, &mut self.added);
        for part in [name.as_bytes(), &own.first, &own.added] {
            write_bytes(part, &mut self.added);
        }
    }

    /// Hash of both parts; of the first alone where nothing was added.
    #[must_use]
    pub fn hash(&mut self, seed: u64) -> u64 {
        if !self.added.is_empty() {
            let length = self.first.len() as u64;
            self.first.append(&mut self.added);
            self.first.extend_from_slice(&length.to_le_bytes());
        }
        xxh3_64_with_seed(&self.first, seed)
    }
}

/// The self-contained schema of a type, as JSON text.
#[must_use]
pub fn schema_of<T: Avro>() -> String {
    let mut out = SchemaWriter::default();
    T::schema(&mut out);
    out.text
}

/// Collects the JSON of a schema; remembers which named types it has defined.
#[derive(Default)]
pub struct SchemaWriter {
    text: String,
    defined: Vec<&'static str>,
}

impl SchemaWriter {
    /// Appends JSON text.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Starts a named type; when it is already defined writes its name and returns false.
    pub fn define(&mut self, name: &'static str) -> bool {
        if self.defined.contains(&name) {
            self.push("\"");
            self.push(name);
            self.push("\"");
            return false;
        }
        self.defined.push(name);
        true
    }

    /// Writes the schema of bytes that hold an encoded `T`.
    pub fn packed<T: Avro>(&mut self) {
        self.push(r#"{"type":"bytes","holds":"#);
        T::schema(self);
        self.push("}");
    }

    /// Bytes of JSON so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The JSON so far.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Why bytes are not a value of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended inside a value.
    #[error("decode at byte {at}: the record ends inside a value")]
    Truncated {
        /// Byte offset in the datum.
        at: usize,
    },
    /// The bytes hold something the type does not allow.
    #[error("decode at byte {at}: {what}")]
    Invalid {
        /// Byte offset in the datum.
        at: usize,
        /// What was found.
        what: &'static str,
    },
    /// Bytes follow the value.
    #[error("decode: {count} bytes follow the record")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Items that an array may reserve room for before they were read; a stay of a year fits.
const RESERVED_ITEMS: usize = 400;

/// A cursor over one datum.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes of the whole datum.
    length: usize,
    canonical: bool,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, length: bytes.len(), canonical: true }
    }

    /// Byte offset of the next read.
    #[inline]
    #[must_use]
    pub fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// The bytes not read yet.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// False once something came in a form that our encoder does not write (an array in several
    /// blocks, a block with its size, an integer with needless bytes): equal values then need not
    /// have equal bytes.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }

    /// Checks that all bytes were read.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }

    /// An error at the current position.
    #[cold]
    #[must_use]
    pub fn invalid(&self, what: &'static str) -> DecodeError {
        DecodeError::Invalid { at: self.position(), what }
    }

    #[cold]
    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { at: self.position() }
    }

    /// Reads `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.truncated()),
        }
    }

    /// Reads so many bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn chunk<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], DecodeError> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.truncated()),
        }
    }

    /// Reads a zigzag variable-length integer.
    ///
    /// # Errors
    /// [`DecodeError`] when it ends early or has more than ten bytes.
    #[inline]
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        // Most are lengths, counts and branches of one byte.
        if let [byte, rest @ ..] = self.rest
            && *byte < 0x80
        {
            self.rest = rest;
            return Ok(unzigzag(u64::from(*byte)));
        }
        self.longer()
    }

    /// [`Reader::long`] of several bytes: days and prices have three; of up to eight without a loop,
    /// the rare others one by one.
    #[inline(never)]
    fn longer(&mut self) -> Result<i64, DecodeError> {
        if let [a, b, c @ 1..0x80, rest @ ..] = self.rest
            && *b >= 0x80
        {
            self.rest = rest;
            let [a, b, c] = [*a, *b, *c].map(u64::from);
            return Ok(unzigzag((a & 0x7f) | ((b & 0x7f) << 7) | (c << 14)));
        }
        if let Some(word) = self.rest.first_chunk() {
            let word = u64::from_le_bytes(*word);
            let ends = !word & CONTINUED;
            if ends != 0 {
                // All bits up to the first one that ends it.
                let own = word & (ends ^ (ends - 1));
                let length = ends.trailing_zeros() / 8 + 1;
                self.rest = self.rest.get(length as usize..).unwrap_or_default();
                // A last byte of zero is needless.
                self.canonical &= own >> (8 * (length - 1)) != 0;
                return Ok(unzigzag(gather(own & !CONTINUED)));
            }
        }
        self.longest()
    }

    #[inline(never)]
    fn longest(&mut self) -> Result<i64, DecodeError> {
        let mut value = 0_u64;
        let mut shift = 0;
        loop {
            let [byte, rest @ ..] = self.rest else { return Err(self.truncated()) };
            self.rest = rest;
            if shift == 63 && *byte > 1 {
                return Err(self.invalid("an integer of more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                self.canonical &= *byte != 0 || shift == 0;
                return Ok(unzigzag(value));
            }
            shift += 7;
        }
    }

    /// Reads a length-prefixed run of bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when the length is negative or past the end.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| self.invalid("a negative length"))?;
        self.take(length)
    }

    /// Reads a string.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not UTF-8.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        let at = self.position();
        str::from_utf8(self.bytes()?)
            .map_err(|_| DecodeError::Invalid { at, what: "a string that is not UTF-8" })
    }

    /// Reads an array, item by item.
    ///
    /// # Errors
    /// Those of the items, and [`DecodeError::Invalid`] for a count the input cannot hold.
    #[inline]
    pub fn array<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        let mut blocks = 0;
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(items);
            }
            if count < 0 {
                self.long()?;
                count = count.checked_neg().ok_or_else(|| self.invalid("an array count"))?;
                self.canonical = false;
            }
            blocks += 1;
            self.canonical &= blocks == 1;
            let count = usize::try_from(count).map_err(|_| self.invalid("an array count"))?;
            if count > self.rest().len() {
                return Err(self.invalid("an array longer than the record"));
            }
            // What is claimed is not there yet; and growth by blocks of one stays linear.
            if blocks == 1 {
                items.reserve_exact(count.min(RESERVED_ITEMS));
            }
            for _ in 0..count {
                items.push(item(self)?);
            }
        }
    }
}

/// Appends a zigzag variable-length integer.
#[inline]
pub fn write_long(value: i64, out: &mut Vec<u8>) {
    let rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    if rest < 0x80 {
        out.push(rest as u8);
    } else {
        write_longer(rest, out);
    }
}

/// [`write_long`] of several bytes: put together in a register, since bytes stored one by one and
/// copied at once stall the processor. Days and prices have three.
#[inline]
fn write_longer(rest: u64, out: &mut Vec<u8>) {
    if (1 << 14..1 << 21).contains(&rest) {
        let word = (rest & 0x7f) | ((rest << 1) & 0x7f00) | ((rest << 2) & 0x7f_0000) | 0x8080;
        let [a, b, c, ..] = word.to_le_bytes();
        out.extend_from_slice(&[a, b, c]);
        return;
    }
    if rest >> 56 == 0 {
        let length = (63 - (rest | 1).leading_zeros()) / 7 + 1;
        let continued = CONTINUED & ((1 << (8 * (length - 1))) - 1);
        let end = out.len() + length as usize;
        out.extend_from_slice(&(spread(rest) | continued).to_le_bytes());
        out.truncate(end);
        return;
    }
    let [a, b, c, d, e, f, g, h] = (spread(rest) | CONTINUED).to_le_bytes();
    let rest = rest >> 56;
    let more = if rest < 0x80 { 0 } else { 0x80 };
    let end = out.len() + if more == 0 { 9 } else { 10 };
    out.extend_from_slice(&[a, b, c, d, e, f, g, h, (rest & 0x7f) as u8 | more, 1]);
    out.truncate(end);
}

/// The bit of each byte that says that another follows.
const CONTINUED: u64 = 0x8080_8080_8080_8080;

/// The lowest 56 bits as eight groups of seven, one in each byte.
#[inline]
fn spread(bits: u64) -> u64 {
    let halves = (bits & 0x0fff_ffff) | ((bits & 0x00ff_ffff_f000_0000) << 4);
    let quarters = (halves & 0x0000_3fff_0000_3fff) | ((halves & 0x0fff_c000_0fff_c000) << 2);
    (quarters & 0x007f_007f_007f_007f) | ((quarters & 0x3f80_3f80_3f80_3f80) << 1)
}

/// What [`spread`] took apart.
#[inline]
fn gather(bytes: u64) -> u64 {
    let quarters = (bytes & 0x007f_007f_007f_007f) | ((bytes & 0x7f00_7f00_7f00_7f00) >> 1);
    let halves = (quarters & 0x0000_3fff_0000_3fff) | ((quarters & 0x3fff_0000_3fff_0000) >> 2);
    (halves & 0x0fff_ffff) | ((halves & 0x0fff_ffff_0000_0000) >> 4)
}

/// A number whose lowest bit is the sign of the others.
#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Appends a length and bytes.
#[inline]
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

macro_rules! integer {
    ($($type:ty => $schema:literal),*) => {$(
        impl Avro for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                write_long(i64::from(*self), out);
            }
            #[inline]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let value = reader.long()?;
                Self::try_from(value).map_err(|_| reader.invalid(concat!("a number outside of ", stringify!($type))))
            }
            fn schema(out: &mut SchemaWriter) {
                out.push($schema);
            }
        }
    )*};
}
integer!(u8 => "\"int\"", i16 => "\"int\"", u16 => "\"int\"", i32 => "\"int\"", u32 => "\"long\"", i64 => "\"long\"");

impl Avro for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.chunk()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(reader.invalid("a boolean that is neither 0 nor 1")),
        }
    }
    fn schema(out: &mut SchemaWriter) {
        out.push("\"boolean\"");
    }
}

macro_rules! string {
    ($($type:ty),*) => {$(
        impl Avro for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                write_bytes(self.as_bytes(), out);
            }
            #[inline]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(reader.str()?.into())
            }
            fn schema(out: &mut SchemaWriter) {
                out.push("\"string\"");
            }
        }
    )*};
}
string!(String, CompactString);

impl Avro for Uuid {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.chunk().map(Self::from_bytes)
    }
    fn schema(out: &mut SchemaWriter) {
        if out.define("bellhop.Uuid") {
            out.push(r#"{"type":"fixed","name":"bellhop.Uuid","size":16,"logicalType":"uuid"}"#);
        }
    }
}

impl<T: Avro> Avro for Option<T> {
    const GROWN: bool = T::GROWN;
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                value.encode(out);
            }
        }
    }
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.long()? {
            0 => Ok(None),
            1 => T::decode(reader).map(Some),
            _ => Err(reader.invalid("a union branch that does not exist")),
        }
    }
    fn schema(out: &mut SchemaWriter) {
        out.push("[\"null\",");
        T::schema(out);
        out.push("]");
    }
    fn first_form(&self, out: &mut FirstForm) {
        match self {
            None => out.first.push(0),
            Some(value) => {
                out.first.push(2);
                value.first_form(out);
            }
        }
    }
}

impl<T: Avro> Avro for Vec<T> {
    const GROWN: bool = T::GROWN;
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            write_long(self.len() as i64, out);
            self.iter().for_each(|item| item.encode(out));
        }
        out.push(0);
    }
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array(T::decode)
    }
    fn schema(out: &mut SchemaWriter) {
        out.push("{\"type\":\"array\",\"items\":");
        T::schema(out);
        out.push("}");
    }
    fn first_form(&self, out: &mut FirstForm) {
        if !self.is_empty() {
            write_long(self.len() as i64, &mut out.first);
            self.iter().for_each(|item| item.first_form(out));
        }
        out.first.push(0);
    }
}

/// An array of so many items, in the one form that our encoder writes.
impl<T: Avro + Copy + Default, const COUNT: usize> Avro for [T; COUNT] {
    fn encode(&self, out: &mut Vec<u8>) {
        write_long(COUNT as i64, out);
        self.iter().for_each(|item| item.encode(out));
        out.push(0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut items = [T::default(); COUNT];
        if reader.long()? != COUNT as i64 {
            return Err(reader.invalid("an array of another length"));
        }
        for item in &mut items {
            *item = T::decode(reader)?;
        }
        match reader.long()? {
            0 => Ok(items),
            _ => Err(reader.invalid("an array of another length")),
        }
    }
    fn schema(out: &mut SchemaWriter) {
        Vec::<T>::schema(out);
    }
}

/// Raw bytes (Avro `bytes`), apart from `Vec<u8>` so that an array of numbers stays one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Avro for Bytes {
    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(&self.0, out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.bytes()?.to_vec()))
    }
    fn schema(out: &mut SchemaWriter) {
        out.push("\"bytes\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<i64>, bool) {
        let mut reader = Reader::new(bytes);
        let items = Vec::<i64>::decode(&mut reader).unwrap();
        reader.finish().unwrap();
        (items, reader.is_canonical())
    }

    #[test]
    fn an_integer_of_any_length_comes_back() {
        for bits in 0..64 {
            for value in [1_i64 << bits, (1_i64 << bits).wrapping_sub(1), -1_i64 << bits] {
                let mut bytes = vec![7];
                write_long(value, &mut bytes);
                let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
                let mut wanted = vec![7];
                while rest >= 0x80 {
                    wanted.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                wanted.push(rest as u8);
                assert_eq!(bytes, wanted, "{value}");
                assert_eq!(Reader::new(&bytes[1..]).long(), Ok(value));
                let length = bytes.len() - 1;
                bytes.extend([0xff; 8]);
                let mut reader = Reader::new(&bytes[1..]);
                assert_eq!(reader.long(), Ok(value));
                assert_eq!((reader.position(), reader.is_canonical()), (length, true));
            }
        }
    }

    #[test]
    fn an_array_of_a_fixed_length_is_read_in_that_length_only() {
        let mut bytes = Vec::new();
        [7_i32, -300].encode(&mut bytes);
        assert_eq!(bytes, [4, 14, 0xd7, 4, 0]);
        assert_eq!(<[i32; 2]>::decode(&mut Reader::new(&bytes)), Ok([7, -300]));
        assert_eq!(<Vec<i32>>::decode(&mut Reader::new(&bytes)), Ok(vec![7, -300]));
        for other in [&[0][..], &[2, 14, 0], &[6, 14, 14, 14, 0], &[4, 14, 14, 2, 14, 0], &[4, 14]]
        {
            assert!(<[i32; 2]>::decode(&mut Reader::new(other)).is_err(), "{other:?}");
        }
    }

    #[test]
    fn forms_that_we_do_not_write_are_told_apart() {
        assert_eq!(read(&[4, 2, 4, 0]), (vec![1, 2], true));
        let others: [&[u8]; 5] = [
            &[2, 2, 2, 4, 0],
            &[3, 4, 2, 4, 0],
            &[4, 0x82, 0, 4, 0],
            &[4, 2, 4, 0x80, 0],
            &[4, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 4, 0],
        ];
        for other in others {
            assert_eq!(read(other), (vec![1, 2], false), "{other:?}");
        }
    }
}
