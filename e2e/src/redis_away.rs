//! The archive while Redis is away: how far it is behind, and how long the counters need afterwards.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use crate::{
    Pipeline,
    load::{COUNTRIES, Load, Plan},
    once,
    outage::Outages,
};

/// Pause of a client after each event.
const PACE: Duration = Duration::from_millis(8);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long before Redis goes what is normal is measured, at least.
const BEFORE: Duration = Duration::from_secs(20);
/// How long the counters may take.
const EXACT_MAX: Duration = Duration::from_secs(600);

/// What came out.
#[derive(Debug)]
pub struct Figures {
    /// How long Redis was away.
    pub away: Duration,
    /// Records that the archive was behind, ascending: with Redis.
    pub with: Vec<u64>,
    /// Without.
    pub without: Vec<u64>,
    /// Documents archived in all.
    pub archived: u64,
    /// From Redis' first answer, with clients that still send, until archive and counters are no further behind than
    /// before.
    pub live_after: Duration,
    /// From the last event until the counters were exact.
    pub exact_after: Duration,
    /// What took Redis longest since it is back: milliseconds, and the command; none if nothing took 10.
    pub slowest: Option<(f64, String)>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "redis away for {:?}, {} events archived",
            self.away, self.archived
        )?;
        for (when, behind) in [("with redis", &self.with), ("without", &self.without)] {
            let at = |share: f64| {
                let last = behind.len().saturating_sub(1) as f64;
                behind
                    .get((last * share).round() as usize)
                    .copied()
                    .unwrap_or(0)
            };
            let (median, most, worst) = (at(0.5), at(0.99), at(1.0));
            writeln!(
                f,
                "  records not committed, {when:<11} median {median}, 99 in 100 {most}, worst {worst} ({} looks)",
                behind.len()
            )?;
        }
        writeln!(
            f,
            "  from redis back until nothing is further behind than before, under load {:.1} s",
            self.live_after.as_secs_f64()
        )?;
        writeln!(
            f,
            "  from the last event until the counters are exact {:.1} s",
            self.exact_after.as_secs_f64()
        )?;
        match &self.slowest {
            Some((ms, command)) => write!(f, "  slowest command of redis {ms:.1} ms: {command}"),
            None => write!(f, "  no command of redis took 10 ms"),
        }
    }
}

/// Lets Redis be away under load: killed, so that it comes back empty, or frozen.
pub async fn measure(outages: &Outages, away: Duration, is_frozen: bool) -> Figures {
    let pipeline = Pipeline::weather().start().await;
    let plan = Plan {
        clients: 2 * COUNTRIES.len(),
        pause: PACE,
        ..Plan::default()
    };
    let load = Load::follow(plan, &pipeline.addresses());
    load.progress(100).await;
    let with = behind(&pipeline, away.min(BEFORE).max(Duration::from_secs(5))).await;
    let redis = outages.of_kind("redis").remove(0);
    match is_frozen {
        true => outages.freeze(&redis),
        false => outages.begin(&redis).await,
    }
    let without = behind(&pipeline, away).await;
    match is_frozen {
        true => outages.thaw(&redis),
        false => outages.end().await,
    }
    let back = Instant::now();
    let (stream, topic) = (pipeline.stream("weather"), pipeline.topic("weather"));
    let usual = with.last().copied().unwrap_or_default();
    let until = back + EXACT_MAX;
    while Instant::now() < until {
        let shown = pipeline.redis.shown(stream).await.total;
        let archived = pipeline.archive.size(&stream.archive).await as i64;
        // Under load what is live and what is archived differ by what is on its way.
        let is_live = shown >= archived && shown - archived <= usual as i64;
        if is_live && pipeline.kafka.behind(pipeline.group(), topic).await <= usual {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let live_after = back.elapsed();
    let stored = load.finish().await.stored.len() as u64;
    let last = Instant::now();
    once("every event archived", async || {
        pipeline.archive.count(&stream.archive).await >= stored
    })
    .await;
    let counted = pipeline.archive.counted_by(&stream.archive, "país").await;
    let exact = exact_within(&pipeline, &counted).await;
    Figures {
        away,
        with,
        without,
        archived: pipeline.archive.count(&stream.archive).await,
        live_after,
        exact_after: exact.duration_since(last),
        slowest: pipeline.redis.slowest().await,
    }
}

/// Waits until what is shown is what the archive holds.
async fn exact_within(pipeline: &Pipeline, counted: &BTreeMap<String, i64>) -> Instant {
    let stream = pipeline.stream("weather");
    let total: i64 = counted.values().sum();
    let until = Instant::now() + EXACT_MAX;
    loop {
        let shown = pipeline.redis.shown(stream).await;
        if shown.total == total
            && shown.counters["by_country"] == *counted
            && pipeline.redis.pending(stream).await.is_empty()
        {
            return Instant::now();
        }
        assert!(Instant::now() < until, "{shown:?} is shown of {counted:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How many records the archive is behind, at each look; ascending.
async fn behind(pipeline: &Pipeline, during: Duration) -> Vec<u64> {
    let (until, topic) = (Instant::now() + during, pipeline.topic("weather"));
    let mut behind = Vec::new();
    while Instant::now() < until {
        behind.push(pipeline.kafka.behind(pipeline.group(), topic).await);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    behind.sort_unstable();
    behind
}
