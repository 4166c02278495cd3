//! Hashes: of ids, keyed by the log so that nobody can choose some that collide; and of payloads.
//!
//! The key follows from the log's random name, so two tasks of one log hash alike. That is a
//! convenience: the order of a map never shows, or the same state would have several snapshots.
//!
//! # Source
//! ahash: a keyed hash for maps, made against flooding by a party that does not know the key.

use ahash::RandomState;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::message::LogId;

/// Makes the hashers of the maps of one log.
pub type Keyed = RandomState;

/// The hashers of a log.
#[must_use]
pub fn keyed(log_id: LogId) -> Keyed {
    let [a, b, c, d] = [1, 2, 3, 4].map(|nth| seed(log_id, nth));
    RandomState::with_seeds(a, b, c, d)
}

/// A number that nobody knows who does not know the log's name; another for each `nth`.
#[must_use]
pub(crate) fn seed(log_id: LogId, nth: u64) -> u64 {
    xxh3_64_with_seed(log_id.0.as_bytes(), nth)
}

/// Hash of a command's payload as events hold it: its kind in the highest byte, 56 bits below.
///
/// Kind 1 is XXH3 of the payload in the layout of its first release ([`crate::avro::FirstForm`]),
/// seeded by the name of the message. A key remembered with one kind is compared in that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadHash(pub(crate) u64);

impl PayloadHash {
    /// Of what has no payload: a timer.
    pub const NONE: Self = Self(0);
    const KIND: u64 = 1;
    const KIND_SHIFT: u32 = 56;

    pub(crate) fn of(hash: u64) -> Self {
        Self(Self::KIND << Self::KIND_SHIFT | hash & (u64::MAX >> (64 - Self::KIND_SHIFT)))
    }

    /// The hash of an event; `None` for one of a kind that this program does not know.
    #[must_use]
    pub fn read(stored: u64) -> Option<Self> {
        (stored >> Self::KIND_SHIFT == Self::KIND).then_some(Self(stored))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;

    /// The first half of a key that makes `rustc_hash` forget the second one: its own constant.
    const HOSTILE: u128 = 0xd308_a385_886a_3f24;

    #[test]
    fn ids_that_were_chosen_to_collide_do_not() {
        for log in 0..20_u128 {
            let keyed = keyed(LogId(Uuid::from_u128(log << 64 | 7)));
            let ids = |half: u128| (0..5_000).map(move |n| Uuid::from_u128(half << 64 | n));
            let hashes = ids(HOSTILE).map(|id| keyed.hash_one((Uuid::from_u128(3), id)));
            let hashes: BTreeSet<u64> = hashes.collect();
            assert!(hashes.len() > 4_990, "{} hashes of 5,000 ids", hashes.len());
            // In a table of 8,192 buckets as many are free as chance leaves free.
            let buckets: BTreeSet<u64> = hashes.iter().map(|hash| hash % 8_192).collect();
            assert!(buckets.len() > 3_500, "{} buckets of 5,000 ids", buckets.len());
        }
    }

    #[test]
    fn the_key_is_the_logs() {
        let hash = |log| keyed(LogId(Uuid::from_u128(log))).hash_one(Uuid::nil());
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
