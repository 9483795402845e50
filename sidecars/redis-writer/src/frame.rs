//! From what a gateway sent to what the ledger takes. Nothing here waits or fails as a whole: what
//! cannot be counted is left out and named, for the consumer settles it anyway.

use aguacero::{
    config::{Config, Stream},
    counts::{Counts, Deltas},
    ledger::{END, Entry, Position},
};
use aguacero_proto::deltas::{CounterDeltas, DeltaFrame, Entry as RawEntry, StreamDeltas};

use crate::problem::Problem;

/// Kinds of problems that one acknowledgement tells about.
const PROBLEMS_MAX: usize = 32;

/// A frame whose every entry can be counted.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub(crate) sequence: u64,
    /// For each stream (its position in the configuration), once, what to add.
    pub(crate) parts: Vec<(usize, Vec<Entry>)>,
    /// Why the rest was left out.
    pub(crate) problems: Vec<Problem>,
}

impl Frame {
    pub(crate) fn check(config: &Config, raw: DeltaFrame) -> Self {
        let mut frame = Self {
            sequence: raw.sequence,
            ..Self::default()
        };
        for deltas in raw.streams {
            match frame.stream(config, deltas) {
                Ok(()) => {}
                Err(problem) => frame.refuse(problem),
            }
        }
        frame
    }

    fn refuse(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn stream(&mut self, config: &Config, raw: StreamDeltas) -> Result<(), Problem> {
        let Some(stream) = config.stream(&raw.stream) else {
            return Err(Problem::unknown_stream(&raw.stream));
        };
        if raw.counters_fingerprint != stream.counters_fingerprint {
            return Err(Problem::fingerprint(stream, raw.counters_fingerprint));
        }
        let mut entries = Vec::with_capacity(raw.entries.len());
        for raw in raw.entries {
            match entry(stream, raw) {
                Ok(entry) => entries.push(entry),
                Err(why) => self.refuse(Problem::entry(stream, why)),
            }
        }
        // A second part would be taken for a repetition of the first.
        match self
            .parts
            .iter_mut()
            .find(|(index, _)| *index == stream.index)
        {
            Some((_, earlier)) => earlier.append(&mut entries),
            None => self.parts.push((stream.index, entries)),
        }
        Ok(())
    }
}

fn entry(stream: &Stream, raw: RawEntry) -> Result<Entry, &'static str> {
    if raw.incarnation.is_empty() || raw.partition < 0 {
        return Err("which partition of which topic it belongs to is not said");
    }
    if raw.first < 0 || raw.first > raw.last || raw.last > END {
        return Err("its offsets are none");
    }
    if raw.events > (raw.last - raw.first + 1).unsigned_abs() {
        return Err("it has more events than offsets");
    }
    let mut deltas = Deltas::none(stream);
    deltas.events = raw.events;
    for counter in raw.counters {
        let declared = stream
            .counters
            .iter()
            .position(|declared| declared.name == counter.counter);
        let into = declared.and_then(|i| deltas.counters.get_mut(i));
        add(
            into.ok_or("it has a counter that is not declared")?,
            counter,
            raw.events,
        )?;
    }
    Ok(Entry {
        position: Position {
            incarnation: raw.incarnation,
            partition: raw.partition,
        },
        first: raw.first,
        last: raw.last,
        deltas,
    })
}

