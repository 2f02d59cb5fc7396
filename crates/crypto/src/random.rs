//! Randomness: bytes, numbers, letters and identifiers that nobody can predict.

use aws_lc_rs::rand;
use secret::Zeroizing;

/// Fills `out` with random bytes.
#[allow(clippy::expect_used, reason = "without randomness there is no safe way on")]
pub fn fill(out: &mut [u8]) {
    rand::fill(out).expect("the operating system gives random bytes");
}

/// An array of random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

/// A text of `len` random letters and digits, each of the 62 equally likely (5.95 bits each).
pub fn base62(len: usize) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(len));
    let mut draws = Zeroizing::new([0_u8; 64]);
    while out.len() < len {
        fill(&mut *draws);
        // 248 is the greatest multiple of 62 in a byte; what lies above would favour the first letters.
        let fair = draws.iter().filter(|draw| **draw < 248);
        let letters = fair.filter_map(|draw| BASE62.get(usize::from(draw % 62)));
        for letter in letters.take(len - out.len()) {
            out.push(char::from(*letter));
        }
    }
    out
}

/// A number from 0 up to but excluding `n`, each equally likely; 0 if `n` is 0.
pub fn below(n: u64) -> u64 {
    if n < 2 {
        return 0;
    }
    // The draws below 2^64 mod n are turned away, so that a multiple of n remains.
    let unfair = n.wrapping_neg() % n;
    loop {
        let draw = u64::from_ne_bytes(bytes());
        if draw >= unfair {
            return draw % n;
        }
    }
}

/// A random identifier in the form of a version 4 UUID: 122 random bits as 36 characters.
pub fn uuid() -> String {
    let random = u128::from_be_bytes(bytes());
    let version = 0x4 << 76;
    let variant = 0b10 << 62;
    let value = random & !(0xF << 76) & !(0b11 << 62) | version | variant;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        value >> 96,
        value >> 80 & 0xFFFF,
        value >> 64 & 0xFFFF,
        value >> 48 & 0xFFFF,
        value & 0xFFFF_FFFF_FFFF
    )
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn letters_are_equally_likely() {
        let mut counts = HashMap::new();
        for letter in base62(62_000).chars() {
            *counts.entry(letter).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 62);
        // 1000 each are expected, with a standard deviation of 31.4; this allows seven of them.
        assert!(counts.values().all(|count| (780..1220).contains(count)), "{counts:?}");
        for len in [0, 1, 24, 63, 64, 65] {
            assert_eq!(base62(len).len(), len);
        }
    }

    #[test]
    fn numbers_stay_below_and_reach_every_value() {
        assert_eq!((below(0), below(1)), (0, 0));
        let seen: HashSet<u64> = (0..1000).map(|_| below(7)).collect();
        assert_eq!(seen, (0..7).collect());
        // Half of all draws are turned away here.
        assert!((0..100).all(|_| below((1 << 63) + 1) <= 1 << 63));
    }

    #[test]
    fn identifiers_have_the_form_of_version_4() {
        let ids: HashSet<String> = (0..1000).map(|_| uuid()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let groups: Vec<&str> = id.split('-').collect();
            assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert!(groups[2].starts_with('4') && groups[3].starts_with(['8', '9', 'a', 'b']), "{id}");
            assert!(id.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c)));
        }
    }
}
