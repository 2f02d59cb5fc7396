//! Shamir's secret sharing over GF(256), the field of AES (modulus x^8 + x^4 + x^3 + x + 1).
//!
//! Each byte of the secret is the value at zero of its own random polynomial of degree threshold - 1. A share is the
//! values of all polynomials at one coordinate: the y bytes, then one byte x. It is therefore one byte longer than the
//! secret. The arithmetic takes the same steps whatever the values: no tables, no branches.
//!
//! The shares carry no checksum: shares of different splits combine into a wrong secret without an error. Whoever
//! combines must check the result.

use std::hint::black_box;

use secret::Zeroizing;

use crate::{Error, random};

/// Splits `secret` into `shares` shares of which any `threshold` restore it and fewer tell nothing about it.
///
/// `2 <= threshold <= shares`. The coordinates are random, distinct and not zero.
pub fn split(secret: &[u8], shares: u8, threshold: u8) -> Result<Vec<Zeroizing<Vec<u8>>>, Error> {
    if secret.is_empty() {
        return Err(Error::SecretEmpty);
    }
    if threshold < 2 || threshold > shares {
        return Err(Error::Threshold);
    }
    let degree = usize::from(threshold) - 1;
    let mut coefficients = Zeroizing::new(vec![0; secret.len() * degree]);
    random::fill(&mut coefficients);
    let share = |x: u8| {
        let polynomials = secret.iter().zip(coefficients.chunks_exact(degree));
        let mut share = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
        share.extend(polynomials.map(|(constant, rest)| evaluate(*constant, rest, x)));
        share.push(x);
        share
    };
    Ok(coordinates().into_iter().take(usize::from(shares)).map(share).collect())
}

/// Restores the secret from at least as many shares as the threshold was. More are fine if they are of the same split.
pub fn combine(shares: &[impl AsRef<[u8]>]) -> Result<Zeroizing<Vec<u8>>, Error> {
    if shares.len() < 2 {
        return Err(Error::TooFewShares);
    }
    let mut points = Vec::with_capacity(shares.len());
    for share in shares {
        let (x, ys) = share.as_ref().split_last().ok_or(Error::ShareTooShort)?;
        if ys.is_empty() {
            return Err(Error::ShareTooShort);
        }
        if *x == 0 {
            return Err(Error::ShareZero);
        }
        if points.iter().any(|(_, other): &(u8, &[u8])| other.len() != ys.len()) {
            return Err(Error::ShareLengths);
        }
        if points.iter().any(|(other, _)| other == x) {
            return Err(Error::ShareRepeated);
        }
        points.push((*x, ys));
    }
    let len = points.first().map_or(0, |(_, ys)| ys.len());
    let mut secret = Zeroizing::new(vec![0; len]);
    for (x, ys) in &points {
        let weight = weight_at_zero(*x, points.iter().map(|(x, _)| *x));
        for (byte, y) in secret.iter_mut().zip(*ys) {
            *byte ^= multiply(weight, *y);
        }
    }
    Ok(secret)
}

/// The numbers 1 to 255 in random order.
fn coordinates() -> Vec<u8> {
    let mut all: Vec<u8> = (1..=u8::MAX).collect();
    for at in (1..all.len()).rev() {
        // The index is below `at + 1`, so it fits.
        let other = random::below(at as u64 + 1) as usize;
        all.swap(at, other);
    }
    all
}

/// The polynomial with the given constant term and the further coefficients (lowest power first) at `x`.
fn evaluate(constant: u8, rest: &[u8], x: u8) -> u8 {
    let sum = rest.iter().rev().fold(0, |sum, coefficient| multiply(sum ^ coefficient, x));
    sum ^ constant
}

/// What the share at `x` contributes to the value at zero: the product of `other / (other - x)` over all others.
fn weight_at_zero(x: u8, all: impl Iterator<Item = u8>) -> u8 {
    // Coordinates are public, so that skipping one's own is no leak.
    all.filter(|other| *other != x).fold(1, |weight, other| multiply(weight, multiply(other, invert(other ^ x))))
}

/// The product in GF(256), in constant time.
fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    for _ in 0..8 {
        // All ones or all zeros. Hidden from the optimiser, lest it make a branch of it.
        product ^= a & black_box((b & 1).wrapping_neg());
        let reduce = black_box((a >> 7).wrapping_neg());
        a = (a << 1) ^ (reduce & 0x1B);
        b >>= 1;
    }
    product
}

