//! Which partition a key belongs to, as Kafka's Java client decides it.
//!
//! # Source
//! `org.apache.kafka.common.utils.Utils#murmur2` and `toPositive`; librdkafka's own default is
//! another (CRC32), which is why a record's place is checked before it is decided.

/// The partition of a key among `partitions`.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// A key that belongs to a partition, for records that concern all of it.
///
/// # Panics
/// When there is no such partition.
#[must_use]
pub fn key_in(partition: u32, partitions: u32) -> String {
    assert!(partition < partitions, "partition {partition} of {partitions}");
    let numbers = (0_u64..).map(|number| format!("partition-{partition}-{number}"));
    let mut own = numbers.filter(|key| partition_of(key.as_bytes(), partitions) == partition);
    own.next().unwrap_or_default()
}

fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0, |k, byte| (k << 8) | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |k, byte| (k << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_key() {
        for partition in 0..100 {
            assert_eq!(partition_of(key_in(partition, 100).as_bytes(), 100), partition);
        }
    }

    /// Values of Kafka's own `UtilsTest#testMurmur2`.
    #[test]
    fn hashes_are_those_of_the_java_client() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
