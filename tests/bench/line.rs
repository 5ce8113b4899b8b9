//! What is printed: one JSON object a measure.

use std::fs;

use serde_json::{Map, Value, json};

use crate::samples::{Samples, median};

/// A measure that was taken.
pub(crate) struct Line {
    fields: Map<String, Value>,
    value: f64,
}

impl Line {
    /// `value` in `unit`.
    pub(crate) fn value(name: &str, unit: &str, value: f64) -> Self {
        let mut fields = Map::new();
        fields.insert("name".into(), name.into());
        fields.insert("unit".into(), unit.into());
        fields.insert("value".into(), rounded(value));
        Self { fields, value }
    }

    /// The median of `samples` in milliseconds.
    pub(crate) fn millis(name: &str, samples: &Samples) -> Self {
        Self::value(name, "ms", samples.median())
            .with("p50", rounded(samples.median()))
            .with("p99", rounded(samples.percentile(99)))
            .with("samples", samples.len().into())
    }

    /// The median of `samples` in microseconds.
    pub(crate) fn micros(name: &str, samples: &Samples) -> Self {
        Self::value(name, "us", samples.median() * 1e3)
            .with("p50", rounded(samples.median() * 1e3))
            .with("p99", rounded(samples.percentile(99) * 1e3))
            .with("samples", samples.len().into())
    }

    /// A target that the value should not exceed.
    pub(crate) fn at_most(self, target: f64) -> Self {
        let met = self.value <= target;
        self.with("target", json!({ "at_most": target })).with("met", met.into())
    }

    /// A target that the value should reach.
    pub(crate) fn at_least(self, target: f64) -> Self {
        let met = self.value >= target;
        self.with("target", json!({ "at_least": target })).with("met", met.into())
    }

    /// What the value is to be seen beside, in the same unit.
    pub(crate) fn baseline(self, name: &str, value: f64) -> Self {
        let ratio = if value > 0.0 { self.value / value } else { 0.0 };
        self.with("baseline", json!({ "name": name, "value": rounded(value) }))
            .with("ratio", rounded(ratio))
    }

    /// A baseline that was taken in turns with it: what counts is the median of
    /// the ratios of all turns, for the machine is not equally fast in any two.
    pub(crate) fn in_turns_with(self, name: &str, baseline: f64, ratios: &[f64]) -> Self {
        let list = ratios.iter().map(|ratio| rounded(*ratio)).collect();
        self.with("baseline", json!({ "name": name, "value": rounded(baseline) }))
            .with_number("ratio", median(ratios))
            .with("ratios", list)
    }

    /// A target that the ratio of [`Self::in_turns_with`] should reach.
    pub(crate) fn ratio_at_least(self, target: f64) -> Self {
        let ratio = self.fields.get("ratio").and_then(Value::as_f64).unwrap_or_default();
        self.with("target", json!({ "ratio_at_least": target }))
            .with("met", (ratio >= target).into())
    }

    /// All values that it is the median of.
    pub(crate) fn with_all(self, values: &[f64]) -> Self {
        self.with("values", values.iter().map(|value| rounded(*value)).collect())
    }

    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.into(), value);
        self
    }

    pub(crate) fn with_number(self, field: &str, value: f64) -> Self {
        self.with(field, rounded(value))
    }

    /// The text of the line, with the load of the machine as it was printed.
    pub(crate) fn finish(self) -> String {
        Value::Object(self.with_number("load1", load1()).fields).to_string()
    }
}

/// The machine and its load: the first line.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "name": "machine", "cores": cores, "cpu": model, "kernel": kernel.trim(),
        "release": !cfg!(debug_assertions), "load1": rounded(load1()),
    })
    .to_string()
}

/// The load average of the last minute.
fn load1() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// Four digits are more than any measurement here is worth.
fn rounded(value: f64) -> Value {
    let digits = 4.0 - value.abs().max(1e-9).log10().ceil();
    let scale = 10_f64.powf(digits.clamp(0.0, 9.0));
    json!((value * scale).round() / scale)
}
