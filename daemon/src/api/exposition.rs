//! The text format of Prometheus (version 0.0.4): families of samples.

use core::fmt::{Display, Write as _};

/// What an answer in this format calls itself.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Label names and values of a sample.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Text that grows family by family.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// What may be done with a family's values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    /// It goes up and down.
    Gauge,
    /// It only grows, from 0 at the daemon's start; its name ends in `_total`.
    Counter,
}

impl Exposition {
    /// Begins a family; [`Self::sample`] gives its values.
    pub(super) fn family(&mut self, name: &str, of: Type, help: &str) {
        let of = match of {
            Type::Gauge => "gauge",
            Type::Counter => "counter",
        };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {of}\n"));
    }

    /// One value of the family begun last.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            self.line(format_args!("{before}{label}=\"{}\"", escaped(text)));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}\n"));
    }

    /// A family with one value.
    pub(super) fn single(&mut self, name: &str, of: Type, help: &str, value: impl Display) {
        self.family(name, of, help);
        self.sample(name, &[], value);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, text: core::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _: core::fmt::Result = self.0.write_fmt(text);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();

        out.family("a_total", Type::Counter, "What it counts.");
        out.sample("a_total", &[("x", "1"), ("y", "a\"b\\\n")], 7);
        out.single("b", Type::Gauge, "What it is.", 0.5);

        let wanted = "# HELP a_total What it counts.\n# TYPE a_total counter\n\
                      a_total{x=\"1\",y=\"a\\\"b\\\\\\n\"} 7\n\
                      # HELP b What it is.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(out.into_text(), wanted);
    }
}
