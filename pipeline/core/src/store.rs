//! Stores: the state of one partition, read by handlers, written only by processors.
//!
//! A [`Store`] maps the keys of one partition to a [`State`]. [`Stores`] holds all of them behind
//! slots that the topology resolves once, so that a call costs an index and a type check.

use std::any::Any;
use std::fmt;
use std::hash::Hash;

use hashbrown::HashMap;

use crate::avro::{Avro, DecodeError, Reader, SchemaWriter};
use crate::hash::{Keyed, keyed};
use crate::message::{LogId, MessageKey, short_type_name};

/// A key of a store, and the message key that it is partitioned by.
pub trait StoreKey: Avro + Copy + Eq + Ord + Hash + fmt::Debug + Send + 'static {
    /// Messages of this key reach the entry; the compiler refuses a handler whose message differs.
    type Partition: MessageKey;
}

/// What a store keeps for one key.
///
/// Its schema ([`Avro::schema`]) says all of its shape, also of what it packs into bytes
/// ([`SchemaWriter::packed`]): a snapshot in another shape is not read.
pub trait State: Avro + fmt::Debug + Send + 'static {
    /// Its name in snapshots and in `describe`. A fold that gives another state in the same shape
    /// gets another name.
    const NAME: &'static str;
    /// Its key.
    type Key: StoreKey;
}

/// The entries of one state in one partition.
#[derive(Debug)]
pub struct Store<S: State> {
    entries: HashMap<S::Key, S, Keyed>,
}

impl<S: State> Store<S> {
    /// An empty one of a log.
    #[must_use]
    pub fn of(log_id: LogId) -> Self {
        Self { entries: HashMap::with_hasher(keyed(log_id)) }
    }

    /// The entry of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &S::Key) -> Option<&S> {
        self.entries.get(key)
    }

    /// The entry of a key, to change.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, key: &S::Key) -> Option<&mut S> {
        self.entries.get_mut(key)
    }

    /// The entry of a key, made when absent.
    #[inline]
    pub fn entry(&mut self, key: S::Key, make: impl FnOnce() -> S) -> &mut S {
        self.entries.entry(key).or_insert_with(make)
    }

    /// Sets the entry of a key.
    #[inline]
    pub fn insert(&mut self, key: S::Key, state: S) {
        self.entries.insert(key, state);
    }

    /// Removes the entry of a key.
    #[inline]
    pub fn remove(&mut self, key: &S::Key) -> Option<S> {
        self.entries.remove(key)
    }

    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries in the order of their keys.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&S::Key, &S)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| **key);
        entries
    }
}

/// What the topology knows of a store.
#[derive(Clone, Copy)]
pub struct StoreInfo {
    /// Its name.
    pub name: &'static str,
    /// The schemas of key and state.
    pub shape: fn() -> String,
    /// Name of its key's type.
    pub key: fn() -> &'static str,
    /// Makes an empty one.
    pub make: fn(LogId) -> Box<dyn AnyStore>,
}

impl StoreInfo {
    /// Of a state.
    #[must_use]
    pub const fn of<S: State>() -> Self {
        Self {
            name: S::NAME,
            shape: shape_of::<S>,
            key: short_type_name::<S::Key>,
            make: |log_id| Box::new(Store::<S>::of(log_id)),
        }
    }
}

fn shape_of<S: State>() -> String {
    let mut shape = SchemaWriter::default();
    S::Key::schema(&mut shape);
    shape.push(" ");
    S::schema(&mut shape);
    shape.into_text()
}

/// A store whose state's type is forgotten: what snapshots and comparisons need.
pub trait AnyStore: Any + Send {
    /// Appends all entries in key order.
    fn encode(&self, out: &mut Vec<u8>);
    /// Replaces all entries.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not a store's.
    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError>;
    /// Describes the first entry that differs, in key order.
    fn first_difference(&self, other: &dyn AnyStore) -> Option<String>;
    /// How many entries.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<S: State> AnyStore for Store<S> {
    fn encode(&self, out: &mut Vec<u8>) {
        crate::avro::write_long(self.entries.len() as i64, out);
        for (key, state) in self.sorted() {
            key.encode(out);
            state.encode(out);
        }
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.entries.clear();
        let count = usize::try_from(reader.long()?).map_err(|_| reader.invalid("a count"))?;
        if count > reader.rest().len() {
            return Err(reader.invalid("more entries than bytes"));
        }
        self.entries.reserve(count);
        for _ in 0..count {
            let key = S::Key::decode(reader)?;
            self.entries.insert(key, S::decode(reader)?);
        }
        Ok(())
    }

    fn first_difference(&self, other: &dyn AnyStore) -> Option<String> {
        let other: &dyn Any = other;
        let other = other.downcast_ref::<Self>()?;
        let encoded = |state: Option<&S>| {
            let mut bytes = Vec::new();
            state.inspect(|state| state.encode(&mut bytes));
            bytes
        };
        let mut keys: Vec<_> = self.entries.keys().chain(other.entries.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().find_map(|key| {
            let (ours, theirs) = (self.get(key), other.get(key));
            (encoded(ours) != encoded(theirs))
                .then(|| format!("{} of {key:?}: {ours:?} against {theirs:?}", S::NAME))
        })
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}

/// All stores of a partition, by the slot that the topology gave each.
pub struct Stores {
    pub(crate) slots: Vec<Box<dyn AnyStore>>,
}

impl Stores {
    /// The store in a slot.
    ///
    /// # Panics
    /// When the slot holds another state: the topology resolved it for this type.
    #[inline]
    #[must_use]
    pub fn at<S: State>(&self, slot: usize) -> &Store<S> {
        let any: &dyn Any = self.slots[slot].as_ref();
        let Some(store) = any.downcast_ref() else { wrong_slot(slot, S::NAME) };
        store
    }

    /// Several stores at once, to write; see [`StoreMut::get`].
    ///
    /// # Panics
    /// When two slots are the same, which the topology refuses.
    #[inline]
    pub fn disjoint<const N: usize>(&mut self, slots: &[usize]) -> [StoreMut<'_>; N] {
        let Ok(slots) = <[usize; N]>::try_from(slots) else { wrong_slot(slots.len(), "slots") };
        match self.slots.get_disjoint_mut(slots) {
            Ok(stores) => stores.map(|store| StoreMut(store.as_mut())),
            Err(_) => wrong_slot(N, "two of one store"),
        }
    }

    /// The store of a state, found by its type: for tests and tools.
    #[must_use]
    pub fn find<S: State>(&self) -> Option<&Store<S>> {
        self.slots.iter().find_map(|store| {
            let any: &dyn Any = store.as_ref();
            any.downcast_ref()
        })
    }
}

/// A borrowed store before its type is named.
pub struct StoreMut<'a>(&'a mut dyn AnyStore);

impl<'a> StoreMut<'a> {
    /// The store as one of `S`.
    ///
    /// # Panics
    /// When it is another state's.
    #[inline]
    #[must_use]
    pub fn get<S: State>(self) -> &'a mut Store<S> {
        let any: &mut dyn Any = self.0;
        let Some(store) = any.downcast_mut() else { wrong_slot(0, S::NAME) };
        store
    }
}

#[cold]
fn wrong_slot(slot: usize, wanted: &str) -> ! {
    panic!("slot {slot} does not hold {wanted}: the topology is broken")
}
