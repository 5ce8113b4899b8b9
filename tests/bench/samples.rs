//! Many measurements of one thing.

use std::time::{Duration, Instant};

/// Measurements in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    pub(crate) fn since(&mut self, started: Instant) {
        self.push(started.elapsed());
    }

    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// By the nearest rank; 0 if nothing was measured.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.0, percent)
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }
}

/// Of numbers of any kind; 0 if there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
