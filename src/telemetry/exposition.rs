//! Writes the Prometheus text format (version 0.0.4).

use std::fmt::{Display, Write};

use super::cells::Reading;

/// The media type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics as text.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// One metric, to which samples are added.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // Writing to a string cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text: &mut self.0, name }
    }
}

impl Family<'_> {
    /// One number.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// All numbers of a histogram.
    pub(super) fn reading(&mut self, labels: &[(&str, &str)], reading: &Reading) {
        for (bound, count) in &reading.buckets {
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            self.line("_bucket", labels, Some(&bound), count);
        }
        self.line("_sum", labels, None, reading.sum);
        self.line("_count", labels, None, reading.buckets.last().map_or(0, |bucket| bucket.1));
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let bound = bound.map(|bound| ("le", bound));
        for (number, (name, value)) in labels.iter().copied().chain(bound).enumerate() {
            self.text.push(if number == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{name}=\"");
            value.chars().for_each(|character| match character {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            });
            self.text.push('"');
        }
        let end = if labels.is_empty() && bound.is_none() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_text_format() {
        let mut exposition = Exposition::default();
        exposition.counter("a_total", "What it is.").sample(&[("x", "q\"\\\n"), ("y", "")], 7);
        exposition.gauge("b", "Other.").sample(&[], 0.5);
        let reading = Reading { buckets: vec![(0.005, 1), (f64::INFINITY, 2)], sum: 1.5 };
        exposition.histogram("c_seconds", "Third.").reading(&[("x", "1")], &reading);
        assert_eq!(
            exposition.into_text(),
            "# HELP a_total What it is.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\",y=\"\"} 7\n\
             # HELP b Other.\n# TYPE b gauge\nb 0.5\n\
             # HELP c_seconds Third.\n# TYPE c_seconds histogram\nc_seconds_bucket{x=\"1\",le=\"0.005\"} 1\n\
             c_seconds_bucket{x=\"1\",le=\"+Inf\"} 2\nc_seconds_sum{x=\"1\"} 1.5\nc_seconds_count{x=\"1\"} 2\n"
        );
    }
}
