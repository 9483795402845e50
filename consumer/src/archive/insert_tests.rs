use aguacero::{id::EventId, ledger::Position};

use super::*;

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
    let document = RawDocumentBuf::new();
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
    let first_of = |e: &Event| events.iter().position(|other| other.id == e.id).unwrap();
    let first: Vec<_> = events.iter().map(first_of).collect();
    outcomes(&["s"], &source(), events, &first, held)
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
    let held = [stored(5, 1), elsewhere, another].map(|s| Some(Held::Other(s)));
    let archived = judged(&events, &held);
    assert_eq!(archived.outcomes, [EventOutcome::Repeat; 3]);
    assert_eq!(archived.placed, [(0, 5)]);
    // Of another stream, so it counts there and has no part in this stream's figures.
    assert_eq!(archived.unmatched, Some(9));
}

#[test]
fn a_document_that_no_event_of_the_batch_equals_is_left_to_a_query() {
    let events = [event(5, 1, 1), event(6, 1, 2), event(8, 2, 1)];
    let archived = judged(
        &events,
        &[
            Some(Held::Other(stored(6, 2))),
            None,
            Some(Held::Other(stored(7, 9))),
        ],
    );
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
    let foreign = super::stored(&doc! { "_id": 1, "a": 2 });
    let archived = judged(&[event(5, 1, 1)], &[Some(Held::Other(foreign))]);
    assert_eq!(archived.outcomes, [EventOutcome::Conflict]);
    assert_eq!((archived.placed, archived.unmatched), (vec![], None));
}
