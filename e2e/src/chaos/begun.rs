//! A fault that has begun, and how it ends.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;

use super::fault::{EACH_PARTITION, Fault, Rule, STREAM};
use crate::{Pipeline, eventually, once, outage::Outages, wire::Wire};

/// A fault that goes on.
pub(super) struct Begun {
    pub(super) fault: Fault,
    /// The process that it happens to, if it is one of ours.
    pub(super) process: Option<usize>,
    /// The wire, if it happens to one.
    pub(super) wire: Option<usize>,
    /// The services, as `scripts/services` calls them, if it happens to some.
    pub(super) services: Vec<String>,
    /// What it happens to, if it is something else: a stream, or a key.
    pub(super) what: String,
    /// The collection that has the documents of one that is gone.
    pub(super) aside: String,
    /// A command that runs.
    pub(super) command: Option<Child>,
}

impl Begun {
    /// Waits for what must be over before anything else happens.
    pub(super) async fn settled(&self, pipeline: &Pipeline) {
        if self.fault == Fault::TopicRecreated {
            let collection = &pipeline.stream(STREAM).archive;
            let before = pipeline.archive.count(collection).await;
            once("the new topic archived", async || {
                pipeline.archive.count(collection).await >= before + EACH_PARTITION
            })
            .await;
        }
    }

    /// Makes everything as it was before, where an end does not.
    pub(super) fn undo(&self, pipeline: &mut Pipeline) {
        if let (Fault::ConsumerGone, Some(number)) = (self.fault, self.process) {
            pipeline.process(number).start();
        }
    }

    /// Counts anew what an operator has put back, as he would once all stores answer again.
    pub(super) async fn count_anew(&self, pipeline: &Pipeline) {
        if self.fault != Fault::CollectionRestored {
            return;
        }
        let rebuild = format!("rebuild {}", self.what);
        eventually(&rebuild, async || {
            let mut command = consumer(pipeline, &rebuild);
            let status = tokio::task::spawn_blocking(move || command.status()).await;
            let status = status.expect("joined").expect("a program that runs");
            status.success().then_some(()).ok_or(status.to_string())
        })
        .await;
    }

    /// Ends it: what was killed is started, what was frozen goes on. Does not wait for its service.
    pub(super) async fn end(&mut self, pipeline: &mut Pipeline, outages: &Outages) {
        if let Some(mut command) = self.command.take() {
            // Where something else is away, it gives up by itself.
            _ = tokio::task::spawn_blocking(move || command.wait()).await;
        }
        match (self.fault, self.process) {
            (Fault::Killed(_), Some(number)) => pipeline.process(number).start(),
            (Fault::Frozen(_), Some(number)) => pipeline.process(number).thaw(),
            (Fault::Restarted(_), Some(number)) => {
                let process = pipeline.process(number);
                let status = process.ended().await;
                // One that has only just been started does not know of signals yet, nor of events.
                let is_well = status.success() || status.signal() == Some(Signal::TERM.as_raw());
                assert!(is_well, "{} ended with {status}", process.name());
                process.start();
            }
            (Fault::ClockStepped(_), Some(number)) => pipeline.process(number).set_clock(0),
            (Fault::RedisFull, _) => pipeline.redis.set_full(false).await,
            (Fault::RedisAlone, _) => pipeline.redis.set_alone(false).await,
            (Fault::RedisReplica, _) => pipeline.redis.set_replica(false).await,
            (Fault::CollectionRestored, _) => {
                let collection = &pipeline.stream(&self.what).archive;
                pipeline.archive.put_back(&self.aside, collection).await;
            }
            (Fault::DocumentsRefused(rule), _) => {
                let collection = &pipeline.stream(&self.what).archive;
                match rule {
                    Rule::Validator => pipeline.archive.set_refused(collection, None).await,
                    Rule::Unique => _ = pipeline.archive.set_unique(collection, None).await,
                }
            }
            (Fault::TopicCompacted, _) => set_policy(pipeline, "delete").await,
            (
                Fault::ServiceKilled(_)
                | Fault::ServiceAway(_)
                | Fault::RedisAway
                | Fault::KafkaDiskFull,
                _,
            ) => outages.end().await,
            (Fault::ServiceFrozen(_), _) => {
                self.services.iter().for_each(|name| outages.thaw(name));
            }
            _ => {}
        }
        let wire = self.wire.and_then(|number| pipeline.wires.get(number));
        if let Some((_, wire)) = wire {
            Wire::mend(wire);
        }
    }
}

/// The same topic as it was, and for how long it keeps what.
pub(super) async fn set_policy(pipeline: &Pipeline, policy: &str) {
    let topic = pipeline.topic(STREAM);
    pipeline.kafka.set(topic, "cleanup.policy", policy).await;
}

/// A command of the consumer's, which says nothing here.
pub(super) fn consumer(pipeline: &Pipeline, verb: &str) -> Command {
    let mut command = pipeline.consumers[0].command(verb);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(super) fn spawn(pipeline: &Pipeline, verb: &str) -> Child {
    consumer(pipeline, verb)
        .spawn()
        .expect("a program that runs")
}
