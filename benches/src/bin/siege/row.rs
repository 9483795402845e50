//! One line of the table.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{attack::End, good::Felt};

/// What a kind came to.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) ends: Vec<End>,
    pub(crate) good: Felt,
    /// The gateway's resident bytes before.
    pub(crate) before: Option<u64>,
    pub(crate) peak: Option<u64>,
}

impl Row {
    /// The lines above.
    pub(crate) fn head() -> String {
        format!(
            "{:29}{:>7}{:>6}{:>9}{:>7}  {:26}{:>9}{:>7}{:>9}{:>9}{:>9}{:>8}{:>8}\n\
             {:29}{:>7}{:>6}{:>9}{:>7}  {:26}{:>9}{:>7}{:>9}{:>9}{:>9}{:>8}{:>8}",
            "",
            "",
            "",
            "closed",
            "MB",
            "",
            "good",
            "",
            "p50",
            "p99",
            "max",
            "MiB",
            "MiB", //
            "kind",
            "conns",
            "held",
            "after, s",
            "sent",
            "told",
            "requests",
            "failed",
            "ms",
            "ms",
            "ms",
            "before",
            "peak",
        )
    }

    /// Seconds, of those connections that the gateway has closed.
    fn closed_after(&self) -> Option<Duration> {
        let mut closed: Vec<_> = self.ends.iter().filter_map(|end| end.closed).collect();
        closed.sort_unstable();
        closed.get(closed.len() / 2).copied()
    }

    /// The most frequent last word, and whether there were others.
    fn told(&self) -> String {
        let mut words: BTreeMap<_, usize> = BTreeMap::new();
        for end in &self.ends {
            *words.entry(end.told()).or_default() += 1;
        }
        let others = if words.len() > 1 { " …" } else { "" };
        let most = words.into_iter().max_by_key(|(_, times)| *times);
        most.map_or_else(String::new, |(word, _)| word + others)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self
            .ends
            .iter()
            .filter(|end| !end.is_refused && end.closed.is_none())
            .count();
        let sent: u64 = self.ends.iter().map(|end| end.sent).sum();
        let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
        let mib = |bytes: Option<u64>| {
            bytes.map_or("–".into(), |b| format!("{:.1}", b as f64 / 1048576.0))
        };
        let ms = |micros: u64| format!("{:.1}", micros as f64 / 1e3);
        let times = &self.good.times;
        write!(
            f,
            "{:29}{:>7}{:>6}{:>9}{:>7.1}  {:26}{:>9}{:>7}{:>9}{:>9}{:>9}{:>8}{:>8}",
            self.name,
            self.ends.len(),
            held,
            self.closed_after().map_or("–".into(), seconds),
            sent as f64 / 1e6,
            self.told(),
            times.len(),
            self.good.failed,
            ms(times.value_at_quantile(0.5)),
            ms(times.value_at_quantile(0.99)),
            ms(times.max()),
            mib(self.before),
            mib(self.peak.max(self.before)),
        )
    }
}
