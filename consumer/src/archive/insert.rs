//! Events into the archive: each id once in its collection, whoever else writes it at the same time.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use bson::RawDocumentBuf;
use mongodb::{
    Collection,
    error::{Error, ErrorKind},
};

use super::{
    Archive, in_time,
    outcome::{Archived, Batch, EventOutcome, Held},
    refused::{Example, Refusal},
    stored::{Stored, equal_to_stored, lookup, was_there},
    write::{NEVER, WriteError, parts, write},
};
use crate::{batch::Source, decode::Event, metric, retry::Backoff};

/// Where events of a batch go.
struct Destination<'a> {
    collection: &'a Collection<RawDocumentBuf>,
    source: &'a Source,
    /// For the log.
    about: String,
}

impl Archive {
    /// Writes the events, however long it takes. `again` says that most of them were probably written
    /// before. Then MongoDB is asked first: a document that it has to refuse costs it ten times as much
    /// as one that it is asked for.
    pub async fn insert(&self, source: &Source, events: &[Event], again: bool) -> Archived {
        let first = self.first_of(events);
        let mut held: Vec<_> = events.iter().map(|_| None).collect();
        let firsts = (0..events.len()).filter(|&i| first[i] == i);
        self.write_events(source, events, firsts, again, &mut held)
            .await;
        // Where the first is refused, another value under its id need not be.
        let others = |&i: &usize| {
            let is_refused = || matches!(held[first[i]], Some(Held::Refused(_)));
            first[i] != i && is_refused() && events[i].hash != events[first[i]].hash
        };
        let others: Vec<_> = (0..events.len()).filter(others).collect();
        self.write_events(source, events, others.into_iter(), false, &mut held)
            .await;
        let mut batch = Batch {
            streams: &self.config.streams,
            source,
            events,
            first: &first,
            held: &held,
            equal: &HashSet::new(),
        };
        let unlike = (0..events.len()).filter(|&i| batch.has_met_other_bytes(i));
        let equal = self.equal(source, events, unlike).await;
        batch.equal = &equal;
        let archived = batch.archived();
        self.note(source, events, &archived);
        archived
    }

    /// Of each event, the first one with its id that goes into the same collection.
    fn first_of(&self, events: &[Event]) -> Vec<usize> {
        let mut first_of: HashMap<_, usize> = HashMap::with_capacity(events.len());
        let key = |e: &Event| (e.id, self.of_stream[e.stream]);
        let first = |(i, e)| *first_of.entry(key(e)).or_insert(i);
        events.iter().enumerate().map(first).collect()
    }