/// Adds one counter's deltas. An event counts once, under one key, or not at all.
fn add(into: &mut Counts, raw: CounterDeltas, events: u64) -> Result<(), &'static str> {
    if raw.keys.len() != raw.counts.len() {
        return Err("a counter has not as many counts as keys");
    }
    let counted = raw.counts.iter().chain(into.values());
    let counted = counted.fold(0_u64, |sum, n| sum.saturating_add(*n));
    if counted > events {
        return Err("a counter has more counts than there are events");
    }
    for (key, n) in raw.keys.into_iter().zip(raw.counts) {
        if n > 0 {
            *into.entry(key).or_default() += n;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = r#"
            [topics.messages]
            partitions = 1
            [streams.weather]
            topic = "messages"
            fields = [{ name = "country", type = "string" }]
            counters = [{ name = "by_country", by = ["country"], max_distinct = 10 }]
            [[streams.weather.routes]]
            path = "/input"
            [streams.empty]
            topic = "messages"
            [[streams.empty.routes]]
            path = "/empty"
        "#;
        Config::parse(text, "test", []).expect("no mistakes")
    }

    fn raw_entry() -> RawEntry {
        RawEntry {
            incarnation: "topic".to_owned(),
            partition: 0,
            first: 5,
            last: 9,
            events: 3,
            counters: vec![CounterDeltas {
                counter: "by_country".to_owned(),
                keys: vec!["Perú".to_owned(), "Chile".to_owned()],
                counts: vec![2, 1],
            }],
        }
    }

    fn of_weather(config: &Config, entries: Vec<RawEntry>) -> StreamDeltas {
        let counters_fingerprint = config.streams[0].counters_fingerprint;
        StreamDeltas {
            stream: "weather".to_owned(),
            counters_fingerprint,
            entries,
        }
    }

    fn check(config: &Config, streams: Vec<StreamDeltas>) -> Frame {
        Frame::check(
            config,
            DeltaFrame {
                sequence: 1,
                streams,
            },
        )
    }

    #[test]
    fn what_is_wrong_in_an_entry_leaves_out_that_entry_alone() {
        let config = config();
        let wrong: [fn(&mut RawEntry); 12] = [
            |e| e.incarnation.clear(),
            |e| e.partition = -1,
            |e| e.first = -1,
            |e| e.last = 4,
            |e| e.last = END + 1,
            |e| e.events = 6,
            |e| e.events = 2,
            |e| e.counters[0].counter.push('x'),
            |e| e.counters[0].counts = vec![3],
            |e| e.counters[0].counts = vec![u64::MAX, u64::MAX],
            |e| e.counters[0].counts = vec![2, 2],
            |e| e.counters.push(e.counters[0].clone()),
        ];
        for (i, spoil) in wrong.into_iter().enumerate() {
            let mut spoilt = raw_entry();
            spoil(&mut spoilt);
            let frame = check(
                &config,
                vec![of_weather(&config, vec![raw_entry(), spoilt, raw_entry()])],
            );
            assert_eq!(
                (frame.parts[0].1.len(), frame.problems.len()),
                (2, 1),
                "{i}"
            );
        }
    }

    #[test]
    fn a_stream_that_is_refused_does_not_take_the_others_with_it() {
        let config = config();
        let mut unknown = of_weather(&config, vec![raw_entry()]);
        unknown.stream = "wether".to_owned();
        let mut other = of_weather(&config, vec![raw_entry()]);
        other.counters_fingerprint ^= 1;
        let frame = check(
            &config,
            vec![unknown, other, of_weather(&config, vec![raw_entry()])],
        );
        assert_eq!((frame.parts.len(), frame.problems.len()), (1, 2));
        let texts: Vec<_> = frame.problems.iter().map(ToString::to_string).collect();
        assert!(
            texts[0].contains("wether") && texts[1].contains("weather"),
            "{texts:?}"
        );
    }

    #[test]
    fn what_is_told_about_a_frame_is_bounded() {
        let config = config();
        let unknown = |i: usize| StreamDeltas {
            stream: format!("{}{}", i % 1000, "x".repeat(1000)),
            ..StreamDeltas::default()
        };
        let frame = check(&config, (0..5000).map(unknown).collect());
        let told: usize = frame.problems.iter().map(|p| p.to_string().len()).sum();
        assert_eq!(frame.problems.len(), PROBLEMS_MAX);
        assert!(told < 200 * PROBLEMS_MAX, "{told}");
    }

    #[test]
    fn a_stream_that_is_named_twice_becomes_one_part() {
        let config = config();
        let twice = vec![
            of_weather(&config, vec![raw_entry()]),
            of_weather(&config, vec![raw_entry()]),
        ];
        let frame = check(&config, twice);
        assert_eq!((frame.parts.len(), frame.parts[0].1.len()), (1, 2));
    }

    #[test]
    fn a_key_that_is_named_twice_counts_both() {
        let config = config();
        let mut raw = raw_entry();
        raw.counters[0].keys = vec!["a".to_owned(), "a".to_owned()];
        let frame = check(&config, vec![of_weather(&config, vec![raw])]);
        let expected = Counts::from_iter([("a".to_owned(), 3)]);
        assert_eq!(frame.parts[0].1[0].deltas.counters, [expected]);
    }
}
