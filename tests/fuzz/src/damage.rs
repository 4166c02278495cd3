//! What happens to a valid input.

use crate::Random;

/// An input is cut there; the limits that targets test lie below.
const BYTES_MAX: usize = 64 * 1024;

/// Bytes that mean something to somebody: lengths, signs, quotes, ends of lines, huge varints.
const TOKENS: [&[u8]; 16] = [
    b"\0",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    b"\"",
    b"\n",
    b"{\"",
    b"null",
    b"-9223372036854775808",
    b"1e308",
    "\u{10ffff}".as_bytes(),
];

/// One of the corpus, damaged in one to six places.
pub fn damaged(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(corpus).cloned().unwrap_or_default();
    for _ in 0..=random.below(6) {
        damage(&mut bytes, corpus, random);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = at + random.below(bytes.len() - at + 1).min(random.below(64));
    match random.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.bits() as u8;
            }
        }
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let again = bytes.get(at..end).unwrap_or_default().repeat(1 + random.below(8));
            insert(bytes, at, &again);
        }
        5 => {
            let token = random.pick(&TOKENS).copied().unwrap_or_default();
            insert(bytes, at, token);
        }
        6 => {
            let token = random.pick(&TOKENS).copied().unwrap_or_default();
            let end = (at + token.len()).min(bytes.len());
            bytes.splice(at..end, token.iter().copied());
        }
        7 => {
            let run = vec![random.bits() as u8; 1 << random.below(12)];
            insert(bytes, at, &run);
        }
        _ => {
            let other = random.pick(corpus).map(Vec::as_slice).unwrap_or_default();
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(from..).unwrap_or_default());
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    bytes.splice(at..at, more.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_damages_in_the_same_way_and_another_in_another() {
        let corpus = [b"one valid input".to_vec(), b"and another".to_vec()];
        let of = |seed| damaged(&corpus, &mut Random::new(seed));
        assert_eq!(of(7), of(7));
        let distinct: std::collections::BTreeSet<_> = (0..1_000).map(of).collect();
        // Some are cut to nothing.
        assert!(distinct.len() > 800, "{}", distinct.len());
    }

    #[test]
    fn a_target_that_panics_fails() {
        let corpus = [b"one valid input".to_vec()];
        let target = |input: &[u8]| assert!(input.is_ascii(), "it met a byte it cannot take");
        let fuzzed = std::panic::catch_unwind(|| crate::fuzz(&corpus, target));
        assert!(fuzzed.is_err());
    }
}
