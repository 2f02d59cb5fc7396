//! How long something takes, again and again: counted by length, in steps of an eighth of an octave, so that nothing but
//! counts is kept and nobody waits for a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::sharded::Sharded;

/// Steps in an octave, as bits.
const FINENESS: u32 = 3;
const STEPS: usize = 1 << FINENESS;
/// As many as lengths of up to twelve days take, in microseconds.
const BUCKETS: usize = (40 - FINENESS as usize) * STEPS + STEPS;
/// The parts of all that are told of.
pub(crate) const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Counts of lengths of time.
pub(crate) struct Times {
    buckets: [AtomicU64; BUCKETS],
    micros: Sharded,
    shortest: AtomicU64,
    longest: AtomicU64,
}

/// What [`Times`] say, in milliseconds. Without any, all is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timing {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
    pub(crate) stddev: f64,
    /// For each of [`QUANTILES`], what that part of all did not take longer than.
    pub(crate) quantiles: [f64; 3],
}

impl Default for Times {
    fn default() -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { buckets, micros: Sharded::default(), shortest: AtomicU64::new(u64::MAX), longest: AtomicU64::new(0) }
    }
}

impl Times {
    pub(crate) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(index(micros)).or(self.buckets.last()) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.add(micros);
        // Few are the longest or the shortest so far, and reading costs less than writing.
        if micros > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(micros, Ordering::Relaxed);
        }
        if micros < self.shortest.load(Ordering::Relaxed) {
            self.shortest.fetch_min(micros, Ordering::Relaxed);
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count = counts.iter().sum();
        if count == 0 {
            return Timing::default();
        }
        let sum = self.micros.sum() as f64 / 1000.0;
        let mean = sum / count as f64;
        let lengths = || (0..).zip(&counts).map(|(index, count)| (middle(index), *count as f64));
        let variance: f64 = lengths().map(|(length, times)| (length - mean).powi(2) * times).sum();
        let (min, max) = (self.shortest.load(Ordering::Relaxed), self.longest.load(Ordering::Relaxed));
        let (min, max) = (min as f64 / 1000.0, max as f64 / 1000.0);
        let quantile = |part: f64| {
            let mut wanted = part * count as f64;
            let reached = |(_, times): &(f64, f64)| {
                wanted -= times;
                wanted <= 0.0
            };
            lengths().find(reached).map_or(max, |(length, _)| length.clamp(min, max))
        };
        let stddev = (variance / count as f64).sqrt();
        Timing { count, sum, min, max, mean, stddev, quantiles: QUANTILES.map(quantile) }
    }
}

fn index(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return usize::try_from(micros).unwrap_or_default();
    }
    let octave = micros.ilog2() - FINENESS;
    // Between once and twice the number of steps.
    let step = usize::try_from(micros >> octave).unwrap_or_default();
    octave as usize * STEPS + step
}

/// The middle of what is counted together, in milliseconds.
fn middle(index: usize) -> f64 {
    let micros = match index.checked_sub(STEPS) {
        None => index as f64,
        Some(rest) => {
            let width = 2_f64.powi(i32::try_from(rest / STEPS).unwrap_or(i32::MAX));
            ((STEPS + rest % STEPS) as f64 + 0.5) * width - 0.5
        }
    };
    micros / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_found_again_within_a_sixteenth() {
        for micros in [0, 1, 7, 8, 9, 15, 16, 17, 100, 1000, 12_345, 999_999, 90_000_000, 1 << 39] {
            let found = middle(index(micros)) * 1000.0;
            assert!((found - micros as f64).abs() <= micros as f64 / 16.0 + 0.5, "{micros}: {found}");
        }
        assert!(index(1 << 39) < BUCKETS);
        let indices: Vec<_> = (0..100_000).map(index).collect();
        assert!(indices.is_sorted() && indices.windows(2).all(|pair| matches!(pair, [a, b] if b - a <= 1)));
    }

    #[test]
    fn what_was_timed_is_told_in_milliseconds() {
        let times = Times::default();
        assert_eq!(times.timing(), Timing::default());
        for millis in 1..=100 {
            times.add(Duration::from_millis(millis));
        }
        times.add(Duration::MAX);
        let timing = times.timing();
        assert_eq!((timing.count, timing.min), (101, 1.0));
        let times = Times::default();
        (1..=100).for_each(|millis| times.add(Duration::from_millis(millis)));
        let timing = times.timing();
        assert_eq!((timing.count, timing.sum, timing.mean), (100, 5050.0, 50.5));
        assert_eq!((timing.min, timing.max), (1.0, 100.0));
        for (found, expected) in timing.quantiles.iter().chain([&timing.stddev]).zip([50.0, 90.0, 99.0, 28.87]) {
            assert!((found - expected).abs() < expected / 15.0, "{timing:?}");
        }
    }
}
