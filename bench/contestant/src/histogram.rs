//! Latencies, counted by tasks at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Each power of two is cut into so many parts: a value is kept to within 1 %.
const PARTS: u64 = 64;
const BITS: u32 = PARTS.trailing_zeros();
/// Enough for half an hour in microseconds.
const OCTAVES: usize = 26;

/// Counts of microseconds by size.
pub(crate) struct Histogram(Vec<AtomicU64>);

impl Default for Histogram {
    fn default() -> Self {
        Self((0..OCTAVES * PARTS as usize).map(|_| AtomicU64::new(0)).collect())
    }
}

/// The place of a value: itself where it is small, then its octave and its leading bits.
fn place(micros: u64) -> usize {
    let octave = u64::BITS.saturating_sub(BITS + 1 + micros.leading_zeros());
    (u64::from(octave) * PARTS + (micros >> octave)) as usize
}

/// The middle of the values that have that place.
fn middle(place: usize) -> f64 {
    let octave = (place as u64 / PARTS).saturating_sub(1);
    let least = (place as u64 - octave * PARTS) << octave;
    least as f64 + ((1_u64 << octave) - 1) as f64 / 2.0
}

impl Histogram {
    pub(crate) fn add(&self, micros: u64) {
        let place = place(micros).min(self.0.len() - 1);
        self.0[place].fetch_add(1, Ordering::Relaxed);
    }

    /// The value below which a share of all lie, in milliseconds; nothing where there are none.
    pub(crate) fn at(&self, share: f64) -> Option<f64> {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let rank = (all.saturating_sub(1) as f64 * share) as u64;
        let mut below = 0;
        let found = counts.iter().position(|count| {
            below += count;
            below > rank
        });
        found.map(|place| middle(place) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_to_within_a_hundredth() {
        for micros in (0..500).chain((9..31).map(|bits| (1 << bits) + 12_345 % (1 << bits))) {
            let kept = middle(place(micros));
            assert!((kept - micros as f64).abs() <= micros as f64 / 100.0, "{micros}: {kept}");
        }
    }

    #[test]
    fn shares_are_found() {
        let histogram = Histogram::default();
        assert_eq!(histogram.at(0.5), None);
        for micros in 1..=1_000 {
            histogram.add(micros);
        }
        let near = |share, wanted: f64| {
            let found = histogram.at(share).unwrap();
            assert!((found - wanted).abs() < wanted / 50.0, "{found} is not {wanted}");
        };
        near(0.5, 0.5);
        near(0.99, 0.99);
        near(0.999, 0.999);
        // What is larger than all places counts as the largest.
        histogram.add(u64::MAX);
        assert!(histogram.at(1.0).unwrap() > 1e6);
    }
}
