//! Prometheus' text format, as far as it is ours.

/// A sample: a name, its labels as they stand there, and its value.
#[derive(Debug, Clone, PartialEq)]
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

/// What one process tells at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics(String);

impl Metrics {
    pub(super) fn read(text: String) -> Self {
        Self(text)
    }

    fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| {
            let (head, value) = line.rsplit_once(' ')?;
            let (name, labels) = head.split_once('{').map_or((head, ""), |(name, labels)| {
                (name, labels.trim_end_matches('}'))
            });
            Some(Sample {
                name,
                labels,
                value: value.parse().ok()?,
            })
        })
    }

    fn of<'a>(&'a self, name: &'a str, label: &'a str) -> impl Iterator<Item = Sample<'a>> {
        self.samples()
            .filter(move |s| s.name == name && (label.is_empty() || s.labels.contains(label)))
    }

    /// Of all labels; `label` (`outcome="stored"`) is what they must have.
    pub(super) fn sum(&self, name: &str, label: &str) -> f64 {
        self.of(name, label).map(|s| s.value).sum()
    }

    /// The same; none if there is none.
    pub(super) fn max(&self, name: &str) -> Option<f64> {
        self.of(name, "").map(|s| s.value).reduce(f64::max)
    }

    /// The values of `label`, each with the sum of its samples; nothing that is 0.
    pub(super) fn by(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let mut found: Vec<(String, f64)> = Vec::new();
        for sample in self.of(name, "").filter(|s| s.value > 0.0) {
            let Some(value) = label_of(sample.labels, label) else {
                continue;
            };
            match found.iter_mut().find(|(v, _)| v == value) {
                Some((_, sum)) => *sum += sample.value,
                None => found.push((value.to_owned(), sample.value)),
            }
        }
        found
    }
}

fn label_of<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{label}=\""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_their_labels() {
        let metrics = Metrics::read(
            "# HELP a b\n# TYPE a counter\na{stream=\"s\",outcome=\"stored\"} 3\na{stream=\"t\",outcome=\"stored\"} 4\na{stream=\"t\",outcome=\"refused\"} 5\n\nlag{p=\"0\"} 7\nlag{p=\"1\"} 9.5\n"
                .to_owned(),
        );
        assert_eq!(metrics.sum("a", ""), 12.0);
        assert_eq!(metrics.sum("a", "outcome=\"stored\""), 7.0);
        assert_eq!(metrics.sum("nothing", ""), 0.0);
        assert_eq!(metrics.max("lag"), Some(9.5));
        assert_eq!(metrics.max("nothing"), None);
        let by = metrics.by("a", "stream");
        assert_eq!(by, [("s".to_owned(), 3.0), ("t".to_owned(), 9.0)]);
    }
}
