//! What a soak compares: its first quarter with its last.

use windlass_checker::Sample;

/// How much more memory the worker that lives through it may have at the end. Allocators keep a little of each peak.
const MEMORY: f64 = 1.25;
/// A growth of no more than so many MiB is none.
const MEMORY_FLOOR: f64 = 8.0;
/// How much longer jobs may wait at the end.
const PICKUP: f64 = 2.0;
/// Jobs that wait no longer than so many milliseconds wait as they may.
const PICKUP_FLOOR: f64 = 1_000.0;

/// Something that is measured all along.
struct Measure {
    name: &'static str,
    of: fn(&Sample) -> Option<f64>,
}

const STEADY: Measure =
    Measure { name: "memory of a worker that lives through it (MiB)", of: |sample| sample.steady };
const P50: Measure =
    Measure { name: "acknowledgement to claim, median (ms)", of: |sample| sample.pickup_p50 };
const P99: Measure =
    Measure { name: "acknowledgement to claim, p99 (ms)", of: |sample| sample.pickup_p99 };

impl Measure {
    /// The middle of what was measured in the first quarter and in the last.
    fn quarters(&self, samples: &[Sample]) -> [Option<f64>; 2] {
        let quarter = samples.len() / 4;
        [&samples[..quarter], &samples[samples.len() - quarter..]].map(|samples| {
            let mut values: Vec<f64> = samples.iter().filter_map(self.of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        })
    }

    fn row(&self, samples: &[Sample]) -> String {
        let text =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
        let [first, last] = self.quarters(samples).map(text);
        format!("| {} | {first} | {last} |\n", self.name)
    }

    /// Why this is no steady state.
    fn error(
        &self,
        samples: &[Sample],
        most: f64,
        allowed: fn(f64, f64) -> bool,
    ) -> Option<String> {
        let [Some(first), Some(last)] = self.quarters(samples) else {
            return Some(format!("it was too short to compare its quarters: no {}", self.name));
        };
        let grew = last > first * most && !allowed(first, last);
        grew.then(|| {
            let name = self.name;
            format!("{name} went from {first:.1} to {last:.1}, which is above {most} times as much")
        })
    }
}

/// The quarters side by side; none of a run that is no soak, or too short.
pub(super) fn table(samples: &[Sample]) -> Option<String> {
    if samples.len() < 4 || samples.iter().all(|sample| sample.steady.is_none()) {
        return None;
    }
    let rows: String = [STEADY, P50, P99].iter().map(|one| one.row(samples)).collect();
    Some(format!("\n| median | first quarter | last quarter |\n|---|--:|--:|\n{rows}"))
}

/// Why it shows no steady state.
pub(super) fn errors(samples: &[Sample]) -> Vec<String> {
    let memory = STEADY.error(samples, MEMORY, |first, last| last - first <= MEMORY_FLOOR);
    let pickup = P99.error(samples, PICKUP, |_, last| last <= PICKUP_FLOOR);
    memory.into_iter().chain(pickup).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight samples: the first two, the last two, and others between.
    fn samples(steady: [f64; 2], pickup: [f64; 2]) -> Vec<Sample> {
        let sample = |at: usize| {
            let (steady, pickup_p99) = (Some(steady[at]), Some(pickup[at]));
            Sample { steady, pickup_p99, ..Sample::default() }
        };
        let between = Sample { steady: Some(500.0), ..Sample::default() };
        vec![sample(0), sample(0), between, between, between, between, sample(1), sample(1)]
    }

    #[test]
    fn a_soak_compares_its_quarters() {
        let text = table(&samples([1.0, 9.0], [70.0, 80.0])).unwrap();
        assert!(text.contains("through it (MiB) | 1.0 | 9.0 |"), "{text}");
        assert!(text.contains("p99 (ms) | 70.0 | 80.0 |"), "{text}");
        assert!(text.contains("median (ms) | – | – |"), "{text}");
        assert_eq!(table(&[Sample::default(); 8]), None);
    }

    #[test]
    fn a_soak_that_grows_is_an_error() {
        let of = |steady, pickup| errors(&samples(steady, pickup)).len();
        assert_eq!(of([100.0, 124.0], [900.0, 1_700.0]), 0);
        assert_eq!(of([100.0, 130.0], [900.0, 1_700.0]), 1);
        assert_eq!(of([100.0, 124.0], [900.0, 1_900.0]), 1);
        // Little is not told from nothing.
        assert_eq!(of([20.0, 27.0], [50.0, 900.0]), 0);
        assert_eq!(of([20.0, 29.0], [50.0, 1_100.0]), 2);
    }

    #[test]
    fn a_soak_that_measures_nothing_is_an_error() {
        assert_eq!(errors(&[]).len(), 2);
        assert_eq!(errors(&[Sample::default(); 8]).len(), 2);
    }
}