    /// `indices`, by collection; only those that have any.
    fn by_collection<'a>(
        &'a self,
        source: &'a Source,
        events: &[Event],
        indices: impl Iterator<Item = usize>,
    ) -> impl Iterator<Item = (Destination<'a>, Vec<usize>)> {
        let mut of_collection = vec![Vec::new(); self.collections.len()];
        for i in indices {
            of_collection[self.of_stream[events[i].stream]].push(i);
        }
        let some = self.collections.iter().zip(of_collection);
        some.filter(|(_, indices)| !indices.is_empty())
            .map(|(collection, indices)| {
                let destination = Destination {
                    collection,
                    source,
                    about: self.about(source, collection.name()),
                };
                (destination, indices)
            })
    }

    /// `collection events, topic weather, partition 3`
    pub(super) fn about(&self, source: &Source, collection: &str) -> String {
        let topic = &self.config.topics[source.topic].name;
        let partition = source.position.partition;
        format!("collection {collection}, topic {topic}, partition {partition}")
    }

    /// Writes the events `indices`, and says in `held` what the archive has under the id of each.
    async fn write_events(
        &self,
        source: &Source,
        events: &[Event],
        indices: impl Iterator<Item = usize>,
        again: bool,
        held: &mut [Option<Held>],
    ) {
        for (to, mut indices) in self.by_collection(source, events, indices) {
            if again {
                let mut there = was_there(to.collection, &to.about, events, &indices).await;
                indices.retain(|&i| {
                    let stored = there.remove(&events[i].id.0);
                    held[i] = stored.map(|stored| Held::Other(Box::new(stored)));
                    held[i].is_none()
                });
            }
            self.insert_into(&to, events, &indices, false, held).await;
        }
    }

    /// The same, into one collection. `repeated` says that this process has tried before.
    async fn insert_into(
        &self,
        to: &Destination<'_>,
        events: &[Event],
        indices: &[usize],
        mut repeated: bool,
        held: &mut [Option<Held>],
    ) {
        let (started, mut backoff) = (Instant::now(), Backoff::new());
        while !indices.is_empty() {
            match self.attempt(to, events, indices).await {
                Ok(told) => {
                    metrics::histogram!(metric::ARCHIVE).record(started.elapsed());
                    for &i in indices {
                        held[i] = Some(Held::Ours);
                    }
                    for (i, what) in told {
                        // What a try wrote whose answer was lost is what is there now.
                        let is_ours = |stored: &Stored| {
                            repeated && stored.is_in(to.source) && stored.offset == events[i].offset
                        };
                        if !matches!(&what, Held::Other(stored) if is_ours(stored)) {
                            held[i] = Some(what);
                        }
                    }
                    return;
                }
                Err(error) if can_never_succeed(&error) => {
                    if let [one] = indices {
                        let refusal = Refusal::unfit(&error.to_string(), None);
                        held[*one] = Some(Held::Refused(Box::new(refusal)));
                        return;
                    }
                    // Which of them it is shows when there are fewer.
                    let (some, others) = indices.split_at(indices.len() / 2);
                    for half in [some, others] {
                        Box::pin(self.insert_into(to, events, half, true, held)).await;
                    }
                    return;
                }
                Err(error) => {
                    metrics::counter!(metric::ARCHIVE_RETRIES).increment(1);
                    repeated = true;
                    backoff
                        .after("documents cannot be archived", &to.about, &error)
                        .await;
                }
            }
        }
    }

    /// One try. Says what there is in the place of those that could not be inserted.
    async fn attempt(
        &self,
        to: &Destination<'_>,
        events: &[Event],
        indices: &[usize],
    ) -> Result<Vec<(usize, Held)>, Error> {
        let Ok(_permit) = self.writers.acquire().await else {
            return Err(Error::custom("the writers are closed"));
        };
        let mut told = Vec::new();
        for part in parts(indices, |&i| &events[i].document) {
            let documents = part.iter().map(|&i| &events[i].document);
            let errors = in_time(write(to.collection, documents)).await?;
            told.extend(
                errors
                    .into_iter()
                    .filter_map(|e| Some((*part.get(e.index)?, e))),
            );
        }
        if told.is_empty() {
            return Ok(Vec::new());
        }
        // Whatever the reason that is told: a document that is there already may be refused for another.
        let ids = told.iter().map(|(i, _)| events[*i].bson_id()).collect();
        let there = in_time(lookup(to.collection, ids)).await?;
        let held = |(i, error): (usize, WriteError)| match there.get(&events[i].id.0) {
            Some(stored) => Ok((i, Held::Other(Box::new(stored.clone())))),
            // Written by somebody and not with the majority yet, or gone.
            None if error.is_of_id() => Err(Error::custom(error.message)),
            None => {
                let refusal = Refusal::of(error, to.collection.name());
                Ok((i, Held::Refused(Box::new(refusal))))
            }
        };
        told.into_iter().map(held).collect()
    }

    /// Those of the events `indices` that say the same as what the archive has, in other bytes.
    async fn equal(
        &self,
        source: &Source,
        events: &[Event],
        indices: impl Iterator<Item = usize>,
    ) -> HashSet<usize> {
        let mut equal = HashSet::new();
        for (to, indices) in self.by_collection(source, events, indices) {
            equal.extend(equal_to_stored(to.collection, &to.about, events, &indices).await);
        }
        equal
    }

    /// What metrics and log say of the batch.
    fn note(&self, source: &Source, events: &[Event], archived: &Archived) {
        let mut seen = vec![0; self.collections.len()];
        for (event, outcome) in events.iter().zip(&archived.outcomes) {
            seen[self.of_stream[event.stream]] += 1;
            if *outcome == EventOutcome::NotFirst {
                let stream = self.config.streams[event.stream].name.clone();
                metrics::counter!(metric::NOT_FIRST, "stream" => stream).increment(1);
            }
        }
        for (c, (refusals, seen)) in self.refusals.iter().zip(seen).enumerate() {
            if seen == 0 {
                continue;
            }
            let refused = archived.refused.iter();
            let here = refused.filter(|(i, _)| self.of_stream[events[*i].stream] == c);
            let example = here.map(|(i, refusal)| Example {
                stream: &self.config.streams[events[*i].stream].name,
                topic: &self.config.topics[source.topic].name,
                partition: source.position.partition,
                offset: events[*i].offset,
                refusal,
            });
            refusals.note(seen, example);
        }
    }
}

/// Whether one of the documents is such that trying again is of no use.
pub(super) fn can_never_succeed(error: &Error) -> bool {
    match error.kind.as_ref() {
        // The driver's own judgement, such as of a document's size.
        ErrorKind::InvalidArgument { .. } => true,
        ErrorKind::Command(failure) => NEVER.contains(&failure.code),
        _ => false,
    }
}
