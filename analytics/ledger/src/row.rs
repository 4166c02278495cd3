//! What a row is: columns with names and kinds, declared once for every engine.
//!
//! [`table!`] declares the row of a table; an engine writes it by being a [`Put`].

use bellhop_core::message::Timestamp;
use bellhop_schemas::night::Night;

/// A table; `docs/kpis.md` describes the columns of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The signed ledger: a row per night (or day use) and change.
    RoomNights,
    /// A row per change of a reservation.
    Bookings,
    /// The signed ledger of supply: a row per change, product or house, and run of nights.
    Supply,
    /// A row per refused command and reason.
    Refusals,
    /// A row per property.
    Properties,
    /// A row per product.
    Products,
    /// Every event as it was, with its body as JSON.
    Events,
    /// An event that could not be read, with its bytes and the cause.
    Parked,
}

impl Table {
    /// All of them; the place of each is its number.
    pub const ALL: [Self; 8] = [
        Self::RoomNights,
        Self::Bookings,
        Self::Supply,
        Self::Refusals,
        Self::Properties,
        Self::Products,
        Self::Events,
        Self::Parked,
    ];

    /// Its name in SQL and on disk.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoomNights => "room_nights",
            Self::Bookings => "bookings",
            Self::Supply => "supply",
            Self::Refusals => "refusals",
            Self::Properties => "properties",
            Self::Products => "products",
            Self::Events => "events",
            Self::Parked => "parked",
        }
    }

    /// Its columns.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::RoomNights => crate::room_nights::RoomNight::COLUMNS,
            Self::Bookings => crate::bookings::Booking::COLUMNS,
            Self::Supply => crate::supply::Supply::COLUMNS,
            Self::Refusals => crate::refusals::Refusal::COLUMNS,
            Self::Properties => crate::catalog::Property::COLUMNS,
            Self::Products => crate::catalog::Product::COLUMNS,
            Self::Events => crate::events::Event::COLUMNS,
            Self::Parked => crate::parked::Parked::COLUMNS,
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may hold nothing.
    pub nullable: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A UUID.
    Uuid,
    /// Text.
    Text,
    /// A count, 32 bits.
    Int,
    /// An offset or an amount in minor units, 64 bits.
    Long,
    /// A calendar day, as days since 1970.
    Day,
    /// An instant, as microseconds since 1970.
    Instant,
    /// Yes or no.
    Flag,
    /// Bytes of any kind.
    Bytes,
}

/// A UUID, also as text: written once per event and not once per row.
#[derive(Debug, Clone, Copy)]
pub struct Id {
    uuid: uuid::Uuid,
    text: [u8; 36],
}

impl Id {
    /// The id of nothing.
    pub const NIL: Self =
        Self { uuid: uuid::Uuid::nil(), text: *b"00000000-0000-0000-0000-000000000000" };

    /// Of a UUID.
    #[must_use]
    pub fn of(uuid: uuid::Uuid) -> Self {
        let mut text = [0; 36];
        uuid.hyphenated().encode_lower(&mut text);
        Self { uuid, text }
    }

    /// The UUID.
    #[must_use]
    pub fn uuid(&self) -> uuid::Uuid {
        self.uuid
    }

    /// As 36 lower-case characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or_default()
    }
}

/// Takes the values of a row, one after another, in the order of the columns.
pub trait Put {
    /// A UUID.
    fn id(&mut self, id: &Id);
    /// Text.
    fn text(&mut self, text: &str);
    /// A count.
    fn int(&mut self, count: i32);
    /// An offset or an amount.
    fn long(&mut self, amount: i64);
    /// A calendar day.
    fn day(&mut self, day: Night);
    /// An instant.
    fn instant(&mut self, instant: Timestamp);
    /// Yes or no.
    fn flag(&mut self, flag: bool);
    /// Bytes.
    fn bytes(&mut self, bytes: &[u8]);
    /// The column may be null; its value follows.
    fn some(&mut self);
    /// The column is null; no value follows.
    fn none(&mut self);
}

/// A row of a table.
pub trait Row {
    /// The table.
    const TABLE: Table;
    /// Its columns.
    const COLUMNS: &'static [Column];
    /// Gives its values, in the order of the columns.
    fn put(&self, to: &mut impl Put);
}

/// Takes rows.
pub trait Take {
    /// One row.
    fn row<R: Row>(&mut self, row: &R);
}

/// The type of a column's values; for [`table!`].
pub trait Cell {
    /// What a row holds.
    type Value<'a>: Copy;
    /// What a column holds.
    const KIND: Kind;
    /// Whether it may hold nothing.
    const NULLABLE: bool = false;
    /// Gives a value.
    fn put(value: Self::Value<'_>, to: &mut impl Put);
}

macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident: $value:ty, $put:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Cell for $name {
            type Value<'a> = $value;
            const KIND: Kind = Kind::$name;
            #[inline]
            fn put(value: Self::Value<'_>, to: &mut impl Put) {
                to.$put(value);
            }
        }
    )*};
}
cells! {
    /// Cells of [`Kind::Uuid`].
    Uuid: &'a Id, id;
    /// Cells of [`Kind::Text`].
    Text: &'a str, text;
    /// Cells of [`Kind::Int`].
    Int: i32, int;
    /// Cells of [`Kind::Long`].
    Long: i64, long;
    /// Cells of [`Kind::Day`].
    Day: Night, day;
    /// Cells of [`Kind::Instant`].
    Instant: Timestamp, instant;
    /// Cells of [`Kind::Flag`].
    Flag: bool, flag;
    /// Cells of [`Kind::Bytes`].
    Bytes: &'a [u8], bytes;
}

/// Cells that may hold nothing.
#[derive(Debug)]
pub struct Null<C>(C);

impl<C: Cell> Cell for Null<C> {
    type Value<'a> = Option<C::Value<'a>>;
    const KIND: Kind = C::KIND;
    const NULLABLE: bool = true;
    #[inline]
    fn put(value: Self::Value<'_>, to: &mut impl Put) {
        match value {
            Some(value) => {
                to.some();
                C::put(value, to);
            }
            None => to.none(),
        }
    }
}

/// The name of a column without the mark of a raw identifier.
#[doc(hidden)]
#[must_use]
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Declares the row of a table, borrowed.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident of $table:ident {
        $($(#[$column_doc:meta])* $column:ident: $cell:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name<'a> {
            $($(#[$column_doc])* pub $column: <$cell as $crate::row::Cell>::Value<'a>,)*
        }

        impl $crate::row::Row for $name<'_> {
            const TABLE: $crate::row::Table = $crate::row::Table::$table;
            const COLUMNS: &'static [$crate::row::Column] = &[$(
                $crate::row::Column {
                    name: $crate::row::plain(stringify!($column)),
                    kind: <$cell as $crate::row::Cell>::KIND,
                    nullable: <$cell as $crate::row::Cell>::NULLABLE,
                },
            )*];
            #[inline]
            fn put(&self, to: &mut impl $crate::row::Put) {
                $(<$cell as $crate::row::Cell>::put(self.$column, to);)*
            }
        }
    };
}
pub(crate) use table;