/// The inverse in GF(256): a^254. Zero gives zero.
fn invert(a: u8) -> u8 {
    // a^2 · a^4 · a^8 · … · a^128
    let mut power = a;
    let mut product = 1;
    for _ in 0..7 {
        power = multiply(power, power);
        product = multiply(product, power);
    }
    product
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    /// The product by the definition: polynomials multiplied in full, then divided.
    fn slow_product(a: u8, b: u8) -> u8 {
        let mut product: u16 = (0..8).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ (u16::from(a) << bit));
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11B << (bit - 8);
            }
        }
        product as u8
    }

    fn slow_power(a: u8, exponent: usize) -> u8 {
        (0..exponent).fold(1, |power, _| slow_product(power, a))
    }

    #[test]
    fn the_field_is_that_of_aes() {
        for block in vectors::read(include_str!("../../../vectors/shamir/field.txt")) {
            let ([a], [b], [product]) = (block.array("a"), block.array("b"), block.array("product"));
            assert_eq!(multiply(a, b), product);
            assert_eq!(multiply(b, a), product);
            if product == 1 {
                assert_eq!((invert(a), invert(b)), (b, a));
            }
        }
    }

    #[test]
    fn every_product_and_every_inverse_is_right() {
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                assert_eq!(multiply(a, b), slow_product(a, b), "{a:02x} · {b:02x}");
            }
            assert_eq!(slow_product(a, invert(a)), u8::from(a != 0));
        }
    }

    #[test]
    fn known_share_sets_combine() {
        let blocks = vectors::read(include_str!("../../../vectors/shamir/shares.txt"));
        assert_eq!(blocks.len(), 3);
        for block in blocks {
            let secret = block.bytes("secret");
            let threshold: usize = block.text("threshold").parse().unwrap();
            let polynomials = block.list("coefficients");
            let shares = block.list("shares");
            for share in &shares {
                let (x, ys) = share.split_last().unwrap();
                for (y, polynomial) in ys.iter().zip(&polynomials) {
                    let slow = polynomial.iter().enumerate();
                    assert_eq!(*y, slow.fold(0, |sum, (n, c)| sum ^ slow_product(*c, slow_power(*x, n))));
                    assert_eq!(*y, evaluate(polynomial[0], &polynomial[1..], *x));
                }
            }
            for first in 0..=shares.len() - threshold {
                assert_eq!(*combine(&shares[first..first + threshold]).unwrap(), secret);
            }
            assert_eq!(*combine(&shares).unwrap(), secret);
            if threshold > 2 {
                assert_ne!(*combine(&shares[..threshold - 1]).unwrap(), secret);
            }
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        assert_eq!(split(b"", 3, 2).unwrap_err(), Error::SecretEmpty);
        for (shares, threshold) in [(0, 0), (1, 1), (3, 0), (3, 1), (3, 4), (1, 2)] {
            assert_eq!(split(b"x", shares, threshold).unwrap_err(), Error::Threshold);
        }
    }

    #[test]
    fn what_cannot_be_combined_is_refused() {
        let none: [&[u8]; 0] = [];
        assert_eq!(combine(&none).unwrap_err(), Error::TooFewShares);
        assert_eq!(combine(&[[1, 2]]).unwrap_err(), Error::TooFewShares);
        assert_eq!(combine(&[[1_u8, 2].as_slice(), &[]]).unwrap_err(), Error::ShareTooShort);
        assert_eq!(combine(&[[1_u8, 2].as_slice(), &[3]]).unwrap_err(), Error::ShareTooShort);
        assert_eq!(combine(&[[1_u8, 2].as_slice(), &[1, 2, 3]]).unwrap_err(), Error::ShareLengths);
        assert_eq!(combine(&[[1, 2], [3, 2]]).unwrap_err(), Error::ShareRepeated);
        assert_eq!(combine(&[[1, 2], [3, 0]]).unwrap_err(), Error::ShareZero);
    }

    #[test]
    fn fewer_shares_than_the_threshold_fit_every_secret() {
        // With one share of a 2-of-n split, each of the 256 secrets has exactly one polynomial through it.
        let shares = split(&[42], 2, 2).unwrap();
        let candidates: HashSet<u8> =
            (0..=u8::MAX).map(|y| combine(&[shares[0].to_vec(), vec![y, shares[1][1]]]).unwrap()[0]).collect();
        assert_eq!(candidates.len(), 256);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_threshold_of_the_shares_restores_the_secret(
            secret in proptest::collection::vec(any::<u8>(), 1..40),
            (shares, threshold) in (2..=255_u8).prop_flat_map(|n| (Just(n), 2..=n)),
            skip in any::<u8>(),
        ) {
            let mut made = split(&secret, shares, threshold).unwrap();
            let coordinates: HashSet<u8> = made.iter().map(|share| *share.last().unwrap()).collect();
            prop_assert_eq!(coordinates.len(), usize::from(shares));
            prop_assert!(!coordinates.contains(&0));
            prop_assert!(made.iter().all(|share| share.len() == secret.len() + 1));
            let len = made.len();
            made.rotate_left(usize::from(skip) % len);
            prop_assert_eq!(&*combine(&made[..usize::from(threshold)]).unwrap(), &secret);
        }
    }

    #[test]
    fn small_splits_restore_from_every_choice_of_shares() {
        for shares in 2..=6_u8 {
            for threshold in 2..=shares {
                let made = split(b"choice", shares, threshold).unwrap();
                for choice in 0..1_u32 << shares {
                    let chosen: Vec<_> = (0..made.len()).filter(|n| choice >> n & 1 == 1).map(|n| &*made[n]).collect();
                    if chosen.len() >= usize::from(threshold) {
                        assert_eq!(*combine(&chosen).unwrap(), b"choice");
                    }
                }
            }
        }
    }
}
