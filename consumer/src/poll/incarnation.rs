//! Which incarnation of each topic the broker has: asked about every second, and whenever somebody has
//! to be sure.
//!
//! An answer says nothing about what comes after it. So whoever needs to know that a topic was not made
//! again up to some moment waits for an answer whose question was put after that moment
//! ([`Incarnations::after`]): incarnations never come back.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aguacero::{
    kafka::{Described, Topics},
    log_limiter,
    shutdown::Shutdown,
};
use tokio::sync::{Notify, watch};

/// How often the broker is asked when nobody is in a hurry.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the broker said.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Number of the question.
    pub round: u64,
    /// The topics that exist.
    pub topics: HashMap<String, Described>,
}

/// Asks, and keeps the latest answer.
pub struct Incarnations {
    topics: Arc<Topics>,
    names: Vec<String>,
    /// Incarnations that were replaced since this process started.
    gone: Mutex<HashSet<String>>,
    /// Questions put so far.
    asked: AtomicU64,
    view: watch::Sender<View>,
    hurry: Notify,
}

impl Incarnations {
    /// For the topics called `names`, which the broker had as `first` a moment ago.
    #[must_use]
    pub fn new(topics: Arc<Topics>, names: Vec<String>, first: HashMap<String, Described>) -> Self {
        let view = watch::Sender::new(View {
            round: 0,
            topics: first,
        });
        Self {
            topics,
            names,
            gone: Mutex::default(),
            asked: AtomicU64::new(0),
            view,
            hurry: Notify::new(),
        }
    }

    /// Who is asked.
    pub(super) fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// The latest answer, and those to come.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// The number of the next question; its answer is wanted soon.
    pub fn next_round(&self) -> u64 {
        let next = self.asked.load(Ordering::SeqCst) + 1;
        self.hurry.notify_one();
        next
    }

    /// The answer to a question that is put after this call.
    pub async fn after(&self) -> View {
        let next = self.next_round();
        let mut view = self.view.subscribe();
        loop {
            let latest = view.borrow_and_update().clone();
            // `self` holds the sender, so there is always another answer to wait for.
            if latest.round >= next || view.changed().await.is_err() {
                return latest;
            }
        }
    }

    /// Whether `incarnation` of the topic called `name` is still there.
    pub async fn still(&self, name: &str, incarnation: &str) -> bool {
        self.after()
            .await
            .topics
            .get(name)
            .is_some_and(|t| t.incarnation == incarnation)
    }

    /// Asks until the shutdown.
    pub async fn watch(self: Arc<Self>, shutdown: Shutdown) {
        let mut failing = false;
        while !shutdown.is_requested() {
            let asking = self.clone();
            let answer = tokio::task::spawn_blocking(move || asking.ask()).await;
            match answer {
                Ok(Ok(())) => {
                    failing = false;
                    log_limiter::ended("Kafka does not tell its topics", "");
                }
                Ok(Err(error)) => {
                    failing = true;
                    log_limiter::repeated("Kafka does not tell its topics", "", &error);
                }
                _ => {}
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.hurry.notified(), if !failing => {}
                () = shutdown.requested() => {}
            }
        }
    }

    /// One question; blocks for as long as the broker takes.
    fn ask(&self) -> Result<(), rdkafka::error::KafkaError> {
        let round = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        let mut topics = self.topics.describe(&names)?;
        self.view.send_modify(|view| {
            self.forget_gone(&view.topics, &mut topics);
            *view = View { round, topics };
        });
        Ok(())
    }

    /// A broker that is behind may still name a topic that was replaced.
    fn forget_gone(&self, were: &HashMap<String, Described>, are: &mut HashMap<String, Described>) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        are.retain(|name, is| {
            if let Some(was) = were
                .get(name)
                .filter(|was| was.incarnation != is.incarnation)
            {
                gone.insert(was.incarnation.clone());
            }
            !gone.contains(&is.incarnation)
        });
    }
}
