use std::collections::HashSet;

use aguacero::{config::Config, id::EventId, ledger::Position};
use bson::{doc, rawdoc};

use super::*;
use crate::decode::dead_letter::Reason;

fn source() -> Source {
    Source {
        topic: 0,
        position: Position {
            incarnation: "i".into(),
            partition: 3,
        },
        epoch: 1,
    }
}

/// An event at `offset` with an id and a value that stand for themselves.
fn event(offset: i64, id: u8, value: u8) -> Event {
    let document = rawdoc! { "value": i32::from(value) };
    Event {
        record: 0,
        offset,
        stream: 0,
        id: EventId([id; 16]),
        hash: [value; 16],
        document,
    }
}

fn stored(offset: i64, value: u8) -> Stored {
    let hash = Some(vec![value; 16]);
    Stored {
        hash,
        stream: "s".into(),
        incarnation: "i".into(),
        partition: 3,
        offset,
    }
}

fn judged(events: &[Event], held: &[Option<Held>]) -> Archived {
    judged_by("", events, held, &[])
}

/// With this line more in the stream, where the events `equal` say the same as what is stored.
fn judged_by(line: &str, events: &[Event], held: &[Option<Held>], equal: &[usize]) -> Archived {
    let toml = format!(
        "[topics.t]\npartitions = 4\nreplication = 1\nmin_insync = 1\n\
         [streams.s]\ntopic = \"t\"\naccess = \"open\"\n{line}\n\
         [[streams.s.routes]]\npath = \"/s\"\n"
    );
    let config = Config::parse(&toml, "test", []).unwrap_or_else(|e| panic!("{e}"));
    let first_of = |e: &Event| events.iter().position(|other| other.id == e.id).unwrap();
    let first: Vec<_> = events.iter().map(first_of).collect();
    let batch = Batch {
        streams: &config.streams,
        source: &source(),
        events,
        first: &first,
        held,
        equal: &equal.iter().copied().collect::<HashSet<_>>(),
    };
    batch.archived()
}

fn other(stored: Stored) -> Option<Held> {
    Some(Held::Other(Box::new(stored)))
}

#[test]
fn within_a_batch_the_first_is_new_and_the_others_are_repeats_or_conflicts() {
    let events = [
        event(5, 1, 1),
        event(6, 1, 1),
        event(7, 1, 2),
        event(8, 2, 1),
    ];
    let archived = judged(&events, &[Some(Held::Ours), None, None, Some(Held::Ours)]);
    assert_eq!(
        archived.outcomes,
        [
            EventOutcome::New,
            EventOutcome::Repeat,
            EventOutcome::Conflict,
            EventOutcome::New
        ]
    );
    assert_eq!(archived.placed, [(0, 5), (3, 8)]);
    assert_eq!(archived.unmatched, None);
}

#[test]
fn what_was_stored_from_this_partition_counts_where_it_was_stored() {
    let events = [event(5, 1, 1), event(6, 2, 1), event(7, 3, 1)];
    let elsewhere = Stored {
        partition: 4,
        ..stored(9, 1)
    };
    let another = Stored {
        stream: "z".into(),
        ..stored(9, 1)
    };
    let held = [stored(5, 1), elsewhere, another].map(other);
    let archived = judged(&events, &held);
    assert_eq!(archived.outcomes, [EventOutcome::Repeat; 3]);
    assert_eq!(archived.placed, [(0, 5)]);
    // Of another stream, so it counts there and has no part in this stream's figures.
    assert_eq!(archived.unmatched, Some(9));
}

#[test]
fn a_document_that_no_event_of_the_batch_equals_is_left_to_a_query() {
    let events = [event(5, 1, 1), event(6, 1, 2), event(8, 2, 1)];
    let archived = judged(&events, &[other(stored(6, 2)), None, other(stored(7, 9))]);
    // The one at 5 is not what is stored; the one at 6 is.
    assert_eq!(
        archived.outcomes,
        [
            EventOutcome::Conflict,
            EventOutcome::Repeat,
            EventOutcome::Conflict
        ]
    );
    assert_eq!(archived.placed, [(1, 6)]);
    assert_eq!(archived.unmatched, Some(7));
}

#[test]
fn a_document_of_somebody_else_under_the_same_id_is_a_conflict() {
    let foreign = Stored::read(&doc! { "_id": 1, "a": 2 });
    // Whatever is declared: it is no event, and the first one is not to be lost.
    for line in ["", "on_id_conflict = \"first\""] {
        let archived = judged_by(line, &[event(5, 1, 1)], &[other(foreign.clone())], &[]);
        assert_eq!(archived.outcomes, [EventOutcome::Conflict]);
        assert_eq!((archived.placed, archived.unmatched), (vec![], None));
    }
}

#[test]
fn equal_values_in_other_bytes_are_repeats_and_counted_where_they_are_stored() {
    let spaced = |mut event: Event| {
        event.hash = [99; 16];
        event
    };
    let events = [
        event(5, 1, 1),
        spaced(event(6, 1, 1)),
        spaced(event(7, 2, 1)),
        event(8, 3, 4),
    ];
    let held = [
        Some(Held::Ours),
        None,
        other(stored(2, 1)),
        other(stored(3, 1)),
    ];
    let archived = judged_by("", &events, &held, &[2]);
    let outcomes = [
        EventOutcome::New,
        EventOutcome::Repeat,
        EventOutcome::Repeat,
        EventOutcome::Conflict,
    ];
    assert_eq!(archived.outcomes, outcomes);
    assert_eq!(archived.placed, [(0, 5), (2, 2)]);
    assert_eq!(archived.unmatched, Some(3));
}

#[test]
fn where_the_first_alone_is_wanted_others_are_no_conflicts() {
    let events = [event(5, 1, 1), event(6, 1, 2), event(7, 2, 1)];
    let held = [Some(Held::Ours), None, other(stored(2, 9))];
    let archived = judged_by("on_id_conflict = \"first\"", &events, &held, &[]);
    let outcomes = [
        EventOutcome::New,
        EventOutcome::NotFirst,
        EventOutcome::NotFirst,
    ];
    assert_eq!(archived.outcomes, outcomes);
    assert_eq!(
        (archived.placed, archived.unmatched),
        (vec![(0, 5)], Some(2))
    );
}

#[test]
fn another_value_under_the_id_of_a_refused_event_is_judged_by_its_own_attempt() {
    let refusal = Refusal::unfit("why", None);
    let refused = || Some(Held::Refused(Box::new(refusal.clone())));
    let events = [
        event(5, 1, 1),
        event(6, 1, 1),
        event(7, 1, 2),
        event(8, 1, 2),
        event(9, 1, 3),
    ];
    let met = || other(stored(7, 2));
    let held = [refused(), None, Some(Held::Ours), met(), met()];
    let archived = judged(&events, &held);
    let outcomes = [
        EventOutcome::Refused,
        EventOutcome::Refused,
        EventOutcome::New,
        EventOutcome::Repeat,
        EventOutcome::Conflict,
    ];
    assert_eq!(archived.outcomes, outcomes);
    assert_eq!((archived.placed, archived.unmatched), (vec![(2, 7)], None));
    assert_eq!(
        archived.refused,
        [(0, refusal.clone()), (1, refusal.clone())]
    );
    assert_eq!(refusal.reason, Reason::Unfit);
}
